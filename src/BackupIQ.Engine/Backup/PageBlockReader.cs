using System.Runtime.InteropServices;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;

namespace BackupIQ.Engine.Backup;

/// <summary>A piece of a page map that was stored.</summary>
/// <param name="Block">The metadata chunk; nothing where there was nothing to read.</param>
/// <param name="Sums">The one with the sums of its pages.</param>
/// <param name="Length">Bytes of the file that there were.</param>
internal readonly record struct StoredBlock(ChunkReference Block, ChunkReference Sums, long Length);

/// <summary>A piece of a page map that is compared with.</summary>
internal sealed record ParentBlock(PageBlock Block, ulong[] Sums);

/// <summary>
/// One worker's way from a stretch of a paged file to a block of its page map: reads it once, compares each page with the parent's sums, gathers what
/// changed into chunks, and gathers anew what little is left of chunks that have gone stale. Holds two buffers of a MiB and the block; not thread-safe.
/// </summary>
internal sealed unsafe class PageBlockReader(StoreMetadata store, byte[] idKey, BackupProgress progress) : IDisposable
{
    private const int BufferSize = PageBlock.MaxChunkSize;

    /// <summary>Of a hundred pages of a chunk so many must be needed, or those that are move: what is stored stays below twice what is needed.</summary>
    private const int MinLivePercent = 50;

    /// <summary>Chunks that a MiB of the file may be scattered over, so that a restore reads it in few steps.</summary>
    private const int MaxChunksPerReach = 16;

    private const int Hole = -1;
    private const int Unset = -2;

    private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc(BufferSize, 4096);
    private readonly byte* _gather = (byte*)NativeMemory.AlignedAlloc(BufferSize, 4096);
    private readonly int[] _gathered = new int[PageBlock.MaxPagesPerChunk];
    private readonly PageAt[] _pages = new PageAt[PageBlock.MaxPages];
    private readonly ChunkId[] _ids = new ChunkId[PageBlock.MaxPages];
    private readonly ulong[] _parentSums = new ulong[PageBlock.MaxPages];
    private readonly List<ChunkReference> _chunks = [];
    private readonly Dictionary<ChunkId, int> _numbers = [];
    private readonly TlvWriter _writer = new(64 << 10);
    private FileWorker _worker = null!;
    private ContentHint _hint;
    private int _pageSize;
    private int _perChunk;
    private int _gatheredBytes;
    private int _gatheredCount;

    /// <summary>Reads and stores a stretch of a file.</summary>
    /// <param name="worker">Whose way into packs is used.</param>
    /// <param name="file">The file.</param>
    /// <param name="offset">Where the stretch begins.</param>
    /// <param name="length">Its bytes: those of a whole block but at the file's end.</param>
    /// <param name="pageSize">Bytes of a page.</param>
    /// <param name="parent">The same block of the map that is compared with; null: all of it is stored.</param>
    /// <param name="hint">What the file's name tells of its content.</param>
    public StoredBlock Read(FileWorker worker, ISourceFile file, long offset, long length, int pageSize, ParentBlock? parent, ContentHint hint)
    {
        _worker = worker;
        _hint = hint;
        _pageSize = pageSize;
        _perChunk = PageBlock.PagesPerChunk(pageSize);
        Recall(parent);
        long read = ReadPages(file, offset, length, isNew: parent is null);
        if (read == 0)
        {
            return default;
        }

        int count = (int)((read + pageSize - 1) / pageSize);
        if (parent is not null && !file.IsSequential)
        {
            GatherStale(file, offset, count, read);
        }

        List<ulong> sums = new(count);
        _writer.Clear();
        Describe(count, sums).Write(_writer);
        ChunkReference block = Store();
        _writer.Clear();
        PageBlock.WriteSums(_writer, CollectionsMarshal.AsSpan(sums));
        return new StoredBlock(block, Store(), read);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        NativeMemory.AlignedFree(_gather);
    }

    private ChunkReference Store() => new(store(_writer.Written), (uint)_writer.Length);

    // Where the parent has each page, as far as a new snapshot may rely on it.
    private void Recall(ParentBlock? known)
    {
        _chunks.Clear();
        _numbers.Clear();
        _gatheredBytes = 0;
        _gatheredCount = 0;
        _pages.AsSpan().Fill(new PageAt(Unset, 0));
        if (known is null)
        {
            return;
        }

        (PageBlock parent, ulong[] sums) = known;
        _chunks.AddRange(parent.Chunks);
        int sum = 0;
        foreach (PageRun run in parent.Runs)
        {
            if (run.Chunk < 0)
            {
                continue;
            }

            for (int i = 0; i < run.Count; i++)
            {
                _pages[run.First + i] = new PageAt(run.Chunk, run.Slot + i);
                _parentSums[run.First + i] = sums[sum++];
            }
        }

        // A file that can be read only once is compacted one backup later.
        bool[] isStale = FindStale(parent.PageCount);
        for (int i = 0; i < _chunks.Count; i++)
        {
            isStale[i] |= !_worker.Has(_chunks[i].Id);
            _ = _numbers.TryAdd(_chunks[i].Id, i);
        }

        for (int i = 0; i < parent.PageCount; i++)
        {
            if (_pages[i].Chunk >= 0 && isStale[_pages[i].Chunk])
            {
                _pages[i] = new PageAt(Unset, 0);
            }
        }
    }

    private long ReadPages(ISourceFile file, long offset, long length, bool isNew)
    {
        long at = 0;
        int step = BufferSize / _pageSize * _pageSize;
        bool isEnd = false;
        while (!isEnd && at < length)
        {
            int wanted = (int)Math.Min(step, length - at);
            int read = file.Read(new Span<byte>(_buffer, wanted), offset + at);
            progress.BytesRead(read);
            isEnd = read < wanted;
            int first = (int)(at / _pageSize);
            for (int i = 0; i * _pageSize < read; i++)
            {
                // What is stored for the first time is cut at the same places in every file.
                if (isNew && (first + i) % _perChunk == 0)
                {
                    StoreGathered();
                }

                Compare(first + i, PageIn(i, read));
            }

            at += read;
        }

        StoreGathered();
        return at;
    }

    private ReadOnlySpan<byte> PageIn(int index, int filled) => new(_buffer + ((long)index * _pageSize), Math.Min(_pageSize, filled - (index * _pageSize)));

    private void Compare(int page, ReadOnlySpan<byte> bytes)
    {
        if (!bytes.ContainsAnyExcept((byte)0))
        {
            _pages[page] = new PageAt(Hole, 0);
            return;
        }

        ChunkId id = PageDigest.IdOf(idKey, bytes);
        _ids[page] = id;
        if (_pages[page].Chunk < 0 || _parentSums[page] != PageDigest.SumOf(id))
        {
            Gather(page, bytes);
        }
    }

    private void Gather(int page, ReadOnlySpan<byte> bytes)
    {
        if (_gatheredCount == _perChunk)
        {
            StoreGathered();
        }

        bytes.CopyTo(new Span<byte>(_gather + _gatheredBytes, bytes.Length));
        _gatheredBytes += bytes.Length;
        _gathered[_gatheredCount++] = page;
    }

    private void StoreGathered()
    {
        if (_gatheredCount == 0)
        {
            return;
        }

        ChunkId id = _worker.Store(new ReadOnlySpan<byte>(_gather, _gatheredBytes), _hint);
        if (!_numbers.TryGetValue(id, out int number))
        {
            number = _chunks.Count;
            _numbers.Add(id, number);
            _chunks.Add(new ChunkReference(id, (uint)_gatheredBytes));
        }

        for (int slot = 0; slot < _gatheredCount; slot++)
        {
            _pages[_gathered[slot]] = new PageAt(number, slot);
        }

        _gatheredBytes = 0;
        _gatheredCount = 0;
    }

    // What moves is read once more: it was read a moment ago, and to hold a whole block meanwhile would take up to 256 MiB. A page that has changed
    // since is stored as it is now.
    private void GatherStale(ISourceFile file, long offset, int count, long length)
    {
        bool[] moves = new bool[count];
        while (MarkStale(moves) | MarkScattered(moves))
        {
            // What moves makes other chunks stale, and needs chunks of its own.
        }

        for (int first = 0; first < count;)
        {
            if (!moves[first])
            {
                first++;
                continue;
            }

            int next = first + 1;
            while (next < count && moves[next] && (next + 1 - first) * _pageSize <= BufferSize)
            {
                next++;
            }

            int wanted = PageBlock.LengthOf(first, next - first, _pageSize, length);
            if (file.Read(new Span<byte>(_buffer, wanted), offset + ((long)first * _pageSize)) < wanted)
            {
                // It shrank: what was read of it before stays where it is.
                break;
            }

            for (int i = 0; first + i < next; i++)
            {
                _pages[first + i] = new PageAt(Unset, 0);
                Compare(first + i, PageIn(i, wanted));
            }

            first = next;
        }

        StoreGathered();
    }

    // Of each stretch of as many pages as a chunk has, those of the chunks that serve fewest of them move, until few enough are left beside those that
    // the moving pages will be in: neighbours are gathered one after the other, into two chunks at most. Whether any do that did not before.
    private bool MarkScattered(bool[] moves)
    {
        bool any = false;
        Dictionary<int, int> uses = [];
        for (int first = 0; first < moves.Length; first += _perChunk)
        {
            int end = Math.Min(first + _perChunk, moves.Length);
            uses.Clear();
            for (int i = first; i < end; i++)
            {
                if (_pages[i].Chunk >= 0 && !moves[i])
                {
                    CollectionsMarshal.GetValueRefOrAddDefault(uses, _pages[i].Chunk, out _)++;
                }
            }

            if (uses.Count <= (moves.AsSpan(first, end - first).Contains(true) ? MaxChunksPerReach - 2 : MaxChunksPerReach))
            {
                continue;
            }

            HashSet<int> few = [.. uses.OrderBy(static use => use.Value).ThenBy(static use => use.Key).Take(uses.Count - (MaxChunksPerReach - 2)).Select(static use => use.Key)];
            for (int i = first; i < end; i++)
            {
                moves[i] |= few.Contains(_pages[i].Chunk);
            }

            any = true;
        }

        return any;
    }

    private bool MarkStale(bool[] moves)
    {
        bool any = false;
        bool[] isStale = FindStale(moves.Length, moves);
        for (int i = 0; i < moves.Length; i++)
        {
            if (_pages[i].Chunk >= 0 && !moves[i] && isStale[_pages[i].Chunk])
            {
                moves[i] = true;
                any = true;
            }
        }

        return any;
    }

    // Which chunks have too few pages that are needed: of the block, for a chunk that another block or file needs as well is rare.
    private bool[] FindStale(int count, bool[]? moves = null)
    {
        int[] live = new int[_chunks.Count];
        for (int i = 0; i < count; i++)
        {
            if (_pages[i].Chunk >= 0 && moves?[i] != true)
            {
                live[_pages[i].Chunk]++;
            }
        }

        bool[] isStale = new bool[live.Length];
        for (int i = 0; i < live.Length; i++)
        {
            long all = (_chunks[i].Length + (uint)_pageSize - 1) / (uint)_pageSize;
            isStale[i] = live[i] * 100L < all * MinLivePercent;
        }

        return isStale;
    }

    private PageBlock Describe(int count, List<ulong> sums)
    {
        List<ChunkReference> chunks = [];
        List<PageRun> runs = [];
        int[] numbers = new int[_chunks.Count];
        PageDigest digest = default;
        for (int i = 0; i < count; i++)
        {
            (int chunk, int slot) = _pages[i];
            if (chunk >= 0)
            {
                sums.Add(PageDigest.SumOf(_ids[i]));
                digest ^= PageDigest.Of(idKey, i, _ids[i]);
                if (numbers[chunk] == 0)
                {
                    chunks.Add(_chunks[chunk]);
                    numbers[chunk] = chunks.Count;
                }

                chunk = numbers[chunk] - 1;
            }

            if (runs.Count > 0 && runs[^1] is var last && last.Chunk == chunk && (chunk < 0 || last.Slot + last.Count == slot))
            {
                runs[^1] = last with { Count = last.Count + 1 };
            }
            else
            {
                runs.Add(new PageRun(i, 1, chunk, slot));
            }
        }

        return new PageBlock { PageCount = count, Chunks = chunks, Runs = runs, Digest = digest };
    }

    /// <summary>Where a page lies: in which chunk of the block, and at which place in it.</summary>
    private readonly record struct PageAt(int Chunk, int Slot);
}
