using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// Reads chunks for a check or a repair: from any pack of the storage itself that has them whole. What does not open is marked, so that nobody tries again, and told
/// of its pack. Not thread-safe; blocks on the storage.
/// </summary>
public sealed class CheckedChunkReader : IDisposable
{
    private const int Kept = 8;

    private readonly CheckIndex _index;
    private readonly RecentFrames<uint> _frames;

    internal CheckedChunkReader(BackupRepository repository, CheckIndex index)
    {
        _index = index;
        _frames = new RecentFrames<uint>(repository, Kept, onlyHere: true);
    }

    /// <summary>A metadata chunk's bytes, checked against its id; the caller's own.</summary>
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
            if (TryFrame(at.Frame, pack!, out ReadOnlySpan<byte> plain, cancellationToken))
            {
                ReadOnlySpan<byte> chunk = plain.Slice((int)at.Offset, (int)at.Length);
                if (_frames.Opener.IsChunk(kind, id, chunk))
                {
                    pack!.Use();
                    return chunk.ToArray();
                }

                pack!.Report("it holds a chunk whose bytes are not those of its id");
            }

            _index.MarkBadEntry(entry);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _frames.Dispose();

    private bool TryFrame(uint frame, CheckedPack pack, out ReadOnlySpan<byte> plain, CancellationToken cancellationToken)
    {
        FrameReference reference = _index.FrameAt(frame);
        try
        {
            plain = _frames.Get(frame, reference, cancellationToken);
            return true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            pack.Report($"the frame at byte {reference.Offset} does not open");
            plain = default;
            return false;
        }
    }
}
