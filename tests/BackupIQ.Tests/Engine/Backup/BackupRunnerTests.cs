using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Sources.Command;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Backup;

/// <summary>Whole backups of real folders into real repositories on disk.</summary>
public sealed class BackupRunnerTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task UnchangedBackupAddsItsSnapshotAndNothingElse()
    {
        string source = MakeTree("source", seed: 1);
        await using BackupRepository repository = await CreateAsync();
        await BackupAsync(repository, source, "here");
        BackupResult again = await BackupAsync(repository, source, "here");
        again.Summary.FilesNew.ShouldBe(0);
        again.Summary.FilesChanged.ShouldBe(0);
        again.Summary.DataBlobs.ShouldBe(0);
        again.Summary.DirsChanged.ShouldBeLessThanOrEqualTo(FoldersAbove(source));
        again.BytesPut.ShouldBeLessThan(16 << 10);
        again.Snapshot!.Type.ShouldBe(SnapshotType.Incremental);
    }

    [Fact]
    public async Task TheSameTreeUnderAnotherHostNameAddsNoData()
    {
        string source = MakeTree("source", seed: 2);
        await using BackupRepository repository = await CreateAsync();
        await BackupAsync(repository, source, "here");
        BackupResult other = await BackupAsync(repository, source, "elsewhere");
        other.Snapshot!.Type.ShouldBe(SnapshotType.Full);
        other.Summary.DataBlobs.ShouldBe(0);
        other.Summary.TreeBlobs.ShouldBeLessThanOrEqualTo(2 * (1 + FoldersAbove(source)));
    }

    [Fact]
    public async Task ARenamedFolderIsReadAgainAndStoredOnce()
    {
        string source = MakeTree("source", seed: 3);
        await using BackupRepository repository = await CreateAsync();
        await BackupAsync(repository, source, "here");
        Directory.Move(Path.Combine(source, "folder 1"), Path.Combine(source, "renamed"));
        BackupResult again = await BackupAsync(repository, source, "here");
        again.Summary.FilesNew.ShouldBe(20);
        again.Summary.DataBlobs.ShouldBe(0);
    }

    [Fact]
    public async Task FourBackupsAtOnceShareOneRepositoryAndAllRestoreEqual()
    {
        string[] sources = [.. Enumerable.Range(0, 4).Select(i => MakeTree($"source {i}", seed: 10 + (i / 2)))];
        await using BackupRepository repository = await CreateAsync();
        BackupResult[] results = await Task.WhenAll(sources.Select((s, i) => Task.Run(() => BackupAsync(repository, s, $"host {i}"))));
        for (int i = 0; i < sources.Length; i++)
        {
            string target = Path.Combine(_scratch.Path, $"restored {i}");
            await RestoreAsync(repository, results[i].Snapshot!, target);
            ScratchFolder.Run("diff", "-r", "--no-dereference", sources[i], target + sources[i]).ShouldBeEmpty();
        }
    }

    [Fact]
    public async Task ACancelledBackupLeavesWhatIsCompleteForTheNext()
    {
        string source = MakeTree("source", seed: 20);
        await using BackupRepository repository = await CreateAsync();
        using CancellationTokenSource stop = new();
        int items = 0;
        BackupProgress progress = new()
        {
            OnItem = (_, _, _) =>
            {
                if (++items == 60)
                {
                    stop.Cancel();
                }
            },
        };
        await Should.ThrowAsync<OperationCanceledException>(() => BackupAsync(repository, source, "here", progress, stop.Token));
        SnapshotStore store = new(repository);
        (await store.ListAsync(CancellationToken.None)).ShouldBeEmpty();
        (await store.ListPartialAsync(CancellationToken.None)).Count.ShouldBe(1);
        BackupResult next = await BackupAsync(repository, source, "here");
        next.Summary.FilesUnmodified.ShouldBeGreaterThan(0);
        string target = Path.Combine(_scratch.Path, "restored");
        await RestoreAsync(repository, next.Snapshot!, target);
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();
    }

    [Fact]
    public async Task ABackupThatIsCancelledWhenAllIsReadLeavesItAllForTheNext()
    {
        string source = MakeTree("source", seed: 22);
        await using BackupRepository repository = await CreateAsync();
        int all = 0;
        using (FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] }))
        {
            await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
                files, new BackupOptions { Hostname = "here", DryRun = true }, new BackupProgress { OnItem = (_, _, _) => all++ }, CancellationToken.None);
        }

        using CancellationTokenSource stop = new();
        int items = 0;
        BackupProgress progress = new()
        {
            OnItem = (_, _, _) =>
            {
                if (++items == all)
                {
                    stop.Cancel();
                }
            },
        };
        await Should.ThrowAsync<OperationCanceledException>(() => BackupAsync(repository, source, "here", progress, stop.Token));
        (await new SnapshotStore(repository).ListPartialAsync(CancellationToken.None)).Count.ShouldBe(1);
        BackupResult next = await BackupAsync(repository, source, "here");
        next.Summary.FilesUnmodified.ShouldBe(101);
    }

    [Fact]
    public async Task ARunThatIsFencedAtItsCommitBeginsAgainAndCountsOnce()
    {
        string source = MakeTree("source", seed: 21);
        FencedOnce storage = new(NewStorage());
        await using BackupRepository repository = await CreateAsync(storage);
        storage.Keys = repository.Keys;
        List<string> notices = [];
        BackupProgress progress = new() { OnNotice = notices.Add };
        BackupResult result = await BackupAsync(repository, source, "here", progress);
        storage.Fenced.ShouldBe(1);
        notices.ShouldHaveSingleItem().ShouldContain("begins again");
        (progress.FilesDone, progress.FilesTotal, result.Warnings).ShouldBe((101, 101, 0));
        result.Summary.DataBlobs.ShouldBe(0, "what the fenced run had stored is there");
        (await new SnapshotStore(repository).ListAsync(CancellationToken.None)).ShouldHaveSingleItem();
        string target = Path.Combine(_scratch.Path, "restored");
        await RestoreAsync(repository, result.Snapshot!, target);
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();
    }

    [Fact]
    public async Task AFencedRunOfWhatCannotBeHadAgainSaysSo()
    {
        FencedOnce storage = new(NewStorage());
        await using BackupRepository repository = await CreateAsync(storage);
        storage.Keys = repository.Keys;
        using CommandSource command = new(new CommandSourceOptions { Command = ["echo", "once"] }, TimeProvider.System);
        BackupIQException refused = await Should.ThrowAsync<BackupIQException>(() => new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            command, new BackupOptions { Hostname = "here" }, new BackupProgress(), CancellationToken.None));
        refused.Code.ShouldBe(ErrorCodes.SessionFenced);
        (await new SnapshotStore(repository).ListAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task ACopySaysOfItselfWhatItsOriginalDid()
    {
        string source = MakeTree("source", seed: 40);
        await using BackupRepository repository = await CreateAsync();
        Snapshot foreign = new()
        {
            Time = new DateTimeOffset(2019, 3, 4, 5, 6, 7, TimeSpan.FromHours(2)),
            Ended = new DateTimeOffset(2019, 3, 4, 6, 0, 0, TimeSpan.FromHours(2)),
            Hostname = "far",
            Username = "ann",
            Paths = [source],
            Tags = ["kept"],
            Kind = "files",
            Type = SnapshotType.Differential,
            Tree = "",
            ProgramVersion = "other 1.2",
            Original = "abcd",
            OriginalRepository = "ef01",
            Summary = new SnapshotSummary { TotalFilesProcessed = 7 },
        };
        BackupOptions copy = new() { Hostname = "here", CopyOf = foreign };
        BackupResult first = await RunAsync(source, copy, new BackupProgress());
        BackupResult second = await RunAsync(source, copy with { CopyOf = foreign with { Time = foreign.Time.AddDays(1), Original = "abce" } }, new BackupProgress());
        BackupResult older = await RunAsync(source, copy with { CopyOf = foreign with { Time = foreign.Time.AddDays(-1), Original = "abcc" } }, new BackupProgress());

        Snapshot stored = (await new SnapshotStore(repository).ListAsync(CancellationToken.None)).Single(s => s.Id == first.Snapshot!.Id);
        (stored.Time, stored.Ended, stored.Hostname, stored.Username).ShouldBe((foreign.Time, foreign.Ended, "far", "ann"));
        (stored.Type, stored.ProgramVersion, stored.Original, stored.OriginalRepository).ShouldBe((SnapshotType.Differential, "other 1.2", "abcd", "ef01"));
        (stored.Tags.Single(), stored.Summary!.TotalFilesProcessed, stored.SourceId).ShouldBe(("kept", 7, "abcd"));
        second.Snapshot!.Parent.ShouldBe(first.Snapshot!.Id.ToString());
        second.Summary.FilesNew.ShouldBe(0);
        older.Snapshot!.Parent.ShouldBeNull();

        async Task<BackupResult> RunAsync(string path, BackupOptions options, BackupProgress progress)
        {
            using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(path)] });
            return await new BackupRunner(repository, TimeProvider.System, null).RunAsync(files, options, progress, CancellationToken.None);
        }
    }

    [Fact]
    public async Task ADryRunPutsNothing()
    {
        string source = MakeTree("source", seed: 30);
        await using BackupRepository repository = await CreateAsync();
        string[] before = Objects();
        using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] });
        BackupResult result = await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            files, new BackupOptions { Hostname = "here", DryRun = true }, new BackupProgress(), CancellationToken.None);
        result.Snapshot.ShouldBeNull();
        result.Summary.FilesNew.ShouldBe(101);
        result.Summary.DataAdded.ShouldBeGreaterThan(20 << 20);
        Objects().ShouldBe(before);
    }

    // The folders that lead to the source are in the snapshot too, and other tests may write into the temporary folder meanwhile.
    private static int FoldersAbove(string source) => source.Count(static c => c == '/') - 1;

    private string[] Objects() => [.. Directory.EnumerateFiles(Path.Combine(_scratch.Path, "repository"), "*", SearchOption.AllDirectories).Order()];

    // 100 small files in 5 folders and one of 20 MiB, all made by the seed; at rest for longer than change detection distrusts.
    private string MakeTree(string name, int seed)
    {
        Random random = new(seed);
        string root = Path.Combine(_scratch.Path, name);
        for (int folder = 0; folder < 5; folder++)
        {
            string path = Path.Combine(root, $"folder {folder}");
            Directory.CreateDirectory(path);
            for (int file = 0; file < 20; file++)
            {
                byte[] bytes = new byte[random.Next(0, 20_000)];
                random.NextBytes(bytes.AsSpan(0, bytes.Length / 2));
                File.WriteAllBytes(Path.Combine(path, $"file {file}"), bytes);
            }
        }

        byte[] large = new byte[20 << 20];
        random.NextBytes(large);
        File.WriteAllBytes(Path.Combine(root, "large"), large);
        Thread.Sleep(2500);
        return root;
    }

    private LocalBackend NewStorage() => LocalBackend.Create(Path.Combine(_scratch.Path, "repository"), new LocalOptions(), TimeProvider.System);

    private Task<BackupRepository> CreateAsync() => CreateAsync(NewStorage());

    private static async Task<BackupRepository> CreateAsync(IStorageBackend storage)
    {
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        return (await BackupRepository.CreateAsync(storage, options, TimeProvider.System, CancellationToken.None)).Repository;
    }

    private static async Task<BackupResult> BackupAsync(
        BackupRepository repository, string source, string host, BackupProgress? progress = null, CancellationToken cancellationToken = default)
    {
        using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] });
        return await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            files, new BackupOptions { Hostname = host }, progress ?? new BackupProgress(), cancellationToken);
    }

    private static async Task RestoreAsync(BackupRepository repository, Snapshot snapshot, string target)
    {
        IndexLoad load = await IndexLoader.LoadAsync(repository, null, CancellationToken.None);
        using ChunkIndex index = load.Index;
        using LinuxRestoreTarget to = new(PathText.Bytes(target));
        RestoreResult result = await RestoreRunner.RunAsync(
            repository, index, snapshot, "/"u8.ToArray(), to, new RestoreOptions(), new RestoreProgress(), CancellationToken.None);
        result.ExitCode.ShouldBe(0);
    }

    /// <summary>A collector fences the first session just before its commit.</summary>
    private sealed class FencedOnce(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public RepositoryKeys? Keys { get; set; }

        public int Fenced { get; private set; }

        public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            if (Keys is not null && Fenced == 0 && key.Value.StartsWith("s/", StringComparison.Ordinal))
            {
                Fenced++;
                await Inner.PutAsync(key, StorageContent.FromBytes(SealedObject.Seal(Keys, ObjectKind.Fence, key, [])), cancellationToken);
            }

            return await Inner.PutAsync(key, content, cancellationToken);
        }
    }
}
