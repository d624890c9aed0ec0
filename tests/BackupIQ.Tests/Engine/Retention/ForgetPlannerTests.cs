using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using Shouldly;
using Xunit;
using static BackupIQ.Tests.Engine.Retention.RetentionBuilder;

namespace BackupIQ.Tests.Engine.Retention;

/// <summary>What a plan of forgetting holds, and when it is refused.</summary>
public sealed class ForgetPlannerTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 25, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void SeriesAreThinnedApart()
    {
        Snapshot[] snapshots =
        [
            .. Days(4),
            .. Days(4, host: "other"),
            .. Days(4, path: "/mail"),
            .. Days(4).Select(static s => s with { Kind = "postgres" }),
        ];

        Plan(snapshots, "keep:last=2").Forgotten.Count().ShouldBe(8);
        Plan(snapshots, "keep:last=2", RetentionGrouping.Host).Forgotten.Count().ShouldBe(12);
        Plan(snapshots, "keep:last=2", RetentionGrouping.None).Forgotten.Count().ShouldBe(14);
    }

    [Fact]
    public void TagsMakeASeriesWhenAskedFor()
    {
        Snapshot[] snapshots = [.. Days(4), .. Days(4).Select(static s => s with { Tags = ["b", "a"] }), .. Days(4).Select(static s => s with { Tags = ["a", "b"] })];

        ForgetPlan plan = Plan(snapshots, "keep:last=2", RetentionGrouping.Host | RetentionGrouping.Tags);

        plan.Groups.Count.ShouldBe(2);
        plan.Groups[1].Tags.ShouldBe(["a", "b"]);
        plan.Groups[1].Paths.ShouldBeNull();
        plan.Forgotten.Count().ShouldBe(8);
    }

    [Fact]
    public void OnlyWhatIsChosenIsThinned()
    {
        Snapshot[] snapshots = [.. Days(6), .. Days(6, host: "other")];

        ForgetPlan plan = Planner(snapshots).ByRules(static s => s.Hostname == "other", Options("keep:last=4"));

        plan.Forgotten.Select(static d => d.Snapshot.Hostname).ShouldBe(["other", "other"]);
        plan.Groups.ShouldHaveSingleItem();
    }

    [Fact]
    public void TypesWithAPolicyOfTheirOwnAreASeriesApart()
    {
        Snapshot[] snapshots = [.. Days(10), .. Days(5).Select(static s => s with { Type = SnapshotType.Full, Time = s.Time.AddHours(-2) })];
        ForgetOptions options = Options("keep:last=3") with
        {
            TypePolicies = new Dictionary<SnapshotType, RetentionPolicy> { [SnapshotType.Full] = RetentionPolicy.Parse("keep:last=2") },
            AllowMass = true,
        };

        ForgetPlan plan = Planner(snapshots).ByRules(static _ => true, options);

        plan.Forgotten.Count(static d => d.Snapshot.Type == SnapshotType.Full).ShouldBe(3);
        plan.Forgotten.Count(static d => d.Snapshot.Type == SnapshotType.Incremental).ShouldBe(7);

        // A type with neither has no rule, and stays.
        Planner(snapshots).ByRules(static _ => true, options with { Policy = null }).Forgotten.ShouldAllBe(static d => d.Snapshot.Type == SnapshotType.Full);
    }

    [Fact]
    public void MoreThanHalfOfASeriesIsRefused()
    {
        Snapshot[] snapshots = Days(10);

        Plan(snapshots, "keep:last=5").Refusals.ShouldBeEmpty();
        ForgetPlan plan = Plan(snapshots, "keep:last=4");
        plan.Refusals.ShouldHaveSingleItem().ShouldContain("6 of 10 snapshots");
        BackupIQException refusal = Should.Throw<BackupIQException>(plan.ThrowIfRefused);
        refusal.Code.ExitCode.ShouldBe(17);
        Planner(snapshots).ByRules(static _ => true, Options("keep:last=4") with { AllowMass = true }).Refusals.ShouldBeEmpty();

        // However they are grouped or chosen: the series counts, not the group.
        Snapshot[] two = [.. snapshots, .. Days(30, host: "other")];
        Planner(two).ByRules(static s => s.Hostname == "here", Options("keep:last=4", RetentionGrouping.None)).Refusals.Count.ShouldBe(1);
        Planner(two).ByName([.. snapshots.Take(6)], [], Options(null)).Refusals.Count.ShouldBe(1);
    }

    [Fact]
    public void RulesKeepTheNewestFullAndNamingItIsRefused()
    {
        Snapshot[] snapshots = [.. Days(10).Select(static (s, i) => s with { Type = i is 8 or 9 ? SnapshotType.Full : SnapshotType.Incremental })];

        ForgetPlan plan = Plan(snapshots, "keep:last=7");
        plan.Refusals.ShouldBeEmpty();
        plan.Forgotten.Select(static d => d.Snapshot.Id).ShouldBe([snapshots[7].Id, snapshots[9].Id]);
        plan.Groups[0].Decisions.Single(d => d.Snapshot.Id == snapshots[8].Id).Reasons.ShouldBe(["newest full snapshot of its series"]);
        Planner(snapshots).ByRules(static _ => true, Options("keep:last=7") with { AllowMass = true }).Forgotten.Count().ShouldBe(3);

        Planner(snapshots).ByName([snapshots[8]], [], Options(null)).Refusals.ShouldHaveSingleItem().ShouldContain("newest full");
        Planner(snapshots).ByName([snapshots[9]], [], Options(null)).Refusals.ShouldBeEmpty();
        Planner(snapshots).ByName([snapshots[8]], [], Options(null) with { AllowMass = true }).Refusals.ShouldBeEmpty();
    }

    [Fact]
    public void AForgedFullTakesNotThePlaceOfTheNewestFull()
    {
        Snapshot[] snapshots = [.. Days(10).Select(static (s, i) => s with { Type = i == 9 ? SnapshotType.Full : SnapshotType.Incremental })];
        Snapshot forged = At(s_now.AddDays(100), SnapshotType.Full, storedAt: s_now.AddHours(-1));

        ForgetPlan plan = Plan([.. snapshots, forged], "keep:last=7");

        plan.Forgotten.ShouldNotContain(d => d.Snapshot.Id == snapshots[9].Id);
        plan.Warnings.ShouldHaveSingleItem().ShouldContain("in the future");
    }

    [Fact]
    public void WhatIsHeldIsRefusedByNameEvenWithAllowMass()
    {
        Snapshot[] snapshots = Days(10);
        snapshots[3] = snapshots[3] with
        {
            Annotations = new SnapshotAnnotations { Holds = [new() { Id = SessionId.New(), Kind = AnnotationKind.Hold, Time = s_now }] },
        };

        Planner(snapshots).ByName([snapshots[3], snapshots[4]], [], Options(null) with { AllowMass = true }).Refusals.ShouldHaveSingleItem().ShouldContain("is held");
    }

    [Fact]
    public void DoubtfulTimesAreWarnedOf()
    {
        Snapshot[] snapshots = [.. Days(3), At(s_now.AddDays(-9), storedAt: s_now.AddDays(-2))];

        Plan(snapshots, "keep:last=4").Warnings.ShouldHaveSingleItem().ShouldContain("more than an hour");
        Plan(Days(3), "keep:last=4").Warnings.ShouldBeEmpty();
    }

    // The newest first, one a day.
    private static Snapshot[] Days(int count, string host = "here", string path = "/data") =>
        [.. Enumerable.Range(0, count).Select(i => At(s_now.AddDays(-i).AddHours(-1), host: host, path: path))];

    private static ForgetPlanner Planner(IReadOnlyList<Snapshot> snapshots) => new(snapshots, hasStoreTimes: true, s_now, TimeZoneInfo.Utc);

    private static ForgetOptions Options(string? policy, RetentionGrouping? grouping = null) => new()
    {
        Policy = policy is null ? null : RetentionPolicy.Parse(policy),
        GroupBy = grouping ?? new ForgetOptions().GroupBy,
    };

    private static ForgetPlan Plan(IReadOnlyList<Snapshot> snapshots, string policy, RetentionGrouping? grouping = null) =>
        Planner(snapshots).ByRules(static _ => true, Options(policy, grouping));
}
