using System.Diagnostics.Metrics;

namespace BackupIQ.Storage.Resilience;

/// <summary>The instruments of the meter <c>BackupIQ.Storage</c>, each with the tag <c>provider</c>.</summary>
internal sealed class StorageMeters : IDisposable
{
    private readonly Meter _meter = new(StorageRegistry.MeterName);

    public StorageMeters(StorageRegistry registry)
    {
        Requests = _meter.CreateCounter<long>("backupiq.storage.requests", null, "Requests made, by operation and outcome.");
        Retries = _meter.CreateCounter<long>("backupiq.storage.retries", null, "Requests made again, by operation.");
        GiveUps = _meter.CreateCounter<long>("backupiq.storage.give_ups", null, "Calls that failed after the last attempt, by operation.");
        Hedges = _meter.CreateCounter<long>("backupiq.storage.hedges", null, "Reads asked a second time because the first answer was late.");
        Bytes = _meter.CreateCounter<long>("backupiq.storage.bytes", "By", "Bytes of requests that went through, by direction (up, down).");
        Durations = _meter.CreateHistogram<double>("backupiq.storage.request.duration", "s", "How long requests that went through took, by operation.");
        _meter.CreateObservableGauge(
            "backupiq.storage.breaker.state",
            () => registry.Providers.Select(static p => new Measurement<int>((int)p.Breaker.State, new KeyValuePair<string, object?>("provider", p.Name))),
            null,
            "0: closed, 1: open, 2: half-open.");
        _meter.CreateObservableGauge(
            "backupiq.storage.connections",
            () => registry.Providers.Select(static p => new Measurement<int>(p.Concurrency.Limit, new KeyValuePair<string, object?>("provider", p.Name))),
            null,
            "Requests that may be made at once now.");
    }

    public Counter<long> Requests { get; }

    public Counter<long> Retries { get; }

    public Counter<long> GiveUps { get; }

    public Counter<long> Hedges { get; }

    public Counter<long> Bytes { get; }

    public Histogram<double> Durations { get; }

    public void Dispose() => _meter.Dispose();
}
