using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>
/// Decides from which backup and along which timelines a target is reached, and proves that it is: first by what is known of the log, which takes no time, then
/// by reading all of it up to there. What cannot be reached is refused with what is missing and with the nearest moment that can.
/// </summary>
/// <param name="log">The log.</param>
/// <param name="bases">The backups, the oldest first, each with the segments that it has itself.</param>
/// <param name="isFixed">There is one, which was named: no other may be taken.</param>
/// <param name="pauses">The server pauses where it stops, and is looked at there.</param>
internal sealed class RecoveryPlanner(RecoveryLog log, IReadOnlyList<(RecoveryBase Base, IReadOnlyList<WalFileName> Own)> bases, bool isFixed, bool pauses)
{
    private readonly List<string> _notes = [];

    /// <summary>Makes the plan.</summary>
    /// <param name="aim">What is to be reached.</param>
    /// <param name="timeline">Along which timeline; null: the newest.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException"><c>RecoveryTarget</c>: it cannot be reached.</exception>
    public async Task<RecoveryPlan> PlanAsync(RecoveryAim aim, uint? timeline, CancellationToken cancellationToken)
    {
        uint along = timeline ?? (aim.Kind == PostgresTargetKind.Immediate ? bases[^1].Base.Timeline : Math.Max(log.NewestTimeline, bases.Max(static one => one.Base.Timeline)));
        List<(RecoveryBase Base, IReadOnlyList<WalFileName> Own, TimelineBranch Branch)> fit = [];
        string? unfit = null;
        foreach ((RecoveryBase from, IReadOnlyList<WalFileName> own) in bases)
        {
            TimelineBranch? branch = TimelineBranch.Of(along, log.Histories) ?? (from.Timeline == along ? TimelineBranch.Of(TimelineHistory.OfFirst(along)) : null);
            string? problem = branch is null ? $"{WalFileName.OfHistory(along)} is missing: it is not known where timeline {along} comes from" : RecoveryPath.Unfit(from, branch);
            if (problem is null)
            {
                fit.Add((from, own, branch!));
            }
            else
            {
                unfit = problem;
            }
        }

        if (fit.Count == 0)
        {
            throw Refusal(aim, unfit!, null, along > 1 ? $"--timeline N goes along another timeline; 'backupiq pg window' shows what there is." : null);
        }

        return await ChooseAsync(aim, Ordered(fit, aim), cancellationToken).ConfigureAwait(false);
    }

    // The newest first. For a time those first that ended before it; but also while a backup ran there may have been nothing to commit, so then those that had
    // begun. What was committed before one began stands in its files: for an earlier time it is of no use.
    private static List<(RecoveryBase Base, IReadOnlyList<WalFileName> Own, TimelineBranch Branch)> Ordered(
        List<(RecoveryBase Base, IReadOnlyList<WalFileName> Own, TimelineBranch Branch)> fit, RecoveryAim aim)
    {
        IEnumerable<(RecoveryBase Base, IReadOnlyList<WalFileName> Own, TimelineBranch Branch)> newest = fit.OrderByDescending(static one => one.Base.Stop.Value);
        return aim.Kind != PostgresTargetKind.Time ? [.. newest]
            : [
                .. newest.Where(one => PostgresTime.Write(one.Base.Stopped) <= aim.Microseconds),
                .. newest.Where(one => PostgresTime.Write(one.Base.Stopped) > aim.Microseconds && PostgresTime.Write(one.Base.Started) <= aim.Microseconds),
            ];
    }

    private async Task<RecoveryPlan> ChooseAsync(
        RecoveryAim aim, List<(RecoveryBase Base, IReadOnlyList<WalFileName> Own, TimelineBranch Branch)> candidates, CancellationToken cancellationToken)
    {
        BackupIQException? refusal = candidates.Count == 0 ? TooEarly(aim, bases[0].Base) : null;
        Lsn? newer = null;
        foreach ((RecoveryBase from, IReadOnlyList<WalFileName> own, TimelineBranch branch) in candidates)
        {
            RecoveryPath path = await log.WalkAsync(from, own, branch, cancellationToken).ConfigureAwait(false);
            if (!path.IsConsistent)
            {
                throw Refusal(aim, $"the log that backup {from.Snapshot[..8]} needs to be consistent ends at {path.End}, and it must reach {from.Stop}: {path.EndsBecause}", null, null, path);
            }

            if (aim.Kind == PostgresTargetKind.Lsn && aim.Place < from.Stop)
            {
                refusal = TooEarly(aim, from);
                continue;
            }

            if (OutOfReach(path, aim) is { } beyond)
            {
                if (aim.Kind != PostgresTargetKind.Time || PostgresTime.Write(from.Stopped) <= aim.Microseconds)
                {
                    throw beyond;
                }

                refusal ??= beyond;
                continue;
            }

            // What stands behind the beginning of a newer backup was looked for when that was tried.
            bool isSought = aim.Kind is PostgresTargetKind.Transaction or PostgresTargetKind.Name;
            RecoveryWalk walk = new(aim, from.Start);
            Lsn? end = aim.Kind == PostgresTargetKind.Immediate ? from.Stop : isSought && newer is { } start ? start + log.SegmentSize : null;
            (int segments, RecoveryObstacle? obstacle) = await log.ReadAsync(path, walk, end, cancellationToken).ConfigureAwait(false);
            if (walk.Stop is null && obstacle is not null)
            {
                throw Refusal(aim, obstacle.Problem, obstacle.Reached, null, path, obstacle.File);
            }

            if (walk.Stop is { } stop && stop.End < from.Stop)
            {
                refusal = TooEarly(aim, from);
                newer = from.Start;
                continue;
            }

            if (walk.Stop is null && isSought)
            {
                refusal ??= Refusal(aim, $"it is not in the log from {candidates[^1].Base.Start} to {path.End}, which ends there because {path.EndsBecause}", walk.State, null, path);
                newer = from.Start;
                continue;
            }

            return await FinishAsync(path, aim, walk, segments, cancellationToken).ConfigureAwait(false);
        }

        throw refusal!;
    }

    // By what is known of the log, without reading it; null: the target may be on the way.
    private static BackupIQException? OutOfReach(RecoveryPath path, RecoveryAim aim)
    {
        switch (aim.Kind)
        {
            case PostgresTargetKind.Latest when path.IsHole:
                return Refusal(aim, path.EndsBecause, null, null, path);
            case PostgresTargetKind.Lsn when aim.Place > path.End:
                return Refusal(aim, $"the log ends at {path.End}: {path.EndsBecause}", null, null, path);
            case PostgresTargetKind.Time when !Passes(path, aim) && !(path.CoveredTo >= aim.Microseconds):
                string covered = path.CoveredTo is { } time ? $"what was committed is stored up to {RecoveryAim.Show(time)}" : "nothing that was committed is stored";
                return Refusal(aim, $"{covered}: {path.EndsBecause}", null, null, path);
            default:
                return null;
        }
    }

    // Whether some commit or abort on the way is later.
    private static bool Passes(RecoveryPath path, RecoveryAim aim) => path.LastTime is { } last && (last > aim.Microseconds || (aim.IsExclusive && last == aim.Microseconds));

    private async Task<RecoveryPlan> FinishAsync(RecoveryPath path, RecoveryAim aim, RecoveryWalk walk, int count, CancellationToken cancellationToken)
    {
        bool isEnd = walk.Stop is null;
        if (isEnd && aim.Kind != PostgresTargetKind.Immediate)
        {
            walk.StopAtEnd();
            if (aim.Kind == PostgresTargetKind.Time)
            {
                _notes.Add($"No commit after {aim} is stored, and the log is complete up to then: it is recovered to the end of what is stored, {walk.State.End}.");
            }
        }

        if (pauses && aim.Kind is PostgresTargetKind.Time or PostgresTargetKind.Transaction && walk.State.LastTransaction?.End >= path.Base.Stop)
        {
            walk.StopEarlier();
        }

        uint timeline = walk.Stop is { } stop ? path.Branch.At(stop.At) : path.Base.Timeline;
        List<RecoverySegment> segments = [.. path.Segments.Take(count)];

        // A place on the old timeline in the segment with which the new one begins: under the old one's name, so that the server goes no further along the new.
        RecoverySegment last = segments[^1];
        if (timeline < last.Name.Timeline)
        {
            segments[^1] = last with { Name = last.Name with { Timeline = timeline } };
        }

        if (timeline != path.Branch.Timeline && walk.Stop is not null)
        {
            _notes.Add($"The target is on timeline {timeline}, from which timeline {path.Branch.Timeline} comes.");
        }

        RecoveryTransaction? after = walk.FirstAfter;
        for (int i = Math.Max(0, count - 1); after is null && walk.Stop is not null && i < path.Segments.Count; i++)
        {
            if (i >= count && path.Segments[i].Facts.Transactions > 0)
            {
                after = await log.FirstCommitAsync(path, path.Segments[i], cancellationToken).ConfigureAwait(false);
            }
        }

        return new RecoveryPlan(path.Base, aim, segments, walk.Stop, timeline, walk.State, after, isEnd, _notes);
    }

    private BackupIQException TooEarly(RecoveryAim aim, RecoveryBase from)
    {
        string first = isFixed ? $"backup {from.Snapshot[..8]} is" : "the oldest backup from which it could be reached is";
        return new BackupIQException(
            ErrorCodes.RecoveryTarget,
            $"The target, {aim}, cannot be reached: {first} consistent only from {from.Stop} on, {RecoveryAim.Show(PostgresTime.Write(from.Stopped))}; nothing was written",
            isFixed ? "Leave --base out, or name an older backup." : $"The earliest moment that can be reached from it: --target immediate --base {from.Snapshot[..8]}.")
            .With("nearest_lsn", from.Stop.ToString()).With("nearest_time", RecoveryAim.Show(PostgresTime.Write(from.Stopped)));
    }

    private static BackupIQException Refusal(RecoveryAim aim, string why, RecoveryState? reached, string? guidance, RecoveryPath? path = null, WalFileName? file = null)
    {
        Lsn end = reached?.End ?? path?.End ?? Lsn.None;
        long? time = reached is { } state ? state.LastTransaction?.Microseconds : path?.LastTime;
        bool isNearest = path is not null && end >= path.Base.Stop;
        guidance ??= isNearest ? $"The nearest that can be reached: --target-lsn {end}. 'backupiq pg window' shows what else." : null;
        BackupIQException refusal = new(ErrorCodes.RecoveryTarget, $"The target, {aim}, cannot be reached: {why}; nothing was written", guidance);
        if (isNearest)
        {
            refusal = refusal.With("nearest_lsn", end.ToString());
            refusal = time is { } known ? refusal.With("nearest_time", RecoveryAim.Show(known)) : refusal;
        }

        return (file ?? path?.EndsAt) is { } at ? refusal.With("file", at.ToString()) : refusal;
    }
}
