using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Retention;

/// <summary>A backup of a simulation.</summary>
/// <param name="Time">When it was made.</param>
/// <param name="Reasons">Why it is kept at the end; empty: it is not.</param>
/// <param name="LetGoAt">When the rules let it go; null: they have not.</param>
public sealed record SimulatedSnapshot(DateTimeOffset Time, IReadOnlyList<string> Reasons, DateTimeOffset? LetGoAt);

/// <summary>What a policy makes of a year.</summary>
/// <param name="Start">When it begins.</param>
/// <param name="End">When it ends: the moment of the last backup.</param>
/// <param name="Snapshots">All backups, oldest first.</param>
public sealed record Simulation(DateTimeOffset Start, DateTimeOffset End, IReadOnlyList<SimulatedSnapshot> Snapshots)
{
    /// <summary>How many there are at a moment.</summary>
    public int CountAt(DateTimeOffset moment) => Snapshots.Count(s => s.Time <= moment && !(s.LetGoAt <= moment));
}

/// <summary>Plays rules forward: a backup at every interval, and after each one the rules, as a plan would run them.</summary>
public static class RetentionSimulator
{
    /// <summary>Plays.</summary>
    /// <param name="existing">When backups of the series were made that are there now; all of them before <paramref name="start"/>.</param>
    /// <param name="rules">The rules.</param>
    /// <param name="start">The first backup.</param>
    /// <param name="every">From one backup to the next; by the clock of <paramref name="zone"/> where it is whole days.</param>
    /// <param name="count">How many backups.</param>
    /// <param name="zone">The zone of the machine that is backed up.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static Simulation Run(
        IEnumerable<DateTimeOffset> existing, RetentionRules rules, DateTimeOffset start, TimeSpan every, int count, TimeZoneInfo zone,
        CancellationToken cancellationToken)
    {
        List<DateTimeOffset> made = [];
        List<DatedSnapshot> there = [.. existing.Order().Select(Imagine)];
        Dictionary<DateTimeOffset, DateTimeOffset> letGo = [];
        IReadOnlyList<RetentionDecision> decisions = [];
        made.AddRange(there.Select(static one => one.Time));
        for (int i = 0; i < count; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            DateTimeOffset now = At(start, every, i, zone);
            made.Add(now);
            there.Add(Imagine(now));
            decisions = RetentionSieve.Decide(there, rules, now, zone);
            foreach (RetentionDecision decision in decisions.Where(static d => !d.IsKept))
            {
                letGo[decision.Snapshot.Time] = now;
            }

            there.RemoveAll(one => letGo.ContainsKey(one.Time));
        }

        Dictionary<DateTimeOffset, IReadOnlyList<string>> kept = decisions.Where(static d => d.IsKept).ToDictionary(static d => d.Snapshot.Time, static d => d.Reasons);
        return new Simulation(
            start,
            made.Count > 0 ? made[^1] : start,
            [.. made.Select(time => new SimulatedSnapshot(time, kept.GetValueOrDefault(time, []), letGo.TryGetValue(time, out DateTimeOffset gone) ? gone : null))]);
    }

    private static DateTimeOffset At(DateTimeOffset start, TimeSpan every, int number, TimeZoneInfo zone)
    {
        if (every.Ticks % TimeSpan.TicksPerDay != 0)
        {
            return TimeZoneInfo.ConvertTime(start + (every * number), zone);
        }

        DateTime clock = TimeZoneInfo.ConvertTime(start, zone).DateTime + (every * number);

        // A time that the clock skips is an hour later.
        clock = zone.IsInvalidTime(clock) ? clock.AddHours(1) : clock;
        return new DateTimeOffset(clock, zone.GetUtcOffset(clock));
    }

    private static DatedSnapshot Imagine(DateTimeOffset time)
    {
        Snapshot snapshot = new()
        {
            Id = SessionId.New(),
            Time = time,
            Hostname = "",
            Paths = [],
            Kind = "",
            Type = SnapshotType.Incremental,
            Tree = "",
        };
        return DatedSnapshot.Of(snapshot, hasStoreTimes: false, time);
    }
}
