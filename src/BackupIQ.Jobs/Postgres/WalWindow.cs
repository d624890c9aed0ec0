using BackupIQ.Jobs.Postgres.Recovery;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>Finds out which moments of a server can be reached: how far its log goes without a hole, and which base backups lie in that.</summary>
internal static class WalWindow
{
    /// <summary>Reads what is known of the segments, not the segments. What cannot be read is told.</summary>
    public static async Task<WalWindowInfo> ReadAsync(
        WalArchive archive, IReadOnlyList<WalBaseInfo> bases, TimeProvider time, Action<string> onDamage, CancellationToken cancellationToken)
    {
        WalArchiveIdentity identity = await archive.RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        WalListing listing = await archive.ListAllAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<WalArchivedFile> files = listing.Files;
        IReadOnlyList<WalGapInfo> gaps = await archive.ReadGapsAsync(listing, identity.SegmentSize, onDamage, cancellationToken).ConfigureAwait(false);
        WalUnfinishedInfo? unfinished = await archive.ReadUnfinishedAsync(listing, identity.SegmentSize, onDamage, cancellationToken).ConfigureAwait(false);
        Dictionary<uint, TimelineHistory> histories = await archive.ReadHistoriesAsync(files, (_, message) => onDamage(message), cancellationToken).ConfigureAwait(false);
        IReadOnlyList<WalArchivedFile> segments = await archive.WithFactsAsync(
            [.. files.Where(static file => file.Name.Kind == WalFileKind.Segment)], (_, message) => onDamage(message), cancellationToken).ConfigureAwait(false);
        RecoveryKnowledge known = new(
            identity.SegmentSize, histories, segments.Where(static file => file.Facts is not null).ToDictionary(static file => file.Name, static file => file.Facts), new Dictionary<WalFileName, WalSegmentFacts>());

        // Several are stored at once: the last is the one furthest on, the lag that of whichever came last.
        WalArchivedFile? last = segments.Count == 0 ? null : segments[^1];
        WalIntervalInfo[] intervals =
        [
            .. WalContinuity.Intervals(segments.Select(static file => new WalSegment(file.Name, file.StoredAt, file.Facts)), histories, Losses(gaps)).Select(interval => Show(interval, [.. bases.Where(one => Reaches(one, interval, known))])),
        ];
        return new WalWindowInfo(
            $"{identity.SystemIdentifier}",
            identity.Version,
            intervals,
            bases,
            last?.Name.ToString(),
            last?.StoredAt,
            last is null && unfinished is null ? null : time.GetUtcNow() - segments.Select(static file => file.StoredAt).Append(unfinished?.StoredAt ?? default).Max())
        {
            Gaps = gaps,
            Unfinished = unfinished,
            Islands = [.. bases.Where(one => !intervals.Any(interval => interval.Bases.Contains(one)))],
        };
    }

    /// <summary>Without any log but what each backup has itself: the end of each is what can be reached.</summary>
    public static WalWindowInfo WithoutArchive(string system, int version, IReadOnlyList<WalBaseInfo> bases) => new(
        system,
        version,
        [.. bases.Select(static one => new WalIntervalInfo(one.Timeline, one.StopTime, one.StopLsn, one.StopTime, one.StopLsn, "no log is archived: only the end of the backup can be reached", null, IsHole: false, 0, [one]))],
        bases,
        null,
        null,
        null);

    private static WalLoss[] Losses(IReadOnlyList<WalGapInfo> gaps) =>
    [
        .. gaps.Where(static gap => !gap.IsFilled).Select(static gap => new WalLoss(
            (uint)gap.Timeline, Lsn.TryParse(gap.FromLsn, out Lsn from) ? from : Lsn.None, Lsn.TryParse(gap.ToLsn, out Lsn to) ? to : Lsn.None, gap.Cause)),
    ];

    private static WalIntervalInfo Show(WalInterval interval, IReadOnlyList<WalBaseInfo> bases) => new(
        interval.Timeline,
        interval.FromTime,
        interval.From.ToString(),
        interval.ToTime,
        interval.To.ToString(),
        interval.EndsBecause,
        interval.EndsAt == Lsn.None ? null : interval.EndsAt.ToString(),
        interval.IsHole,
        interval.Segments.Count,
        [.. bases.OrderBy(static one => one.StopTime)]);

    // As a restore would go: from the backup on, over timelines, to the interval's end. What of that the backup has itself need not be archived.
    private static bool Reaches(WalBaseInfo one, WalInterval interval, RecoveryKnowledge known)
    {
        if (!Lsn.TryParse(one.StartLsn, out Lsn start) || !Lsn.TryParse(one.StopLsn, out Lsn stop) || stop > interval.To)
        {
            return false;
        }

        RecoveryBase begin = new(one.Snapshot, (uint)one.Timeline, start, stop, one.StopTime, one.StopTime);
        TimelineBranch? branch = TimelineBranch.Of(interval.Timeline, known.Histories)
            ?? (one.Timeline == interval.Timeline ? TimelineBranch.Of(TimelineHistory.OfFirst(interval.Timeline)) : null);
        if (branch is null || RecoveryPath.Unfit(begin, branch) is not null)
        {
            return false;
        }

        RecoveryPath path = RecoveryPath.Build(begin, branch, known);
        if (!path.IsConsistent && one.HasLog)
        {
            path = RecoveryPath.Build(begin with { Start = new Lsn(((stop.Value - 1) / known.SegmentSize * known.SegmentSize) + known.SegmentSize) }, branch, known);
        }

        return path.Segments.Any(segment => segment.File == interval.Segments[^1].Name);
    }
}
