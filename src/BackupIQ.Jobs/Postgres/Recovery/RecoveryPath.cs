using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>A base backup, as far as a recovery depends on it.</summary>
/// <param name="Snapshot">The snapshot's id.</param>
/// <param name="Timeline">Its timeline.</param>
/// <param name="Start">Where recovery from it begins.</param>
/// <param name="Stop">Before it has reached this, a server is not consistent.</param>
/// <param name="Started">When the backup began, by the server's clock.</param>
/// <param name="Stopped">When it was complete.</param>
internal sealed record RecoveryBase(string Snapshot, uint Timeline, Lsn Start, Lsn Stop, DateTimeOffset Started, DateTimeOffset Stopped)
{
    /// <summary>It was made of a standby, which lags behind: its clock does not tell what it has of the primary's commits.</summary>
    public bool IsStandby { get; init; }
}

/// <summary>Where a file of the log comes from.</summary>
internal enum RecoverySource
{
    /// <summary>The archive.</summary>
    Archive,

    /// <summary>The backup, which has what it needs to be consistent.</summary>
    Backup,
}

/// <summary>A segment on the way of a recovery.</summary>
/// <param name="Name">The name under which the server asks for it.</param>
/// <param name="Source">Where it comes from.</param>
/// <param name="File">The file that has its bytes: mostly the same name; a partial segment, or the copy with which a later timeline begins, may stand for it.</param>
/// <param name="Facts">What is known of that file.</param>
/// <param name="Limit">Only records that end up to here are of this timeline; <see cref="Lsn.None"/>: all are.</param>
internal sealed record RecoverySegment(WalFileName Name, RecoverySource Source, WalFileName File, WalSegmentFacts Facts, Lsn Limit)
{
    /// <summary>Whether the log can go on behind it.</summary>
    public bool IsWhole => File.Kind == WalFileKind.Segment && Limit == Lsn.None && Facts.End is WalEnd.Record or WalEnd.WithinRecord or WalEnd.Switch;

    /// <summary>Where its last whole record ends, as far as it counts; <see cref="Lsn.None"/>: it has none.</summary>
    public Lsn End => Facts.Last == Lsn.None ? Lsn.None : Limit != Lsn.None && Limit < Facts.LastEnd ? Limit : Facts.LastEnd;
}

/// <summary>What is known of logs, without reading them.</summary>
/// <param name="SegmentSize">Bytes of a segment.</param>
/// <param name="Histories">From where timelines come.</param>
/// <param name="Archived">Segments of the archive, whole and partial ones, with their facts where these are known.</param>
/// <param name="InBackup">Segments that the backup has itself.</param>
internal sealed record RecoveryKnowledge(
    uint SegmentSize, IReadOnlyDictionary<uint, TimelineHistory> Histories, IReadOnlyDictionary<WalFileName, WalSegmentFacts?> Archived, IReadOnlyDictionary<WalFileName, WalSegmentFacts> InBackup);

/// <summary>A timeline with those that it comes from. Pure.</summary>
internal sealed class TimelineBranch
{
    private readonly (uint Timeline, Lsn Begin, Lsn End)[] _parts;

    private TimelineBranch(uint timeline, (uint Timeline, Lsn Begin, Lsn End)[] parts)
    {
        Timeline = timeline;
        _parts = parts;
    }

    /// <summary>The timeline itself.</summary>
    public uint Timeline { get; }

    /// <summary>The branch of a timeline; null: it is not known where that comes from.</summary>
    public static TimelineBranch? Of(uint timeline, IReadOnlyDictionary<uint, TimelineHistory> histories) =>
        histories.TryGetValue(timeline, out TimelineHistory? history) ? Of(history) : timeline == 1 ? Of(TimelineHistory.OfFirst(1)) : null;

    /// <summary>The branch that a history tells.</summary>
    public static TimelineBranch Of(TimelineHistory history)
    {
        List<(uint, Lsn, Lsn)> parts = [];
        Lsn begin = Lsn.None;
        foreach (TimelineSwitch left in history.Ancestors)
        {
            parts.Add((left.Timeline, begin, left.SwitchedAt));
            begin = left.SwitchedAt;
        }

        return new TimelineBranch(history.Timeline, [.. parts, (history.Timeline, begin, new Lsn(ulong.MaxValue))]);
    }

    /// <summary>Where a timeline of the branch was left; null: it is not of the branch.</summary>
    public Lsn? EndOf(uint timeline) => _parts.Where(part => part.Timeline == timeline).Select(static part => (Lsn?)part.End).FirstOrDefault();

    /// <summary>The timeline that a record which begins at a place is of.</summary>
    public uint At(Lsn place) => _parts.Last(part => part.Begin <= place).Timeline;

    /// <summary>The timeline whose file has a segment: a new one begins with a copy of the segment in which the old one was left.</summary>
    public uint OfSegment(ulong number, uint segmentSize) => _parts.Last(part => part.Begin.Value / segmentSize <= number).Timeline;
}

/// <summary>The way of a recovery: segments from a base's beginning on, each going on where the one before it ends, as far as there are any. Pure.</summary>
/// <param name="Base">The base.</param>
/// <param name="Branch">Along which timelines.</param>
/// <param name="Segments">The segments; there may be none.</param>
/// <param name="End">Where the last whole record ends.</param>
/// <param name="EndsBecause">Why it goes no further: half a sentence.</param>
/// <param name="EndsAt">The file that is missing or damaged, or would come next.</param>
/// <param name="IsHole">Whether that is a loss: more of the log was there, or must have been.</param>
internal sealed record RecoveryPath(RecoveryBase Base, TimelineBranch Branch, IReadOnlyList<RecoverySegment> Segments, Lsn End, string EndsBecause, WalFileName EndsAt, bool IsHole)
{
    /// <summary>Whether it goes far enough for the base to be consistent.</summary>
    public bool IsConsistent => End >= Base.Stop;

    /// <summary>The latest moment of a commit or abort on it, in microseconds since 2000; null: it has none.</summary>
    public long? LastTime => Segments.Where(static segment => segment.Facts.Transactions > 0).Select(static segment => (long?)segment.Facts.LastTime).Max();

    /// <summary>
    /// Up to which moment nothing that was committed is lacking: of the last commit; or when a segment was written to its end, because what was committed before
    /// that stands in it or before it; or when the backup began. A segment counts only if the record is whole that it ends with: it may be a commit.
    /// </summary>
    public long? CoveredTo
    {
        get
        {
            long? covered = LastTime;
            for (int i = Segments.Count - 1; i >= 0; i--)
            {
                if (Segments[i] is { IsWhole: true, Facts.ClosedAt: not 0 } closed && (closed.Facts.End != WalEnd.WithinRecord || (i + 1 < Segments.Count && Segments[i + 1].Facts.Last != Lsn.None)))
                {
                    covered = Math.Max(covered ?? long.MinValue, closed.Facts.ClosedAt);
                    break;
                }
            }

            return IsConsistent && !Base.IsStandby ? Math.Max(covered ?? long.MinValue, PostgresTime.Write(Base.Started)) : covered;
        }
    }

    /// <summary>Why a base cannot be recovered along a branch; null: it can.</summary>
    public static string? Unfit(RecoveryBase from, TimelineBranch branch) => branch.EndOf(from.Timeline) is not { } left
        ? $"backup {Short(from)} is not on the branch of timeline {branch.Timeline}: it is of timeline {from.Timeline}, from which that does not come"
        : left < from.Stop
        ? $"backup {Short(from)} is not on the branch of timeline {branch.Timeline}: timeline {from.Timeline} was left at {left}, before the backup ended at {from.Stop}"
        : null;

    /// <summary>Walks from a base on. It must be <see cref="Unfit">fit</see>.</summary>
    public static RecoveryPath Build(RecoveryBase from, TimelineBranch branch, RecoveryKnowledge known)
    {
        uint size = known.SegmentSize;
        ulong last = known.Archived.Keys.Concat(known.InBackup.Keys).Select(name => (Number: name.NumberOf(size), name.Timeline))
            .Where(one => one.Timeline == branch.OfSegment(one.Number, size)).Select(static one => one.Number).DefaultIfEmpty(0UL).Max();
        List<RecoverySegment> segments = [];
        for (ulong number = from.Start.Value / size; ; number++)
        {
            WalFileName name = WalFileName.OfSegment(branch.OfSegment(number, size), number, size);
            RecoverySegment? next = Choose(name, number, known);
            if (next is null)
            {
                bool isUnreadable = known.Archived.ContainsKey(name);
                bool isHole = isUnreadable || number <= last || segments.Count == 0;
                return Ended(isUnreadable ? $"what is said of segment {name} cannot be read" : isHole ? $"segment {name} is missing" : "nothing later is archived", name, isHole);
            }

            if (segments.Count > 0 && WalContinuity.Break(segments[^1].Facts, next.Facts) is { } problem)
            {
                return Ended($"segment {segments[^1].File} is not followed by {next.File}: {problem}", segments[^1].File, isHole: true);
            }

            segments.Add(next);
            if (next.Facts.End == WalEnd.Finding)
            {
                return Ended($"segment {next.File} is damaged at {next.Facts.DamagedAt}", next.File, isHole: true);
            }

            if (!next.IsWhole)
            {
                return Ended(number < last ? $"segment {name} is not whole" : "nothing later is archived", name, number < last);
            }
        }

        RecoveryPath Ended(string because, WalFileName at, bool isHole) =>
            new(from, branch, segments, segments.LastOrDefault(static segment => segment.End != Lsn.None)?.End ?? Lsn.None, because, at, isHole);
    }

    // The archive's own file, or the backup's; where there is none of it whole, what else has the beginning of the same bytes: it must be the last.
    private static RecoverySegment? Choose(WalFileName name, ulong number, RecoveryKnowledge known)
    {
        List<RecoverySegment> found = [];
        if (known.Archived.GetValueOrDefault(name) is { } archived)
        {
            found.Add(new RecoverySegment(name, RecoverySource.Archive, name, archived, Lsn.None));
        }

        if (known.InBackup.TryGetValue(name, out WalSegmentFacts? own))
        {
            found.Add(new RecoverySegment(name, RecoverySource.Backup, name, own, Lsn.None));
        }

        if (found.Find(static segment => segment.IsWhole) is { } whole)
        {
            return whole;
        }

        WalFileName partial = name with { Kind = WalFileKind.Partial };
        if (known.Archived.GetValueOrDefault(partial) is { } begun)
        {
            found.Add(new RecoverySegment(name, RecoverySource.Archive, partial, begun, Lsn.None));
        }

        foreach (TimelineHistory child in known.Histories.Values)
        {
            for (int i = 0; i < child.Ancestors.Count; i++)
            {
                (uint parent, Lsn left) = child.Ancestors[i];
                uint next = i + 1 < child.Ancestors.Count ? child.Ancestors[i + 1].Timeline : child.Timeline;
                WalFileName copy = name with { Timeline = next };
                if (parent == name.Timeline && left.Value / known.SegmentSize == number && known.Archived.GetValueOrDefault(copy) is { } facts)
                {
                    found.Add(new RecoverySegment(name, RecoverySource.Archive, copy, facts, left));
                }
            }
        }

        // Nor has the new timeline its copy: what the old one had up to there is the beginning of the same.
        if (known.Histories.TryGetValue(name.Timeline, out TimelineHistory? history) && history.Ancestors.LastOrDefault() is { Timeline: > 0 } from && from.SwitchedAt.Value / known.SegmentSize == number)
        {
            foreach (WalFileName old in (WalFileName[])[name with { Timeline = from.Timeline }, partial with { Timeline = from.Timeline }])
            {
                if (known.Archived.GetValueOrDefault(old) is { } facts)
                {
                    found.Add(new RecoverySegment(name, RecoverySource.Archive, old, facts, from.SwitchedAt));
                }
            }
        }

        return found.Where(static segment => segment.End != Lsn.None).MaxBy(static segment => segment.End.Value) ?? found.FirstOrDefault();
    }

    private static string Short(RecoveryBase from) => from.Snapshot[..Math.Min(8, from.Snapshot.Length)];
}
