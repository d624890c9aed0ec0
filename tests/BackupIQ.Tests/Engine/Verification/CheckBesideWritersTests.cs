using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Verification;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Verification;

/// <summary>A check may run beside backups and must not take for damage what is only being written.</summary>
public sealed class CheckBesideWritersTests
{
    [Fact]
    public async Task AHealthyRepositoryIsNeverAccusedWhileOthersWriteIntoIt()
    {
        await using RealRepository repository = await RealRepository.CreateAsync();
        string[] sources = [.. Enumerable.Range(0, 2).Select(i => repository.Scratch.At($"source {i}"))];
        Task[] writers = [.. sources.Select((source, i) => Task.Run(async () =>
        {
            await using RealRepository own = await repository.ReopenAsync();
            BackupOptions options = new() { Hostname = $"host {i}", MemoryBudget = 32 << 20, CheckpointInterval = TimeSpan.FromMilliseconds(50) };
            for (int run = 0; run < 8; run++)
            {
                repository.Scratch.WriteRandom($"source {i}/file {run}", 3_000_000, seed: (100 * i) + run);
                await own.BackupAsync(source, options);
            }
        }))];

        int checks = 0;
        do
        {
            await using RealRepository reader = await repository.ReopenAsync();
            CheckResult result = await reader.CheckAsync(readData: checks % 2 == 0);
            result.Findings.ShouldBeEmpty();
            checks++;
        }
        while (!writers.All(static writer => writer.IsCompleted));

        await Task.WhenAll(writers);
        checks.ShouldBeGreaterThan(2);
        (await repository.CheckAsync(readData: true)).SnapshotsChecked.ShouldBe(16);
    }
}
