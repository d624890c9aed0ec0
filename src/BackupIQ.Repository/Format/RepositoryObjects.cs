using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Format;

/// <summary>Reads sealed objects whole.</summary>
public static class RepositoryObjects
{
    /// <summary>Reads and opens an object.</summary>
    /// <exception cref="StorageException">It is not there, or the storage fails.</exception>
    /// <exception cref="CorruptDataException">It is not what was written under that name.</exception>
    public static async Task<byte[]> ReadObjectAsync(
        this BackupRepository repository, ObjectKind kind, StorageKey key, CancellationToken cancellationToken) =>
        SealedObject.Open(repository.Keys, kind, key, await ReadBytesAsync(repository.Storage, key, cancellationToken));

    /// <summary>As <see cref="ReadObjectAsync"/>; null when an object of another kind has that name, such as a fence in a snapshot's place.</summary>
    public static async Task<byte[]?> TryReadObjectAsync(
        this BackupRepository repository, ObjectKind kind, StorageKey key, CancellationToken cancellationToken)
    {
        byte[] bytes = await ReadBytesAsync(repository.Storage, key, cancellationToken);
        return kind == ObjectKind.Snapshot && SealedObject.TryPeekKind(bytes, out ObjectKind found) && found == ObjectKind.Fence
            ? null
            : SealedObject.Open(repository.Keys, kind, key, bytes);
    }

    private static async Task<byte[]> ReadBytesAsync(IStorageBackend storage, StorageKey key, CancellationToken cancellationToken)
    {
        StoredObject stored = await storage.StatAsync(key, cancellationToken)
            ?? throw new StorageException(ErrorCodes.StorageObjectNotFound, $"{key} is not in the repository.");
        if (stored.Size > SealedObject.MaxSize)
        {
            throw new CorruptDataException($"{key} is larger than any such object.");
        }

        byte[] bytes = new byte[stored.Size];
        int read = await storage.ReadAsync(key, 0, bytes, cancellationToken);
        return read == bytes.Length ? bytes : throw new CorruptDataException($"{key} is cut short.");
    }
}
