using System.Diagnostics;
using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources;

public sealed class FileSourceTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public void EveryKindOfEntryIsDescribedAsItIs()
    {
        EveryKindOfEntryTree.Fill(_scratch.Path);
        using FileSource source = Source();
        Dictionary<string, NodeMetadata> nodes = Describe(source);

        NodeMetadata setuid = nodes["setuid"];
        setuid.Type.ShouldBe(NodeType.File);
        setuid.Mode.ShouldBe(0x9edu);
        setuid.Modified.ShouldBe(new FileTime(EveryKindOfEntryTree.Late.Seconds, EveryKindOfEntryTree.Late.Nanoseconds));
        nodes["early"].Modified.ShouldBe(new FileTime(EveryKindOfEntryTree.Early.Seconds, EveryKindOfEntryTree.Early.Nanoseconds));
        nodes["latin1 caf\u00e9"].Size.ShouldBe(9u);
        nodes["new\nline"].Type.ShouldBe(NodeType.File);
        nodes["back\\slash"].Type.ShouldBe(NodeType.File);
        nodes.Keys.Count(static name => name.Length == 255).ShouldBe(2);
        nodes["link, latin1"].LinkTarget.ShouldBe([.. "caf"u8, 0xe9, (byte)'\n', 0xff]);
        nodes["link, latin1"].Type.ShouldBe(NodeType.SymbolicLink);
        nodes["link, long"].LinkTarget!.Length.ShouldBe(4000);
        nodes["fifo"].Type.ShouldBe(NodeType.Fifo);
        nodes["sparse"].IsSparse.ShouldBeTrue();
        nodes["sparse"].Size.ShouldBe(9_000_001u);
        nodes["hole"].Size.ShouldBe(1UL << 32);
        nodes["small"].IsSparse.ShouldBeFalse();
        nodes["folder/hard 3"].Size.ShouldBe(14u);
        nodes["shared folder"].Mode.ShouldBe(0x3ffu);
        nodes["socket"].Type.ShouldBe(NodeType.Socket);
        if (ScratchFolder.IsRoot)
        {
            setuid.UserName.ShouldBe("root"u8.ToArray());
            setuid.GroupName.ShouldBe("root"u8.ToArray());
            nodes["foreign"].UserId.ShouldBe(54_321u);
            nodes["foreign"].UserName.ShouldBeNull();
            nodes["block device"].DeviceMajor.ShouldBe(7u);
            nodes["block device"].DeviceMinor.ShouldBe(70_000u);
            nodes["character device"].DeviceMinor.ShouldBe(3u);
        }
    }

    [Fact]
    public void AttributesAccessListsAndCapabilitiesAreDescribed()
    {
        EveryKindOfEntryTree.Fill(_scratch.Path);
        using FileSource source = Source();
        Dictionary<string, NodeMetadata> nodes = Describe(source);
        if (nodes["attributes"].ExtendedAttributes.Count == 0)
        {
            Assert.Skip("The temporary folder's file system has no user attributes.");
        }

        nodes["attributes"].ExtendedAttributes.Select(static a => Encoding.Latin1.GetString(a.Name))
            .ShouldBe(["user.binary", "user.empty", "user.latin1 \u00e9", "user.text"]);
        nodes["attributes"].ExtendedAttributes[0].Value.ShouldBe([0, 1, 2, 0xff, 0]);
        nodes["attributes"].ExtendedAttributes[1].Value.ShouldBeEmpty();
        nodes["large attribute"].ExtendedAttributes.ShouldHaveSingleItem().Value.Length.ShouldBe(3500);
        nodes["access list"].ExtendedAttributes.ShouldHaveSingleItem().Value.ShouldBe(EveryKindOfEntryTree.AclFor(12_345));
        Encoding.ASCII.GetString(nodes["folder with default list"].ExtendedAttributes.ShouldHaveSingleItem().Name)
            .ShouldBe("system.posix_acl_default");
        if (ScratchFolder.IsRoot)
        {
            nodes["capability"].ExtendedAttributes.Select(static a => Encoding.Latin1.GetString(a.Name))
                .ShouldBe(["security.capability", "trusted.mark"]);
            nodes["capability"].ExtendedAttributes[0].Value.ShouldBe(EveryKindOfEntryTree.Capability());
            nodes["link with attribute"].ExtendedAttributes.ShouldHaveSingleItem().Value.ShouldBe("of the link"u8.ToArray());
            nodes["small"].ExtendedAttributes.ShouldBeEmpty();
        }
    }

    [Fact]
    public void AWalkIsSortedByBytesAndBalanced()
    {
        EveryKindOfEntryTree.Fill(_scratch.Path);
        using FileSource source = Source();
        Stack<(SourceEntry Folder, byte[] Last)> open = new();
        byte[] last = [];
        foreach (SourceEvent e in source.Walk(default))
        {
            e.Kind.ShouldNotBe(SourceEventKind.Error);
            if (e.Kind == SourceEventKind.Leave)
            {
                (SourceEntry folder, last) = open.Pop();
                e.Entry.ShouldBeSameAs(folder);
                continue;
            }

            e.Entry!.Parent.ShouldBe(open.Count > 0 ? open.Peek().Folder : null);
            e.Entry.Name.AsSpan().SequenceCompareTo(last).ShouldBeGreaterThan(0);
            last = e.Entry.Name;
            if (e.Kind == SourceEventKind.Enter)
            {
                open.Push((e.Entry, last));
                last = [];
            }
        }

        open.ShouldBeEmpty();
    }

    [Fact]
    public void FilesAreReadWithTheirHoles()
    {
        EveryKindOfEntryTree.Fill(_scratch.Path);
        using FileSource source = Source();
        foreach (SourceEvent e in source.Walk(default))
        {
            string name = e.Entry is null ? "" : Encoding.Latin1.GetString(e.Entry.Name);
            if (e.Kind == SourceEventKind.Leaf && name == "small")
            {
                using ISourceFile file = source.Open(e.Entry!);
                byte[] buffer = new byte[100];
                file.IsSequential.ShouldBeFalse();
                file.Read(buffer, 5).ShouldBe(5);
                buffer.AsSpan(0, 5).SequenceEqual("text\n"u8).ShouldBeTrue();
                file.Read(buffer, 10).ShouldBe(0);
                file.Stat().ShouldBe(e.Entry!.Stat);
            }
            else if (e.Kind == SourceEventKind.Leaf && name == "sparse")
            {
                using ISourceFile file = source.Open(e.Entry!);
                List<(long, long)> runs = [];
                for (long at = 0; file.NextData(at, 9_000_001, out long offset, out long length); at = offset + length)
                {
                    runs.Add((offset, length));
                }

                runs.ShouldBe([(1 << 20, 8192), (5 << 20, 8192)]);
            }
            else if (e.Kind == SourceEventKind.Leaf && name == "hole")
            {
                using ISourceFile file = source.Open(e.Entry!);
                file.NextData(0, 1L << 32, out _, out _).ShouldBeFalse();
            }
        }
    }

    [Fact]
    public void WhatIsNoFileAnyMoreIsNotOpened()
    {
        Directory.CreateDirectory(At("d"));
        File.WriteAllText(At("d/a"), "a");
        File.WriteAllText(At("d/b"), "b");
        File.WriteAllText(At("d/c"), "c");
        using FileSource source = Source();
        Dictionary<string, ErrorCode> codes = [];
        foreach (SourceEvent e in source.Walk(default))
        {
            if (e.Kind != SourceEventKind.Leaf)
            {
                continue;
            }

            string path = Encoding.Latin1.GetString(e.Entry!.FullPath());
            File.Delete(path);
            if (path.EndsWith('b'))
            {
                File.CreateSymbolicLink(path, "/etc/passwd");
            }
            else if (path.EndsWith('c'))
            {
                ScratchFolder.Run("mkfifo", path);
            }

            SourceItemException error = Should.Throw<SourceItemException>(() => source.Open(e.Entry!));
            error.Path.ShouldBe(e.Entry!.FullPath());
            codes[path[^1..]] = error.Code;
            Should.Throw<SourceItemException>(() => source.Describe(e.Entry!));
        }

        codes["a"].ShouldBe(ErrorCodes.SourceNotFound);
        codes["b"].ShouldBe(ErrorCodes.SourceChanged);
        codes["c"].ShouldBe(ErrorCodes.SourceChanged);
    }

    [Fact]
    public void EntriesThatVanishAreErrorsOfTheWalk()
    {
        for (int i = 0; i < 10; i++)
        {
            File.WriteAllText(At($"f{i}"), "");
            Directory.CreateDirectory(At($"g{i}"));
        }

        using FileSource source = Source();
        List<SourceItemException> errors = [];
        bool removed = false;
        foreach (SourceEvent e in source.Walk(default))
        {
            if (!removed && e.Kind == SourceEventKind.Leaf)
            {
                File.Delete(At("f5"));
                Directory.Delete(At("g5"));
                removed = true;
            }

            if (e.Kind == SourceEventKind.Error)
            {
                errors.Add(e.Error!);
            }
        }

        errors.Count.ShouldBe(2);
        errors.ShouldAllBe(static e => e.Code == ErrorCodes.SourceNotFound);
        Encoding.UTF8.GetString(errors[0].Path).ShouldBe(At("f5"));
    }

    [Fact]
    public void AHundredThousandEntriesInAFolderAreWalked()
    {
        EveryKindOfEntryTree.FillWide(_scratch.Path, 100_000);
        long best = long.MaxValue;
        for (int run = 0; run < 3; run++)
        {
            using FileSource source = Source();
            long start = Stopwatch.GetTimestamp();
            source.Walk(default).Count(static e => e.Kind == SourceEventKind.Leaf).ShouldBe(100_000);
            best = Math.Min(best, (long)Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"100,000 entries walked in {best} ms");
    }

    [Theory]
    [InlineData(40, 255)]
    [InlineData(5000, 2)]
    public void FoldersOfAnyDepthAreWalkedWithFewDescriptors(int levels, int nameLength)
    {
        byte[] name = Enumerable.Repeat((byte)'d', nameLength).ToArray();
        EveryKindOfEntryTree.FillDeep(_scratch.Path, levels, name);
        using FileSource source = Source();
        int entered = 0;
        SourceEntry? bottom = null;
        foreach (SourceEvent e in source.Walk(default))
        {
            e.Error.ShouldBeNull();
            entered += e.Kind == SourceEventKind.Enter && e.Entry!.Name.AsSpan().SequenceEqual(name) ? 1 : 0;
            bottom = e.Kind == SourceEventKind.Leaf ? e.Entry : bottom;
            if (e.Kind == SourceEventKind.Leaf)
            {
                Directory.GetFiles("/proc/self/fd").Length.ShouldBeLessThan(1000);
            }
        }

        entered.ShouldBe(levels);
        Directory.GetFiles("/proc/self/fd").Length.ShouldBeLessThan(1000);
        source.Describe(bottom!).Size.ShouldBe(13u);
        using ISourceFile file = source.Open(bottom!);
        byte[] content = new byte[20];
        file.Read(content, 0).ShouldBe(13);
    }

    [Fact]
    public void AFolderThatTookThePlaceOfAnotherIsNotEntered()
    {
        Directory.CreateDirectory(At("a/b"));
        using OpenFolders folders = new(limit: 2);
        folders.OpenTop(_scratch.PathBytes, out DirectoryHandle? top).ShouldBe(0);
        folders.OpenChild(top!, "a"u8, out DirectoryHandle? a).ShouldBe(0);
        folders.OpenChild(a!, "b"u8, out DirectoryHandle? b).ShouldBe(0);
        folders.OpenCount.ShouldBe(2);
        folders.Release(a!);
        Directory.Move(At("a"), At("moved"));
        Directory.CreateDirectory(At("a/b"));
        folders.Lease(a!, out _).ShouldBe(-Errno.Stale);
        folders.Release(b!);
        Should.Throw<SourceItemException>(() => folders.Lease(b!)).Code.ShouldBe(ErrorCodes.SourceChanged);
    }

    [Fact]
    public void NothingBelowAFolderIsOpenedThroughALink()
    {
        Directory.CreateDirectory(At("a/b"));
        File.WriteAllText(At("a/b/c"), "c");
        File.CreateSymbolicLink(At("a/l"), "b");
        int folder = Syscalls.OpenAt(AtFlags.WorkingFolder, _scratch.PathBytes, OpenFlags.Directory);
        using DescriptorHandle handle = new(folder);
        foreach (bool fallback in new[] { false, true })
        {
            int Open(string path) => fallback
                ? Syscalls.OpenByComponents(folder, Encoding.UTF8.GetBytes(path), OpenFlags.ReadOnly, 0)
                : Syscalls.OpenBeneath(folder, Encoding.UTF8.GetBytes(path), OpenFlags.ReadOnly);
            int good = Open("a/b/c");
            good.ShouldBeGreaterThan(0);
            Syscalls.Close(good).ShouldBe(0);
            Open("a/l/c").ShouldBeLessThan(0);
            Open("a/../../etc").ShouldBe(-Errno.CrossDevice);
        }
    }

    [Fact]
    public void SeveralPathsBecomeOneSortedTreeWithTheirParents()
    {
        Directory.CreateDirectory(At("a/b/c"));
        Directory.CreateDirectory(At("x/y"));
        foreach (string file in new[] { "a/1", "a/b/2", "a/b/c/3", "x/4", "x/y/5", "0" })
        {
            File.WriteAllText(At(file), file);
        }

        List<string> paths = Paths(new FileSourceOptions
        {
            WorkingFolder = _scratch.PathBytes,
            Paths = [U("x/y"), U("a/b/c"), U("a"), U("x/../a/b/c/3"), U(At("x/y"))],
            Excludes = [U("b")],
        });

        // Folders that lead to a given path are kept whatever is excluded; what is below is judged by its own whole path.
        paths.ShouldBe(["a", "a/1", "a/b", "a/b/c", "x", "x/y", "x/y/5"]);
    }

    [Fact]
    public void APathWithinAGivenPathTakesNothingAway()
    {
        Directory.CreateDirectory(At("a/b"));
        File.WriteAllText(At("a/b/1"), "1");
        File.WriteAllText(At("a/b/2"), "2");
        Paths(new FileSourceOptions { Paths = [U(At("a/b/2")), _scratch.PathBytes] }).ShouldBe(["a", "a/b", "a/b/1", "a/b/2"]);
    }

    [Fact]
    public void APathThroughASymbolicLinkBecomesAFolder()
    {
        Directory.CreateDirectory(At("real"));
        File.WriteAllText(At("real/f"), "f");
        File.CreateSymbolicLink(At("link"), "real");
        using FileSource source = new(new FileSourceOptions { Paths = [U(At("link/f")), U(At("real"))] });
        Dictionary<string, NodeMetadata> nodes = Describe(source);
        nodes["link"].Type.ShouldBe(NodeType.Directory);
        nodes["link"].Name.ShouldBe("link"u8.ToArray());
        nodes["link/f"].Type.ShouldBe(NodeType.File);
    }

    [Fact]
    public void AMissingPathIsAnErrorAndAllMissingEndsTheBackup()
    {
        using FileSource source = new(new FileSourceOptions { Paths = [U(At("missing")), U(_scratch.Path)] });
        source.Walk(default).Where(static e => e.Kind == SourceEventKind.Error).ShouldHaveSingleItem().Error!.Code
            .ShouldBe(ErrorCodes.SourceNotFound);
        Should.Throw<BackupIQException>(() => new FileSource(new FileSourceOptions { Paths = [U(At("missing"))] })).Code
            .ShouldBe(ErrorCodes.SourceNotFound);
    }

    [Fact]
    public void OnlyWhatIsIncludedIsKeptAndTheFoldersAbove()
    {
        Directory.CreateDirectory(At("a/b"));
        Directory.CreateDirectory(At("c/d"));
        foreach (string file in new[] { "a/b/1.txt", "a/2.log", "c/d/3.log", "4.txt" })
        {
            File.WriteAllText(At(file), file);
        }

        Paths(new FileSourceOptions { Paths = [_scratch.PathBytes], Includes = [U("*.txt")] }).ShouldBe(["4.txt", "a", "a/b", "a/b/1.txt"]);
        Paths(new FileSourceOptions { Paths = [_scratch.PathBytes], Includes = [U("d")] }).ShouldBe(["c", "c/d", "c/d/3.log"]);
    }

    [Fact]
    public void ATagThatIsAFifoIsNotWaitedFor()
    {
        _ = Syscalls.MakeNode(AtFlags.WorkingFolder, U(At(".tag")), FileModes.Fifo | 0x180u);
        File.WriteAllText(At("f"), "f");
        using FileSource source = new(new FileSourceOptions { Paths = [_scratch.PathBytes], ExcludeIfPresent = [FolderTag.Parse(".tag:x"u8)] });
        Describe(source).Keys.ShouldBe([".tag", "f"]);
        source.Notices.ShouldHaveSingleItem().Message.ShouldContain("tag");
    }

    [Fact]
    public void FoldersOfOurOwnAreLeftOutAndTold()
    {
        Directory.CreateDirectory(At("repo/data"));
        File.WriteAllText(At("f"), "f");
        File.CreateSymbolicLink(At("way"), At("repo"));
        using FileSource source = new(new FileSourceOptions
        {
            Paths = [_scratch.PathBytes],
            OwnFolders = [new OwnFolder(U(At("way")), "the repository"), new OwnFolder(U(At("none")), "the spool")],
        });
        Describe(source).Keys.ShouldNotContain("repo");
        SourceNotice notice = source.Notices.ShouldHaveSingleItem();
        Encoding.UTF8.GetString(notice.Path).ShouldBe(At("repo"));
        notice.Message.ShouldContain("the repository");
    }

    [Fact]
    public void AMountPointIsKeptEmptyOnOneFileSystem()
    {
        Assert.SkipUnless(ScratchFolder.IsRoot, "Mounting needs root.");
        Directory.CreateDirectory(At("mount"));
        try
        {
            ScratchFolder.Run("mount", "-t", "tmpfs", "none", At("mount"));
        }
        catch (InvalidOperationException e)
        {
            Assert.Skip($"Mounting is not permitted here: {e.Message}");
        }

        try
        {
            File.WriteAllText(At("mount/inside"), "i");
            File.WriteAllText(At("outside"), "o");
            FileSourceOptions options = new() { Paths = [_scratch.PathBytes] };
            Paths(options).ShouldBe(["mount", "mount/inside", "outside"]);
            Paths(options with { OneFileSystem = true }).ShouldBe(["mount", "outside"]);
            Paths(options with { OneFileSystem = true, Paths = [_scratch.PathBytes, U(At("mount"))] })
                .ShouldBe(["mount", "mount/inside", "outside"]);
        }
        finally
        {
            ScratchFolder.Run("umount", At("mount"));
        }
    }

    [Fact]
    public void WhatTheOperatingSystemDeniesIsToldAndTheRestIsWalked()
    {
        Assert.SkipUnless(ScratchFolder.IsRoot, "Becoming somebody without rights needs root.");
        Directory.CreateDirectory(At("closed"));
        File.WriteAllText(At("closed/x"), "x");
        File.WriteAllText(At("open"), "o");
        File.WriteAllText(At("unreadable"), "u");
        ScratchFolder.Run("chmod", "0700", At("closed"));
        ScratchFolder.Run("chmod", "0600", At("unreadable"));
        ScratchFolder.Run("chmod", "0755", _scratch.Path);
        List<string> paths = [];
        List<SourceItemException> errors = [];

        // Capabilities and the user of the file system are those of a thread, so one of its own may lose them.
        Thread thread = new(() =>
        {
            const long SetFsUidX64 = 122;
            const long SetFsUidArm = 151;
            long number = System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture
                == System.Runtime.InteropServices.Architecture.Arm64 ? SetFsUidArm : SetFsUidX64;
            using FileSource source = Source();
            _ = LibC.Syscall(number, 65_534, 0, 0, 0, 0);
            try
            {
                foreach (SourceEvent e in source.Walk(default))
                {
                    if (e.Kind == SourceEventKind.Error)
                    {
                        errors.Add(e.Error!);
                    }
                    else if (e.Kind != SourceEventKind.Leave && e.Entry!.Name.AsSpan().SequenceEqual("unreadable"u8))
                    {
                        errors.Add(Should.Throw<SourceItemException>(() => source.Open(e.Entry)));
                    }
                    else if (e.Kind != SourceEventKind.Leave)
                    {
                        paths.Add(Encoding.UTF8.GetString(e.Entry!.Name));
                    }
                }
            }
            finally
            {
                _ = LibC.Syscall(number, 0, 0, 0, 0, 0);
            }
        });
        thread.Start();
        thread.Join();
        paths.ShouldContain("closed");
        paths.ShouldContain("open");
        paths.ShouldNotContain("x");
        errors.Select(static e => (Encoding.UTF8.GetString(e.Path), e.Code))
            .ShouldBe([(At("closed"), ErrorCodes.SourceUnreadable), (At("unreadable"), ErrorCodes.SourceUnreadable)]);
    }

    [Fact]
    public void ACancelledWalkEnds()
    {
        using FileSource source = Source();
        using CancellationTokenSource cancel = new();
        cancel.Cancel();
        Should.Throw<OperationCanceledException>(() => source.Walk(cancel.Token).Count());
    }

    private static byte[] U(string text) => Encoding.UTF8.GetBytes(text);

    private string At(string path) => Path.Combine(_scratch.Path, path);

    private FileSource Source() => new(new FileSourceOptions { Paths = [_scratch.PathBytes] });

    /// <summary>Paths below the scratch folder, in the order of the walk.</summary>
    private List<string> Paths(FileSourceOptions options)
    {
        using FileSource source = new(options);
        List<string> paths = [];
        foreach (SourceEvent e in source.Walk(default))
        {
            e.Error.ShouldBeNull();
            string path = Encoding.Latin1.GetString(e.Entry!.FullPath());
            if (e.Kind != SourceEventKind.Leave && path.StartsWith(_scratch.Path + "/", StringComparison.Ordinal))
            {
                paths.Add(path[(_scratch.Path.Length + 1)..]);
            }
        }

        return paths;
    }

    /// <summary>What each entry below the scratch folder is, by its path as Latin-1, which has a character for every byte.</summary>
    private Dictionary<string, NodeMetadata> Describe(FileSource source)
    {
        Dictionary<string, NodeMetadata> nodes = new(StringComparer.Ordinal);
        foreach (SourceEvent e in source.Walk(default))
        {
            e.Error.ShouldBeNull();
            if (e.Kind == SourceEventKind.Leave)
            {
                continue;
            }

            NodeMetadata node = source.Describe(e.Entry!);
            node.Name.ShouldBe(e.Entry!.Name);
            string path = Encoding.Latin1.GetString(e.Entry.FullPath());
            if (path.StartsWith(_scratch.Path + "/", StringComparison.Ordinal))
            {
                nodes.Add(path[(_scratch.Path.Length + 1)..], node);
            }
        }

        return nodes;
    }
}
