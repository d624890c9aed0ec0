using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>How <c>icloud://</c> reaches an rclone that has iCloud Drive: a fake one, named as such. It never ran on iCloud.</summary>
public sealed class ICloudWiringTests : IDisposable
{
    private readonly FakeRclone _fake = new();
    private readonly ProgramUser _user = new();

    public ICloudWiringTests()
    {
        _user.Environment["PATH"] = $"{_fake.Folder}:{_user.Environment["PATH"]}";
        _user.Environment["FAKE_ICLOUD"] = _fake.Drive;
        _user.Repository = "icloud://Backups/laptop?listing-lag=0";
    }

    public void Dispose()
    {
        _user.Dispose();
        _fake.Dispose();
    }

    [Fact]
    public void ARepositoryOnICloudIsAFolderOfTheRemote()
    {
        string source = _user.MakeTree();
        _user.Run("init").ShouldEndWith(0);
        _user.Backup(source);
        Directory.Exists(Path.Combine(_fake.Drive, "Backups", "laptop", "s")).ShouldBeTrue();
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
    }

    [Fact]
    public void WhenTheTrustHasEndedTheCureIsSaid()
    {
        _user.Run("init").ShouldEndWith(0);
        _fake.EndTrust();
        ProgramRun run = _user.Run("snapshots").ShouldEndWith(13);
        run.Error.ShouldContain("two-factor");
        run.Error.ShouldContain("rclone config reconnect");
    }

    [Fact]
    public void AnotherRemoteThanThatOfTheConfigurationIsSaid()
    {
        _user.Repository += "&remote=elsewhere";
        _user.Run("init").ShouldEndWith(2).Error.ShouldContain("no such remote");
    }

    [Fact]
    public void DoctorSaysWhetherRcloneKnowsICloud()
    {
        _user.RunPlain("doctor", "--repo", _user.Repository).Text.ShouldContain("iCloud Drive: rclone knows it");
        ServerProcess.Require(RcloneDavServer.IsInstalled, RcloneDavServer.Missing);
        _user.Environment["PATH"] = _user.Environment["PATH"][(_fake.Folder.Length + 1)..];
        ProgramRun run = _user.RunPlain("doctor", "--repo", _user.Repository);
        run.Text.ShouldContain("this rclone does not know it");
        run.Text.ShouldContain("https://rclone.org/downloads");
    }
}
