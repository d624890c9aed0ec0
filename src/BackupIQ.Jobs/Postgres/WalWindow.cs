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
        IReadOnlyList<WalArchivedFile> files = await archive.ListAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<uint, TimelineHistory> histories = await archive.ReadHistoriesAsync(files, (_, message) => onDamage(message), cancellationToken).ConfigureAwait(false);
        IReadOnlyList<WalArchivedFile> segments = await archive.WithFactsAsync(
            [.. files.Where(static file => file.Name.Kind == WalFileKind.Segment)], (_, message) => onDamage(message), cancellationToken).ConfigureAwait(false);
        // Several are stored at once: the last is the one furthest on, the lag that of whichever came last.
        WalArchivedFile? last = segments.Count == 0 ? null : segments[^1];
        return new WalWindowInfo(
            $"{identity.SystemIdentifier}",
            identity.Version,
            [.. WalContinuity.Intervals(segments.Select(static file => new WalSegment(file.Name, file.StoredAt, file.Facts)), histories).Select(interval => Show(interval, bases))],
            bases,
            last?.Name.ToString(),
            last?.StoredAt,
            last is null ? null : time.GetUtcNow() - segments.Max(static file => file.StoredAt));
    }

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
        [.. bases.Where(one => IsIn(one, interval)).OrderBy(static one => one.StopTime)]);

    private static bool IsIn(WalBaseInfo one, WalInterval interval) =>
        one.Timeline == interval.Timeline && interval.Segments[0].Facts is { } first &&
        Lsn.TryParse(one.StartLsn, out Lsn start) && Lsn.TryParse(one.StopLsn, out Lsn stop) && start >= first.Start && stop <= interval.To;
}
