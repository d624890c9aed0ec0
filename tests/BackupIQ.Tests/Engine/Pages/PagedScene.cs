using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Engine.Maintenance;
using Shouldly;

namespace BackupIQ.Tests.Engine.Pages;

/// <summary>A folder of files that consist of pages, and a repository on disk that it is backed up into.</summary>
internal sealed class PagedScene(RealRepository repository) : IAsyncDisposable
{
    private int _targets;

    public RealRepository Real { get; } = repository;

    public string Source => Real.Scratch.At("source");

    public static async Task<PagedScene> CreateAsync(Func<IStorageBackend, IStorageBackend>? decorate = null)
    {
        PagedScene scene = new(await RealRepository.CreateAsync(decorate));
        Directory.CreateDirectory(scene.Source);
        return scene;
    }

    /// <summary>Pages of random bytes.</summary>
    public static byte[] RandomBytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Writes other bytes into so many pages, each another one.</summary>
    public static void Change(byte[] content, int pageSize, int pages, Random random)
    {
        int[] all = [.. Enumerable.Range(0, content.Length / pageSize)];
        random.Shuffle(all);
        foreach (int page in all.Take(pages))
        {
            random.NextBytes(content.AsSpan(page * pageSize, pageSize));
        }
    }

    public void Write(string name, byte[] content) => File.WriteAllBytes(Path.Combine(Source, name), content);

    public async Task<BackupResult> BackupAsync(int pageSize = 8192, SnapshotType type = SnapshotType.Incremental, bool sequential = false)
    {
        using PagedSource source = new(Source, pageSize) { IsSequential = sequential };
        BackupResult result = await new BackupRunner(Real.Repository, TimeProvider.System, null).RunAsync(
            source, new BackupOptions { Hostname = "here", Type = type }, new BackupProgress(), CancellationToken.None);
        result.Warnings.ShouldBe(0);
        return result;
    }

    /// <summary>A file of a snapshot as a restore writes it.</summary>
    public async Task<byte[]> RestoredAsync(Snapshot snapshot, string name)
    {
        string target = Real.Scratch.At($"restored {++_targets}");
        RestoreResult result = await Real.RestoreAsync(snapshot, target);
        result.ExitCode.ShouldBe(0);
        byte[] content = File.ReadAllBytes(Path.Combine(target + Source, name));
        Directory.Delete(target, recursive: true);
        return content;
    }

    /// <summary>Looks at a file of a snapshot.</summary>
    public Task LookAsync(Snapshot snapshot, string name, Func<SnapshotReader, Node, Task> look) => LookAsync(Real, snapshot, Path.Combine(Source, name), look);

    public static async Task LookAsync(RealRepository repository, Snapshot snapshot, string path, Func<SnapshotReader, Node, Task> look)
    {
        using ChunkIndex index = (await IndexLoader.LoadAsync(repository.Repository, null, CancellationToken.None)).Index;
        using SnapshotReader reader = new(repository.Repository, index, new ReadingOptions(), static notice => throw new InvalidOperationException(notice));
        (Node? node, _) = SnapshotPath.Find(reader.Trees, snapshot, PathText.Bytes(path));
        await look(reader, node!);
    }

    /// <summary>The blocks of a file's page map.</summary>
    public async Task<List<PageBlock>> BlocksAsync(Snapshot snapshot, string name)
    {
        List<PageBlock> blocks = [];
        await LookAsync(snapshot, name, (reader, node) =>
        {
            node.Content!.Kind.ShouldBe(ContentKind.Pages);
            PageMap map = new(reader.ReadMetadata, node.Content, (long)node.Metadata.Size);
            blocks.AddRange(Enumerable.Range(0, map.BlockCount).Select(map.ReadBlock));
            return Task.CompletedTask;
        });
        return blocks;
    }

    /// <summary>Removes a snapshot as forget does when its grace time is over.</summary>
    public Task ForgetAsync(Snapshot snapshot) => SnapshotObjects.RemoveAsync(Real.Repository, snapshot.Id, CancellationToken.None);

    public Task PruneAsync() => new PruneRunner(Real.Repository, TimeProvider.System).RunAsync(
        new PruneOptions { Collector = PruneScene.Options, Limits = new PruneLimits() }, new PruneProgress(), CancellationToken.None);

    public async Task ShouldBeCleanAsync(RealRepository? repository = null)
    {
        CheckResult check = await (repository ?? Real).CheckAsync(readData: true);
        check.Findings.Where(static f => f.IsError).Select(static f => f.Damage.ToString()).ShouldBeEmpty();
    }

    public ValueTask DisposeAsync() => Real.DisposeAsync();
}
