using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>What came of extending locks.</summary>
/// <param name="Looked">Objects that were looked at.</param>
/// <param name="Extended">Those whose lock would have ended too soon and ends later now.</param>
/// <param name="Problem">Why some could not be extended; null: all could.</param>
public sealed record LockExtension(long Looked, long Extended, string? Problem)
{
    /// <summary>The storage has no locks, or none was asked for.</summary>
    public static LockExtension None { get; } = new(0, 0, null);
}

/// <summary>
/// Extends the locks of what kept snapshots need, so that nobody can delete it while they live: packs, the snapshots, keys and the configuration. What nothing
/// needs is not touched, and its lock ends.
/// </summary>
/// <remarks>
/// Each object is asked for its lock, for nobody else knows when it ends: the URL may have said another number of days when it was put. A lock
/// that ends within half of the days that the URL says is extended to the whole of them, so that each is extended twice in that time at most. Who comes often remembers
/// what was answered.
/// </remarks>
internal sealed class LockPipeline(BackupRepository repository, TimeProvider time, LockMemory? memory = null)
{
    // Requests that carry next to nothing.
    private const int AtOnce = 16;

    /// <summary>Extends what is due.</summary>
    /// <param name="packs">Names of the packs that kept snapshots need.</param>
    /// <param name="snapshots">The snapshots.</param>
    /// <param name="cancellationToken">Stops it; what was extended stays so.</param>
    /// <exception cref="StorageException">The storage cannot be reached. That it refuses is in the result.</exception>
    public async Task<LockExtension> RunAsync(IEnumerable<StorageKey> packs, IEnumerable<SessionId> snapshots, CancellationToken cancellationToken)
    {
        IStorageBackend storage = repository.Storage;
        if (storage.Capabilities is not { ExtendsLocks: true, LocksFor: { } whole })
        {
            return LockExtension.None;
        }

        List<StorageKey> keys = [.. packs, .. snapshots.Select(RepositoryLayout.Snapshot)];
        foreach (string prefix in (string[])[RepositoryLayout.KeyPrefix, RepositoryLayout.ConfigurationPrefix])
        {
            await foreach (StoredObject item in storage.ListAsync(prefix, cancellationToken))
            {
                keys.Add(item.Key);
            }
        }

        DateTimeOffset now = time.GetUtcNow();
        long extended = 0;
        ConcurrentBag<StorageException> refusals = [];
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(keys, parallel, async (key, token) =>
        {
            // Who may not extend one may not extend any: the others are not asked for.
            DateTimeOffset atLeast = now + (whole / 2);
            if (!refusals.IsEmpty || memory?.IsLocked(key, atLeast) == true)
            {
                return;
            }

            try
            {
                bool isExtended = await storage.ExtendLockAsync(key, atLeast, now + whole, token);
                memory?.Note(key, isExtended ? now + whole : atLeast);
                if (isExtended)
                {
                    Interlocked.Increment(ref extended);
                }
            }
            catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
            {
                // Another collector was quicker; what is missing is check's to tell.
            }
            catch (StorageException e) when (!e.IsTransient)
            {
                refusals.Add(e);
            }
        });
        memory?.Save(now);
        return new LockExtension(keys.Count, extended, refusals.TryPeek(out StorageException? one) ? $"{one.Message}; {one.Guidance}" : null);
    }
}
