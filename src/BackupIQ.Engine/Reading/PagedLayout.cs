using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Reading;

/// <summary>Pages of a file that lie one after the other in a chunk, from a byte of them on.</summary>
/// <param name="Chunk">The chunk; null: a hole.</param>
/// <param name="Skip">Where in the chunk the byte is.</param>
/// <param name="Length">Bytes to the end of these pages.</param>
internal readonly record struct PagePiece(ChunkReference? Chunk, int Skip, long Length);

/// <summary>
/// Where the pages of a file are. Its map is read block by block as it is needed, and only some blocks are held. Safe for any thread.
/// </summary>
internal sealed class PagedLayout(ReadMetadata read, FileContent content, long size)
{
    /// <summary>Blocks that are held, of some ten KiB each: a sequential reader needs one, a random one reads few again.</summary>
    private const int MaxHeld = 16;

    private readonly PageMap _map = new(read, content, size);
    private readonly Lock _gate = new();
    private readonly LinkedList<(int Number, PageBlock Block)> _held = [];

    /// <summary>The pieces of a map are read under a lock: who waits for one would read it next.</summary>
    /// <exception cref="Primitives.BackupIQException">The map is missing, damaged or malformed there.</exception>
    public PagePiece At(long offset)
    {
        int number = (int)(offset / _map.BlockSize);
        PageBlock block = Block(number);
        long inBlock = offset - (number * _map.BlockSize);
        int page = (int)(inBlock / _map.PageSize);
        int low = 0;
        int high = block.Runs.Count - 1;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (block.Runs[middle].First + block.Runs[middle].Count <= page)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        PageRun run = block.Runs[low];
        long skip = inBlock - ((long)run.First * _map.PageSize);
        long left = PageBlock.LengthOf(run.First, run.Count, _map.PageSize, _map.LengthOf(number)) - skip;
        return run.Chunk < 0 ? new PagePiece(null, 0, left) : new PagePiece(block.Chunks[run.Chunk], (int)(((long)run.Slot * _map.PageSize) + skip), left);
    }

    /// <summary>All chunks that the map names, block by block.</summary>
    /// <exception cref="Primitives.BackupIQException">The map is missing, damaged or malformed.</exception>
    public IEnumerable<ChunkReference> Chunks()
    {
        for (int n = 0; n < _map.BlockCount; n++)
        {
            foreach (ChunkReference chunk in Block(n).Chunks)
            {
                yield return chunk;
            }
        }
    }

    /// <summary>Where the file has data.</summary>
    /// <exception cref="Primitives.BackupIQException">The map is missing, damaged or malformed.</exception>
    public IReadOnlyList<Extent> ReadExtents() => _map.ReadExtents();

    private PageBlock Block(int number)
    {
        lock (_gate)
        {
            for (LinkedListNode<(int Number, PageBlock Block)>? at = _held.First; at is not null; at = at.Next)
            {
                if (at.Value.Number == number)
                {
                    _held.Remove(at);
                    _held.AddFirst(at);
                    return at.Value.Block;
                }
            }

            PageBlock block = _map.ReadBlock(number);
            _held.AddFirst((number, block));
            if (_held.Count > MaxHeld)
            {
                _held.RemoveLast();
            }

            return block;
        }
    }
}
