using System.Diagnostics;
using System.Text;
using BackupIQ.Engine.Diff;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Diff;

/// <summary>Comparisons of snapshots of real folders.</summary>
public sealed class DiffRunnerTests : IAsyncDisposable
{
    private readonly BackedUpFolder _folder = new();

    public ValueTask DisposeAsync() => _folder.DisposeAsync();

    [Fact]
    public async Task EveryKindOfChangeIsToldInTheOrderOfThePaths()
    {
        _folder.Write("changed", "one"u8.ToArray());
        _folder.Write("gone", "gone"u8.ToArray());
        _folder.Write("gone folder/in it", "too"u8.ToArray());
        _folder.Write("was folder/in it", "was"u8.ToArray());
        _folder.Write("mode", "mode"u8.ToArray());
        _folder.Write("same/deep/down", "same"u8.ToArray());
        File.CreateSymbolicLink(_folder.In("link"), "a");
        Snapshot before = await _folder.BackupAsync();

        _folder.Write("changed", "another one"u8.ToArray());
        File.Delete(_folder.In("gone"));
        Directory.Delete(_folder.In("gone folder"), recursive: true);
        Directory.Delete(_folder.In("was folder"), recursive: true);
        _folder.Write("was folder", "a file now"u8.ToArray());
        ScratchFolder.Run("chmod", "0400", _folder.In("mode"));
        File.Delete(_folder.In("link"));
        File.CreateSymbolicLink(_folder.In("link"), "b");
        _folder.Write("new/folder/file", "new"u8.ToArray());
        Snapshot after = await _folder.BackupAsync();

        (string[] all, DiffStatistics statistics) = await DiffAsync(before, after, metadata: true);
        all.ShouldBe([
            "Content /changed", "Removed /gone", "Removed /gone folder", "Removed /gone folder/in it", "Metadata /link", "Metadata /mode",
            "Added /new", "Added /new/folder", "Added /new/folder/file", "Type /was folder", "Removed /was folder/in it",
        ]);
        (string[] content, _) = await DiffAsync(before, after, metadata: false);
        content.ShouldBe([.. all.Where(static line => !line.StartsWith("Metadata", StringComparison.Ordinal))]);

        statistics.ChangedFiles.ShouldBe(1);
        statistics.ChangedMetadata.ShouldBe(2);
        (statistics.Added.Files, statistics.Added.Directories).ShouldBe((2, 2));
        (statistics.Removed.Files, statistics.Removed.Directories).ShouldBe((3, 2));
        statistics.Added.Bytes.ShouldBe("another one".Length + "a file now".Length + "new".Length);
        statistics.Removed.Bytes.ShouldBe("one".Length + "gone".Length + "too".Length + "was".Length);
    }

    [Fact]
    public async Task RenamesOfFilesAndWholeFoldersAreFoundAndNothingElseIsToldOfThem()
    {
        _folder.Write("photos/2025/a.jpg", "a"u8.ToArray());
        _folder.Write("photos/2025/b/c.jpg", "c"u8.ToArray());
        _folder.WriteRandom("report", 3_000_000, seed: 1);
        _folder.Write("copies/x", "equal"u8.ToArray());
        _folder.Write("copies/y", "equal"u8.ToArray());
        _folder.Write("empty", []);
        Snapshot before = await _folder.BackupAsync();

        Directory.CreateDirectory(_folder.In("archive"));
        Directory.Move(_folder.In("photos/2025"), _folder.In("archive/old"));
        File.Move(_folder.In("report"), _folder.In("final report"));
        Directory.CreateDirectory(_folder.In("z"));
        File.Move(_folder.In("copies/x"), _folder.In("z/other"));
        File.Move(_folder.In("copies/y"), _folder.In("z/y"));
        File.Move(_folder.In("empty"), _folder.In("still empty"));
        Snapshot after = await _folder.BackupAsync();

        (string[] changes, DiffStatistics statistics) = await DiffAsync(before, after, metadata: false);
        changes.ShouldBe([
            "Added /archive", "Renamed /photos/2025 -> /archive/old", "Removed /empty", "Renamed /report -> /final report", "Added /still empty",
            "Added /z", "Renamed /copies/x -> /z/other", "Renamed /copies/y -> /z/y",
        ]);
        (statistics.RenamedFiles, statistics.RenamedDirectories).ShouldBe((3, 1));
        (statistics.Added.Bytes, statistics.Removed.Bytes).ShouldBe((0, 0));
    }

    [Fact]
    public async Task OfAFolderMovedWithAChangeTheUnchangedFilesAreRenames()
    {
        for (int i = 0; i < 20; i++)
        {
            _folder.Write($"old/{i:00}", Encoding.ASCII.GetBytes($"file {i}"));
        }

        Snapshot before = await _folder.BackupAsync();
        Directory.Move(_folder.In("old"), _folder.In("new"));
        _folder.Write("new/07", "changed"u8.ToArray());
        Snapshot after = await _folder.BackupAsync();

        (string[] changes, DiffStatistics statistics) = await DiffAsync(before, after, metadata: false);
        changes.Count(static line => line.StartsWith("Renamed", StringComparison.Ordinal)).ShouldBe(19);
        changes.ShouldContain("Added /new/07");
        changes.ShouldContain("Removed /old/07");
        (statistics.Added.Files, statistics.Removed.Files).ShouldBe((1, 1));
    }

    [Fact]
    public async Task AChangeInALargeFolderReadsTheChangedPagesOnly()
    {
        Directory.CreateDirectory(_folder.In("wide"));
        EveryKindOfEntryTree.FillWide(_folder.In("wide"), 60_000);
        Snapshot before = await _folder.BackupAsync();
        File.Delete(_folder.In("wide", "f0055433-7"));
        _folder.Write("wide/new one", "new"u8.ToArray());
        Snapshot after = await _folder.BackupAsync();

        using ChunkIndex index = await _folder.IndexAsync();
        _folder.Storage.Clear();
        List<string> changes = [];
        DiffStatistics statistics = DiffRunner.Run(
            await _folder.RepositoryAsync(), index, new DiffSide(before, _folder.RootBytes), new DiffSide(after, _folder.RootBytes),
            new DiffOptions(), change => changes.Add(Line(change)), NoDamage, CancellationToken.None);

        changes.ShouldBe(["Removed /wide/f0055433-7", "Added /wide/new one"]);
        statistics.Added.TreePages.ShouldBeLessThan(8);
        statistics.Removed.TreePages.ShouldBeLessThan(8);
    }

    [Fact]
    public async Task WhatADamagedPackTakesIsToldAndNothingIsCalledAddedOrRemovedForIt()
    {
        _folder.Write("a/one", "one"u8.ToArray());
        _folder.Write("b/two", "two"u8.ToArray());
        Snapshot before = await _folder.BackupAsync();
        string[] packsBefore = MetadataPacks();
        _folder.Write("b/two", "changed"u8.ToArray());
        Snapshot after = await _folder.BackupAsync();
        foreach (string pack in MetadataPacks().Except(packsBefore))
        {
            byte[] bytes = File.ReadAllBytes(pack);
            bytes.AsSpan(64, bytes.Length - 64 - 4096 > 0 ? 64 : 8).Fill(0x55);
            ScratchFolder.Run("chmod", "0600", pack);
            File.WriteAllBytes(pack, bytes);
        }

        List<string> changes = [];
        List<string> damage = [];
        using ChunkIndex index = await _folder.IndexAsync();
        DiffRunner.Run(
            await _folder.RepositoryAsync(), index, new DiffSide(before, "/"u8.ToArray()), new DiffSide(after, "/"u8.ToArray()),
            new DiffOptions(), change => changes.Add(Line(change)), (path, e) => damage.Add($"{Encoding.UTF8.GetString(path)}: {e.Code}"), CancellationToken.None);

        changes.ShouldBeEmpty();
        damage.ShouldHaveSingleItem().ShouldContain(nameof(ErrorCodes.CorruptData));
    }

    [Fact]
    public async Task RandomChangesAreWhatResticSays()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/restic"), "restic is not installed: apt-get install restic.");
        Random random = new(20_261_125);
        for (int i = 0; i < 60; i++)
        {
            MakeEntry(random);
        }

        Restic("init");
        Restic("backup", _folder.Root);
        Snapshot before = await _folder.BackupAsync();
        for (int round = 0; round < 4; round++)
        {
            for (int i = 0; i < 25; i++)
            {
                Change(random);
            }

            Restic("backup", "--force", _folder.Root);
            Snapshot after = await _folder.BackupAsync();
            (string[] ours, _) = await DiffAsync(before, after, metadata: false, renames: false);
            string[] ids = [.. Restic("snapshots", "--compact").Split('\n').Where(static line => line.Length > 8 && line[..8].All(char.IsAsciiHexDigit)).Select(static line => line[..8])];
            string[] theirs = [.. Restic("diff", ids[^2], ids[^1]).Split('\n').Where(line => line.Length > 5 && line[5] == '/').Select(FromRestic)];

            // What lies in a folder that became something else, or that something else became, restic does not list.
            string[] typed = [.. ours.Where(static line => line.StartsWith("Type", StringComparison.Ordinal)).Select(static line => line[5..] + "/")];
            ours.Where(line => !typed.Any(type => line[(line.IndexOf(' ') + 1)..].StartsWith(type, StringComparison.Ordinal)))
                .Order(StringComparer.Ordinal).ShouldBe(theirs.Order(StringComparer.Ordinal), $"round {round}");
            theirs.Length.ShouldBeGreaterThan(5);
            before = after;
        }
    }

    private static void NoDamage(byte[] path, BackupIQException damage) => throw damage;

    private static string Line(DiffChange change) =>
        $"{change.Kind} {(change.OldPath is { } old ? Encoding.UTF8.GetString(old) + " -> " : "")}{Encoding.UTF8.GetString(change.Path)}";

    private static string[] MetadataPacksOf(string repository) => Directory.GetFiles(Path.Combine(repository, "m"), "*", SearchOption.AllDirectories);

    private string[] MetadataPacks() => MetadataPacksOf(_folder.RepositoryPath);

    private async Task<(string[] Changes, DiffStatistics Statistics)> DiffAsync(Snapshot before, Snapshot after, bool metadata, bool renames = true)
    {
        List<string> changes = [];
        using ChunkIndex index = await _folder.IndexAsync();
        DiffStatistics statistics = DiffRunner.Run(
            await _folder.RepositoryAsync(), index, new DiffSide(before, _folder.RootBytes), new DiffSide(after, _folder.RootBytes),
            new DiffOptions { Metadata = metadata, Renames = renames }, change => changes.Add(Line(change)), NoDamage, CancellationToken.None);
        return ([.. changes], statistics);
    }

    private void MakeEntry(Random random)
    {
        string parent = RandomFolder(random);
        string path = Path.Combine(parent, $"e{random.Next(1000)}");
        if (Path.Exists(path) || new FileInfo(path).LinkTarget is not null)
        {
            return;
        }

        switch (random.Next(5))
        {
            case 0:
                Directory.CreateDirectory(path);
                break;
            case 1:
                File.CreateSymbolicLink(path, $"to {random.Next(100)}");
                break;
            default:
                byte[] content = new byte[random.Next(0, 3000)];
                random.NextBytes(content);
                File.WriteAllBytes(path, content);
                break;
        }
    }

    private void Change(Random random)
    {
        FileSystemInfo[] all = [.. new DirectoryInfo(_folder.Root).EnumerateFileSystemInfos("*", SearchOption.AllDirectories).OrderBy(static info => info.FullName, StringComparer.Ordinal)];
        if (all.Length == 0 || random.Next(3) == 0)
        {
            MakeEntry(random);
            return;
        }

        FileSystemInfo chosen = all[random.Next(all.Length)];
        bool isLink = chosen.LinkTarget is not null;
        if (chosen is FileInfo && !isLink && random.Next(2) == 0)
        {
            File.AppendAllText(chosen.FullName, $"more {random.Next()}");
            return;
        }

        if (chosen is DirectoryInfo && !isLink)
        {
            Directory.Delete(chosen.FullName, recursive: true);
        }
        else
        {
            File.Delete(chosen.FullName);
        }

        if (random.Next(3) == 0)
        {
            // Something of another kind under the same name.
            if (isLink || chosen is DirectoryInfo)
            {
                File.WriteAllText(chosen.FullName, "a file");
            }
            else
            {
                Directory.CreateDirectory(chosen.FullName);
                File.WriteAllText(Path.Combine(chosen.FullName, "inner"), "inner");
            }
        }
    }

    private string RandomFolder(Random random)
    {
        string[] folders = [_folder.Root, .. Directory.GetDirectories(_folder.Root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        return folders[random.Next(folders.Length)];
    }

    private string FromRestic(string line)
    {
        string kind = line[0] switch { '+' => "Added", '-' => "Removed", 'M' => "Content", 'T' => "Type", _ => line };
        return $"{kind} {line[5..].TrimEnd('/')[_folder.Root.Length..]}";
    }

    private string Restic(params string[] arguments)
    {
        ProcessStartInfo start = new("/usr/bin/restic", ["--no-cache", "-r", _folder.At("restic"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["RESTIC_PASSWORD"] = "diff";
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        process.ExitCode.ShouldBe(0, error.Result);
        return output;
    }
}
