using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;
using Xunit;
using static BackupIQ.Tests.Engine.Retention.RetentionBuilder;

namespace BackupIQ.Tests.Engine.Retention;

/// <summary>What rules keep of a series.</summary>
public sealed class RetentionSieveTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 25, 12, 0, 0, TimeSpan.Zero);

    /// <summary>Acceptance point B3, first half: three years with a leap day and six changes of the clock, a thousand random policies.</summary>
    [Fact]
    public void GfsOverThreeYearsOfDaysIsWhatBruteForceFinds()
    {
        // 2:30 is a time that the clock of Berlin skips in March and shows twice in October.
        Snapshot[] snapshots = Daily(new DateOnly(2023, 11, 25), (3 * 365) + 1, new TimeOnly(2, 30), Berlin);
        DateTimeOffset now = snapshots[^1].Time.AddHours(1);
        snapshots.ShouldContain(s => s.Time.Month == 2 && s.Time.Day == 29);
        Random random = new(20261125);
        for (int i = 0; i < 1000; i++)
        {
            // Counts around the edges: none, few, about as many as there are, more than there are.
            int daily = Pick(0, 1, 7, 40, 1096, 2000), weekly = Pick(0, 1, 4, 60, 157, 400), monthly = Pick(0, 1, 12, 30, 37, 50), yearly = Pick(0, 1, 2, 4, 9, 9);
            if (daily + weekly + monthly + yearly == 0)
            {
                daily = 1;
            }

            // Some days are missing, and which ones differs.
            Snapshot[] some = [.. snapshots.Where(_ => random.Next(10) > i % 5)];
            RetentionRules rules = Rules($"gfs:daily={daily},weekly={weekly},monthly={monthly},yearly={yearly}");

            HashSet<SessionId> kept = Kept(some, rules, now, Berlin);

            kept.ShouldBe(RetentionOracle.Keep(some, 0, 0, daily, weekly, monthly, yearly), ignoreOrder: true, $"policy {i}: {rules}");
        }

        int Pick(int a, int b, int c, int d, int e, int f) => random.Next(6) switch { 0 => a, 1 => b, 2 => random.Next(b, c + 1), 3 => random.Next(c, d + 1), 4 => e, _ => random.Next(d, f + 1) };
    }

    [Fact]
    public void EveryCountingRuleIsWhatBruteForceFindsOnMomentsOfAnyKind()
    {
        Random random = new(7);
        for (int i = 0; i < 500; i++)
        {
            Snapshot[] snapshots = [.. Enumerable.Range(0, random.Next(1, 120)).Select(_ => At(Clock(Berlin, RandomClock(random)))).DistinctBy(static s => s.Time.UtcTicks)];
            int[] counts = [.. Enumerable.Range(0, 6).Select(_ => random.Next(3) == 0 ? 0 : random.Next(1, 15))];
            counts[random.Next(6)]++;
            RetentionRules rules = Rules($"keep:last={counts[0]},hourly={counts[1]},daily={counts[2]},weekly={counts[3]},monthly={counts[4]},yearly={counts[5]}");

            Kept(snapshots, rules, s_now, Berlin).ShouldBe(
                RetentionOracle.Keep(snapshots, counts[0], counts[1], counts[2], counts[3], counts[4], counts[5]), ignoreOrder: true, $"case {i}: {rules}");
        }
    }

    [Fact]
    public void MoreRulesNeverKeepLess()
    {
        Arbitrary<int> numbers = Gen.Choose(0, 12).ToArbitrary();
        Prop.ForAll(numbers, numbers, numbers, (daily, weekly, more) =>
        {
            Snapshot[] snapshots = Daily(new DateOnly(2026, 6, 1), 150, new TimeOnly(2, 30), Berlin);
            HashSet<SessionId> few = Kept(snapshots, Rules($"keep:last=1,daily={daily},weekly={weekly}"), s_now);
            HashSet<SessionId> many = Kept(snapshots, Rules($"keep:last=1,daily={daily + more},weekly={weekly},monthly={more}"), s_now);
            return few.IsSubsetOf(many);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void WhatIsSievedTwiceIsSievedOnce()
    {
        Random random = new(11);
        for (int i = 0; i < 200; i++)
        {
            Snapshot[] snapshots = [.. Enumerable.Range(0, 60).Select(_ => At(Clock(Berlin, RandomClock(random)))).DistinctBy(static s => s.Time.UtcTicks)];
            RetentionRules rules = Rules($"keep:last=2,daily={random.Next(9)},weekly={random.Next(9)},monthly={random.Next(9)},within={random.Next(1, 40)}d");
            HashSet<SessionId> once = Kept(snapshots, rules, s_now, Berlin);

            Kept(snapshots.Where(s => once.Contains(s.Id)), rules, s_now, Berlin).ShouldBe(once, ignoreOrder: true);
        }
    }

    [Fact]
    public void WithinCountsFromTheNewestByTheCalendar()
    {
        Snapshot[] snapshots = [.. Enumerable.Range(0, 40).Select(i => At(new DateTimeOffset(2026, 3, 31, 12, 0, 0, TimeSpan.Zero).AddDays(-i)))];

        // A month before 31 March is 31 February, which is 3 March; what is exactly so old goes.
        Kept(snapshots, Rules("keep:within=1m"), s_now).Count.ShouldBe(28);
        Kept(snapshots, Rules("keep:within=10d"), s_now).Count.ShouldBe(10);
        Kept(snapshots, Rules("time:10d"), s_now).Count.ShouldBe(10);
        Kept(snapshots, Rules("keep:within-weekly=3w"), s_now).Count.ShouldBe(4);
    }

    [Theory]
    [InlineData("2026-03-29T12:00:00+02:00", "1d", "2026-03-28T12:00:00+01:00")]
    [InlineData("2026-03-29T12:00:00+02:00", "24h", "2026-03-28T11:00:00+01:00")]
    [InlineData("2026-03-30T02:30:00+02:00", "1d", "2026-03-29T03:30:00+02:00")]
    [InlineData("2026-10-26T12:00:00+01:00", "1d", "2026-10-25T12:00:00+01:00")]
    [InlineData("2026-10-26T12:00:00+01:00", "2d", "2026-10-24T12:00:00+02:00")]
    [InlineData("2024-02-29T12:00:00+01:00", "1y", "2023-03-01T12:00:00+01:00")]
    [InlineData("2026-03-31T12:00:00+00:00", "1m", "2026-03-03T12:00:00+00:00")]
    [InlineData("2026-01-15T12:00:00+01:00", "14m", "2024-11-15T12:00:00+01:00")]
    [InlineData("2026-01-15T12:00:00+01:00", "9999y", "0001-01-01T00:00:00+00:00")]
    [InlineData("2026-01-15T12:00:00+01:00", "9999d9999d9999d", null)]
    public void LengthsOfTimeAreThoseOfTheCalendar(string from, string span, string? expected)
    {
        DateTimeOffset moment = RetentionSpan.Parse(span).Before(DateTimeOffset.Parse(from, System.Globalization.CultureInfo.InvariantCulture), Berlin);

        if (expected is not null)
        {
            moment.ShouldBe(DateTimeOffset.Parse(expected, System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("7")]
    [InlineData("d")]
    [InlineData("1x")]
    [InlineData("-1d")]
    [InlineData("1y1y")]
    [InlineData("99999d")]
    [InlineData("1d ")]
    public void WhatIsNoLengthOfTimeIsRefused(string text) =>
        Should.Throw<BackupIQException>(() => RetentionSpan.Parse(text)).Code.ShouldBe(ErrorCodes.Usage);

    [Fact]
    public void HoldsPinsTagsAndWhatCannotBeReadWinOverEveryRule()
    {
        Annotation hold = new() { Id = SessionId.New(), Kind = AnnotationKind.Hold, Time = s_now, Reason = "audit" };
        Snapshot[] snapshots =
        [
            At(s_now.AddDays(-1)),
            At(s_now.AddDays(-2)),
            At(s_now.AddDays(-3)) with { Annotations = new SnapshotAnnotations { Holds = [hold] } },
            At(s_now.AddDays(-4)) with { Annotations = new SnapshotAnnotations { Holds = [hold with { Until = s_now.AddDays(-1) }] } },
            At(s_now.AddDays(-5)) with { Annotations = new SnapshotAnnotations { Pins = [hold with { Kind = AnnotationKind.Pin }] } },
            At(s_now.AddDays(-6), tags: ["a", "b", "c"]),
            At(s_now.AddDays(-7), tags: ["a"]),
            At(s_now.AddDays(-8)) with
            {
                Annotations = new SnapshotAnnotations { Unreadable = [new(SessionId.New(), null, false, "a/x", null, "damaged", s_now)] },
            },
        ];

        IReadOnlyList<RetentionDecision> decisions = Decide(snapshots, Rules("keep:last=1,tag=a+b"), s_now);

        decisions.Select(static d => d.IsKept).ShouldBe([true, false, true, false, true, true, false, true]);
        decisions[2].Reasons.ShouldBe(["held: audit"]);
        decisions[4].Reasons.ShouldBe(["pinned"]);
        decisions[5].Reasons.ShouldBe(["has tags [a, b]"]);
        decisions[1].Reasons.ShouldBe(["older than the last 1"]);
    }

    [Fact]
    public void ReasonsSayWhyNotAndCountersWhatIsLeft()
    {
        Snapshot[] snapshots = [.. Enumerable.Range(0, 30).Select(i => At(new DateTimeOffset(2026, 11, 25, 11, 0, 0, TimeSpan.Zero).AddHours(-12 * i)))];

        IReadOnlyList<RetentionDecision> decisions = Decide(snapshots, Rules("keep:daily=3,weekly=2"), s_now);

        decisions[0].Reasons.ShouldBe(["daily snapshot", "weekly snapshot"]);
        decisions[0].Counters[RetentionPeriod.Daily].ShouldBe(2);
        decisions[1].IsKept.ShouldBeTrue();
        decisions[2].Reasons.ShouldBe(["a newer one of the same day, week is kept"]);
        decisions[^1].Reasons.ShouldBe(["3 newer days are kept", "2 newer weeks are kept"]);
    }

    [Fact]
    public void WithoutRulesEverythingStays() =>
        Decide(Daily(new DateOnly(2026, 1, 1), 9, default, Berlin), RetentionRules.None, s_now).ShouldAllBe(d => d.IsKept);

    /// <summary>Whoever can write snapshots, with whatever dates, makes none go that the rules keep without them.</summary>
    [Fact]
    public void ForgedAndFutureDatesChangeNothingThatIsKept()
    {
        Random random = new(13);
        for (int i = 0; i < 500; i++)
        {
            Snapshot[] honest = [.. Enumerable.Range(0, random.Next(1, 60)).Select(_ => At(Clock(Berlin, RandomClock(random))))];
            Snapshot[] forged = [.. Enumerable.Range(0, random.Next(1, 40)).Select(_ => Forged(random))];
            string within = random.Next(2) == 0 ? ",within=20d" : ",within-weekly=2m";
            RetentionRules rules = Rules(
                $"keep:last={random.Next(5)},hourly={random.Next(5)},daily={random.Next(9)},weekly={random.Next(9)},monthly={random.Next(9)},yearly={random.Next(3)}{within}");

            HashSet<SessionId> without = Kept(honest, rules, s_now, Berlin);
            HashSet<SessionId> with = Kept([.. honest, .. forged], rules, s_now, Berlin);

            without.Except(with).ShouldBeEmpty($"case {i}: {rules}");
        }
    }

    [Fact]
    public void AForgedDateOfThePastTakesNoHonestSnapshotsPlace()
    {
        Snapshot honest = At(new DateTimeOffset(2025, 12, 31, 12, 0, 0, TimeSpan.Zero));
        Snapshot forged = At(new DateTimeOffset(2025, 12, 31, 23, 59, 0, TimeSpan.Zero), storedAt: s_now.AddHours(-1));
        Snapshot today = At(s_now.AddHours(-2));

        Kept([honest, forged, today], Rules("keep:yearly=2"), s_now).ShouldContain(honest.Id);
    }

    [Fact]
    public void TheEarlierOfClaimedAndStoredTimeCounts()
    {
        // Moved from another repository: old, and stored today. They are thinned by their own times.
        Snapshot[] moved = [.. Daily(new DateOnly(2026, 8, 1), 60, new TimeOnly(12, 0), TimeZoneInfo.Utc).Select(static s => s with { StoredAt = s_now.AddMinutes(-5) })];
        Kept(moved, Rules("keep:monthly=12"), s_now).Count.ShouldBe(2);

        // Claimed to be of next year: what the storage says counts.
        DatedSnapshot future = DatedSnapshot.Of(At(s_now.AddYears(1), storedAt: s_now.AddHours(-1)), hasStoreTimes: true, s_now);
        future.Time.ShouldBe(s_now.AddHours(-1));
        future.IsDoubtful.ShouldBeTrue();
        future.ClaimsFuture.ShouldBeTrue();

        // A long backup and clocks that differ by minutes are no cause for doubt.
        DatedSnapshot.Of(At(s_now.AddHours(-9)) with { Ended = s_now.AddHours(-1), StoredAt = s_now.AddMinutes(-70) }, true, s_now).IsDoubtful.ShouldBeFalse();
        DatedSnapshot.Of(At(s_now.AddHours(-9), storedAt: s_now.AddHours(-9).AddMinutes(-20)), true, s_now).IsDoubtful.ShouldBeFalse();
        DatedSnapshot.Of(At(s_now.AddHours(-9), storedAt: s_now), true, s_now).IsDoubtful.ShouldBeTrue();
        DatedSnapshot.Of(At(s_now.AddHours(-9), storedAt: s_now), hasStoreTimes: false, s_now).IsDoubtful.ShouldBeFalse();
    }

    [Theory]
    [InlineData("gfs", "gfs:daily=7,weekly=4,monthly=12,yearly=3")]
    [InlineData("gfs:daily=14,yearly=0", "gfs:daily=14,weekly=4,monthly=12,yearly=0")]
    [InlineData("simple", "simple:last=10")]
    [InlineData("simple:30", "simple:last=30")]
    [InlineData("time", "time:within=30d")]
    [InlineData("time:90d", "time:within=90d")]
    [InlineData("keep:last=unlimited,within-daily=1y6m,tag=a+b", "keep:last=unlimited,within-daily=1y6m,tag=a+b")]
    public void PoliciesAreReadAndWritten(string text, string full)
    {
        RetentionPolicy.Parse(text).ToString().ShouldBe(full);
        RetentionPolicy.Parse(full).ToString().ShouldBe(full);
    }

    [Theory]
    [InlineData("")]
    [InlineData("keep")]
    [InlineData("forever")]
    [InlineData("gfs:daily=-3")]
    [InlineData("gfs:minutely=3")]
    [InlineData("gfs:7")]
    [InlineData("keep:within-last=3d")]
    [InlineData("time:soon")]
    public void WhatIsNoPolicyIsRefused(string text) =>
        Should.Throw<BackupIQException>(() => RetentionPolicy.Parse(text)).Code.ShouldBe(ErrorCodes.Usage);

    private static DateTime RandomClock(Random random)
    {
        // Half of them near the changes of the clock, the turn of years and the leap day.
        DateTime[] edges = [new(2026, 3, 29, 2, 0, 0), new(2025, 10, 26, 2, 0, 0), new(2025, 12, 31, 23, 0, 0), new(2024, 2, 29, 12, 0, 0), new(2026, 10, 25, 2, 0, 0)];
        DateTime near = random.Next(2) == 0 ? edges[random.Next(edges.Length)] : new DateTime(2026, 11, 24).AddDays(-random.Next(900));
        return near.AddMinutes(random.Next(-3000, 1200)).AddSeconds(random.Next(60));
    }

    private static Snapshot Forged(Random random)
    {
        DateTimeOffset stored = s_now.AddHours(-random.Next(1, 2000));
        DateTimeOffset claimed = random.Next(3) switch
        {
            0 => s_now.AddDays(random.Next(1, 4000)),
            1 => Clock(Berlin, RandomClock(random)),
            _ => stored.AddDays(random.Next(2, 900) * (random.Next(2) == 0 ? -1 : 1)),
        };

        // Some lie about the length of their run as well.
        Snapshot forged = At(claimed, storedAt: stored) with { Ended = random.Next(2) == 0 ? stored : claimed };
        return DatedSnapshot.Of(forged, true, s_now).IsDoubtful ? forged : forged with { StoredAt = claimed.AddDays(40) };
    }
}
