using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// Reads metadata chunks for a collector, from any pack that has them whole; a copy that does not open is noted, so that it is not the one
/// that is kept. Keeps the frames opened last. Not thread-safe; blocks on the storage.
/// </summary>
public sealed class CollectionReader : IDisposable
{
    private const int Kept = 8;

    private readonly BackupRepository _repository;
    private readonly CollectionIndex _index;
    private readonly FrameOpener _opener;
    private readonly LinkedList<(IndexTier Tier, uint Frame, byte[] Plain)> _recent = [];
    private byte[] _stored = [];

    internal CollectionReader(BackupRepository repository, CollectionIndex index)
    {
        _repository = repository;
        _index = index;
        _opener = new FrameOpener(repository.Keys);
    }

    /// <summary>The chunk's bytes, checked against its id; they stay valid as long as the caller keeps them.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c>: no pack has it whole; or the storage cannot be reached.</exception>
    public ReadOnlyMemory<byte> Read(ChunkId id, CancellationToken cancellationToken)
    {
        foreach ((IndexTier tier, long entry) in _index.Copies(id))
        {
            IndexEntry at = tier.Run.EntryAt((ulong)entry);
            try
            {
                byte[] plain = Frame(tier, at.Frame, cancellationToken);
                ReadOnlyMemory<byte> chunk = plain.AsMemory((int)at.Offset, (int)at.Length);
                if (_opener.IsChunk(PackKind.Metadata, id, chunk.Span))
                {
                    return chunk;
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
    public void Dispose() => _opener.Dispose();

    private byte[] Frame(IndexTier tier, uint frame, CancellationToken cancellationToken)
    {
        for (LinkedListNode<(IndexTier Tier, uint Frame, byte[] Plain)>? node = _recent.First; node is not null; node = node.Next)
        {
            if (node.Value.Frame == frame && ReferenceEquals(node.Value.Tier, tier))
            {
                _recent.Remove(node);
                _recent.AddFirst(node);
                return node.Value.Plain;
            }
        }

        byte[] plain = Fetch(CollectionIndex.FrameAt(tier, frame), cancellationToken);
        _recent.AddFirst((tier, frame, plain));
        if (_recent.Count > Kept)
        {
            _recent.RemoveLast();
        }

        return plain;
    }

    private byte[] Fetch(in FrameReference frame, CancellationToken cancellationToken)
    {
        PackRewriter.Room(ref _stored, frame.StoredLength);
        Memory<byte> stored = _stored.AsMemory(0, (int)frame.StoredLength);
        int read = _repository.ReadPackAsync(frame.Kind, frame.Pack, frame.Offset, stored, cancellationToken).AsTask().GetAwaiter().GetResult();
        byte[] plain = new byte[frame.PlainLength];
        _opener.Open(frame, stored.Span[..read], plain);
        return plain;
    }
}
