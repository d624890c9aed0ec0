namespace BackupIQ.Storage.Conformance;

/// <summary>How a storage is tried.</summary>
public sealed record ConformanceOptions
{
    /// <summary>Names as the storage's user gives them: each kind once, for length, depth and letters.</summary>
    public required IReadOnlyList<StorageKey> Names { get; init; }

    /// <summary>Bytes of the large object; 0: none. 72 MiB: more than any backend sends in one piece.</summary>
    public long LargeObject { get; init; } = 72L << 20;

    /// <summary>Who race for one name. Twelve: more than a server decides one after the other by chance.</summary>
    public int Writers { get; init; } = 12;

    /// <summary>Races, where they take no longer than <see cref="RaceFor"/>; three in any case.</summary>
    public int Races { get; init; } = 20;

    /// <summary>No race is begun after this time.</summary>
    public TimeSpan RaceFor { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Single requests of a kind that are measured, where they take no longer than <see cref="MeasureFor"/>; three in any case.</summary>
    public int Samples { get; init; } = 20;

    /// <summary>No request is measured after this time.</summary>
    public TimeSpan MeasureFor { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Clocks that differ by more are told of. 5 min: as <see cref="Resilience.ResilienceOptions.ClockTolerance"/>.</summary>
    public TimeSpan ClockTolerance { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>What was put is removed within this time, also when the run is cancelled; what is left then is named.</summary>
    public TimeSpan RemoveWithin { get; init; } = TimeSpan.FromMinutes(1);
}
