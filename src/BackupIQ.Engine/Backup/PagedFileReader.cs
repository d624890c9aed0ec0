using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository.Compression;

namespace BackupIQ.Engine.Backup;

/// <summary>The page map of a file in a snapshot that a run compares with.</summary>
/// <param name="Content">The map.</param>
/// <param name="Size">Bytes of the file.</param>
internal sealed record ParentPages(FileContent Content, long Size)
{
    /// <summary>The map of a file, if it has one.</summary>
    public static ParentPages? Of(FileContent content, ulong size) => content.Kind == ContentKind.Pages ? new ParentPages(content, (long)size) : null;
}

/// <summary>
/// Reads files that consist of pages, block by block: each is compared, stored and described by itself, so that those of a large file are spread over all
/// workers and memory is theirs, whatever the file's size.
/// </summary>
internal sealed class PagedFileReader(
    WorkQueue queue, int workers, byte[] idKey, StoreMetadata store, ReadMetadata readParent, BackupProgress progress)
{
    /// <summary>Whether a file can have a page map. One of a page at most is quicker read and stored like any other.</summary>
    public static bool CanHaveMap(long size, int pageSize) =>
        pageSize > 0 && size > pageSize && PageMap.BlocksFor((ulong)size, pageSize) <= PageMap.MaxBlocks;

    /// <summary>What a worker reads blocks with; the worker's own.</summary>
    public PageBlockReader CreateBlockReader() => new(store, idKey, progress);

    /// <summary>Reads a file of <paramref name="size"/> bytes; of one that shrank meanwhile what there was.</summary>
    public FileContent Read(FileWorker worker, ISourceFile file, long size, int pageSize, ParentPages? parent, ContentHint hint, out long bytes)
    {
        long blockSize = (long)pageSize * PageBlock.MaxPages;
        PageMap? map = OpenParent(parent, pageSize);
        List<ChunkReference> blocks = [];
        List<ChunkReference> sums = [];
        Queue<BlockPiece> pieces = new();
        long at = 0;
        bool isEnd = false;
        bytes = 0;
        try
        {
            while (pieces.Count > 0 || (at < size && !isEnd))
            {
                while (at < size && !isEnd && pieces.Count < (file.IsSequential ? 1 : workers + 1))
                {
                    BlockPiece piece = new(file, at, Math.Min(blockSize, size - at), pageSize, map, hint);
                    pieces.Enqueue(piece);
                    at += piece.Length;
                    if (file.IsSequential || size <= blockSize || !queue.TryAddPiece(piece))
                    {
                        piece.Run(worker);
                    }
                }

                BlockPiece first = pieces.Dequeue();
                first.Await(queue, worker);
                first.ThrowIfFailed();
                if (!isEnd && first.Stored.Length > 0)
                {
                    blocks.Add(first.Stored.Block);
                    sums.Add(first.Stored.Sums);
                    bytes += first.Stored.Length;
                }

                isEnd |= first.Stored.Length < first.Length;
            }
        }
        finally
        {
            // Whoever works on a piece reads from the file, which is closed next.
            foreach (BlockPiece piece in pieces)
            {
                piece.Await(queue, worker);
            }
        }

        return blocks.Count == 0 ? FileContent.Empty : new FileContent { Kind = ContentKind.Pages, PageSize = pageSize, Chunks = blocks, Sums = sums };
    }

    private PageMap? OpenParent(ParentPages? parent, int pageSize)
    {
        try
        {
            return parent is not null && parent.Content.PageSize == pageSize ? new PageMap(readParent, parent.Content, parent.Size) : null;
        }
        catch (BackupIQException)
        {
            return null;
        }
    }

    // The parent is a hint: what cannot be read of it is stored anew.
    private static ParentBlock? TryReadBlock(PageMap? map, int number)
    {
        try
        {
            return map is not null && number < map.BlockCount && map.ReadBlock(number) is var block ? new ParentBlock(block, map.ReadSums(number, block)) : null;
        }
        catch (BackupIQException)
        {
            return null;
        }
    }

    /// <summary>A block of a file, read by any worker.</summary>
    private sealed class BlockPiece(ISourceFile file, long offset, long length, int pageSize, PageMap? parent, ContentHint hint) : SharedPiece
    {
        public long Length { get; } = length;

        public StoredBlock Stored { get; private set; }

        protected override void Do(FileWorker worker) => Stored = worker.ReadPages(
            file, offset, Length, pageSize, TryReadBlock(parent, (int)(offset / ((long)pageSize * PageBlock.MaxPages))), hint);
    }
}
