using System.Buffers.Binary;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>Neighbouring pages of a file that lie one after the other in a chunk, or are a hole.</summary>
/// <param name="First">The place of the first of them in its block.</param>
/// <param name="Count">How many there are.</param>
/// <param name="Chunk">The number of the chunk in <see cref="PageBlock.Chunks"/>; -1: all of them are zeros.</param>
/// <param name="Slot">Where the first one lies in the chunk, in pages.</param>
internal readonly record struct PageRun(int First, int Count, int Chunk, int Slot);

/// <summary>
/// A piece of a page map: where the pages of a stretch of a file are, and what proves them (docs/format.md, Page maps). Its bytes begin with a list of
/// chunks, as every metadata chunk does that names some. The sums of its pages, many times as long, lie beside it: only who compares reads them.
/// </summary>
internal sealed class PageBlock
{
    /// <summary>Pages of every block but a file's last.</summary>
    public const int MaxPages = 4096;

    /// <summary>Pages of a chunk at most.</summary>
    public const int MaxPagesPerChunk = 128;

    /// <summary>Bytes of a chunk at most.</summary>
    public const int MaxChunkSize = 1 << 20;

    /// <summary>Pages, holes included.</summary>
    public required int PageCount { get; init; }

    /// <summary>The chunks that it names, in the order of their first use.</summary>
    public required IReadOnlyList<ChunkReference> Chunks { get; init; }

    /// <summary>The pages in order, without gaps.</summary>
    public required IReadOnlyList<PageRun> Runs { get; init; }

    /// <summary>All pages that are no holes.</summary>
    public required PageDigest Digest { get; init; }

    /// <summary>Pages that are no holes.</summary>
    public int DataPages => Runs.Sum(static run => run.Chunk < 0 ? 0 : run.Count);

    /// <summary>Pages that fit into a chunk.</summary>
    public static int PagesPerChunk(int pageSize) => Math.Min(MaxPagesPerChunk, MaxChunkSize / pageSize);

    /// <summary>Bytes of a page: all but the last one of a file are whole.</summary>
    public static int LengthOf(int first, int count, int pageSize, long blockLength) => (int)Math.Min((long)count * pageSize, blockLength - ((long)first * pageSize));

    public void Write(TlvWriter writer)
    {
        NodeFormat.WriteChunks(writer, Chunks);
        writer.WriteVarint((ulong)PageCount);
        Span<byte> scratch = stackalloc byte[PageDigest.Size];
        Digest.Write(scratch);
        writer.WriteBytes(scratch);
        foreach (PageRun run in Runs)
        {
            writer.WriteVarint(((ulong)run.Count << 1) | (run.Chunk < 0 ? 0u : 1u));
            if (run.Chunk >= 0)
            {
                writer.WriteVarint((ulong)run.Chunk);
                writer.WriteVarint((ulong)run.Slot);
            }
        }
    }

    /// <summary>Appends the sums of the pages that are no holes, in order.</summary>
    public static void WriteSums(TlvWriter writer, ReadOnlySpan<ulong> sums)
    {
        writer.WriteVarint((ulong)sums.Length);
        Span<byte> scratch = stackalloc byte[sizeof(ulong)];
        foreach (ulong sum in sums)
        {
            BinaryPrimitives.WriteUInt64BigEndian(scratch, sum);
            writer.WriteBytes(scratch);
        }
    }

    /// <summary>Reads the sums of so many pages.</summary>
    /// <exception cref="CorruptDataException">They are of another number.</exception>
    public static ulong[] ReadSums(ReadOnlySpan<byte> bytes, int pages)
    {
        TlvReader reader = new(bytes);
        if (reader.ReadVarint() != (ulong)pages || reader.Rest.Length != pages * sizeof(ulong))
        {
            throw Malformed("it has sums of another number of pages");
        }

        ulong[] sums = new ulong[pages];
        for (int i = 0; i < pages; i++)
        {
            sums[i] = BinaryPrimitives.ReadUInt64BigEndian(reader.ReadBytes(sizeof(ulong)));
        }

        return sums;
    }

    /// <summary>Reads a block; everything that it says is checked against the stretch of the file that it is of.</summary>
    /// <exception cref="CorruptDataException">It is no block of so many bytes.</exception>
    public static PageBlock Read(ReadOnlySpan<byte> bytes, int pageSize, long blockLength)
    {
        TlvReader reader = new(bytes);
        ChunkReference[] chunks = NodeFormat.ReadChunks(ref reader);
        ulong count = reader.ReadVarint();
        if (count != (ulong)((blockLength + pageSize - 1) / pageSize) || count > MaxPages)
        {
            throw Malformed("it has another number of pages than its part of the file");
        }

        PageDigest digest = PageDigest.Read(reader.ReadBytes(PageDigest.Size));
        List<PageRun> runs = [];
        for (int at = 0; at < (int)count;)
        {
            ulong head = reader.ReadVarint();
            if (head >> 1 == 0 || head >> 1 > count - (ulong)at)
            {
                throw Malformed("a run of pages lies outside it");
            }

            PageRun run = new(at, (int)(head >> 1), -1, 0);
            if ((head & 1) != 0)
            {
                run = run with { Chunk = ReadBelow(ref reader, (ulong)chunks.Length), Slot = ReadBelow(ref reader, MaxPages) };
                if (((long)run.Slot * pageSize) + LengthOf(at, run.Count, pageSize, blockLength) > chunks[run.Chunk].Length)
                {
                    throw Malformed("a page lies outside its chunk");
                }
            }

            runs.Add(run);
            at += run.Count;
        }

        return reader.IsAtEnd
            ? new PageBlock { PageCount = (int)count, Chunks = chunks, Runs = runs, Digest = digest }
            : throw Malformed("something follows its last run");
    }

    /// <summary>What is wrong with a page map.</summary>
    public static CorruptDataException Malformed(string why) => new($"A page map of the snapshot is malformed: {why}.");

    private static int ReadBelow(ref TlvReader reader, ulong limit)
    {
        ulong value = reader.ReadVarint();
        return value < limit ? (int)value : throw Malformed("a run names what is not there");
    }
}
