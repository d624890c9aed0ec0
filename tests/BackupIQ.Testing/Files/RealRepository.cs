using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;

namespace BackupIQ.Testing.Files;

/// <summary>A repository in a real folder, with the ways to back up, restore and check it that the program has.</summary>
public sealed class RealRepository : IAsyncDisposable
{
    private readonly Secret _key;
    private readonly bool _ownsScratch;

    private RealRepository(ScratchFolder scratch, bool ownsScratch, string path, IStorageBackend storage, BackupRepository repository, Secret key)
    {
        Scratch = scratch;
        _ownsScratch = ownsScratch;
        _key = key;
        Folder = path;
        Storage = storage;
        Repository = repository;
    }

    /// <summary>Room for sources and targets.</summary>
    public ScratchFolder Scratch { get; }

    /// <summary>The repository's own folder.</summary>
    public string Folder { get; }

    /// <summary>The storage, decorated as asked.</summary>
    public IStorageBackend Storage { get; }

    /// <summary>The opened repository.</summary>
    public BackupRepository Repository { get; }

    /// <summary>Makes one. <paramref name="decorate"/> puts something between the repository and its disk.</summary>
    public static async Task<RealRepository> CreateAsync(Func<IStorageBackend, IStorageBackend>? decorate = null)
    {
        ScratchFolder scratch = new();
        string path = scratch.At("repository");
        Secret key = Secret.Random(32);
        IStorageBackend storage = LocalBackend.Create(path, new LocalOptions(), TimeProvider.System);
        storage = decorate?.Invoke(storage) ?? storage;
        CreateOptions options = new() { KeyFile = key, RecoveryKit = false };
        CreatedRepository created = await BackupRepository.CreateAsync(storage, options, TimeProvider.System, CancellationToken.None);
        return new RealRepository(scratch, ownsScratch: true, path, storage, created.Repository, key);
    }

    /// <summary>Copies all objects to another folder and opens that: what happens there leaves this one as it is.</summary>
    public async Task<RealRepository> CopyAsync()
    {
        string path = Scratch.At($"copy {Guid.NewGuid():n}");
        ScratchFolder.Run("cp", "-a", Folder, path);
        return await OpenAsync(path);
    }

    /// <summary>Opens the repository anew, as the next process would.</summary>
    public Task<RealRepository> ReopenAsync() => OpenAsync(Folder);

    /// <summary>Backs up files and folders.</summary>
    public async Task<BackupResult> BackupAsync(
        string source, BackupOptions? options = null, BackupProgress? progress = null, CancellationToken cancellationToken = default)
    {
        using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] });
        return await new BackupRunner(Repository, TimeProvider.System, null).RunAsync(
            files, options ?? new BackupOptions { Hostname = "here" }, progress ?? new BackupProgress(), cancellationToken);
    }

    /// <summary>Restores a path of a snapshot into a folder, or into <paramref name="into"/>.</summary>
    public async Task<RestoreResult> RestoreAsync(
        Snapshot snapshot, string target, string path = "/", RestoreOptions? options = null, Func<IRestoreTarget, IRestoreTarget>? into = null,
        RestoreProgress? progress = null)
    {
        IndexLoad load = await IndexLoader.LoadAsync(Repository, null, CancellationToken.None);
        using ChunkIndex index = load.Index;
        using LinuxRestoreTarget folder = new(PathText.Bytes(target));
        return await RestoreRunner.RunAsync(
            Repository, index, snapshot, PathText.Bytes(path), into?.Invoke(folder) ?? folder, options ?? new RestoreOptions(), progress ?? new RestoreProgress(), CancellationToken.None);
    }

    /// <summary>Checks; with <paramref name="readData"/> every chunk.</summary>
    public Task<CheckResult> CheckAsync(bool readData = false) => new CheckRunner(Repository, TimeProvider.System).RunAsync(
        new CheckOptions { ReadData = readData ? ReadDataSubset.All : null }, new CheckProgress(), CancellationToken.None);

    /// <summary>The snapshots that can be read, oldest first.</summary>
    public Task<IReadOnlyList<Snapshot>> ListAsync() => new SnapshotStore(Repository).ListAsync(CancellationToken.None);

    /// <summary>Paths of the objects whose name begins with <paramref name="prefix"/>, sorted.</summary>
    public string[] Objects(string prefix = "") =>
    [
        .. Directory.EnumerateFiles(Folder, "*", SearchOption.AllDirectories)
            .Where(file => NameOf(file).StartsWith(prefix, StringComparison.Ordinal) && !NameOf(file).StartsWith("tmp/", StringComparison.Ordinal))
            .Order(StringComparer.Ordinal),
    ];

    /// <summary>The name of the object in a file.</summary>
    public string NameOf(string file) => Path.GetRelativePath(Folder, file);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Repository.DisposeAsync();
        await Storage.DisposeAsync();
        if (_ownsScratch)
        {
            _key.Dispose();
            Scratch.Dispose();
        }
    }

    private async Task<RealRepository> OpenAsync(string path)
    {
        LocalBackend storage = LocalBackend.Open(path, new LocalOptions(), TimeProvider.System);
        BackupRepository repository = await BackupRepository.OpenAsync(
            storage, new Credentials { KeyFile = _key }, TimeProvider.System, CancellationToken.None);
        return new RealRepository(Scratch, ownsScratch: false, path, storage, repository, _key);
    }
}
