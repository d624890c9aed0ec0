using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>Which packs a storage lists.</summary>
public static class PackListing
{
    /// <summary>The packs that are there.</summary>
    public static async Task<IReadOnlyCollection<PackId>> ReadAsync(BackupRepository repository, CancellationToken cancellationToken) =>
        (await ReadSizesAsync(repository, cancellationToken)).Keys;

    /// <summary>The same, with the bytes of each.</summary>
    public static async Task<Dictionary<PackId, long>> ReadSizesAsync(BackupRepository repository, CancellationToken cancellationToken)
    {
        Dictionary<PackId, long> packs = [];
        foreach (PackKind kind in (PackKind[])[PackKind.Metadata, PackKind.Data])
        {
            await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.PackPrefix(kind), cancellationToken))
            {
                if (RepositoryLayout.TryParsePack(stored.Key, out PackKind found, out PackId pack) && found == kind)
                {
                    packs[pack] = stored.Size;
                }
            }
        }

        return packs;
    }
}
