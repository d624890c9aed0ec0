using BackupIQ.Cli.Parsing;
using BackupIQ.Primitives;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Cli;

public sealed class RateTextTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("unlimited", 0)]
    [InlineData("10M", 10 << 20)]
    [InlineData("512KiB/s", 512 << 10)]
    public void ASingleRateHoldsAllDay(string text, long expected)
    {
        RateText.TryParse(text, out RateSchedule schedule).ShouldBeTrue();
        schedule.At(new TimeOnly(3, 0)).ShouldBe(expected);
        schedule.Windows.ShouldBeEmpty();
    }

    [Fact]
    public void RatesByTheTimeOfDay()
    {
        RateText.TryParse("8:00-18:00=2M, 18:00-24:00=5M/s, else=unlimited", out RateSchedule schedule).ShouldBeTrue();
        long Mib(int hour, int minute) => schedule.At(new TimeOnly(hour, minute)) >> 20;
        Mib(7, 59).ShouldBe(0);
        Mib(8, 0).ShouldBe(2);
        Mib(18, 0).ShouldBe(5);
        Mib(23, 59).ShouldBe(5);
        Mib(0, 0).ShouldBe(0);
        RateText.TryParse("22:00-06:00=unlimited,else=1M", out schedule).ShouldBeTrue();
        Mib(23, 0).ShouldBe(0);
        Mib(12, 0).ShouldBe(1);
        RateText.TryParse("08:00-18:00=1M", out schedule).ShouldBeTrue();
        Mib(20, 0).ShouldBe(0);
    }

    [Theory]
    [InlineData("")]
    [InlineData("fast")]
    [InlineData("-1")]
    [InlineData("08:00-18:00")]
    [InlineData("08:00-18:00=")]
    [InlineData("08:00=2M")]
    [InlineData("08:00-25:00=2M")]
    [InlineData("08:00-18:61=2M")]
    [InlineData("8-18=2M")]
    [InlineData("08:00-18:00=2M,")]
    [InlineData("08:00-18:00=2M,else=1M,else=2M")]
    [InlineData("08:00-18:00=2M=3M")]
    [InlineData("else")]
    public void WhatIsNoRateIsRefused(string text) => RateText.TryParse(text, out _).ShouldBeFalse();
}
