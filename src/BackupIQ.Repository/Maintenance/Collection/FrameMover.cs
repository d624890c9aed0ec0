using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>A frame that goes to another pack as it is, with the salt under which it was sealed and all of its chunks.</summary>
internal sealed record MovedFrame(CollectedPack From, FrameEntry Frame, SaltRow Salt, ChunkEntry[] Chunks);

/// <summary>
/// Gathers frames that move as they are, from all workers, until they fill a pack or its table of salts; then whoever brought the last one
/// writes that pack: its head, which names all salts, comes first, so what goes in must be known before. Dead chunks of a frame that moves
/// stay listed, and anybody may use them again.
/// </summary>
internal sealed class FrameMover(BackupRepository repository, UploadSession session, Func<PackKind, long> targetSize)
{
    // Row 0 is the new pack's own.
    private const int MaxForeignSalts = PackHead.MaxSalts - 1;

    private readonly Lock _gate = new();
    private readonly Batch[] _batches = [new(), new(), new()];

    /// <summary>Takes a frame. Where a pack is full now it is written by way of <paramref name="place"/>, the caller's.</summary>
    public async Task AddAsync(MovedFrame frame, FrameWorkplace place, CancellationToken cancellationToken)
    {
        List<MovedFrame>? full = null;
        PackKind kind = frame.From.Kind;
        lock (_gate)
        {
            Batch batch = _batches[(int)kind];
            if (batch.Bytes >= targetSize(kind) || (batch.Salts.Count >= MaxForeignSalts && !batch.Salts.Contains(frame.Salt)))
            {
                full = batch.Frames;
                _batches[(int)kind] = batch = new Batch();
            }

            batch.Frames.Add(frame);
            batch.Salts.Add(frame.Salt);
            batch.Bytes += frame.Frame.StoredLength;
        }

        if (full is not null)
        {
            await WriteAsync(kind, full, place, cancellationToken);
        }
    }

    /// <summary>Writes what has been gathered.</summary>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        using FrameWorkplace place = new(repository.Keys);
        foreach (PackKind kind in (PackKind[])[PackKind.Data, PackKind.Metadata])
        {
            List<MovedFrame> frames;
            lock (_gate)
            {
                frames = _batches[(int)kind].Frames;
                _batches[(int)kind] = new Batch();
            }

            if (frames.Count > 0)
            {
                await WriteAsync(kind, frames, place, cancellationToken);
            }
        }
    }

    public static async Task<Memory<byte>> ReadAsync(
        BackupRepository repository, CollectedPack pack, FrameEntry frame, NativeBuffer buffer, CancellationToken cancellationToken)
    {
        Memory<byte> stored = buffer.Room((int)frame.StoredLength);
        int read = await repository.ReadPackAsync(pack.Kind, pack.Id, frame.Offset, stored, cancellationToken);
        return read == stored.Length ? stored : throw new CorruptDataException($"Pack {pack.Id} is cut short.");
    }

    private async Task WriteAsync(PackKind kind, List<MovedFrame> frames, FrameWorkplace place, CancellationToken cancellationToken)
    {
        SaltRow[] salts = [.. frames.Select(static f => f.Salt).Distinct()];
        OpenPack pack = session.Packs.BeginAside(kind, salts);
        try
        {
            foreach (MovedFrame moved in frames)
            {
                Memory<byte> bytes = await ReadAsync(repository, moved.From, moved.Frame, place.Stored, cancellationToken);
                byte row = (byte)(1 + Array.IndexOf(salts, moved.Salt));
                session.Packs.AppendAside(pack, bytes.Span, moved.Frame with { SaltRow = row }, moved.Chunks);

                // Behind the append, for it is opened in its place. Of a pack that holds what does not open nothing is stored.
                Verify(place, moved, bytes);
            }

            await session.Packs.StoreAsideAsync(pack);
        }
        finally
        {
            PackSink.Discard(pack);
        }
    }

    private static void Verify(FrameWorkplace place, MovedFrame moved, Memory<byte> stored)
    {
        Span<byte> plain = place.Open(FrameReference.Of(moved.From.Id, moved.From.Kind, moved.Frame, moved.Salt), stored).Span;
        int at = 0;
        foreach (ChunkEntry chunk in moved.Chunks)
        {
            if (!place.Opener.IsChunk(moved.From.Kind, chunk.Id, plain.Slice(at, (int)chunk.Length)))
            {
                throw new CorruptDataException($"Pack {moved.From.Id} is damaged: chunk {chunk.Id} has other bytes.");
            }

            at += (int)chunk.Length;
        }
    }

    private sealed class Batch
    {
        public List<MovedFrame> Frames { get; } = [];

        public HashSet<SaltRow> Salts { get; } = [];

        public long Bytes { get; set; }
    }
}
