using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Restic;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Restic;

/// <summary>A restic repository as a source: what stands in it comes out, and what must not stand in it does not.</summary>
public sealed class ResticSourceTests : IDisposable
{
    private readonly ResticForge _forge = new();

    public void Dispose() => _forge.Dispose();

    [Fact]
    public void EverythingThatResticKeepsOfAnEntryComesOut()
    {
        string one = _forge.Blob("hello "u8);
        string two = _forge.Blob("world"u8);
        string inner = _forge.Tree(ResticForge.Node("fifo", "fifo"));
        string root = _forge.Tree(
            ResticForge.Node("dev", "dev", "\"device\":1048833,\"links\":1"),
            ResticForge.Node("dir", "dir", $"\"subtree\":\"{inner}\""),
            ResticForge.Node("f\\\\xff", "file", $$"""
                "mode":9437668,"user":"ann","group":"staff","size":11,"links":2,"device_id":5,"extended_attributes":[{"name":"user.b","value":"AQI="},{"name":"user.a","value":null}],"content":["{{one}}","{{two}}"],"new":{"field":[1,{}]}
                """.Trim()),
            ResticForge.Node("link", "symlink", "\"linktarget\":\"t\\ufffd\",\"linktarget_raw\":\"dP4=\",\"content\":null"));
        _forge.EndPack();
        _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(root);
        using ResticRepository repository = _forge.Open();
        using ResticSource source = new(repository, snapshot);
        List<SourceEvent> events = [.. source.Walk(default)];
        events.Select(static e => (e.Kind, Encoding.Latin1.GetString(e.Entry!.FullPath()))).ShouldBe(
        [
            (SourceEventKind.Leaf, "/dev"), (SourceEventKind.Enter, "/dir"), (SourceEventKind.Leaf, "/dir/fifo"), (SourceEventKind.Leave, "/dir"),
            (SourceEventKind.Leaf, "/f\u00ff"), (SourceEventKind.Leaf, "/link"),
        ]);
        NodeMetadata device = source.Describe(events[0].Entry!);
        (device.Type, device.DeviceMajor, device.DeviceMinor).ShouldBe((NodeType.BlockDevice, 1u, 257u));
        NodeMetadata link = source.Describe(events[5].Entry!);
        link.LinkTarget.ShouldBe([0x74, 0xfe]);

        using ISourceFile file = source.Open(events[4].Entry!);
        NodeMetadata node = file.Describe();
        node.Mode.ShouldBe(0x800u | 0x200u | 0x1e4u);
        node.Modified.ShouldBe(new FileTime(1646366767, 123456789));
        (node.UserId, node.GroupId, Encoding.UTF8.GetString(node.UserName!), Encoding.UTF8.GetString(node.GroupName!)).ShouldBe((1u, 2u, "ann", "staff"));
        node.ExtendedAttributes.Select(static a => (Encoding.UTF8.GetString(a.Name), Convert.ToHexString(a.Value))).ShouldBe([("user.a", ""), ("user.b", "0102")]);
        (events[4].Entry!.Stat.LinkCount, events[4].Entry!.Stat.Inode).ShouldBe((2u, 77ul));
        byte[] content = new byte[20];
        foreach (int step in (int[])[1, 2, 3, 5, 6, 7, 11, 20])
        {
            int at = 0;
            for (int read = -1; read != 0; at += read)
            {
                read = file.Read(content.AsSpan(at, Math.Min(step, content.Length - at)), at);
            }

            Encoding.UTF8.GetString(content, 0, at).ShouldBe("hello world");
            Array.Clear(content);
        }

        file.Read(content.AsSpan(0, 3), 4).ShouldBe(3);
        Encoding.UTF8.GetString(content, 0, 3).ShouldBe("o w");
    }

    [Fact]
    public void HostileNamesAndKindsAreRefusedAndTheRestStays()
    {
        string empty = _forge.Tree();
        string root = _forge.Tree(
            ResticForge.Node("..", "dir", $"\"subtree\":\"{empty}\""),
            ResticForge.Node(".", "file"),
            ResticForge.Node("a/../../etc", "file"),
            ResticForge.Node("", "file"),
            ResticForge.Node("z\\\\x00", "file"),
            ResticForge.Node("bad\\\\q", "file"),
            ResticForge.Node("door", "door"),
            ResticForge.Node("folder", "dir"),
            ResticForge.Node("twice", "file"),
            ResticForge.Node("twice", "fifo"),
            ResticForge.Node("huge", "file", "\"size\":18446744073709551615"),
            ResticForge.Node("number", "file", "\"uid\":-1"),
            ResticForge.Node("good", "file"));
        _forge.EndPack();
        _forge.Index();
        List<SourceEvent> events = Walk(_forge.Snapshot(root));
        events.Where(static e => e.Entry is not null).Select(static e => (Encoding.UTF8.GetString(e.Entry!.Name), e.Entry!.Stat.Type)).ShouldBe(
            [("good", NodeType.File), ("twice", NodeType.File)]);
        events.Count(static e => e.Error?.Code == ErrorCodes.HostileName).ShouldBe(6);
        events.Count(static e => e.Error?.Code == ErrorCodes.SourceUnreadable).ShouldBe(4);
    }

    [Fact]
    public void AttributesThatCannotBeKeptCostTheEntryNothingElse()
    {
        string large = ResticForge.Base64(new byte[(1 << 20) - 3]);
        string root = _forge.Tree(
            ResticForge.Node("large", "file", $$"""
                "extended_attributes":[{"name":"user.a","value":"AQ=="},{"name":"user.large","value":"{{large}}"},{"name":"user.z","value":"AQ=="}]
                """.Trim()),
            ResticForge.Node("zero", "file", "\"extended_attributes\":[{\"name\":\"user.\\u0000\",\"value\":\"AQ==\"},{\"name\":\"\",\"value\":\"\"},{\"name\":\"user.b\",\"value\":\"\"}]"));
        _forge.EndPack();
        _forge.Index();
        List<SourceEvent> events = Walk(_forge.Snapshot(root));
        events.Select(static e => (e.Kind, Encoding.UTF8.GetString(e.Entry?.Name ?? e.Error!.Path))).ShouldBe(
            [(SourceEventKind.Error, "/large"), (SourceEventKind.Leaf, "large"), (SourceEventKind.Error, "/zero"), (SourceEventKind.Leaf, "zero")]);
        ((ResticNode)events[1].Entry!.State!).ExtendedAttributes.Select(static a => Encoding.UTF8.GetString(a.Name)).ShouldBe(["user.a", "user.z"]);
        ((ResticNode)events[3].Entry!.State!).ExtendedAttributes.Select(static a => Encoding.UTF8.GetString(a.Name)).ShouldBe(["user.b"]);
    }

    [Fact]
    public void EntriesComeSortedByTheirBytesWhateverTheOrderOfTheDocument()
    {
        string root = _forge.Tree(
            ResticForge.Node("b", "fifo"), ResticForge.Node("\\\\xff", "fifo"), ResticForge.Node("a", "fifo"), ResticForge.Node("\u00e4", "fifo"), ResticForge.Node("ab", "fifo"));
        _forge.EndPack();
        _forge.Index();
        Walk(_forge.Snapshot(root)).Select(static e => Convert.ToHexStringLower(e.Entry!.Name)).ShouldBe(["61", "6162", "62", "c3a4", "ff"]);
    }

    [Fact]
    public void WhatIsDamagedIsAnErrorOfItsFileOrFolderAlone()
    {
        string good = _forge.Blob("good"u8);
        _forge.EndPack();
        string bad = _forge.Blob("this will be damaged"u8);
        string pack = _forge.EndPack();
        string lostTree = _forge.Tree(ResticForge.Node("inside", "fifo"));
        File.Delete(_forge.EndPack());
        string root = _forge.Tree(
            ResticForge.File("bad", bad), ResticForge.Node("gone", "dir", $"\"subtree\":\"{lostTree}\""), ResticForge.File("good", good), ResticForge.File("missing", new string('a', 64)));
        _forge.EndPack();
        _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(root);
        byte[] bytes = File.ReadAllBytes(pack);
        bytes[20] ^= 1;
        File.WriteAllBytes(pack, bytes);

        using ResticRepository repository = _forge.Open();
        using ResticSource source = new(repository, snapshot);
        List<SourceEvent> events = [.. source.Walk(default)];
        events.Select(static e => (e.Kind, Encoding.UTF8.GetString(e.Entry?.Name ?? e.Error!.Path))).ShouldBe(
        [
            (SourceEventKind.Leaf, "bad"), (SourceEventKind.Enter, "gone"), (SourceEventKind.Error, "/gone"), (SourceEventKind.Leave, "gone"),
            (SourceEventKind.Leaf, "good"), (SourceEventKind.Leaf, "missing"),
        ]);
        byte[] buffer = new byte[64];
        using (ISourceFile file = source.Open(events[4].Entry!))
        {
            file.Read(buffer, 0).ShouldBe(4);
        }

        using (ISourceFile file = source.Open(events[0].Entry!))
        {
            SourceItemException error = Should.Throw<SourceItemException>(() => file.Read(buffer, 0));
            (error.Code, Encoding.UTF8.GetString(error.Path)).ShouldBe((ErrorCodes.SourceUnreadable, "/bad"));
        }

        Should.Throw<SourceItemException>(() => source.Open(events[5].Entry!)).Code.ShouldBe(ErrorCodes.SourceUnreadable);
    }

    [Fact]
    public void AnotherCopyOfADamagedBlobServes()
    {
        string blob = _forge.Blob("kept twice"u8);
        string first = _forge.EndPack();
        _forge.Blob("beside it"u8);
        _forge.Blob("kept twice"u8);
        _forge.EndPack();
        string root = _forge.Tree(ResticForge.File("file", blob));
        _forge.EndPack();
        _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(root);
        File.Delete(first);
        using ResticRepository repository = _forge.Open();
        using ResticSource source = new(repository, snapshot);
        using ISourceFile file = source.Open(source.Walk(default).Single().Entry!);
        byte[] buffer = new byte[20];
        file.Read(buffer, 0).ShouldBe(10);
    }

    [Fact]
    public void TheLayoutThatResticOnceHadForS3IsReadToo()
    {
        string root = _forge.Tree(ResticForge.File("file", _forge.Blob("content"u8)));
        string pack = _forge.EndPack();
        _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(root);
        Directory.Move(Path.Join(_forge.Folder, "keys"), Path.Join(_forge.Folder, "key"));
        Directory.Move(Path.Join(_forge.Folder, "snapshots"), Path.Join(_forge.Folder, "snapshot"));
        File.Move(pack, Path.Join(_forge.Folder, "data", Path.GetFileName(pack)));
        using ResticRepository repository = _forge.Open();
        repository.ListSnapshots(default).ShouldHaveSingleItem().Id.ShouldBe(snapshot.Id);
        using ResticSource source = new(repository, snapshot);
        using ISourceFile file = source.Open(source.Walk(default).Single().Entry!);
        file.Read(new byte[20], 0).ShouldBe(7);
    }

    [Fact]
    public void AStorageThatGoesAwayIsNoDamageOfItsFiles()
    {
        string blob = _forge.Blob("content"u8);
        string pack = _forge.EndPack();
        string root = _forge.Tree(ResticForge.File("file", blob));
        _forge.EndPack();
        _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(root);
        using ResticRepository repository = _forge.Open();
        using ResticSource source = new(repository, snapshot);
        using ISourceFile file = source.Open(source.Walk(default).Single().Entry!);
        File.Delete(pack);
        Should.Throw<SourceItemException>(() => file.Read(new byte[7], 0));
        File.Delete(Path.Join(_forge.Folder, "config"));
        Should.Throw<BackupIQException>(() => file.Read(new byte[7], 0)).Code.ShouldBe(ErrorCodes.StorageConnection);
    }

    [Fact]
    public void WithoutItsIndexARepositoryIsReadFromTheHeadersOfItsPacks()
    {
        string root = _forge.Tree(ResticForge.File("file", _forge.Blob("content"u8)));
        _forge.EndPack();
        string index = _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(root);
        byte[] bytes = File.ReadAllBytes(index);
        bytes[^1] ^= 1;
        File.WriteAllBytes(index, bytes);
        using ResticRepository repository = _forge.Open();
        repository.Damage.ShouldHaveSingleItem().ShouldContain("Index");
        using ResticSource source = new(repository, snapshot);
        using ISourceFile file = source.Open(source.Walk(default).Single().Entry!);
        file.Read(new byte[20], 0).ShouldBe(7);
    }

    [Fact]
    public void TheFingerprintTellsWhatIsKeptAndNothingElse()
    {
        string blob = _forge.Blob("x"u8);
        string[] same =
        [
            ResticForge.File("a", blob),
            ResticForge.File("b", blob).Replace("\"inode\":77", "\"inode\":78", StringComparison.Ordinal),
            ResticForge.File("c", blob).Replace("05:06:08Z", "05:06:09Z", StringComparison.Ordinal),
        ];
        string[] other =
        [
            ResticForge.File("d"),
            ResticForge.File("e", blob).Replace("\"uid\":1", "\"uid\":3", StringComparison.Ordinal),
            ResticForge.File("f", blob).Replace("\"mode\":420", "\"mode\":8389028", StringComparison.Ordinal),
            ResticForge.File("g", blob).Replace("123456789", "123456788", StringComparison.Ordinal),
            ResticForge.File("h", blob).Replace("\"gid\":2", "\"gid\":2,\"user\":\"u\"", StringComparison.Ordinal),
            ResticForge.File("i", blob).Replace("\"gid\":2", "\"gid\":2,\"group\":\"u\"", StringComparison.Ordinal),
            ResticForge.File("j", blob).Replace("\"gid\":2", "\"gid\":2,\"extended_attributes\":[{\"name\":\"user.a\",\"value\":\"\"}]", StringComparison.Ordinal),
            ResticForge.File("k", blob).Replace("\"gid\":2", "\"gid\":2,\"links\":2,\"device_id\":1", StringComparison.Ordinal),
            ResticForge.File("l", blob).Replace("\"gid\":2", "\"gid\":2,\"links\":2,\"device_id\":2", StringComparison.Ordinal),
            ResticForge.Node("m", "symlink", "\"linktarget\":\"x\""),
        ];
        string root = _forge.Tree([.. same, .. other]);
        _forge.EndPack();
        _forge.Index();
        ulong[] prints = [.. Walk(_forge.Snapshot(root)).Select(static e => e.Entry!.Stat.Device)];
        prints.Length.ShouldBe(same.Length + other.Length);
        prints[..same.Length].Distinct().Count().ShouldBe(1);
        prints[(same.Length - 1)..].Distinct().Count().ShouldBe(1 + other.Length);
    }

    [Fact]
    public void AFolderThatIsTooLargeToBeHeldIsReadAgainWhereItWasLeft()
    {
        string filler = new('x', 4000);
        string inner = _forge.Tree([.. Enumerable.Range(0, 5000).Select(i => ResticForge.Node($"{i:d5}", "fifo", $"\"filler\":\"{filler}\""))]);
        string root = _forge.Tree(
            [.. Enumerable.Range(0, 4000).Select(i => ResticForge.Node($"{i:d5}", "fifo", $"\"filler\":\"{filler}\"")),
            ResticForge.Node("04000", "dir", $"\"subtree\":\"{inner}\""),
            .. Enumerable.Range(4001, 10).Select(static i => ResticForge.Node($"{i:d5}", "fifo"))]);
        _forge.EndPack();
        _forge.Index();
        List<SourceEvent> events = Walk(_forge.Snapshot(root));
        events.Count(static e => e.Kind == SourceEventKind.Leaf && e.Entry!.Parent is null).ShouldBe(4010);
        events.Count(static e => e.Kind == SourceEventKind.Leaf && e.Entry!.Parent is not null).ShouldBe(5000);
        events.ShouldAllBe(static e => e.Kind != SourceEventKind.Error);
    }

    [Fact]
    public void AWrongPasswordIsToldAndSoIsAFolderThatIsNoRepository()
    {
        using Secret wrong = new("wrong"u8);
        Should.Throw<BackupIQException>(() => ResticRepository.Open(_forge.Folder, wrong)).Code.ShouldBe(ErrorCodes.Authentication);
        Should.Throw<BackupIQException>(() => ResticRepository.Open(Path.Join(_forge.Folder, "data"), wrong)).Code.ShouldBe(ErrorCodes.RepositoryNotFound);
        Should.Throw<BackupIQException>(() => ResticRepository.Open("/nonexistent", wrong)).Code.ShouldBe(ErrorCodes.RepositoryNotFound);
    }

    [Theory]
    [InlineData("N\":2", "N\":1073741824")]
    [InlineData("N\":2", "N\":3")]
    [InlineData("p\":1", "p\":100000")]
    [InlineData("\"scrypt\"", "\"argon2\"")]
    public void AKeyThatAsksForTooMuchIsNotTried(string what, string instead)
    {
        byte[] file = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(_forge.KeyFile).Replace(what, instead, StringComparison.Ordinal));
        Should.Throw<ResticDamageException>(() => ResticKey.Unlock(file, "password"u8));
    }

    [Fact]
    public void ADamagedSnapshotIsToldAndTheOthersAreListed()
    {
        string tree = _forge.Tree();
        _forge.EndPack();
        _forge.Index();
        ResticSnapshot snapshot = _forge.Snapshot(tree, ",\"parent\":\"x\",\"program_version\":\"restic 0.17.3\",\"summary\":{\"backup_end\":\"2022-03-04T05:07:07+01:00\"}");
        (snapshot.Hostname, snapshot.Username, snapshot.HasParent, snapshot.ProgramVersion).ShouldBe(("h", "u", true, "restic 0.17.3"));
        snapshot.Time.ShouldBe(new DateTimeOffset(2022, 3, 4, 5, 6, 7, TimeSpan.FromHours(1)).AddTicks(1234567));
        snapshot.Time.Offset.ShouldBe(TimeSpan.FromHours(1));
        (snapshot.Ended - snapshot.Time).TotalSeconds.ShouldBeInRange(59, 60);
        _forge.Put("snapshots", _forge.Seal("{\"time\":\"never\"}"u8));
        using ResticRepository repository = _forge.Open();
        repository.ListSnapshots(default).ShouldHaveSingleItem();
        repository.Damage.ShouldHaveSingleItem().ShouldContain("left out");
    }

    private List<SourceEvent> Walk(ResticSnapshot snapshot)
    {
        using ResticRepository repository = _forge.Open();
        using ResticSource source = new(repository, snapshot);
        return [.. source.Walk(default)];
    }
}
