using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>
/// Plans of destructive work as they are stored before it is done: who meant to remove what. Nothing depends on them; they tell people, and
/// the storage's time of the put is a clock that no client sets.
/// </summary>
public static class PlanObjects
{
    /// <summary>Puts the parts of a plan.</summary>
    /// <param name="repository">The repository.</param>
    /// <param name="verb">What is to be done: <c>forget</c>.</param>
    /// <param name="parts">Its documents, each small enough for one sealed object of at most 64 KiB.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>When the last part was stored, by the storage's clock where it has one.</returns>
    public static async Task<DateTimeOffset> PutAsync(
        BackupRepository repository, string verb, IEnumerable<byte[]> parts, CancellationToken cancellationToken)
    {
        repository.Configuration.Require(RepositoryOperation.Delete);
        SessionId id = SessionId.New();
        StorageKey key = default;
        int number = 0;
        foreach (byte[] part in parts)
        {
            key = RepositoryLayout.Plan(verb, id, number++);
            byte[] bytes = SealedObject.Seal(repository.Keys, ObjectKind.Plan, key, part);
            await repository.Storage.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken);
        }

        return number == 0 ? default : (await repository.Storage.StatAsync(key, cancellationToken))?.StoredAt ?? default;
    }

    /// <summary>Deletes the plans of <paramref name="verb"/> that were stored before <paramref name="before"/>.</summary>
    public static async Task SweepAsync(BackupRepository repository, string verb, DateTimeOffset before, CancellationToken cancellationToken)
    {
        List<StorageKey> old = [];
        await foreach (StoredObject stored in repository.Storage.ListAsync(RepositoryLayout.PlanPrefix, cancellationToken))
        {
            if (stored.StoredAt < before && stored.Key.Value.StartsWith($"{RepositoryLayout.PlanPrefix}{verb}.", StringComparison.Ordinal))
            {
                old.Add(stored.Key);
            }
        }

        await Deletions.RequireAsync(repository.Storage, old, cancellationToken);
    }
}
