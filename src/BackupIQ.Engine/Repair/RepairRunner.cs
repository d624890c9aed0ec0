using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Maintenance.Repair;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Repair;

/// <summary>How a repository is repaired.</summary>
public sealed record RepairOptions
{
    /// <summary>Find out what would be done, and change nothing.</summary>
    public bool IsTrial { get; init; }

    /// <summary>Workers; 0: as many as there are processors.</summary>
    public int Concurrency { get; init; }

    /// <summary>This machine's name, for people.</summary>
    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    public string ProgramVersion { get; init; } = "";

    /// <summary>The folder of the index cache; null: none is kept.</summary>
    public string? CacheFolder { get; init; }
}

/// <summary>What came of a repair, or with a trial would come of it.</summary>
public sealed record RepairResult
{
    /// <summary>Objects that an earlier repair had begun to mend and this one finished.</summary>
    public required IReadOnlyList<string> Resumed { get; init; }

    /// <summary>Everything that was damaged, mended or not.</summary>
    public required IReadOnlyList<MendedObject> Objects { get; init; }

    /// <summary>Packs that were put into the index again.</summary>
    public int PacksAdopted { get; init; }

    /// <summary>Snapshots that have lost files.</summary>
    public IReadOnlyList<RepairedSnapshot> Snapshots { get; init; } = [];
}

/// <summary>
/// Repairs a repository. Whatever is repaired, small objects that have parity are mended first, and what a repair before this one had begun is
/// finished. Nothing that can still be read is ever dropped.
/// </summary>
public sealed class RepairRunner(BackupRepository repository, TimeProvider time)
{
    /// <summary>
    /// Reads every pack and mends those that are damaged. Of those that cannot be mended, what can be read is moved into new packs, and they
    /// are marked, so that the next backup stores again what it has of the rest.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached or is full, or only a newer version may change this repository.</exception>
    public async Task<RepairResult> RepairPacksAsync(RepairOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        (RepositoryRepair repair, RepairResult begun) = await BeginAsync(options, progress, cancellationToken);
        using RepositoryCheck check = await RepositoryCheck.OpenAsync(repository, time, cancellationToken);
        using CheckPipeline pipeline = new(check, new CheckOptions { Concurrency = options.Concurrency }, progress);
        await ExamineAsync(check, pipeline, progress, cancellationToken);

        progress.Phase = "repair";
        CheckedPack[] broken = [.. check.Packs.Where(static pack => pack.IsBroken || (pack.IsMissing && !pack.IsMarked))];
        MendedObject[] packs = [.. await repair.MendPacksAsync(check, broken, options.IsTrial, cancellationToken)];
        int[] lost = [.. Enumerable.Range(0, packs.Length).Where(i => packs[i].Mending.Means == MendingMeans.None)];
        IReadOnlyList<Mending> salvaged = await repair.SalvagePacksAsync(
            check, [.. lost.Select(i => broken[i])], Upload(options), options.CacheFolder, time, cancellationToken);
        for (int i = 0; i < lost.Length; i++)
        {
            Mending mending = packs[lost[i]].Mending;
            packs[lost[i]] = packs[lost[i]] with { Mending = salvaged[i] with { Told = $"{mending.Told}; {salvaged[i].Told}" } };
        }

        return begun with { Objects = [.. begun.Objects, .. packs] };
    }

    /// <summary>Puts what no readable segment names into the index again, and removes the segments that cannot be read.</summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: a prune is at work; or the storage cannot be reached.</exception>
    public async Task<RepairResult> RepairIndexAsync(RepairOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        (_, RepairResult begun) = await BeginAsync(options, progress, cancellationToken);
        progress.Phase = "index";
        IndexRepairResult index = await IndexRepair.RunAsync(repository, Upload(options), time, cancellationToken);

        // A segment that its parity would mend, or could not, is told once.
        HashSet<string> told = [.. begun.Objects.Where(static item => item.Mending.Means != MendingMeans.None).Select(static item => item.ObjectName)];
        MendedObject[] segments = [.. index.Damaged.Where(item => !told.Contains(item.ObjectName))];
        HashSet<string> rebuilt = [.. segments.Select(static item => item.ObjectName)];
        return begun with
        {
            Objects = [.. begun.Objects.Where(item => !rebuilt.Contains(item.ObjectName)), .. segments, .. index.Unreadable],
            PacksAdopted = index.PacksAdopted,
        };
    }

    /// <summary>
    /// Reads every pack, follows every snapshot, and puts beside each that has lost files another one without them. The damaged snapshot stays.
    /// One that has been repaired already is left alone.
    /// </summary>
    /// <exception cref="BackupIQException">The storage cannot be reached or is full; or maintenance took this run for dead: run again.</exception>
    public async Task<RepairResult> RepairSnapshotsAsync(RepairOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        (_, RepairResult begun) = await BeginAsync(options, progress, cancellationToken);
        using RepositoryCheck check = await RepositoryCheck.OpenAsync(repository, time, cancellationToken);
        using CheckPipeline pipeline = new(check, new CheckOptions { Concurrency = options.Concurrency }, progress);
        await ExamineAsync(check, pipeline, progress, cancellationToken);

        progress.Phase = "snapshots";
        IReadOnlyList<Snapshot> snapshots = await new SnapshotStore(repository).ListAsync(cancellationToken);
        progress.WillWalk(snapshots.Count);
        HashSet<SessionId> damaged = await DamagedAsync(check, pipeline, snapshots, progress, cancellationToken);
        List<RepairedSnapshot> repaired = [];
        foreach (Snapshot snapshot in snapshots.Where(snapshot => damaged.Contains(snapshot.Id)))
        {
            bool isRepaired = snapshots.Any(other => other.RepairedFrom == snapshot.Id.ToString() && !damaged.Contains(other.Id));
            if (!isRepaired && await new SnapshotRepair(repository, check, options, time).RunAsync(snapshot, cancellationToken) is { } result)
            {
                repaired.Add(result);
            }
        }

        return begun with { Snapshots = repaired };
    }

    private async Task<(RepositoryRepair Repair, RepairResult Begun)> BeginAsync(RepairOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        progress.Start(time);
        progress.Phase = "objects";
        RepositoryRepair repair = await RepositoryRepair.OpenAsync(repository, cancellationToken);
        IReadOnlyList<string> resumed = options.IsTrial ? [] : await repair.ResumeAsync(cancellationToken);
        return (repair, new RepairResult { Resumed = resumed, Objects = await repair.MendSmallObjectsAsync(options.IsTrial, cancellationToken) });
    }

    private static async Task ExamineAsync(RepositoryCheck check, CheckPipeline pipeline, CheckProgress progress, CancellationToken cancellationToken)
    {
        progress.Phase = "packs";
        List<(CheckedPack Pack, PackDepth Depth)> plan = [];
        foreach (CheckedPack pack in check.Packs.Where(static pack => !pack.IsMissing))
        {
            plan.Add((pack, PackDepth.Hash));
            progress.WillRead(1, pack.Size);
        }

        await pipeline.ExaminePacksAsync(plan, cancellationToken);
    }

    private static async Task<HashSet<SessionId>> DamagedAsync(
        RepositoryCheck check, CheckPipeline pipeline, IReadOnlyList<Snapshot> snapshots, CheckProgress progress, CancellationToken cancellationToken)
    {
        (bool isDamaged, _) = await pipeline.FollowAsync(snapshots.Select(snapshot => new GraphItem(snapshot.TreeId, GraphPlace.Tree)), null, cancellationToken);
        if (!isDamaged)
        {
            return [];
        }

        using DamageTrace trace = new(check, maxListed: 0, proof: null);
        foreach (Snapshot snapshot in snapshots)
        {
            trace.Trace(snapshot.Id, snapshot.TreeId, null, cancellationToken);
            progress.SnapshotDone();
        }

        return [.. trace.Impacts.SelectMany(static impact => impact.Snapshots)];
    }

    internal static UploadOptions Upload(RepairOptions options) => new()
    {
        Purpose = SessionPurpose.Repair,
        Hostname = options.Hostname,
        Username = options.Username,
        ProgramVersion = options.ProgramVersion,
        DryRun = options.IsTrial,
    };
}
