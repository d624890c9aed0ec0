using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Restore;

/// <summary>
/// Snapshots made by somebody who has the key and means harm, and other processes that exchange entries meanwhile: whatever they do,
/// nothing is written or removed outside the target.
/// </summary>
public sealed class HostileSnapshotTests : IAsyncLifetime
{
    private RealRepository _repository = null!;

    private ScratchFolder Scratch => _repository.Scratch;

    private string Target => Scratch.At("place", "target");

    private string Outside => Scratch.At("place", "outside");

    public async ValueTask InitializeAsync()
    {
        _repository = await RealRepository.CreateAsync();
        Scratch.Write("place/outside/precious", "must stay"u8);
        Directory.CreateDirectory(Target);
    }

    public ValueTask DisposeAsync() => _repository.DisposeAsync();

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("/")]
    [InlineData("a/b")]
    [InlineData("../outside/precious")]
    [InlineData("/etc/backupiq-was-here")]
    [InlineData("nul\0byte")]
    public async Task ANameThatLeadsOutOfItsFolderIsRefusedAndTheRestIsRestored(string name)
    {
        byte[] hostile = PathText.Bytes(name);
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        byte[][] nodes = [SnapshotForge.File(hostile, "harm"u8), SnapshotForge.File("~harmless"u8, "fine"u8)];
        RestoreResult result = await _repository.RestoreAsync(await forge.CommitAsync(forge.Tree(nodes)), Target);

        result.ExitCode.ShouldBe(14);
        RestoreIssue issue = result.Errors.ShouldHaveSingleItem();
        issue.Code.ShouldBe(ErrorCodes.HostileName);
        Names(Target).ShouldBe(["~harmless"]);
        NothingOutsideChanged();
        File.Exists("/etc/backupiq-was-here").ShouldBeFalse();
    }

    [Theory]
    [InlineData("..")]
    [InlineData("x/../../outside")]
    public async Task AFolderOfSuchANameIsNotEntered(string name)
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        ChunkId inner = forge.Tree(SnapshotForge.File("precious"u8, "harm"u8));
        Snapshot snapshot = await forge.CommitAsync(forge.Tree(SnapshotForge.Folder(PathText.Bytes(name), inner)), "/");
        RestoreResult result = await _repository.RestoreAsync(snapshot, Target, options: new RestoreOptions { Delete = true });
        result.ExitCode.ShouldBe(14);
        Names(Target).ShouldBeEmpty();
        NothingOutsideChanged();
    }

    [Fact]
    public async Task ALinkAndAFolderOfOneNameDoNotMakeAWayOut()
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        ChunkId inner = forge.Tree(SnapshotForge.File("precious"u8, "harm"u8));
        ChunkId root = forge.Tree(SnapshotForge.Link("way"u8, PathText.Bytes(Outside)), SnapshotForge.Folder("way"u8, inner));
        RestoreResult result = await _repository.RestoreAsync(await forge.CommitAsync(root), Target);
        result.ExitCode.ShouldBe(14);
        new FileInfo(Path.Combine(Target, "way")).LinkTarget.ShouldBe(Outside);
        NothingOutsideChanged();
    }

    [Fact]
    public async Task AFileThatIsAHardLinkToALinkIsNotWrittenThroughIt()
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        ChunkId root = forge.Tree(
            SnapshotForge.Link("a"u8, PathText.Bytes(Path.Combine(Outside, "precious")), group: 7), SnapshotForge.File("b"u8, "harm"u8, group: 7));
        await _repository.RestoreAsync(await forge.CommitAsync(root), Target);
        NothingOutsideChanged();
    }

    [Fact]
    public async Task LinksThatStandInTheTargetAreReplacedAndNeverFollowed()
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        ChunkId inner = forge.Tree(SnapshotForge.File("precious"u8, "restored"u8));
        Snapshot snapshot = await forge.CommitAsync(forge.Tree(SnapshotForge.File("file"u8, "restored"u8), SnapshotForge.Folder("folder"u8, inner)), "/");
        foreach (bool delete in (bool[])[false, true])
        {
            Directory.Delete(Target, recursive: true);
            Directory.CreateDirectory(Target);
            File.CreateSymbolicLink(Path.Combine(Target, "file"), Path.Combine(Outside, "precious"));
            Directory.CreateSymbolicLink(Path.Combine(Target, "folder"), Outside);
            Directory.CreateSymbolicLink(Path.Combine(Target, "stray"), Outside);
            RestoreResult result = await _repository.RestoreAsync(snapshot, Target, options: new RestoreOptions { Delete = delete });
            result.ExitCode.ShouldBe(0);
            new FileInfo(Path.Combine(Target, "file")).LinkTarget.ShouldBeNull();
            new DirectoryInfo(Path.Combine(Target, "folder")).LinkTarget.ShouldBeNull();
            File.ReadAllText(Path.Combine(Target, "folder", "precious")).ShouldBe("restored");
            new DirectoryInfo(Path.Combine(Target, "stray")).Exists.ShouldBe(!delete);
            NothingOutsideChanged();
        }
    }

    [Fact]
    public async Task AFolderExchangedForALinkWhileTheRestoreRunsLeadsNowhere()
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        ChunkId inner = forge.Tree(SnapshotForge.File("first"u8, "1"u8), SnapshotForge.File("precious"u8, "harm"u8), SnapshotForge.Link("second"u8, "x"u8));
        Snapshot snapshot = await forge.CommitAsync(forge.Tree(SnapshotForge.Folder("folder"u8, inner)));
        WatchedTarget Exchanging(IRestoreTarget target) => new(target)
        {
            BeforeMaking = name =>
            {
                string folder = Path.Combine(Target, "folder");
                if (name == "first")
                {
                    Directory.Move(folder, Path.Combine(Target, "moved away"));
                    Directory.CreateSymbolicLink(folder, Outside);
                }
            },
        };
        await _repository.RestoreAsync(snapshot, Target, into: Exchanging);
        NothingOutsideChanged();
        Names(Path.Combine(Target, "moved away")).ShouldBe(["first", "precious", "second"]);
    }

    [Fact]
    public async Task ALinkPutWhereAFileIsAboutToBeMadeIsNotWrittenThrough()
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        byte[] large = new byte[900_000];
        new Random(1).NextBytes(large);
        byte[] node = SnapshotForge.Node(new Node
        {
            Metadata = new NodeMetadata { Name = "large"u8.ToArray(), Type = NodeType.File, Mode = 0x1a4, Size = 1_800_000 },
            Content = new FileContent { Kind = ContentKind.Chunks, Chunks = [new(forge.Data(large), 900_000), new(forge.Data([.. large.Reverse()]), 900_000)] },
        });
        Snapshot snapshot = await forge.CommitAsync(forge.Tree(node, SnapshotForge.File("small"u8, "harm"u8)));
        WatchedTarget Planting(IRestoreTarget target) => new(target)
        {
            BeforeMaking = name => File.CreateSymbolicLink(Path.Combine(Target, name), Path.Combine(Outside, "precious")),
        };
        RestoreResult result = await _repository.RestoreAsync(snapshot, Target, into: Planting);
        result.ExitCode.ShouldBe(1);
        result.Errors.Select(static e => e.Code).ShouldAllBe(static code => code == ErrorCodes.RestoreTarget);
        result.Errors.Count.ShouldBe(2);
        NothingOutsideChanged();
    }

    [Fact]
    public async Task AFileExchangedForALinkBetweenTwoOfItsChunksIsNotWrittenThrough()
    {
        string source = Scratch.WriteRandom("source/large", 24 << 20, seed: 2);
        Snapshot snapshot = (await _repository.BackupAsync(source)).Snapshot!;
        string restored = Path.Combine(Target, "large");
        int writes = 0;
        WatchedTarget Exchanging(IRestoreTarget target) => new(target)
        {
            BeforeWriting = (_, _) =>
            {
                if (Interlocked.Increment(ref writes) == 4)
                {
                    File.Delete(restored);
                    File.CreateSymbolicLink(restored, Path.Combine(Outside, "precious"));
                }
            },
        };
        await _repository.RestoreAsync(snapshot, Target, source, into: Exchanging);
        NothingOutsideChanged();
    }

    [Theory]
    [InlineData(2_000_000, 1_000_000u)]
    [InlineData(500_000, 1_000_000u)]
    [InlineData(1_000_000, 999_999u)]
    public async Task ContentThatDoesNotAddUpToTheSizeIsToldAndNotMade(long size, uint claimed)
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        byte[] bytes = new byte[1_000_000];
        new Random(3).NextBytes(bytes);
        byte[] node = SnapshotForge.Node(new Node
        {
            Metadata = new NodeMetadata { Name = "wrong"u8.ToArray(), Type = NodeType.File, Mode = 0x1a4, Size = (ulong)size },
            Content = new FileContent { Kind = ContentKind.Chunks, Chunks = [new(forge.Data(bytes), claimed)] },
        });
        RestoreResult result = await _repository.RestoreAsync(await forge.CommitAsync(forge.Tree(node)), Target);
        result.ExitCode.ShouldBe(14);
        result.Errors.ShouldHaveSingleItem().PathText.ShouldBe("/wrong");
        Names(Target).ShouldBeEmpty();
    }

    [Fact]
    public async Task ATreeThatContainsItselfCannotBeMadeAndADeepOneNeedsNoStack()
    {
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(_repository.Repository);
        ChunkId tree = forge.Tree(SnapshotForge.File("bottom"u8, "x"u8));
        for (int i = 0; i < 3000; i++)
        {
            tree = forge.Tree(SnapshotForge.Folder("d"u8, tree));
        }

        RestoreResult result = await _repository.RestoreAsync(await forge.CommitAsync(tree), Target);
        result.ExitCode.ShouldBe(0);
        result.FilesRestored.ShouldBe(3001);
    }

    private static string[] Names(string folder) =>
        [.. Directory.EnumerateFileSystemEntries(folder).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private void NothingOutsideChanged()
    {
        Names(Scratch.At("place")).ShouldBe(["outside", "target"]);
        Names(Outside).ShouldBe(["precious"]);
        File.ReadAllText(Path.Combine(Outside, "precious")).ShouldBe("must stay");
    }
}
