using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Engine.Reading;

/// <summary>
/// A file of a snapshot, open for reading at random. Every byte that is given was verified. Reads may come from several threads; where they
/// follow one another, what comes next is fetched in the background.
/// </summary>
public sealed class SnapshotFile
{
    private static readonly byte[] Zeros = new byte[1 << 20];

    private readonly SnapshotReader _reader;
    private readonly FileContent _content;
    private readonly DataLayout _layout;
    private readonly PagedLayout? _pages;
    private readonly Lock _gate = new();
    private ChunkMap? _chunks;
    private long _lastEnd;
    private int _streak;
    private long _fetchedTo;

    internal SnapshotFile(SnapshotReader reader, Node node)
    {
        if (node is not { Metadata.Type: NodeType.File, Content: { } content })
        {
            throw new CorruptDataException("It is no file.");
        }

        _reader = reader;
        _content = content;
        _layout = new DataLayout(node.Metadata, content);
        _pages = content.Kind == ContentKind.Pages ? new PagedLayout(reader.ReadMetadata, content, Length) : null;
    }

    /// <summary>Bytes, holes included.</summary>
    public long Length => _layout.Length;

    /// <summary>Where data lies in a file with holes; null when all of it is data. Of a page map all of it is read for that.</summary>
    /// <exception cref="BackupIQException">The page map is damaged.</exception>
    internal IReadOnlyList<Extent>? Extents => _pages is null ? _layout.Extents : _pages.ReadExtents();

    private ChunkMap Chunks
    {
        get
        {
            lock (_gate)
            {
                return _chunks ??= new ChunkMap(_reader.ReadMetadata, _content, _layout.DataLength);
            }
        }
    }

    /// <summary>
    /// Reads from <paramref name="offset"/> until <paramref name="destination"/> is full or the file ends; returns the bytes read. Holes
    /// read as zeros.
    /// </summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>: what was asked for is damaged; or the storage failed.</exception>
    public async ValueTask<int> ReadAsync(long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int wanted = (int)Math.Clamp(Length - offset, 0, destination.Length);
        int done = 0;
        Follow(offset, wanted);
        while (done < wanted)
        {
            DataRun run = RunAt(offset + done);
            Memory<byte> part = destination.Slice(done, (int)Math.Min(run.Length, wanted - done));
            done += TryReadHere(run, part.Span) ? part.Length : Take(await RentAsync(run.DataOffset, _streak > 1, cancellationToken).ConfigureAwait(false), part.Span);
        }

        return done;
    }

    /// <summary>
    /// The first place at or behind <paramref name="offset"/> that is in a hole, or else in data; the end counts as a hole. Null when there is
    /// none, as from the end on.
    /// </summary>
    public long? Seek(long offset, bool hole)
    {
        while (offset < Length)
        {
            DataRun run = RunAt(offset);
            if (run.DataOffset < 0 == hole)
            {
                return offset;
            }

            offset += run.Length;
            if (offset == Length && hole)
            {
                return Length;
            }
        }

        return null;
    }

    /// <summary>As <see cref="ReadAsync"/>, for a thread that has nothing else to do meanwhile.</summary>
    internal int Read(long offset, Span<byte> destination)
    {
        int wanted = (int)Math.Clamp(Length - offset, 0, destination.Length);
        int done = 0;
        Follow(offset, wanted);
        while (done < wanted)
        {
            DataRun run = RunAt(offset + done);
            Span<byte> part = destination.Slice(done, (int)Math.Min(run.Length, wanted - done));
            done += TryReadHere(run, part) ? part.Length : Take(RentAsync(run.DataOffset, _streak > 1, CancellationToken.None).AsTask().GetAwaiter().GetResult(), part);
        }

        return done;
    }

    /// <summary>Writes all bytes from <paramref name="offset"/> on to a stream, each chunk once it is verified; holes as zeros.</summary>
    /// <exception cref="BackupIQException">As <see cref="ReadAsync"/>; what was written until then is right.</exception>
    public async Task CopyToAsync(long offset, long length, Stream output, CancellationToken cancellationToken)
    {
        long end = Math.Min(Length, offset + length);
        while (offset < end)
        {
            DataRun run = RunAt(offset);
            long count = Math.Min(run.Length, end - offset);
            if (run.DataOffset < 0)
            {
                count = Math.Min(count, Zeros.Length);
                await output.WriteAsync(Zeros.AsMemory(0, (int)count), cancellationToken).ConfigureAwait(false);
            }
            else if (_content.Kind == ContentKind.Inline)
            {
                await output.WriteAsync(_content.Inline.Slice((int)run.DataOffset, (int)count), cancellationToken).ConfigureAwait(false);
            }
            else
            {
                (OpenedFrame? frame, ReadOnlyMemory<byte> bytes) = await RentAsync(run.DataOffset, isSequential: true, cancellationToken).ConfigureAwait(false);
                try
                {
                    count = Math.Min(count, bytes.Length);
                    await output.WriteAsync(bytes[..(int)count], cancellationToken).ConfigureAwait(false);
                }
                finally
                {
                    _reader.Return(frame);
                }
            }

            offset += count;
        }
    }

    /// <summary>Looks every chunk up without reading its data.</summary>
    /// <exception cref="BackupIQException">One is in no pack, or has another length; or their list is damaged.</exception>
    public void Locate(CancellationToken cancellationToken) => Locate(null, cancellationToken);

    /// <summary>The same; <paramref name="found"/> hears where each chunk is.</summary>
    internal void Locate(Action<ChunkReference, ChunkLocation>? found, CancellationToken cancellationToken)
    {
        if (_content.Kind == ContentKind.Inline)
        {
            return;
        }

        if (_pages is not null)
        {
            foreach (ChunkReference chunk in _pages.Chunks())
            {
                cancellationToken.ThrowIfCancellationRequested();
                ChunkLocation location = _reader.Locate(chunk);
                found?.Invoke(chunk, location);
            }

            return;
        }

        for (long at = 0; at < _layout.DataLength;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            (IReadOnlyList<ChunkReference> chunks, int first, long start) = Chunks.At(at);
            at = start;
            for (int i = first; i < chunks.Count; i++)
            {
                ChunkLocation location = _reader.Locate(chunks[i]);
                found?.Invoke(chunks[i], location);
                at += chunks[i].Length;
            }
        }
    }

    /// <summary>Fetches the file's first bytes in the background, because it will be read soon.</summary>
    internal void Prefetch()
    {
        if (_content.Kind != ContentKind.Inline && _layout.DataLength > 0 && !_content.HasLists)
        {
            (IReadOnlyList<ChunkReference> chunks, int first, long start) = Chunks.At(0);
            FetchAhead(chunks, first, start);
        }
    }

    // Holes, and content that stands in the node, need no chunk.
    private bool TryReadHere(in DataRun run, Span<byte> part)
    {
        if (run.DataOffset < 0)
        {
            part.Clear();
            return true;
        }

        if (_content.Kind == ContentKind.Inline)
        {
            _content.Inline.Span.Slice((int)run.DataOffset, part.Length).CopyTo(part);
            return true;
        }

        return false;
    }

    private int Take((OpenedFrame? Frame, ReadOnlyMemory<byte> Bytes) rented, Span<byte> part)
    {
        int count = Math.Min(part.Length, rented.Bytes.Length);
        rented.Bytes.Span[..count].CopyTo(part);
        _reader.Return(rented.Frame);
        return count;
    }

    // Of a page map the run is one of pages, and a place of the data is the same place of the file.
    private DataRun RunAt(long offset)
    {
        if (_pages is null)
        {
            return _layout.At(offset);
        }

        PagePiece piece = _pages.At(offset);
        return new DataRun(piece.Chunk is null ? -1 : offset, piece.Length);
    }

    // What follows a byte of the data in the chunk that holds it.
    private async ValueTask<(OpenedFrame? Frame, ReadOnlyMemory<byte> Bytes)> RentAsync(long dataOffset, bool isSequential, CancellationToken cancellationToken)
    {
        if (_pages is not null)
        {
            PagePiece piece = _pages.At(dataOffset);
            if (isSequential)
            {
                FetchAhead(_pages, dataOffset + piece.Length);
            }

            (OpenedFrame? paged, ReadOnlyMemory<byte> all) = await _reader.RentAsync(piece.Chunk!.Value, cancellationToken).ConfigureAwait(false);
            return (paged, all.Slice(piece.Skip, (int)piece.Length));
        }

        (IReadOnlyList<ChunkReference> chunks, int first, long start) = Chunks.At(dataOffset);
        if (isSequential)
        {
            FetchAhead(chunks, first, start);
        }

        (OpenedFrame? frame, ReadOnlyMemory<byte> bytes) = await _reader.RentAsync(chunks[first], cancellationToken).ConfigureAwait(false);
        return (frame, bytes[(int)(dataOffset - start)..]);
    }

    // A reader that goes on near where it was before, as a system's own read-ahead does in any order, is taken to be sequential.
    private void Follow(long offset, int length)
    {
        lock (_gate)
        {
            _streak = Math.Abs(offset - _lastEnd) <= 1 << 20 ? Math.Min(_streak + 1, 1000) : 0;
            _fetchedTo = _streak == 0 ? 0 : _fetchedTo;
            _lastEnd = Math.Max(offset + length, _streak == 0 ? 0 : _lastEnd);
        }
    }

    private void FetchAhead(PagedLayout pages, long at)
    {
        lock (_gate)
        {
            long to = Math.Min(Length, at + _reader.ReadAhead);
            for (at = Math.Max(at, _fetchedTo); at < to; at = _fetchedTo)
            {
                PagePiece piece = pages.At(at);
                if (piece.Chunk is { } chunk && !_reader.Prefetch(chunk))
                {
                    break;
                }

                _fetchedTo = at + piece.Length;
            }
        }
    }

    private void FetchAhead(IReadOnlyList<ChunkReference> chunks, int first, long start)
    {
        lock (_gate)
        {
            long at = start + chunks[first].Length;
            long to = at + _reader.ReadAhead;
            while (++first < chunks.Count && at < to)
            {
                long end = at + chunks[first].Length;
                if (end > _fetchedTo)
                {
                    if (!_reader.Prefetch(chunks[first]))
                    {
                        break;
                    }

                    _fetchedTo = end;
                }

                at = end;
            }
        }
    }
}
