using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class ProgressTimeoutTests : IDisposable
{
    private static readonly StorageKey Key = new("d/1");

    private readonly SteppedTime _time = new();
    private readonly MemoryBackend _memory;
    private readonly LineBackend _line;
    private readonly StorageRegistry _registry;
    private readonly byte[] _bytes = new byte[2 << 20];
    private readonly List<StorageRetry> _retries = [];

    public ProgressTimeoutTests()
    {
        new Random(1).NextBytes(_bytes);
        _memory = new MemoryBackend(_time);
        _line = new LineBackend(_memory, _time);
        _registry = new StorageRegistry(_time);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _registry.Dispose();

    [Fact]
    public async Task APutMayTakeAsLongAsItTakesWhileItsBytesMove()
    {
        _line.BytesPerSecond = 4096;
        DateTimeOffset began = _time.GetUtcNow();
        (await _time.RunAsync(Make().PutAsync(Key, StorageContent.FromBytes(_bytes), Token).AsTask())).ShouldBe(PutOutcome.Stored);
        (_time.GetUtcNow() - began).TotalSeconds.ShouldBeGreaterThan(500);
        _retries.ShouldBeEmpty();
    }

    [Fact]
    public async Task APutThatStandsStillIsGivenUpAndMadeAgain()
    {
        int slices = 0;
        _line.OnMove = async (_, _, token) =>
        {
            if (++slices == 20)
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, _time, token);
            }
        };
        DateTimeOffset began = _time.GetUtcNow();
        (await _time.RunAsync(Make().PutAsync(Key, StorageContent.FromBytes(_bytes), Token).AsTask())).ShouldBe(PutOutcome.Stored);
        (_time.GetUtcNow() - began).TotalSeconds.ShouldBe(30, 1);
        StorageRetry retry = _retries.ShouldHaveSingleItem();
        retry.Cause.Code.ShouldBe(ErrorCodes.StorageTimeout);
        retry.Cause.Message.ShouldContain("'d/1'");
        retry.Cause.Message.ShouldContain("30 s");
    }

    [Fact]
    public async Task ASilentStorageIsATimeOutForEveryOperation()
    {
        _line.OnMove = async (_, _, token) => await Task.Delay(Timeout.InfiniteTimeSpan, _time, token);
        await _memory.PutAsync(Key, StorageContent.FromBytes(_bytes), Token);
        IStorageBackend storage = Make();
        foreach (Func<Task> call in (Func<Task>[])
        [
            () => storage.StatAsync(Key, Token).AsTask(),
            () => storage.DeleteAsync(Key, Token).AsTask(),
            () => storage.ReadAsync(Key, 0, new byte[10], Token).AsTask(),
            () => storage.PutAsync(Key, StorageContent.FromBytes(_bytes), Token).AsTask(),
            async () => await storage.ListAsync("", Token).GetAsyncEnumerator(Token).MoveNextAsync(),
        ])
        {
            (await Should.ThrowAsync<StorageException>(() => _time.RunAsync(call()))).Code.ShouldBe(ErrorCodes.StorageTimeout);
        }
    }

    [Fact]
    public async Task ALongReadOverASlowLineIsMadeInPiecesAndNotTakenForADeadOne()
    {
        // 2 MiB take 9 minutes, and nobody hears of a byte before a read is answered.
        await _memory.PutAsync(Key, StorageContent.FromBytes(_bytes), Token);
        _line.BytesPerSecond = 4096;
        byte[] read = new byte[_bytes.Length + 1];
        (await _time.RunAsync(Make().ReadAsync(Key, 0, read, Token).AsTask())).ShouldBe(_bytes.Length);
        read.AsSpan(0, _bytes.Length).SequenceEqual(_bytes).ShouldBeTrue();
        _retries.Count.ShouldBe(2);
    }

    [Fact]
    public async Task AQuickLineIsReadInLargePieces()
    {
        byte[] large = new byte[40 << 20];
        await _memory.PutAsync(Key, StorageContent.FromBytes(large), Token);
        RecordingBackend recorder = new(_line);
        IStorageBackend storage = StorageStack.Wrap(recorder, "line", new ResilienceOptions(), _registry, _time);
        (await storage.ReadAsync(Key, 0, large, Token)).ShouldBe(large.Length);
        recorder.Calls.Select(static c => c.Length >> 20).ShouldBe([8, 16, 16]);
        recorder.Clear();
        await storage.ReadAsync(Key, 0, large, Token);
        recorder.Calls.Count.ShouldBeLessThanOrEqualTo(2);
    }

    [Fact]
    public async Task AClientLibrarysOwnTimeOutIsNotTakenForACancellation()
    {
        int calls = 0;
        _line.OnMove = (_, _, _) => ++calls == 1 ? throw new TaskCanceledException("The request was canceled due to the configured HttpClient.Timeout.") : ValueTask.CompletedTask;
        await _time.RunAsync(Make().StatAsync(Key, Token).AsTask());
        _retries.ShouldHaveSingleItem().Cause.Code.ShouldBe(ErrorCodes.StorageTimeout);
    }

    private IStorageBackend Make()
    {
        ResilienceOptions options = new()
        {
            LongestSilence = TimeSpan.FromSeconds(30),
            FailuresToOpen = 100,
            Random = static () => 0,
            OnRetry = _retries.Add,
        };
        return StorageStack.Wrap(_line, "line", options, _registry, _time);
    }
}
