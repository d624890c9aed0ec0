using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Maintenance;

/// <summary>
/// Prunes a repository: survey → reach → plan → rewrite → mark → wait → survey again → rescue → tombstones → delete → sweep. Takes no lock;
/// backups and other prunes go on beside it. It may be killed at any point, and the next one takes up what it left. The whole prune on one
/// screen; why it is safe stands at <see cref="Collector"/> and in docs/format.md, Collection.
/// </summary>
public sealed class PruneRunner(BackupRepository repository, TimeProvider time)
{
    /// <summary>What seems to be missing is looked for afresh so often before it is believed.</summary>
    private const int MaxLooks = 3;

    /// <summary>Prunes, or with <see cref="PruneOptions.DryRun"/> only makes the plan.</summary>
    /// <exception cref="BackupIQException">
    /// <c>ChunkMissing</c> or <c>CorruptData</c>: what snapshots need cannot be told or is not there, and nothing was deleted.
    /// <c>RepositoryBusy</c>: exclusive, and another session is open. <c>SessionFenced</c>: another prune took this one for dead.
    /// </exception>
    public async Task<PruneResult> RunAsync(PruneOptions options, PruneProgress progress, CancellationToken cancellationToken)
    {
        long started = time.GetTimestamp();
        await using Collector collector = await Collector.OpenAsync(repository, options.Collector, options.DryRun, time, cancellationToken);
        Run run = new(collector, options, progress, time);
        if (options.Exclusive && !options.DryRun)
        {
            RequireNobody(await collector.OpenSessionsAsync(cancellationToken));
        }

        PrunePlan plan = await run.PlanAsync(cancellationToken);
        progress.OnPlan?.Invoke(plan);
        PruneResult result = options.DryRun
            ? new PruneResult { Plan = plan, IsDryRun = true }
            : await run.CarryOutAsync(plan, cancellationToken);
        return result with { Duration = time.GetElapsedTime(started) };
    }

    private static void RequireNobody(IReadOnlyList<AwaitedSession> open)
    {
        if (open.Count > 0)
        {
            AwaitedSession first = open[0];
            string others = open.Count > 1 ? $" and {open.Count - 1} more" : "";
            throw new BackupIQException(
                ErrorCodes.RepositoryBusy,
                $"Session {first.Session.ToString()[..8]} ({first.Purpose} on {first.Hostname}{others}) is open, so this prune cannot be exclusive.",
                "Wait for it to end, or prune without --exclusive: that needs nobody to stop.");
        }
    }

    private sealed class Run(Collector collector, PruneOptions options, PruneProgress progress, TimeProvider time)
    {
        private readonly MaintenancePipeline _pipeline = new(collector, options, progress);
        private readonly List<SnapshotObject> _complete = [];
        private List<string> _stalePartials = [];

        public async Task<PrunePlan> PlanAsync(CancellationToken cancellationToken)
        {
            await LookAsync(cancellationToken);
            return collector.Plan(options.Limits);
        }

        public async Task<PruneResult> CarryOutAsync(PrunePlan plan, CancellationToken cancellationToken)
        {
            plan = await RewriteAsync(plan, cancellationToken);
            await _pipeline.MarkAsync([.. plan.Packs.Where(static p => !p.Pack.IsMarked)], cancellationToken);
            IReadOnlyList<CollectedPack> condemned = [];
            TimeSpan waited = TimeSpan.Zero;
            if (plan.Packs.Count > 0)
            {
                waited = await SettleAsync(cancellationToken);
                condemned = await RescueAsync(cancellationToken);
            }

            long bytes = condemned.Sum(static p => p.Size);
            progress.Begin("index", 0, 0);
            int segments = await collector.CompactAsync(condemned, options.Exclusive, cancellationToken);
            progress.Begin("locks", 0, 0);
            LockExtension locks = await collector.ExtendLocksAsync(cancellationToken);
            await _pipeline.DeleteAsync(condemned, cancellationToken);
            progress.Begin("sweep", 0, 0);
            SweepCounts swept = await collector.SweepAsync(_stalePartials, cancellationToken);
            await collector.EndAsync(cancellationToken);
            return new PruneResult
            {
                Plan = plan,
                PacksDeleted = condemned.Count,
                PacksRewritten = plan.PacksRewritten,
                BytesDeleted = bytes,
                BytesWritten = collector.BytesPut,
                SegmentsWritten = segments,
                Swept = swept,
                Waited = waited,
                Locks = locks,
            };
        }

        // What is live in packs that go is copied before they are marked, so that nobody has to store it again while this prune waits.
        private async Task<PrunePlan> RewriteAsync(PrunePlan plan, CancellationToken cancellationToken)
        {
            for (int look = 1; ; look++)
            {
                try
                {
                    await _pipeline.RewriteAsync([.. plan.Packs.Where(static p => p.Fate != PackFate.Delete)], cancellationToken);
                    return plan;
                }
                catch (BackupIQException e) when (look < MaxLooks && IsMoved(e))
                {
                    await StartOverAsync(cancellationToken);
                    plan = await PlanAsync(cancellationToken);
                }
            }
        }

        // Marks are visible; now nobody may be left who could commit without having seen them.
        private async Task<TimeSpan> SettleAsync(CancellationToken cancellationToken)
        {
            progress.Begin("wait", 0, 0);
            long since = time.GetTimestamp();
            await collector.SettleAsync(awaited => progress.Awaited = awaited, cancellationToken);
            progress.Awaited = [];
            return time.GetElapsedTime(since);
        }

        // What is needed is looked at again, and copied where it would go otherwise. The packs that are left over may go.
        private async Task<IReadOnlyList<CollectedPack>> RescueAsync(CancellationToken cancellationToken)
        {
            for (int look = 1; ; look++)
            {
                try
                {
                    do
                    {
                        await LookAsync(cancellationToken);
                    }
                    while (!await collector.TryBarRemovedAsync(cancellationToken));

                    await _pipeline.RewriteAsync(await collector.RescuesAsync(cancellationToken), cancellationToken);
                    await collector.RequireRescuedAsync(cancellationToken);
                    return collector.Condemned();
                }
                catch (BackupIQException e) when (look < MaxLooks && IsMoved(e))
                {
                    await StartOverAsync(cancellationToken);
                }
            }
        }

        // Surveys, follows what is new, and chooses.
        private async Task LookAsync(CancellationToken cancellationToken)
        {
            for (int look = 1; ; look++)
            {
                try
                {
                    progress.Begin("index", 0, 0);
                    await collector.SurveyAsync(cancellationToken);
                    progress.Begin("snapshots", 0, 0);
                    _complete.AddRange(collector.NewRoots);
                    await _pipeline.FollowAsync(SnapshotRoots.Of(collector.NewRoots), isHint: false, cancellationToken);
                    (List<ReachedChunk> partials, _stalePartials) = SnapshotRoots.OfPartials(
                        collector.Partials, _complete, options.Collector.PartialAge, time.GetUtcNow());
                    await _pipeline.FollowAsync(partials, isHint: true, cancellationToken);
                    collector.Choose(cancellationToken);
                    return;
                }
                catch (BackupIQException e) when (look < MaxLooks && IsMoved(e))
                {
                    await StartOverAsync(cancellationToken);
                }
            }
        }

        // What seems to be missing may only have been moved, by another collector, since it was listed.
        private static bool IsMoved(BackupIQException e) => e.Code == ErrorCodes.ChunkMissing || e.Code == ErrorCodes.StorageObjectNotFound;

        private async Task StartOverAsync(CancellationToken cancellationToken)
        {
            _complete.Clear();
            await collector.StartOverAsync(cancellationToken);
        }
    }
}
