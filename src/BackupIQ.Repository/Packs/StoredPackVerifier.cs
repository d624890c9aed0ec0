using BackupIQ.Repository.Format;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Index;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Packs;

/// <summary>Reads packs back: the name against the bytes, and every chunk opened against its id.</summary>
public static class StoredPackVerifier
{
    /// <summary>Verifies packs one after the other; returns when all of them are right.</summary>
    /// <exception cref="CorruptDataException">One is not; names it.</exception>
    public static async Task VerifyAsync(
        BackupRepository repository, ChunkIndex index, IEnumerable<(PackId Id, PackKind Kind)> packs, CancellationToken cancellationToken)
    {
        using PackVerifier verifier = new(repository);
        foreach ((PackId id, PackKind kind) in packs)
        {
            await verifier.VerifyAsync(kind, id, openChunks: true, cancellationToken);
        }
    }
}

/// <summary>Verifies one pack after the other, with buffers of its own. Not thread-safe.</summary>
public sealed class PackVerifier : IDisposable
{
    private const int BlockSize = 1 << 20;

    private readonly BackupRepository _repository;
    private readonly FrameOpener _opener;
    private readonly Blake3Hasher _hasher = new();
    private readonly byte[] _block = new byte[BlockSize];
    private byte[] _stored = [];
    private byte[] _plain = [];

    public PackVerifier(BackupRepository repository)
    {
        _repository = repository;
        _opener = new FrameOpener(repository.Keys);
    }

    /// <summary>
    /// Checks a pack's bytes against its name, and, with <paramref name="openChunks"/>, each of its frames and chunks. Returns its size.
    /// </summary>
    /// <exception cref="CorruptDataException">It is damaged; says where.</exception>
    public async Task<long> VerifyAsync(PackKind kind, PackId id, bool openChunks, CancellationToken cancellationToken)
    {
        StorageKey key = RepositoryLayout.Pack(kind, id);
        long size = await HashAsync(key, id, cancellationToken);
        if (openChunks)
        {
            await OpenAsync(kind, id, key, size, cancellationToken);
        }

        return size;
    }

    /// <inheritdoc/>
    public void Dispose() => _opener.Dispose();

    private async Task<long> HashAsync(StorageKey key, PackId id, CancellationToken cancellationToken)
    {
        _hasher.Reset();
        long at = 0;
        int read;
        do
        {
            cancellationToken.ThrowIfCancellationRequested();
            read = await _repository.Storage.ReadAsync(key, at, _block, cancellationToken);
            _hasher.Update(_block.AsSpan(0, read));
            at += read;
        }
        while (read == _block.Length);
        byte[] digest = new byte[PackId.Size];
        _hasher.Finish(digest);
        return PackId.Read(digest) == id ? at : throw new CorruptDataException($"Pack {id} is damaged: its bytes are not those of its name.");
    }

    private async Task OpenAsync(PackKind kind, PackId id, StorageKey key, long size, CancellationToken cancellationToken)
    {
        (PackHead head, PackContents contents) = await PackReader.ReadContentsAsync(_repository, kind, id, size, cancellationToken);
        int chunk = 0;
        foreach (FrameEntry entry in contents.Frames)
        {
            FrameReference frame = new()
            {
                Pack = id,
                Kind = kind,
                Offset = entry.Offset,
                StoredLength = entry.StoredLength,
                PlainLength = entry.PlainLength,
                Codec = entry.Codec,
                Counter = entry.Counter,
                Salt = head.Salts[entry.SaltRow],
            };
            Grow(ref _stored, frame.StoredLength);
            Grow(ref _plain, frame.PlainLength);
            Memory<byte> stored = _stored.AsMemory(0, (int)frame.StoredLength);
            int read = await _repository.Storage.ReadAsync(key, frame.Offset, stored, cancellationToken);
            _opener.Open(frame, stored.Span[..read], _plain.AsSpan(0, (int)frame.PlainLength));
            int offset = 0;
            for (int i = 0; i < entry.ChunkCount; i++, chunk++)
            {
                ChunkEntry expected = contents.Chunks[chunk];
                if (!_opener.IsChunk(kind, expected.Id, _plain.AsSpan(offset, (int)expected.Length)))
                {
                    throw new CorruptDataException($"Pack {id} is damaged: chunk {expected.Id} has other bytes.");
                }

                offset += (int)expected.Length;
            }
        }
    }

    private static void Grow(ref byte[] buffer, uint length)
    {
        if (buffer.Length < length)
        {
            buffer = new byte[Math.Max(length, BlockSize)];
        }
    }
}
