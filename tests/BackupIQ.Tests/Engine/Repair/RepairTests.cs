using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Repair;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Maintenance.Repair;
using BackupIQ.Repository.Sessions;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Repair;

/// <summary>Repairs of real repositories on disk that have lost something for good: nothing else goes, and backups heal what they can.</summary>
public sealed class RepairTests : IAsyncLifetime
{
    private RealRepository _repository = null!;

    private ScratchFolder Scratch => _repository.Scratch;

    private string Source => Scratch.At("source");

    public async ValueTask InitializeAsync() => _repository = await RealRepository.CreateAsync();

    public ValueTask DisposeAsync() => _repository.DisposeAsync();

    [Fact]
    public async Task WhatCanBeReadOfADamagedPackIsMovedAndTheNextBackupHealsTheRest()
    {
        WriteFiles(8);
        Snapshot snapshot = await BackupAsync();
        string pack = _repository.Objects("d/").ShouldHaveSingleItem();
        Overwrite(pack, 0.4, 100_000);

        RepairResult result = await RepairPacksAsync();

        MendedObject item = result.Objects.ShouldHaveSingleItem();
        item.Mending.Means.ShouldBe(MendingMeans.Moved);
        _repository.Objects("d/").Length.ShouldBe(2, "the damaged pack stays beside the new one");
        _repository.Objects("g/").ShouldHaveSingleItem();
        CheckResult damaged = await _repository.CheckAsync(readData: true);
        damaged.DamagedFiles.ShouldBeInRange(1, 2);
        (await RestoredEqualAsync(snapshot)).ShouldBeFalse();

        // The same files are still there: they are stored again, and then the old snapshot is whole as well.
        await BackupAsync();

        (await ErrorsAsync()).ShouldBeEmpty();
        (await RestoredEqualAsync(snapshot)).ShouldBeTrue();
        await PruneAsync();
        File.Exists(pack).ShouldBeFalse("nothing needs the damaged pack any more");
        (await RestoredEqualAsync(snapshot)).ShouldBeTrue();
        (await ErrorsAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task ASecondRepairMovesNothingAgain()
    {
        WriteFiles(8);
        await BackupAsync();
        Overwrite(_repository.Objects("d/")[0], 0.4, 100_000);
        await RepairPacksAsync();
        string[] before = _repository.Objects("d/");

        await RepairPacksAsync();

        _repository.Objects("d/").ShouldBe(before);
    }

    [Fact]
    public async Task APackThatIsGoneIsMarkedSoThatTheNextBackupHeals()
    {
        WriteFiles(4);
        Snapshot snapshot = await BackupAsync();
        File.Delete(_repository.Objects("d/").ShouldHaveSingleItem());

        (await RepairPacksAsync()).Objects.ShouldHaveSingleItem().Mending.Means.ShouldBe(MendingMeans.Moved);
        await BackupAsync();

        (await RestoredEqualAsync(snapshot)).ShouldBeTrue();
        (await ErrorsAsync()).ShouldBeEmpty();
    }

    [Fact]
    public async Task ALostIndexComesBackFromThePacks()
    {
        WriteFiles(8);
        Snapshot snapshot = await BackupAsync();
        Directory.Delete(Path.Combine(_repository.Folder, "i"), recursive: true);

        RepairResult trial = await RepairIndexAsync(isTrial: true);
        _repository.Objects("i/").ShouldBeEmpty();
        RepairResult result = await RepairIndexAsync();

        result.PacksAdopted.ShouldBe(_repository.Objects("d/").Length + _repository.Objects("m/").Length);
        trial.PacksAdopted.ShouldBe(result.PacksAdopted);
        (await ErrorsAsync()).ShouldBeEmpty();
        (await _repository.BackupAsync(Source, new BackupOptions { Hostname = "here", Type = SnapshotType.Full })).Summary.DataBlobs.ShouldBe(0);
        (await RestoredEqualAsync(snapshot)).ShouldBeTrue();
        (await RepairIndexAsync()).PacksAdopted.ShouldBe(0);
    }

    [Fact]
    public async Task ADamagedSegmentIsReplacedAndPruneGoesOn()
    {
        WriteFiles(3);
        await BackupAsync();
        WriteFiles(8);
        Snapshot snapshot = await BackupAsync();
        string segment = _repository.Objects("i/")[0];
        Overwrite(segment, 0.5, 40);
        await Should.ThrowAsync<CorruptDataException>(PruneAsync);

        RepairResult result = await RepairIndexAsync();

        result.Objects.ShouldHaveSingleItem().Mending.Means.ShouldBe(MendingMeans.Structure);
        File.Exists(segment).ShouldBeFalse();
        (await ErrorsAsync()).ShouldBeEmpty();
        await PruneAsync();
        (await RestoredEqualAsync(snapshot)).ShouldBeTrue();
    }

    [Fact]
    public async Task SegmentsThatNobodyVouchesForAreVouchedForAgain()
    {
        WriteFiles(4);
        await BackupAsync();
        Directory.Delete(Path.Combine(_repository.Folder, "l"), recursive: true);

        (await RepairIndexAsync()).PacksAdopted.ShouldBeGreaterThan(0);

        (await _repository.BackupAsync(Source, new BackupOptions { Hostname = "here", Type = SnapshotType.Full })).Summary.DataBlobs.ShouldBe(0);
    }

    [Fact]
    public async Task ASegmentStaysWhileAPackIsThereOfWhichNothingElseTells()
    {
        WriteFiles(4);
        await BackupAsync();
        foreach (string segment in _repository.Objects("i/"))
        {
            Overwrite(segment, 0.5, 40);
        }

        string pack = _repository.Objects("d/").ShouldHaveSingleItem();
        Overwrite(pack, 0.999, (int)(new FileInfo(pack).Length / 1000));
        string[] segments = _repository.Objects("i/");

        RepairResult result = await RepairIndexAsync();

        result.Objects.Count(static item => item.Mending.Means == MendingMeans.None).ShouldBe(segments.Length + 1);
        segments.ShouldAllBe(static segment => File.Exists(segment));
    }

    [Fact]
    public async Task TheIndexIsNotRepairedUnderAPrune()
    {
        WriteFiles(2);
        await BackupAsync();
        Overwrite(_repository.Objects("i/")[0], 0.5, 40);
        CollectorOptions options = new() { Hostname = "here" };
        await using Collector prune = await Collector.OpenAsync(_repository.Repository, options, isDryRun: false, TimeProvider.System, CancellationToken.None);

        BackupIQException refusal = await Should.ThrowAsync<BackupIQException>(() => RepairIndexAsync());

        refusal.Code.ShouldBe(ErrorCodes.RepositoryBusy);
        await prune.EndAsync(CancellationToken.None);
        (await RepairIndexAsync()).Objects.ShouldHaveSingleItem().Mending.Means.ShouldBe(MendingMeans.Structure);
    }

    [Fact]
    public async Task ASnapshotWithLostFilesGetsOneBesideItWithTheRest()
    {
        for (int i = 0; i < 8; i++)
        {
            Scratch.WriteRandom($"source/folder {i}/file", 600_000, i);
            Scratch.WriteRandom($"source/folder {i}/small", 100, 50 + i);
        }

        Snapshot snapshot = await BackupAsync();
        Overwrite(_repository.Objects("d/").ShouldHaveSingleItem(), 0.4, 40);

        RepairResult trial = await RepairSnapshotsAsync(isTrial: true);
        (await _repository.ListAsync()).Count.ShouldBe(1);
        RepairedSnapshot repaired = (await RepairSnapshotsAsync()).Snapshots.ShouldHaveSingleItem();

        string lost = PathText.Show(repaired.Lost.ShouldHaveSingleItem());
        lost.ShouldEndWith("/file");
        trial.Snapshots.ShouldHaveSingleItem().Lost.Select(static path => PathText.Show(path)).ShouldBe([lost]);
        Snapshot beside = (await _repository.ListAsync()).Last();
        (beside.RepairedFrom, beside.LostCount, beside.Time).ShouldBe((snapshot.Id.ToString(), 1, snapshot.Time.AddTicks(1)));
        beside.Lost.ShouldBe([lost]);
        string target = Scratch.At("target");
        (await _repository.RestoreAsync(beside, target)).ExitCode.ShouldBe(0);
        File.Delete(lost);
        ScratchFolder.Run("diff", "-r", Source, target + Source).ShouldBeEmpty();
        (await RepairSnapshotsAsync()).Snapshots.ShouldBeEmpty("it is repaired already");
        (await ErrorsAsync()).Count.ShouldBe(1, "the damaged snapshot stays, and its damage is told");
    }

    [Fact]
    public async Task ALostFolderIsNamedAndItsNeighboursStay()
    {
        for (int i = 0; i < 3; i++)
        {
            Scratch.WriteRandom($"source/folder {i}/file", 100, i);
        }

        Snapshot snapshot = await BackupAsync();
        await using (SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository))
        {
            // A directory whose tree is in no pack, beside one that is whole.
            ChunkId missing = ChunkId.Read(Enumerable.Repeat((byte)7, 32).ToArray());
            await forge.CommitAsync(forge.Tree(SnapshotForge.Folder("gone"u8, missing), SnapshotForge.Folder("there"u8, snapshot.TreeId)));
        }

        RepairedSnapshot repaired = (await RepairSnapshotsAsync()).Snapshots.ShouldHaveSingleItem();

        repaired.Lost.Select(static path => PathText.Show(path)).ShouldBe(["/gone/"]);
        string target = Scratch.At("target");
        (await _repository.RestoreAsync(repaired.Repaired!, target)).ExitCode.ShouldBe(0);
        Directory.GetFileSystemEntries(Path.Combine(target, "gone")).ShouldBeEmpty();
        ScratchFolder.Run("diff", "-r", Source, target + "/there" + Source).ShouldBeEmpty();
    }

    [Fact]
    public async Task WhatStandsInMarkedPacksAloneIsStoredAgainForTheNewSnapshot()
    {
        WriteFiles(8);
        await BackupAsync();
        Overwrite(_repository.Objects("d/").ShouldHaveSingleItem(), 0.4, 100_000);
        foreach (string pack in (string[])[.. _repository.Objects("d/"), .. _repository.Objects("m/")])
        {
            StorageMark(Path.GetFileName(pack));
        }

        RepairedSnapshot repaired = (await RepairSnapshotsAsync()).Snapshots.ShouldHaveSingleItem();

        // With the marked packs gone, as a collector would have it, the new snapshot still restores.
        string[] marked = [.. _repository.Objects("g/").Select(static mark => Path.GetFileName(mark))];
        foreach (string pack in (string[])[.. _repository.Objects("d/"), .. _repository.Objects("m/")])
        {
            if (marked.Contains(Path.GetFileName(pack)))
            {
                File.Delete(pack);
            }
        }

        (await _repository.RestoreAsync(repaired.Repaired!, Scratch.At("target"))).ExitCode.ShouldBe(0);
    }

    private void StorageMark(string pack)
    {
        PackId.TryParse(pack, out PackId id).ShouldBeTrue();
        var key = RepositoryLayout.Mark(id);
        byte[] bytes = SealedObject.Seal(_repository.Repository.Keys, ObjectKind.Mark, key, MarkDocument.Write(SessionId.New(), "test"));
        Directory.CreateDirectory(Path.Combine(_repository.Folder, "g"));
        File.WriteAllBytes(Path.Combine(_repository.Folder, key.Value), bytes);
    }

    private void WriteFiles(int count)
    {
        for (int i = 0; i < count; i++)
        {
            Scratch.WriteRandom($"source/file {i}", 600_000, i);
        }
    }

    private static void Overwrite(string path, double where, int length)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int at = (int)(bytes.Length * where);
        new Random(9).NextBytes(bytes.AsSpan(at, Math.Min(length, bytes.Length - at)));
        File.WriteAllBytes(path, bytes);
    }

    private async Task<Snapshot> BackupAsync() =>
        (await _repository.BackupAsync(Source, new BackupOptions { Hostname = "here", Type = SnapshotType.Full })).Snapshot!;

    private Task PruneAsync() => new PruneRunner(_repository.Repository, TimeProvider.System).RunAsync(
        new PruneOptions { Collector = new CollectorOptions { Hostname = "here", PollInterval = TimeSpan.FromMilliseconds(20) } }, new PruneProgress(), CancellationToken.None);

    private static RepairOptions Options(bool isTrial) => new() { Hostname = "here", IsTrial = isTrial };

    private Task<RepairResult> RepairPacksAsync(bool isTrial = false) =>
        new RepairRunner(_repository.Repository, TimeProvider.System).RepairPacksAsync(Options(isTrial), new CheckProgress(), CancellationToken.None);

    private Task<RepairResult> RepairIndexAsync(bool isTrial = false) =>
        new RepairRunner(_repository.Repository, TimeProvider.System).RepairIndexAsync(Options(isTrial), new CheckProgress(), CancellationToken.None);

    private Task<RepairResult> RepairSnapshotsAsync(bool isTrial = false) =>
        new RepairRunner(_repository.Repository, TimeProvider.System).RepairSnapshotsAsync(Options(isTrial), new CheckProgress(), CancellationToken.None);

    private async Task<IReadOnlyList<string>> ErrorsAsync() =>
        [.. (await _repository.CheckAsync(readData: true)).Findings.Where(static f => f.IsError).Select(static f => f.Damage.ToString())];

    private async Task<bool> RestoredEqualAsync(Snapshot snapshot)
    {
        string target = Scratch.At($"target {Guid.NewGuid():n}");
        int exit = (await _repository.RestoreAsync(snapshot, target)).ExitCode;
        return exit == 0 && ScratchFolder.Run("diff", "-r", Source, target + Source).Length == 0;
    }
}
