using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Retention;

/// <summary>What makes snapshots one series for the rules.</summary>
[Flags]
public enum RetentionGrouping
{
    /// <summary>All are one series.</summary>
    None = 0,

    Host = 1,

    Paths = 2,

    Tags = 4,
}

/// <summary>By what rules snapshots are forgotten. Immutable.</summary>
public sealed record ForgetOptions
{
    /// <summary>A week: long enough to come back from a holiday to, short enough to cost little space.</summary>
    public static readonly TimeSpan DefaultGrace = TimeSpan.FromDays(7);

    /// <summary>The policy of all snapshots whose type has none of its own; null: they stay.</summary>
    public RetentionPolicy? Policy { get; init; }

    /// <summary>Policies of single types: snapshots of such a type are a series apart.</summary>
    public IReadOnlyDictionary<SnapshotType, RetentionPolicy> TypePolicies { get; init; } = new Dictionary<SnapshotType, RetentionPolicy>();

    /// <summary>Host and paths: what was backed up is what is thinned.</summary>
    public RetentionGrouping GroupBy { get; init; } = RetentionGrouping.Host | RetentionGrouping.Paths;

    /// <summary>Also when more than half of a series goes, or its newest full snapshot.</summary>
    public bool AllowMass { get; init; }

    /// <summary>How long a forgotten snapshot can be brought back.</summary>
    public TimeSpan Grace { get; init; } = DefaultGrace;

    /// <summary>Why, for people who look later.</summary>
    public string? Reason { get; init; }
}
