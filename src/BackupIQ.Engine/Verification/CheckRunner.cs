using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Verification;

/// <summary>
/// Checks a repository: objects → packs against index → graph of every snapshot → what damage means for files. Changes nothing but the ledger of
/// what was verified and, on storage with locks, when those of what is needed end, and may run beside backups. Level 0 (exists, size), 2 (contents against index) and 3 (graph) always; 1 (pack hash) and 4
/// (every chunk) by its options.
/// </summary>
public sealed class CheckRunner(BackupRepository repository, TimeProvider time)
{
    /// <summary>Runs the check. Damage is in the result and no exception.</summary>
    /// <exception cref="BackupIQException">The storage cannot be reached, or only a newer version may check this repository.</exception>
    public async Task<CheckResult> RunAsync(CheckOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        progress.Start(time);
        using RepositoryCheck check = await RepositoryCheck.OpenAsync(repository, time, cancellationToken);
        VerificationLedger ledger = await VerificationLedger.LoadAsync(repository, time, cancellationToken);
        foreach (RepositoryFinding finding in ledger.Findings)
        {
            check.Report(DamageKind.SmallObject, DamageSeverity.Warning, finding.ObjectName, finding.Problem);
        }

        using CheckPipeline pipeline = new(check, options, progress);
        progress.Phase = "objects";
        await pipeline.CheckSmallObjectsAsync(cancellationToken);

        // Heads cost a request each: over a line they are read where everything is.
        bool readsLogs = options.ReadData is { IsAll: true };
        if (readsLogs || check.IsLocal)
        {
            progress.Phase = "logs";
            await pipeline.CheckLogsAsync(readsLogs, cancellationToken);
        }

        progress.Phase = "packs";
        (VerificationState state, bool areAllRead) = await ReadPacksAsync(check, pipeline, ledger, options, progress, cancellationToken);

        progress.Phase = "snapshots";
        List<Root> complete = Roots(check, check.Snapshots, isPartial: false);
        List<Root> partial = Roots(check, check.Partials, isPartial: true);
        PageProof? proof = areAllRead ? new PageProof(repository.Keys.DataIdKey.ToArray()) : null;
        progress.WillWalk(complete.Count + partial.Count);
        (bool isDamaged, bool isMissing) = await pipeline.FollowAsync(Items(complete, progress), proof, cancellationToken);
        (bool isPartialDamaged, _) = await pipeline.FollowAsync(Items(partial, progress), null, cancellationToken);

        progress.Phase = "locks";
        LockExtension locks = await check.ExtendLocksAsync(time, cancellationToken);

        progress.Phase = "damage";
        using DamageTrace trace = new(check, options.MaxListedFiles, proof);
        if (isDamaged || isPartialDamaged)
        {
            Trace(trace, complete, cancellationToken);
            trace.TurnToPartials();
            Trace(trace, partial, cancellationToken);
        }

        return Conclude(check, trace, isMissing, progress, complete.Count) with { Verification = state, Locks = locks };
    }

    // What was read is in the ledger however the reading ends.
    private async Task<(VerificationState State, bool AreAllRead)> ReadPacksAsync(
        RepositoryCheck check, CheckPipeline pipeline, VerificationLedger ledger, CheckOptions options, CheckProgress progress, CancellationToken cancellationToken)
    {
        CheckPlan plan = CheckPlan.Make(check, ledger, options, time.GetUtcNow());
        plan.Tell(progress);
        LedgerRun run = ledger.Begin(repository, time, plan.ReadsEverything, options.Resume);
        ReadingLimit limit = new(time, options.Budget, run);
        await using (run)
        {
            if (options.BeforeReading is { } prepare)
            {
                await prepare([.. plan.Tasks.Where(static task => task.Depth == PackDepth.Chunks && task.Pack.Kind == PackKind.Data).Select(static task => task.Pack.Id)], cancellationToken);
            }

            await pipeline.ExaminePacksAsync(plan, limit, cancellationToken);
            await run.EndAsync(plan.IsThere, limit.IsDone, cancellationToken);
        }

        VerificationState state = VerificationStatus.Of(ledger, [.. plan.Packs.Select(static pack => pack.Id)]) with
        {
            PacksVerified = limit.Read,
            PacksFresh = plan.Fresh,
            PacksDue = limit.Left,
            PacksArchived = limit.Archived,
            Interrupted = plan.ReadsEverything && limit.IsDone ? null : ledger.Interrupted,
            LedgerProblem = run.Problem,
        };
        return (state, plan.ReadsEverything && limit.IsDone);
    }

    // Newest first: a damaged file is shown in the snapshot that people would restore from.
    private static List<Root> Roots(RepositoryCheck check, IReadOnlyList<SnapshotObject> snapshots, bool isPartial)
    {
        List<Root> roots = [];
        foreach (SnapshotObject stored in snapshots)
        {
            try
            {
                Snapshot snapshot = SnapshotStore.Read(stored.Document!, stored.Session);
                roots.Add(new Root(stored.Session, snapshot.Time, snapshot.TreeId, snapshot.ScanId));
            }
            catch (CorruptDataException)
            {
                check.Report(
                    DamageKind.Snapshot,
                    isPartial ? DamageSeverity.Warning : DamageSeverity.Error,
                    stored.Name,
                    $"snapshot {stored.Session.ToString()[..8]} is malformed");
            }
        }

        roots.Sort(static (a, b) => b.Time != a.Time ? b.Time.CompareTo(a.Time) : b.Snapshot.CompareTo(a.Snapshot));
        return roots;
    }

    // Given in the order of newest last, for the last given is taken first.
    private static IEnumerable<GraphItem> Items(List<Root> roots, CheckProgress progress)
    {
        for (int i = roots.Count - 1; i >= 0; i--)
        {
            if (roots[i].Scan is { } scan)
            {
                yield return new GraphItem(scan, GraphPlace.Scan);
            }

            yield return new GraphItem(roots[i].Tree, GraphPlace.Tree);
            progress.SnapshotDone();
        }
    }

    private static void Trace(DamageTrace trace, List<Root> roots, CancellationToken cancellationToken)
    {
        foreach (Root root in roots)
        {
            trace.Trace(root.Snapshot, root.Tree, root.Scan, cancellationToken);
        }
    }

    private static CheckResult Conclude(RepositoryCheck check, DamageTrace trace, bool isMissing, CheckProgress progress, long snapshots)
    {
        Dictionary<PackId, Impact> byPack = trace.Impacts.Where(static i => i.Pack is not null && i.Severity == DamageSeverity.Error).ToDictionary(static i => i.Pack!.Id);
        List<CheckFinding> findings = [.. check.Damage.Select(static d => new CheckFinding { Damage = d })];
        foreach (RepositoryDamage damage in check.PackDamage(isMissing))
        {
            Impact? impact = damage.Pack is { } pack ? byPack.GetValueOrDefault(pack) : null;
            findings.Add(impact is null ? new CheckFinding { Damage = damage } : Finding(damage, impact));
        }

        foreach (Impact impact in trace.Impacts.Where(static i => i.Pack is null))
        {
            (string name, string problem) = impact.Kind switch
            {
                DamageKind.TreeMalformed => ("directory", "it is malformed, though its seal holds: whoever wrote it wrote it so"),
                DamageKind.PagesWrong => ("page map", "its pages are not those that were read: one changed and was taken for the one before; a full backup stores the file whole"),
                _ => ("chunk", impact.Chunks.Count == 1 ? "no pack has it" : $"no pack has it, nor {impact.Chunks.Count - 1} more"),
            };
            findings.Add(Finding(new RepositoryDamage(impact.Kind, impact.Severity, $"{name} {impact.First}", problem), impact));
        }

        findings.Sort(static (a, b) => a.IsError != b.IsError ? b.IsError.CompareTo(a.IsError)
            : a.Damage.Kind != b.Damage.Kind ? a.Damage.Kind.CompareTo(b.Damage.Kind)
            : string.CompareOrdinal(a.Damage.ObjectName, b.Damage.ObjectName));
        (int unneeded, long unneededBytes) = check.Unneeded();
        return new CheckResult
        {
            Findings = findings,
            NumErrors = findings.Count(static f => f.IsError),
            BrokenPacks = [.. findings.Where(static f => f.IsError && f.Damage.Pack is not null).Select(static f => f.Damage.Pack!.Value)],
            DamagedFiles = trace.DamagedPaths,
            SuggestRepairIndex = findings.Any(static f => f.IsError && f.Damage.Kind is DamageKind.IndexSegment or DamageKind.IndexLost),
            SuggestPrune = unneeded > 0,
            UnneededPacks = unneeded,
            UnneededBytes = unneededBytes,
            PacksChecked = progress.PacksDone,
            PacksArchived = check.Packs.Count(static pack => pack.IsArchived),
            BytesRead = progress.BytesDone,
            SnapshotsChecked = snapshots,
            Verification = new VerificationState(),
        };
    }

    private static CheckFinding Finding(RepositoryDamage damage, Impact impact) => new()
    {
        Damage = damage,
        ChunkCount = impact.Chunks.Count,
        FileCount = impact.Paths.Count,
        Files = impact.Files,
        Snapshots = impact.Snapshots,
    };

    private sealed record Root(SessionId Snapshot, DateTimeOffset Time, ChunkId Tree, ChunkId? Scan);
}
