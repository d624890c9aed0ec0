using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// Reads metadata chunks for a collector, from any pack that has them whole; a copy that does not open is noted, so that it is not the one
/// that is kept. Not thread-safe; blocks on the storage.
/// </summary>
public sealed class CollectionReader : IDisposable
{
    private const int Kept = 8;

    private readonly CollectionIndex _index;
    private readonly RecentFrames<(IndexTier Tier, uint Frame)> _frames;

    internal CollectionReader(BackupRepository repository, CollectionIndex index)
    {
        _index = index;
        _frames = new RecentFrames<(IndexTier Tier, uint Frame)>(repository, Kept);
    }

    /// <summary>The chunk's bytes, checked against its id; the caller's own.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c>: no pack has it whole; or the storage cannot be reached.</exception>
    public ReadOnlyMemory<byte> Read(ChunkId id, CancellationToken cancellationToken)
    {
        foreach ((IndexTier tier, long entry) in _index.Copies(id))
        {
            IndexEntry at = tier.Run.EntryAt((ulong)entry);
            try
            {
                ReadOnlySpan<byte> plain = _frames.Get((tier, at.Frame), CollectionIndex.FrameAt(tier, at.Frame), cancellationToken);
                ReadOnlySpan<byte> chunk = plain.Slice((int)at.Offset, (int)at.Length);
                if (_frames.Opener.IsChunk(PackKind.Metadata, id, chunk))
                {
                    return chunk.ToArray();
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                // Another copy may do.
            }

            tier.Bad.Set(entry);
        }

        throw new BackupIQException(ErrorCodes.ChunkMissing, $"Directory {id}, which a snapshot needs, is in no pack that can be read; nothing may be deleted.");
    }

    /// <inheritdoc/>
    public void Dispose() => _frames.Dispose();
}
