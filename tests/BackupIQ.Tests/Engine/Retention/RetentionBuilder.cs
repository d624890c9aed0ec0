using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Tests.Engine.Retention;

/// <summary>Snapshots and rules for tests of what is pure.</summary>
internal static class RetentionBuilder
{
    public static readonly TimeZoneInfo Berlin = TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin");

    /// <summary>A snapshot; what it claims and what the storage says are the same unless told otherwise.</summary>
    public static Snapshot At(
        DateTimeOffset time, SnapshotType type = SnapshotType.Incremental, string host = "here", string path = "/data", DateTimeOffset? storedAt = null, string[]? tags = null) => new()
        {
            Id = SessionId.New(),
            Time = time,
            Ended = time.AddMinutes(5),
            StoredAt = storedAt ?? time.AddMinutes(5),
            Hostname = host,
            Paths = [path],
            Tags = tags ?? [],
            OwnTags = tags ?? [],
            Kind = "files",
            Type = type,
            Tree = new string('0', 64),
        };

    /// <summary>A moment on the clock of a zone. One that the clock skips is an hour later; of one that it shows twice, the second.</summary>
    public static DateTimeOffset Clock(TimeZoneInfo zone, DateTime clock)
    {
        clock = zone.IsInvalidTime(clock) ? clock.AddHours(1) : clock;
        return new DateTimeOffset(clock, zone.GetUtcOffset(clock));
    }

    /// <summary>A backup a day at this time of day, oldest first.</summary>
    public static Snapshot[] Daily(DateOnly first, int days, TimeOnly at, TimeZoneInfo zone) =>
        [.. Enumerable.Range(0, days).Select(i => At(Clock(zone, first.AddDays(i).ToDateTime(at))))];

    public static IReadOnlyList<RetentionDecision> Decide(IEnumerable<Snapshot> snapshots, RetentionRules rules, DateTimeOffset now, TimeZoneInfo? zone = null) =>
        RetentionSieve.Decide(snapshots.Select(s => DatedSnapshot.Of(s, hasStoreTimes: true, now)), rules, now, zone ?? TimeZoneInfo.Utc);

    public static HashSet<SessionId> Kept(IEnumerable<Snapshot> snapshots, RetentionRules rules, DateTimeOffset now, TimeZoneInfo? zone = null) =>
        [.. Decide(snapshots, rules, now, zone).Where(static d => d.IsKept).Select(static d => d.Snapshot.Id)];

    public static RetentionRules Rules(string text) => RetentionPolicy.Parse(text).Rules;
}
