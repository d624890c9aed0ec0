using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Maintenance;

/// <summary>Prunes of real repositories on disk: what goes, what stays, what is rewritten, and what stops a prune.</summary>
public sealed class PruneTests : IAsyncLifetime
{
    private RealRepository _repository = null!;
    private FaultyBackend _storage = null!;

    private ScratchFolder Scratch => _repository.Scratch;

    private string Source => Scratch.At("source");

    public async ValueTask InitializeAsync() =>
        _repository = await RealRepository.CreateAsync(inner => _storage = new FaultyBackend(inner, TimeProvider.System));

    public ValueTask DisposeAsync() => _repository.DisposeAsync();

    [Fact]
    public async Task WhatIsKeptStaysAsItIs()
    {
        WriteFiles(12, seed: 1);
        Snapshot snapshot = await BackupAsync();
        string[] before = Packs();
        PruneResult result = await PruneAsync();
        result.PacksDeleted.ShouldBe(0);
        result.Plan.UnusedBefore.ShouldBe(0);
        Packs().ShouldBe(before);
        _repository.Objects("g/").ShouldBeEmpty();
        await ShouldRestoreAsync(snapshot);
    }

    [Fact]
    public async Task WhatNoSnapshotNeedsGoesAndTheRestRestores()
    {
        WriteFiles(12, seed: 1);
        Snapshot first = await BackupAsync();
        string[] old = Packs();
        WriteFiles(12, seed: 2);
        Snapshot second = await BackupAsync();
        Forget(first);
        PruneResult result = await PruneAsync();
        result.PacksDeleted.ShouldBe(old.Length);
        result.PacksRewritten.ShouldBe(0);
        old.ShouldAllBe(static pack => !File.Exists(pack));
        await ShouldRestoreAsync(second);
        await ShouldBeCleanAsync();
        _repository.Objects("g/").ShouldBeEmpty("with nobody else there marks become tombstones at once");
    }

    [Fact]
    public async Task OfAPackThatIsUsedInPartOnlyWhatIsNeededIsKept()
    {
        WriteFiles(20, seed: 1);
        Snapshot first = await BackupAsync();
        for (int i = 0; i < 14; i++)
        {
            File.Delete(Scratch.At("source", $"file {i}"));
        }

        Snapshot second = await BackupAsync();
        Forget(first);
        long before = Bytes(Packs());
        PruneResult result = await PruneAsync();
        result.PacksRewritten.ShouldBeGreaterThan(0);
        Bytes(Packs()).ShouldBeLessThan(before / 2);
        await ShouldRestoreAsync(second);
        await ShouldBeCleanAsync();
        PruneResult again = await PruneAsync();
        again.PacksDeleted.ShouldBe(0);
        again.Plan.UnusedBefore.ShouldBeLessThanOrEqualTo(again.Plan.UnusedAllowed);
    }

    [Theory]
    [InlineData(0.0, 0L)]
    [InlineData(0.2, 150_000L)]
    public async Task SoMuchMayStayUnusedAndNoMore(double share, long slack)
    {
        WriteFiles(40, seed: 3, size: 30_000);
        Snapshot first = await BackupAsync();
        for (int i = 0; i < 40; i += 3)
        {
            File.Delete(Scratch.At("source", $"file {i}"));
        }

        Snapshot second = await BackupAsync();
        Forget(first);
        await PruneAsync(new PruneLimits { MaxUnusedShare = share });
        PruneResult after = await PruneAsync(new PruneLimits { MaxUnusedShare = null }, dryRun: true);
        after.Plan.UnusedBefore.ShouldBeLessThanOrEqualTo((long)(after.Plan.BytesUsed * share) + slack);
        await ShouldRestoreAsync(second);
        await ShouldBeCleanAsync();
    }

    [Fact]
    public async Task UnlimitedRewritesNothing()
    {
        WriteFiles(20, seed: 1);
        Snapshot first = await BackupAsync();
        File.Delete(Scratch.At("source", "file 3"));
        await BackupAsync();
        Forget(first);
        PruneResult result = await PruneAsync(new PruneLimits { MaxUnusedShare = null });
        result.Plan.PacksRewritten.ShouldBe(0);
        result.Plan.UnusedAfter.ShouldBeGreaterThan(0);
    }

    [Fact]
    public async Task NoMorePacksAreRewrittenThanAllowed()
    {
        WriteFiles(20, seed: 1);
        Snapshot first = await BackupAsync();
        for (int i = 0; i < 14; i++)
        {
            File.Delete(Scratch.At("source", $"file {i}"));
        }

        await BackupAsync();
        Forget(first);
        PruneResult result = await PruneAsync(new PruneLimits { MaxRepackBytes = 1000 });
        result.Plan.Packs.Where(static p => p.Fate != PackFate.Delete).Sum(static p => p.Size).ShouldBeLessThanOrEqualTo(1000);
    }

    [Fact]
    public async Task ADryRunMakesThePlanAndChangesNothing()
    {
        WriteFiles(12, seed: 1);
        Snapshot first = await BackupAsync();
        Forget(first);
        string[] before = _repository.Objects();
        PruneResult result = await PruneAsync(dryRun: true);
        result.Plan.PacksDeleted.ShouldBe(Packs().Length);
        result.PacksDeleted.ShouldBe(0);
        _repository.Objects().ShouldBe(before);
    }

    private void WriteFiles(int count, int seed, int size = 200_000)
    {
        for (int i = 0; i < count; i++)
        {
            Scratch.WriteRandom($"source/file {i}", size, (seed * 1000) + i);
        }
    }

    private async Task<Snapshot> BackupAsync(string host = "here") =>
        (await _repository.BackupAsync(Source, new BackupOptions { Hostname = host, Type = SnapshotType.Full })).Snapshot!;

    private void Forget(Snapshot snapshot) => File.Delete(_repository.Objects($"s/{snapshot.Id}").ShouldHaveSingleItem());

    private Task<PruneResult> PruneAsync(PruneLimits? limits = null, bool dryRun = false, bool exclusive = false, TimeProvider? time = null) =>
        new PruneRunner(_repository.Repository, time ?? TimeProvider.System).RunAsync(
            new PruneOptions
            {
                Collector = new CollectorOptions { Hostname = "here", PollInterval = TimeSpan.FromMilliseconds(20) },
                Limits = limits ?? new PruneLimits(),
                DryRun = dryRun,
                Exclusive = exclusive,
            },
            new PruneProgress(),
            CancellationToken.None);

    private string[] Packs() => [.. _repository.Objects("d/"), .. _repository.Objects("m/")];

    private static long Bytes(string[] files) => files.Sum(static f => new FileInfo(f).Length);

    private async Task ShouldRestoreAsync(Snapshot snapshot)
    {
        string target = Scratch.At($"target {Guid.NewGuid():n}");
        (await _repository.RestoreAsync(snapshot, target)).ExitCode.ShouldBe(0);
        ScratchFolder.Run("diff", "-r", Source, target + Source).ShouldBeEmpty();
    }

    private async Task ShouldBeCleanAsync()
    {
        CheckResult check = await _repository.CheckAsync(readData: true);
        check.Findings.Where(static f => f.IsError).Select(static f => f.Damage.ToString()).ShouldBeEmpty();
    }
}
