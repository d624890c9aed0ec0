using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>serve webdav</c> and <c>mount</c>, used by other programs. tests/acceptance/b08_mount.py has davfs2, cadaver, litmus and large files.</summary>
public sealed class BrowsingVerbTests : IDisposable
{
    private const string Token = "a token that nobody guesses";

    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Theory]
    [InlineData(2)]
    [InlineData(15)]
    public async Task ServingTellsWhereAndByWhichTokenAndEndsBySignal(int signal)
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        ProgramUser.RunningProgram serving = _user.Start("serve", "webdav", "--listen", "127.0.0.1:0", "--json");
        using JsonDocument said = JsonDocument.Parse(serving.FirstLine());
        string url = said.RootElement.GetProperty("url").GetString()!;
        string token = said.RootElement.GetProperty("token").GetString()!;
        token.Length.ShouldBeGreaterThanOrEqualTo(32);

        using HttpClient client = new() { BaseAddress = new Uri(url) };
        (await client.GetAsync("latest" + source + "/readme.txt")).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes("backupiq:" + token)));
        (await client.GetStringAsync("latest" + source + "/readme.txt")).ShouldBe("read me 1\n");

        serving.Interrupt(signal);
        serving.Wait().ShouldEndWith(0);
    }

    [Fact]
    public void TheTokenIsToldThoughNothingElseIs()
    {
        _user.Backup(_user.MakeTree());
        ProgramUser.RunningProgram serving = _user.Start("serve", "webdav", "--listen", "127.0.0.1:0", "--quiet");
        serving.FirstLine().ShouldStartWith("http://127.0.0.1:");
        serving.Interrupt();

        string[] lines = serving.Wait().ShouldEndWith(0).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        lines.Length.ShouldBe(2);
        lines[1].ShouldMatch("^[0-9a-f]{40}$");
    }

    [Fact]
    public void WhatWouldLayTheTokenOpenOrMakesNoSenseIsRefused()
    {
        _user.Backup(_user.MakeTree());
        _user.Run("serve", "webdav", "--listen", "0.0.0.0:0").ShouldEndWith(2).Error.ShouldContain("--tls-cert");
        _user.Run("serve", "webdav", "--listen", "nowhere").ShouldEndWith(2).Error.ShouldContain("--listen");
        _user.Run("serve", "webdav", "--tls-key", "key.pem").ShouldEndWith(2).Error.ShouldContain("--tls-cert");
        _user.Run("serve", "webdav", "--token-file", _user.Write("short", "secret\n")).ShouldEndWith(2).Error.ShouldContain("16");
        _user.Run("serve", "webdav", "--tls-cert", _user.Write("cert.pem", "no certificate\n")).ShouldEndWith(2).Error.ShouldContain("PEM");
        _user.Run("serve", "webdav", "nothing-like-it").Code.ShouldNotBe(0);
        _user.Run("mount", _user.At("not-there")).Error.ShouldContain("no folder");
    }

    [Fact]
    public void RcloneFindsByWebDavWhatTheSourceHas()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/rclone"), "rclone is not installed: apt-get install rclone.");
        string source = _user.MakeTree();
        Directory.CreateDirectory(Path.Combine(source, "größe ☃"));
        File.WriteAllText(Path.Combine(source, "größe ☃", "100% a#b?c&d+e;f"), "odd");
        _user.Backup(source);
        ProgramUser.RunningProgram serving = _user.Start("serve", "webdav", "latest:" + source, "--listen", "127.0.0.1:0", "--token-file", _user.Write("token", Token + "\n"));
        string url = serving.FirstLine();
        string obscured = _user.RunOther("rclone", "obscure", Token).ShouldEndWith(0).Text.Trim();
        string[] remote = ["--config", "/dev/null", "--webdav-url", url, "--webdav-vendor", "other", "--webdav-user", "user", "--webdav-pass", obscured];

        ProgramRun check = _user.RunOther(["rclone", "check", source, ":webdav:", "--download", .. remote]);
        check.ShouldEndWith(0).Error.ShouldContain("5 matching files");
        _user.RunOther(["rclone", "copyto", Path.Combine(source, "readme.txt"), ":webdav:new", "--retries", "1", "--low-level-retries", "1", .. remote]).Code.ShouldNotBe(0);

        serving.Interrupt(15);
        serving.Wait().ShouldEndWith(0);
    }

    [Fact]
    public void AMountedSnapshotIsReadByAnyProgramAndUmountEndsIt()
    {
        Assert.SkipUnless(File.Exists("/dev/fuse") && File.Exists("/usr/bin/fusermount3") && ScratchFolder.IsRoot, "FUSE is not there, or its device closed: apt-get install fuse3.");
        string source = _user.MakeTree();
        _user.Backup(source);
        string folder = _user.MakeFolder("mounted");
        ProgramUser.RunningProgram mounting = _user.Start("mount", folder, "latest:" + source, "--json");
        mounting.FirstLine().ShouldContain(folder);
        ScratchFolder.Run("diff", "-r", source, folder).ShouldBeEmpty();
        ScratchFolder.Run("umount", folder);
        mounting.Wait(TimeSpan.FromSeconds(20)).ShouldEndWith(0);

        // Killed, it leaves a folder that nobody can enter; what to do is said.
        ProgramUser.RunningProgram killed = _user.Start("mount", folder, "--json");
        killed.FirstLine();
        killed.Interrupt(9);
        killed.Wait();
        _user.Run("mount", folder).ShouldEndWith(7).Error.ShouldContain("umount");
        ScratchFolder.Run("umount", folder);
    }
}
