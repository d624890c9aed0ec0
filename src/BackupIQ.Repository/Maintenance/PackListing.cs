using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>Which packs a storage lists.</summary>
public static class PackListing
{
    /// <summary>The packs that are there.</summary>
    public static async Task<IReadOnlyCollection<PackId>> ReadAsync(BackupRepository repository, CancellationToken cancellationToken)
    {
        HashSet<PackId> packs = [];
        foreach (PackKind kind in (PackKind[])[PackKind.Metadata, PackKind.Data])
        {
            await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.PackPrefix(kind), cancellationToken))
            {
                if (RepositoryLayout.TryParsePack(stored.Key, out PackKind found, out PackId pack) && found == kind)
                {
                    packs.Add(pack);
                }
            }
        }

        return packs;
    }
}
