using System.Globalization;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Primitives;
using BackupIQ.Repository.Maintenance.Collection;

namespace BackupIQ.Jobs;

/// <summary>How a repository is pruned.</summary>
/// <example>
/// <code>
/// PruneOutcome trial = await repository.PruneAsync(new PruneRequest { MaxUnused = "10%", DryRun = true }, cancellationToken: cancellationToken);
/// foreach (PrunedPack pack in trial.Plan.Packs)
/// {
///     Console.WriteLine($"{pack.Action} {pack.Id}: {pack.Reason}");
/// }
/// </code>
/// </example>
public sealed record PruneRequest
{
    /// <summary>
    /// How much may be left unused: a share (<c>5%</c>), bytes (<c>200M</c>; K, M, G, T are powers of 1024), <c>0</c>, or <c>unlimited</c>: only packs of
    /// which nothing is needed go, and nothing is rewritten.
    /// </summary>
    public string MaxUnused { get; init; } = "5%";

    /// <summary>Bytes of packs that are rewritten at most, as <see cref="MaxUnused"/> has them; null: any.</summary>
    public string? MaxRepackSize { get; init; }

    /// <summary>Go on only when no other session is open, and leave nothing to a later prune: for small repositories.</summary>
    public bool Exclusive { get; init; }

    /// <summary>Make the plan, change nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>
    /// For how long every moment of a PostgreSQL server is to be reached, by its name: <c>all</c> (from all base backups that are kept, as for those that are not here),
    /// a number of base backups, or a time such as <c>14d</c>.
    /// </summary>
    public IReadOnlyDictionary<string, string> WalKeep { get; init; } = new Dictionary<string, string>();

    internal PruneOptions ToOptions(RepositoryOptions options, string programVersion) => new()
    {
        Limits = Limits(),
        Exclusive = Exclusive,
        DryRun = DryRun,
        Concurrency = options.Jobs,
        MemoryBudget = options.MemoryBudget,
        Collector = new CollectorOptions
        {
            Hostname = Environment.MachineName,
            Username = Environment.UserName,
            ProgramVersion = programVersion,
            ScratchFolder = options.CacheFolder,
            PackSize = Math.Clamp(options.MemoryBudget / 8, 4L << 20, 32L << 20),
            SegmentSize = Math.Clamp(options.MemoryBudget / 16, 1L << 20, 16L << 20),
        },
    };

    private PruneLimits Limits()
    {
        long repack = MaxRepackSize is null ? long.MaxValue : Bytes(MaxRepackSize, "--max-repack-size", "an amount (10G)");
        if (MaxUnused == "unlimited")
        {
            return new PruneLimits { MaxUnusedShare = null, MaxRepackBytes = repack };
        }

        if (!MaxUnused.EndsWith('%'))
        {
            return new PruneLimits
            {
                MaxUnusedShare = null,
                MaxUnusedBytes = Bytes(MaxUnused, "--max-unused", "a share (5%), an amount (200M), 0 or unlimited"),
                MaxRepackBytes = repack,
            };
        }

        return double.TryParse(MaxUnused.AsSpan(..^1), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double percent) && percent is >= 0 and <= 100
            ? new PruneLimits { MaxUnusedShare = percent / 100, MaxRepackBytes = repack }
            : throw new BackupIQException(ErrorCodes.Usage, $"--max-unused: '{MaxUnused}' is no share", "Write a share (5%), an amount (200M), 0 or unlimited.");
    }

    private static long Bytes(string text, string flag, string forms)
    {
        int shift = text.Length > 1 ? "KMGT".IndexOf(char.ToUpperInvariant(text[^1]), StringComparison.Ordinal) : -1;
        return long.TryParse(shift >= 0 ? text[..^1] : text, NumberStyles.None, CultureInfo.InvariantCulture, out long count) && count <= long.MaxValue >> (10 * (shift + 1))
            ? count << (10 * (shift + 1))
            : throw new BackupIQException(ErrorCodes.Usage, $"{flag}: '{text}' is no amount", $"Write {forms}.");
    }
}

/// <summary>A pack of which a plan says more than that it stays.</summary>
/// <param name="Id">The pack's name.</param>
/// <param name="Kind"><c>data</c> or <c>metadata</c>.</param>
/// <param name="Action"><c>delete</c> or <c>rewrite</c>.</param>
/// <param name="Size">Its bytes.</param>
/// <param name="Rewritten">Bytes that are copied out of it.</param>
/// <param name="Reason">Why.</param>
public sealed record PrunedPack(string Id, string Kind, string Action, long Size, long Rewritten, string Reason);

/// <summary>What a prune is about to do.</summary>
public sealed record PrunePlanInfo
{
    public required IReadOnlyList<PrunedPack> Packs { get; init; }

    public required long PacksTotal { get; init; }

    public required long PacksDeleted { get; init; }

    public required long PacksRewritten { get; init; }

    /// <summary>Packs of sessions that may still be at work: they stay, whatever is in them.</summary>
    public required long PacksProtected { get; init; }

    public required long BytesTotal { get; init; }

    public required long BytesUsed { get; init; }

    public required long BytesRemoved { get; init; }

    public required long BytesRewritten { get; init; }

    /// <summary>Bytes that the repository will be smaller by.</summary>
    public required long BytesFreed { get; init; }

    public required long UnusedBefore { get; init; }

    public required long UnusedAfter { get; init; }

    /// <summary>Bytes that may be left unused; null: any.</summary>
    public required long? UnusedAllowed { get; init; }

    public required long SegmentsTotal { get; init; }

    internal static PrunePlanInfo From(PrunePlan plan) => new()
    {
        Packs = [.. plan.Packs.Select(static p => new PrunedPack(
            p.Pack.Id.ToString(), p.Pack.Kind.ToString().ToLowerInvariant(), p.Fate == PackFate.Delete ? "delete" : "rewrite", p.Size, p.Rewritten, p.Reason))],
        PacksTotal = plan.PacksTotal,
        PacksDeleted = plan.PacksDeleted,
        PacksRewritten = plan.PacksRewritten,
        PacksProtected = plan.PacksProtected,
        BytesTotal = plan.BytesTotal,
        BytesUsed = plan.BytesUsed,
        BytesRemoved = plan.BytesRemoved,
        BytesRewritten = plan.BytesRewritten,
        BytesFreed = plan.BytesFreed,
        UnusedBefore = plan.UnusedBefore,
        UnusedAfter = plan.UnusedAfter,
        UnusedAllowed = plan.UnusedAllowed == long.MaxValue ? null : plan.UnusedAllowed,
        SegmentsTotal = plan.SegmentsTotal,
    };
}

/// <summary>A session for which a prune waits.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Purpose">What it does: <c>backup</c>, <c>restore</c>, …</param>
/// <param name="Hostname">For which host.</param>
/// <param name="Silence">How long it has given no sign of life.</param>
public sealed record AwaitedInfo(string Id, string Purpose, string Hostname, TimeSpan Silence);

/// <summary>Watches a prune: counters to poll at any time, and a call with the plan before anything is changed.</summary>
public sealed class PruneMonitor
{
    /// <summary>Makes a watcher.</summary>
    /// <param name="onPlan">Hears of the plan; it may throw to prevent that it is carried out.</param>
    public PruneMonitor(Action<PrunePlanInfo>? onPlan = null) =>
        Progress = new PruneProgress { OnPlan = onPlan is null ? null : plan => onPlan(PrunePlanInfo.From(plan)) };

    internal PruneProgress Progress { get; }

    /// <summary>index, snapshots, rewrite, mark, wait, delete or sweep: what the prune does now.</summary>
    public string Phase => Progress.Phase;

    public long PacksDone => Progress.PacksDone;

    public long PacksTotal => Progress.PacksTotal;

    public long BytesDone => Progress.BytesDone;

    public long BytesTotal => Progress.BytesTotal;

    /// <summary>Distinct directories that were followed.</summary>
    public long DirectoriesDone => Progress.DirectoriesDone;

    /// <summary>The sessions that are waited for.</summary>
    public IReadOnlyList<AwaitedInfo> Awaited =>
        [.. Progress.Awaited.Select(static s => new AwaitedInfo(s.Session.ToString(), s.Purpose, s.Hostname, s.Silence))];
}

/// <summary>What a prune ended with.</summary>
public sealed record PruneOutcome
{
    public required PrunePlanInfo Plan { get; init; }

    /// <summary>Nothing was changed.</summary>
    public required bool DryRun { get; init; }

    /// <summary>Ids of the forgotten snapshots that were removed for good first, because their grace time was over.</summary>
    public IReadOnlyList<string> Removed { get; init; } = [];

    /// <summary>Packs that were deleted, those that were rewritten among them.</summary>
    public required long PacksDeleted { get; init; }

    /// <summary>Of these, packs of which something was copied first.</summary>
    public required long PacksRewritten { get; init; }

    public required long BytesDeleted { get; init; }

    /// <summary>Bytes that were put.</summary>
    public required long BytesWritten { get; init; }

    /// <summary>Bytes that packs are smaller by, less what was put.</summary>
    public long BytesFreed => BytesDeleted - BytesWritten;

    public required long SegmentsWritten { get; init; }

    public required long SegmentsDeleted { get; init; }

    public required long SessionsDeleted { get; init; }

    public required long PartialsDeleted { get; init; }

    /// <summary>How long other sessions were waited for.</summary>
    public required TimeSpan Waited { get; init; }

    public required TimeSpan Duration { get; init; }

    /// <summary>Objects whose lock on the storage was extended because snapshots need them.</summary>
    public long LocksExtended { get; init; }

    /// <summary>Why locks could not be extended; null: all could, or the storage has none.</summary>
    public string? LockProblem { get; init; }

    /// <summary>What became of the logs of database servers.</summary>
    public IReadOnlyList<WalExpiryInfo> Logs { get; init; } = [];

    internal static PruneOutcome From(PruneResult result) => new()
    {
        LocksExtended = result.Locks.Extended,
        LockProblem = result.Locks.Problem,
        Plan = PrunePlanInfo.From(result.Plan),
        DryRun = result.IsDryRun,
        PacksDeleted = result.PacksDeleted,
        PacksRewritten = result.PacksRewritten,
        BytesDeleted = result.BytesDeleted,
        BytesWritten = result.BytesWritten,
        SegmentsWritten = result.SegmentsWritten,
        SegmentsDeleted = result.Swept.Segments,
        SessionsDeleted = result.Swept.Sessions,
        PartialsDeleted = result.Swept.Partials,
        Waited = result.Waited,
        Duration = result.Duration,
    };
}
