using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>Builds what stands between the repository and a remote storage.</summary>
public static class StorageStack
{
    /// <summary>Connects to a storage, again where it fails in a way that may pass, and wraps it as <see cref="Wrap"/> does.</summary>
    /// <param name="connect">Makes one attempt.</param>
    /// <param name="provider">As for <see cref="Wrap"/>.</param>
    /// <param name="options">As for <see cref="Wrap"/>.</param>
    /// <param name="registry">As for <see cref="Wrap"/>.</param>
    /// <param name="time">Measures and waits.</param>
    /// <param name="cancellationToken">Stops connecting.</param>
    /// <exception cref="BackupIQException">What the last attempt said.</exception>
    public static async Task<IStorageBackend> ConnectAsync(
        Func<CancellationToken, Task<IStorageBackend>> connect,
        string provider,
        ResilienceOptions options,
        StorageRegistry registry,
        TimeProvider time,
        CancellationToken cancellationToken)
    {
        RetryPolicy retry = new(registry.Provider(provider, options), options, time);
        IStorageBackend storage = await retry.RunAsync(
            StorageOperation.Connect, provider, token => ConnectAsync(connect, options.LongestSilence * 2, time, token), cancellationToken).ConfigureAwait(false);
        return Wrap(storage, provider, options, registry, time);
    }

    // Not all that connecting does watches for silence itself, and it asks several things: twice the time for one.
    private static async ValueTask<IStorageBackend> ConnectAsync(
        Func<CancellationToken, Task<IStorageBackend>> connect, TimeSpan longest, TimeProvider time, CancellationToken cancellationToken)
    {
        using CancellationTokenSource late = new(longest, time);
        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        try
        {
            return await connect(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new StorageException(ErrorCodes.StorageTimeout, $"The storage did not answer for {longest.TotalSeconds:0.#} s while it was connected to", null, e);
        }
    }

    /// <summary>
    /// Wraps a storage in everything that makes it bearable, from the outside in:
    /// <list type="number">
    /// <item><b>Clock</b>: outermost, for its look-ups are requests like any other.</item>
    /// <item><b>Retry</b>: outside of all that follows, so that who waits for its next attempt holds no place in the bulkhead, and every attempt
    /// asks the breaker anew.</item>
    /// <item><b>Throttle</b>: inside retry, because bytes that are sent again go over the line again; outside the bulkhead, so that who pays
    /// for bytes it has read holds no place.</item>
    /// <item><b>Bulkhead</b> and requests per second: outside the breaker, which is so asked at the last moment: who waited for a place while
    /// the storage died is refused and does not run into it.</item>
    /// <item><b>Breaker</b>: outside hedging, so that a read counts once whichever of its two requests answered.</item>
    /// <item><b>Hedging</b>: outside the time-outs, so that each of the two requests has its own. The second takes its own place in the
    /// bulkhead if one is free.</item>
    /// <item><b>Time-outs</b>: what comes of the storage itself is silent or not.</item>
    /// <item><b>Measuring</b>: innermost, every request that is really made counts once.</item>
    /// </list>
    /// A storage on this machine is only throttled: it needs nothing else, and stays as fast as it is.
    /// </summary>
    /// <param name="storage">Owned by what is returned.</param>
    /// <param name="provider">The provider's name in the registry and in messages: all storages of the same name share breaker and bulkhead.</param>
    /// <param name="options">The limits of a provider that the registry has already stay as they are.</param>
    /// <param name="registry">Lists the providers.</param>
    /// <param name="time">Measures and waits.</param>
    public static IStorageBackend Wrap(IStorageBackend storage, string provider, ResilienceOptions options, StorageRegistry registry, TimeProvider time)
    {
        if (storage.Capabilities.IsLocal)
        {
            return Throttled(storage, options.Upload, options.Download, time);
        }

        StorageProvider shared = registry.Provider(provider, options);
        IStorageBackend stack = new MeasuringBackend(storage, shared.Health, time);
        stack = new ProgressTimeoutBackend(stack, options.LongestSilence, time);
        stack = new HedgedReadBackend(stack, shared, options.HedgedShare, time);
        stack = new BreakerBackend(stack, shared.Breaker);
        stack = new BulkheadBackend(stack, shared, time);
        stack = Throttled(stack, options.Upload, options.Download, time);
        stack = new RetryBackend(stack, shared, options, time);
        return new ClockSkewBackend(stack, shared.Health, options, time);
    }

    /// <summary>Gives up requests in which nothing moves, and does nothing else: for who wants to see a storage as it is.</summary>
    /// <param name="storage">Owned by what is returned.</param>
    /// <param name="options">How long silence may be.</param>
    /// <param name="time">Measures.</param>
    public static IStorageBackend Watched(IStorageBackend storage, ResilienceOptions options, TimeProvider time) =>
        new ProgressTimeoutBackend(storage, options.LongestSilence, time);

    /// <summary>Holds bytes back to two rates; without a limit it is the storage itself. All that a storage on this machine needs.</summary>
    /// <param name="storage">Owned by what is returned.</param>
    /// <param name="upload">Bytes a second that are put.</param>
    /// <param name="download">Bytes a second that are read.</param>
    /// <param name="time">Measures and waits.</param>
    public static IStorageBackend Throttled(IStorageBackend storage, RateSchedule upload, RateSchedule download, TimeProvider time) =>
        upload.IsUnlimited && download.IsUnlimited ? storage : new ThrottleBackend(storage, upload, download, time);
}
