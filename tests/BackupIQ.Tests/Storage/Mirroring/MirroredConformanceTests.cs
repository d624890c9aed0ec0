using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;

namespace BackupIQ.Tests.Storage.Mirroring;

/// <summary>A storage with two mirrors keeps every guarantee of the storage.</summary>
public sealed class MirroredOverMemoryTests : StorageConformance
{
    private readonly MemoryBackend[] _storages = [.. Enumerable.Range(0, 3).Select(static _ => new MemoryBackend(TimeProvider.System))];

    protected override async ValueTask<IStorageBackend> ConnectAsync() =>
        await MirrorKit.OpenAsync(
            _storages[0],
            MirrorKit.Options() with { Identify = static (_, _) => Task.FromResult<string?>("one") },
            MirrorKit.Source(_storages[1], "first"),
            MirrorKit.Source(_storages[2], "second"));
}

/// <summary>The same where files are moved to their places.</summary>
public sealed class MirroredOverLocalTests : StorageConformance
{
    private readonly ScratchFolder _scratch = new();

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        _scratch.Dispose();
    }

    protected override async ValueTask<IStorageBackend> ConnectAsync() =>
        await MirrorKit.OpenAsync(
            Folder("storage"),
            MirrorKit.Options() with { Identify = static (_, _) => Task.FromResult<string?>("one") },
            MirrorKit.Source(Folder("mirror")));

    private LocalBackend Folder(string name) => LocalBackend.Create(Path.Combine(_scratch.Path, name), new LocalOptions(), TimeProvider.System);
}
