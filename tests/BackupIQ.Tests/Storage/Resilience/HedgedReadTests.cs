using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class HedgedReadTests : IDisposable
{
    private static readonly StorageKey Key = new("d/1");

    private readonly SteppedTime _time = new();
    private readonly LineBackend _line;
    private readonly StorageRegistry _registry;
    private readonly byte[] _bytes = new byte[10_000];
    private Func<int, TimeSpan> _latency = static _ => TimeSpan.FromMilliseconds(10);
    private int _reads;
    private int _cancelled;

    public HedgedReadTests()
    {
        new Random(1).NextBytes(_bytes);
        MemoryBackend memory = new(_time);
        _ = memory.PutAsync(Key, StorageContent.FromBytes(_bytes), CancellationToken.None).AsTask();
        _registry = new StorageRegistry(_time);
        _line = new LineBackend(memory, _time)
        {
            OnMove = async (_, _, token) =>
            {
                try
                {
                    await Task.Delay(_latency(Interlocked.Increment(ref _reads)), _time, token);
                }
                catch (OperationCanceledException)
                {
                    Interlocked.Increment(ref _cancelled);
                    throw;
                }
            },
        };
    }

    public void Dispose() => _registry.Dispose();

    [Fact]
    public async Task ALateAnswerIsOvertakenByASecondRequestWhichCancelsTheFirst()
    {
        IStorageBackend storage = Make();
        await ReadTimesAsync(storage, 40);
        _latency = _ => _reads == 41 ? TimeSpan.FromSeconds(30) : TimeSpan.FromMilliseconds(10);
        DateTimeOffset began = _time.GetUtcNow();
        await ReadTimesAsync(storage, 1);

        // The p95 of the first and a tenth, and then a second of the usual length.
        (_time.GetUtcNow() - began).TotalMilliseconds.ShouldBe(21, 1);
        _reads.ShouldBe(42);
        await SteppedTime.UntilAsync(() => _cancelled == 1);
        StorageHealthReport report = _registry.Report().ShouldHaveSingleItem();
        (report.Hedges, report.HedgesWon).ShouldBe((1, 1));
        await SteppedTime.UntilAsync(() => _registry.Report()[0].InFlight == 0);
    }

    [Fact]
    public async Task AFirstAnswerThatComesAfterAllIsTaken()
    {
        IStorageBackend storage = Make();
        await ReadTimesAsync(storage, 40);
        _latency = number => number == 41 ? TimeSpan.FromMilliseconds(15) : TimeSpan.FromSeconds(30);
        DateTimeOffset began = _time.GetUtcNow();
        await ReadTimesAsync(storage, 1);
        (_time.GetUtcNow() - began).TotalMilliseconds.ShouldBe(15, 1);
        StorageHealthReport report = _registry.Report().ShouldHaveSingleItem();
        (report.Hedges, report.HedgesWon).ShouldBe((1, 0));
    }

    [Fact]
    public async Task WhenOneOfTheTwoFailsTheOtherIsWaitedFor()
    {
        IStorageBackend storage = Make();
        await ReadTimesAsync(storage, 40);
        _latency = number => number switch
        {
            41 => TimeSpan.FromMilliseconds(40),
            42 => throw new StorageException(ErrorCodes.StorageConnection, "Reset."),
            _ => TimeSpan.FromMilliseconds(10),
        };
        await ReadTimesAsync(storage, 1);
        _reads.ShouldBe(42);
        _registry.Report().ShouldHaveSingleItem().Retries.ShouldBe(0);
    }

    [Fact]
    public async Task AStorageThatBecomesSlowAsAWholeIsNotAskedTwiceForEverything()
    {
        IStorageBackend storage = Make();
        await ReadTimesAsync(storage, 100);
        int before = _reads;
        _latency = static number => TimeSpan.FromMilliseconds(number % 3 == 0 ? 100 : 50);
        await ReadTimesAsync(storage, 200);

        // A twentieth of the two hundred, and what was saved before.
        (_reads - before - 200).ShouldBeInRange(1, 10 + 5);
    }

    [Fact]
    public async Task NoneIsMadeBeforeTheUsualTimeIsKnownNorWhereNoneIsWanted()
    {
        _latency = static number => TimeSpan.FromMilliseconds(number % 10 == 0 ? 1000 : 10);
        await ReadTimesAsync(Make(), 19);
        _reads.ShouldBe(19);
        await ReadTimesAsync(Make(share: 0), 200);
        _reads.ShouldBe(219);
    }

    private IStorageBackend Make(double share = 0.05) =>
        StorageStack.Wrap(_line, "line", new ResilienceOptions { HedgedShare = share }, _registry, _time);

    private async Task ReadTimesAsync(IStorageBackend storage, int times)
    {
        for (int i = 0; i < times; i++)
        {
            byte[] read = new byte[1000];
            (await _time.RunAsync(storage.ReadAsync(Key, 5000, read, CancellationToken.None).AsTask())).ShouldBe(1000);
            read.AsSpan().SequenceEqual(_bytes.AsSpan(5000, 1000)).ShouldBeTrue();
        }
    }
}
