using BackupIQ.Storage;

namespace BackupIQ.Repository.Parity;

/// <summary>What the parity objects of a repository cover.</summary>
public sealed record ParityStatus
{
    /// <summary>Objects that may have parity: packs, index segments, snapshots, key slots, configurations, logs.</summary>
    public required int Objects { get; init; }

    public required long ObjectBytes { get; init; }

    /// <summary>Those of them that have parity.</summary>
    public required int CoveredObjects { get; init; }

    public required long CoveredBytes { get; init; }

    public required int ParityObjects { get; init; }

    public required long ParityBytes { get; init; }

    /// <summary>Parity objects whose object is gone.</summary>
    public required int WasteObjects { get; init; }

    public required long WasteBytes { get; init; }

    /// <summary>The least share of parity that a covered pack has, in percent; null when none is covered.</summary>
    public required int? LeastPercent { get; init; }

    /// <summary>The largest share that a covered pack has, in percent; null when none is covered.</summary>
    public required int? MostPercent { get; init; }
}

/// <summary>A change of parity objects before it is made.</summary>
public sealed record ParityPlan
{
    /// <summary>Objects that get parity, with the shards that each gets.</summary>
    internal IReadOnlyList<ParityTask> Tasks { get; init; } = [];

    /// <summary>Parity objects that go: waste, and those that others replace. Each goes after all tasks are done.</summary>
    internal IReadOnlyList<StoredObject> Removals { get; init; } = [];

    public int ObjectsToCover => Tasks.Count;

    public long BytesToRead => Tasks.Sum(static task => task.Layout.Size);

    public long BytesToWrite => Tasks.Sum(static task => ParityHead.ObjectSizeFor(task.Layout));

    public int ObjectsToRemove => Removals.Count;

    public long BytesToRemove => Removals.Sum(static removal => removal.Size);
}

/// <summary>What came of a change of parity objects.</summary>
/// <param name="Covered">Objects that got parity.</param>
/// <param name="BytesWritten">What their parity takes.</param>
/// <param name="Removed">Parity objects that went.</param>
/// <param name="Damaged">Objects that got none, because they are damaged: repair them first.</param>
public sealed record ParityOutcome(int Covered, long BytesWritten, int Removed, IReadOnlyList<RepositoryFinding> Damaged);

/// <summary>How far a change of parity objects is; safe to read while it runs.</summary>
public sealed class ParityProgress
{
    private long _objects;
    private long _bytes;

    /// <summary>Objects done.</summary>
    public long Objects => Interlocked.Read(ref _objects);

    /// <summary>Bytes read.</summary>
    public long Bytes => Interlocked.Read(ref _bytes);

    internal void AddObject() => Interlocked.Increment(ref _objects);

    internal void AddBytes(long count) => Interlocked.Add(ref _bytes, count);
}

/// <summary>An object that gets parity.</summary>
internal readonly record struct ParityTask(StorageKey Subject, ParityLayout Layout);
