using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Maintenance;

/// <summary>Prunes beside writers, beside each other, killed at any point, and what they leave of sessions, index and partial snapshots.</summary>
public sealed class PruneBesideOthersTests : IAsyncLifetime
{
    private PruneScene _scene = null!;

    public async ValueTask InitializeAsync() => _scene = await PruneScene.CreateAsync();

    public ValueTask DisposeAsync() => _scene.DisposeAsync();

    [Fact]
    public async Task AWriterThatBeganBeforeTheMarksIsWaitedForAndWhatItReliesOnIsKept()
    {
        Snapshot first = await ThinnedAsync();
        byte[] content = File.ReadAllBytes(_scene.Scratch.At("source", "file 0"));
        UploadSession writer = await _scene.OpenWriterAsync();
        ChunkId id = Name(writer, content);
        writer.Has(PackKind.Data, id).ShouldBeTrue("the writer relies on what the prune is about to mark");
        Task<PruneResult> prune = Task.Run(() => _scene.PruneAsync());
        await UntilAsync(() => _scene.Real.Objects("g/").Length > 0);
        await Task.Delay(100);
        prune.IsCompleted.ShouldBeFalse();
        string[] marked = [.. _scene.Real.Objects("g/").Select(static m => Path.GetFileName(m))];
        marked.ShouldAllBe(pack => _scene.Packs().Any(p => p.EndsWith(pack)), "nothing goes while the writer is at work");

        Snapshot snapshot = await CommitFileAsync(writer, id, (uint)content.Length);
        await writer.DisposeAsync();
        PruneResult result = await prune;
        result.PacksDeleted.ShouldBeGreaterThan(0);
        using ChunkReader reader = new(_scene.Real.Repository, (await BackupIQ.Repository.Index.IndexLoader.LoadAsync(_scene.Real.Repository, null, default)).Index);
        reader.Read(PackKind.Data, id).ToArray().ShouldBe(content);
        await _scene.ShouldBeCleanAsync();
        _ = (first, snapshot);
    }

    [Fact]
    public async Task AWriterThatIsSilentIsFencedAndBeginsAgain()
    {
        await ThinnedAsync();
        byte[] content = File.ReadAllBytes(_scene.Scratch.At("source", "file 0"));
        await using UploadSession writer = await _scene.OpenWriterAsync();
        ChunkId id = Name(writer, content);
        PruneResult result = await _scene.PruneAsync(lease: TimeSpan.FromMilliseconds(200));
        result.PacksDeleted.ShouldBeGreaterThan(0);
        result.Waited.ShouldBeGreaterThan(TimeSpan.FromMilliseconds(150));
        BackupIQException refused = await Should.ThrowAsync<BackupIQException>(() => CommitFileAsync(writer, id, (uint)content.Length));
        refused.Code.ShouldBe(ErrorCodes.SessionFenced);
        await using UploadSession again = await _scene.OpenWriterAsync();
        again.Has(PackKind.Data, id).ShouldBeFalse("the new session sees that the chunk is gone");
        await _scene.ShouldBeCleanAsync();
    }

    [Theory]
    [InlineData(SessionPurpose.Backup)]
    [InlineData(SessionPurpose.Restore)]
    [InlineData(SessionPurpose.Prune)]
    public async Task ASessionWhoseProcessIsGoneFromThisMachineIsNotWaitedFor(string purpose)
    {
        await ThinnedAsync();
        SessionId dead = await _scene.AnnounceDeadAsync(purpose);
        PruneResult result = await _scene.PruneAsync();
        result.Waited.ShouldBeLessThan(TimeSpan.FromSeconds(10));
        result.PacksDeleted.ShouldBeGreaterThan(0);
        _scene.Real.Objects($"l/{dead}").ShouldBeEmpty("what is over and names nothing is swept");
        _scene.Real.Objects($"s/{dead}").Length.ShouldBe(purpose == SessionPurpose.Backup ? 1 : 0, "a fence against a commit is for ever");
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task AReaderKeepsWhatItMayNeed()
    {
        await ThinnedAsync();
        LiveSession reader = await LiveSession.OpenAsync(
            _scene.Real.Repository, LiveSession.Describe(SessionPurpose.Restore, "here", "", "", TimeProvider.System), TimeProvider.System, default);
        string[] before = _scene.Packs();
        Task<PruneResult> prune = Task.Run(() => _scene.PruneAsync());
        await UntilAsync(() => _scene.Real.Objects("g/").Length > 0);
        await Task.Delay(100);
        _scene.Packs().ShouldBeSubsetOf(before.Concat(_scene.Packs()));
        before.ShouldAllBe(static p => File.Exists(p));
        await reader.EndAsync(default);
        (await prune).PacksDeleted.ShouldBeGreaterThan(0);
    }

    [Fact]
    public async Task PacksOfASessionAtWorkStayAndThoseOfADeadOneGo()
    {
        _scene.WriteFiles(3, seed: 1);
        Snapshot kept = await _scene.BackupAsync();
        await using UploadSession atWork = await _scene.OpenWriterAsync();
        await StoreAsync(atWork, Random(1));
        string[] before = _scene.Packs();
        await StoreAsDeadAsync(Random(2));
        string[] orphans = [.. _scene.Packs().Except(before)];
        orphans.ShouldNotBeEmpty();
        await _scene.PruneAsync(lease: TimeSpan.FromMilliseconds(1));
        before.ShouldAllBe(static p => File.Exists(p));
        orphans.ShouldAllBe(static p => !File.Exists(p));
        await _scene.ShouldRestoreAsync(kept);
    }

    [Fact]
    public async Task ExclusiveRefusesWhileSomebodyIsAtWork()
    {
        await ThinnedAsync();
        await using (await _scene.OpenWriterAsync())
        {
            BackupIQException refused = await Should.ThrowAsync<BackupIQException>(() => _scene.PruneAsync(exclusive: true));
            refused.Code.ShouldBe(ErrorCodes.RepositoryBusy);
            refused.Message.ShouldContain("backup");
            _scene.Real.Objects("g/").ShouldBeEmpty();
        }

        (await _scene.PruneAsync(exclusive: true)).PacksDeleted.ShouldBeGreaterThan(0);
        _scene.Real.Objects("g/").ShouldBeEmpty();
    }

    [Fact]
    public async Task WhateverCallFailsTheNextPruneTakesUpWhatWasLeft()
    {
        for (int call = 0; ; call++)
        {
            await using PruneScene scene = await PruneScene.CreateAsync();
            scene.WriteFiles(8, seed: 1, size: 60_000);
            Snapshot first = await scene.BackupAsync();
            scene.DeleteFiles([0, 1, 2, 3, 4]);
            Snapshot second = await scene.BackupAsync();
            await scene.ForgetAsync(first);
            foreach (StorageOperation operation in (StorageOperation[])[StorageOperation.Put, StorageOperation.Delete, StorageOperation.List])
            {
                scene.Storage.Add(new Fault(operation, "", call % 2 == 0 ? FaultKind.FailBefore : FaultKind.FailAfter) { Skip = call / 2, Times = 1 });
            }

            bool failed = false;
            try
            {
                await scene.PruneAsync();
            }
            catch (StorageException)
            {
                failed = true;
            }

            scene.Storage.Heal();
            await scene.ShouldRestoreAsync(second);
            await scene.PruneAsync(lease: TimeSpan.Zero);
            PruneResult last = await scene.PruneAsync(lease: TimeSpan.Zero);
            last.PacksDeleted.ShouldBe(0);
            last.Plan.UnusedAfter.ShouldBeLessThanOrEqualTo(last.Plan.UnusedAllowed);
            await scene.ShouldRestoreAsync(second);
            await scene.ShouldBeCleanAsync();
            scene.Real.Objects("g/").ShouldBeEmpty();
            if (!failed)
            {
                call.ShouldBeGreaterThan(20);
                break;
            }
        }
    }

    [Fact]
    public async Task PrunesAndBackupsAtOnceLoseNothing()
    {
        _scene.WriteFiles(10, seed: 1, size: 80_000);
        List<Snapshot> snapshots = [await _scene.BackupAsync()];
        for (int round = 0; round < 4; round++)
        {
            _scene.DeleteFiles([round * 2]);
            _scene.WriteFiles(3, seed: 10 + round, size: 80_000);
            Task<Snapshot>[] backups = [Task.Run(() => _scene.BackupAsync()), Task.Run(() => _scene.BackupAsync())];
            Task<PruneResult>[] prunes = [Task.Run(() => _scene.PruneAsync()), Task.Run(() => _scene.PruneAsync())];
            snapshots.AddRange(await Task.WhenAll(backups));
            await Task.WhenAll(prunes);
            while (snapshots.Count > 2)
            {
                await _scene.ForgetAsync(snapshots[0]);
                snapshots.RemoveAt(0);
            }

            foreach (Snapshot snapshot in snapshots)
            {
                await _scene.ShouldRestoreAsync(snapshot);
            }
        }

        await _scene.PruneAsync();
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task MarksOfAnEarlierPruneAreTakenUp()
    {
        await ThinnedAsync();
        using CancellationTokenSource stop = new();
        await using (await _scene.OpenWriterAsync())
        {
            Task<PruneResult> prune = Task.Run(() => _scene.PruneAsync(cancellationToken: stop.Token));
            await UntilAsync(() => _scene.Real.Objects("g/").Length > 0);
            await Task.Delay(100);
            await stop.CancelAsync();
            await Should.ThrowAsync<OperationCanceledException>(() => prune);
        }

        string[] marked = [.. _scene.Real.Objects("g/").Select(static m => Path.GetFileName(m))];
        marked.ShouldNotBeEmpty();
        PruneResult result = await _scene.PruneAsync();
        result.Plan.Packs.Where(p => marked.Contains(p.Pack.Id.ToString())).ShouldAllBe(static p => p.Reason.Contains("earlier prune"));
        marked.ShouldAllBe(pack => !_scene.Packs().Any(p => p.EndsWith(pack)));
        await _scene.ShouldBeCleanAsync();
    }

    private async Task<Snapshot> ThinnedAsync()
    {
        _scene.WriteFiles(6, seed: 1);
        Snapshot first = await _scene.BackupAsync();
        string[] content = Directory.GetFiles(_scene.Source);
        Dictionary<string, byte[]> bytes = content.ToDictionary(static f => f, File.ReadAllBytes);
        _scene.WriteFiles(6, seed: 2);
        Snapshot second = await _scene.BackupAsync();
        await _scene.ForgetAsync(first);
        foreach ((string file, byte[] was) in bytes)
        {
            File.WriteAllBytes(file, was);
        }

        return second;
    }

    private async Task StoreAsDeadAsync(byte[] content)
    {
        // What a killed run leaves: a pack, but no segment that names it, and an announcement of a process that is gone.
        UploadSession dead = await UploadSession.OpenAsync(
            _scene.Real.Repository, new UploadOptions { Hostname = "here", IndexEvery = long.MaxValue }, null, TimeProvider.System, default);
        SessionId id = dead.Id;
        _scene.Storage.Add(new Fault(StorageOperation.Put, "i/", FaultKind.FailBefore));
        await Should.ThrowAsync<StorageException>(() => StoreAsync(dead, content));
        await dead.DisposeAsync();
        _scene.Storage.Heal();
        _scene.Real.Objects($"l/{id}").ShouldHaveSingleItem();
        await _scene.Storage.PutAsync(
            RepositoryLayout.SessionEnd(id), StorageContent.FromBytes(SealedObject.Seal(_scene.Real.Repository.Keys, ObjectKind.SessionEnd, RepositoryLayout.SessionEnd(id), [])), default);
    }

    private static async Task StoreAsync(UploadSession session, byte[] content)
    {
        using FrameWriter writer = session.CreateWriter(PackKind.Data);
        writer.Write(content, ContentHint.Unknown);
        writer.Flush();
        await session.FlushAsync(default);
    }

    private static ChunkId Name(UploadSession session, byte[] content)
    {
        using FrameWriter writer = session.CreateWriter(PackKind.Data);
        return writer.IdOf(content);
    }

    private static byte[] Random(int seed)
    {
        byte[] bytes = new byte[100_000];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static async Task<Snapshot> CommitFileAsync(UploadSession session, ChunkId file, uint length)
    {
        ChunkId tree;
        using (FrameWriter metadata = session.CreateWriter(PackKind.Metadata))
        {
            tree = metadata.Write(Page(file, length), ContentHint.Compressible);
            metadata.Flush();
        }

        Snapshot snapshot = new()
        {
            Time = TimeProvider.System.GetUtcNow(),
            Hostname = "elsewhere",
            Paths = ["/"],
            Kind = "files",
            Type = SnapshotType.Full,
            Tree = tree.ToString(),
        };
        await session.CommitAsync(SnapshotStore.Write(snapshot), default);
        return snapshot with { Id = session.Id };
    }

    private static byte[] Page(ChunkId file, uint length)
    {
        BackupIQ.Engine.Trees.TlvWriter page = new();
        page.WriteByte(BackupIQ.Engine.Trees.TreePage.Version);
        page.WriteByte(BackupIQ.Engine.Trees.TreePage.Nodes);
        page.WriteVarint(1);
        page.WriteBlock(SnapshotForge.Node(new BackupIQ.Engine.Trees.Node
        {
            Metadata = new BackupIQ.Engine.Trees.NodeMetadata { Name = "f"u8.ToArray(), Type = BackupIQ.Engine.Trees.NodeType.File, Size = length },
            Content = new BackupIQ.Engine.Trees.FileContent { Kind = BackupIQ.Engine.Trees.ContentKind.Chunks, Profile = 1, Chunks = [new BackupIQ.Engine.Trees.ChunkReference(file, length)] },
        }));
        return page.Written.ToArray();
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            i.ShouldBeLessThan(1000);
            await Task.Delay(10);
        }
    }
}
