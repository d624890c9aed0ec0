using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Maintenance.Repair;

namespace BackupIQ.Engine.Repair;

/// <summary>How a repository is repaired.</summary>
public sealed record RepairOptions
{
    /// <summary>Find out what would be done, and change nothing.</summary>
    public bool IsTrial { get; init; }

    /// <summary>Workers; 0: as many as there are processors.</summary>
    public int Concurrency { get; init; }
}

/// <summary>What came of a repair, or with a trial would come of it.</summary>
public sealed record RepairResult
{
    /// <summary>Objects that an earlier repair had begun to mend and this one finished.</summary>
    public required IReadOnlyList<string> Resumed { get; init; }

    /// <summary>Everything that was damaged, mended or not.</summary>
    public required IReadOnlyList<MendedObject> Objects { get; init; }

    /// <summary>Whether damage is left.</summary>
    public bool IsDamageLeft => Objects.Any(static item => item.Mending.Means == MendingMeans.None);
}

/// <summary>Repairs a repository: mends what can have its old bytes again.</summary>
public sealed class RepairRunner(BackupRepository repository, TimeProvider time)
{
    /// <summary>Reads every pack and mends those that are damaged, after the small objects that have parity.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached or is full, or only a newer version may change this repository.</exception>
    public async Task<RepairResult> RepairPacksAsync(RepairOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        progress.Start(time);
        progress.Phase = "objects";
        RepositoryRepair repair = await RepositoryRepair.OpenAsync(repository, cancellationToken);
        IReadOnlyList<string> resumed = options.IsTrial ? [] : await repair.ResumeAsync(cancellationToken);
        List<MendedObject> objects = [.. await repair.MendSmallObjectsAsync(options.IsTrial, cancellationToken)];

        using RepositoryCheck check = await RepositoryCheck.OpenAsync(repository, time, cancellationToken);
        progress.Phase = "packs";
        using (CheckPipeline pipeline = new(check, new CheckOptions { Concurrency = options.Concurrency }, progress))
        {
            await pipeline.ExaminePacksAsync(Plan(check, progress), cancellationToken);
        }

        progress.Phase = "repair";
        CheckedPack[] broken = [.. check.Packs.Where(static pack => pack.IsBroken || (pack.IsMissing && !pack.IsMarked))];
        objects.AddRange(await repair.MendPacksAsync(check, broken, options.IsTrial, static () => { }, cancellationToken));
        return new RepairResult { Resumed = resumed, Objects = objects };
    }

    private static List<(CheckedPack Pack, PackDepth Depth)> Plan(RepositoryCheck check, CheckProgress progress)
    {
        List<(CheckedPack Pack, PackDepth Depth)> plan = [];
        foreach (CheckedPack pack in check.Packs.Where(static pack => !pack.IsMissing))
        {
            plan.Add((pack, PackDepth.Hash));
            progress.WillRead(1, pack.Size);
        }

        return plan;
    }
}
