using BackupIQ.Repository;
using BackupIQ.Repository.Parity;
using BackupIQ.Tests.Engine;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Parity;

/// <summary>Parity objects of a real repository: made, replaced, removed.</summary>
public sealed class ParityPipelineTests : IAsyncLifetime
{
    private readonly BackedUpFolder _folder = new();
    private BackupRepository _repository = null!;

    public async ValueTask InitializeAsync()
    {
        _folder.WriteRandom("large", 3_000_000, 1);
        _folder.Write("small", "small"u8.ToArray());
        await _folder.BackupAsync();
        _repository = await _folder.RepositoryAsync();
    }

    public ValueTask DisposeAsync() => _folder.DisposeAsync();

    [Fact]
    public async Task EverythingIsCoveredOnceAndThenThereIsNothingToDo()
    {
        string[] before = Objects();

        ParityOutcome outcome = await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));

        string[] covered = [.. before.Where(static name => !name.StartsWith("l/", StringComparison.Ordinal))];
        outcome.Damaged.ShouldBeEmpty();
        outcome.Covered.ShouldBe(covered.Length);
        outcome.BytesWritten.ShouldBe(Parities().Sum(name => new FileInfo(PathOf(name)).Length));
        Parities().Select(static name => name[2..name.LastIndexOf('.')]).ShouldBe(covered, ignoreOrder: true);
        Objects().Where(static name => !name.StartsWith("e/", StringComparison.Ordinal)).ShouldBe(before);
        ParityPlan again = await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None);
        (again.ObjectsToCover, again.ObjectsToRemove).ShouldBe((0, 0));
        ParityStatus status = await ParityPipeline.StatusAsync(_repository, CancellationToken.None);
        status.CoveredObjects.ShouldBe(status.Objects);
        status.LeastPercent.ShouldNotBeNull().ShouldBeGreaterThanOrEqualTo(5);
    }

    [Fact]
    public async Task WhatComesLaterIsAllThatIsAdded()
    {
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));
        string[] before = Objects();
        _folder.WriteRandom("another", 50_000, 2);
        await _folder.BackupAsync();
        int added = Objects().Count(name => !before.Contains(name) && !name.StartsWith("l/", StringComparison.Ordinal));

        ParityPlan plan = await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None);

        (plan.ObjectsToCover, plan.ObjectsToRemove).ShouldBe((added, 0));
    }

    [Fact]
    public async Task AnotherShareReplacesTheFirst()
    {
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));
        long before = Parities().Sum(name => new FileInfo(PathOf(name)).Length);

        ParityOutcome outcome = await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 20, null, CancellationToken.None));

        outcome.Removed.ShouldBeGreaterThan(0);
        Parities().Select(static name => name[..name.LastIndexOf('.')]).ShouldBeUnique();
        Parities().Sum(name => new FileInfo(PathOf(name)).Length).ShouldBeGreaterThan(2 * before);
    }

    [Fact]
    public async Task RemovedParityLeavesTheRepositoryAsItWas()
    {
        string[] before = Objects();
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));

        await ChangeAsync(await ParityPipeline.PlanRemovalAsync(_repository, CancellationToken.None));

        Objects().ShouldBe(before);
    }

    [Fact]
    public async Task DamageGetsNoParityAndIsTold()
    {
        string pack = Objects().First(static name => name.StartsWith("d/", StringComparison.Ordinal));
        string snapshot = Objects().First(static name => name.StartsWith("s/", StringComparison.Ordinal));
        Flip(pack, 1000);
        Flip(snapshot, 100);

        ParityOutcome outcome = await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));

        outcome.Damaged.Select(static finding => finding.ObjectName).ShouldBe([pack, snapshot]);
        Parities().ShouldNotContain(name => name.Contains(pack) || name.Contains(snapshot));
    }

    [Fact]
    public async Task DamagedObjectsKeepTheParityThatTheyHave()
    {
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));
        string pack = Objects().First(static name => name.StartsWith("d/", StringComparison.Ordinal));
        Flip(pack, 1000);

        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 20, null, CancellationToken.None));

        Parities().Count(name => name.StartsWith($"e/{pack}.", StringComparison.Ordinal)).ShouldBe(1);
    }

    [Fact]
    public async Task ParityOfWhatIsGoneIsRemoved()
    {
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));
        string snapshot = Objects().First(static name => name.StartsWith("s/", StringComparison.Ordinal));
        await _repository.Storage.DeleteAsync(new(snapshot), CancellationToken.None);
        (await ParityPipeline.StatusAsync(_repository, CancellationToken.None)).WasteObjects.ShouldBe(1);

        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));

        Parities().ShouldNotContain(name => name.Contains(snapshot));
    }

    [Fact]
    public async Task ATruncatedParityObjectIsMadeAgain()
    {
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));
        string parity = Parities().First(static name => name.StartsWith("e/d/", StringComparison.Ordinal));
        byte[] whole = await File.ReadAllBytesAsync(PathOf(parity));
        await File.WriteAllBytesAsync(PathOf(parity), whole[..^1000]);

        ParityOutcome outcome = await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));

        outcome.Covered.ShouldBe(1);
        (await File.ReadAllBytesAsync(PathOf(parity))).ShouldBe(whole);
    }

    [Fact]
    public async Task DamagedParityIsFoundAndMadeAgain()
    {
        await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, null, CancellationToken.None));
        string parity = Parities().First(static name => name.StartsWith("e/d/", StringComparison.Ordinal));
        byte[] whole = await File.ReadAllBytesAsync(PathOf(parity));
        foreach (int at in (int[])[0, whole.Length / 2, whole.Length - 1])
        {
            Flip(parity, at);
            var damaged = await new ParityPipeline(_repository, new ParityProgress(), workers: 2).FindDamagedAsync(CancellationToken.None);
            damaged.ShouldHaveSingleItem().Value.ShouldBe(parity);

            await ChangeAsync(await ParityPipeline.PlanAsync(_repository, 5, damaged, CancellationToken.None));

            (await File.ReadAllBytesAsync(PathOf(parity))).ShouldBe(whole);
        }

        (await new ParityPipeline(_repository, new ParityProgress(), workers: 2).FindDamagedAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    private string PathOf(string name) => Path.Combine(_folder.RepositoryPath, name);

    private void Flip(string name, int at)
    {
        byte[] bytes = File.ReadAllBytes(PathOf(name));
        bytes[at] ^= 1;
        File.WriteAllBytes(PathOf(name), bytes);
    }

    private string[] Objects() => [.. Directory.EnumerateFiles(_folder.RepositoryPath, "*", SearchOption.AllDirectories)
        .Select(path => Path.GetRelativePath(_folder.RepositoryPath, path))
        .Where(static name => !name.StartsWith("tmp/", StringComparison.Ordinal))
        .Order(StringComparer.Ordinal)];

    private string[] Parities() => [.. Objects().Where(static name => name.StartsWith("e/", StringComparison.Ordinal))];

    private Task<ParityOutcome> ChangeAsync(ParityPlan plan) =>
        new ParityPipeline(_repository, new ParityProgress(), workers: 2).RunAsync(plan, CancellationToken.None);
}
