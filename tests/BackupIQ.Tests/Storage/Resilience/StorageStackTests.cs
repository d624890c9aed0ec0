using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

/// <summary>The whole stack keeps every guarantee of the storage behind it.</summary>
public sealed class StorageStackOverMemoryTests : StorageConformance
{
    private readonly MemoryBackend _memory = new(TimeProvider.System);
    private readonly StorageRegistry _registry = new(TimeProvider.System);

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        _registry.Dispose();
    }

    protected override ValueTask<IStorageBackend> ConnectAsync()
    {
        ResilienceOptions options = new() { Connections = 64, Upload = 1L << 40, Download = 1L << 40, RequestsPerSecond = 1_000_000 };
        return ValueTask.FromResult(StorageStack.Wrap(new LineBackend(_memory, TimeProvider.System), "memory", options, _registry, TimeProvider.System));
    }
}

public sealed class StorageStackOverLocalTests : StorageConformance
{
    private readonly ScratchFolder _scratch = new();
    private readonly StorageRegistry _registry = new(TimeProvider.System);

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        _registry.Dispose();
        _scratch.Dispose();
    }

    protected override ValueTask<IStorageBackend> ConnectAsync()
    {
        LocalBackend local = LocalBackend.Create(Path.Combine(_scratch.Path, "storage"), new LocalOptions(), TimeProvider.System);
        return ValueTask.FromResult(StorageStack.Wrap(new MountBackend(local), "mount", new ResilienceOptions(), _registry, TimeProvider.System));
    }

    /// <summary>Remote, with a spool: as a mount of the network is.</summary>
    private sealed class MountBackend(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public override StorageCapabilities Capabilities => base.Capabilities with { IsLocal = false, HasStoreClock = true };
    }
}

/// <summary>Random scripts of faults: every run ends right or with a clear error, and nothing acknowledged is lost.</summary>
public sealed class StorageStackFaultTests : IDisposable
{
    private const int Scripts = 1000;

    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task UnderAThousandRandomScriptsNothingAcknowledgedIsLostAndErrorsAreClear()
    {
        ConcurrentBag<RunResult> results = [];
        await Parallel.ForAsync(0, Scripts, new ParallelOptions { MaxDegreeOfParallelism = 48 }, async (seed, _) => results.Add(await RunAsync(seed)));
        results.Count.ShouldBe(Scripts);

        // The scripts do bring about what they are for.
        results.Sum(static r => r.Retries).ShouldBeGreaterThan(Scripts);
        results.Sum(static r => r.Failures).ShouldBeGreaterThan(Scripts / 10);
        results.Sum(static r => r.Acknowledged).ShouldBeGreaterThan(Scripts * 5);
        results.Count(static r => r.HasOpened).ShouldBeGreaterThan(Scripts / 50);
        Directory.EnumerateFiles(_scratch.Path).ShouldBeEmpty("files given as content are taken care of");
    }

    private async Task<RunResult> RunAsync(int seed)
    {
        Random random = new(seed);
        SteppedTime time = new();
        MemoryBackend memory = new(time);
        Fault[] script = [.. Enumerable.Range(0, random.Next(1, 9)).Select(_ => RandomFault(random))];
        FaultyBackend faulty = new(new LineBackend(memory, time), time, script);
        using StorageRegistry registry = new(time);
        ResilienceOptions options = new()
        {
            Retry = RetryProfile.All[random.Next(RetryProfile.All.Count)],
            Connections = random.Next(1, 9),
            LongestSilence = TimeSpan.FromSeconds(30),
            Upload = random.Next(3) == 0 ? 100_000 : 0,
            Download = random.Next(3) == 0 ? 100_000 : 0,
            RequestsPerSecond = random.Next(3) == 0 ? 20 : 0,
        };
        IStorageBackend storage = StorageStack.Wrap(faulty, $"{seed}", options, registry, time);
        FaultRun run = new(storage, _scratch.Path, seed);
        await time.RunAsync(Task.WhenAll(Enumerable.Range(0, 3).Select(worker => Task.Run(() => run.WorkAsync(worker, 8)))));
        await storage.DisposeAsync();
        await run.CheckAsync(memory);
        StorageHealthReport report = registry.Report().ShouldHaveSingleItem();
        report.InFlight.ShouldBe(0, $"seed {seed}");
        report.Waiting.ShouldBe(0, $"seed {seed}");
        return new RunResult(report.Retries, run.Failures, run.Acknowledged, report.Breaker.TimesOpened > 0);
    }

    private static Fault RandomFault(Random random)
    {
        StorageOperation operation = (StorageOperation)random.Next(5);
        FaultKind kind = random.Next(6) switch
        {
            0 => FaultKind.Delay,
            1 or 2 => FaultKind.FailAfter,
            3 when operation == StorageOperation.Read => FaultKind.BreakRead,
            _ => FaultKind.FailBefore,
        };
        return new Fault(operation, "", kind)
        {
            Skip = random.Next(6),
            Times = random.Next(8) == 0 ? 40 : random.Next(1, 5),
            Delay = TimeSpan.FromSeconds(random.Next(2) == 0 ? 3 : 100),
            Code = random.Next(8) switch
            {
                0 => ErrorCodes.Storage,
                1 => ErrorCodes.StorageAuthentication,
                2 or 3 => ErrorCodes.StorageTimeout,
                _ => ErrorCodes.StorageConnection,
            },
        };
    }

    private sealed record RunResult(long Retries, int Failures, int Acknowledged, bool HasOpened);
}
