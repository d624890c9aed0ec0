using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;

namespace BackupIQ.Jobs;

/// <summary>
/// The providers of remote storage that a program talks to: repositories that are opened with the same one share a provider's breaker and
/// its limit of requests at once. Made before them and disposed after them. Local storage is no provider.
/// </summary>
/// <example>
/// <code>
/// using StorageProviders providers = new();
/// RepositoryOptions options = new() { Providers = providers, RetryProfile = "patient" };
/// foreach (StorageHealthInfo provider in providers.Report())
/// {
///     Console.WriteLine($"{provider.Provider}: {provider.Requests} requests, {provider.Retries} again, breaker {provider.Breaker}");
/// }
/// </code>
/// </example>
public sealed class StorageProviders : IDisposable
{
    /// <summary>Knows no provider yet.</summary>
    public StorageProviders(TimeProvider? time = null) => Registry = new StorageRegistry(time ?? TimeProvider.System);

    internal StorageRegistry Registry { get; }

    /// <summary>How each provider does.</summary>
    public IReadOnlyList<StorageHealthInfo> Report() => [.. Registry.Report().Select(StorageHealthInfo.From)];

    /// <inheritdoc/>
    public void Dispose() => Registry.Dispose();
}

/// <summary>How a provider does. Metrics of the meter <c>BackupIQ.Storage</c> show the same as it changes.</summary>
/// <param name="Provider">The kind of storage and where it is.</param>
/// <param name="Breaker"><c>closed</c>, <c>open</c> or <c>half-open</c>.</param>
/// <param name="FailuresInARow">Failures since the last answer.</param>
/// <param name="TimesOpened">How often the breaker opened.</param>
/// <param name="LastFailure">What failed last; null: nothing.</param>
/// <param name="Requests">Requests made, every attempt counted.</param>
/// <param name="Failures">Those that failed as they do when a storage is away or overloaded.</param>
/// <param name="Retries">Requests made again.</param>
/// <param name="Recoveries">Calls that went through after a retry.</param>
/// <param name="GiveUps">Calls that failed after the last attempt.</param>
/// <param name="Refusals">Requests that were not made because the breaker was open.</param>
/// <param name="Hedges">Reads that were asked twice because the first answer was late.</param>
/// <param name="BytesPut">Bytes of puts that went through.</param>
/// <param name="BytesRead">Bytes of reads that went through.</param>
/// <param name="Connections">Requests that may be made at once now.</param>
/// <param name="ClockSkew">How far the storage's clock is ahead of this machine's; null: not known.</param>
/// <param name="Latencies">By kind of request (<c>put</c>, <c>read</c> …).</param>
public sealed record StorageHealthInfo(
    string Provider,
    string Breaker,
    int FailuresInARow,
    int TimesOpened,
    string? LastFailure,
    long Requests,
    long Failures,
    long Retries,
    long Recoveries,
    long GiveUps,
    long Refusals,
    long Hedges,
    long BytesPut,
    long BytesRead,
    int Connections,
    TimeSpan? ClockSkew,
    IReadOnlyDictionary<string, StorageLatencyInfo> Latencies)
{
    internal static StorageHealthInfo From(StorageHealthReport report) => new(
        report.Provider,
        report.Breaker.State switch { BreakerState.Closed => "closed", BreakerState.Open => "open", _ => "half-open" },
        report.Breaker.FailuresInARow,
        report.Breaker.TimesOpened,
        report.Breaker.LastFailure,
        report.Requests,
        report.Failures,
        report.Retries,
        report.Recoveries,
        report.GiveUps,
        report.Breaker.Refusals,
        report.Hedges,
        report.BytesPut,
        report.BytesRead,
        report.Connections,
        report.ClockSkew,
        StorageLatencyInfo.From(report.Latencies));
}

/// <summary>How long the last requests of a kind took.</summary>
/// <param name="Count">Requests in all.</param>
/// <param name="P50">Half took no longer.</param>
/// <param name="P95">19 of 20 took no longer.</param>
/// <param name="P99">99 of 100 took no longer.</param>
public sealed record StorageLatencyInfo(long Count, TimeSpan P50, TimeSpan P95, TimeSpan P99)
{
    internal static IReadOnlyDictionary<string, StorageLatencyInfo> From(IReadOnlyDictionary<StorageOperation, LatencyReport> latencies) => latencies.ToDictionary(
        static one => one.Key.Word(), static one => new StorageLatencyInfo(one.Value.Count, one.Value.P50, one.Value.P95, one.Value.P99), StringComparer.Ordinal);
}

/// <summary>Something about a remote storage that a person may want to know while work goes on.</summary>
/// <param name="Message">A sentence.</param>
/// <param name="IsWarning">Whether somebody should do something about it.</param>
public sealed record StorageNotice(string Message, bool IsWarning)
{
    /// <summary>The mirror that this is about; null: none.</summary>
    public string? Mirror { get; init; }

    /// <summary>True: that mirror lacks something now, or has something that the repository has no more. False: it is in step again. Null: this says nothing of that.</summary>
    public bool? IsBehind { get; init; }
}
