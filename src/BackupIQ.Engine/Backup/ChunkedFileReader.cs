using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using BackupIQ.Engine.Copy;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Chunking;
using BackupIQ.Repository.Compression;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// Reads files that are more than one chunk: buffer by buffer, and finds the cuts. A very large one is spread over all workers: hashing,
/// compressing and sealing its chunks is handed to whoever is free. A reader that must wait for a buffer works on pieces meanwhile, so
/// however many files are read at once, somebody always gets on. Memory is the pool's, whatever the files' sizes.
/// </summary>
internal sealed unsafe class ChunkedFileReader : IDisposable
{
    /// <summary>A file from this size on is spread over all workers.</summary>
    private const long SpreadSize = 16 << 20;

    /// <summary>The longest chunk, and half as much to be read while it waits for its end.</summary>
    private const int BufferSize = 6 << 20;

    /// <summary>Where only some chunks are read: as much as one has on average.</summary>
    private const int ReadStep = 1 << 20;

    private readonly GearChunker _chunker;
    private readonly ChunkerProfile _profile;
    private readonly WorkQueue _queue;
    private readonly BackupProgress _progress;
    private readonly ConcurrentBag<Buffer> _free = [];
    private readonly List<Buffer> _all = [];
    private readonly int _maxBuffers;
    private readonly int _scanners;

    // A reader holds one buffer and asks for a second: as long as there is one more buffer than readers, one of them gets it.
    private readonly SemaphoreSlim _readers;

    public ChunkedFileReader(GearChunker chunker, ChunkerProfile profile, WorkQueue queue, int workers, long memory, BackupProgress progress)
    {
        _chunker = chunker;
        _profile = profile;
        _queue = queue;
        _progress = progress;
        _scanners = workers;
        _maxBuffers = (int)Math.Clamp(memory / BufferSize, 3, Math.Max(3, workers + 1));
        _readers = new SemaphoreSlim(_maxBuffers - 1);
    }

    /// <summary>Reads a run of data; adds its chunks in order; returns how many bytes there were.</summary>
    public long Read(FileWorker worker, ISourceFile file, long offset, long length, ContentHint hint, List<ChunkReference> chunks)
    {
        while (!_readers.Wait(0))
        {
            Help(worker);
        }

        try
        {
            return ReadBuffers(worker, file, offset, length, hint, chunks);
        }
        finally
        {
            _readers.Release();
        }
    }

    /// <summary>
    /// Reads of a file what is not known of it; adds its chunks in order; returns how many bytes it has. The cuts are those of <see cref="Read"/>.
    /// </summary>
    public long ReadAround(FileWorker worker, ISourceFile file, long length, KnownChunks known, ContentHint hint, List<ChunkReference> chunks)
    {
        while (!_readers.Wait(0))
        {
            Help(worker);
        }

        Buffer buffer = Rent(worker);
        try
        {
            long at = 0;
            int filled = 0;
            while (at < length)
            {
                if (known.TryGet(at, out ChunkReference chunk) && worker.Has(chunk.Id))
                {
                    chunks.Add(chunk);
                    at += chunk.Length;
                    filled = 0;
                    _progress.Spared(chunk.Length);
                    continue;
                }

                int cut = CutNext(file, buffer, at, ref filled, ref length);
                if (cut == 0)
                {
                    break;
                }

                chunks.Add(new ChunkReference(worker.Store(new ReadOnlySpan<byte>(buffer.Memory, cut), hint), (uint)cut));
                at += cut;
                filled -= cut;
                new ReadOnlySpan<byte>(buffer.Memory + cut, filled).CopyTo(new Span<byte>(buffer.Memory, BufferSize));
            }

            return at;
        }
        finally
        {
            buffer.Release();
            _readers.Release();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Buffer buffer in _all)
        {
            NativeMemory.AlignedFree(buffer.Memory);
        }

        _all.Clear();
        _readers.Dispose();
    }

    private long ReadBuffers(FileWorker worker, ISourceFile file, long offset, long length, ContentHint hint, List<ChunkReference> chunks)
    {
        bool isSpread = length >= SpreadSize;
        Queue<ChunkPiece> pieces = new();
        long at = offset;
        long end = length > long.MaxValue - offset ? long.MaxValue : offset + length;
        Buffer buffer = Rent(worker);
        int filled = 0;
        bool isEnd = false;
        while (!isEnd)
        {
            int wanted = (int)Math.Min(BufferSize - filled, end - at);
            int read = file.Read(new Span<byte>(buffer.Memory + filled, wanted), at);
            at += read;
            filled += read;
            isEnd = read < wanted || at == end;
            _progress.BytesRead(read);

            int start = 0;
            foreach (int cut in Cuts(worker, buffer, filled, isEnd))
            {
                if (isSpread)
                {
                    ChunkPiece piece = new(buffer, start, cut, hint);
                    pieces.Enqueue(piece);
                    buffer.Hold();
                    if (!_queue.TryAddPiece(piece))
                    {
                        piece.Run(worker);
                    }
                }
                else
                {
                    chunks.Add(new ChunkReference(worker.Store(new ReadOnlySpan<byte>(buffer.Memory + start, cut), hint), (uint)cut));
                }

                start += cut;
            }

            while (pieces.TryPeek(out ChunkPiece? first) && first.IsDone)
            {
                Collect(pieces.Dequeue(), chunks);
            }

            if (isEnd)
            {
                break;
            }

            // The rest is the beginning of the next chunk: it moves to where the chunk will be whole.
            Buffer next = isSpread ? Rent(worker) : buffer;
            new ReadOnlySpan<byte>(buffer.Memory + start, filled - start).CopyTo(new Span<byte>(next.Memory, BufferSize));
            filled -= start;
            if (isSpread)
            {
                buffer.Release();
                buffer = next;
            }
        }

        buffer.Release();
        while (pieces.TryDequeue(out ChunkPiece? piece))
        {
            Await(piece, worker);
            Collect(piece, chunks);
        }

        return at - offset;
    }

    // The length of the chunk that begins at a place of the file, which the buffer's bytes begin with; no more is read than decides it. 0: the
    // file ended before it should, which its length then tells.
    private int CutNext(ISourceFile file, Buffer buffer, long at, ref int filled, ref long length)
    {
        while (true)
        {
            int cut = filled == 0 ? 0 : _chunker.NextCut(new ReadOnlySpan<byte>(buffer.Memory, filled), at + filled >= length);
            if (cut > 0 || at + filled >= length)
            {
                return cut;
            }

            int wanted = (int)Math.Min(Math.Min(ReadStep, BufferSize - filled), length - at - filled);
            int read = file.Read(new Span<byte>(buffer.Memory + filled, wanted), at + filled);
            _progress.BytesRead(read);
            filled += read;
            length = read < wanted ? at + filled : length;
        }
    }

    private static void Collect(ChunkPiece piece, List<ChunkReference> chunks)
    {
        piece.ThrowIfFailed();
        chunks.Add(new ChunkReference(piece.Id, (uint)piece.Length));
    }

    private void Help(FileWorker worker)
    {
        if (_queue.TryTakePiece(out IWork work))
        {
            work.Run(worker);
        }
        else
        {
            Thread.Sleep(1);
        }
    }

    // With few workers one of them cuts as it reads, skipping what cannot be a cut; with many, the candidates of a buffer are looked for
    // side by side, and only the choice among them is one's work. Both give the same cuts.
    private List<int> Cuts(FileWorker worker, Buffer buffer, int filled, bool isEnd)
    {
        List<int> cuts = [];
        if (_scanners < 4 || filled < BufferSize)
        {
            int start = 0;
            while (start < filled)
            {
                int cut = _chunker.NextCut(new ReadOnlySpan<byte>(buffer.Memory + start, filled - start), isEnd);
                if (cut == 0)
                {
                    break;
                }

                cuts.Add(cut);
                start += cut;
            }

            return cuts;
        }

        ScanPiece[] scans = new ScanPiece[Math.Min(_scanners, 8)];
        int step = (filled + scans.Length - 1) / scans.Length;
        for (int i = 0; i < scans.Length; i++)
        {
            int from = Math.Min(filled, i * step);
            scans[i] = new ScanPiece(_chunker, buffer, from, Math.Min(filled, from + step) - from);
            buffer.Hold();
            if (!_queue.TryAddPiece(scans[i]))
            {
                scans[i].Run(worker);
            }
        }

        CutSelector selector = new(_profile);
        long previous = 0;
        foreach (ScanPiece scan in scans)
        {
            Await(scan, worker);
            long scanned = scan.Start + scan.Length;
            selector.Add(scan.Candidates, scanned, isEnd && scanned == filled);
            while (selector.TryTakeCut(out long end))
            {
                cuts.Add((int)(end - previous));
                previous = end;
            }
        }

        return cuts;
    }

    private void Await(Piece piece, FileWorker worker)
    {
        piece.Await(_queue, worker);
        piece.ThrowIfFailed();
    }

    private Buffer Rent(FileWorker worker)
    {
        while (true)
        {
            if (_free.TryTake(out Buffer? buffer))
            {
                buffer.Hold();
                return buffer;
            }

            lock (_all)
            {
                if (_all.Count < _maxBuffers)
                {
                    buffer = new Buffer((byte*)NativeMemory.AlignedAlloc(BufferSize, 4096), _free);
                    _all.Add(buffer);
                    buffer.Hold();
                    return buffer;
                }
            }

            Help(worker);
        }
    }

    /// <summary>A buffer that goes back to the pool when the last piece in it is done.</summary>
    internal sealed class Buffer(byte* memory, ConcurrentBag<Buffer> pool)
    {
        private int _holders;

        public byte* Memory { get; } = memory;

        public void Hold() => Interlocked.Increment(ref _holders);

        public void Release()
        {
            if (Interlocked.Decrement(ref _holders) == 0)
            {
                pool.Add(this);
            }
        }
    }

    /// <summary>Part of a buffer.</summary>
    private abstract class Piece(Buffer buffer, int start, int length) : SharedPiece
    {
        public int Start { get; } = start;

        public int Length { get; } = length;

        protected Buffer Buffer { get; } = buffer;

        protected override void LetGo() => Buffer.Release();
    }

    private sealed class ChunkPiece(Buffer buffer, int start, int length, ContentHint hint) : Piece(buffer, start, length)
    {
        public ChunkId Id { get; private set; }

        protected override void Do(FileWorker worker) => Id = worker.Store(new ReadOnlySpan<byte>(Buffer.Memory + Start, Length), hint);
    }

    private sealed class ScanPiece(GearChunker chunker, Buffer buffer, int start, int length) : Piece(buffer, start, length)
    {
        public CandidateList Candidates { get; } = new();

        protected override void Do(FileWorker worker)
        {
            int lookBehind = Math.Min(Start, 63);
            chunker.FindCandidates(new ReadOnlySpan<byte>(Buffer.Memory + Start - lookBehind, lookBehind + Length), lookBehind, Start, Candidates);
        }
    }
}
