using BackupIQ.Primitives;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class RateScheduleTests
{
    private static readonly RateSchedule Office = new(0) { Windows = [new RateWindow(new TimeOnly(8, 0), new TimeOnly(18, 0), 2_000)] };

    private static readonly RateSchedule Night = new(100) { Windows = [new RateWindow(new TimeOnly(22, 0), new TimeOnly(6, 30), 0)] };

    // An hour ahead of UTC, and an hour more from the last Sunday of March at 2:00 to the last of October at 3:00, as in Berlin.
    private static readonly TimeZoneInfo Berlin = TimeZoneInfo.CreateCustomTimeZone(
        "Somewhere",
        TimeSpan.FromHours(1),
        "Somewhere",
        "Winter",
        "Summer",
        [
            TimeZoneInfo.AdjustmentRule.CreateAdjustmentRule(
                DateTime.MinValue.Date,
                DateTime.MaxValue.Date,
                TimeSpan.FromHours(1),
                TimeZoneInfo.TransitionTime.CreateFloatingDateRule(new DateTime(1, 1, 1, 2, 0, 0), 3, 5, DayOfWeek.Sunday),
                TimeZoneInfo.TransitionTime.CreateFloatingDateRule(new DateTime(1, 1, 1, 3, 0, 0), 10, 5, DayOfWeek.Sunday)),
        ]);

    [Theory]
    [InlineData("07:59:59", 0)]
    [InlineData("08:00", 2000)]
    [InlineData("17:59:59", 2000)]
    [InlineData("18:00", 0)]
    public void AWindowHoldsFromItsBeginningUntilJustBeforeItsEnd(string wall, long expected) =>
        Office.At(TimeOnly.Parse(wall, System.Globalization.CultureInfo.InvariantCulture)).ShouldBe(expected);

    [Theory]
    [InlineData("21:59", 100)]
    [InlineData("22:00", 0)]
    [InlineData("00:00", 0)]
    [InlineData("06:29", 0)]
    [InlineData("06:30", 100)]
    public void AWindowMayGoOverMidnight(string wall, long expected) =>
        Night.At(TimeOnly.Parse(wall, System.Globalization.CultureInfo.InvariantCulture)).ShouldBe(expected);

    [Fact]
    public void TheFirstWindowThatIsOpenCountsAndOneWithoutLengthIsTheWholeDay()
    {
        RateSchedule schedule = new(1)
        {
            Windows = [new RateWindow(new TimeOnly(12, 0), new TimeOnly(13, 0), 2), new RateWindow(TimeOnly.MinValue, TimeOnly.MinValue, 3)],
        };
        schedule.At(new TimeOnly(12, 30)).ShouldBe(2);
        schedule.At(new TimeOnly(4, 0)).ShouldBe(3);
        RateSchedule.Unlimited.IsUnlimited.ShouldBeTrue();
        Office.IsUnlimited.ShouldBeFalse();
    }

    [Theory]
    [InlineData("2026-03-29T00:59:59Z", 0)] // 1:59:59
    [InlineData("2026-03-29T01:00:00Z", 7)] // 3:00, summer time
    [InlineData("2026-03-29T01:59:59Z", 7)]
    [InlineData("2026-03-29T02:00:00Z", 0)] // 4:00
    [InlineData("2026-10-25T00:59:59Z", 0)] // 2:59:59, summer time
    [InlineData("2026-10-25T01:00:00Z", 0)] // 2:00 again
    [InlineData("2026-10-25T02:00:00Z", 7)] // 3:00
    public void WallTimeIsThatOfTheZoneAlsoWhenClocksAreChanged(string utc, long expected)
    {
        RateSchedule schedule = new(0) { Windows = [new RateWindow(new TimeOnly(3, 0), new TimeOnly(4, 0), 7)] };
        ManualTime time = new(DateTimeOffset.Parse(utc, System.Globalization.CultureInfo.InvariantCulture), Berlin);
        schedule.At(time).ShouldBe(expected);
    }

    [Fact]
    public async Task TheRateChangesForThoseWhoWaitAlready()
    {
        // 17:59:00: at 2,000 a second 600,000 would take five minutes; from 18:00 on nothing holds them back.
        SteppedTime time = new(new DateTimeOffset(2026, 3, 2, 16, 59, 0, TimeSpan.Zero), Berlin);
        TokenBucket bucket = new(Office, time);
        DateTimeOffset began = time.GetUtcNow();
        await time.RunAsync(Task.WhenAll(bucket.TakeAsync(300_000, CancellationToken.None).AsTask(), bucket.TakeAsync(300_000, CancellationToken.None).AsTask()));
        (time.GetUtcNow() - began).TotalSeconds.ShouldBe(60, 1.1);
    }

    [Fact]
    public async Task TheMeanRateHoldsAndThoseWhoCameFirstGoFirst()
    {
        SteppedTime time = new();
        TokenBucket bucket = new(1000, time);
        DateTimeOffset began = time.GetUtcNow();
        List<int> order = [];
        await time.RunAsync(Task.WhenAll(Enumerable.Range(0, 20).Select(async i =>
        {
            await bucket.TakeAsync(500, CancellationToken.None);
            lock (order)
            {
                order.Add(i);
            }
        })));
        (time.GetUtcNow() - began).TotalSeconds.ShouldBe(10, 0.1);
        order.ShouldBe(Enumerable.Range(0, 20));
    }

    [Fact]
    public async Task WhatWasNotUsedIsNotSavedUp()
    {
        SteppedTime time = new();
        TokenBucket bucket = new(1000, time);
        await time.RunAsync(bucket.TakeAsync(1000, CancellationToken.None).AsTask());
        time.Advance(TimeSpan.FromHours(1));
        DateTimeOffset began = time.GetUtcNow();
        await time.RunAsync(bucket.TakeAsync(5000, CancellationToken.None).AsTask());
        (time.GetUtcNow() - began).TotalSeconds.ShouldBe(5, 0.1);
    }

    [Fact]
    public async Task WhoIsCancelledTakesNothing()
    {
        SteppedTime time = new();
        TokenBucket bucket = new(1000, time);
        using CancellationTokenSource stop = new();
        Task cancelled = bucket.TakeAsync(1_000_000, stop.Token).AsTask();
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => cancelled);
        DateTimeOffset began = time.GetUtcNow();
        await time.RunAsync(bucket.TakeAsync(1000, CancellationToken.None).AsTask());
        (time.GetUtcNow() - began).TotalSeconds.ShouldBe(1, 0.1);
    }
}
