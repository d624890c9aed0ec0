using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Mirrors where servers are: one that dies is read from its mirror, and one that is a mirror opens by itself.</summary>
public sealed class MirrorOnServerTests(AzuriteFixture azurite) : IDisposable
{
    private readonly ProgramUser _user = new();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void AServerThatDiesInMidRestoreIsReadFromItsMirror()
    {
        ServerProcess.Require(ApacheServer.IsInstalled, ApacheServer.Missing);
        using ApacheServer server = ApacheServer.Start();
        string mirror = _user.At("mirror");
        _user.Repository = server.Url("repository");
        string source = _user.MakeTree(large: 24 << 20);
        _user.Run("init", "--mirror", mirror).ShouldEndWith(0);
        _user.Backup(source, "--mirror", mirror);
        _user.Run("storage", "info", "--mirror", mirror).ShouldEndWith(0).Text.ShouldContain("in step");

        string target = _user.At("restored");
        ProgramUser.RunningProgram running = _user.Start("restore", "latest", "--target", target, "--mirror", mirror, "--limit-download", "8M", "--memory", "32M", "--retry-profile", "quick", "--no-progress");
        Stopwatch watch = Stopwatch.StartNew();
        while (!running.HasEnded && !File.Exists(target + source + "/large.bin") && watch.Elapsed < TimeSpan.FromSeconds(30))
        {
            Thread.Sleep(10);
        }

        Thread.Sleep(300);
        server.Process.Dispose();
        running.HasEnded.ShouldBeFalse();
        ProgramRun ended = running.Wait().ShouldEndWith(0);
        ended.Error.ShouldContain($"its mirror {mirror} is read in its place");
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();

        // And from the beginning.
        ProgramRun dead = _user.Run("restore", "latest", "--target", _user.At("second"), "--mirror", mirror, "--retry-profile", "quick").ShouldEndWith(0);
        dead.Error.ShouldContain("nothing is written");
        ScratchFolder.Run("diff", "-r", source, _user.At("second") + source).ShouldBeEmpty();
        _user.Run("backup", source, "--mirror", mirror, "--retry-profile", "quick").ShouldEndWith(15);
    }

    [Fact]
    public async Task AContainerOfAzureMirrorsAFolder()
    {
        foreach ((string name, string value) in AzuriteFixture.Environment)
        {
            _user.Environment[name] = value;
        }

        string mirror = await azurite.UrlAsync(await azurite.NewContainerAsync(), "mirror");
        string source = _user.MakeTree();
        _user.Run("init", "--mirror", mirror).ShouldEndWith(0);
        _user.Backup(source, "--mirror", mirror);
        JsonElement told = _user.Run("storage", "info", "--mirror", mirror, "--json").ShouldEndWith(0).Json().GetProperty("mirrors")[0];
        told.GetProperty("in_step").GetBoolean().ShouldBeTrue(told.GetRawText());
        told.GetProperty("provider").GetProperty("breaker").GetString().ShouldBe("closed");

        Directory.Delete(_user.Repository, recursive: true);
        _user.Run("restore", "latest", "--target", _user.At("restored"), "--mirror", mirror).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.RunPlain(["check", "--read-data", "--repo", mirror, .. _user.Secret]).ShouldEndWith(0);
    }
}
