using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Patterns;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Restore;

/// <summary>Restores of real backups into real folders: what is there already, what is chosen, what is damaged.</summary>
public sealed class RestoreRunnerTests : IAsyncLifetime
{
    private static readonly DateTime Past = new(2026, 11, 20, 12, 0, 0, DateTimeKind.Utc);

    private RealRepository _repository = null!;

    private ScratchFolder Scratch => _repository.Scratch;

    private string Source => Scratch.At("source");

    private string Target => Scratch.At("target");

    public async ValueTask InitializeAsync() => _repository = await RealRepository.CreateAsync();

    public ValueTask DisposeAsync() => _repository.DisposeAsync();

    [Fact]
    public async Task EveryKindOfEntryComesBackToTheLastBit()
    {
        Directory.CreateDirectory(Source);
        EveryKindOfEntryTree.Fill(Source);
        Snapshot snapshot = await BackupAsync();
        RestoreResult result = await RestoreAsync(snapshot);
        result.ExitCode.ShouldBe(0);
        ScratchFolder.Run("rsync", "-aHAXSn", "--delete", "--itemize-changes", Source + "/", Target + "/").ShouldBeEmpty();

        RestoreResult again = await RestoreAsync(snapshot);
        again.FilesRestored.ShouldBe(0);
        again.BytesRestored.ShouldBe(0);
        ScratchFolder.Run("rsync", "-aHAXSn", "--delete", "--itemize-changes", Source + "/", Target + "/").ShouldBeEmpty();
    }

    [Fact]
    public async Task AlwaysMakesWhatIsThereWhatTheSnapshotHas()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        WriteTarget("a", "other content");
        WriteTarget("docs/b", "b of the snapshot");
        RestoreResult result = await RestoreAsync(snapshot);
        result.ExitCode.ShouldBe(0);
        ShouldEqualSource();
    }

    [Fact]
    public async Task IfChangedTrustsSizeAndTime()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        string trusted = WriteTarget("a", "A OF THE SNAPSHOT");
        File.SetLastWriteTimeUtc(trusted, Past);
        WriteTarget("docs/b", "B OF THE SNAPSHOT");
        await RestoreAsync(snapshot, new RestoreOptions { Overwrite = OverwriteRule.IfChanged });
        File.ReadAllText(trusted).ShouldBe("A OF THE SNAPSHOT");
        File.ReadAllText(Scratch.At("target/docs/b")).ShouldBe("b of the snapshot");
        await RestoreAsync(snapshot, new RestoreOptions { Overwrite = OverwriteRule.Always });
        ShouldEqualSource();
    }

    [Fact]
    public async Task IfNewerLeavesWhatIsNotOlder()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        File.SetLastWriteTimeUtc(WriteTarget("a", "newer"), Past.AddDays(1));
        File.SetLastWriteTimeUtc(WriteTarget("docs/b", "older"), Past.AddDays(-1));
        RestoreResult result = await RestoreAsync(snapshot, new RestoreOptions { Overwrite = OverwriteRule.IfNewer });
        File.ReadAllText(Scratch.At("target/a")).ShouldBe("newer");
        File.ReadAllText(Scratch.At("target/docs/b")).ShouldBe("b of the snapshot");
        result.FilesSkipped.ShouldBe(1);
    }

    [Fact]
    public async Task NeverOnlyAddsWhatIsMissing()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        WriteTarget("a", "mine");
        RestoreResult result = await RestoreAsync(snapshot, new RestoreOptions { Overwrite = OverwriteRule.Never });
        result.FilesSkipped.ShouldBe(1);
        File.ReadAllText(Scratch.At("target/a")).ShouldBe("mine");
        File.ReadAllText(Scratch.At("target/docs/b")).ShouldBe("b of the snapshot");
    }

    [Fact]
    public async Task DeleteRemovesWhatTheSnapshotDoesNotHaveButOnlyInWhatWasBackedUp()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        string whole = Scratch.At("whole");
        string beside = Path.Combine(whole + Path.GetDirectoryName(Source)!, "beside the source");
        string inside = Path.Combine(whole + Source, "docs", "stray");
        string deep = Path.Combine(whole + Source, "stray folder", "deep", "file");
        foreach (string path in (string[])[beside, inside, deep])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, "x");
        }

        RestoreResult result = await _repository.RestoreAsync(snapshot, whole, options: new RestoreOptions { Delete = true });
        result.ExitCode.ShouldBe(0);
        result.FilesDeleted.ShouldBe(4);
        File.Exists(beside).ShouldBeTrue();
        ScratchFolder.Run("diff", "-r", Source, whole + Source).ShouldBeEmpty();
    }

    [Fact]
    public async Task DeleteLeavesWhatTheFilterDoesNotChooseAndFollowsNoLink()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        string outside = Scratch.Write("outside/kept", "x"u8);
        WriteTarget("docs/stray.tmp", "x");
        WriteTarget("docs/stray.txt", "x");
        Directory.CreateSymbolicLink(Scratch.At("target/docs/link.tmp"), Scratch.At("outside"));
        PatternList chosen = new(["*.tmp"u8.ToArray()], ignoreCase: false, "test");
        RestoreResult result = await RestoreAsync(snapshot, new RestoreOptions
        {
            Delete = true,
            Filter = (path, isDirectory) => new FilterVerdict(isDirectory || chosen.Matches(path), true),
        });
        result.FilesDeleted.ShouldBe(2);
        Names("target/docs").ShouldBe(["stray.txt"]);
        File.Exists(outside).ShouldBeTrue();
    }

    [Fact]
    public async Task AFilterChoosesWithinWhatIsRestored()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        PatternList left = new(["b"u8.ToArray()], ignoreCase: false, "test");
        await RestoreAsync(snapshot, new RestoreOptions { Filter = (path, _) => left.Matches(path) ? new FilterVerdict(false, false) : new FilterVerdict(true, true) });
        Names("target").ShouldBe(["a", "docs", "large"]);
        Names("target/docs").ShouldBeEmpty();
    }

    [Theory]
    [InlineData("/")]
    [InlineData(null)]
    public async Task HolesAreNotAmongWhatIsStillToBeWritten(string? path)
    {
        Scratch.WriteRandom("source/plain", 3 << 20, seed: 1);
        using (FileStream sparse = File.Create(Scratch.At("source/sparse")))
        {
            sparse.SetLength(64L << 30);
            sparse.Position = 40L << 30;
            sparse.Write(File.ReadAllBytes(Scratch.At("source/plain")));
        }

        Snapshot snapshot = await BackupAsync();
        RestoreProgress progress = new();
        await _repository.RestoreAsync(snapshot, Target, path ?? Source, progress: progress);
        progress.TotalBytes.ShouldBe(6 << 20);
        progress.BytesRestored.ShouldBe(6 << 20);
        progress.PercentDone.ShouldBe(1);
    }

    [Fact]
    public async Task LongRunsOfZerosBecomeHolesWhereThatIsAsked()
    {
        byte[] bytes = new byte[8 << 20];
        new Random(1).NextBytes(bytes.AsSpan(0, 1 << 20));
        Scratch.Write("source/zeros", bytes);
        Snapshot snapshot = await BackupAsync();
        await RestoreAsync(snapshot);
        BlocksOf(Scratch.At("target/zeros")).ShouldBeGreaterThanOrEqualTo(8 << 20);
        Directory.Delete(Target, recursive: true);
        await RestoreAsync(snapshot, new RestoreOptions { Sparse = true });
        File.ReadAllBytes(Scratch.At("target/zeros")).ShouldBe(bytes);
        BlocksOf(Scratch.At("target/zeros")).ShouldBeLessThan(2 << 20);
    }

    [Fact]
    public async Task InPlaceOnlyChangedChunksAreWrittenIntoTheSameFile()
    {
        string large = Scratch.WriteRandom("source/large", 24 << 20, seed: 1);
        Scratch.WriteRandom("source/other", 2 << 20, seed: 2);
        Snapshot snapshot = await BackupAsync();
        await RestoreAsync(snapshot);
        string restored = Scratch.At("target/large");
        string before = InodeOf(restored);
        Overwrite(restored, at: 12 << 20, "changed"u8);

        WatchedTarget target = null!;
        RestoreResult result = await RestoreAsync(snapshot, into: inner => target = new WatchedTarget(inner));

        result.ExitCode.ShouldBe(0);
        InodeOf(restored).ShouldBe(before);
        File.ReadAllBytes(restored).ShouldBe(File.ReadAllBytes(large));
        target.FilesMade.ShouldBe(0);
        target.BytesWritten.ShouldBe(result.BytesRestored);
        target.BytesWritten.ShouldBeInRange(7, 4 << 20);
        result.FilesUnchanged.ShouldBe(1);
        File.GetLastWriteTimeUtc(restored).ShouldBe(Past);
    }

    [Fact]
    public async Task InPlaceAShorterOrLongerFileIsCutOrCompleted()
    {
        string large = Scratch.WriteRandom("source/large", 9 << 20, seed: 3);
        Snapshot snapshot = await BackupAsync();
        foreach (int length in (int[])[0, 5 << 20, 12 << 20])
        {
            byte[] there = new byte[length];
            File.ReadAllBytes(large).AsSpan(0, Math.Min(length, 9 << 20)).CopyTo(there);
            WriteTarget("large", "");
            File.WriteAllBytes(Scratch.At("target/large"), there);
            string before = InodeOf(Scratch.At("target/large"));
            RestoreResult result = await RestoreAsync(snapshot);
            result.ExitCode.ShouldBe(0);
            InodeOf(Scratch.At("target/large")).ShouldBe(before);
            File.ReadAllBytes(Scratch.At("target/large")).ShouldBe(File.ReadAllBytes(large));

            // Chunks of up to 4 MiB: the one that is cut comes whole.
            result.BytesRestored.ShouldBeInRange(Math.Max(0, (9 << 20) - length), length >= 9 << 20 ? 0 : Math.Min(9 << 20, (9 << 20) - length + (4 << 20)));
        }
    }

    [Fact]
    public async Task AFileWithAnotherNameOutsideIsReplacedAndNotWrittenThrough()
    {
        string large = Scratch.WriteRandom("source/large", 3 << 20, seed: 4);
        Snapshot snapshot = await BackupAsync();
        string outside = Scratch.WriteRandom("outside/file", 3 << 20, seed: 5);
        byte[] bytes = File.ReadAllBytes(outside);
        Directory.CreateDirectory(Target);
        ScratchFolder.Run("ln", outside, Scratch.At("target/large"));
        (await RestoreAsync(snapshot)).ExitCode.ShouldBe(0);
        File.ReadAllBytes(outside).ShouldBe(bytes);
        File.ReadAllBytes(Scratch.At("target/large")).ShouldBe(File.ReadAllBytes(large));
    }

    [Fact]
    public async Task WhatStandsInAnEntrysPlaceIsReplacedButAFullFolderOnlyWithDelete()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        WriteTarget("docs", "a file where the folder is to be");
        WriteTarget("a/full/of", "things");
        Directory.CreateDirectory(Scratch.At("target/large"));
        RestoreResult result = await RestoreAsync(snapshot);
        result.ExitCode.ShouldBe(1);
        result.Errors.ShouldHaveSingleItem().Code.ShouldBe(ErrorCodes.RestoreTarget);
        result.Errors[0].PathText.ShouldBe("/a");
        File.Exists(Scratch.At("target/a/full/of")).ShouldBeTrue();
        (await RestoreAsync(snapshot, new RestoreOptions { Delete = true })).ExitCode.ShouldBe(0);
        ShouldEqualSource();
    }

    [Fact]
    public async Task ADryRunTellsAndChangesNothing()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        WriteTarget("a", "mine");
        WriteTarget("stray", "mine");
        RestoreResult result = await RestoreAsync(snapshot, new RestoreOptions { DryRun = true, Delete = true });
        result.FilesRestored.ShouldBe(4);
        result.FilesDeleted.ShouldBe(1);
        Names("target").ShouldBe(["a", "stray"]);
        File.ReadAllText(Scratch.At("target/a")).ShouldBe("mine");
    }

    [Fact]
    public async Task VerifyNoticesATargetThatKeepsOtherBytesThanWereWritten()
    {
        Scratch.WriteRandom("source/large", 9 << 20, seed: 6);
        Scratch.WriteRandom("source/second", 9 << 20, seed: 7);
        Snapshot snapshot = await BackupAsync();
        int writes = 0;
        WatchedTarget Lying(IRestoreTarget inner) => new(inner)
        {
            BeforeWriting = (bytes, _) =>
            {
                if (Interlocked.Increment(ref writes) == 3)
                {
                    bytes[100] ^= 1;
                }
            },
        };
        RestoreResult result = await RestoreAsync(snapshot, new RestoreOptions { Verify = true }, Lying);
        result.ExitCode.ShouldBe(1);
        result.Errors.ShouldHaveSingleItem().Message.ShouldContain("read back");
        result.FilesVerified.ShouldBe(1);
        (await RestoreAsync(snapshot, new RestoreOptions { Verify = true })).FilesVerified.ShouldBe(2);
    }

    [Fact]
    public async Task ATargetThatIsFullEndsTheRunAndLeavesNoHalfFile()
    {
        Scratch.WriteRandom("source/large", 24 << 20, seed: 8);
        Snapshot snapshot = await BackupAsync();
        static WatchedTarget Small(IRestoreTarget inner) => new(inner)
        {
            BeforeWriting = (_, offset) =>
            {
                if (offset > 10 << 20)
                {
                    throw new RestoreItemException(ErrorCodes.Restore, "No space is left on the target.") { EndsRun = true };
                }
            },
        };
        await Should.ThrowAsync<RestoreItemException>(() => RestoreAsync(snapshot, into: Small));
        Names("target").ShouldBeEmpty();
        (await RestoreAsync(snapshot)).ExitCode.ShouldBe(0);
        ShouldEqualSource();
    }

    [Fact]
    public async Task EverythingIsMadeDurableOnceBeforeSuccess()
    {
        Snapshot snapshot = await BackupSmallTreeAsync();
        WatchedTarget target = null!;
        await RestoreAsync(snapshot, into: inner => target = new WatchedTarget(inner));
        target.Flushes.ShouldBe(1);
    }

    [Theory]
    [InlineData(0.02)]
    [InlineData(0.5)]
    [InlineData(0.9)]
    public async Task ADamagedChunkCostsItsFilesWhichAreNamedAndAbsentAndNothingElse(double place)
    {
        for (int i = 0; i < 12; i++)
        {
            Scratch.WriteRandom($"source/file {i}", 1_500_000, seed: 100 + i);
        }

        Snapshot snapshot = await BackupAsync();
        string pack = _repository.Objects("d/").ShouldHaveSingleItem();
        byte[] bytes = File.ReadAllBytes(pack);
        bytes[(int)(bytes.Length * place)] ^= 0x10;
        File.WriteAllBytes(pack, bytes);

        RestoreResult result = await RestoreAsync(snapshot);

        result.ExitCode.ShouldBe(14);
        result.DamageFound.ShouldBeTrue();
        // The ends of several files may share the frame that was hit.
        HashSet<string> damaged = [.. result.Errors.Select(static error => error.PathText)];
        damaged.Count.ShouldBeInRange(1, 6);
        result.Errors.ShouldAllBe(error => error.Message.Contains(Path.GetFileName(pack)));
        for (int i = 0; i < 12; i++)
        {
            if (damaged.Contains($"/file {i}"))
            {
                File.Exists(Scratch.At($"target/file {i}")).ShouldBeFalse();
            }
            else
            {
                File.ReadAllBytes(Scratch.At($"target/file {i}")).ShouldBe(File.ReadAllBytes(Scratch.At($"source/file {i}")));
            }
        }
    }

    [Fact]
    public async Task AMissingPackCostsTheFilesInItAndAFileThatIsThereAlreadyNeedsIt()
    {
        for (int i = 0; i < 4; i++)
        {
            Scratch.WriteRandom($"source/file {i}", 1_500_000, seed: 200 + i);
        }

        Scratch.Write("source/inline", "short enough to stand in its node"u8);
        Snapshot snapshot = await BackupAsync();
        Directory.CreateDirectory(Target);
        File.Copy(Scratch.At("source/file 2"), Scratch.At("target/file 2"));
        File.Delete(_repository.Objects("d/").ShouldHaveSingleItem());
        RestoreResult result = await RestoreAsync(snapshot);
        result.ExitCode.ShouldBe(14);
        result.Errors.Select(static e => e.PathText).ShouldBe(["/file 0", "/file 1", "/file 3"], ignoreOrder: true);
        Names("target").ShouldBe(["file 2", "inline"]);
    }

    [Fact]
    public async Task ADamagedPageOfADirectoryCostsWhatIsInItAndNothingElse()
    {
        Scratch.Write("source/lost/in it", "x"u8);
        Scratch.WriteRandom("source/kept", 600_000, seed: 9);
        Snapshot first = await BackupAsync();
        string metadata = _repository.Objects("m/").ShouldHaveSingleItem();

        // The second snapshot has its own root, in a pack of its own, and shares the folder.
        Scratch.WriteRandom("source/new", 600_000, seed: 10);
        Snapshot second = await BackupAsync();
        File.Delete(metadata);
        await using RealRepository reopened = await _repository.ReopenAsync();
        RestoreResult result = await reopened.RestoreAsync(second, Target, Source);
        result.ExitCode.ShouldBe(14);
        result.Errors.ShouldContain(static e => e.PathText.StartsWith("/lost"));
        Names("target").ShouldBe(["kept", "lost", "new"]);
        BackupIQException lost = await Should.ThrowAsync<BackupIQException>(() => reopened.RestoreAsync(first, Scratch.At("first"), Source));
        lost.Code.ExitCode.ShouldBe(14);
    }

    [Theory]
    [InlineData("d/")]
    [InlineData("m/")]
    public async Task WhatTwoPacksHaveIsTakenFromTheOneThatIsWhole(string kind)
    {
        Snapshot first = await BackupSmallTreeAsync();
        string[] firstPacks = _repository.Objects(kind);
        string[] index = _repository.Objects("i/");
        Directory.CreateDirectory(Scratch.At("aside"));
        foreach (string segment in index)
        {
            File.Move(segment, Scratch.At("aside", Path.GetFileName(segment)));
        }

        // Without the index nothing is known, so everything is stored a second time, as two hosts do that back up at once.
        await using RealRepository second = await _repository.ReopenAsync();
        Snapshot again = (await second.BackupAsync(Source, new BackupOptions { Hostname = "here", Type = SnapshotType.Full })).Snapshot!;
        foreach (string segment in index)
        {
            File.Move(Scratch.At("aside", Path.GetFileName(segment)), segment);
        }

        string[] secondPacks = [.. _repository.Objects(kind).Except(firstPacks)];
        secondPacks.ShouldNotBeEmpty();
        bool told = false;
        foreach ((string[] packs, Snapshot snapshot) in ((string[], Snapshot)[])[(firstPacks, again), (secondPacks, first)])
        {
            await using RealRepository copy = await _repository.CopyAsync();
            foreach (string pack in packs)
            {
                byte[] bytes = File.ReadAllBytes(pack);
                Array.Fill(bytes, (byte)0x55, 64, bytes.Length - 64);
                File.WriteAllBytes(Path.Combine(copy.Folder, _repository.NameOf(pack)), bytes);
            }

            await using RealRepository reopened = await copy.ReopenAsync();
            RestoreResult result = await reopened.RestoreAsync(snapshot, Target, Source);
            result.Errors.ShouldBeEmpty();
            ShouldEqualSource();
            CheckResult check = await reopened.CheckAsync();
            check.BrokenPacks.Count.ShouldBe(packs.Length);
            told |= result.DamageFound;
            if (kind == "d/")
            {
                check.DamagedFiles.ShouldBe(0);
            }

            Directory.Delete(Target, recursive: true);
        }

        // One of the two is looked at first.
        (told || kind == "m/").ShouldBeTrue();
    }

    private async Task<Snapshot> BackupAsync() => (await _repository.BackupAsync(Source, new BackupOptions { Hostname = "here", IgnoreCtime = true })).Snapshot!;

    private Task<Snapshot> BackupSmallTreeAsync()
    {
        Scratch.Write("source/a", "a of the snapshot"u8);
        Scratch.Write("source/docs/b", "b of the snapshot"u8);
        Scratch.WriteRandom("source/large", 600_000, seed: 11);
        return BackupAsync();
    }

    private Task<RestoreResult> RestoreAsync(Snapshot snapshot, RestoreOptions? options = null, Func<IRestoreTarget, IRestoreTarget>? into = null) =>
        _repository.RestoreAsync(snapshot, Target, Source, options, into);

    private string WriteTarget(string name, string content)
    {
        string path = Scratch.At("target", name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, content);
        return path;
    }

    private void ShouldEqualSource() => ScratchFolder.Run("diff", "-r", Source, Target).ShouldBeEmpty();

    private string[] Names(string folder) =>
        [.. Directory.EnumerateFileSystemEntries(Scratch.At(folder)).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private static string InodeOf(string path) => ScratchFolder.Run("stat", "-c", "%i", path);

    private static long BlocksOf(string path) => 512 * long.Parse(ScratchFolder.Run("stat", "-c", "%b", path), System.Globalization.CultureInfo.InvariantCulture);

    private static void Overwrite(string path, long at, ReadOnlySpan<byte> bytes)
    {
        using FileStream file = File.OpenWrite(path);
        file.Position = at;
        file.Write(bytes);
    }
}
