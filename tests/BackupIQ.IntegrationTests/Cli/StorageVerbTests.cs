using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>storage test</c> and <c>storage info</c> on a disk of this machine; on servers: the tests of each.</summary>
public sealed class StorageVerbTests : IDisposable
{
    private readonly ProgramUser _user = new();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void ADiskIsTriedAndNothingIsLeft()
    {
        string folder = _user.MakeFolder("disk");
        ProgramRun run = _user.RunPlain("storage", "test", folder).ShouldEndWith(0);
        run.Text.ShouldContain("put if absent");
        run.Text.ShouldContain("Throughput");
        run.Text.ShouldContain("All that a repository relies on held.");
        Directory.EnumerateFileSystemEntries(folder).ShouldBeEmpty();

        JsonElement report = _user.RunPlain("storage", "test", folder, "--large", "0", "--json").ShouldEndWith(0).Json();
        report.GetProperty("ok").GetBoolean().ShouldBeTrue();
        report.GetProperty("guarantees").EnumerateArray().Select(static guarantee => guarantee.GetProperty("state").GetString()).Distinct()
            .ShouldBe(["held", "not_offered", "not_tried"], ignoreOrder: true);
        report.GetProperty("capabilities").GetProperty("conditional_put").GetBoolean().ShouldBeTrue();
        report.GetProperty("latencies").GetProperty("put").GetProperty("count").GetInt32().ShouldBeGreaterThan(2);
        report.GetProperty("upload_bytes_per_second").ValueKind.ShouldBe(JsonValueKind.Null);
        Directory.EnumerateFileSystemEntries(folder).ShouldBeEmpty();
    }

    [Fact]
    public void ARepositoryIsAsItWasAfterItsStorageWasTried()
    {
        _user.WithNewRepository();
        _user.Backup(_user.MakeTree());
        string[] before = Everything();
        _user.RunPlain("storage", "test", _user.Repository, "--large", "5M").ShouldEndWith(0);
        Everything().ShouldBe(before);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        JsonElement info = _user.RunPlain("storage", "info", _user.Repository, "--json").ShouldEndWith(0).Json();
        info.GetProperty("objects").EnumerateArray().Select(static kind => kind.GetProperty("kind").GetString()).ShouldContain("snapshots");
        info.GetProperty("space").GetProperty("free").GetInt64().ShouldBeGreaterThan(0);
        info.GetProperty("provider").ValueKind.ShouldBe(JsonValueKind.Null);
        ProgramRun told = _user.RunPlain("storage", "info", "--repo", _user.Repository).ShouldEndWith(0);
        told.Text.ShouldContain("data packs");

        string[] Everything() => [.. Directory.EnumerateFileSystemEntries(_user.Repository, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void CtrlCLeavesNothingEither()
    {
        string folder = _user.MakeFolder("disk");
        ProgramUser.RunningProgram running = _user.Start("storage", "test", folder, "--large", "2G", "--limit-upload", "20M");
        Stopwatch watch = Stopwatch.StartNew();
        while (!Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Any())
        {
            running.HasEnded.ShouldBeFalse();
            watch.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(60));
            Thread.Sleep(10);
        }

        running.Interrupt();
        running.Wait().ShouldEndWith(130);
        Directory.EnumerateFileSystemEntries(folder).ShouldBeEmpty();
    }

    [Fact]
    public void ANetworkMountIsSaidToBeOneAndKeepsARepository()
    {
        Assert.SkipUnless(
            File.Exists("/dev/fuse") && File.Exists("/usr/bin/fusermount3") && File.Exists("/usr/bin/rclone") && ScratchFolder.IsRoot,
            "FUSE or rclone is not there, or the device closed: apt-get install fuse3 rclone.");
        string folder = _user.MakeFolder("mounted");
        using Process rclone = Process.Start(new ProcessStartInfo("rclone", ["mount", _user.MakeFolder("behind"), folder, "--vfs-cache-mode", "writes", "--dir-cache-time", "1s", "--config", "/dev/null", "--cache-dir", _user.At("rclone-cache"), "--log-file", _user.At("rclone.log")]))!;
        try
        {
            Stopwatch watch = Stopwatch.StartNew();
            while (!File.ReadAllText("/proc/self/mounts").Contains(folder, StringComparison.Ordinal))
            {
                rclone.HasExited.ShouldBeFalse();
                watch.Elapsed.ShouldBeLessThan(TimeSpan.FromSeconds(60));
                Thread.Sleep(20);
            }

            _user.Repository = Path.Combine(folder, "repository");
            ProgramRun made = _user.Run("init", "--listing-lag", "0s").ShouldEndWith(0);
            made.Error.ShouldContain("network mount (fuse.rclone");
            JsonElement can = _user.RunPlain("storage", "info", _user.Repository, "--json").ShouldEndWith(0).Json().GetProperty("capabilities");
            can.GetProperty("mount").GetString()!.ShouldStartWith("fuse.rclone");
            can.GetProperty("local").GetBoolean().ShouldBeFalse();
            can.GetProperty("listing_lag_seconds").GetDouble().ShouldBe(300);
            string source = _user.MakeTree();
            _user.Run("backup", source, "--listing-lag", "0s").ShouldEndWith(0);
            _user.Run("check", "--read-data", "--listing-lag", "0s").ShouldEndWith(0);
            _user.RunPlain("doctor", "--repo", _user.Repository).Text.ShouldContain("network mount");
            _user.RunPlain("storage", "test", _user.Repository, "--large", "5M", "--listing-lag", "2s").ShouldEndWith(0).Text.ShouldContain("Mounted from");
        }
        finally
        {
            ScratchFolder.Run("fusermount3", "-u", "-z", folder);
            rclone.WaitForExit(10_000);
        }
    }

    [Fact]
    public void WhatCannotBeTriedIsSaid()
    {
        _user.RunPlain("storage", "test", _user.At("not-there")).ShouldEndWith(15);
        _user.RunPlain("storage", "info", _user.At("not-there")).ShouldEndWith(15);
        _user.RunPlain("storage", "test", _user.Write("file", "x")).ShouldEndWith(2);
        _user.RunPlain("storage", "test", _user.MakeFolder("disk"), "--append-only").ShouldEndWith(17);
        _user.RunPlain("storage", "test", _user.MakeFolder("disk"), "--large", "much").ShouldEndWith(2);
        _user.RunPlain("storage", "test", "s4://bucket/p").ShouldEndWith(2);
        _user.RunPlain("storage", "test").ShouldEndWith(2);
        _user.RunPlain("storage").ShouldEndWith(2).Error.ShouldContain("test, info");
        _user.RunPlain("storage", "--help").ShouldEndWith(0).Text.ShouldContain("Tries what a repository relies on");
    }
}
