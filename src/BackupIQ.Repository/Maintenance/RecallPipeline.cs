using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance;

/// <summary>Packs of those that were asked for which cannot be read yet.</summary>
/// <param name="Archived">They lie in an archive, and nobody has asked for them.</param>
/// <param name="Returning">They are being brought back.</param>
public sealed record RecallState(IReadOnlyList<StoredObject> Archived, IReadOnlyList<StoredObject> Returning)
{
    /// <summary>All of them can be read.</summary>
    public bool IsReady => Archived.Count == 0 && Returning.Count == 0;

    /// <summary>How many cannot.</summary>
    public int Objects => Archived.Count + Returning.Count;

    /// <summary>Their bytes.</summary>
    public long Bytes => Archived.Concat(Returning).Sum(static item => item.Size);
}

/// <summary>Finds out which packs lie in an archive, and has them brought back. Workers live here; a request for each pack, many at once.</summary>
public sealed class RecallPipeline(IStorageBackend storage)
{
    // Requests that carry next to nothing.
    private const int AtOnce = 16;

    /// <summary>Which of these cannot be read now. One that is not there is left out: whoever reads it finds that.</summary>
    /// <exception cref="StorageException">The storage cannot be asked.</exception>
    public async Task<RecallState> AskAsync(IEnumerable<PackId> packs, CancellationToken cancellationToken)
    {
        ConcurrentBag<StoredObject> archived = [];
        ConcurrentBag<StoredObject> returning = [];
        await Parallel.ForEachAsync(packs, Parallelism(cancellationToken), async (pack, token) =>
        {
            StorageKey key = RepositoryLayout.Pack(PackKind.Data, pack);
            try
            {
                StorageReadiness readiness = await storage.GetReadinessAsync(key, token);
                if (readiness != StorageReadiness.Ready && await storage.StatAsync(key, token) is { } stored)
                {
                    (readiness == StorageReadiness.Archived ? archived : returning).Add(stored);
                }
            }
            catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
            {
                // A collector may have moved what was in it.
            }
        });
        return new RecallState([.. archived], [.. returning]);
    }

    /// <summary>Asks for all of these.</summary>
    /// <exception cref="StorageException">The storage refuses, or cannot be asked. What was asked for comes.</exception>
    public Task RequestAsync(IEnumerable<StoredObject> archived, RecallOrder order, CancellationToken cancellationToken) =>
        Parallel.ForEachAsync(archived, Parallelism(cancellationToken), async (item, token) => await storage.RecallAsync(item.Key, order, token));

    private static ParallelOptions Parallelism(CancellationToken cancellationToken) => new() { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken };
}
