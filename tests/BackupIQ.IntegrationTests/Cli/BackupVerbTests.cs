using System.Text;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>backup</c> as scripts and people use it.</summary>
public sealed class BackupVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void ABackupTellsWhatItStoredAndTheSnapshotIsListed()
    {
        string source = _user.MakeTree();
        ProgramRun run = _user.Run("backup", source, "--tag", "daily,office=north", "--host", "ada");
        run.ShouldEndWith(0).Text.ShouldContain("4 new, 0 changed, 0 unmodified");

        JsonElement snapshot = _user.Run("snapshots", "--json").ShouldEndWith(0).Json().EnumerateArray().ShouldHaveSingleItem();
        snapshot.GetProperty("hostname").GetString().ShouldBe("ada");
        snapshot.GetProperty("tags").EnumerateArray().Select(static tag => tag.GetString()).ShouldBe(["daily", "office=north"]);
        snapshot.GetProperty("paths").EnumerateArray().Select(static path => path.GetString()).ShouldBe([source]);
        snapshot.GetProperty("type").GetString().ShouldBe("full");
        run.Text.ShouldContain(snapshot.GetProperty("short_id").GetString()!);
        run.Text.ShouldContain(snapshot.GetProperty("name").GetString()!);
    }

    [Fact]
    public void TheSummaryHasResticsFieldsAndCountsRight()
    {
        string source = _user.MakeTree(large: 5_000_000);
        JsonElement first = _user.Backup(source);
        foreach (string field in (string[])
        [
            "files_new", "files_changed", "files_unmodified", "files_failed", "dirs_new", "dirs_changed", "dirs_unmodified", "data_blobs", "tree_blobs",
            "data_added", "data_added_packed", "total_files_processed", "total_bytes_processed", "total_duration", "success_rate",
        ])
        {
            first.GetProperty(field).ValueKind.ShouldBe(JsonValueKind.Number, field);
        }

        first.GetProperty("snapshot_id").GetString()!.Length.ShouldBe(32);
        first.GetProperty("backup_start").GetDateTimeOffset().ShouldBeLessThanOrEqualTo(first.GetProperty("backup_end").GetDateTimeOffset());
        first.GetProperty("files_new").GetInt64().ShouldBe(4);
        first.GetProperty("total_files_processed").GetInt64().ShouldBe(4);
        first.GetProperty("total_bytes_processed").GetInt64().ShouldBe(SizeOf(source));
        first.GetProperty("success_rate").GetDouble().ShouldBe(1);
        first.GetProperty("data_added").GetInt64().ShouldBeInRange(5_000_000, 5_100_000);
        first.GetProperty("data_added_packed").GetInt64().ShouldBeInRange(4_900_000, 5_100_000);

        JsonElement second = _user.Backup(source, "--ignore-ctime");
        second.GetProperty("files_unmodified").GetInt64().ShouldBe(4);
        second.GetProperty("files_new").GetInt64().ShouldBe(0);
        second.GetProperty("data_blobs").GetInt64().ShouldBe(0);
    }

    [Fact]
    public void ALongBackupTellsItsStatusAsJsonLines()
    {
        string source = _user.MakeTree(large: 12 << 20);
        ProgramRun run = _user.Run("backup", source, "--json", "--limit-upload", "4M").ShouldEndWith(0);
        JsonElement[] statuses = [.. run.Lines().Where(static line => line.GetProperty("message_type").GetString() == "status")];
        statuses.ShouldNotBeEmpty();
        foreach (JsonElement status in statuses)
        {
            status.GetProperty("percent_done").GetDouble().ShouldBeInRange(0, 1);
            foreach (string field in (string[])["total_files", "files_done", "processed_files", "total_bytes", "bytes_done", "success_rate"])
            {
                status.GetProperty(field).ValueKind.ShouldBe(JsonValueKind.Number, field);
            }
        }

        run.Summary().GetProperty("total_files_processed").GetInt64().ShouldBe(4);
    }

    [Fact]
    public void AFullBackupReadsEverythingAgainAndADifferentialComparesWithIt()
    {
        string source = _user.MakeTree();
        string full = _user.Backup(source, "--ignore-ctime").GetProperty("snapshot_id").GetString()!;
        File.WriteAllText(Path.Combine(source, "new.txt"), "new");
        _user.Backup(source, "--ignore-ctime");
        _user.Backup(source, "--ignore-ctime", "--type", "differential");
        _user.Backup(source, "--ignore-ctime", "--type", "full").GetProperty("files_unmodified").GetInt64().ShouldBe(0);

        JsonElement[] snapshots = [.. _user.Run("snapshots", "--json").Json().EnumerateArray()];
        snapshots.Select(static s => s.GetProperty("type").GetString()).ShouldBe(["full", "incremental", "differential", "full"]);
        snapshots[2].GetProperty("parent").GetString().ShouldBe(full);
    }

    [Fact]
    public void ADryRunCountsAndStoresNothing()
    {
        string source = _user.MakeTree();
        string[] before = _user.Objects("");
        JsonElement summary = _user.Backup(source, "--dry-run");
        summary.GetProperty("dry_run").GetBoolean().ShouldBeTrue();
        summary.GetProperty("files_new").GetInt64().ShouldBe(4);
        summary.TryGetProperty("snapshot_id", out _).ShouldBeFalse();
        _user.Objects("").ShouldBe(before);
        _user.Run("backup", source, "--dry-run").ShouldEndWith(0).Text.ShouldContain("nothing was stored");
        _user.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(0);
    }

    [Fact]
    public void SkipIfUnchangedMakesNoSecondSnapshot()
    {
        // Folders that lead to the source are in the snapshot, too; the temporary folder changes all the time, wherever the tests lie in it.
        const string Source = "/usr/lib/os-release";
        _user.Backup(Source);
        _user.Run("backup", Source, "--skip-if-unchanged").ShouldEndWith(0).Text.ShouldContain("no snapshot was made");
        _user.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(1);
    }

    [Fact]
    public void ExcludesOfEveryKindLeaveOutWhatTheyName()
    {
        string source = _user.MakeTree();
        _user.Write("source/cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
        _user.Write("source/cache/thumbnail", "x");
        _user.Write("source/private/.nobackup", "");
        _user.Write("source/private/diary", "x");
        _user.Write("source/PHOTO.JPG", "x");
        string patterns = _user.Write("patterns", "# what to leave out\nletter.*\n");
        _user.Backup(
            source, "--exclude", "*.tmp", "--iexclude", "*.jpg", "--exclude-file", patterns, "--exclude-caches", "--exclude-if-present", ".nobackup",
            "--exclude-larger-than", "1M");
        string listed = _user.Run("ls", "latest:" + source, "--recursive").ShouldEndWith(0).Text;
        listed.ShouldContain("readme.txt");
        foreach (string excluded in (string[])["note.tmp", "PHOTO.JPG", "letter.txt", "thumbnail", "diary", "large.bin"])
        {
            listed.ShouldNotContain(excluded);
        }
    }

    [Fact]
    public void StandardInputBecomesAFileOfTheNameGiven()
    {
        byte[] bytes = new byte[3_000_000];
        new Random(5).NextBytes(bytes);
        _user.RunWithInput(bytes, "backup", "--stdin", "--stdin-filename", "dump.sql", "--quiet").ShouldEndWith(0);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        string restored = Directory.EnumerateFiles(_user.At("restored"), "*", SearchOption.AllDirectories).ShouldHaveSingleItem();
        Path.GetFileName(restored).ShouldBe("dump.sql");
        File.ReadAllBytes(restored).ShouldBe(bytes);
    }

    [Fact]
    public void TheOutputOfACommandIsStoredWhenItEndsWell()
    {
        _user.Run("backup", "--stdin-filename", "said", "--stdin-from-command", "--quiet", "--", "sh", "-c", "echo so; echo much").ShouldEndWith(0);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        string restored = Directory.EnumerateFiles(_user.At("restored"), "*", SearchOption.AllDirectories).ShouldHaveSingleItem();
        File.ReadAllText(restored).ShouldBe("so\nmuch\n");
        _user.Run("snapshots", "--json").Json()[0].GetProperty("kind").GetString().ShouldBe("command");
    }

    [Fact]
    public void TheOutputOfACommandThatFailsIsNoSnapshotHoweverMuchItWas()
    {
        ProgramRun run = _user.Run("backup", "--stdin-from-command", "--", "sh", "-c", "head -c 5000000 /dev/zero; exit 7");
        run.ShouldEndWith(1).Error.ShouldContain("7");
        ProgramRun missing = _user.Run("backup", "--stdin-from-command", "--", "no-such-program-at-all");
        missing.ShouldEndWith(1).Error.ShouldContain("no-such-program-at-all");
        _user.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(0);
        _user.Run("check").ShouldEndWith(0);
    }

    [Fact]
    public void VerifyReadsAgainWhatWasStoredAndRefusesToCommitWhenItIsNotRight()
    {
        string source = _user.MakeTree();
        JsonElement summary = _user.Backup(source, "--verify");
        summary.GetProperty("snapshot_id").GetString()!.Length.ShouldBe(32);
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Theory]
    [InlineData("report.json")]
    [InlineData("report.html")]
    public void AReportListsPhasesCountsAndSkippedItems(string name)
    {
        string source = _user.MakeTree();
        string report = _user.At(name);
        ScratchFolder.Run("ln", "-s", source, _user.At("not followed"));
        _user.Run("backup", source, _user.At("missing <i>"), "--report", report, "--quiet").Code.ShouldBeOneOf(3, 15);
        _user.Run("backup", source, "--report", report, "--quiet").ShouldEndWith(0);
        string text = File.ReadAllText(report);
        foreach (string phase in (string[])["discovery", "analysis", "organisation", "upload", "verification"])
        {
            text.ShouldContain(phase);
        }

        if (name.EndsWith(".json", StringComparison.Ordinal))
        {
            using JsonDocument document = JsonDocument.Parse(text);
            document.RootElement.GetProperty("summary").GetProperty("files_unmodified").GetInt64().ShouldBeGreaterThanOrEqualTo(0);
            document.RootElement.GetProperty("skipped_items").GetArrayLength().ShouldBe(0);
        }
        else
        {
            text.ShouldStartWith("<!doctype html>");
            text.ShouldNotContain("<script");
        }
    }

    [Theory]
    [InlineData("off")]
    [InlineData("fast")]
    [InlineData("max")]
    [InlineData("zstd:9")]
    [InlineData("lz4")]
    [InlineData("gzip")]
    [InlineData("bzip2")]
    [InlineData("lzma")]
    public void WhatEachCompressionStoresComesBack(string compression)
    {
        string source = _user.MakeTree(large: 600_000);
        File.WriteAllText(Path.Combine(source, "text"), string.Concat(Enumerable.Repeat("all work and no play\n", 20_000)));
        _user.Backup(source, "--compression", compression);
        _user.Run("restore", "latest", "--target", _user.At("restored"), "--verify").ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Theory]
    [InlineData("--jobs", "1")]
    [InlineData("--connections", "1")]
    [InlineData("--read-concurrency", "7")]
    [InlineData("--batch-size", "4K")]
    [InlineData("--memory", "64M")]
    public void HowManyWorkAtOnceChangesNothingInWhatIsStored(string flag, string value)
    {
        string source = _user.MakeTree();
        for (int i = 0; i < 300; i++)
        {
            _user.Write($"source/many/{i}", $"file {i}");
        }

        _user.Backup(source);
        JsonElement again = _user.Backup(source, "--type", "full", flag, value);
        again.GetProperty("total_files_processed").GetInt64().ShouldBe(304);
        again.GetProperty("data_blobs").GetInt64().ShouldBe(0);
        _user.Run("diff", $"latest~1:{source}", $"latest:{source}", "--metadata", "--json").ShouldEndWith(0).Lines()
            .ShouldHaveSingleItem().GetProperty("message_type").GetString().ShouldBe("statistics");
    }

    [Fact]
    public void ListsOfPathsAreTakenFromFilesAndStandardInput()
    {
        string source = _user.MakeTree();
        string list = _user.Write("list", $"# a comment\n{source}/*.txt\n");
        _user.Run("backup", "--files-from", list, "--quiet").ShouldEndWith(0);
        _user.Run("ls", "latest").Text.ShouldContain("readme.txt");
        _user.Run("ls", "latest").Text.ShouldNotContain("large.bin");
        _user.RunWithInput(Encoding.UTF8.GetBytes(source + "/large.bin\0"), "backup", "--files-from-raw", "-", "--quiet").ShouldEndWith(0);
        _user.Run("ls", "latest").Text.ShouldContain("large.bin");
    }

    [Fact]
    public void TheRepositoryInsideTheSourceIsLeftOutAndThatIsSaid()
    {
        _user.MakeTree();
        ProgramRun run = _user.Run("backup", Path.GetDirectoryName(_user.Repository)!).ShouldEndWith(0);
        run.Error.ShouldContain(_user.Repository);
        _user.Run("find", "config", "--json").Json().GetArrayLength().ShouldBe(0);
    }

    private static long SizeOf(string folder) => new DirectoryInfo(folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(static file => file.Length);
}
