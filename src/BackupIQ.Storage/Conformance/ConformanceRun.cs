using System.Collections.Concurrent;
using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Storage.Resilience;

namespace BackupIQ.Storage.Conformance;

/// <summary>
/// Tries every guarantee of <see cref="IStorageBackend"/> that a repository relies on, on the storage itself: in a folder of its own with a random
/// name, of which nothing is left afterwards. For one run.
/// </summary>
/// <remarks>
/// The storage is asked over two connections: what one put the other must see. Writers race over the second one, which is to be the storage as it is:
/// what limits requests at once would line them up, and what makes requests again would hide what the storage says.
/// </remarks>
/// <param name="storage">The storage as a repository would use it; it stays its owner's.</param>
/// <param name="second">Another connection to it, with nothing in between.</param>
/// <param name="options">How it is tried.</param>
/// <param name="time">Measures.</param>
public sealed class ConformanceRun(IStorageBackend storage, IStorageBackend second, ConformanceOptions options, TimeProvider time)
{
    /// <summary>With what the names of the folders begin in which storages are tried.</summary>
    public const string FolderPrefix = "storage-test-";

    private const int Sample = 4 << 10;
    private const int FewestSamples = 3;

    private readonly ConcurrentDictionary<string, bool> _names = new(StringComparer.Ordinal);
    private readonly string _folder = FolderPrefix + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));

    /// <summary>Removes the folder where the storage has folders; null: it has none, and they would not stay.</summary>
    public IFolderStorage? Folders { get; init; }

    /// <summary>Tries all of it.</summary>
    /// <param name="begins">Hears what is tried next.</param>
    /// <param name="cancellationToken">Stops; what was put is removed before this throws.</param>
    /// <returns>What was seen. A guarantee that does not hold, and a storage that fails on the way, are in there and no exception.</returns>
    public async Task<ConformanceReport> RunAsync(Action<string>? begins, CancellationToken cancellationToken)
    {
        GuaranteeChecks checks = new(new FolderBackend(storage, _folder, _names), new FolderBackend(second, _folder, _names), options, time);
        List<GuaranteeResult> results = [];
        Dictionary<StorageOperation, LatencyReport> latencies = [];
        ErrorCode? stoppedBy = null;
        IReadOnlyList<string> left = [];
        try
        {
            foreach ((string name, Func<CancellationToken, Task<Verdict>> check) in checks.All)
            {
                if (stoppedBy is not null)
                {
                    results.Add(new GuaranteeResult(name, GuaranteeState.NotTried, "not tried", null, TimeSpan.Zero));
                    continue;
                }

                begins?.Invoke(name);
                (GuaranteeResult result, stoppedBy) = await TryAsync(name, check, cancellationToken);
                results.Add(result);
            }

            if (stoppedBy is null)
            {
                begins?.Invoke("latency");
                (latencies, stoppedBy) = await MeasureAsync(cancellationToken);
            }
        }
        finally
        {
            begins?.Invoke("removing what was put");
            left = await RemoveAsync();
        }

        return new ConformanceReport
        {
            Folder = _folder,
            Guarantees = results,
            Latencies = latencies,
            UploadRate = checks.UploadRate,
            DownloadRate = checks.DownloadRate,
            ClockSkew = checks.ClockSkew,
            LeftBehind = left,
            StoppedBy = stoppedBy,
        };
    }

    private async Task<(GuaranteeResult Result, ErrorCode? StoppedBy)> TryAsync(
        string name, Func<CancellationToken, Task<Verdict>> check, CancellationToken cancellationToken)
    {
        long began = time.GetTimestamp();
        try
        {
            Verdict verdict = await check(cancellationToken);
            return (new GuaranteeResult(name, verdict.State, verdict.Seen, verdict.Guidance, time.GetElapsedTime(began)), null);
        }
        catch (StorageException e)
        {
            // A storage that is away, full or refuses fails all that follows as well; and what cannot be removed again is not put.
            bool goesOn = !e.IsTransient && (e.Code == ErrorCodes.Storage || e.Code == ErrorCodes.StorageObjectNotFound) && name != GuaranteeChecks.Delete;
            return (new GuaranteeResult(name, GuaranteeState.Broken, e.Message, e.Guidance, time.GetElapsedTime(began)), goesOn ? null : e.Code);
        }
    }

    private async Task<(Dictionary<StorageOperation, LatencyReport> Latencies, ErrorCode? StoppedBy)> MeasureAsync(CancellationToken cancellationToken)
    {
        FolderBackend folder = new(storage, _folder, _names);
        Dictionary<StorageOperation, LatencyWindow> windows = [];
        byte[] bytes = RandomNumberGenerator.GetBytes(Sample);
        byte[] back = new byte[Sample];
        long began = time.GetTimestamp();
        try
        {
            for (int i = 0; i < options.Samples && (i < FewestSamples || time.GetElapsedTime(began) < options.MeasureFor); i++)
            {
                StorageKey key = new($"speed/{i}");
                await TimeAsync(StorageOperation.Put, async () => await folder.PutAsync(key, StorageContent.FromBytes(bytes), cancellationToken));
                await TimeAsync(StorageOperation.Stat, async () => await folder.StatAsync(key, cancellationToken));
                await TimeAsync(StorageOperation.Read, async () => await folder.ReadAsync(key, 0, back, cancellationToken));
                await TimeAsync(StorageOperation.List, async () => await folder.ListAsync("speed/", cancellationToken).CountAsync(cancellationToken));
                await TimeAsync(StorageOperation.Delete, async () => await folder.DeleteAsync(key, cancellationToken));
            }

            return (Reports(), null);
        }
        catch (StorageException e)
        {
            return (Reports(), e.Code);
        }

        async Task TimeAsync(StorageOperation operation, Func<Task> request)
        {
            long start = time.GetTimestamp();
            await request();
            if (!windows.TryGetValue(operation, out LatencyWindow? window))
            {
                windows.Add(operation, window = new LatencyWindow());
            }

            window.Add(time.GetElapsedTime(start));
        }

        Dictionary<StorageOperation, LatencyReport> Reports() => windows.ToDictionary(
            static one => one.Key,
            static one => new LatencyReport(
                one.Value.Count, one.Value.Percentile(0.5)!.Value, one.Value.Percentile(0.95)!.Value, one.Value.Percentile(0.99)!.Value));
    }

    // Also when the run was cancelled, so by nobody's token but its own.
    private async Task<IReadOnlyList<string>> RemoveAsync()
    {
        using CancellationTokenSource within = new(options.RemoveWithin, time);
        ConcurrentBag<string> left = [];
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = 4 };
        await Parallel.ForEachAsync(_names.Keys, parallel, async (name, _) =>
        {
            if (!await TryRemoveAsync(async () => await storage.DeleteAsync(new StorageKey(name), within.Token)))
            {
                left.Add(name);
            }
        });

        // A folder that is gone with all that was in it leaves nothing, whatever its objects said.
        if (Folders is { } folders && await TryRemoveAsync(async () => await folders.RemoveFolderAsync(_folder + "/", within.Token)))
        {
            left.Clear();
        }

        // A storage may say that it deleted what it keeps.
        _ = await TryRemoveAsync(async () =>
        {
            await foreach (StoredObject item in storage.ListAsync(_folder + "/", within.Token))
            {
                if (storage.Capabilities.ListingLag == TimeSpan.Zero)
                {
                    left.Add(item.Key.Value);
                }
            }
        });
        return [.. left.Distinct().Order(StringComparer.Ordinal)];
    }

    private static async Task<bool> TryRemoveAsync(Func<Task> remove)
    {
        try
        {
            await remove();
            return true;
        }
        catch (Exception e) when (e is StorageException or OperationCanceledException)
        {
            // It is named, and the report matters more than the remains.
            return false;
        }
    }
}

/// <summary>What a check came to.</summary>
/// <param name="State">Whether it held.</param>
/// <param name="Seen">What was seen.</param>
/// <param name="Guidance">What to do.</param>
internal sealed record Verdict(GuaranteeState State, string Seen, string? Guidance = null);
