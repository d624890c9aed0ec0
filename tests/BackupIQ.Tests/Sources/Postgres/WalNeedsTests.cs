using System.Text;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>What of a log goes, and what base backups keep.</summary>
public sealed class WalNeedsTests
{
    private const uint Size = 1 << 20;
    private static readonly DateTimeOffset Monday = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);
    private static readonly Dictionary<uint, TimelineHistory> NoHistories = [];

    [Fact]
    public void WhatIsOlderThanTheOldestBaseGoesAndAllBehindItStays()
    {
        WalNeeds needs = new(Size, NoHistories, [Base(1, 10, day: 1), Base(1, 20, day: 2)], []);
        needs.IsNeeded(1, 9, Monday).ShouldBeFalse();
        needs.IsNeeded(1, 10, Monday).ShouldBeTrue();
        needs.IsNeeded(1, 15, Monday).ShouldBeTrue();
        needs.IsNeeded(1, 1000, Monday).ShouldBeTrue();
    }

    [Fact]
    public void AnIslandKeepsItsOwnLogWhereItDoesNotHoldThat()
    {
        WalNeeds needs = new(Size, NoHistories, [Base(1, 20, day: 2)], [Base(1, 5, day: 0), Base(1, 10, day: 1) with { HoldsItsLog = false }]);
        Enumerable.Range(1, 25).Where(number => needs.IsNeeded(1, (ulong)number, Monday)).ShouldBe([10, 11, 20, 21, 22, 23, 24, 25]);
    }

    [Fact]
    public void WhatWasStoredSinceTheNewestBaseStaysWhereverItIs()
    {
        // The server was brought back to an earlier place, and its first backup there is running.
        Dictionary<uint, TimelineHistory> histories = new() { [2] = History(2, "1\t0/500000\tno recovery target specified\n") };
        WalNeeds needs = new(Size, histories, [Base(1, 100, day: 1)], []);
        needs.IsNeeded(2, 6, Monday.AddDays(2)).ShouldBeTrue();
        needs.IsNeeded(2, 6, Monday.AddMinutes(1)).ShouldBeFalse();
        needs.IsNeeded(1, 99, Monday).ShouldBeFalse();
    }

    [Fact]
    public void EveryBranchThatIsReachedFromABaseStays()
    {
        Dictionary<uint, TimelineHistory> histories = new()
        {
            [2] = History(2, "1\t0/1400000\tx\n"),
            [3] = History(3, "1\t0/1400000\tx\n2\t0/1900000\tx\n"),
            [4] = History(4, "1\t0/300000\tx\n"),
        };
        WalNeeds needs = new(Size, histories, [Base(1, 10, day: 1)], []);
        needs.IsNeeded(2, 20, Monday).ShouldBeTrue();
        needs.IsNeeded(3, 25, Monday).ShouldBeTrue();
        needs.IsNeeded(3, 9, Monday).ShouldBeFalse();

        // One that was left before the base began is not; one of which nobody knows where it comes from may be.
        needs.IsNeeded(4, 12, Monday).ShouldBeFalse();
        needs.IsNeeded(5, 12, Monday).ShouldBeTrue();
        needs.IsNeeded(5, 9, Monday).ShouldBeFalse();

        // And from one on the second branch nothing of the first is needed.
        WalNeeds later = new(Size, histories, [Base(2, 22, day: 1)], []);
        later.IsNeeded(1, 30, Monday).ShouldBeFalse();
        later.IsNeeded(3, 25, Monday).ShouldBeTrue();
    }

    private static WalBase Base(uint timeline, ulong first, int day) => new(timeline, new Lsn((first * Size) + 40), new Lsn(((first + 1) * Size) + 40), Monday.AddDays(day).AddHours(6), HoldsItsLog: true);

    private static TimelineHistory History(uint timeline, string text) => TimelineHistory.Read(timeline, Encoding.UTF8.GetBytes(text), out _).ShouldNotBeNull();
}
