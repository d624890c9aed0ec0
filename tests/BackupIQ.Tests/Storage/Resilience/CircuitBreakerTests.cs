using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class CircuitBreakerTests
{
    private static readonly StorageException Away = new(ErrorCodes.StorageConnection, "The storage is away.");

    private readonly SteppedTime _time = new();
    private readonly List<BreakerState> _told = [];
    private readonly CircuitBreaker _breaker;

    public CircuitBreakerTests() => _breaker = new CircuitBreaker("s3 example.org", new ResilienceOptions { OnBreaker = change => _told.Add(change.State) }, _time);

    [Fact]
    public void TheFifthFailureInARowOpensIt()
    {
        Fail(4);
        _breaker.Succeed(_breaker.Enter());
        Fail(4);
        _breaker.State.ShouldBe(BreakerState.Closed);
        Fail(1);
        _breaker.State.ShouldBe(BreakerState.Open);
        _told.ShouldBe([BreakerState.Open]);
        _breaker.Statistics.ShouldBe(new BreakerStatistics("s3 example.org", BreakerState.Open, 5, 1, 9, 0, 1, _time.GetUtcNow(), "The storage is away."));
    }

    [Fact]
    public void OpenItRefusesForAMinuteAndSaysForHowLongStill()
    {
        Fail(5);
        _time.Advance(TimeSpan.FromSeconds(20));
        StorageException refusal = Should.Throw<StorageException>(() => _breaker.Enter());
        refusal.Code.ShouldBe(ErrorCodes.CircuitBreakerOpen);
        refusal.IsTransient.ShouldBeTrue();
        refusal.HttpStatus.ShouldBe(503);
        refusal.RetryAfter.ShouldBe(TimeSpan.FromSeconds(40));
        refusal.Message.ShouldContain("s3 example.org");
        refusal.Message.ShouldContain("The storage is away");
        _time.Advance(TimeSpan.FromSeconds(39));
        Should.Throw<StorageException>(() => _breaker.Enter());
        _breaker.Statistics.Refusals.ShouldBe(2);
        _time.Advance(TimeSpan.FromSeconds(1));
        _breaker.State.ShouldBe(BreakerState.HalfOpen);
    }

    [Fact]
    public void AfterAMinuteOneProbeIsLetThroughAndItsSuccessCloses()
    {
        Fail(5);
        _time.Advance(TimeSpan.FromSeconds(60));
        BreakerPass probe = _breaker.Enter();
        Should.Throw<StorageException>(() => _breaker.Enter()).RetryAfter.ShouldBe(TimeSpan.FromSeconds(1));
        _breaker.State.ShouldBe(BreakerState.HalfOpen);
        _breaker.Succeed(probe);
        _breaker.State.ShouldBe(BreakerState.Closed);
        _told.ShouldBe([BreakerState.Open, BreakerState.HalfOpen, BreakerState.Closed]);

        // It counts anew.
        Fail(4);
        _breaker.State.ShouldBe(BreakerState.Closed);
    }

    [Fact]
    public void AFailedProbeOpensItForAnotherMinute()
    {
        Fail(5);
        _time.Advance(TimeSpan.FromSeconds(90));
        _breaker.Fail(_breaker.Enter(), Away);
        _breaker.State.ShouldBe(BreakerState.Open);
        _breaker.Statistics.TimesOpened.ShouldBe(2);
        _time.Advance(TimeSpan.FromSeconds(59));
        Should.Throw<StorageException>(() => _breaker.Enter());
        _time.Advance(TimeSpan.FromSeconds(1));
        _breaker.Succeed(_breaker.Enter());
        _breaker.State.ShouldBe(BreakerState.Closed);
        _told.ShouldBe([BreakerState.Open, BreakerState.HalfOpen, BreakerState.Open, BreakerState.HalfOpen, BreakerState.Closed]);
    }

    [Fact]
    public void AProbeThatWasCancelledLeavesTheNextOneToProbe()
    {
        Fail(5);
        _time.Advance(TimeSpan.FromSeconds(60));
        _breaker.Abandon(_breaker.Enter());
        _breaker.State.ShouldBe(BreakerState.HalfOpen);
        _breaker.Succeed(_breaker.Enter());
        _breaker.State.ShouldBe(BreakerState.Closed);
    }

    [Fact]
    public void AnswersToRequestsFromBeforeItOpenedChangeNothing()
    {
        BreakerPass early = _breaker.Enter();
        BreakerPass another = _breaker.Enter();
        Fail(5);
        _breaker.Succeed(early);
        _breaker.State.ShouldBe(BreakerState.Open);
        _time.Advance(TimeSpan.FromSeconds(60));
        BreakerPass probe = _breaker.Enter();
        _breaker.Fail(another, Away);
        _breaker.State.ShouldBe(BreakerState.HalfOpen);
        Should.Throw<StorageException>(() => _breaker.Enter());
        _breaker.Succeed(probe);
        _breaker.State.ShouldBe(BreakerState.Closed);
    }

    [Fact]
    public async Task OnlyTransientFailuresCountAndAnswersOfRefusalDoNot()
    {
        LineBackend line = new(new MemoryBackend(_time), _time);
        await using BreakerBackend storage = new(line, _breaker);
        ErrorCode code = ErrorCodes.StorageAuthentication;
        line.OnMove = (_, _, _) => throw new StorageException(code, "No.");
        for (int i = 0; i < 10; i++)
        {
            await Should.ThrowAsync<StorageException>(async () => await storage.StatAsync(new StorageKey("x"), CancellationToken.None));
            await Should.ThrowAsync<StorageException>(async () => await storage.ReadAsync(new StorageKey("x"), 0, new byte[1], CancellationToken.None));
            await Should.ThrowAsync<OperationCanceledException>(async () => await storage.StatAsync(new StorageKey("x"), new CancellationToken(true)));
        }

        _breaker.State.ShouldBe(BreakerState.Closed);
        code = ErrorCodes.StorageTimeout;
        for (int i = 0; i < 5; i++)
        {
            await Should.ThrowAsync<StorageException>(async () => await storage.StatAsync(new StorageKey("x"), CancellationToken.None));
        }

        _breaker.State.ShouldBe(BreakerState.Open);
        (await Should.ThrowAsync<StorageException>(async () => await storage.StatAsync(new StorageKey("x"), CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.CircuitBreakerOpen);
    }

    private void Fail(int times)
    {
        for (int i = 0; i < times; i++)
        {
            _breaker.Fail(_breaker.Enter(), Away);
        }
    }
}
