using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Packs;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Architecture;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Golden;

/// <summary>Repositories that earlier versions made open, check clean and restore with today's code, forever (tests/golden/README.md).</summary>
public sealed class GoldenRepositoryTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    public static TheoryData<string> Versions() => [.. Directory.GetDirectories(Path.Combine(SourceTree.Root, "tests", "golden"), "v*").Select(Path.GetFileName).Order().OfType<string>()];

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public void ThereIsOneOfTheFormatThatThisVersionWrites() => Versions().Count.ShouldBeGreaterThanOrEqualTo(1);

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task EverySecretOpensIt(string version)
    {
        string[] passwords = File.ReadAllLines(At(version, "passwords.txt"));
        passwords.Length.ShouldBe(4);
        string kit = File.ReadAllText(At(version, "recovery-kit.txt"));
        string place = Copy(version);
        foreach (Credentials credentials in (Credentials[])
        [
            .. passwords.Select(static password => new Credentials { Password = new Secret(Encoding.UTF8.GetBytes(password)) }),
            KeyFile(version),
            new Credentials { RecoveryKit = RecoveryKit.Parse(kit) },
        ])
        {
            (BackupRepository repository, LocalBackend storage) = await OpenAsync(place, credentials);
            await using (storage)
            await using (repository)
            {
                repository.Findings.ShouldBeEmpty();
                (await new SnapshotStore(repository).ListAnnotatedAsync(CancellationToken.None)).Count.ShouldBe(Expected(version).Count);
            }
        }

        BackupIQException closed = await Should.ThrowAsync<BackupIQException>(() => OpenAsync(place, new Credentials { Password = new Secret("wrong"u8) }));
        closed.Code.ShouldBe(ErrorCodes.Authentication);
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task TheKitOpensItWhenKeysAndConfigurationAreGone(string version)
    {
        string place = Copy(version);
        Directory.Delete(Path.Combine(place, "keys"), recursive: true);
        Directory.Delete(Path.Combine(place, "config"), recursive: true);
        (BackupRepository repository, LocalBackend storage) = await OpenAsync(place, new Credentials { RecoveryKit = RecoveryKit.Parse(File.ReadAllText(At(version, "recovery-kit.txt"))) });
        await using (storage)
        await using (repository)
        {
            repository.Findings.ShouldNotBeEmpty();
            (await new SnapshotStore(repository).ListAnnotatedAsync(CancellationToken.None)).Count.ShouldBe(Expected(version).Count);
        }
    }

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task ItsSnapshotsSayWhatTheySaid(string version) => await UseAsync(version, async repository =>
    {
        IReadOnlyList<Snapshot> all = await new SnapshotStore(repository).ListAnnotatedAsync(CancellationToken.None);
        JsonSerializer.Serialize(all.Select(GoldenSnapshot.From), GoldenSnapshot.Json).ShouldBe(JsonSerializer.Serialize(Expected(version), GoldenSnapshot.Json));
    });

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task ItChecksCleanToTheLastChunk(string version) => await UseAsync(version, async repository =>
    {
        CheckResult result = await new CheckRunner(repository, TimeProvider.System).RunAsync(
            new CheckOptions { ReadData = ReadDataSubset.All }, new CheckProgress(), CancellationToken.None);
        result.Findings.ShouldBeEmpty();
        result.SnapshotsChecked.ShouldBe(Expected(version).Count);
    });

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task ItsTreesReadAsTheyWereWritten(string version) => await UseAsync(version, async repository =>
    {
        IReadOnlyList<GoldenSnapshot> expected = Expected(version);
        IndexLoad load = await IndexLoader.LoadAsync(repository, null, CancellationToken.None);
        load.Findings.ShouldBeEmpty();
        using ChunkIndex index = load.Index;
        using ChunkReader reader = new(repository, index);
        TreeReader trees = new(id => reader.Read(PackKind.Metadata, id));
        for (int i = 0; i < expected.Count; i++)
        {
            Snapshot snapshot = await FindAsync(repository, expected[i]);
            (Node? node, _) = SnapshotPath.Find(trees, snapshot, PathText.Bytes(expected[i].Paths[0]));
            List<string> lines = [];
            List(trees, reader, node?.Subtree ?? snapshot.TreeId, "", lines, []);
            lines.Order(StringComparer.Ordinal).ShouldBe(Listing(version, i), ignoreOrder: false, expected[i].Name);
        }
    });

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task ItRestoresAsItWas(string version) => await UseAsync(version, async repository =>
    {
        IReadOnlyList<GoldenSnapshot> expected = Expected(version);
        IndexLoad load = await IndexLoader.LoadAsync(repository, null, CancellationToken.None);
        using ChunkIndex index = load.Index;
        for (int i = 0; i < expected.Count; i++)
        {
            string target = _scratch.At($"restored {i}");
            using LinuxRestoreTarget to = new(PathText.Bytes(target));
            RestoreResult result = await RestoreRunner.RunAsync(
                repository, index, await FindAsync(repository, expected[i]), PathText.Bytes(expected[i].Paths[0]), to, new RestoreOptions { Verify = true }, new RestoreProgress(), CancellationToken.None);
            result.Errors.ShouldBeEmpty();
            string[] restored = ScratchFolder.Run("python3", At("listing.py"), target).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            bool whole = ScratchFolder.IsRoot && result.Warnings.Count == 0;
            restored.Select(line => Comparable(line, whole)).OfType<string>().Order(StringComparer.Ordinal)
                .ShouldBe(Listing(version, i).Select(line => Comparable(line, whole)).OfType<string>().Order(StringComparer.Ordinal), ignoreOrder: false, expected[i].Name);
        }
    });

    [Theory]
    [MemberData(nameof(Versions))]
    public async Task ANewBackupIntoItSharesWhatIsThere(string version) => await UseAsync(version, async repository =>
    {
        string last = _scratch.At("source");
        IReadOnlyList<GoldenSnapshot> expected = Expected(version);
        IndexLoad load = await IndexLoader.LoadAsync(repository, null, CancellationToken.None);
        using (ChunkIndex index = load.Index)
        using (LinuxRestoreTarget to = new(PathText.Bytes(last)))
        {
            await RestoreRunner.RunAsync(
                repository, index, await FindAsync(repository, expected[0]), PathText.Bytes(expected[0].Paths[0]), to, new RestoreOptions(), new RestoreProgress(), CancellationToken.None);
        }

        using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(last)] });
        BackupResult result = await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            files, new BackupOptions { Hostname = "today" }, new BackupProgress(), CancellationToken.None);
        result.Summary.DataBlobs.ShouldBe(0, "content is cut and named today as it was then");
        result.Summary.TreeBlobs.ShouldBeLessThan(60);
    });

    [Fact]
    public async Task TheFirstOneHoldsEveryFeatureOfTheFormat() => await UseAsync("v1", async repository =>
    {
        IndexLoad load = await IndexLoader.LoadAsync(repository, null, CancellationToken.None);
        using ChunkIndex index = load.Index;
        FrameReference[] frames = [.. index.Frames()];
        frames.Select(static frame => frame.Codec).Distinct().ShouldBe(Enum.GetValues<Codec>(), ignoreOrder: true);
        frames.Select(static frame => frame.Salt.Epoch).Distinct().ShouldBe([(ushort)1, (ushort)2], ignoreOrder: true);
        using ChunkReader reader = new(repository, index);
        TreeReader trees = new(id => reader.Read(PackKind.Metadata, id));
        List<Node> nodes = [];
        bool hasList = false;
        IReadOnlyList<Snapshot> snapshots = await new SnapshotStore(repository).ListAnnotatedAsync(CancellationToken.None);
        foreach (Snapshot snapshot in snapshots)
        {
            Collect(trees, snapshot.TreeId, nodes, ref hasList);
        }

        hasList.ShouldBeTrue();
        nodes.Select(static node => node.Metadata.Type).Distinct().ShouldBe(Enum.GetValues<NodeType>(), ignoreOrder: true);

        // Page maps came later: GoldenPagesTests.
        nodes.Select(static node => node.Content?.Kind).OfType<ContentKind>().Append(ContentKind.Pages).Distinct().ShouldBe(Enum.GetValues<ContentKind>(), ignoreOrder: true);
        nodes.ShouldContain(static node => node.HardLinkGroup != 0);
        nodes.ShouldContain(static node => node.UnknownFields.Length > 0);
        nodes.ShouldContain(static node => node.Metadata.ExtendedAttributes.Count > 0);
        nodes.ShouldContain(static node => !PathText.IsUtf8(node.Metadata.Name));
        nodes.ShouldContain(static node => node.Metadata.Modified.Seconds < 0);
        snapshots.Select(static snapshot => snapshot.Type).Distinct().ShouldBe(Enum.GetValues<SnapshotType>(), ignoreOrder: true);
        (await new SnapshotStore(repository).ListPartialAsync(CancellationToken.None)).ShouldNotBeEmpty();
        repository.Configuration.Generation.ShouldBe(2);
        new DirectoryInfo(At("v1", "repository")).EnumerateFiles("*", SearchOption.AllDirectories).Sum(static file => file.Length).ShouldBeLessThan(1_000_000);
    });

    private static string At(params string[] names) => Path.Combine([SourceTree.Root, "tests", "golden", .. names]);

    private static IReadOnlyList<GoldenSnapshot> Expected(string version) =>
        JsonSerializer.Deserialize<GoldenSnapshot[]>(File.ReadAllText(At(version, "snapshots.json")), GoldenSnapshot.Json)!;

    private static string[] Listing(string version, int snapshot) =>
    [
        .. File.ReadAllLines(At(version, "listing.txt"))
            .Select(static line => line.Split('\t', 2))
            .Where(parts => parts[0].Split(',').Contains(snapshot.ToString(CultureInfo.InvariantCulture)))
            .Select(static parts => parts[1])
            .Order(StringComparer.Ordinal),
    ];

    // Without root there are neither devices nor foreign owners, and with them go special bits and some attributes.
    private static string? Comparable(string line, bool whole)
    {
        string[] fields = line.Split('\t');
        return whole ? line : fields[1] is "b" or "c" ? null : string.Join('\t', fields[0], fields[1], fields[4], fields[5], fields[6], fields[7], fields[9]);
    }

    private static Credentials KeyFile(string version) => new() { KeyFile = new Secret(File.ReadAllBytes(At(version, "key-file"))) };

    private static async Task<Snapshot> FindAsync(BackupRepository repository, GoldenSnapshot expected) =>
        (await new SnapshotStore(repository).ListAnnotatedAsync(CancellationToken.None)).Single(snapshot => snapshot.Id.ToString() == expected.Id);

    private static async Task<(BackupRepository Repository, LocalBackend Storage)> OpenAsync(string place, Credentials credentials)
    {
        LocalBackend storage = LocalBackend.Open(place, new LocalOptions(), TimeProvider.System);
        return (await BackupRepository.OpenAsync(storage, credentials, TimeProvider.System, CancellationToken.None), storage);
    }

    private static void Collect(TreeReader trees, ChunkId tree, List<Node> nodes, ref bool hasList)
    {
        hasList |= trees.PagesOf(tree).Count > 1;
        foreach (Node node in trees.ReadDirectory(tree))
        {
            nodes.Add(node);
            if (node.Subtree is { } subtree)
            {
                Collect(trees, subtree, nodes, ref hasList);
            }
        }
    }

    // The lines of listing.py, from what stands in the repository.
    private static void List(TreeReader trees, ChunkReader reader, ChunkId tree, string prefix, List<string> lines, Dictionary<ulong, string> groups)
    {
        foreach (Node node in trees.ReadDirectory(tree))
        {
            NodeMetadata metadata = node.Metadata;
            string path = prefix + Escaped(metadata.Name);
            if (node.HardLinkGroup != 0)
            {
                groups.TryAdd(node.HardLinkGroup, path);
            }

            lines.Add(string.Join(
                '\t',
                path,
                "fdlbcps"[(int)metadata.Type - 1],
                Convert.ToString(metadata.Mode, 8).PadLeft(4, '0'),
                $"{metadata.UserId}:{metadata.GroupId}",
                string.Create(CultureInfo.InvariantCulture, $"{metadata.Modified.Seconds}.{metadata.Modified.Nanoseconds:d9}"),
                metadata.Type switch
                {
                    NodeType.File => metadata.Size.ToString(CultureInfo.InvariantCulture),
                    NodeType.BlockDevice or NodeType.CharacterDevice => $"{metadata.DeviceMajor}:{metadata.DeviceMinor}",
                    _ => "",
                },
                metadata.Type == NodeType.File ? Digest(trees, reader, node) : "",
                metadata.LinkTarget is { } target ? Escaped(target) : "",
                string.Join(',', metadata.ExtendedAttributes.Select(static a => $"{Escaped(a.Name)}={Convert.ToHexStringLower(a.Value)}").Order(StringComparer.Ordinal)),
                node.HardLinkGroup != 0 ? groups[node.HardLinkGroup] : ""));
            if (node.Subtree is { } subtree)
            {
                List(trees, reader, subtree, path + "/", lines, groups);
            }
        }
    }

    private static string Digest(TreeReader trees, ChunkReader reader, Node node)
    {
        using IncrementalHash sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        FileContent content = trees.Resolve(node.Content!);
        sha.AppendData(content.Inline.Span);
        ulong at = (ulong)content.Inline.Length;
        int chunk = 0;
        foreach (Extent extent in content.Extents.Count > 0 ? content.Extents : content.Chunks.Count > 0 ? [new Extent(0, node.Metadata.Size)] : Array.Empty<Extent>())
        {
            Zeros(sha, extent.Offset - at);
            for (at = extent.Offset; at < extent.Offset + extent.Length; at += content.Chunks[chunk++].Length)
            {
                sha.AppendData(reader.Read(PackKind.Data, content.Chunks[chunk].Id).Span);
            }
        }

        Zeros(sha, node.Metadata.Size - at);
        return Convert.ToHexStringLower(sha.GetHashAndReset());
    }

    private static void Zeros(IncrementalHash sha, ulong count)
    {
        byte[] zeros = new byte[1 << 20];
        for (; count > 0; count -= Math.Min(count, (ulong)zeros.Length))
        {
            sha.AppendData(zeros, 0, (int)Math.Min(count, (ulong)zeros.Length));
        }
    }

    private static string Escaped(byte[] bytes) =>
        string.Concat(bytes.Select(static b => b is >= 0x21 and <= 0x7e and not 0x5c ? ((char)b).ToString() : $"\\x{b:x2}"));

    // Git keeps no permissions, and opening makes a folder for temporary files: never in the original.
    private string Copy(string version)
    {
        string place = _scratch.At("repository");
        ScratchFolder.Run("cp", "-r", At(version, "repository"), place);
        return place;
    }

    private async Task UseAsync(string version, Func<BackupRepository, Task> use)
    {
        (BackupRepository repository, LocalBackend storage) = await OpenAsync(Copy(version), KeyFile(version));
        await using (storage)
        await using (repository)
        {
            await use(repository);
        }
    }
}
