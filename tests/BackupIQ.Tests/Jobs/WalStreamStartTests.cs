using System.Text;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>From where on a log is received, and for how long every moment is kept.</summary>
public sealed class WalStreamStartTests
{
    private const uint Size = 1 << 20;

    [Fact]
    public void ItGoesOnAtTheFirstSegmentThatIsNotThereFromTheNewestBaseOn()
    {
        HashSet<WalFileName> archived = [.. Segments(1, 3, 4, 5, 8, 9)];
        Start(archived, [(1, At(3))]).ShouldBe(new WalStreamStart(1, 6, Lsn.None, IsFirst: false));
        Start(archived, [(1, At(3)), (1, At(8))]).Number.ShouldBe(10UL);
        Start(archived, []).Number.ShouldBe(10UL);
        Start([], [(1, At(3))]).Number.ShouldBe(3UL);
        Start([], []).ShouldBe(new WalStreamStart(1, 7, Lsn.None, IsFirst: true));
        Start(archived, [(1, At(3))]).NextArchived(Size, TimelineHistory.OfFirst(1), archived).ShouldBe(8UL);
    }

    [Fact]
    public void ItFollowsTheServerToItsNewTimelineByTheSegmentInWhichTheOldOneWasLeft()
    {
        TimelineHistory second = TimelineHistory.Read(2, Encoding.UTF8.GetBytes("1\t0/580000\tx\n"), out _)!;
        WalStreamStart.Of(Size, second, new HashSet<WalFileName>(Segments(1, 3)), [(1, At(3))], At(7)).ShouldBe(new WalStreamStart(1, 4, new Lsn(0x580000), IsFirst: false));
        WalStreamStart.Of(Size, second, new HashSet<WalFileName>(Segments(1, 3, 4)), [(1, At(3))], At(7)).ShouldBe(new WalStreamStart(2, 5, Lsn.None, IsFirst: false));

        // What was archived of the branch that was left tells nothing.
        WalStreamStart.Of(Size, second, new HashSet<WalFileName>(Segments(1, 3, 4, 5, 6, 7)), [(1, At(3)), (1, At(6))], At(7)).ShouldBe(new WalStreamStart(2, 5, Lsn.None, IsFirst: false));
    }

    [Fact]
    public void HowLongEveryMomentIsKeptChoosesBases()
    {
        DateTimeOffset now = new(2026, 11, 26, 0, 0, 0, TimeSpan.Zero);
        WalBase[] bases = [.. Enumerable.Range(1, 5).Select(days => new WalBase(1, At((ulong)(20 - days)), At((ulong)(21 - days)), now.AddDays(-days), HoldsItsLog: true))];
        WalKeep.Parse(null).Reaching(bases, now).Count.ShouldBe(5);
        WalKeep.Parse("2").Reaching(bases, now).ShouldBe(bases[..2]);

        // Two days back are reached from the base of the day before.
        WalKeep.Parse("48h").Reaching(bases, now).ShouldBe(bases[..2]);
        WalKeep.Parse("1w").Reaching(bases, now).ShouldBe(bases);
        foreach (string none in (string[])["", "0", "-1", "3x", "d", "99999999999d"])
        {
            WalKeep.TryParse(none, out _).ShouldBeFalse(none);
        }
    }

    [Fact]
    public void PiecesReachAsFarAsTheyGoOnFromTheBeginning()
    {
        WalPiece.Reach([]).ShouldBe(0U);
        WalPiece.Reach([Piece(10, 20)]).ShouldBe(0U);
        WalPiece.Reach([Piece(10, 20), Piece(0, 10)]).ShouldBe(20U);
        WalPiece.Reach([Piece(0, 10), Piece(12, 20)]).ShouldBe(10U);
        WalPiece.Reach([Piece(0, 30), Piece(0, 10), Piece(10, 20), Piece(25, 40)]).ShouldBe(40U);
    }

    private static WalStreamStart Start(HashSet<WalFileName> archived, IEnumerable<(uint, Lsn)> anchors) => WalStreamStart.Of(Size, TimelineHistory.OfFirst(1), archived, anchors, At(7));

    private static Lsn At(ulong number) => new((number * Size) + 40);

    private static IEnumerable<WalFileName> Segments(uint timeline, params ulong[] numbers) => numbers.Select(number => WalFileName.OfSegment(timeline, number, Size));

    private static WalPiece Piece(uint from, uint to) => new(WalFileName.OfSegment(1, 3, Size), from, to, default);
}
