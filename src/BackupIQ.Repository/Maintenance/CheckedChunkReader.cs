using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// Reads chunks for a check or a repair: from any pack that has them whole. What does not open is marked, so that nobody tries again, and told
/// of its pack. Keeps the frames opened last. Not thread-safe; blocks on the storage.
/// </summary>
public sealed class CheckedChunkReader : IDisposable
{
    private const int Kept = 8;

    private readonly BackupRepository _repository;
    private readonly CheckIndex _index;
    private readonly FrameOpener _opener;
    private readonly LinkedList<(uint Frame, byte[] Plain)> _recent = [];
    private byte[] _stored = [];

    internal CheckedChunkReader(BackupRepository repository, CheckIndex index)
    {
        _repository = repository;
        _index = index;
        _opener = new FrameOpener(repository.Keys);
    }

    /// <summary>A metadata chunk's bytes, checked against its id; they stay valid as long as the caller keeps them.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>, or the storage cannot be reached.</exception>
    public ReadOnlyMemory<byte> Read(ChunkId id, CancellationToken cancellationToken) => Read(PackKind.Metadata, id, -1, cancellationToken);

    /// <summary>The same for a chunk of either kind and, unless it is -1, of this length.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>, or the storage cannot be reached.</exception>
    public ReadOnlyMemory<byte> Read(PackKind kind, ChunkId id, long length, CancellationToken cancellationToken)
    {
        while (true)
        {
            ChunkFate fate = _index.Find(kind, id, length, out long entry, out CheckedPack? pack);
            if (fate != ChunkFate.Present)
            {
                throw fate == ChunkFate.Missing
                    ? new BackupIQException(ErrorCodes.ChunkMissing, $"Chunk {id} is in no pack of the repository.")
                    : new CorruptDataException($"Chunk {id} cannot be read from pack {pack!.Id}.");
            }

            IndexEntry at = _index.EntryAt(entry);
            if (TryFrame(at.Frame, pack!, cancellationToken) is { } plain)
            {
                ReadOnlyMemory<byte> chunk = plain.AsMemory((int)at.Offset, (int)at.Length);
                if (_opener.IsChunk(kind, id, chunk.Span))
                {
                    pack!.Use();
                    return chunk;
                }

                pack!.Report("it holds a chunk whose bytes are not those of its id");
            }

            _index.MarkBadEntry(entry);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _opener.Dispose();

    private byte[]? TryFrame(uint frame, CheckedPack pack, CancellationToken cancellationToken)
    {
        for (LinkedListNode<(uint Frame, byte[] Plain)>? node = _recent.First; node is not null; node = node.Next)
        {
            if (node.Value.Frame == frame)
            {
                _recent.Remove(node);
                _recent.AddFirst(node);
                return node.Value.Plain;
            }
        }

        try
        {
            byte[] plain = Fetch(_index.FrameAt(frame), cancellationToken);
            _recent.AddFirst((frame, plain));
            if (_recent.Count > Kept)
            {
                _recent.RemoveLast();
            }

            return plain;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            pack.Report($"the frame at byte {_index.FrameAt(frame).Offset} does not open");
            return null;
        }
    }

    private byte[] Fetch(in FrameReference frame, CancellationToken cancellationToken)
    {
        if (_stored.Length < frame.StoredLength)
        {
            _stored = new byte[Math.Max(frame.StoredLength, 1 << 20)];
        }

        Memory<byte> stored = _stored.AsMemory(0, (int)frame.StoredLength);
        int read = _repository.Storage.ReadAsync(RepositoryLayout.Pack(frame.Kind, frame.Pack), frame.Offset, stored, cancellationToken)
            .AsTask().GetAwaiter().GetResult();
        byte[] plain = new byte[frame.PlainLength];
        _opener.Open(frame, stored.Span[..read], plain);
        return plain;
    }
}
