using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Repository.Maintenance.Repair;

/// <summary>What can still be read of a damaged pack.</summary>
/// <param name="Frames">Frames that it had, as far as anybody knows.</param>
/// <param name="Readable">Those that open and hold what they should.</param>
/// <param name="Moved">Those of them that hold something which stands nowhere else; they were put into a new pack.</param>
internal readonly record struct Salvage(int Frames, int Readable, int Moved);

/// <summary>
/// Moves what can still be read of a damaged pack into a new one: frames as they are, with the salts under which they were sealed. Every chunk
/// is opened and named by its bytes, so no damage goes along. Not thread-safe.
/// </summary>
internal sealed class PackSalvage : IDisposable
{
    private readonly RepositoryKeys _keys;
    private readonly FrameOpener _opener;

    public PackSalvage(RepositoryKeys keys)
    {
        _keys = keys;
        _opener = new FrameOpener(keys);
    }

    /// <summary>Counts what can be read, and moves it when there is a session.</summary>
    /// <param name="copy">A copy of the pack, mended as far as could be.</param>
    /// <param name="plan">What should be in it.</param>
    /// <param name="session">
    /// The session that writes the new pack. It must have been opened after the damaged pack was marked, so that what stands there alone
    /// counts as absent. Null: nothing is moved.
    /// </param>
    public async Task<Salvage> RunAsync(PackKind kind, PackId id, SafeFileHandle copy, PackPlan plan, UploadSession? session, CancellationToken cancellationToken)
    {
        int readable = 0;
        List<(FrameEntry Frame, ChunkEntry[] Chunks)> moving = [];
        for (int f = 0; f < plan.Frames.Count; f++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (Open(kind, id, copy, plan, f) is { } chunks)
            {
                readable++;
                if (session is not null && chunks.Any(chunk => !session.Has(kind, chunk.Id)))
                {
                    moving.Add((plan.Frames[f], chunks));
                }
            }
        }

        // Row 0 is the new pack's own.
        foreach (IGrouping<int, (FrameEntry Frame, ChunkEntry[] Chunks)> part in moving.GroupBy(static frame => frame.Frame.SaltRow / (PackHead.MaxSalts - 1)))
        {
            await MoveAsync(kind, copy, plan, [.. part], session!);
        }

        return new Salvage(plan.Frames.Count, readable, moving.Count);
    }

    /// <inheritdoc/>
    public void Dispose() => _opener.Dispose();

    private static async Task MoveAsync(
        PackKind kind, SafeFileHandle copy, PackPlan plan, List<(FrameEntry Frame, ChunkEntry[] Chunks)> frames, UploadSession session)
    {
        SaltRow[] salts = [.. frames.Select(frame => plan.Salts[frame.Frame.SaltRow]).Distinct()];
        OpenPack pack = session.Packs.BeginAside(kind, salts);
        try
        {
            foreach ((FrameEntry frame, ChunkEntry[] chunks) in frames)
            {
                byte row = (byte)(1 + Array.IndexOf(salts, plan.Salts[frame.SaltRow]));
                session.Packs.AppendAside(pack, Read(copy, frame), frame with { SaltRow = row }, chunks);
            }

            await session.Packs.StoreAsideAsync(pack);
        }
        finally
        {
            PackSink.Discard(pack);
        }
    }

    // The frame's chunks with the ids that their bytes have; null when it does not open, or holds others than it should.
    private ChunkEntry[]? Open(PackKind kind, PackId id, SafeFileHandle copy, PackPlan plan, int number)
    {
        FrameEntry entry = plan.Frames[number];
        FrameReference frame = FrameReference.Of(id, kind, entry, plan.Salts[entry.SaltRow]);
        byte[] plain = new byte[entry.PlainLength];
        try
        {
            _opener.Open(frame, Read(copy, entry), plain);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return null;
        }

        ReadOnlySpan<byte> idKey = kind == PackKind.Data ? _keys.DataIdKey : _keys.MetadataIdKey;
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        long end = 0;
        ChunkEntry[] chunks = new ChunkEntry[plan.FirstChunk[number + 1] - plan.FirstChunk[number]];
        for (int c = 0; c < chunks.Length; c++)
        {
            PlannedChunk planned = plan.Chunks[plan.FirstChunk[number] + c];
            if (planned.Offset != end || planned.Length > plain.Length - end)
            {
                return null;
            }

            end += planned.Length;

            Blake3.HashKeyed(idKey, plain.AsSpan((int)planned.Offset, (int)planned.Length), digest);
            ChunkId found = ChunkId.Read(digest);
            if (found.High != planned.Id.High)
            {
                return null;
            }

            chunks[c] = new ChunkEntry(found, planned.Length);
        }

        return end == plain.Length ? chunks : null;
    }

    private static byte[] Read(SafeFileHandle copy, in FrameEntry frame)
    {
        byte[] bytes = new byte[frame.StoredLength];
        int read = 0;
        int now;
        while (read < bytes.Length && (now = RandomAccess.Read(copy, bytes.AsSpan(read), frame.Offset + read)) > 0)
        {
            read += now;
        }

        return bytes;
    }
}
