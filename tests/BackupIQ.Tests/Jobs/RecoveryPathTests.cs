using BackupIQ.Jobs.Postgres;
using BackupIQ.Jobs.Postgres.Recovery;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Tests.Sources.Postgres;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>The way of a recovery along timelines, and where it stops, from facts alone and from records.</summary>
public sealed class RecoveryPathTests
{
    private const uint Size = 1 << 20;
    private static readonly Dictionary<uint, TimelineHistory> NoHistories = [];

    [Fact]
    public void TheWayGoesOnAsFarAsSegmentsFollowEachOther()
    {
        RecoveryPath path = Walk(Base(1, 3, 4), 1, [Segment(1, 3), Segment(1, 4), Segment(1, 5)]);
        path.Segments.Select(static segment => segment.Name.ToString()).ShouldBe(["000000010000000000000003", "000000010000000000000004", "000000010000000000000005"]);
        path.IsHole.ShouldBeFalse();
        path.EndsBecause.ShouldBe("nothing later is archived");
        path.IsConsistent.ShouldBeTrue();
        path.End.ShouldBe(At(6) + -64);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public void AMissingSegmentIsNamedAndTheWayEndsThere(uint missing)
    {
        RecoveryPath path = Walk(Base(1, 3, 3), 1, [.. new uint[] { 3, 4, 5 }.Where(number => number != missing).Select(static number => Segment(1, number))]);
        path.IsHole.ShouldBeTrue();
        path.EndsBecause.ShouldBe($"segment 00000001000000000000000{missing} is missing");
        path.EndsAt.ToString().ShouldBe($"00000001000000000000000{missing}");
        path.Segments.Count.ShouldBe((int)missing - 3);
    }

    [Fact]
    public void ASegmentThatDoesNotGoOnWithTheOneBeforeEndsTheWay()
    {
        RecoveryPath path = Walk(Base(1, 3, 3), 1, [Segment(1, 3), Segment(1, 4, facts => facts with { BeforeFirst = At(2) })]);
        path.Segments.Count.ShouldBe(1);
        path.IsHole.ShouldBeTrue();
        path.EndsBecause.ShouldContain("is not followed by");
    }

    [Fact]
    public void DamageThatWasThereAlreadyEndsTheWayWithinTheSegment()
    {
        RecoveryPath path = Walk(Base(1, 3, 3), 1, [Segment(1, 3), Segment(1, 4, static facts => facts with { End = WalEnd.Finding, DamagedAt = At(4) + 5000, LastEnd = At(4) + 4000 }), Segment(1, 5)]);
        path.EndsBecause.ShouldBe($"segment 000000010000000000000004 is damaged at {At(4) + 5000}");
        path.End.ShouldBe(At(4) + 4000);
        path.IsHole.ShouldBeTrue();
    }

    [Fact]
    public void WhereATimelineWasLeftTheWayTakesTheNewOnesCopyOfThatSegment()
    {
        Dictionary<uint, TimelineHistory> histories = new() { [2] = new TimelineHistory(2, [new TimelineSwitch(1, At(5) + 500)]) };
        RecoveryPath path = Walk(Base(1, 3, 4), 2, [Segment(1, 3), Segment(1, 4), Segment(1, 5), Segment(1, 6), Segment(2, 5), Segment(2, 6)], histories);
        path.Segments.Select(static segment => $"{segment.Name.Timeline}/{segment.Name.Low}").ShouldBe(["1/3", "1/4", "2/5", "2/6"]);
        path.Branch.At(At(5) + 499).ShouldBe(1u);
        path.Branch.At(At(5) + 500).ShouldBe(2u);
    }

    [Fact]
    public void WithoutTheSegmentInWhichATimelineWasLeftItsCopyOrThePartialOneStandsForIt()
    {
        Dictionary<uint, TimelineHistory> histories = new() { [2] = new TimelineHistory(2, [new TimelineSwitch(1, At(5) + 500)]) };
        RecoveryPath path = Walk(Base(1, 3, 4), 1, [Segment(1, 3), Segment(1, 4), Segment(2, 5)], histories);
        (path.Segments[^1].Name.Timeline, path.Segments[^1].File.Timeline, path.Segments[^1].Limit).ShouldBe((1u, 2u, At(5) + 500));
        path.End.ShouldBe(At(5) + 500);
        path.IsHole.ShouldBeFalse();

        // The partial one has more than what the copy took over.
        (WalFileName Name, WalSegmentFacts? Facts) partial = Segment(1, 5, static facts => facts with { End = WalEnd.Nothing, LastEnd = At(5) + 900 });
        path = Walk(Base(1, 3, 4), 1, [Segment(1, 3), Segment(1, 4), Segment(2, 5), (partial.Name with { Kind = WalFileKind.Partial }, partial.Facts)], histories);
        path.Segments[^1].File.Kind.ShouldBe(WalFileKind.Partial);
        path.End.ShouldBe(At(5) + 900);
    }

    [Fact]
    public void OfATimelineThatHasNothingArchivedYetItsBeginningOnTheOldOneIsReached()
    {
        Dictionary<uint, TimelineHistory> histories = new() { [2] = new TimelineHistory(2, [new TimelineSwitch(1, At(5) + 500)]) };
        RecoveryPath path = Walk(Base(1, 3, 4), 2, [Segment(1, 3), Segment(1, 4), Segment(1, 5), Segment(1, 6)], histories);
        (path.Segments[^1].File.Timeline, path.End, path.IsHole).ShouldBe((1u, At(5) + 500, false));
        path.Branch.At(path.Segments[^1].Facts.Start).ShouldBe(1u);
    }

    [Fact]
    public void ABackupIsFitOnlyForABranchThatItLiesOn()
    {
        Dictionary<uint, TimelineHistory> histories = new() { [2] = new TimelineHistory(2, [new TimelineSwitch(1, At(5) + 500)]) };
        TimelineBranch second = TimelineBranch.Of(2, histories).ShouldNotBeNull();
        RecoveryPath.Unfit(Base(1, 3, 4), second).ShouldBeNull();
        RecoveryPath.Unfit(Base(1, 3, 6), second).ShouldNotBeNull().ShouldContain("timeline 1 was left at");
        RecoveryPath.Unfit(Base(2, 5, 6), TimelineBranch.Of(1, histories)!).ShouldNotBeNull().ShouldContain("is of timeline 2");
        TimelineBranch.Of(3, histories).ShouldBeNull();
    }

    [Fact]
    public void WhatTheBackupHasItselfFillsWhatTheArchiveLacks()
    {
        (WalFileName name, WalSegmentFacts? own) = Segment(1, 3);
        RecoveryPath path = RecoveryPath.Build(
            Base(1, 3, 3), TimelineBranch.Of(1, NoHistories)!, new RecoveryKnowledge(Size, NoHistories, new Dictionary<WalFileName, WalSegmentFacts?> { [Segment(1, 4).Name] = Segment(1, 4).Facts }, new Dictionary<WalFileName, WalSegmentFacts> { [name] = own! }));
        path.Segments.Select(static segment => segment.Source).ShouldBe([RecoverySource.Backup, RecoverySource.Archive]);
        path.IsConsistent.ShouldBeTrue();
    }

    [Fact]
    public void WhatIsCoveredEndsWhereACommitMayBeLacking()
    {
        // The last segment was written to its end at 900; the one before it at 700.
        (WalFileName, WalSegmentFacts?)[] whole = [Segment(1, 3, static facts => facts with { ClosedAt = 700 }), Segment(1, 4, static facts => facts with { ClosedAt = 900 })];
        Walk(Base(1, 3, 3), 1, whole).CoveredTo.ShouldBe(900);

        // With a record in it whose rest is not there, which may be a commit, only the one before it counts.
        (WalFileName, WalSegmentFacts?) open = Segment(1, 4, static facts => facts with { ClosedAt = 900, End = WalEnd.WithinRecord, Pending = At(5) + -40, PendingBytes = 100 });
        Walk(Base(1, 3, 3), 1, [whole[0], open]).CoveredTo.ShouldBe(700);

        // A commit in it is there whatever its end.
        Walk(Base(1, 3, 3), 1, [whole[0], Segment(1, 4, static facts => facts with { Transactions = 1, FirstTime = 800, LastTime = 800, End = WalEnd.Nothing })]).CoveredTo.ShouldBe(800);
    }

    [Fact]
    public void TheWalkStopsWhereTheServerWould()
    {
        WalBuilder log = new();
        log.Append(10, 0, [1, 2, 3], 700);
        ulong first = log.Commit(700, 1000);
        ulong second = log.Commit(701, 2000);
        ulong point = log.RestorePoint("noon", 2500);

        // A clock that was set back: recovery ends at the first commit that is later, whatever follows.
        ulong third = log.Commit(702, 4000);
        ulong fourth = log.Commit(703, 3000);
        byte[][] segments = log.Segments();

        Stop(new RecoveryAim(PostgresTargetKind.Time) { Microseconds = 2000 }).ShouldBe((third, true, 701u, 702u));
        Stop(new RecoveryAim(PostgresTargetKind.Time, IsExclusive: true) { Microseconds = 2000 }).ShouldBe((second, true, 700u, 701u));
        Stop(new RecoveryAim(PostgresTargetKind.Time) { Microseconds = 3500 }).ShouldBe((third, true, 701u, 702u));
        Stop(new RecoveryAim(PostgresTargetKind.Transaction) { Transaction = 701 }).ShouldBe((second, false, 701u, 702u));
        Stop(new RecoveryAim(PostgresTargetKind.Transaction, IsExclusive: true) { Transaction = 701 }).ShouldBe((second, true, 700u, 701u));
        Stop(new RecoveryAim(PostgresTargetKind.Name) { Name = "noon" }).ShouldBe((point, false, 701u, 702u));
        Stop(new RecoveryAim(PostgresTargetKind.Lsn) { Place = new Lsn(second) }).ShouldBe((second, false, 701u, 702u));
        Stop(new RecoveryAim(PostgresTargetKind.Lsn, IsExclusive: true) { Place = new Lsn(second - 1) }).ShouldBe((second, true, 700u, 701u));
        Stop(new RecoveryAim(PostgresTargetKind.Latest)).ShouldBe((fourth, false, 703u, null));

        (ulong At, bool IsBefore, uint? Last, uint? After) Stop(RecoveryAim aim)
        {
            RecoveryWalk walk = new(aim, new Lsn(first));
            WalScanner scanner = new(walk.Note);
            scanner.BeginSegment(WalSegmentHeader.Read(segments[0], out _)!, 1);
            scanner.Scan(segments[0]);
            walk.StopAtEnd();
            return (walk.Stop!.Value.At.Value, walk.Stop.Value.IsBefore, walk.State.LastCommit?.Transaction, walk.FirstAfter?.Transaction);
        }
    }

    [Theory]
    [InlineData("2026-11-26T14:29:59.5+01:00", "2026-11-26T13:29:59.5000000Z")]
    [InlineData("2026-11-26 14:29:59,123456Z", "2026-11-26T14:29:59.1234560Z")]
    [InlineData("2026-11-26 14:29-0530", "2026-11-26T19:59:00.0000000Z")]
    [InlineData("2026-11-26T14:29", "2026-11-26T13:29:00.0000000Z")]
    public void AMomentIsReadWithItsZoneOrByTheServersClock(string text, string moment) =>
        PostgresTarget.Time(text).MomentIn(TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin")).UtcDateTime.ToString("O").ShouldBe(moment);

    [Theory]
    [InlineData("13am")]
    [InlineData("2026-11-26")]
    [InlineData("2026-02-30 10:00")]
    [InlineData("2026-11-26 25:00Z")]
    [InlineData("11/26/2026 10:00")]
    [InlineData("2026-11-26 10:00+99")]
    [InlineData("2026-11-26 10:00Z tomorrow")]
    public void WhatIsNoMomentIsRefused(string text) => Should.Throw<BackupIQException>(() => PostgresTarget.Time(text)).Code.ShouldBe(ErrorCodes.Usage);

    [Theory]
    [InlineData("2026-10-25T02:30:00")]
    [InlineData("2026-03-29T02:30:00")]
    public void AMomentThatTheServersClockShowedTwiceOrNeverIsRefused(string text) =>
        Should.Throw<BackupIQException>(() => PostgresTarget.Time(text).MomentIn(TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin"))).Code.ShouldBe(ErrorCodes.Usage);

    private static RecoveryPath Walk(RecoveryBase from, uint timeline, (WalFileName Name, WalSegmentFacts? Facts)[] segments, Dictionary<uint, TimelineHistory>? histories = null) =>
        RecoveryPath.Build(from, TimelineBranch.Of(timeline, histories ?? NoHistories)!, new RecoveryKnowledge(Size, histories ?? NoHistories, segments.ToDictionary(static one => one.Name, static one => one.Facts), new Dictionary<WalFileName, WalSegmentFacts>()));

    private static Lsn At(ulong segment) => new(segment * Size);

    private static RecoveryBase Base(uint timeline, ulong start, ulong stop) =>
        new("0123456789abcdef", timeline, At(start) + 100, At(stop) + 200, PostgresTime.Read(0)!.Value, PostgresTime.Read(10)!.Value);

    // Each ends with a record 128 bytes before its end, and the next names that one.
    private static (WalFileName Name, WalSegmentFacts? Facts) Segment(uint timeline, ulong number, Func<WalSegmentFacts, WalSegmentFacts>? change = null)
    {
        WalSegmentFacts facts = new()
        {
            Version = 15,
            SystemIdentifier = 1,
            SegmentSize = Size,
            Start = At(number),
            End = WalEnd.Record,
            First = At(number) + 40,
            BeforeFirst = At(number) + -128,
            Last = At(number + 1) + -128,
            LastEnd = At(number + 1) + -64,
        };
        return (WalFileName.OfSegment(timeline, number, Size), change is null ? facts : change(facts));
    }
}
