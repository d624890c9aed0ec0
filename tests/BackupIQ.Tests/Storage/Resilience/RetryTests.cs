using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class RetryTests : IDisposable
{
    private readonly SteppedTime _time = new();
    private readonly MemoryBackend _memory;
    private readonly LineBackend _line;
    private readonly StorageRegistry _registry;
    private readonly List<StorageRetry> _retries = [];
    private readonly ScratchFolder _scratch = new();
    private int _failures;
    private int _failuresToOpen = int.MaxValue;

    public RetryTests()
    {
        _memory = new MemoryBackend(_time);
        _line = new LineBackend(_memory, _time);
        _registry = new StorageRegistry(_time);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _registry.Dispose();
        _scratch.Dispose();
    }

    [Theory]
    [InlineData("standard", new double[] { 1, 2 })]
    [InlineData("quick", new[] { 0.1, 0.2 })]
    [InlineData("aggressive", new[] { 0.5, 1, 2, 4, 8, 16, 32, 60, 60 })]
    [InlineData("patient", new double[] { 5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600, 600 })]
    public async Task EachProfileHasItsAttemptsAndDelays(string name, double[] delays)
    {
        RetryProfile.TryFind(name, out RetryProfile? profile).ShouldBeTrue();
        foreach (double random in (double[])[0, 0.5, 0.999_999])
        {
            _retries.Clear();
            FailTimes(int.MaxValue);
            DateTimeOffset began = _time.GetUtcNow();
            StorageException failure = await Should.ThrowAsync<StorageException>(() => _time.RunAsync(StatAsync(Make(profile, random))));

            failure.Code.ShouldBe(ErrorCodes.StorageConnection);
            failure.Details["attempts"].ShouldBe((delays.Length + 1).ToString(System.Globalization.CultureInfo.InvariantCulture));
            _failures.ShouldBe(delays.Length + 1);
            _retries.Select(static r => r.Attempt).ShouldBe(Enumerable.Range(1, delays.Length));
            for (int i = 0; i < delays.Length; i++)
            {
                _retries[i].Delay.TotalSeconds.ShouldBe(delays[i] * random, 0.001);
            }

            // It really waited so long.
            (_time.GetUtcNow() - began).TotalSeconds.ShouldBe(delays.Sum() * random, 0.1);
        }
    }

    [Fact]
    public void JitterIsTheWholeDelayOrATenth()
    {
        RetryProfile full = RetryProfile.Standard;
        RetryProfile tenth = full with { Jitter = RetryJitter.TenPercent };
        full.DelayAfter(3, 0).ShouldBe(TimeSpan.Zero);
        full.DelayAfter(3, 0.75).ShouldBe(TimeSpan.FromSeconds(3));
        tenth.DelayAfter(3, 0).ShouldBe(TimeSpan.FromSeconds(3.6));
        tenth.DelayAfter(3, 0.5).ShouldBe(TimeSpan.FromSeconds(4));
        tenth.DelayAfter(3, 1).ShouldBe(TimeSpan.FromSeconds(4.4));
        tenth.DelayAfter(60, 0.5).ShouldBe(TimeSpan.FromSeconds(60));
        RetryProfile.TryFind("brave", out _).ShouldBeFalse();
    }

    [Fact]
    public async Task WhatTheStorageAsksForIsWaitedAtLeast()
    {
        FailTimes(1, retryAfter: TimeSpan.FromSeconds(17));
        DateTimeOffset began = _time.GetUtcNow();
        await _time.RunAsync(StatAsync(Make(RetryProfile.Standard, 0)));
        (_time.GetUtcNow() - began).ShouldBe(TimeSpan.FromSeconds(17));

        // What nobody wants to wait for is a failure at once.
        FailTimes(1, retryAfter: TimeSpan.FromSeconds(17));
        began = _time.GetUtcNow();
        StorageException failure = await Should.ThrowAsync<StorageException>(() => _time.RunAsync(StatAsync(Make(RetryProfile.Quick, 0))));
        failure.RetryAfter.ShouldBe(TimeSpan.FromSeconds(17));
        (_time.GetUtcNow() - began).ShouldBe(TimeSpan.Zero);
    }

    [Fact]
    public async Task OnlyTransientFailuresAreRetried()
    {
        FailTimes(1, ErrorCodes.StorageAuthentication);
        await Should.ThrowAsync<StorageException>(() => StatAsync(Make(RetryProfile.Aggressive)));
        _failures.ShouldBe(1);
        StorageHealthReport report = _registry.Report().ShouldHaveSingleItem();
        (report.Retries, report.GiveUps, report.Failures, report.Requests).ShouldBe((0, 0, 0, 1));
    }

    [Fact]
    public async Task ARetryThatHelpsIsToldAndCounted()
    {
        FailTimes(2);
        await _time.RunAsync(StatAsync(Make(RetryProfile.Standard)));
        StorageRetry[] told = [.. _retries];
        told.Length.ShouldBe(2);
        told[0].Provider.ShouldBe("line");
        told[0].Operation.ShouldBe(StorageOperation.Stat);
        told[0].Subject.ShouldBe("d/1");
        told[0].Cause.Code.ShouldBe(ErrorCodes.StorageConnection);
        StorageHealthReport report = _registry.Report().ShouldHaveSingleItem();
        (report.Retries, report.Recoveries, report.GiveUps, report.Failures, report.Requests).ShouldBe((2, 1, 0, 2, 3));
    }

    [Fact]
    public async Task AReadGoesOnWhereItBroke()
    {
        byte[] bytes = new byte[1 << 20];
        new Random(1).NextBytes(bytes);
        await _memory.PutAsync(new StorageKey("d/1"), StorageContent.FromBytes(bytes), Token);
        RecordingBackend recorder = new(_line);
        IStorageBackend storage = StorageStack.Wrap(recorder, "line", Options(RetryProfile.Standard), _registry, _time);
        int slices = 0;
        _line.OnMove = (_, _, _) => ++slices % 25 == 0 ? throw new StorageException(ErrorCodes.StorageConnection, "Reset.") : ValueTask.CompletedTask;

        byte[] read = new byte[bytes.Length + 100];
        (await _time.RunAsync(storage.ReadAsync(new StorageKey("d/1"), 0, read, Token).AsTask())).ShouldBe(bytes.Length);

        read.AsSpan(0, bytes.Length).SequenceEqual(bytes).ShouldBeTrue();
        recorder.Calls.Select(static c => c.Offset).ShouldBe([0, 24 << 14, 48 << 14]);
    }

    [Fact]
    public async Task AFileIsThereForEveryAttemptAndGoneAfterwards()
    {
        byte[] bytes = new byte[100_000];
        new Random(1).NextBytes(bytes);
        string file = Path.Combine(_scratch.Path, "pack");
        await File.WriteAllBytesAsync(file, bytes, Token);
        FailTimes(2, of: StorageOperation.Put);
        (await _time.RunAsync(Make(RetryProfile.Standard).PutAsync(new StorageKey("d/1"), StorageContent.FromFile(file), Token).AsTask())).ShouldBe(PutOutcome.Stored);
        byte[] stored = new byte[bytes.Length];
        await _memory.ReadAsync(new StorageKey("d/1"), 0, stored, Token);
        stored.ShouldBe(bytes);
        File.Exists(file).ShouldBeFalse();

        await File.WriteAllBytesAsync(file, bytes, Token);
        FailTimes(3, of: StorageOperation.Put);
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(Make(RetryProfile.Standard).PutAsync(new StorageKey("d/2"), StorageContent.FromFile(file), Token).AsTask()));
        File.Exists(file).ShouldBeFalse();
    }

    [Fact]
    public async Task APutWhoseAnswerWasLostMeetsItselfAndIsDone()
    {
        FaultyBackend faulty = new(_line, _time, new Fault(StorageOperation.Put, "", FaultKind.FailAfter) { Times = 1 });
        IStorageBackend storage = StorageStack.Wrap(faulty, "line", Options(RetryProfile.Standard), _registry, _time);
        (await _time.RunAsync(storage.PutAsync(new StorageKey("s/1"), StorageContent.FromBytes("x"u8.ToArray()), Token).AsTask())).ShouldBe(PutOutcome.Stored);
        (await _time.RunAsync(storage.PutAsync(new StorageKey("s/1"), StorageContent.FromBytes("y"u8.ToArray()), Token).AsTask())).ShouldBe(PutOutcome.AlreadyThere);
    }

    [Fact]
    public async Task AListingThatBreaksAgainAndAgainGivesEachObjectOnce()
    {
        string[] keys = [.. Enumerable.Range(0, 95).Select(static i => $"d/{i:d3}")];
        foreach (string key in keys)
        {
            await _memory.PutAsync(new StorageKey(key), StorageContent.FromBytes(new byte[1]), Token);
        }

        // The first page comes, then it breaks; later the second comes, too; and so on: each time something new was seen.
        int calls = 0, good = 1;
        _line.OnMove = (_, _, _) =>
        {
            if (++calls <= good)
            {
                return ValueTask.CompletedTask;
            }

            calls = 0;
            good++;
            throw new StorageException(ErrorCodes.StorageConnection, "Reset.");
        };
        List<string> seen = [];
        await _time.RunAsync(Task.Run(
            async () =>
            {
                await foreach (StoredObject item in Make(RetryProfile.Standard).ListAsync("d/", Token))
                {
                    seen.Add(item.Key.Value);
                }
            },
            Token));
        seen.ShouldBe(keys, ignoreOrder: true);
        _retries.Count.ShouldBeGreaterThan(8);
    }

    [Fact]
    public async Task WhileTheBreakerIsOpenCallsWaitForTheStorageAndThenHaveAllTheirAttempts()
    {
        _failuresToOpen = 5;
        IStorageBackend storage = Make(RetryProfile.Standard, 0.5);
        FailTimes(int.MaxValue);
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(StatAsync(storage)));
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(StatAsync(storage)));
        _registry.Breakers.ShouldHaveSingleItem().State.ShouldBe(BreakerState.Open);

        // It is back within the minute: eight calls at once all go through, though one of them was the probe.
        FailTimes(0);
        Task<StoredObject?>[] calls = [.. Enumerable.Range(0, 8).Select(_ => StatAsync(storage))];
        await _time.RunAsync(Task.WhenAll(calls));
        _registry.Breakers.ShouldHaveSingleItem().State.ShouldBe(BreakerState.Closed);
    }

    [Fact]
    public async Task WhoseLastAttemptOpenedTheBreakerWaitsForTheStorageAsAllOthersDo()
    {
        _failuresToOpen = 3;
        IStorageBackend storage = Make(RetryProfile.Standard, 0.5);
        FailTimes(3);
        DateTimeOffset began = _time.GetUtcNow();
        (await _time.RunAsync(StatAsync(storage))).ShouldBeNull();
        _failures.ShouldBe(3);
        (_time.GetUtcNow() - began).ShouldBeInRange(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(75));
    }

    [Fact]
    public async Task AStorageThatDoesNotComeBackIsGivenUpInTime()
    {
        _failuresToOpen = 5;
        IStorageBackend storage = Make(RetryProfile.Standard, 0.5);
        FailTimes(int.MaxValue);
        Task<StoredObject?>[] calls = [.. Enumerable.Range(0, 4).Select(_ => StatAsync(storage))];
        DateTimeOffset began = _time.GetUtcNow();
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(Task.WhenAll(calls)));
        foreach (Task<StoredObject?> call in calls)
        {
            (await Should.ThrowAsync<StorageException>(() => call)).Code.ExitCode.ShouldBe(15);
        }

        (_time.GetUtcNow() - began).ShouldBeLessThan(TimeSpan.FromMinutes(5));
        _failures.ShouldBeLessThan(20);
    }

    [Fact]
    public async Task AQuickCallDoesNotWaitForABreaker()
    {
        _failuresToOpen = 5;
        IStorageBackend storage = Make(RetryProfile.Quick, 0.5);
        FailTimes(5);
        await Should.ThrowAsync<StorageException>(() => _time.RunAsync(StatAsync(storage)));
        StorageException failure = await Should.ThrowAsync<StorageException>(() => _time.RunAsync(StatAsync(storage)));
        failure.Code.ShouldBe(ErrorCodes.CircuitBreakerOpen);
    }

    [Fact]
    public async Task ConnectingIsTriedAgainToo()
    {
        int attempts = 0;
        ResilienceOptions options = Options(RetryProfile.Standard);
        Task<IStorageBackend> ConnectAsync(ErrorCode code, int failures) => _time.RunAsync(StorageStack.ConnectAsync(
            _ => ++attempts <= failures ? throw new StorageException(code, "It does not answer.") : Task.FromResult<IStorageBackend>(_line),
            "line",
            options,
            _registry,
            _time,
            Token));

        IStorageBackend storage = await ConnectAsync(ErrorCodes.StorageConnection, 2);
        attempts.ShouldBe(3);
        _retries.Select(static r => r.Operation).ShouldBe([StorageOperation.Connect, StorageOperation.Connect]);
        await StatAsync(storage);
        attempts = 0;
        await Should.ThrowAsync<StorageException>(() => ConnectAsync(ErrorCodes.StorageConnection, 10));
        attempts.ShouldBe(3);
        attempts = 0;
        (await Should.ThrowAsync<StorageException>(() => ConnectAsync(ErrorCodes.StorageAuthentication, 10))).Code.ShouldBe(ErrorCodes.StorageAuthentication);
        attempts.ShouldBe(1);
    }

    [Fact]
    public async Task ACancelledCallStopsWaiting()
    {
        using CancellationTokenSource stop = new();
        FailTimes(int.MaxValue);
        Task<StoredObject?> call = Make(RetryProfile.Patient, 0.9).StatAsync(new StorageKey("d/1"), stop.Token).AsTask();
        await SteppedTime.UntilAsync(() => _retries.Count == 1);
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => call);
    }

    private IStorageBackend Make(RetryProfile profile, double random = 0.5) =>
        StorageStack.Wrap(_line, "line", Options(profile, random), _registry, _time);

    private ResilienceOptions Options(RetryProfile profile, double random = 0.5) => new()
    {
        Retry = profile,
        Random = () => random,
        OnRetry = retry =>
        {
            lock (_retries)
            {
                _retries.Add(retry);
            }
        },
        FailuresToOpen = _failuresToOpen,
    };

    private static Task<StoredObject?> StatAsync(IStorageBackend storage) => storage.StatAsync(new StorageKey("d/1"), CancellationToken.None).AsTask();

    private void FailTimes(int times, ErrorCode? code = null, TimeSpan? retryAfter = null, StorageOperation? of = null)
    {
        _failures = 0;
        _line.OnMove = (operation, _, _) => _failures >= times || (of is not null && operation != of)
            ? ValueTask.CompletedTask
            : throw new StorageException(code ?? ErrorCodes.StorageConnection, $"Failure {++_failures}.") { RetryAfter = retryAfter };
    }
}
