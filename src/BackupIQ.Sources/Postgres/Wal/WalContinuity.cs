namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>A segment of an archive and what is known of it; null: that could not be read.</summary>
public sealed record WalSegment(WalFileName Name, DateTimeOffset StoredAt, WalSegmentFacts? Facts);

/// <summary>A part of a timeline's log of which it is known that it is lost.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="From">Where it begins.</param>
/// <param name="To">Where it ends.</param>
/// <param name="Cause">Why: half a sentence.</param>
public sealed record WalLoss(uint Timeline, Lsn From, Lsn To, string Cause);

/// <summary>A part of a timeline's log without a hole.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="Segments">Its segments, ascending.</param>
/// <param name="EndsAt">The place that is missing or damaged, or where the log ends.</param>
/// <param name="EndsBecause">Why it goes no further: half a sentence.</param>
/// <param name="IsHole">Whether more of the timeline follows that cannot be reached from here.</param>
public sealed record WalInterval(uint Timeline, IReadOnlyList<WalSegment> Segments, Lsn EndsAt, string EndsBecause, bool IsHole)
{
    /// <summary>Where it begins: with the first record that begins in it.</summary>
    public Lsn From => Segments[0].Facts is { } facts ? (facts.First != Lsn.None ? facts.First : facts.Start) : Lsn.None;

    /// <summary>Where the last whole record of it ends.</summary>
    public Lsn To => Segments.LastOrDefault(static segment => segment.Facts is { } facts && facts.Last != Lsn.None)?.Facts!.LastEnd ?? From;

    /// <summary>The earliest moment of a commit or abort in it, or null.</summary>
    public DateTimeOffset? FromTime => Times().Select(static facts => PostgresTime.Read(facts.FirstTime)).FirstOrDefault();

    /// <summary>The latest moment of a commit or abort in it, or null.</summary>
    public DateTimeOffset? ToTime => Times().Select(static facts => PostgresTime.Read(facts.LastTime)).LastOrDefault();

    private IEnumerable<WalSegmentFacts> Times() => Segments.Select(static segment => segment.Facts).OfType<WalSegmentFacts>().Where(static facts => facts.Transactions > 0);
}

/// <summary>Tells from what is known of segments, without reading them, how far each goes on in the next. Pure.</summary>
public static class WalContinuity
{
    /// <summary>The intervals of all timelines, ascending.</summary>
    /// <param name="segments">Whole segments, in any order.</param>
    /// <param name="histories">The histories that are there, by timeline.</param>
    /// <param name="losses">What is known to be lost: it says why a segment is missing. Where the segments are there all the same nothing is lost.</param>
    public static IReadOnlyList<WalInterval> Intervals(
        IEnumerable<WalSegment> segments, IReadOnlyDictionary<uint, TimelineHistory> histories, IReadOnlyList<WalLoss>? losses = null)
    {
        List<WalInterval> intervals = [];
        foreach (IGrouping<uint, WalSegment> timeline in segments.GroupBy(static segment => segment.Name.Timeline).OrderBy(static group => group.Key))
        {
            WalSegment[] inOrder = [.. timeline.OrderBy(static segment => segment.Name.High).ThenBy(static segment => segment.Name.Low)];
            List<WalSegment> current = [];
            for (int i = 0; i < inOrder.Length; i++)
            {
                current.Add(inOrder[i]);
                WalSegment? next = i + 1 < inOrder.Length ? inOrder[i + 1] : null;
                (Lsn at, string problem, bool isHole) = next is null ? EndOf(inOrder[i], timeline.Key, histories, losses ?? []) : Between(inOrder[i], next, losses ?? []);
                if (problem.Length > 0)
                {
                    intervals.Add(new WalInterval(timeline.Key, current, at, problem, isHole));
                    current = [];
                }
            }
        }

        return intervals;
    }

    /// <summary>What keeps <paramref name="next"/>, by its place the one behind <paramref name="before"/>, from going on where that ends; null: nothing.</summary>
    public static string? Break(WalSegmentFacts before, WalSegmentFacts next)
    {
        if (before.SystemIdentifier != next.SystemIdentifier || before.SegmentSize != next.SegmentSize)
        {
            return "they are of different clusters";
        }

        switch (before.End)
        {
            case WalEnd.Finding:
                return $"it is damaged at {before.DamagedAt}";
            case WalEnd.Nothing:
                return $"its log ends at {before.LastEnd}, before the segment does";
        }

        bool isWithin = before.End == WalEnd.WithinRecord;
        if (!next.GivesUp && ((next.Continued > 0) != isWithin || (before.Pending != Lsn.None && next.Continued != before.PendingBytes)))
        {
            return "the next one does not go on with its last record";
        }

        Lsn last = isWithin && !next.GivesUp ? before.Pending : before.Last;
        return next.First == Lsn.None || next.BeforeFirst == Lsn.None || last == Lsn.None || next.BeforeFirst == last
            ? null
            : $"the next one goes on from a record at {next.BeforeFirst}, and it ends with the one at {last}";
    }

    private static (Lsn At, string Problem, bool IsHole) Between(WalSegment before, WalSegment next, IReadOnlyList<WalLoss> losses)
    {
        if (before.Facts is not { } facts)
        {
            return (Lsn.None, $"what is said of {before.Name} cannot be read", true);
        }

        WalFileName follows = WalFileName.OfSegment(before.Name.Timeline, before.Name.NumberOf(facts.SegmentSize) + 1, facts.SegmentSize);
        if (next.Name != follows)
        {
            return (follows.StartOf(facts.SegmentSize), Missing(follows, facts.SegmentSize, losses), true);
        }

        return next.Facts is null ? (follows.StartOf(facts.SegmentSize), $"what is said of {next.Name} cannot be read", true)
            : Break(facts, next.Facts) is { } problem ? (facts.DamagedAt != Lsn.None ? facts.DamagedAt : facts.LastEnd, $"{before.Name}: {problem}", true)
            : (Lsn.None, "", false);
    }

    private static string Missing(WalFileName segment, uint segmentSize, IReadOnlyList<WalLoss> losses) =>
        LossAt(segment, segmentSize, losses) is { } loss ? $"segment {segment} is missing: {loss.Cause}" : $"segment {segment} is missing";

    private static WalLoss? LossAt(WalFileName segment, uint segmentSize, IReadOnlyList<WalLoss> losses)
    {
        Lsn start = segment.StartOf(segmentSize);
        return losses.FirstOrDefault(loss => loss.Timeline == segment.Timeline && loss.From < start + segmentSize && loss.To > start);
    }

    private static (Lsn At, string Problem, bool IsHole) EndOf(
        WalSegment last, uint timeline, IReadOnlyDictionary<uint, TimelineHistory> histories, IReadOnlyList<WalLoss> losses)
    {
        if (last.Facts is not { } facts)
        {
            return (Lsn.None, $"what is said of {last.Name} cannot be read", true);
        }

        if (facts.DamagedAt != Lsn.None)
        {
            return (facts.DamagedAt, $"{last.Name}: it is damaged at {facts.DamagedAt}", true);
        }

        foreach (TimelineHistory child in histories.Values.OrderBy(static history => history.Timeline))
        {
            if (child.Ancestors.LastOrDefault() is { Timeline: var parent } left && parent == timeline)
            {
                return (facts.LastEnd, $"timeline {timeline} was left at {left.SwitchedAt} for timeline {child.Timeline}", false);
            }
        }

        WalFileName follows = WalFileName.OfSegment(timeline, last.Name.NumberOf(facts.SegmentSize) + 1, facts.SegmentSize);
        return LossAt(follows, facts.SegmentSize, losses) is not null
            ? (facts.LastEnd, Missing(follows, facts.SegmentSize, losses), true)
            : (facts.LastEnd, "nothing later is archived", false);
    }
}
