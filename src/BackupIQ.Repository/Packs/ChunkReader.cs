using BackupIQ.Primitives;
using BackupIQ.Repository.Index;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// Reads single chunks, verified: for trees and for browsing. Blocks on the storage; not thread-safe.
/// </summary>
public sealed class ChunkReader : IDisposable
{
    private const int MaxRefreshes = 3;

    private readonly BackupRepository _repository;
    private readonly ChunkIndex _index;
    private readonly RecentFrames<FrameHandle> _frames;
    private int _refreshes;

    /// <summary><paramref name="cachedFrames"/>: how many opened frames (of up to 4 MiB, mostly 1) are kept.</summary>
    public ChunkReader(BackupRepository repository, ChunkIndex index, int cachedFrames = 8)
    {
        _repository = repository;
        _index = index;
        _frames = new RecentFrames<FrameHandle>(repository, cachedFrames);
    }

    /// <summary>
    /// The chunk's bytes, checked against its id; where several packs have it, from any that has it whole. They are the caller's own.
    /// </summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>, or the storage cannot be reached.</exception>
    public ReadOnlyMemory<byte> Read(PackKind kind, ChunkId id)
    {
        // Maintenance may have moved the chunk since the index was read: what is not found, or gone, is listed again.
        if (!_index.TryFind(kind, id, out ChunkLocation location) && !(Refresh() && _index.TryFind(kind, id, out location)))
        {
            throw new BackupIQException(ErrorCodes.ChunkMissing, $"Chunk {id} is in no pack of the repository.");
        }

        try
        {
            return Read(kind, id, location);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            FrameReference frame = _index.GetFrame(location.Frame);
            return TryReadElsewhere(id, frame, out ReadOnlyMemory<byte> chunk) ? chunk : throw AsDamage(e, frame.Pack);
        }
    }

    /// <summary>
    /// Reads a chunk from another place than the one that turned out to be damaged or gone; false when no other has it whole. What maintenance
    /// has moved meanwhile is listed again.
    /// </summary>
    public bool TryReadElsewhere(in ChunkId id, in FrameReference damaged, out ReadOnlyMemory<byte> chunk) =>
        TryReadKnown(id, damaged, out chunk) || (Refresh() && TryReadKnown(id, damaged, out chunk));

    /// <inheritdoc/>
    public void Dispose() => _frames.Dispose();

    private bool TryReadKnown(in ChunkId id, in FrameReference damaged, out ReadOnlyMemory<byte> chunk)
    {
        foreach (ChunkLocation place in _index.FindAll(damaged.Kind, id))
        {
            FrameReference frame = _index.GetFrame(place.Frame);
            if (frame.Pack == damaged.Pack && frame.Offset == damaged.Offset)
            {
                continue;
            }

            try
            {
                chunk = Read(damaged.Kind, id, place);
                return true;
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                // The next place, if there is one: the failure to tell is the first one.
            }
        }

        chunk = default;
        return false;
    }

    // A pack that is gone or unreadable is damage of the repository, not trouble with the storage.
    private static BackupIQException AsDamage(BackupIQException exception, PackId pack) =>
        exception.Code == ErrorCodes.StorageObjectNotFound ? new BackupIQException(ErrorCodes.ChunkMissing, $"Pack {pack} is not there.", null, exception)
        : exception.Code == ErrorCodes.Storage ? new CorruptDataException($"Pack {pack} cannot be read: {exception.Message}", exception)
        : exception;

    private ReadOnlyMemory<byte> Read(PackKind kind, in ChunkId id, in ChunkLocation location)
    {
        FrameReference frame = _index.GetFrame(location.Frame);
        ReadOnlySpan<byte> plain = _frames.Get(location.Frame, frame, CancellationToken.None);
        if (location.Offset + (long)location.Length > plain.Length)
        {
            throw new CorruptDataException($"Chunk {id} lies outside its frame.");
        }

        ReadOnlySpan<byte> chunk = plain.Slice((int)location.Offset, (int)location.Length);
        return _frames.Opener.IsChunk(kind, id, chunk)
            ? chunk.ToArray()
            : throw new CorruptDataException($"Pack {frame.Pack} is damaged: chunk {id} has other bytes.");
    }

    private bool Refresh()
    {
        // What is lost for good is not listed for again and again.
        if (_refreshes++ >= MaxRefreshes)
        {
            return false;
        }

        IndexLoader.RefreshAsync(_repository, _index, CancellationToken.None).GetAwaiter().GetResult();
        return true;
    }
}
