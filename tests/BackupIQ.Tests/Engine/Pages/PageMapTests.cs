using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Copy;
using BackupIQ.Engine.Diff;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Repair;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Pages;

/// <summary>Backups of files that consist of pages, into real repositories and back.</summary>
public sealed class PageMapTests : IAsyncLifetime
{
    private const int PageSize = 8192;

    private PagedScene _scene = null!;

    public async ValueTask InitializeAsync() => _scene = await PagedScene.CreateAsync();

    public ValueTask DisposeAsync() => _scene.DisposeAsync();

    [Theory]
    [InlineData(512, 5_000_000, false)]
    [InlineData(4096, 18_000_000, false)]
    [InlineData(65_536, 6_000_000, false)]
    [InlineData(1024, 6_000_000, true)]
    public async Task EveryGenerationComesBackAsItWas(int pageSize, int length, bool sequential)
    {
        Random random = new(pageSize);
        byte[] content = PagedScene.RandomBytes(length, pageSize);
        List<(Snapshot Snapshot, byte[] Content)> generations = [];
        for (int generation = 0; generation < 5; generation++)
        {
            content = generation == 0 ? content : Edited(content, pageSize, random);
            _scene.Write("file", content);
            BackupResult result = await _scene.BackupAsync(pageSize, sequential: sequential);
            generations.Add((result.Snapshot!, content));
        }

        foreach ((Snapshot snapshot, byte[] was) in generations)
        {
            (await _scene.RestoredAsync(snapshot, "file")).AsSpan().SequenceEqual(was).ShouldBeTrue(snapshot.Time.ToString("O"));
            await _scene.LookAsync(snapshot, "file", (reader, node) => ReadsAreRightAsync(reader.OpenFile(node), was, random));
        }

        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task WhatIsStoredIsWhatChangedAndAPieceOfTheMap()
    {
        byte[] content = PagedScene.RandomBytes(5000 * PageSize, seed: 1);
        _scene.Write("file", content);
        BackupResult first = await _scene.BackupAsync();
        first.BytesPut.ShouldBeLessThan((long)(content.Length * 1.01) + 100_000);

        PagedScene.Change(content, PageSize, 50, new Random(2));
        _scene.Write("file", content);
        BackupResult second = await _scene.BackupAsync();
        second.BytesPut.ShouldBeInRange(50 * PageSize, (long)(50 * PageSize * 1.15) + (5000 * 10) + 20_000);

        // One page: one block of the map.
        PagedScene.Change(content, PageSize, 1, new Random(3));
        _scene.Write("file", content);
        BackupResult third = await _scene.BackupAsync();
        third.BytesPut.ShouldBeInRange(PageSize, PageSize + (4096 * 10) + 20_000);

        // Touched and the same: not a page and no map.
        _scene.Write("file", content);
        (await _scene.BackupAsync()).BytesPut.ShouldBeLessThan(10_000);
    }

    [Fact]
    public async Task OverThirtyBackupsTheStoreStaysBelowTwiceTheDataAndNoMiBIsScatteredOverMoreThanSixteenChunks()
    {
        const int pages = 700;
        byte[] content = PagedScene.RandomBytes(pages * PageSize, seed: 4);
        Random random = new(5);
        List<Snapshot> snapshots = [];
        for (int i = 0; i < 31; i++)
        {
            _scene.Write("file", content);
            snapshots.Add((await _scene.BackupAsync()).Snapshot!);
            PagedScene.Change(content, PageSize, random.Next(1, 70), random);
            List<PageBlock> blocks = await _scene.BlocksAsync(snapshots[^1], "file");
            blocks.SelectMany(static block => block.Chunks).Sum(static chunk => (long)chunk.Length).ShouldBeLessThan(2L * pages * PageSize, $"generation {i}");
            blocks.Max(static block => MostChunksPerReach(block)).ShouldBeLessThanOrEqualTo(16, $"generation {i}");
        }

        foreach (Snapshot snapshot in snapshots.SkipLast(1))
        {
            await _scene.ForgetAsync(snapshot);
        }

        await _scene.PruneAsync();
        _scene.Real.Objects("d/").Sum(static pack => new FileInfo(pack).Length).ShouldBeLessThan((long)(2.2 * pages * PageSize));
        (await _scene.RestoredAsync(snapshots[^1], "file")).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(_scene.Source, "file"))).ShouldBeTrue();
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task OfAFileThatCanBeReadOnlyOnceStaleChunksMoveOneBackupLater()
    {
        byte[] content = PagedScene.RandomBytes(512 * PageSize, seed: 6);
        _scene.Write("file", content);
        await _scene.BackupAsync(sequential: true);
        for (int i = 0; i < 2; i++)
        {
            // All but every fifth page.
            PagedScene.Change(content, PageSize, i == 0 ? 410 : 1, new Random(7));
            _scene.Write("file", content);
            Snapshot snapshot = (await _scene.BackupAsync(sequential: true)).Snapshot!;
            long live = (await _scene.BlocksAsync(snapshot, "file")).Single().Chunks.Sum(static chunk => (long)chunk.Length);
            (live > content.Length + (100 * PageSize)).ShouldBe(i == 0);
            (await _scene.RestoredAsync(snapshot, "file")).AsSpan().SequenceEqual(content).ShouldBeTrue();
        }
    }

    [Fact]
    public async Task EqualFilesShareTheirChunksAlsoWhereSomePagesDiffer()
    {
        byte[] content = PagedScene.RandomBytes(1024 * PageSize, seed: 8);
        _scene.Write("a", content);
        await _scene.BackupAsync();
        content.AsSpan(100 * PageSize, PageSize).Clear();
        _scene.Write("b", content);

        BackupResult second = await _scene.BackupAsync();

        second.BytesPut.ShouldBeLessThan((128 * PageSize) + 50_000);
        (await _scene.RestoredAsync(second.Snapshot!, "b")).AsSpan().SequenceEqual(content).ShouldBeTrue();
    }

    [Fact]
    public async Task PagesOfZerosAreHolesAndClearedWhereDataStands()
    {
        byte[] content = new byte[(1000 * PageSize) + 100];
        PagedScene.RandomBytes(10 * PageSize, seed: 9).CopyTo(content, 500 * PageSize);
        content[^1] = 1;
        _scene.Write("file", content);
        _scene.Write("nothing", new byte[100 * PageSize]);
        BackupResult result = await _scene.BackupAsync();
        result.BytesPut.ShouldBeLessThan(12 * PageSize + 20_000);

        string target = _scene.Real.Scratch.At("target");
        (await _scene.Real.RestoreAsync(result.Snapshot!, target)).ExitCode.ShouldBe(0);
        string file = target + Path.Combine(_scene.Source, "file");
        File.ReadAllBytes(file).AsSpan().SequenceEqual(content).ShouldBeTrue();
        Allocated(file).ShouldBeLessThan(20 * PageSize);
        Allocated(target + Path.Combine(_scene.Source, "nothing")).ShouldBe(0);

        File.WriteAllBytes(file, PagedScene.RandomBytes(content.Length + 5000, seed: 10));
        (await _scene.Real.RestoreAsync(result.Snapshot!, target)).ExitCode.ShouldBe(0);
        File.ReadAllBytes(file).AsSpan().SequenceEqual(content).ShouldBeTrue();
        Allocated(file).ShouldBeLessThan(20 * PageSize);
    }

    [Fact]
    public async Task ARestoreOverAFileFetchesWhatDiffers()
    {
        byte[] content = PagedScene.RandomBytes(2000 * PageSize, seed: 11);
        _scene.Write("file", content);
        await _scene.BackupAsync();
        PagedScene.Change(content, PageSize, 100, new Random(12));
        _scene.Write("file", content);
        Snapshot snapshot = (await _scene.BackupAsync()).Snapshot!;
        string target = _scene.Real.Scratch.At("target");
        await _scene.Real.RestoreAsync(snapshot, target);
        string file = target + Path.Combine(_scene.Source, "file");

        (await _scene.Real.RestoreAsync(snapshot, target)).BytesRestored.ShouldBe(0);
        using (FileStream stream = File.OpenWrite(file))
        {
            stream.Position = 777 * PageSize;
            stream.Write([1, 2, 3]);
        }

        RestoreResult again = await _scene.Real.RestoreAsync(snapshot, target, options: new RestoreOptions { Verify = true });
        again.ExitCode.ShouldBe(0);
        again.BytesRestored.ShouldBeInRange(PageSize, 128 * PageSize);
        File.ReadAllBytes(file).AsSpan().SequenceEqual(content).ShouldBeTrue();
    }

    [Fact]
    public async Task ARestoreFetchesEachFrameOnceAlthoughItsPagesLieAllOverTheFile()
    {
        RecordingBackend storage = null!;
        await using PagedScene scene = await PagedScene.CreateAsync(inner => storage = new RecordingBackend(inner));
        byte[] content = PagedScene.RandomBytes(1000 * PageSize, seed: 26);
        Random random = new(27);
        Snapshot snapshot = null!;
        for (int i = 0; i < 6; i++)
        {
            scene.Write("file", content);
            snapshot = (await scene.BackupAsync()).Snapshot!;
            if (i < 5)
            {
                PagedScene.Change(content, PageSize, 60, random);
            }
        }

        storage.Clear();
        (await scene.RestoredAsync(snapshot, "file")).AsSpan().SequenceEqual(content).ShouldBeTrue();
        storage.Bytes(StorageOperation.Read, "d/").ShouldBeLessThanOrEqualTo(scene.Real.Objects("d/").Sum(static pack => new FileInfo(pack).Length));
    }

    [Fact]
    public async Task AFileThatShrinksWhileItIsReadIsWhatWasReadOfIt()
    {
        byte[] content = PagedScene.RandomBytes((9000 * 512) + 300, seed: 28);
        _scene.Write("file", content);
        using PagedSource source = new(_scene.Source, 512) { Extra = 3_000_000 };
        BackupResult result = await new BackupRunner(_scene.Real.Repository, TimeProvider.System, null).RunAsync(
            source, new BackupOptions { Hostname = "here" }, new BackupProgress(), CancellationToken.None);

        result.Warnings.ShouldBe(1);
        (await _scene.RestoredAsync(result.Snapshot!, "file")).AsSpan().SequenceEqual(content).ShouldBeTrue();
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task AFileOfManyWindowsComesBackWithLittleMemory()
    {
        byte[] content = PagedScene.RandomBytes(60_000 * 512, seed: 13);
        _scene.Write("file", content);
        await _scene.BackupAsync(512);
        PagedScene.Change(content, 512, 20_000, new Random(14));
        _scene.Write("file", content);
        Snapshot snapshot = (await _scene.BackupAsync(512)).Snapshot!;
        string target = _scene.Real.Scratch.At("target");
        RestoreOptions little = new() { MemoryBudget = 1 << 20 };

        (await _scene.Real.RestoreAsync(snapshot, target, options: little)).ExitCode.ShouldBe(0);
        string file = target + Path.Combine(_scene.Source, "file");
        File.ReadAllBytes(file).AsSpan().SequenceEqual(content).ShouldBeTrue();

        byte[] other = [.. content];
        PagedScene.Change(other, 512, 1000, new Random(15));
        File.WriteAllBytes(file, other);
        RestoreResult again = await _scene.Real.RestoreAsync(snapshot, target, options: little);
        again.ExitCode.ShouldBe(0);
        again.BytesRestored.ShouldBeLessThan(content.Length / 2);
        File.ReadAllBytes(file).AsSpan().SequenceEqual(content).ShouldBeTrue();
    }

    [Fact]
    public async Task AnotherPageSizeOrAFullBackupStoresTheFileWhole()
    {
        byte[] content = PagedScene.RandomBytes(400 * PageSize, seed: 16);
        _scene.Write("file", content);
        await _scene.BackupAsync();
        PagedScene.Change(content, PageSize, 300, new Random(17));
        _scene.Write("file", content);
        (await _scene.BackupAsync()).BytesPut.ShouldBeGreaterThan(300 * PageSize);

        foreach ((int size, SnapshotType type) in ((int, SnapshotType)[])[(4096, SnapshotType.Incremental), (4096, SnapshotType.Full), (PageSize, SnapshotType.Full)])
        {
            // Only touched; a full backup of the same cuts the same chunks.
            _scene.Write("file", content);
            BackupResult result = await _scene.BackupAsync(size, type);
            (result.BytesPut > 380 * PageSize).ShouldBe((size, type) != (4096, SnapshotType.Full), $"{size} {type}");
            (await _scene.BlocksAsync(result.Snapshot!, "file"))[0].Chunks.Count.ShouldBe((content.Length + (128 * size) - 1) / (128 * size));
            (await _scene.RestoredAsync(result.Snapshot!, "file")).AsSpan().SequenceEqual(content).ShouldBeTrue();
        }
    }

    [Fact]
    public async Task SmallFilesAndAShortTailAreKeptExactly()
    {
        foreach (int length in (int[])[0, 1, 256, 257, PageSize - 1, PageSize, PageSize + 1, (2 * PageSize) + 3, (128 * PageSize) + 1])
        {
            _scene.Write($"{length}", PagedScene.RandomBytes(length, length));
        }

        Snapshot first = (await _scene.BackupAsync()).Snapshot!;
        foreach (string file in Directory.GetFiles(_scene.Source))
        {
            byte[] content = File.ReadAllBytes(file);
            (await _scene.RestoredAsync(first, Path.GetFileName(file))).AsSpan().SequenceEqual(content).ShouldBeTrue(file);
            File.WriteAllBytes(file, [.. content, 1, 2, 3]);
        }

        Snapshot second = (await _scene.BackupAsync()).Snapshot!;
        foreach (string file in Directory.GetFiles(_scene.Source))
        {
            (await _scene.RestoredAsync(second, Path.GetFileName(file))).AsSpan().SequenceEqual(File.ReadAllBytes(file)).ShouldBeTrue(file);
        }

        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task ACopyIsAsPagedAsItsOriginalAndStoresAsLittle()
    {
        await using RealRepository target = await RealRepository.CreateAsync();
        byte[] content = PagedScene.RandomBytes(600 * PageSize, seed: 18);
        List<byte[]> generations = [];
        for (int i = 0; i < 3; i++)
        {
            _scene.Write("file", content);
            await _scene.BackupAsync();
            generations.Add([.. content]);
            PagedScene.Change(content, PageSize, 20, new Random(i));
        }

        CopyResult result = await new CopyRunner(_scene.Real.Repository, target.Repository, new CopyOptions { Hostname = "copier" }, TimeProvider.System)
            .RunAsync(await _scene.Real.ListAsync(), new CopyProgress(), CancellationToken.None);

        result.Snapshots.Select(static copy => copy.Failures).ShouldBe([0, 0, 0]);
        result.Snapshots[1].BytesPut.ShouldBeLessThan((int)(20 * PageSize * 1.15) + 40_000);
        IReadOnlyList<Snapshot> copies = await target.ListAsync();
        for (int i = 0; i < 3; i++)
        {
            byte[] was = generations[i];
            await PagedScene.LookAsync(target, copies[i], Path.Combine(_scene.Source, "file"), (reader, node) =>
            {
                node.Content!.PageSize.ShouldBe(PageSize);
                return ReadsAreRightAsync(reader.OpenFile(node), was, new Random(i));
            });
        }

        await _scene.ShouldBeCleanAsync(target);
    }

    [Fact]
    public async Task PruneKeepsWhatMapsNeedAndTakesWhatNoneDoes()
    {
        byte[] content = PagedScene.RandomBytes(800 * PageSize, seed: 19);
        _scene.Write("file", content);
        Snapshot first = (await _scene.BackupAsync()).Snapshot!;
        PagedScene.Change(content, PageSize, 700, new Random(20));
        _scene.Write("file", content);
        Snapshot second = (await _scene.BackupAsync()).Snapshot!;
        long before = _scene.Real.Objects("d/").Sum(static pack => new FileInfo(pack).Length);

        await _scene.ForgetAsync(first);
        await _scene.PruneAsync();

        _scene.Real.Objects("d/").Sum(static pack => new FileInfo(pack).Length).ShouldBeLessThan(before - (600 * PageSize));
        (await _scene.RestoredAsync(second, "file")).AsSpan().SequenceEqual(content).ShouldBeTrue();
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task DamageNamesTheFileAndTheRestIsThere()
    {
        _scene.Write("a", PagedScene.RandomBytes(200 * PageSize, seed: 21));
        Snapshot first = (await _scene.BackupAsync()).Snapshot!;
        _scene.Write("b", PagedScene.RandomBytes(200 * PageSize, seed: 22));
        Snapshot second = (await _scene.BackupAsync()).Snapshot!;
        string pack = await PackOfAsync(second, "b");
        ScratchFolder.Run("chmod", "0600", pack);
        using (FileStream stream = File.OpenWrite(pack))
        {
            stream.Position = 500_000;
            stream.Write(new byte[100]);
        }

        CheckResult check = await _scene.Real.CheckAsync(readData: true);
        check.Findings.SelectMany(static f => f.Files).Select(static f => PathText.Show(f.Path)).Distinct().ShouldBe([Path.Combine(_scene.Source, "b")]);
        RestoreResult restored = await _scene.Real.RestoreAsync(second, _scene.Real.Scratch.At("target"));
        restored.ExitCode.ShouldNotBe(0);
        File.Exists(_scene.Real.Scratch.At("target") + Path.Combine(_scene.Source, "b")).ShouldBeFalse();
        File.Exists(_scene.Real.Scratch.At("target") + Path.Combine(_scene.Source, "a")).ShouldBeTrue();
        (await _scene.RestoredAsync(first, "a")).Length.ShouldBe(200 * PageSize);

        RepairOptions options = new() { Hostname = "here" };
        RepairedSnapshot repaired = (await new RepairRunner(_scene.Real.Repository, TimeProvider.System).RepairSnapshotsAsync(options, new CheckProgress(), CancellationToken.None))
            .Snapshots.ShouldHaveSingleItem();
        repaired.Lost.Select(static path => PathText.Show(path)).ShouldBe([Path.Combine(_scene.Source, "b")]);
    }

    [Fact]
    public async Task APageThatWasTakenForTheOneBeforeIsFoundByCheckAndRestore()
    {
        byte[] pages = PagedScene.RandomBytes(4 * PageSize, seed: 23);
        Snapshot wrong;
        await using (SnapshotForge forge = await SnapshotForge.OpenAsync(_scene.Real.Repository))
        {
            ChunkId chunk = forge.Data(pages);

            // As if the second page had changed into one with the same first eight bytes of its hash.
            byte[] key = _scene.Real.Repository.Keys.DataIdKey.ToArray();
            ChunkId[] ids = [.. pages.Chunk(PageSize).Select(page => PageDigest.IdOf(key, page))];
            PageDigest digest = default;
            for (int i = 0; i < 4; i++)
            {
                digest ^= PageDigest.Of(key, i, i == 1 ? ids[i] with { Low = ids[i].Low + 1 } : ids[i]);
            }

            TlvWriter block = new();
            new PageBlock
            {
                PageCount = 4,
                Chunks = [new ChunkReference(chunk, (uint)pages.Length)],
                Runs = [new PageRun(0, 4, 0, 0)],
                Digest = digest,
            }.Write(block);
            TlvWriter sums = new();
            PageBlock.WriteSums(sums, [.. ids.Select(static id => PageDigest.SumOf(id))]);
            byte[] node = SnapshotForge.Node(new Node
            {
                Metadata = new NodeMetadata { Name = "file"u8.ToArray(), Type = NodeType.File, Mode = 0x1a4, Size = (ulong)pages.Length },
                Content = new FileContent
                {
                    Kind = ContentKind.Pages,
                    PageSize = PageSize,
                    Chunks = [new ChunkReference(forge.Metadata(block.Written), (uint)block.Length)],
                    Sums = [new ChunkReference(forge.Metadata(sums.Written), (uint)sums.Length)],
                },
            });
            wrong = await forge.CommitAsync(forge.Tree(node), "/file");
        }

        (await _scene.Real.CheckAsync()).Findings.ShouldBeEmpty();
        CheckFinding finding = (await _scene.Real.CheckAsync(readData: true)).Findings.ShouldHaveSingleItem();
        finding.Damage.Kind.ShouldBe(DamageKind.PagesWrong);
        PathText.Show(finding.Files.ShouldHaveSingleItem().Path).ShouldBe("/file");
        RestoreResult result = await _scene.Real.RestoreAsync(wrong, _scene.Real.Scratch.At("target"));
        result.ExitCode.ShouldBe(14);
        File.Exists(_scene.Real.Scratch.At("target/file")).ShouldBeFalse();

        // Neither does one that stands there already pass.
        File.WriteAllBytes(_scene.Real.Scratch.At("target/file"), pages);
        (await _scene.Real.RestoreAsync(wrong, _scene.Real.Scratch.At("target"))).ExitCode.ShouldBe(14);
    }

    [Fact]
    public async Task DiffAndDumpKnowPages()
    {
        byte[] content = PagedScene.RandomBytes(300 * PageSize, seed: 24);
        content.AsSpan(7 * PageSize, 40 * PageSize).Clear();
        _scene.Write("file", content);
        Snapshot first = (await _scene.BackupAsync()).Snapshot!;
        PagedScene.Change(content, PageSize, 10, new Random(25));
        _scene.Write("file", content);
        Snapshot second = (await _scene.BackupAsync()).Snapshot!;
        await _scene.LookAsync(second, "file", async (reader, node) =>
        {
            SnapshotFile file = reader.OpenFile(node);
            file.Locate(CancellationToken.None);
            MemoryStream whole = new();
            await file.CopyToAsync(0, file.Length, whole, CancellationToken.None);
            whole.GetBuffer().AsSpan(0, (int)whole.Length).SequenceEqual(content).ShouldBeTrue();
            file.Extents!.Sum(static extent => (long)extent.Length).ShouldBeGreaterThan(250 * PageSize);
            file.Seek(0, hole: true).ShouldNotBeNull();
            reader.Trees.DataChunksOf(node.Content!).Sum(static chunk => chunk.Length).ShouldBeGreaterThan(260 * PageSize);
        });
        first.Tree.ShouldNotBe(second.Tree);
    }

    // Some pages other, some zeros, and now and then shorter or longer, by no whole page.
    private static byte[] Edited(byte[] content, int pageSize, Random random)
    {
        int length = random.Next(3) switch
        {
            0 => content.Length - random.Next(content.Length / 10),
            1 => content.Length + random.Next(content.Length / 10),
            _ => content.Length,
        };
        byte[] edited = new byte[length];
        content.AsSpan(0, Math.Min(length, content.Length)).CopyTo(edited);
        if (length > content.Length && random.Next(2) == 0)
        {
            random.NextBytes(edited.AsSpan(content.Length));
        }

        PagedScene.Change(edited, pageSize, length / pageSize / random.Next(3, 40), random);
        for (int i = 0; i < 20; i++)
        {
            int page = random.Next((length / pageSize) - 3);
            edited.AsSpan(page * pageSize, random.Next(1, 4) * pageSize).Clear();
        }

        return edited;
    }

    private static async Task ReadsAreRightAsync(SnapshotFile file, byte[] content, Random random)
    {
        file.Length.ShouldBe(content.Length);
        byte[] part = new byte[300_000];
        for (int i = 0; i < 40; i++)
        {
            int offset = random.Next(content.Length);
            int wanted = random.Next(1, part.Length);
            int read = await file.ReadAsync(offset, part.AsMemory(0, wanted), CancellationToken.None);
            read.ShouldBe(Math.Min(wanted, content.Length - offset));
            part.AsSpan(0, read).SequenceEqual(content.AsSpan(offset, read)).ShouldBeTrue($"{read} bytes at {offset}");
        }
    }

    private static int MostChunksPerReach(PageBlock block)
    {
        int[] chunkOf = [.. block.Runs.SelectMany(static run => Enumerable.Repeat(run.Chunk, run.Count))];
        return chunkOf.Chunk(128).Max(static reach => reach.Where(static chunk => chunk >= 0).Distinct().Count());
    }

    private static long Allocated(string file) => long.Parse(ScratchFolder.Run("stat", "-c", "%b", file).Trim(), System.Globalization.CultureInfo.InvariantCulture) * 512;

    // The pack that the first page of a file is in.
    private async Task<string> PackOfAsync(Snapshot snapshot, string name)
    {
        ChunkId chunk = (await _scene.BlocksAsync(snapshot, name))[0].Chunks[0].Id;
        using BackupIQ.Repository.Index.ChunkIndex index =
            (await BackupIQ.Repository.Index.IndexLoader.LoadAsync(_scene.Real.Repository, null, CancellationToken.None)).Index;
        index.TryFind(BackupIQ.Repository.Packs.PackKind.Data, chunk, out BackupIQ.Repository.Index.ChunkLocation location).ShouldBeTrue();
        string pack = index.GetFrame(location.Frame).Pack.ToString();
        return _scene.Real.Objects("d/").Single(path => path.EndsWith(pack, StringComparison.Ordinal));
    }
}
