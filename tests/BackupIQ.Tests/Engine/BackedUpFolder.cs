using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Sources.Files;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;

namespace BackupIQ.Tests.Engine;

/// <summary>A folder of a test, and a repository on disk that it is backed up into.</summary>
internal sealed class BackedUpFolder : IAsyncDisposable
{
    private readonly Secret _key = Secret.Random(32);
    private BackupRepository? _repository;

    public BackedUpFolder()
    {
        Root = At("source");
        Directory.CreateDirectory(Root);
    }

    public ScratchFolder Scratch { get; } = new();

    /// <summary>The folder.</summary>
    public string Root { get; }

    /// <summary>Its path as bytes.</summary>
    public byte[] RootBytes => PathText.Bytes(Root);

    /// <summary>Where the repository's objects are.</summary>
    public string RepositoryPath => At("repository");

    /// <summary>What the storage was asked for.</summary>
    public RecordingBackend Storage { get; private set; } = null!;

    /// <summary>A path in the scratch folder.</summary>
    public string At(params string[] names) => Path.Combine([Scratch.Path, .. names]);

    /// <summary>A path in the folder.</summary>
    public string In(params string[] names) => Path.Combine([Root, .. names]);

    /// <summary>Writes a file of the folder, with the folders on the way.</summary>
    public void Write(string name, byte[] content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(In(name))!);
        File.WriteAllBytes(In(name), content);
    }

    /// <summary>Writes a file of <paramref name="length"/> random bytes.</summary>
    public byte[] WriteRandom(string name, int length, int seed)
    {
        byte[] content = new byte[length];
        new Random(seed).NextBytes(content);
        Write(name, content);
        return content;
    }

    /// <summary>The repository, made with the first use.</summary>
    public async Task<BackupRepository> RepositoryAsync()
    {
        if (_repository is null)
        {
            Storage = new RecordingBackend(LocalBackend.Create(RepositoryPath, new LocalOptions(), TimeProvider.System));
            CreateOptions options = new() { KeyFile = _key, RecoveryKit = false };
            _repository = (await BackupRepository.CreateAsync(Storage, options, TimeProvider.System, CancellationToken.None)).Repository;
        }

        return _repository;
    }

    /// <summary>Opens the repository once more, on a storage that <paramref name="wrap"/> makes of its own.</summary>
    public async Task<BackupRepository> OpenOnAsync(Func<IStorageBackend, IStorageBackend> wrap)
    {
        await RepositoryAsync();
        IStorageBackend storage = wrap(LocalBackend.Create(RepositoryPath, new LocalOptions(), TimeProvider.System));
        return await BackupRepository.OpenAsync(storage, new Credentials { KeyFile = _key }, TimeProvider.System, CancellationToken.None);
    }

    /// <summary>The objects under a prefix, by name.</summary>
    public string[] Objects(string prefix) => [.. Directory.EnumerateFiles(RepositoryPath, "*", SearchOption.AllDirectories)
        .Select(path => Path.GetRelativePath(RepositoryPath, path))
        .Where(name => name.StartsWith(prefix, StringComparison.Ordinal) && !name.StartsWith("tmp/", StringComparison.Ordinal))
        .Order(StringComparer.Ordinal)];

    /// <summary>The repository's index as it is now; the caller disposes it.</summary>
    public async Task<ChunkIndex> IndexAsync() => (await IndexLoader.LoadAsync(await RepositoryAsync(), null, CancellationToken.None)).Index;

    /// <summary>Backs the folder up.</summary>
    public async Task<Snapshot> BackupAsync(int readConcurrency = 0)
    {
        using FileSource files = new(new FileSourceOptions { Paths = [RootBytes] });
        BackupRunner runner = new(await RepositoryAsync(), TimeProvider.System, null);
        BackupResult result = await runner.RunAsync(
            files, new BackupOptions { Hostname = "here", Type = SnapshotType.Full, ReadConcurrency = readConcurrency }, new BackupProgress(), CancellationToken.None);
        return result.Snapshot!;
    }

    public async ValueTask DisposeAsync()
    {
        if (_repository is not null)
        {
            await _repository.DisposeAsync();
            await Storage.DisposeAsync();
        }

        _key.Dispose();
        Scratch.Dispose();
    }
}
