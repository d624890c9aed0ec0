using System.Collections.Concurrent;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>
/// The providers that a process talks to, each with one breaker, one bulkhead and one account of its health, whichever and however many
/// storages of it are open. Given to whoever builds a stack; whoever made it disposes it after them. Thread-safe.
/// </summary>
public sealed class StorageRegistry : IDisposable
{
    /// <summary>The name of the meter (System.Diagnostics.Metrics) that shows what happens at the providers.</summary>
    public const string MeterName = "BackupIQ.Storage";

    private readonly ConcurrentDictionary<string, StorageProvider> _providers = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private readonly StorageMeters _meters;
    private readonly TimeProvider _time;

    /// <summary>A registry that knows no provider yet.</summary>
    public StorageRegistry(TimeProvider time)
    {
        _time = time;
        _meters = new StorageMeters(this);
    }

    /// <summary>The breakers of all providers.</summary>
    public IReadOnlyList<CircuitBreaker> Breakers => [.. Providers.Select(static provider => provider.Breaker)];

    internal IEnumerable<StorageProvider> Providers => _providers.Values.OrderBy(static provider => provider.Name, StringComparer.Ordinal);

    /// <summary>How each provider does.</summary>
    public IReadOnlyList<StorageHealthReport> Report() => [.. Providers.Select(static provider => provider.Health.Report(provider.Breaker, provider.Concurrency))];

    /// <inheritdoc/>
    public void Dispose() => _meters.Dispose();

    /// <summary>The provider of that name; made with these options if it is new.</summary>
    internal StorageProvider Provider(string name, ResilienceOptions options)
    {
        lock (_gate)
        {
            if (!_providers.TryGetValue(name, out StorageProvider? provider))
            {
                provider = new StorageProvider(
                    name,
                    new CircuitBreaker(name, options, _time),
                    new ConcurrencyLimit(options.Connections, _time),
                    new TokenBucket(RateSchedule.FromInt64(options.RequestsPerSecond), _time),
                    new StorageHealth(name, _meters));
                _providers.TryAdd(name, provider);
            }

            return provider;
        }
    }
}

/// <summary>What all storages of one provider share.</summary>
/// <param name="Name">For people: the kind of storage and its host.</param>
/// <param name="Breaker">Leaves it alone when it fails.</param>
/// <param name="Concurrency">How many requests at once.</param>
/// <param name="Requests">How many requests a second.</param>
/// <param name="Health">Counts.</param>
internal sealed record StorageProvider(string Name, CircuitBreaker Breaker, ConcurrencyLimit Concurrency, TokenBucket Requests, StorageHealth Health);
