using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Tests.Architecture;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Packs;

/// <summary>The byte tables of docs/format.md, written out by hand: a change here is a change of the format.</summary>
public sealed class FormatGoldenTests
{
    private static readonly SessionId Session = new(0x0102030405060708, 0x090a0b0c0d0e0f10);

    private const string SessionHex = "0102030405060708090a0b0c0d0e0f10";

    private static readonly SaltRow SaltRow1 = new(1, 0, Salt.Read(Enumerable.Range(0, 32).Select(static i => (byte)i).ToArray()));

    private const string SaltRowHex = "01000000" + "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    private static readonly ChunkId Chunk = ChunkId.Read(Enumerable.Repeat((byte)0xab, 32).ToArray());

    private static readonly string ChunkHex = string.Concat(Enumerable.Repeat("ab", 32));

    [Fact]
    public void HeadOfAPackHasItsBytes()
    {
        PackHead head = new(PackKind.Metadata, Session, 3, [SaltRow1]);
        byte[] bytes = new byte[head.Size];
        head.Write(bytes);
        Hex(bytes).ShouldBe("42495150" + "01" + "02" + "0300" + SessionHex + "01" + "000000" + SaltRowHex);
        PackHead.TryRead(bytes, out PackHead again).ShouldBeTrue();
        again.Salts.ShouldBe(head.Salts);
        (again.Kind, again.Session, again.Worker).ShouldBe((head.Kind, head.Session, head.Worker));
    }

    [Fact]
    public void ContentsOfAPackHaveTheirBytes()
    {
        PackContents contents = Contents();
        byte[] bytes = new byte[contents.Size];
        contents.Write(bytes);
        Hex(bytes).ShouldBe(
            "01" + "01" + "0300" + SessionHex + "01000000" + "02000000" +
            "40000000" + "60000000" + "00010000" + "07000000" + "01" + "00" + "0200" +
            ChunkHex + "80000000" + ChunkHex + "80000000");
        PackContents again = PackContents.Read(bytes, 1000, 1);
        again.Frames.ShouldBe(contents.Frames);
        again.Chunks.ShouldBe(contents.Chunks);
    }

    [Fact]
    public void TrailerOfAPackHasItsBytesAndRefusesAnyOther()
    {
        byte[] bytes = new byte[PackTrailer.Size];
        new PackTrailer(0x100, 0x20, 0x160).Write(bytes);
        Hex(bytes)[..48].ShouldBe("00010000" + "20000000" + "6001000000000000" + "0000000000000000");
        Hex(bytes)[56..].ShouldBe("42495145");
        PackTrailer.TryRead(bytes, 0x160, out PackTrailer again).ShouldBeTrue();
        again.ShouldBe(new PackTrailer(0x100, 0x20, 0x160));
        for (int i = 0; i < bytes.Length; i++)
        {
            bytes[i] ^= 0x10;
            PackTrailer.TryRead(bytes, 0x160, out _).ShouldBeFalse($"byte {i}");
            bytes[i] ^= 0x10;
        }
    }

    [Fact]
    public void SegmentOfTheIndexHasItsBytes()
    {
        IndexSegmentBuilder builder = new();
        builder.AddPack(PackId.Read(Enumerable.Repeat((byte)0xcd, 32).ToArray()), 1000, [SaltRow1], Contents());
        byte[] bytes = builder.Build(Session, 3, 9);
        string entry = ChunkHex[..32] + "00000000";
        Hex(bytes).ShouldBe(
            "42495158" + "01" + "00" + "0300" + SessionHex + "0900000000000000" +
            "01000000" + "01000000" + "01000000" + "00000000" + "0200000000000000" +
            string.Concat(Enumerable.Repeat("cd", 32)) + "e803000000000000" + "01" + "01" + "0000" + "00000000" +
            SaltRowHex +
            "40000000" + "60000000" + "00010000" + "07000000" + "01" + "00" + "0200" + "00000000" +
            entry + "00000000" + "80000000" + entry + "80000000" + "80000000");
    }

    [Fact]
    public void BlockOfAPageMapHasItsBytes()
    {
        byte[] key = [.. Enumerable.Range(0, 32).Select(static i => (byte)i)];
        byte[][] pages = [Filled('a', 512), Filled('b', 512), Filled('c', 512), Filled('d', 100)];
        byte[] together = [.. pages.SelectMany(static page => page)];
        PageBlock block = new()
        {
            PageCount = 5,
            Chunks = [new ChunkReference(PageDigest.IdOf(key, together), (uint)together.Length)],
            Runs = [new PageRun(0, 1, 0, 0), new PageRun(1, 1, -1, 0), new PageRun(2, 3, 0, 1)],
            Digest = PageDigest.Of(key, 0, pages[0], 512) ^ PageDigest.Of(key, 2, together.AsSpan(512), 512),
        };
        TlvWriter writer = new();
        block.Write(writer);
        string hex =
            "010a3a515de92b0cf6f806c143613e8c15792059fbd34d270bcb29040666b1aeb0e40c0504c095ca0a4d74766aa062e597553c383c8df89bc3b2890d4c76246bd0a7414b0300" +
            "0002070001";
        string sumsHex = "046a61ce1f2d770aee9776239643a7d9ec7c72ca90ce524478cefdeec26209222d";
        Hex(writer.Written).ShouldBe(hex);
        ulong[] sums = [.. pages.Select(page => PageDigest.SumOf(PageDigest.IdOf(key, page)))];
        TlvWriter beside = new();
        PageBlock.WriteSums(beside, sums);
        Hex(beside.Written).ShouldBe(sumsHex);
        PageBlock.ReadSums(beside.Written, 4).ShouldBe(sums);
        string specification = File.ReadAllText(Path.Combine(SourceTree.Root, "docs", "format.md")).ReplaceLineEndings("");
        specification.ShouldContain(hex, customMessage: "the vector of docs/format.md");
        specification.ShouldContain(sumsHex, customMessage: "the vector of docs/format.md");

        PageBlock again = PageBlock.Read(writer.Written, 512, 2148);
        again.Chunks.ShouldBe(block.Chunks);
        again.Runs.ShouldBe(block.Runs);
        again.DataPages.ShouldBe(4);
        (again.PageCount, again.Digest).ShouldBe((5, block.Digest));
        foreach ((int pageSize, long length) in ((int, long)[])[(512, 2149), (512, 2560), (512, 2048), (512, 2561), (1024, 5000)])
        {
            byte[] bytes = writer.Written.ToArray();
            Should.Throw<CorruptDataException>(() => PageBlock.Read(bytes, pageSize, length), $"{length} in pages of {pageSize}");
        }
    }

    [Fact]
    public void NodeOfAPagedFileHasItsBytes()
    {
        TlvWriter writer = new();
        NodeFormat.WriteStream(writer, new FileContent { Kind = ContentKind.Pages, PageSize = 8192, Chunks = [new ChunkReference(Chunk, 300)], Sums = [new ChunkReference(Chunk, 9)] });
        Hex(writer.Written).ShouldBe("00" + "05" + "0d" + "01" + ChunkHex + "ac02" + "01" + ChunkHex + "09");
        FileContent again = NodeFormat.ReadStream(writer.Written);
        (again.Kind, again.PageSize).ShouldBe((ContentKind.Pages, 8192));
        again.Chunks.ShouldBe([new ChunkReference(Chunk, 300)]);
        again.Sums.ShouldBe([new ChunkReference(Chunk, 9)]);
    }

    [Fact]
    public void NodeOfAFileHasItsBytes()
    {
        Node node = new()
        {
            Metadata = new NodeMetadata
            {
                Name = [0x66, 0xff],
                Type = NodeType.File,
                Mode = 0x1a4,
                UserId = 1000,
                UserName = "ann"u8.ToArray(),
                Modified = new FileTime(-1, 5),
                Size = 300,
                ExtendedAttributes = [new ExtendedAttribute("user.a"u8.ToArray(), [1, 2])],
            },
            Content = new FileContent { Kind = ContentKind.Chunks, Profile = 1, Chunks = [new ChunkReference(Chunk, 300)] },
            HardLinkGroup = 0x0807060504030201,
        };
        TlvWriter writer = new();
        NodeFormat.Write(writer, node);
        Hex(writer.Written).ShouldBe(
            "01" + "02" + "66ff" + "02" + "01" + "01" + "03" + "02" + "a403" + "04" + "02" + "e807" + "06" + "03" + "616e6e" +
            "08" + "02" + "0105" + "09" + "02" + "ac02" + "0c" + "09" + "06" + "757365722e61" + "0102" +
            "0d" + "08" + "0102030405060708" + "0e" + "26" + "00" + "02" + "01" + "01" + ChunkHex + "ac02");
        Node again = NodeFormat.Read(writer.Written);
        TlvWriter second = new();
        NodeFormat.Write(second, again);
        Hex(second.Written).ShouldBe(Hex(writer.Written));
    }

    [Fact]
    public void FieldsOfALaterVersionAreKept()
    {
        TlvWriter writer = new();
        NodeFormat.Write(writer, new Node { Metadata = new NodeMetadata { Name = "f"u8.ToArray(), Type = NodeType.Fifo } });
        writer.WriteField(99, "later"u8);
        TlvWriter second = new();
        NodeFormat.Write(second, NodeFormat.Read(writer.Written));
        Hex(second.Written).ShouldBe(Hex(writer.Written));
    }

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("a/b")]
    [InlineData("a\0b")]
    public void NamesThatLeaveTheirFolderAreRefused(string name)
    {
        TlvWriter writer = new();
        writer.WriteField(NodeFormat.NameTag, System.Text.Encoding.UTF8.GetBytes(name));
        writer.WriteField(NodeFormat.TypeTag, (ulong)NodeType.Fifo);
        byte[] bytes = writer.Written.ToArray();
        Should.Throw<CorruptDataException>(() => NodeFormat.Read(bytes));
    }

    [Fact]
    public void MutatedNodesAreReadOrRefusedAndNeverCrash()
    {
        TlvWriter writer = new();
        Node node = new()
        {
            Metadata = new NodeMetadata { Name = "file"u8.ToArray(), Type = NodeType.File, Size = 9000 },
            Content = new FileContent
            {
                Kind = ContentKind.Extents,
                Profile = 1,
                Extents = [new Extent(0, 100), new Extent(8000, 200)],
                Chunks = [new ChunkReference(Chunk, 100), new ChunkReference(Chunk, 200)],
            },
        };
        NodeFormat.Write(writer, node);
        byte[] good = writer.Written.ToArray();
        Random random = new(5);
        for (int i = 0; i < 50_000; i++)
        {
            byte[] bytes = good[..random.Next(1, good.Length + 1)];
            for (int m = random.Next(4); m >= 0; m--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            try
            {
                NodeFormat.Read(bytes);
            }
            catch (CorruptDataException)
            {
                // Refused: that is the other right answer.
            }
        }

        NodeFormat.Read(good).Content!.Extents.Count.ShouldBe(2);
    }

    private static PackContents Contents()
    {
        PackContents contents = new(PackKind.Data, Session, 3);
        contents.Frames.Add(new FrameEntry(0x40, 0x60, 0x100, 7, Codec.Zstd, 0, 2));
        contents.Chunks.Add(new ChunkEntry(Chunk, 0x80));
        contents.Chunks.Add(new ChunkEntry(Chunk, 0x80));
        return contents;
    }

    private static string Hex(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(bytes);

    private static byte[] Filled(char with, int length) => [.. Enumerable.Repeat((byte)with, length)];
}
