using System.Collections.Concurrent;

namespace BackupIQ.Storage.Resilience;

/// <summary>Latencies of the last requests of a kind: half, 95 % and 99 % took no longer.</summary>
/// <param name="Count">How many there were in all.</param>
/// <param name="P50">The median.</param>
/// <param name="P95">19 of 20.</param>
/// <param name="P99">99 of 100.</param>
public sealed record LatencyReport(long Count, TimeSpan P50, TimeSpan P95, TimeSpan P99);

/// <summary>How a provider does, for people and for metrics.</summary>
/// <param name="Provider">Its name.</param>
/// <param name="Breaker">Its breaker.</param>
/// <param name="Requests">Requests made, every attempt counted.</param>
/// <param name="Failures">Those that failed for the storage's sake.</param>
/// <param name="Retries">Requests made again.</param>
/// <param name="Recoveries">Calls that went through after a retry.</param>
/// <param name="GiveUps">Calls that failed after the last attempt.</param>
/// <param name="Hedges">Reads that were asked twice because the first answer was late.</param>
/// <param name="HedgesWon">Those whose second answer came first.</param>
/// <param name="BytesPut">Bytes of puts that went through.</param>
/// <param name="BytesRead">Bytes of reads that went through.</param>
/// <param name="Connections">Requests that may be made at once now.</param>
/// <param name="InFlight">Requests being made.</param>
/// <param name="Waiting">Requests that wait for a place.</param>
/// <param name="ClockSkew">How far the storage's clock is ahead of this machine's; null: not known.</param>
/// <param name="Latencies">By kind of request; kinds without one are left out.</param>
public sealed record StorageHealthReport(
    string Provider,
    BreakerStatistics Breaker,
    long Requests,
    long Failures,
    long Retries,
    long Recoveries,
    long GiveUps,
    long Hedges,
    long HedgesWon,
    long BytesPut,
    long BytesRead,
    int Connections,
    int InFlight,
    int Waiting,
    TimeSpan? ClockSkew,
    IReadOnlyDictionary<StorageOperation, LatencyReport> Latencies);

/// <summary>Counts what happens at one provider. Thread-safe.</summary>
internal sealed class StorageHealth(string provider, StorageMeters meters)
{
    private readonly ConcurrentDictionary<StorageOperation, LatencyWindow> _latencies = new();
    private readonly ConcurrentDictionary<int, LatencyWindow> _reads = new();
    private readonly KeyValuePair<string, object?> _tag = new("provider", provider);
    private readonly ConcurrentDictionary<StorageOperation, long> _counts = new();
    private long _requests;
    private long _failures;
    private long _retries;
    private long _recoveries;
    private long _giveUps;
    private long _hedges;
    private long _hedgesWon;
    private long _bytesPut;
    private long _bytesRead;
    private long _skew = long.MinValue;

    /// <summary>How far the storage's clock is ahead; null: not known.</summary>
    public TimeSpan? ClockSkew
    {
        get => Interlocked.Read(ref _skew) is var ticks && ticks == long.MinValue ? null : new TimeSpan(ticks);
        set => Interlocked.Exchange(ref _skew, value?.Ticks ?? long.MinValue);
    }

    /// <summary>A request was answered.</summary>
    public void Answered(StorageOperation operation, long bytes, TimeSpan latency)
    {
        Request(operation, "ok");
        _latencies.GetOrAdd(operation, static _ => new LatencyWindow()).Add(latency);
        _counts.AddOrUpdate(operation, 1, static (_, count) => count + 1);
        meters.Durations.Record(latency.TotalSeconds, _tag, KindOf(operation));
        if (operation == StorageOperation.Put)
        {
            Interlocked.Add(ref _bytesPut, bytes);
            meters.Bytes.Add(bytes, _tag, new("direction", "up"));
        }
        else if (operation == StorageOperation.Read)
        {
            Interlocked.Add(ref _bytesRead, bytes);
            meters.Bytes.Add(bytes, _tag, new("direction", "down"));
        }
    }

    /// <summary>A request failed.</summary>
    public void Failed(StorageOperation operation, StorageException cause)
    {
        Request(operation, cause.Code.Name);
        if (cause.IsTransient)
        {
            Interlocked.Increment(ref _failures);
        }
    }

    /// <summary>A read of so many bytes took so long, or was given up for another after so long.</summary>
    public void ReadTook(int bytes, TimeSpan latency) => ReadsLike(bytes).Add(latency);

    /// <summary>How long reads like this one took lately.</summary>
    public LatencyWindow ReadsLike(int bytes) => _reads.GetOrAdd(64 - (int)long.LeadingZeroCount(bytes >> 16), static _ => new LatencyWindow());

    /// <summary>A request is made again.</summary>
    public void Retried(StorageOperation operation)
    {
        Interlocked.Increment(ref _retries);
        meters.Retries.Add(1, _tag, KindOf(operation));
    }

    /// <summary>A call went through after retries.</summary>
    public void Recovered() => Interlocked.Increment(ref _recoveries);

    /// <summary>A call failed after its last attempt.</summary>
    public void GaveUp(StorageOperation operation)
    {
        Interlocked.Increment(ref _giveUps);
        meters.GiveUps.Add(1, _tag, KindOf(operation));
    }

    /// <summary>A read is asked a second time.</summary>
    public void Hedged()
    {
        Interlocked.Increment(ref _hedges);
        meters.Hedges.Add(1, _tag);
    }

    /// <summary>The second answer came first.</summary>
    public void HedgeWon() => Interlocked.Increment(ref _hedgesWon);

    /// <summary>All of it.</summary>
    public StorageHealthReport Report(CircuitBreaker breaker, ConcurrencyLimit concurrency) => new(
        provider,
        breaker.Statistics,
        Interlocked.Read(ref _requests),
        Interlocked.Read(ref _failures),
        Interlocked.Read(ref _retries),
        Interlocked.Read(ref _recoveries),
        Interlocked.Read(ref _giveUps),
        Interlocked.Read(ref _hedges),
        Interlocked.Read(ref _hedgesWon),
        Interlocked.Read(ref _bytesPut),
        Interlocked.Read(ref _bytesRead),
        concurrency.Limit,
        concurrency.Used,
        concurrency.Waiting,
        ClockSkew,
        _latencies.ToDictionary(static one => one.Key, one => ReportOf(one.Key, one.Value)));

    private LatencyReport ReportOf(StorageOperation operation, LatencyWindow window) => new(
        _counts.GetValueOrDefault(operation), window.Percentile(0.5) ?? default, window.Percentile(0.95) ?? default, window.Percentile(0.99) ?? default);

    private void Request(StorageOperation operation, string outcome)
    {
        Interlocked.Increment(ref _requests);
        meters.Requests.Add(1, _tag, KindOf(operation), new("outcome", outcome));
    }

    private static KeyValuePair<string, object?> KindOf(StorageOperation operation) => new("operation", operation.Word());
}
