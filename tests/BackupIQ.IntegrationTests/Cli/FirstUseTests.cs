using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>Somebody who has configured nothing backs a folder up.</summary>
public sealed class FirstUseTests : IDisposable
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly ProgramUser _user = new();

    private string Repository => Path.Combine(_user.Home, ".local/share/backupiq/repository");

    private string Key => Path.Combine(_user.Home, ".config/backupiq/repository.key");

    private string Kit => Path.Combine(_user.Home, ".config/backupiq/recovery-kit.txt");

    public void Dispose() => _user.Dispose();

    [Fact]
    public void TheFirstBackupMakesRepositoryKeyAndKitAndSaysInOneLineThatAllLieOnThisDisk()
    {
        string source = _user.MakeTree();

        ProgramRun first = _user.RunPlain("backup", source).ShouldEndWith(0);

        string told = first.Error.Split('\n').Where(static line => line.Contains("first use", StringComparison.Ordinal)).ShouldHaveSingleItem();
        told.ShouldContain(Repository);
        told.ShouldContain(Key);
        told.ShouldContain(Kit);
        told.ShouldContain("THIS disk");
        told.ShouldContain("init --repo");
        File.GetUnixFileMode(Repository).ShouldBe(Owner | UnixFileMode.UserExecute);
        File.GetUnixFileMode(Key).ShouldBe(Owner);
        File.GetUnixFileMode(Kit).ShouldBe(Owner);
        first.Text.ShouldContain("Snapshot ");

        ProgramRun second = _user.RunPlain("backup", source).ShouldEndWith(0);
        second.Error.ShouldNotContain("first use");
        _user.RunPlain("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(2);
    }

    [Fact]
    public void WhatTheFirstBackupStoredComesBackEqualAlsoWithTheKitAlone()
    {
        string source = _user.MakeTree();
        _user.RunPlain("backup", source).ShouldEndWith(0);

        _user.RunPlain("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();

        File.Delete(Key);
        _user.RunPlain("snapshots").ShouldEndWith(2).Error.ShouldContain("--password-file");
        _user.RunPlain("restore", "latest", "--target", _user.At("by kit"), "--recovery-kit", Kit).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("by kit") + source).ShouldBeEmpty();
    }

    [Fact]
    public void DoctorRepeatsThatKeyAndKitLieOnThisDiskUntilItIsConfirmed()
    {
        _user.RunPlain("backup", _user.MakeTree()).ShouldEndWith(0);

        _user.RunPlain("doctor").Text.ShouldContain("all on this disk");
        _user.RunPlain("doctor", "--confirm-kit");
        _user.RunPlain("doctor").Text.ShouldNotContain("all on this disk");
    }

    [Fact]
    public void ADryRunMakesNoRepository()
    {
        ProgramRun run = _user.RunPlain("backup", _user.MakeTree(), "--dry-run").ShouldEndWith(10);

        run.Error.ShouldContain("dry run");
        Directory.Exists(Repository).ShouldBeFalse();
        File.Exists(Key).ShouldBeFalse();
    }

    [Fact]
    public void TheProgramAloneSaysOnOneScreenWhatToDoFirst()
    {
        ProgramRun run = _user.RunPlain().ShouldEndWith(0);

        string[] lines = run.Text.TrimEnd('\n').Split('\n');
        lines.Length.ShouldBeLessThanOrEqualTo(24);
        lines.Max(static line => line.Length).ShouldBeLessThanOrEqualTo(80);
        run.Text.IndexOf("backupiq backup", StringComparison.Ordinal).ShouldBeInRange(0, 400);
    }
}
