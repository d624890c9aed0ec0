using BackupIQ.Repository.Format;

namespace BackupIQ.Repository.Packs;

/// <summary>Raw reads of packs, for whoever plans its own requests.</summary>
public static class PackBytes
{
    /// <summary>Reads from a pack until <paramref name="destination"/> is full or the pack ends; returns the bytes read.</summary>
    /// <exception cref="Primitives.BackupIQException"><c>StorageObjectNotFound</c> when the pack is gone, or another storage failure.</exception>
    public static ValueTask<int> ReadPackAsync(
        this BackupRepository repository, PackKind kind, PackId pack, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
        repository.Storage.ReadAsync(RepositoryLayout.Pack(kind, pack), offset, destination, cancellationToken);
}
