using System.Globalization;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Tests.Engine.Retention;

/// <summary>
/// What rules keep, by brute force and without any code of the engine's: for each period all snapshots are put into buckets by a name that is
/// written out, the newest so many buckets are taken, and of each the newest snapshot.
/// </summary>
internal static class RetentionOracle
{
    public static HashSet<SessionId> Keep(IReadOnlyList<Snapshot> snapshots, int last, int hourly, int daily, int weekly, int monthly, int yearly)
    {
        HashSet<SessionId> kept = [.. snapshots.OrderByDescending(static s => s.Time.UtcTicks).Take(last).Select(static s => s.Id)];
        kept.UnionWith(Of(snapshots, hourly, static t => t.ToString("yyyy-MM-dd HH", CultureInfo.InvariantCulture)));
        kept.UnionWith(Of(snapshots, daily, static t => t.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture)));
        kept.UnionWith(Of(snapshots, weekly, Week));
        kept.UnionWith(Of(snapshots, monthly, static t => t.ToString("yyyy-MM", CultureInfo.InvariantCulture)));
        kept.UnionWith(Of(snapshots, yearly, static t => t.ToString("yyyy", CultureInfo.InvariantCulture)));
        return kept;
    }

    private static IEnumerable<SessionId> Of(IReadOnlyList<Snapshot> snapshots, int count, Func<DateTimeOffset, string> name)
    {
        Dictionary<string, Snapshot> newest = [];
        foreach (Snapshot snapshot in snapshots)
        {
            string bucket = name(snapshot.Time);
            if (!newest.TryGetValue(bucket, out Snapshot? other) || snapshot.Time.UtcTicks > other.Time.UtcTicks)
            {
                newest[bucket] = snapshot;
            }
        }

        return newest.OrderByDescending(static one => one.Key, StringComparer.Ordinal).Take(count).Select(static one => one.Value.Id);
    }

    // ISO 8601: a week belongs to the year of its Thursday, and is that year's n-th week with a Thursday.
    private static string Week(DateTimeOffset time)
    {
        int sinceMonday = ((int)time.DayOfWeek + 6) % 7;
        DateTime thursday = time.Date.AddDays(3 - sinceMonday);
        return $"{thursday.Year:0000}-{((thursday.DayOfYear - 1) / 7) + 1:00}";
    }
}
