using BackupIQ.Repository.Parity;

namespace BackupIQ.Jobs;

/// <summary>What the parity of a repository covers: it mends damaged objects.</summary>
public sealed record ParityInfo
{
    /// <summary>Objects that may have parity: packs, index segments, snapshots, keys, configurations.</summary>
    public required int Objects { get; init; }

    public required long ObjectBytes { get; init; }

    /// <summary>Those of them that have it.</summary>
    public required int CoveredObjects { get; init; }

    public required long CoveredBytes { get; init; }

    public required int ParityObjects { get; init; }

    public required long ParityBytes { get; init; }

    /// <summary>Parity whose object is gone; the next change removes it.</summary>
    public required int WasteObjects { get; init; }

    public required long WasteBytes { get; init; }

    /// <summary>The least and the largest share that a covered pack has, in percent; null when none is covered.</summary>
    public required int? LeastPercent { get; init; }

    public required int? MostPercent { get; init; }

    internal static ParityInfo From(ParityStatus status) => new()
    {
        Objects = status.Objects,
        ObjectBytes = status.ObjectBytes,
        CoveredObjects = status.CoveredObjects,
        CoveredBytes = status.CoveredBytes,
        ParityObjects = status.ParityObjects,
        ParityBytes = status.ParityBytes,
        WasteObjects = status.WasteObjects,
        WasteBytes = status.WasteBytes,
        LeastPercent = status.LeastPercent,
        MostPercent = status.MostPercent,
    };
}

/// <summary>A change of the parity before it is made: what a dry run shows.</summary>
public sealed class ParityChange
{
    internal ParityChange(ParityPlan plan) => Plan = plan;

    /// <summary>Objects that get parity.</summary>
    public int ObjectsToCover => Plan.ObjectsToCover;

    public long BytesToRead => Plan.BytesToRead;

    public long BytesToWrite => Plan.BytesToWrite;

    /// <summary>Parity objects that go: replaced by others, or without an object.</summary>
    public int ObjectsToRemove => Plan.ObjectsToRemove;

    public long BytesToRemove => Plan.BytesToRemove;

    internal ParityPlan Plan { get; }
}

/// <summary>Watches a change of the parity: counters to poll at any time.</summary>
public sealed class ParityMonitor
{
    public long ObjectsDone => Progress.Objects;

    public long BytesRead => Progress.Bytes;

    internal ParityProgress Progress { get; } = new();
}

/// <summary>What came of a change of the parity.</summary>
/// <param name="ObjectsCovered">Objects that got parity.</param>
/// <param name="BytesWritten">What it takes.</param>
/// <param name="ObjectsRemoved">Parity objects that went.</param>
/// <param name="Damaged">Objects that got none because they are damaged, a sentence each.</param>
public sealed record ParityChangeOutcome(int ObjectsCovered, long BytesWritten, int ObjectsRemoved, IReadOnlyList<string> Damaged);
