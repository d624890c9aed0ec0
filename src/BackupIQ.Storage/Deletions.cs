namespace BackupIQ.Storage;

/// <summary>Deletions of many objects.</summary>
public static class Deletions
{
    /// <summary>Nothing failed.</summary>
    public static readonly IReadOnlyDictionary<StorageKey, StorageException> None = new Dictionary<StorageKey, StorageException>();

    /// <summary>One after the other, as <see cref="IStorageBackend.DeleteAllAsync"/> promises.</summary>
    /// <returns>What could not be deleted, and why.</returns>
    public static async ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> OneByOneAsync(IStorageBackend storage, IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        Dictionary<StorageKey, StorageException>? failed = null;
        foreach (StorageKey key in keys)
        {
            try
            {
                await storage.DeleteAsync(key, cancellationToken).ConfigureAwait(false);
            }
            catch (StorageException e)
            {
                (failed ??= [])[key] = e;
            }
        }

        return failed ?? None;
    }

    /// <summary>All of them, or a failure when all were tried.</summary>
    /// <exception cref="StorageException">One of those that failed.</exception>
    public static async ValueTask RequireAsync(IStorageBackend storage, IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        IReadOnlyDictionary<StorageKey, StorageException> failed = await storage.DeleteAllAsync(keys, cancellationToken).ConfigureAwait(false);
        foreach (StorageException failure in failed.Values)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        }
    }
}
