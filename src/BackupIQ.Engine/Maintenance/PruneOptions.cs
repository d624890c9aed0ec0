using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Maintenance.Collection;

namespace BackupIQ.Engine.Maintenance;

/// <summary>How a repository is pruned. Immutable.</summary>
public sealed record PruneOptions
{
    /// <summary>How much may be left unused, and how much may be rewritten.</summary>
    public PruneLimits Limits { get; init; } = new();

    /// <summary>How the collector goes about it.</summary>
    public required CollectorOptions Collector { get; init; }

    /// <summary>Go on only when no other session is open, and then leave nothing to a later prune.</summary>
    public bool Exclusive { get; init; }

    /// <summary>Make the plan, change nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>Workers; 0: one per core, fewer where the budget is small.</summary>
    public int Concurrency { get; init; }

    /// <summary>Bytes of buffers that the workers may use together.</summary>
    public long MemoryBudget { get; init; } = 256L << 20;
}

/// <summary>What a prune has done.</summary>
public sealed record PruneResult
{
    /// <summary>What was to be done.</summary>
    public required PrunePlan Plan { get; init; }

    /// <summary>Nothing was changed.</summary>
    public bool IsDryRun { get; init; }

    /// <summary>Packs that were deleted, those that were rewritten among them.</summary>
    public int PacksDeleted { get; init; }

    /// <summary>Of these, packs of which something was copied first.</summary>
    public int PacksRewritten { get; init; }

    /// <summary>Bytes of the packs that were deleted.</summary>
    public long BytesDeleted { get; init; }

    /// <summary>Bytes that were put: packs, index segments, small objects.</summary>
    public long BytesWritten { get; init; }

    /// <summary>Index segments that were put.</summary>
    public int SegmentsWritten { get; init; }

    /// <summary>What else was removed.</summary>
    public SweepCounts Swept { get; init; } = new(0, 0, 0, 0);

    /// <summary>How long other sessions were waited for.</summary>
    public TimeSpan Waited { get; init; }

    /// <summary>What came of extending the locks of what stays.</summary>
    public LockExtension Locks { get; init; } = LockExtension.None;

    /// <summary>How long all of it took.</summary>
    public TimeSpan Duration { get; init; }
}

/// <summary>Counters of a running prune: written by its workers, read by anybody at any time.</summary>
public sealed class PruneProgress
{
    private volatile string _phase = "index";
    private volatile IReadOnlyList<AwaitedSession> _awaited = [];
    private long _packsDone;
    private long _packsTotal;
    private long _bytesDone;
    private long _bytesTotal;
    private long _directoriesDone;

    /// <summary>index, snapshots, rewrite, mark, wait, locks, delete or sweep: what the prune does now.</summary>
    public string Phase { get => _phase; internal set => _phase = value; }

    /// <summary>The sessions that are waited for; empty while none is.</summary>
    public IReadOnlyList<AwaitedSession> Awaited { get => _awaited; internal set => _awaited = value; }

    /// <summary>Packs that are done with in this phase.</summary>
    public long PacksDone => Interlocked.Read(ref _packsDone);

    public long PacksTotal => Interlocked.Read(ref _packsTotal);

    /// <summary>Bytes of packs that are done with in this phase.</summary>
    public long BytesDone => Interlocked.Read(ref _bytesDone);

    public long BytesTotal => Interlocked.Read(ref _bytesTotal);

    /// <summary>Distinct directories, scans and lists that were followed.</summary>
    public long DirectoriesDone => Interlocked.Read(ref _directoriesDone);

    /// <summary>Hears of the plan before anything is changed.</summary>
    public Action<PrunePlan>? OnPlan { get; init; }

    /// <summary>Hears of what a person may want to know: a sentence.</summary>
    public Action<string>? OnNotice { get; init; }

    internal void Begin(string phase, long packs, long bytes)
    {
        Interlocked.Exchange(ref _packsDone, 0);
        Interlocked.Exchange(ref _bytesDone, 0);
        Interlocked.Exchange(ref _packsTotal, packs);
        Interlocked.Exchange(ref _bytesTotal, bytes);
        _phase = phase;
    }

    internal void PackDone(long bytes)
    {
        Interlocked.Increment(ref _packsDone);
        Interlocked.Add(ref _bytesDone, bytes);
    }

    internal void DirectoryDone() => Interlocked.Increment(ref _directoriesDone);
}
