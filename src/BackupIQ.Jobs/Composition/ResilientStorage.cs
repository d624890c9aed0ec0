using System.Globalization;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;

namespace BackupIQ.Jobs.Composition;

/// <summary>Puts the stack of resilience around a remote storage, as the repository's options say. Apart from <see cref="StorageLocator"/>, so that a local repository loads nothing of it.</summary>
internal static class ResilientStorage
{
    /// <summary>Connects to a storage and wraps it. Storages at the same endpoint are one provider.</summary>
    /// <param name="url">Where it is.</param>
    /// <param name="use">How the repository is used.</param>
    /// <param name="time">Measures and waits.</param>
    /// <param name="cancellationToken">Stops connecting.</param>
    /// <exception cref="BackupIQException">As <see cref="RemoteStorage.ConnectAsync"/>; or <c>Usage</c>: there is no such profile.</exception>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static async Task<IStorageBackend> ConnectAsync(string url, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken)
    {
        ResilienceOptions options = OptionsOf(url, use);
        string provider = RemoteStorage.ProviderOf(url);
        if (use.Providers is { } providers)
        {
            return await StackAsync(providers.Registry).ConfigureAwait(false);
        }

        StorageRegistry own = new(time);
        try
        {
            return new RegistryOwner(await StackAsync(own).ConfigureAwait(false), own);
        }
        catch
        {
            own.Dispose();
            throw;
        }

        Task<IStorageBackend> StackAsync(StorageRegistry registry) =>
            StorageStack.ConnectAsync(token => RemoteStorage.ConnectAsync(url, use, time, token), provider, options, registry, time, cancellationToken);
    }

    /// <summary>A storage as it is, but for requests in which nothing moves: they are given up.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static IStorageBackend Watched(IStorageBackend storage, string url, RepositoryOptions use, TimeProvider time) =>
        StorageStack.Watched(storage, OptionsOf(url, use), time);

    private static ResilienceOptions OptionsOf(string url, RepositoryOptions use)
    {
        if (!RetryProfile.TryFind(use.RetryProfile, out RetryProfile? profile))
        {
            string names = string.Join(", ", RetryProfile.All.Select(static one => one.Name));
            throw new BackupIQException(ErrorCodes.Usage, $"'{use.RetryProfile}' is no retry profile", $"Profiles are: {names}.");
        }

        Action<StorageNotice>? tell = use.OnStorageNotice;
        ResilienceOptions defaults = new();
        int silences = 0;
        return defaults with
        {
            Retry = profile,
            Connections = use.RequestsAtOnce > 0 ? use.RequestsAtOnce : defaults.Connections,
            LongestSilence = RemoteStorage.SilenceOf(url) ?? use.StorageTimeout ?? defaults.LongestSilence,
            RequestsPerSecond = use.RequestLimit,
            IsReadElsewhere = use.Mirrors.Count > 0,
            Upload = use.UploadLimit,
            Download = use.DownloadLimit,
            OnRetry = retry => tell?.Invoke(new StorageNotice(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{retry.Provider}: attempt {retry.Attempt} to {retry.Operation.Word()} '{retry.Subject}' failed, again in {retry.Delay.TotalSeconds:0.#} s: {retry.Cause.Message}"),

                // Whoever has waited so long for nothing wants to know why; once.
                IsWarning: retry.Cause.Code == ErrorCodes.StorageTimeout && Interlocked.Increment(ref silences) == 1)),
            OnBreaker = change => Tell(change, defaults.OpenFor, tell),
            OnClockSkew = skew => tell?.Invoke(new StorageNotice(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"The storage's clock is {skew.Duration().TotalMinutes:0} min {(skew > TimeSpan.Zero ? "ahead of" : "behind")} this machine's; correct the one that is wrong, for retention and grace periods rely on both"),
                IsWarning: true)),
        };
    }

    private static void Tell(BreakerStatistics change, TimeSpan openFor, Action<StorageNotice>? tell)
    {
        string? message = change.State switch
        {
            BreakerState.Open => string.Create(
                CultureInfo.InvariantCulture,
                $"The storage {change.Name} failed {change.FailuresInARow} times in a row and is left alone for {openFor.TotalSeconds:0} s before it is asked again; last: {change.LastFailure}"),
            BreakerState.Closed => $"The storage {change.Name} answers again",
            _ => null,
        };
        if (message is not null)
        {
            tell?.Invoke(new StorageNotice(message, IsWarning: change.State == BreakerState.Open));
        }
    }

    /// <summary>A registry of its own goes with its storage.</summary>
    private sealed class RegistryOwner(IStorageBackend inner, StorageRegistry registry) : DelegatingBackend(inner)
    {
        public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) =>
            Inner.DeleteAllAsync(keys, cancellationToken);

        public override async ValueTask DisposeAsync()
        {
            await base.DisposeAsync().ConfigureAwait(false);
            registry.Dispose();
        }
    }
}
