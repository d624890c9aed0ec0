using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// Reads a pack once, from its first byte to its last, in a buffer of 5 MiB: the same bytes are hashed and their frames opened and their
/// chunks checked. Not thread-safe; each worker has its own.
/// </summary>
internal sealed class PackPass : IDisposable
{
    // Room for the end of one frame that is not whole yet and a block of reading behind it.
    private const int BlockSize = 1 << 20;
    private const int BufferSize = BlockSize + FrameEntry.MaxPlainLength + FrameCipher.TagSize;

    private readonly BackupRepository _repository;
    private readonly FrameOpener _opener;
    private readonly Blake3Hasher _hasher = new();
    private readonly byte[] _dataIdKey;
    private readonly byte[] _metadataIdKey;
    private readonly NativeBuffer _buffer = new();
    private readonly NativeBuffer _plain = new();

    public PackPass(BackupRepository repository)
    {
        _repository = repository;
        _opener = new FrameOpener(repository.Keys);
        _dataIdKey = repository.Keys.DataIdKey.ToArray();
        _metadataIdKey = repository.Keys.MetadataIdKey.ToArray();
    }

    /// <summary>A frame that does not open: its number and why.</summary>
    public Action<int, string> OnBadFrame { get; set; } = static (_, _) => { };

    /// <summary>A chunk that is not what its id says: the numbers of its frame and of the chunk.</summary>
    public Action<int, int> OnBadChunk { get; set; } = static (_, _) => { };

    /// <summary>Bytes that were read, as they are.</summary>
    public Action<long> OnBytes { get; set; } = static _ => { };

    /// <summary>
    /// Reads the pack; opens the frames of <paramref name="plan"/> unless it is null. Returns whether the bytes are those of the name.
    /// </summary>
    /// <exception cref="StorageException">The storage does not give the bytes.</exception>
    public async Task<bool> RunAsync(PackKind kind, PackId id, PackPlan? plan, CancellationToken cancellationToken)
    {
        Memory<byte> buffer = _buffer.Room(BufferSize);
        StorageKey key = RepositoryLayout.Pack(kind, id);
        int[] order = OrderOf(plan);
        int next = 0;
        int held = 0;
        long end = 0;
        int read;
        _hasher.Reset();
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            read = await _repository.Storage.ReadAsync(key, end, buffer.Slice(held, BlockSize), cancellationToken);
            _hasher.Update(buffer.Span.Slice(held, read));
            OnBytes(read);
            held += read;
            end += read;
            next = OpenWhole(kind, id, plan, order, next, end - held, held);
            held = KeepRest(plan, order, next, end, held);
        }
        while (read == BlockSize);

        for (; next < order.Length; next++)
        {
            OnBadFrame(order[next], "the pack ends before it");
        }

        return IsNamed(id);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _opener.Dispose();
        _buffer.Dispose();
        _plain.Dispose();
    }

    // Writers append, so frames come in order; a plan from elsewhere may not.
    private static int[] OrderOf(PackPlan? plan)
    {
        int[] order = new int[plan?.Frames.Count ?? 0];
        for (int i = 0; i < order.Length; i++)
        {
            order[i] = i;
        }

        if (plan is not null)
        {
            Array.Sort(order, (a, b) => plan.Frames[a].Offset.CompareTo(plan.Frames[b].Offset));
        }

        return order;
    }

    private int OpenWhole(PackKind kind, PackId id, PackPlan? plan, int[] order, int next, long start, int held)
    {
        for (; next < order.Length; next++)
        {
            FrameEntry frame = plan!.Frames[order[next]];
            long at = frame.Offset - start;
            if (at < 0)
            {
                OnBadFrame(order[next], "it overlaps another");
            }
            else if (at + frame.StoredLength > held)
            {
                break;
            }
            else
            {
                Open(kind, id, plan, order[next], _buffer.GetSpan().Slice((int)at, (int)frame.StoredLength));
            }
        }

        return next;
    }

    private int KeepRest(PackPlan? plan, int[] order, int next, long end, int held)
    {
        if (next >= order.Length || plan!.Frames[order[next]].Offset >= end)
        {
            return 0;
        }

        int rest = (int)(end - plan.Frames[order[next]].Offset);
        _buffer.GetSpan().Slice(held - rest, rest).CopyTo(_buffer.GetSpan());
        return rest;
    }

    private void Open(PackKind kind, PackId id, PackPlan plan, int number, ReadOnlySpan<byte> stored)
    {
        FrameEntry entry = plan.Frames[number];
        FrameReference frame = FrameReference.Of(id, kind, entry, plan.Salts[entry.SaltRow]);
        Span<byte> plain = _plain.Room((int)entry.PlainLength).Span;
        try
        {
            _opener.Open(frame, stored, plain);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            OnBadFrame(number, $"the frame at byte {entry.Offset} does not open");
            return;
        }

        for (int c = plan.FirstChunk[number]; c < plan.FirstChunk[number + 1]; c++)
        {
            PlannedChunk chunk = plan.Chunks[c];
            if (chunk.Offset + (long)chunk.Length > plain.Length || !IsChunk(kind, chunk.Id, plan.HasWholeIds, plain.Slice((int)chunk.Offset, (int)chunk.Length)))
            {
                OnBadChunk(number, c);
            }
        }
    }

    private bool IsChunk(PackKind kind, in ChunkId expected, bool whole, ReadOnlySpan<byte> plain)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        Blake3.HashKeyed(kind == PackKind.Data ? _dataIdKey : _metadataIdKey, plain, digest);
        ChunkId found = ChunkId.Read(digest);
        return whole ? found == expected : found.High == expected.High;
    }

    private bool IsNamed(PackId id)
    {
        Span<byte> digest = stackalloc byte[PackId.Size];
        _hasher.Finish(digest);
        return PackId.Read(digest) == id;
    }
}
