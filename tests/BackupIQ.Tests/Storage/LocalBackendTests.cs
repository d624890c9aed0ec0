using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.Versioning;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

[SupportedOSPlatform("linux")]
public sealed class LocalBackendTests : StorageConformance
{
    private readonly string _root = Directory.CreateTempSubdirectory("backupiq-local-").FullName;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task FoldersAndFilesAreForTheirOwnerAlone()
    {
        await using LocalBackend storage = LocalBackend.Create(Path.Combine(_root, "new/deep"), new LocalOptions(), TimeProvider.System);
        string spooled = Path.Combine(storage.SpoolFolder, "0.pack");
        await File.WriteAllBytesAsync(spooled, [1], Token);
        File.SetUnixFileMode(spooled, (UnixFileMode)0x1A4);
        await storage.PutAsync(new StorageKey("d/ab/1"), StorageContent.FromFile(spooled), Token);
        await PutAsync(storage, "s/1", [1]);
        foreach (string folder in new[] { "new", "new/deep", "new/deep/tmp", "new/deep/d", "new/deep/d/ab", "new/deep/s" })
        {
            File.GetUnixFileMode(Path.Combine(_root, folder))
                .ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, folder);
        }

        foreach (string file in new[] { "new/deep/d/ab/1", "new/deep/s/1" })
        {
            File.GetUnixFileMode(Path.Combine(_root, file)).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite, file);
        }
    }

    [Fact]
    public async Task AFileFromTheSpoolIsRenamedNotCopied()
    {
        await using LocalBackend storage = Open();
        string spooled = Path.Combine(storage.SpoolFolder, "0.pack");
        await File.WriteAllBytesAsync(spooled, Bytes(1000), Token);
        using FileStream open = File.OpenRead(spooled);
        await storage.PutAsync(new StorageKey("d/1"), StorageContent.FromFile(spooled), Token);

        // The open file is the object itself: what is written to it shows there.
        await File.AppendAllTextAsync(Path.Combine(_root, "d/1"), "x", Token);
        open.Length.ShouldBe(1001);
    }

    [Fact]
    public async Task NothingStaysInTheSpool()
    {
        await using LocalBackend storage = Open();
        await PutAsync(storage, "d/1", Bytes(100));
        await PutAsync(storage, "d/1", Bytes(100));
        await PutAsync(storage, "d/1", Bytes(101));
        await PutFileAsync(storage, "d/1", Bytes(102), inSpool: true);
        await PutFileAsync(storage, "d/2", Bytes(102), inSpool: false);
        Directory.EnumerateFileSystemEntries(storage.SpoolFolder).ShouldBeEmpty();
    }

    [Fact]
    public async Task AListingLeavesOutWhatIsNoObject()
    {
        await using LocalBackend storage = Open();
        await PutAsync(storage, "s/1", Bytes(10));
        await File.WriteAllTextAsync(Path.Combine(storage.SpoolFolder, "half.put"), "x", Token);
        await File.WriteAllTextAsync(Path.Combine(_root, "README"), "x", Token);
        await File.WriteAllTextAsync(Path.Combine(_root, "s/Note (copy)"), "x", Token);
        Directory.CreateDirectory(Path.Combine(_root, "lost+found"));
        Directory.CreateDirectory(Path.Combine(_root, "s/empty"));
        File.CreateSymbolicLink(Path.Combine(_root, "s/dangling"), "/nowhere");
        File.CreateSymbolicLink(Path.Combine(_root, "s/loop"), ".");
        (await ListAsync(storage, "")).Select(o => o.Key.Value).Where(k => !k.Contains("loop", StringComparison.Ordinal)).ShouldBe(["s/1"]);
    }

    [Fact]
    public async Task TheSpoolIsNoPartOfTheKeys()
    {
        await using LocalBackend storage = Open();
        await Should.ThrowAsync<ArgumentException>(async () => await PutAsync(storage, "tmp/1", [1]));
        await Should.ThrowAsync<ArgumentException>(async () => await storage.ReadAsync(new StorageKey("tmp"), 0, new byte[1], Token));
    }

    [Fact]
    public async Task AFolderThatIsNotThereIsAStorageThatCannotBeReached()
    {
        LocalBackend storage = Open();
        await PutAsync(storage, "s/1", [1]);
        Directory.Delete(_root, recursive: true);
        Func<Task>[] calls =
        [
            async () => await PutAsync(storage, "s/2", [1]),
            async () => await PutFileAsync(storage, "d/2", [1], inSpool: false),
            async () => await storage.ReadAsync(new StorageKey("s/1"), 0, new byte[1], Token),
            async () => await storage.StatAsync(new StorageKey("s/1"), Token),
            async () => await ListAsync(storage, "s/"),
            async () => await storage.DeleteAsync(new StorageKey("s/1"), Token),
            async () => await storage.GetSpaceAsync(Token),
            () => Task.FromResult(Open()),
        ];
        foreach (Func<Task> call in calls)
        {
            StorageException e = await Should.ThrowAsync<StorageException>(call);
            e.Code.ShouldBe(ErrorCodes.StorageConnection);
            e.Details["path"].ShouldBe(_root);
        }

        Directory.Exists(_root).ShouldBeFalse("an unmounted disk's folder must not be made anew");
        Directory.CreateDirectory(_root);
        await storage.DisposeAsync();
    }

    [Fact]
    public async Task FoldersThatSomebodyRemovedAreMadeAgain()
    {
        await using LocalBackend storage = Open();
        await PutAsync(storage, "d/ab/1", Bytes(10));
        Directory.Delete(Path.Combine(_root, "d"), recursive: true);
        Directory.Delete(storage.SpoolFolder, recursive: true);
        (await PutAsync(storage, "d/ab/1", Bytes(10))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/ab/1", Bytes(10));
    }

    [Theory]
    [InlineData(nameof(LocalBackend.Publication.RenameNoReplace), true)]
    [InlineData(nameof(LocalBackend.Publication.LinkAndUnlink), true)]
    [InlineData(nameof(LocalBackend.Publication.CheckAndRename), false)]
    public async Task EveryWayOfNamingKeepsWhatIsThere(string publication, bool isConditional)
    {
        await using LocalBackend storage = LocalBackend.Open(
            _root, new LocalOptions(), TimeProvider.System, Enum.Parse<LocalBackend.Publication>(publication));
        storage.Capabilities.ConditionalPut.ShouldBe(isConditional);
        (await PutFileAsync(storage, "s/1", Bytes(1000), inSpool: true)).ShouldBe(PutOutcome.Stored);
        (await PutFileAsync(storage, "s/1", Bytes(1000), inSpool: true)).ShouldBe(PutOutcome.Stored);
        (await PutAsync(storage, "s/1", Bytes(1001))).ShouldBe(PutOutcome.AlreadyThere);
        await ShouldHoldAsync(storage, "s/1", Bytes(1000));
        if (isConditional)
        {
            PutOutcome[] outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => PutAsync(storage, "s/2", Bytes(100, seed: i))));
            outcomes.Count(o => o == PutOutcome.Stored).ShouldBe(1);
        }

        Directory.EnumerateFileSystemEntries(Path.Combine(_root, "tmp")).ShouldBeEmpty();
    }

    [Theory]
    [InlineData(nameof(LocalBackend.Publication.RenameNoReplace), false)]
    [InlineData(nameof(LocalBackend.Publication.RenameNoReplace), true)]
    [InlineData(nameof(LocalBackend.Publication.LinkAndUnlink), false)]
    [InlineData(nameof(LocalBackend.Publication.LinkAndUnlink), true)]
    public async Task ARivalThatIsFirstAtTheLastMomentIsNotReplaced(string publication, bool inSpool)
    {
        string target = Path.Combine(_root, "s/1");
        byte[] rival = Bytes(1000, seed: 2);
        await using LocalBackend storage = LocalBackend.Open(
            _root,
            new LocalOptions(),
            TimeProvider.System,
            Enum.Parse<LocalBackend.Publication>(publication),
            beforePublishing: () => File.WriteAllBytes(target, rival));
        (await PutFileAsync(storage, "s/1", Bytes(1000), inSpool)).ShouldBe(PutOutcome.AlreadyThere);
        await ShouldHoldAsync(storage, "s/1", rival);
        File.Delete(target);
        (await PutFileAsync(storage, "s/1", rival, inSpool)).ShouldBe(PutOutcome.Stored, "a rival with the same bytes is as good as this put");
        Directory.EnumerateFileSystemEntries(storage.SpoolFolder).ShouldBeEmpty();
    }

    [Fact]
    public async Task ManyRangesOfOneObjectCostOneOpen()
    {
        await using LocalBackend storage = Open();
        await PutAsync(storage, "d/1", Bytes(100_000));
        string path = Path.Combine(_root, "d/1");
        (await storage.ReadAsync(new StorageKey("d/1"), 0, new byte[10], Token)).ShouldBe(10);
        Descriptors(path).ShouldBe(1);
        for (int i = 0; i < 100; i++)
        {
            (await storage.ReadAsync(new StorageKey("d/1"), i * 100, new byte[100], Token)).ShouldBe(100);
        }

        Descriptors(path).ShouldBe(1);
        await storage.DeleteAsync(new StorageKey("d/1"), Token);
        Descriptors(path).ShouldBe(0);
    }

    [Fact]
    public async Task OpenFilesAreFewAndClosedWithTheStorage()
    {
        LocalBackend storage = Open();
        for (int i = 0; i < 100; i++)
        {
            await PutAsync(storage, $"d/{i}", Bytes(10));
            await storage.ReadAsync(new StorageKey($"d/{i}"), 0, new byte[10], Token);
        }

        Descriptors(_root).ShouldBeInRange(1, 32);
        await storage.DisposeAsync();
        Descriptors(_root).ShouldBe(0);
    }

    [Fact]
    public async Task WhatAnotherProcessDeletedIsNoticedInTime()
    {
        ManualTime time = new();
        await using LocalBackend storage = LocalBackend.Open(_root, new LocalOptions(), time);
        await PutAsync(storage, "d/1", Bytes(10));
        await ShouldHoldAsync(storage, "d/1", Bytes(10));
        File.Delete(Path.Combine(_root, "d/1"));
        time.Advance(TimeSpan.FromMinutes(1));
        StorageException e = await Should.ThrowAsync<StorageException>(
            async () => await storage.ReadAsync(new StorageKey("d/1"), 0, new byte[1], Token));
        e.Code.ShouldBe(ErrorCodes.StorageObjectNotFound);
    }

    [Fact]
    public async Task PutsSyncNoMoreFoldersThanNeeded()
    {
        await using LocalBackend storage = Open();
        await PutAsync(storage, "d/ab/1", [1]);
        storage.FolderSyncs.ShouldBe(3, "the root for d, d for ab, ab for the object");
        await PutAsync(storage, "d/ab/2", [1]);
        storage.FolderSyncs.ShouldBe(4);
        for (int i = 0; i < 16; i++)
        {
            Directory.CreateDirectory(Path.Combine(_root, $"m/{i:x2}"));
        }

        long before = storage.FolderSyncs;
        for (int i = 0; i < 16; i++)
        {
            await PutAsync(storage, $"m/{i:x2}/1", [1]);
        }

        (storage.FolderSyncs - before).ShouldBe(2 + 16, "folders that are there are settled by one sync of their parent");
        before = storage.FolderSyncs;
        await Task.WhenAll(Enumerable.Range(0, 64).Select(i => PutAsync(storage, $"s/{i}", [1])));
        (storage.FolderSyncs - before).ShouldBeLessThanOrEqualTo(66);
    }

    [Theory]
    [InlineData(28, "StorageFull")]
    [InlineData(122, "StorageFull")]
    [InlineData(13, "StorageAuthentication")]
    [InlineData(1, "StorageAuthentication")]
    [InlineData(30, "StorageAuthentication")]
    [InlineData(5, "Storage")]
    [InlineData(18, "Storage")]
    [InlineData(24, "Resource")]
    [InlineData(110, "StorageTimeout")]
    [InlineData(116, "StorageConnection")]
    public void AnErrorNumberSaysWhatToDo(int error, string code)
    {
        StorageException e = LocalFailure.For(error, "The object s/1 could not be written", "/r/s/1");
        e.Code.Name.ShouldBe(code);
        e.Message.ShouldStartWith("The object s/1 could not be written: ");
        e.Message.ShouldNotContain("/r/");
        e.Guidance.ShouldNotBeEmpty();
        e.Details["path"].ShouldBe("/r/s/1");
    }

    [Fact]
    public async Task ARefusalOfTheSystemNamesTheObject()
    {
        await using LocalBackend storage = Open();
        await PutAsync(storage, "s", [1]);
        StorageException e = await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "s/1", [1]));
        e.Code.ShouldBe(ErrorCodes.Storage);
        e.Message.ShouldContain("s");
        Directory.EnumerateFileSystemEntries(storage.SpoolFolder).ShouldBeEmpty();
    }

    [Fact]
    public async Task AFullDiskIsSaidAndLeavesNothingBehind()
    {
        string disk = Path.Combine(_root, "disk");
        Directory.CreateDirectory(disk);
        Assert.SkipUnless(Environment.IsPrivilegedProcess && Run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk) == 0, "cannot mount");
        try
        {
            await using LocalBackend storage = LocalBackend.Open(disk, new LocalOptions(), TimeProvider.System);
            await PutAsync(storage, "d/1", Bytes(1_000_000));
            foreach (bool byFile in new[] { false, true })
            {
                StorageException e = await Should.ThrowAsync<StorageException>(async () =>
                    await (byFile ? PutFileAsync(storage, "d/2", Bytes(2_000_000), inSpool: false) : PutAsync(storage, "d/2", Bytes(2_000_000))));
                e.Code.ShouldBe(ErrorCodes.StorageFull);
                e.Message.ShouldContain("d/2");
            }

            Directory.EnumerateFileSystemEntries(storage.SpoolFolder).ShouldBeEmpty();
            (await ListAsync(storage, "")).Select(o => o.Key.Value).ShouldBe(["d/1"]);
            await PutAsync(storage, "d/3", Bytes(500_000));

            // Busy for a moment while another test starts a process, which has our open files until it is another program.
            for (int i = 0; i < 100 && Run("mount", "-o", "remount,ro", disk) != 0; i++)
            {
                await Task.Delay(50, Token);
            }

            Run("mount", "-o", "remount,ro", disk).ShouldBe(0);
            StorageException readOnly = await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "d/4", [1]));
            readOnly.Code.ShouldBe(ErrorCodes.StorageAuthentication);
            readOnly.Guidance.ShouldContain("read-only");
            await using LocalBackend reader = LocalBackend.Open(disk, new LocalOptions(), TimeProvider.System);
            await ShouldHoldAsync(reader, "d/3", Bytes(500_000));
        }
        finally
        {
            Run("umount", disk);
        }
    }

    [Fact]
    public async Task APutThatIsKilledLeavesNothingUnderItsKey()
    {
        const int Rounds = 6;
        for (int round = 0; round < Rounds; round++)
        {
            using Process child = KilledPutChild.Start(_root, round);

            // Killed at a moment that differs from round to round, once it is in the midst of its puts.
            string? line = await child.StandardOutput.ReadLineAsync(Token);
            line.ShouldBe("putting");
            await Task.Delay(20 + (37 * round), Token);
            child.Kill();
            await child.WaitForExitAsync(Token);
        }

        await using LocalBackend storage = Open();
        List<StoredObject> objects = await ListAsync(storage, "");
        objects.Count.ShouldBeGreaterThan(0);
        foreach (StoredObject item in objects)
        {
            item.Size.ShouldBe(KilledPutChild.Size, item.Key.Value);
            await ShouldHoldAsync(storage, item.Key.Value, KilledPutChild.Content(item.Key.Value));
        }

        // What was cut off can be put now.
        foreach (StoredObject item in objects.Take(3))
        {
            (await PutAsync(storage, item.Key.Value, KilledPutChild.Content(item.Key.Value))).ShouldBe(PutOutcome.Stored);
        }
    }

    [Theory]
    [InlineData(0x6969u, 1)]
    [InlineData(0xFF534D42u, 1)]
    [InlineData(0xFE534D42u, 1)]
    [InlineData(0x65735546u, 5)]
    [InlineData(0xEF53u, 0)]
    [InlineData(0x01021994u, 0)]
    [InlineData(0u, 0)]
    public void NetworkFileSystemsDeclareTheirLag(uint magic, int minutes) =>
        FileSystemKinds.ListingLag(FileSystemKinds.Of(magic)).ShouldBe(TimeSpan.FromMinutes(minutes));

    [Fact]
    public async Task TheLagCanBeSet()
    {
        await using LocalBackend storage = LocalBackend.Open(_root, new LocalOptions { ListingLag = TimeSpan.FromSeconds(7) }, TimeProvider.System);
        storage.Capabilities.ListingLag.ShouldBe(TimeSpan.FromSeconds(7));
        await using LocalBackend plain = Open();
        plain.Capabilities.ShouldBe(new StorageCapabilities { ConditionalPut = true, IsLocal = true });
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Directory.Delete(_root, recursive: true);
    }

    protected override ValueTask<IStorageBackend> ConnectAsync() => ValueTask.FromResult<IStorageBackend>(Open());

    private LocalBackend Open() => LocalBackend.Open(_root, new LocalOptions(), TimeProvider.System);

    /// <summary>How many of this process's descriptors are open on a path or below it.</summary>
    private static int Descriptors(string path) => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count(fd => IsOpenOn(fd, path));

    private static bool IsOpenOn(string descriptor, string path)
    {
        try
        {
            return File.ResolveLinkTarget(descriptor, false)?.FullName.StartsWith(path, StringComparison.Ordinal) == true;
        }
        catch (FileNotFoundException)
        {
            // Another test, running beside this one, has closed it since the folder was read.
            return false;
        }
    }

    private static int Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardError = true })!;
        process.WaitForExit();
        return process.ExitCode;
    }

    private sealed class ManualTime : TimeProvider
    {
        private long _now;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Interlocked.Read(ref _now);

        public void Advance(TimeSpan span) => Interlocked.Add(ref _now, span.Ticks);
    }
}

/// <summary>This same test program as a child that puts without end, until it is killed.</summary>
internal static class KilledPutChild
{
    internal const int Size = 300_000;
    private const string Variable = "BACKUPIQ_TEST_PUT_CHILD";

    internal static Process Start(string root, int round)
    {
        ProcessStartInfo start = new(Path.Combine(AppContext.BaseDirectory, "BackupIQ.Tests"))
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
        };
        start.Environment[Variable] = $"{round}:{root}";
        return Process.Start(start)!;
    }

    internal static byte[] Content(string key)
    {
        byte[] bytes = new byte[Size];
        new Random(key.Sum(c => c * 31) + key.Length).NextBytes(bytes);
        return bytes;
    }

    [ModuleInitializer]
    internal static void RunWhenAsked()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { } order)
        {
            return;
        }

        int colon = order.IndexOf(':', StringComparison.Ordinal);
        LocalBackend storage = LocalBackend.Open(order[(colon + 1)..], new LocalOptions(), TimeProvider.System);
        Console.WriteLine("putting");
        for (int i = 0; ; i++)
        {
            string key = $"d/{i % 7}/{order[..colon]}-{i}";
            byte[] bytes = Content(key);
            StorageContent content = StorageContent.FromBytes(bytes);
            if (i % 2 == 0)
            {
                string spooled = Path.Combine(storage.SpoolFolder, $"{order[..colon]}-{i}.pack");
                File.WriteAllBytes(spooled, bytes);
                content = StorageContent.FromFile(spooled);
            }

            storage.PutAsync(new StorageKey(key), content, CancellationToken.None).AsTask().GetAwaiter().GetResult();
        }
    }
}
