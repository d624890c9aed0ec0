using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>The exit codes of docs/errors.md, and that the one line which comes with each names what failed and what to do.</summary>
public sealed class ExitCodeTests : IDisposable
{
    private readonly ProgramUser _user = new();

    public void Dispose() => _user.Dispose();

    [Theory]
    [InlineData("--exclud", "--exclude")]
    [InlineData("--dry-rum", "--dry-run")]
    [InlineData("--jsno", "--json")]
    public void AMisspeltFlagIsTwoWithTheRightOneSuggested(string written, string meant) =>
        Fails(2, _user.RunPlain("backup", "/etc", written), $"did you mean '{meant}'?", "--help");

    [Theory]
    [InlineData("snapshot", "snapshots")]
    [InlineData("backpu", "backup")]
    [InlineData("resotre", "restore")]
    public void AMisspeltVerbIsTwoWithTheRightOneSuggested(string written, string meant) =>
        Fails(2, _user.RunPlain(written), $"did you mean '{meant}'?");

    [Theory]
    [InlineData("backup")]
    [InlineData("restore", "latest")]
    [InlineData("restore")]
    [InlineData("ls")]
    [InlineData("find")]
    [InlineData("show")]
    [InlineData("init")]
    [InlineData("key")]
    [InlineData("config")]
    [InlineData("backup", "--stdin", "/etc")]
    [InlineData("backup", "--stdin-from-command")]
    [InlineData("backup", "/etc", "--type", "half")]
    [InlineData("backup", "/etc", "--memory", "much")]
    [InlineData("backup", "/etc", "--compression", "zip")]
    [InlineData("backup", "/etc", "--checkpoint-interval", "5")]
    [InlineData("backup", "/etc", "--exclude-larger-than", "-1")]
    [InlineData("backup", "/etc", "--exclude", "[")]
    [InlineData("backup", "/etc", "--report", "report.txt")]
    [InlineData("snapshots", "--limit", "0")]
    [InlineData("check", "--read-data-subset", "half")]
    [InlineData("completion", "tcsh")]
    [InlineData("version", "1")]
    public void WrongUseIsTwoInOneLine(params string[] arguments)
    {
        _user.WithNewRepository();
        string[] withRepository = arguments[0] == "init" ? arguments : [.. arguments, "--repo", _user.Repository, .. _user.Secret];
        Fails(2, _user.RunPlain(withRepository));
    }

    [Fact]
    public void AMistakeInTheConfigurationFileIsTwoWithItsLine()
    {
        string file = _user.Write("config.yaml", "repo: /nowhere\nbackup:\n  exlude: ['*.tmp']\n");
        Fails(2, _user.RunPlain("backup", "/etc", "--config", file), "config.yaml:3", "did you mean 'backup.exclude'?");
    }

    [Fact]
    public void APasswordThatCannotBeReadIsTwoWithItsFile()
    {
        _user.WithNewRepository();
        Fails(2, _user.RunPlain("snapshots", "--repo", _user.Repository, "--password-file", _user.At("no such file")), "no such file");
        Fails(2, _user.RunPlain("snapshots", "--repo", _user.Repository, "--no-input"), "--password-file");
    }

    [Fact]
    public void AnUnreadableFileIsThreeAndIsNamedAndTheRestIsStored()
    {
        if (!ScratchFolder.IsRoot)
        {
            Assert.Skip("Another user's identity can be taken by root only.");
        }

        string source = _user.MakeTree("home/source");
        File.WriteAllText(Path.Combine(source, "secret.txt"), "nobody may read this");
        Directory.CreateDirectory(Path.Combine(source, "closed"));
        File.SetUnixFileMode(Path.Combine(source, "secret.txt"), UnixFileMode.None);
        File.SetUnixFileMode(Path.Combine(source, "closed"), UnixFileMode.None);
        _user.BecomeNobody();

        ProgramRun run = _user.RunPlain("backup", source).ShouldEndWith(3);
        run.Error.ShouldContain(Path.Combine(source, "secret.txt"));
        run.Error.ShouldContain(Path.Combine(source, "closed"));
        run.Text.ShouldContain("Snapshot ");

        ProgramRun json = _user.RunPlain("backup", source, "--json", "--quiet").ShouldEndWith(3);
        string[] failed = [.. json.Lines().Where(static line => line.GetProperty("message_type").GetString() == "error").Select(static line => line.GetProperty("item").GetString()!)];
        failed.ShouldBe([Path.Combine(source, "secret.txt"), Path.Combine(source, "closed")], ignoreOrder: true);
        json.Summary().GetProperty("files_failed").GetInt64().ShouldBe(2);
        _user.RunPlain("ls", "latest").ShouldEndWith(0).Text.ShouldContain("letter.txt");
    }

    [Fact]
    public void ASecondInitIsSevenAndChangesNothing()
    {
        _user.WithNewRepository();
        string[] before = _user.Objects("");
        Fails(7, _user.Run("init"), "already there");
        _user.Objects("").ShouldBe(before);
    }

    [Theory]
    [InlineData("snapshots")]
    [InlineData("check")]
    [InlineData("stats")]
    [InlineData("backup", "/etc/hostname")]
    [InlineData("restore", "latest", "--target", "somewhere")]
    [InlineData("key", "list")]
    public void NoRepositoryIsTenAndPointsToInit(params string[] arguments)
    {
        Fails(10, _user.Run(arguments), "init");
        _user.MakeFolder("repository");
        Fails(10, _user.Run(arguments), "init");
    }

    [Fact]
    public void AWrongPasswordIsTwelveAndPointsToTheKit()
    {
        _user.WithNewRepository();
        string wrong = _user.Write("wrong", "not it\n");
        Fails(12, _user.RunPlain("snapshots", "--repo", _user.Repository, "--password-file", wrong), "--recovery-kit");
    }

    [Fact]
    public void AKeyFileOfAnotherRepositoryIsTwelve()
    {
        _user.WithNewRepository();
        string other = _user.Write("other.key", new string('x', 20) + Guid.NewGuid() + Guid.NewGuid());
        Fails(12, _user.RunPlain("snapshots", "--repo", _user.Repository, "--key-file", other));
    }

    [Fact]
    public void DamageIsFourteenAndNamesPackFileAndSnapshot()
    {
        string source = _user.WithNewRepository().MakeTree();
        string snapshot = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        string pack = _user.Objects("d").ShouldHaveSingleItem();
        Damage(pack);

        ProgramRun check = _user.Run("check").ShouldEndWith(14);
        check.Text.ShouldContain(Path.GetFileName(pack));
        check.Text.ShouldContain("large.bin");
        check.Text.ShouldContain(snapshot[..8]);

        ProgramRun restore = _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(14);
        restore.Error.ShouldContain("large.bin");
        string restored = _user.At("restored") + source;
        File.Exists(Path.Combine(restored, "large.bin")).ShouldBeFalse();
        File.ReadAllText(Path.Combine(restored, "readme.txt")).ShouldBe(File.ReadAllText(Path.Combine(source, "readme.txt")));
    }

    [Fact]
    public void ASourceThatIsNotThereIsFifteenAndIsNamed()
    {
        _user.WithNewRepository();
        Fails(15, _user.Run("backup", _user.At("not there")), "not there");
        _user.Objects("s").ShouldBeEmpty();
    }

    [Fact]
    public void AnUnknownSnapshotOrPathIsOneAndSaysHowToList()
    {
        string source = _user.WithNewRepository().MakeTree();
        _user.Backup(source);
        Fails(1, _user.Run("restore", "ffffffff", "--target", _user.At("x")), "backupiq snapshots");
        Fails(1, _user.Run("ls", "latest:/not/there"), "/not/there");
        Fails(1, _user.Run("show", "latest~7"), "latest~7");
    }

    [Fact]
    public void WithJsonAFailureEndsWithExitErrorOnStandardError()
    {
        ProgramRun run = _user.Run("snapshots", "--json").ShouldEndWith(10);
        run.Output.ShouldBeEmpty();
        run.ExitError().GetProperty("error").GetString().ShouldBe("RepositoryNotFound");
        run.ExitError().GetProperty("message").GetString()!.ShouldContain("init");
        _user.RunPlain("backup", "--bogus", "--json").ShouldEndWith(2).ExitError().GetProperty("error").GetString().ShouldBe("Usage");
    }

    [Fact]
    public void OnlyWithTwoVsThereIsATraceOfWhereItFailed()
    {
        _user.Run("snapshots", "-v").ShouldEndWith(10);
        _user.Run("snapshots", "-vv").Error.ShouldContain("   at ");
    }

    private static void Fails(int code, ProgramRun run, params string[] words)
    {
        run.ShouldEndWith(code);
        string line = run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).ShouldHaveSingleItem();
        line.ShouldStartWith("backupiq: ");
        foreach (string word in words)
        {
            line.ShouldContain(word);
        }
    }

    private static void Damage(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        bytes[bytes.Length / 2] ^= 0x10;
        File.WriteAllBytes(file, bytes);
    }
}
