using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>restore</c> as scripts and people use it.</summary>
public sealed class RestoreVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void ASnapshotComesBackBelowItsAbsolutePathsAndAFolderOfItDirectly()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        ProgramRun run = _user.Run("restore", "latest", "--target", _user.At("whole"), "--verify").ShouldEndWith(0);
        run.Text.ShouldContain("verified");
        ScratchFolder.Run("diff", "-r", source, _user.At("whole") + source).ShouldBeEmpty();

        _user.Run("restore", $"latest:{source}/docs", "--target", _user.At("docs")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", Path.Combine(source, "docs"), _user.At("docs")).ShouldBeEmpty();

        _user.Run("restore", $"latest:{source}/readme.txt", "--target", _user.At("file")).ShouldEndWith(0);
        Directory.EnumerateFileSystemEntries(_user.At("file")).ShouldHaveSingleItem().ShouldEndWith("readme.txt");
    }

    [Fact]
    public void TheSummaryAndItsStatusHaveTheFieldsOfTheContract()
    {
        string source = _user.MakeTree(large: 12 << 20);
        string snapshot = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        ProgramRun run = _user.Run("restore", "latest", "--target", _user.At("restored"), "--json", "--limit-download", "4M").ShouldEndWith(0);
        JsonElement summary = run.Summary();
        summary.GetProperty("snapshot_id").GetString().ShouldBe(snapshot);
        summary.GetProperty("error_count").GetInt64().ShouldBe(0);
        summary.GetProperty("bytes_restored").GetInt64().ShouldBe(summary.GetProperty("total_bytes").GetInt64());
        summary.GetProperty("files_restored").GetInt64().ShouldBe(summary.GetProperty("total_files").GetInt64());

        JsonElement[] statuses = [.. run.Lines().Where(static line => line.GetProperty("message_type").GetString() == "status")];
        statuses.ShouldNotBeEmpty();
        foreach (JsonElement status in statuses)
        {
            status.GetProperty("percent_done").GetDouble().ShouldBeInRange(0, 1);
            status.GetProperty("seconds_remaining").ValueKind.ShouldBeOneOf(JsonValueKind.Number, JsonValueKind.Null);
            foreach (string field in (string[])["total_files", "files_restored", "total_bytes", "bytes_restored"])
            {
                status.GetProperty(field).ValueKind.ShouldBe(JsonValueKind.Number, field);
            }
        }
    }

    [Fact]
    public void ADryRunTellsWhatItWouldDoAndChangesNothing()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        ProgramRun run = _user.Run("restore", $"latest:{source}", "--target", _user.At("restored"), "--dry-run").ShouldEndWith(0);
        run.Text.ShouldContain("restored   /readme.txt");
        run.Text.ShouldContain("Would restore");
        Directory.Exists(_user.At("restored")).ShouldBeFalse();
    }

    [Fact]
    public void IncludeExcludeAndDeleteDoWhatTheySay()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        _user.Run("restore", $"latest:{source}", "--target", _user.At("restored"), "--include", "*.txt", "--exclude", "readme*").ShouldEndWith(0);
        FilesIn("restored").ShouldBe(["docs/letter.txt"]);

        _user.Write("restored/docs/stray", "not in the snapshot");
        _user.Run("restore", $"latest:{source}", "--target", _user.At("restored"), "--delete").ShouldEndWith(0);
        FilesIn("restored").ShouldBe(["docs/inner/note.tmp", "docs/letter.txt", "large.bin", "readme.txt"]);
    }

    [Fact]
    public void OverwriteRulesDecideWhatHappensToFilesThatAreThere()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        string mine = _user.Write("restored/readme.txt", "mine");
        _user.Run("restore", $"latest:{source}", "--target", _user.At("restored"), "--overwrite", "never").ShouldEndWith(0);
        File.ReadAllText(mine).ShouldBe("mine");
        _user.Run("restore", $"latest:{source}", "--target", _user.At("restored"), "--overwrite", "if-newer").ShouldEndWith(0);
        File.ReadAllText(mine).ShouldBe("mine");
        _user.Run("restore", $"latest:{source}", "--target", _user.At("restored"), "--overwrite", "if-changed").ShouldEndWith(0);
        File.ReadAllText(mine).ShouldBe("read me 1\n");
        ProgramRun misuse = _user.Run("restore", "latest", "--target", _user.At("restored"), "--overwrite", "perhaps");
        misuse.ShouldEndWith(2).Error.ShouldContain("if-changed");
    }

    [Fact]
    public void DeletingInTheRootOfTheSystemNeedsAnAnswer()
    {
        _user.Backup(_user.MakeTree());
        ProgramRun run = _user.Run("restore", "latest", "--target", "/", "--delete").ShouldEndWith(2);
        run.Error.ShouldContain("--yes");
    }

    [Fact]
    public void WithoutRootWhatNeedsItIsToldOnceForEachKindAndTheRestIsRight()
    {
        if (!ScratchFolder.IsRoot)
        {
            Assert.Skip("What only root can make, only root can back up.");
        }

        string source = _user.MakeFolder("kinds");
        EveryKindOfEntryTree.Fill(source);
        _user.Run("backup", source, "--quiet").ShouldEndWith(0);
        ScratchFolder.Run("rm", "-rf", source);
        _user.BecomeNobody();

        string restored = _user.At("restored");
        ProgramRun run = _user.Run("restore", "latest:" + source, "--target", restored).ShouldEndWith(3);

        string[] warnings = [.. run.Error.Split('\n').Where(static line => line.StartsWith("warning: ", StringComparison.Ordinal))];
        warnings.Length.ShouldBeLessThan(10);
        warnings.ShouldContain(static line => line.Contains("owner could not be set: only root"));
        warnings.ShouldContain(static line => line.Contains("a device was left out"));
        warnings.ShouldContain(static line => line.Contains("setuid or setgid was left off"));
        warnings.ShouldContain(static line => line.Contains("only root may"));
        File.ReadAllText(Path.Combine(restored, "small")).ShouldBe("some text\n");
        File.GetUnixFileMode(Path.Combine(restored, "setuid")).HasFlag(UnixFileMode.SetUser).ShouldBeFalse();
        File.Exists(Path.Combine(restored, "character device")).ShouldBeFalse();
        new FileInfo(Path.Combine(restored, "large")).Length.ShouldBe(3_000_000);
        new FileInfo(Path.Combine(restored, "link")).LinkTarget.ShouldBe("small");
    }

    private string[] FilesIn(string folder) =>
    [
        .. Directory.EnumerateFiles(_user.At(folder), "*", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(_user.At(folder), path)).Order(StringComparer.Ordinal),
    ];
}
