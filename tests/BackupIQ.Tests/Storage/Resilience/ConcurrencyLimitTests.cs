using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class ConcurrencyLimitTests
{
    private readonly SteppedTime _time = new();

    [Fact]
    public async Task WhoDoesNotFitWaitsInOrderAndIsLetInOneByOne()
    {
        ConcurrencyLimit limit = new(8, _time);
        limit.Limit.ShouldBe(2);
        await limit.EnterAsync(CancellationToken.None);
        await limit.EnterAsync(CancellationToken.None);
        Task[] waiting = [.. Enumerable.Range(0, 3).Select(_ => limit.EnterAsync(CancellationToken.None).AsTask())];
        limit.TryEnter().ShouldBeFalse();
        (limit.Used, limit.Waiting).ShouldBe((2, 3));
        for (int i = 0; i < 3; i++)
        {
            waiting[i].IsCompleted.ShouldBeFalse();
            limit.Leave();
            await waiting[i];
        }

        limit.Leave();
        limit.TryEnter().ShouldBeTrue();
    }

    [Fact]
    public async Task WhoIsCancelledWhileWaitingTakesNoPlace()
    {
        ConcurrencyLimit limit = new(1, _time);
        await limit.EnterAsync(CancellationToken.None);
        using CancellationTokenSource stop = new();
        Task cancelled = limit.EnterAsync(stop.Token).AsTask();
        Task next = limit.EnterAsync(CancellationToken.None).AsTask();
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => cancelled);
        limit.Leave();
        await next;
        limit.Leave();
        (limit.Used, limit.Waiting).ShouldBe((0, 0));
    }

    [Fact]
    public async Task QuickAnswersRaiseItUpToTheBudgetAndSlowOnesLowerItOncePerRoundTrip()
    {
        ConcurrencyLimit limit = new(16, _time);
        limit.Limit.ShouldBe(4);
        await FillAsync(limit);
        for (int i = 0; i < 400; i++)
        {
            limit.Learn(StorageOperation.Stat, 0, TimeSpan.FromMilliseconds(50), _time.GetTimestamp());
            await FillAsync(limit);
        }

        limit.Limit.ShouldBe(16);

        // Twice the best is no sign; five times is, and all that began before say the same thing.
        long before = _time.GetTimestamp();
        _time.Advance(TimeSpan.FromMilliseconds(250));
        limit.Learn(StorageOperation.Stat, 0, TimeSpan.FromMilliseconds(100), before);
        limit.Limit.ShouldBe(16);
        for (int i = 0; i < 10; i++)
        {
            limit.Learn(StorageOperation.Stat, 0, TimeSpan.FromMilliseconds(250), before);
        }

        limit.Limit.ShouldBe(11);
        limit.Overloaded(_time.GetTimestamp());
        limit.Limit.ShouldBe(7);
    }

    [Fact]
    public async Task ALargePutIsNotMeasuredAgainstAStatAndOldBestsAreForgotten()
    {
        ConcurrencyLimit limit = new(4, _time);
        await FillAsync(limit);
        limit.Learn(StorageOperation.Stat, 0, TimeSpan.FromMilliseconds(30), 0);
        limit.Learn(StorageOperation.Put, 64 << 20, TimeSpan.FromSeconds(9), _time.GetTimestamp());
        limit.Limit.ShouldBe(2);
        for (int i = 0; i < 200; i++)
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            limit.Learn(StorageOperation.Stat, 0, TimeSpan.FromMilliseconds(500), _time.GetTimestamp());
            await FillAsync(limit);
        }

        // The line is slower than it was, but steadily: that is no reason for one request at a time.
        limit.Limit.ShouldBe(4);
    }

    [Fact]
    public async Task AFullBulkheadOfOneProviderLeavesTheOthersAlone()
    {
        using StorageRegistry registry = new(_time);
        LineBackend stuckLine = new(new MemoryBackend(_time), _time);
        TaskCompletionSource never = new();
        stuckLine.OnMove = async (_, _, token) => await never.Task.WaitAsync(token);
        IStorageBackend stuck = StorageStack.Wrap(stuckLine, "stuck", new ResilienceOptions { Connections = 4 }, registry, _time);
        IStorageBackend other = StorageStack.Wrap(new LineBackend(new MemoryBackend(_time), _time), "other", new ResilienceOptions { Connections = 4 }, registry, _time);
        using CancellationTokenSource stop = new();
        Task[] hanging = [.. Enumerable.Range(0, 20).Select(i => stuck.StatAsync(new StorageKey($"{i}"), stop.Token).AsTask())];
        StorageHealthReport full = registry.Report().Single(static r => r.Provider == "stuck");
        full.InFlight.ShouldBe(full.Connections);
        full.Waiting.ShouldBe(20 - full.Connections);

        // A thousand requests of the other, none of which waits for the clock.
        for (int i = 0; i < 1000; i++)
        {
            await other.StatAsync(new StorageKey($"{i}"), CancellationToken.None);
        }

        registry.Report().Single(static r => r.Provider == "other").Requests.ShouldBe(1000);
        await stop.CancelAsync();
        foreach (Task call in hanging)
        {
            await Should.ThrowAsync<OperationCanceledException>(() => call);
        }

        registry.Report().Single(static r => r.Provider == "stuck").InFlight.ShouldBe(0);
        registry.Breakers.Select(static b => b.Name).ShouldBe(["other", "stuck"]);
    }

    [Fact]
    public async Task RequestsPerSecondAreLimited()
    {
        using StorageRegistry registry = new(_time);
        IStorageBackend storage = StorageStack.Wrap(
            new LineBackend(new MemoryBackend(_time), _time), "limited", new ResilienceOptions { RequestsPerSecond = 10 }, registry, _time);
        DateTimeOffset began = _time.GetUtcNow();
        await _time.RunAsync(Task.WhenAll(Enumerable.Range(0, 51).Select(i => storage.StatAsync(new StorageKey($"{i}"), CancellationToken.None).AsTask())));
        (_time.GetUtcNow() - began).TotalSeconds.ShouldBe(5, 0.2);
    }

    [Fact]
    public async Task AStorageThatIsAskedForTooMuchIsAskedForLess()
    {
        // A storage that serves four at once and refuses the rest: what is made at once settles near that, and all goes through.
        using StorageRegistry registry = new(_time);
        LineBackend line = new(new MemoryBackend(_time), _time);
        int inside = 0, refused = 0;
        line.OnMove = async (_, _, token) =>
        {
            if (Interlocked.Increment(ref inside) > 4)
            {
                Interlocked.Decrement(ref inside);
                Interlocked.Increment(ref refused);
                throw new StorageException(ErrorCodes.StorageConnection, "Slow down.") { RetryAfter = TimeSpan.FromSeconds(1) };
            }

            try
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), _time, token);
            }
            finally
            {
                Interlocked.Decrement(ref inside);
            }
        };
        ResilienceOptions options = new() { Connections = 32, Retry = RetryProfile.Patient, FailuresToOpen = 1000 };
        IStorageBackend storage = StorageStack.Wrap(line, "busy", options, registry, _time);
        await _time.RunAsync(Task.WhenAll(Enumerable.Range(0, 300).Select(i => storage.StatAsync(new StorageKey($"{i}"), CancellationToken.None).AsTask())));
        registry.Report().ShouldHaveSingleItem().Connections.ShouldBeLessThanOrEqualTo(10);
        refused.ShouldBeInRange(1, 150);
    }

    private static async Task FillAsync(ConcurrencyLimit limit)
    {
        while (limit.Used < limit.Limit)
        {
            await limit.EnterAsync(CancellationToken.None);
        }
    }
}
