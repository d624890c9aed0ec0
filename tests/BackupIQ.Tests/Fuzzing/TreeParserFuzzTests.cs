using BackupIQ.Cli.Output;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Engine.Verification;
using BackupIQ.Jobs;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;
using BackupIQ.Tests.Engine;
using BackupIQ.Tests.Repository;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Whatever stands in trees, scans, lists of chunks and snapshots, those who read them refuse it or read it.</summary>
[Trait("kind", "fuzz")]
public sealed class TreeParserFuzzTests
{
    private static readonly FuzzSeeds Seeds = FuzzSeeds.Get();

    private static readonly byte[][] TreePages = [.. Seeds.Metadata.Where(static m => Kind(m, GraphPlace.Tree) == TreePage.Nodes)];
    private static readonly byte[][] TreeLists = [.. Seeds.Metadata.Where(static m => Kind(m, GraphPlace.Tree) == TreePage.List)];
    private static readonly byte[][] ScanPages = [.. Seeds.Metadata.Where(static m => Kind(m, GraphPlace.Scan) == TreePage.Nodes)];

    [Fact]
    public void TheSeedsHoldEveryKindOfPage()
    {
        TreePages.Length.ShouldBeGreaterThan(5);
        TreeLists.Length.ShouldBeGreaterThan(0);
        ScanPages.Length.ShouldBeGreaterThan(5);
    }

    [Fact]
    public void Nodes() => Fuzz.Run([.. TreePages.SelectMany(static page => NodesOf(page).Take(60)), PagedNode()], static bytes =>
    {
        _ = NodePeek.Read(bytes);
        Node node = NodeFormat.Read(bytes);
        TlvWriter again = new();
        NodeFormat.Write(again, node);
        Node reread = NodeFormat.Read(again.Written);
        reread.Metadata.Name.ShouldBe(node.Metadata.Name);
        reread.UnknownFields.ToArray().ShouldBe(node.UnknownFields.ToArray());
        _ = EntryText.Line(EntryInfo.From(node.Metadata.Name, node), TimeZoneInfo.Utc);
        _ = JsonLines.Bytes(writer =>
        {
            writer.WriteStartObject();
            JsonFields.WriteEntryFields(writer, EntryInfo.From(node.Metadata.Name, node));
            writer.WriteEndObject();
        });
    });

    [Fact]
    public void Directories()
    {
        ChunkId scan = IdOf(2);
        byte[] scanPage = ScanPages.MaxBy(static p => p.Length)!;
        Fuzz.Run([.. TreePages.Where(static p => p.Length < 100_000), .. TreeLists], bytes =>
        {
            ReadOnlyMemory<byte> Read(ChunkId id) => id == scan ? scanPage : bytes;
            List<byte[]> names = [];
            SnapshotWalk.TryReadNames(Read, IdOf(1), names);
            SnapshotWalk walk = new(Read, static (_, _, _) => { });
            walk.Enter(IdOf(1));
            while (walk.Next(out _))
            {
            }

            if (DirectoryCursor.Open(Read, IdOf(1), scan) is { } cursor)
            {
                foreach (byte[] name in names)
                {
                    cursor.Seek(name, out _, out _);
                }
            }

            foreach (GraphPlace place in (GraphPlace[])[GraphPlace.Tree, GraphPlace.TreePage])
            {
                try
                {
                    GraphPages.Read(bytes, place, static _ => { }, static _ => { });
                }
                catch (CorruptDataException)
                {
                    // A list where a page should be is refused in one of the two places.
                }
            }

            if (TreePage.Nodes == KindOf(bytes))
            {
                foreach (Node node in new TreeReader(Read).ReadDirectory(IdOf(1)))
                {
                    NodeFormat.IsName(node.Metadata.Name).ShouldBeTrue();
                }
            }

            new TreeReader(Read).PagesOf(IdOf(1)).Count.ShouldBeLessThanOrEqualTo(bytes.Length);
        }, perByte: 2048);
    }

    [Fact]
    public void Scans() => Fuzz.Run(ScanPages, static bytes =>
    {
        try
        {
            GraphPages.Read(bytes, GraphPlace.ScanPage, static _ => { }, static _ => { });
        }
        catch (CorruptDataException)
        {
            // Then it may be a list.
        }

        GraphPages.Read(bytes, GraphPlace.Scan, static _ => { }, static _ => { });
    });

    [Fact]
    public void ListsOfChunks()
    {
        TlvWriter list = new();
        NodeFormat.WriteChunks(list, [.. Enumerable.Range(0, 600).Select(static i => new ChunkReference(IdOf((byte)i), 1_000_000))]);
        byte[] seed = list.Written.ToArray();
        FileContent content = new() { Kind = ContentKind.Indirect, Chunks = [new ChunkReference(IdOf(1), 1)] };
        Fuzz.Run([seed], bytes => new TreeReader(_ => bytes).Resolve(content).Chunks.Count.ShouldBeLessThan((bytes.Length / 33) + 1));
    }

    [Fact]
    public void SumsOfPageMaps()
    {
        TlvWriter sums = new();
        PageBlock.WriteSums(sums, [.. Enumerable.Range(0, 300).Select(static i => (ulong)i)]);
        byte[] seed = sums.Written.ToArray();
        Fuzz.Run([seed], static bytes => PageBlock.ReadSums(bytes, 300).Length.ShouldBe(300));
    }

    [Fact]
    public void BlocksOfPageMaps()
    {
        const int pages = 300;
        TlvWriter whole = new();
        new PageBlock
        {
            PageCount = pages,
            Chunks = [.. Enumerable.Range(0, 5).Select(static i => new ChunkReference(IdOf((byte)i), 128 * 512))],
            Runs = [.. Enumerable.Range(0, pages).Select(static i => new PageRun(i, 1, i % 7 == 0 ? -1 : i % 5, i % 128))],
            Digest = new PageDigest(1, 2),
        }.Write(whole);
        byte[] seed = whole.Written.ToArray();
        FileContent content = new() { Kind = ContentKind.Pages, PageSize = 512, Chunks = [new ChunkReference(IdOf(1), 1)], Sums = [new ChunkReference(IdOf(2), 1)] };
        Fuzz.Run([seed], bytes =>
        {
            PageMap map = new(_ => bytes, content, (pages * 512) - 100);
            PageBlock block = map.ReadBlock(0);
            block.Runs.Sum(static run => run.Count).ShouldBe(pages);
            foreach (PageRun run in block.Runs.Where(static run => run.Chunk >= 0))
            {
                ((run.Slot * 512) + PageBlock.LengthOf(run.First, run.Count, 512, map.LengthOf(0))).ShouldBeLessThanOrEqualTo((int)Math.Min(int.MaxValue, block.Chunks[run.Chunk].Length));
            }

            map.ReadExtents().Sum(static extent => (long)extent.Length).ShouldBeLessThanOrEqualTo(pages * 512);
            PagedLayout layout = new(_ => bytes, content, (pages * 512) - 100);
            for (long at = 0; at < (pages * 512) - 100; at += layout.At(at).Length)
            {
                layout.At(at).Length.ShouldBeGreaterThan(0);
            }

            TlvWriter again = new();
            block.Write(again);
            PageBlock.Read(again.Written, 512, map.LengthOf(0)).Runs.ShouldBe(block.Runs);
        }, perByte: 2048);
    }

    [Fact]
    public void Snapshots()
    {
        FakeStorage storage = new();
        BackupRepository repository = Reopen(storage);
        StorageKey name = RepositoryLayout.Snapshot(SessionId.New());
        Fuzz.Run([.. Seeds.PlainOf(ObjectKind.Snapshot), .. Seeds.PlainOf(ObjectKind.PartialSnapshot)], bytes =>
        {
            storage.Objects[name.Value] = SealedObject.Seal(repository.Keys, ObjectKind.Snapshot, name, bytes);
            try
            {
                Use(new SnapshotStore(repository).ListAsync(CancellationToken.None).GetAwaiter().GetResult());
                new CheckRunner(repository, TimeProvider.System).RunAsync(new CheckOptions { Concurrency = 1 }, new CheckProgress(), CancellationToken.None).GetAwaiter().GetResult();
            }
            finally
            {
                storage.Objects.Remove(name.Value);
            }
        }, perByte: 512, allocates: 64 << 20);
    }

    [Fact]
    public void Annotations()
    {
        FakeStorage storage = new();
        BackupRepository repository = Reopen(storage);
        (_, StorageKey snapshot, byte[] document) = Seeds.Plain.First(static o => o.Kind == ObjectKind.Snapshot);
        storage.Objects[snapshot.Value] = SealedObject.Seal(repository.Keys, ObjectKind.Snapshot, snapshot, document);
        StorageKey name = Seeds.Plain.First(o => o.Kind == ObjectKind.Annotation && o.Name.Value.Contains(snapshot.Value[2..], StringComparison.Ordinal)).Name;
        Fuzz.Run(Seeds.PlainOf(ObjectKind.Annotation), bytes =>
        {
            storage.Objects[name.Value] = SealedObject.Seal(repository.Keys, ObjectKind.Annotation, name, bytes);
            IReadOnlyList<Snapshot> listed = new SnapshotStore(repository).ListAnnotatedAsync(CancellationToken.None).GetAwaiter().GetResult();
            listed.Count.ShouldBe(1);
            Use(listed);
        });
    }

    // What every listing does with a snapshot.
    private static void Use(IReadOnlyList<Snapshot> snapshots)
    {
        foreach (Snapshot snapshot in snapshots)
        {
            SnapshotInfo info = SnapshotInfo.From(snapshot);
            _ = new SnapshotQuery { Hosts = ["h"], Tags = ["a", "b"], Paths = ["/"u8.ToArray()], Kind = "files" }.Matches(info);
            _ = JsonLines.Bytes(writer => JsonFields.WriteSnapshot(writer, info));
            _ = Words.Moment(info.Time, TimeZoneInfo.Utc) + DisplayText.Of(info.Name + info.Hostname + info.Username + string.Join(",", info.Tags));
            _ = snapshot.TreeId;
            _ = snapshot.ScanId;
            _ = new DeletionScope(snapshot, []).Allows("/home"u8);
        }
    }

    private static BackupRepository Reopen(FakeStorage storage)
    {
        foreach ((string name, byte[] bytes) in Seeds.Storage.Objects.Where(static o => o.Key.StartsWith("keys/", StringComparison.Ordinal) || o.Key.StartsWith("config/", StringComparison.Ordinal)))
        {
            storage.Objects[name] = bytes;
        }

        return RepositoryBuilder.OpenAsync(storage, new BackupIQ.Repository.Keys.Credentials { KeyFile = Seeds.Key }).GetAwaiter().GetResult();
    }

    private static byte[] PagedNode() => SnapshotForge.Node(new Node
    {
        Metadata = new NodeMetadata { Name = "paged"u8.ToArray(), Type = NodeType.File, Size = 9000 * 8192 },
        Content = new FileContent
        {
            Kind = ContentKind.Pages,
            PageSize = 8192,
            Chunks = [.. Enumerable.Range(0, 3).Select(static i => new ChunkReference(IdOf((byte)i), 1000))],
            Sums = [.. Enumerable.Range(10, 3).Select(static i => new ChunkReference(IdOf((byte)i), 30_000))],
        },
    });

    private static ChunkId IdOf(byte number) => new(number, number);

    private static int KindOf(byte[] bytes)
    {
        TlvReader reader = new(bytes);
        return TreePage.ReadHead(ref reader, out _);
    }

    private static int Kind(byte[] bytes, GraphPlace place)
    {
        try
        {
            GraphPages.Read(bytes, place, static _ => { }, static _ => { });
            TlvReader reader = new(bytes);
            return TreePage.ReadHead(ref reader, out _);
        }
        catch (CorruptDataException)
        {
            return -1;
        }
    }

    private static List<byte[]> NodesOf(byte[] page)
    {
        TlvReader reader = new(page);
        TreePage.ReadHead(ref reader, out int count);
        List<byte[]> nodes = [];
        for (int i = 0; i < count; i++)
        {
            nodes.Add(reader.ReadBlock().ToArray());
        }

        return nodes;
    }
}
