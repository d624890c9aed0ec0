using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>The page map of a file, read block by block. Holds none of them; as thread-safe as what it reads through.</summary>
internal sealed class PageMap
{
    /// <summary>
    /// Blocks that a node names at most, which is 1 TiB in pages of 8 KiB: a node must fit into a chunk. What is larger is stored like any other file.
    /// </summary>
    public const int MaxBlocks = 1 << 15;

    private readonly ReadMetadata _read;
    private readonly IReadOnlyList<ChunkReference> _blocks;
    private readonly IReadOnlyList<ChunkReference> _sums;
    private readonly long _size;

    /// <summary>Opens the map of a file; reads nothing.</summary>
    /// <exception cref="CorruptDataException">It has another number of blocks than the file's size asks for.</exception>
    public PageMap(ReadMetadata read, FileContent content, long size)
    {
        _read = read;
        _blocks = content.Chunks;
        _sums = content.Sums;
        _size = size;
        PageSize = content.PageSize;
        if (size <= 0 || (ulong)_blocks.Count != BlocksFor((ulong)size, PageSize))
        {
            throw WrongCount();
        }
    }

    public int PageSize { get; }

    /// <summary>Bytes of the file that a block is of; of the last one fewer.</summary>
    public long BlockSize => (long)PageSize * PageBlock.MaxPages;

    public int BlockCount => _blocks.Count;

    /// <summary>Bytes of the file that this block is of.</summary>
    public long LengthOf(int block) => Math.Min(BlockSize, _size - (block * BlockSize));

    /// <summary>Blocks of the map of a file of this size, which is below 2^63.</summary>
    public static ulong BlocksFor(ulong size, int pageSize)
    {
        ulong blockSize = (ulong)pageSize * PageBlock.MaxPages;
        return (size + blockSize - 1) / blockSize;
    }

    /// <summary>What is wrong with a map whose blocks do not add up to its file.</summary>
    public static CorruptDataException WrongCount() => PageBlock.Malformed("it has another number of blocks than the file's size asks for");

    /// <exception cref="Primitives.BackupIQException">It is missing, damaged or malformed.</exception>
    public PageBlock ReadBlock(int block) => PageBlock.Read(_read(_blocks[block].Id).Span, PageSize, LengthOf(block));

    /// <summary>The sums of a block's pages that are no holes, in order.</summary>
    /// <exception cref="Primitives.BackupIQException">They are missing, damaged or malformed.</exception>
    public ulong[] ReadSums(int number, PageBlock block) => PageBlock.ReadSums(_read(_sums[number].Id).Span, block.DataPages);

    /// <summary>Where the file has data: its pages that are no holes. Reads the whole map.</summary>
    /// <exception cref="Primitives.BackupIQException">A block is missing, damaged or malformed.</exception>
    public List<Extent> ReadExtents()
    {
        List<Extent> extents = [];
        for (int n = 0; n < BlockCount; n++)
        {
            foreach (PageRun run in ReadBlock(n).Runs)
            {
                if (run.Chunk < 0)
                {
                    continue;
                }

                ulong offset = (ulong)((n * BlockSize) + ((long)run.First * PageSize));
                ulong length = (ulong)PageBlock.LengthOf(run.First, run.Count, PageSize, LengthOf(n));
                if (extents.Count > 0 && extents[^1].Offset + extents[^1].Length == offset)
                {
                    extents[^1] = new Extent(extents[^1].Offset, extents[^1].Length + length);
                }
                else
                {
                    extents.Add(new Extent(offset, length));
                }
            }
        }

        return extents;
    }
}
