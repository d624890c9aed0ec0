using System.Globalization;
using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Retention;

/// <summary>What rules say of one snapshot.</summary>
/// <param name="Snapshot">The snapshot.</param>
/// <param name="IsKept">Whether any rule, hold or pin keeps it.</param>
/// <param name="Reasons">Why it is kept, or why each rule lets it go.</param>
/// <param name="Counters">What each counting rule had left after it.</param>
public sealed record RetentionDecision(
    Snapshot Snapshot, bool IsKept, IReadOnlyList<string> Reasons, IReadOnlyDictionary<RetentionPeriod, int> Counters);

/// <summary>
/// Sieves a series by rules. Pure. The rules are those of restic's forget: walking from the newest to the oldest, the first snapshot of each
/// new hour, day, ISO week, month or year on the clock of the machine that was backed up takes one of the places of its period.
/// </summary>
/// <remarks>
/// Doubtful snapshots (<see cref="DatedSnapshot"/>) would let whoever writes them choose what goes. So the series is sieved three times: all by
/// the earlier of their times, those beyond doubt alone, and all by the times that they claim, where these are over. What any of these keeps is
/// kept: a doubtful snapshot never makes one go that would stay without it. Without doubtful ones the first sieve is all.
/// </remarks>
public static class RetentionSieve
{
    /// <summary>Decides about every snapshot of a series, the newest first.</summary>
    /// <param name="series">The snapshots, in any order.</param>
    /// <param name="rules">The rules; without any all are kept.</param>
    /// <param name="now">The moment; what a hold's end is compared with.</param>
    /// <param name="zone">The zone in whose calendar lengths of time are counted.</param>
    public static IReadOnlyList<RetentionDecision> Decide(
        IEnumerable<DatedSnapshot> series, RetentionRules rules, DateTimeOffset now, TimeZoneInfo zone)
    {
        List<DatedSnapshot> all = [.. series.OrderByDescending(static s => s.Time).ThenBy(static s => s.Snapshot.Id)];
        if (rules.IsEmpty)
        {
            return [.. all.Select(static dated => new RetentionDecision(dated.Snapshot, true, ["no rule is set"], new Dictionary<RetentionPeriod, int>()))];
        }

        Dictionary<Snapshot, Verdict> verdicts = Pass(all, static s => s.Time, rules, now, zone);
        if (all.Any(static s => s.IsDoubtful))
        {
            IEnumerable<DatedSnapshot> beyondDoubt = all.Where(static s => !s.IsDoubtful);
            IEnumerable<DatedSnapshot> claimed = all.Where(static s => !s.ClaimsFuture)
                .OrderByDescending(static s => s.Snapshot.Time).ThenBy(static s => s.Snapshot.Id);
            Join(verdicts, Pass([.. beyondDoubt], static s => s.Time, rules, now, zone), " (among those whose time is beyond doubt)");
            Join(verdicts, Pass([.. claimed], static s => s.Snapshot.Time, rules, now, zone), " (by the time that it claims)");
        }

        return [.. all.Select(dated => Conclude(dated.Snapshot, verdicts[dated.Snapshot], now))];
    }

    // One walk from the newest to the oldest.
    private static Dictionary<Snapshot, Verdict> Pass(
        List<DatedSnapshot> newestFirst, Func<DatedSnapshot, DateTimeOffset> timeOf, RetentionRules rules, DateTimeOffset now, TimeZoneInfo zone)
    {
        Dictionary<Snapshot, Verdict> verdicts = new(newestFirst.Count, ReferenceEqualityComparer.Instance);
        DateTimeOffset newest = newestFirst.Select(timeOf).FirstOrDefault(time => time <= now);
        Sieve[] counting = [.. RetentionRules.Periods.Where(p => rules.Count(p) > 0).Select(p => new Sieve(p) { Left = rules.Count(p) })];
        Sieve[] within = [.. RetentionRules.Periods.Where(p => !rules.SpanOf(p).IsZero)
            .Select(p => new Sieve(p) { Span = rules.SpanOf(p), After = rules.SpanOf(p).Before(newest, zone) })];
        for (int i = 0; i < newestFirst.Count; i++)
        {
            Snapshot snapshot = newestFirst[i].Snapshot;
            DateTimeOffset time = timeOf(newestFirst[i]);
            Verdict verdict = new();
            foreach (IReadOnlyList<string> tags in rules.Tags)
            {
                if (tags.All(tag => snapshot.Tags.Contains(tag, StringComparer.Ordinal)))
                {
                    verdict.Keep.Add($"has tags [{string.Join(", ", tags)}]");
                }
            }

            foreach (Sieve sieve in within)
            {
                Judge(verdict, sieve, time, i);
            }

            foreach (Sieve sieve in counting)
            {
                Count(verdict, sieve, time, i, rules.Count(sieve.Period));
            }

            foreach (Sieve sieve in counting.Where(static s => s.Left is > 0 and < int.MaxValue))
            {
                verdict.Counters[sieve.Period] = sieve.Left;
            }

            verdicts.Add(snapshot, verdict);
        }

        return verdicts;
    }

    private static void Judge(Verdict verdict, Sieve sieve, DateTimeOffset time, int number)
    {
        string word = RetentionRules.Word(sieve.Period);
        if (time <= sieve.After)
        {
            verdict.LetGo.Add($"not within {sieve.Span}");
        }
        else if (sieve.Takes(time, number))
        {
            verdict.Keep.Add(sieve.Period == RetentionPeriod.Last ? $"within {sieve.Span}" : $"{word} within {sieve.Span}");
        }
        else
        {
            verdict.Same.Add(Unit(sieve.Period));
        }
    }

    private static void Count(Verdict verdict, Sieve sieve, DateTimeOffset time, int number, int count)
    {
        if (sieve.Left > 0 && sieve.Takes(time, number))
        {
            verdict.Keep.Add($"{RetentionRules.Word(sieve.Period)} snapshot");
            sieve.Left -= sieve.Left == int.MaxValue ? 0 : 1;
        }
        else if (sieve.Left > 0)
        {
            verdict.Same.Add(Unit(sieve.Period));
        }
        else
        {
            verdict.LetGo.Add(sieve.Period == RetentionPeriod.Last
                ? string.Create(CultureInfo.InvariantCulture, $"older than the last {count}")
                : string.Create(CultureInfo.InvariantCulture, $"{count} newer {Unit(sieve.Period)}{(count == 1 ? " is" : "s are")} kept"));
        }
    }

    private static void Join(Dictionary<Snapshot, Verdict> verdicts, Dictionary<Snapshot, Verdict> more, string how)
    {
        foreach ((Snapshot snapshot, Verdict verdict) in more)
        {
            if (verdict.Keep.Count > 0 && verdicts[snapshot].Keep.Count == 0)
            {
                verdicts[snapshot].Keep.AddRange(verdict.Keep.Select(reason => reason + how));
            }
        }
    }

    private static RetentionDecision Conclude(Snapshot snapshot, Verdict verdict, DateTimeOffset now)
    {
        SnapshotAnnotations said = snapshot.Annotations;
        List<string> keep = verdict.Keep;
        if (said.Holds.LastOrDefault(hold => SnapshotAnnotations.IsInForce(hold, now)) is { } held)
        {
            keep.Add(held.Reason.Length > 0 ? $"held: {held.Reason}" : "held");
        }

        if (said.Unreadable.Count > 0)
        {
            keep.Add("held: what is said about it cannot be read");
        }

        if (said.Pins.Count > 0)
        {
            keep.Add("pinned");
        }

        return new RetentionDecision(snapshot, keep.Count > 0, keep.Count > 0 ? keep : WhyNot(verdict), verdict.Counters);
    }

    private static IReadOnlyList<string> WhyNot(Verdict verdict)
    {
        string[] same = verdict.Same.Count > 0 ? [$"a newer one of the same {string.Join(", ", verdict.Same.Distinct())} is kept"] : [];
        return same.Length + verdict.LetGo.Count > 0 ? [.. same, .. verdict.LetGo] : ["no rule keeps it"];
    }

    private static string Unit(RetentionPeriod period) => period switch
    {
        RetentionPeriod.Hourly => "hour",
        RetentionPeriod.Daily => "day",
        RetentionPeriod.Weekly => "week",
        RetentionPeriod.Monthly => "month",
        RetentionPeriod.Yearly => "year",
        _ => "snapshot",
    };

    private sealed class Verdict
    {
        public List<string> Keep { get; } = [];

        /// <summary>Periods that have a newer snapshot.</summary>
        public List<string> Same { get; } = [];

        /// <summary>Why other rules let it go.</summary>
        public List<string> LetGo { get; } = [];

        public Dictionary<RetentionPeriod, int> Counters { get; } = [];
    }

    // A period's way through the series: which of its hours, days … had their snapshot last.
    private sealed class Sieve(RetentionPeriod period)
    {
        private long _last = -1;

        public RetentionPeriod Period => period;

        public int Left { get; set; }

        public RetentionSpan Span { get; init; }

        public DateTimeOffset After { get; init; }

        public bool Takes(DateTimeOffset time, int number)
        {
            long name = period switch
            {
                RetentionPeriod.Hourly => (time.Date.Ticks / TimeSpan.TicksPerHour) + time.Hour,
                RetentionPeriod.Daily => time.Date.Ticks / TimeSpan.TicksPerDay,
                RetentionPeriod.Weekly => (ISOWeek.GetYear(time.DateTime) * 100L) + ISOWeek.GetWeekOfYear(time.DateTime),
                RetentionPeriod.Monthly => (time.Year * 12L) + time.Month,
                RetentionPeriod.Yearly => time.Year,
                _ => number,
            };
            bool takes = name != _last;
            _last = takes ? name : _last;
            return takes;
        }
    }
}
