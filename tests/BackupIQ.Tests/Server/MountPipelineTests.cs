using System.Diagnostics;
using System.Text;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Server.Mount;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Server;

/// <summary>Snapshots mounted by FUSE, read by programs that know nothing of it.</summary>
public sealed class MountPipelineTests : IAsyncLifetime
{
    private readonly ServedRepository _served = new();
    private readonly List<string> _failures = [];
    private MountPipeline? _mount;

    private string Folder => Path.Combine(_served.Scratch.Path, "mounted");

    public ValueTask InitializeAsync()
    {
        Assert.SkipUnless(File.Exists("/dev/fuse"), "This machine has no /dev/fuse.");
        Assert.SkipUnless(File.Exists("/usr/bin/fusermount3"), "FUSE is not installed: apt-get install fuse3.");
        Directory.CreateDirectory(Folder);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        if (_mount is not null)
        {
            await _mount.DisposeAsync();
        }

        await _served.DisposeAsync();
    }

    [Fact]
    public async Task AMountedTreeOfEveryKindOfEntryIsTheSame()
    {
        EveryKindOfEntryTree.Fill(_served.Root);
        await MountRootAsync();

        // ACLs are among the attributes (-X); -A would ask for them in a way that FUSE answers only where the kernel is told to.
        Run("rsync", "-aHXn", "--numeric-ids", "--delete", "--itemize-changes", _served.Root + "/", Folder + "/").ShouldBeEmpty();
        Run("rsync", "-aHXn", "--numeric-ids", "--delete", "--itemize-changes", Folder + "/", _served.Root + "/").ShouldBeEmpty();
        string[] small = ["-type", "f", "-size", "-20M", "-exec", "sha256sum", "{}", "+"];
        Sorted(Run("sh", ["-c", $"cd '{Folder}' && find . {Quoted(small)}"])).ShouldBe(Sorted(Run("sh", ["-c", $"cd '{_served.Root}' && find . {Quoted(small)}"])));
        _failures.ShouldBeEmpty();
    }

    [Fact]
    public async Task ReadsAtRandomPlacesByManyProcessesAreRight()
    {
        byte[] content = _served.WriteRandom("large", 40_000_000, seed: 1);
        await MountRootAsync(memory: 32 << 20);
        string mounted = Path.Combine(Folder, "large");

        await Task.WhenAll(Enumerable.Range(0, 6).Select(reader => Task.Run(() =>
        {
            Random random = new(reader);
            for (int i = 0; i < 15; i++)
            {
                int from = random.Next(content.Length - 1);
                int length = Math.Min(content.Length - from, random.Next(1, 400_000));
                byte[] got = RunBytes("dd", $"if={mounted}", "bs=1M", "iflag=skip_bytes,count_bytes", $"skip={from}", $"count={length}", "status=none");
                got.AsSpan().SequenceEqual(content.AsSpan(from, length)).ShouldBeTrue($"{length} bytes at {from}");
            }
        })));
        Run("sha256sum", mounted).Split(' ')[0].ShouldBe(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content)));
    }

    [Fact]
    public async Task AFolderOfTensOfThousandsOfEntriesIsListedWholeAndForgotten()
    {
        Directory.CreateDirectory(_served.In("wide"));
        EveryKindOfEntryTree.FillWide(_served.In("wide"), 30_000);
        await MountRootAsync();

        Sorted(Run("ls", "-f", Path.Combine(Folder, "wide"))).ShouldBe(Sorted(Run("ls", "-f", _served.In("wide"))));
        Run("find", Folder, "-type", "f", "-printf", "x").Length.ShouldBe(30_000);
        Run("sh", "-c", $"ls -l '{Folder}/wide' | wc -l").Trim().ShouldBe("30001");
        _mount!.KnownEntries.ShouldBeGreaterThan(1);
    }

    [Fact]
    public async Task NothingCanBeWritten()
    {
        _served.WriteRandom("file", 100, seed: 1);
        await MountRootAsync();
        foreach (string command in (string[])["echo x >> file", "echo x > new", "rm file", "mv file other", "mkdir folder", "chmod 777 file", "touch file", "ln file link"])
        {
            Should.Throw<InvalidOperationException>(() => Run("sh", "-c", $"cd '{Folder}' && LC_ALL=C {command}"), command).Message.ShouldContain("Read-only file system", customMessage: command);
        }
    }

    [Fact]
    public async Task WhatIsDamagedIsAnErrorOfReadingAndTheRestIsRead()
    {
        _served.WriteRandom("damaged", 9_000_000, seed: 1);
        await _served.BackUpAsync();
        foreach (string pack in Directory.GetFiles(Path.Combine(_served.RepositoryPath, "d"), "*", SearchOption.AllDirectories))
        {
            ScratchFolder.Run("chmod", "0600", pack);
            using FileStream stream = File.Open(pack, FileMode.Open, FileAccess.ReadWrite);
            stream.Position = stream.Length / 2;
            int old = stream.ReadByte();
            stream.Position--;
            stream.WriteByte((byte)~old);
        }

        byte[] whole = _served.WriteRandom("whole", 2_000_000, seed: 2);
        await MountRootAsync();

        Should.Throw<InvalidOperationException>(() => Run("cat", Path.Combine(Folder, "damaged"))).Message.ShouldContain("Input/output error");
        RunBytes("cat", Path.Combine(Folder, "whole")).AsSpan().SequenceEqual(whole).ShouldBeTrue();
        _failures.ShouldContain(static failure => failure.Contains("damaged", StringComparison.Ordinal));
    }

    [Fact]
    public async Task NewSnapshotsAppearAndOldOnesStay()
    {
        _served.WriteRandom("file", 100, seed: 1);
        await _served.BackUpAsync("ada", "daily");
        Mount(await _served.ViewAsync());
        Sorted(Run("ls", Folder)).ShouldBe(["hosts", "latest", "snapshots", "tags"]);
        string first = Run("ls", Path.Combine(Folder, "snapshots")).Trim();
        using FileStream open = File.OpenRead(Path.Combine(Folder, "snapshots", first) + _served.In("file"));

        byte[] later = _served.WriteRandom("later", 100_000, seed: 2);
        await _served.BackUpAsync("ben");
        _served.Time.Advance(TimeSpan.FromSeconds(11));
        await Task.Delay(1100);

        Run("ls", Path.Combine(Folder, "snapshots")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length.ShouldBe(2);
        RunBytes("cat", Folder + "/latest" + _served.In("later")).AsSpan().SequenceEqual(later).ShouldBeTrue();
        byte[] kept = new byte[100];
        open.ReadAtLeast(kept, 100).ShouldBe(100);
        kept.ShouldBe(File.ReadAllBytes(_served.In("file")));
        Sorted(Run("ls", Path.Combine(Folder, "hosts"))).ShouldBe(["ada", "ben"]);
    }

    [Fact]
    public async Task TheLatestIsAnotherAfterABackupThoughThePathWasLookedUpBefore()
    {
        _served.WriteRandom("folder/file", 100_000, seed: 1);
        await _served.BackUpAsync();
        Mount(await _served.ViewAsync());
        string path = Folder + "/latest" + _served.In("folder", "file");
        RunBytes("cat", path).ShouldBe(File.ReadAllBytes(_served.In("folder", "file")));
        using FileStream old = File.OpenRead(path);

        byte[] changed = _served.WriteRandom("folder/file", 120_000, seed: 2);
        await _served.BackUpAsync();
        _served.Time.Advance(TimeSpan.FromSeconds(11));
        await Task.Delay(1100);

        RunBytes("cat", path).ShouldBe(changed);
        old.Length.ShouldBe(100_000);
    }

    [Fact]
    public async Task HolesAreHolesInTheMountedFile()
    {
        using (FileStream sparse = File.Create(_served.In("sparse")))
        {
            sparse.Write(new byte[] { 1, 2, 3 });
            sparse.Position = 1L << 36;
            sparse.WriteByte(4);
            sparse.SetLength((1L << 36) + (1L << 30));
        }

        _served.WriteRandom("dense", 200_000, seed: 1);
        await MountRootAsync();

        // 65 GB: who reads the holes does not finish in time.
        Run("cp", Path.Combine(Folder, "sparse"), _served.Scratch.At("copy"));
        Run("stat", "-c", "%s", _served.Scratch.At("copy")).Trim().ShouldBe($"{(1L << 36) + (1L << 30)}");
        int.Parse(Run("stat", "-c", "%b", _served.Scratch.At("copy"))).ShouldBeLessThan(200);
        int.Parse(Run("stat", "-c", "%b", Path.Combine(Folder, "sparse"))).ShouldBeInRange(1, 200);
        Run("stat", "-c", "%b", Path.Combine(Folder, "dense")).Trim().ShouldBe("391");
        using FileStream copy = File.OpenRead(_served.Scratch.At("copy"));
        byte[] start = new byte[4];
        copy.ReadExactly(start);
        start.ShouldBe([1, 2, 3, 0]);
        copy.Position = 1L << 36;
        copy.ReadByte().ShouldBe(4);
    }

    [Fact]
    public async Task UnmountingByAnotherProgramEndsItAndEndingItUnmountsThoughAFileIsOpen()
    {
        _served.WriteRandom("file", 100, seed: 1);
        await MountRootAsync();
        Run("fusermount3", "-u", Folder);
        await _mount!.Ended.WaitAsync(TimeSpan.FromSeconds(10));
        await _mount.DisposeAsync();
        Mounts().ShouldNotContain(Folder);

        Mount(await _served.ViewOfRootAsync());
        Mounts().ShouldContain(Folder);
        using (File.OpenRead(Path.Combine(Folder, "file")))
        {
            await _mount!.DisposeAsync();
            Mounts().ShouldNotContain(Folder);
        }

        _mount = null;
    }

    [Fact]
    public async Task WhereItCannotBeMountedThatIsSaid()
    {
        await _served.BackUpAsync();
        RepositoryView view = await _served.ViewAsync();

        BackupIQException missing = Should.Throw<BackupIQException>(() => MountPipeline.Start(view, new MountOptions { Folder = Folder + "/none" }, Fail));
        missing.Code.ShouldBe(ErrorCodes.RestoreTarget);
        missing.Details["folder"].ShouldBe(Folder + "/none");
    }

    private static string[] Sorted(string lines) => [.. lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal)];

    private static string Quoted(string[] words) => string.Join(' ', words.Select(static word => $"'{word}'"));

    private static string Mounts() => File.ReadAllText("/proc/self/mounts");

    private static string Run(string program, params string[] arguments) => Encoding.Latin1.GetString(RunBytes(program, arguments));

    private static byte[] RunBytes(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false })!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        using MemoryStream output = new();
        process.StandardOutput.BaseStream.CopyTo(output);
        if (!process.WaitForExit(60_000))
        {
            process.Kill();
            throw new TimeoutException($"{program} did not end.");
        }

        return process.ExitCode == 0 ? output.ToArray() : throw new InvalidOperationException($"{program}: {error.Result}");
    }

    private void Fail(string path, BackupIQException failure)
    {
        lock (_failures)
        {
            _failures.Add($"{path}: {failure.Code}: {failure.Message}");
        }
    }

    private async Task MountRootAsync(long memory = 64 << 20)
    {
        await _served.BackUpAsync();
        Mount(await _served.ViewOfRootAsync(memory));
    }

    private void Mount(RepositoryView view) => _mount = MountPipeline.Start(view, new MountOptions { Folder = Folder }, Fail);
}
