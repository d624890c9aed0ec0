using System.Collections.Concurrent;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Verification;

/// <summary>
/// Reads the pages of map blocks and proves by their digests that they are those that a backup read: what no chunk's id can tell where a page changed and
/// its sum did not. Remembers the blocks that are not proved. Safe for any thread, each with its own reader.
/// </summary>
internal sealed class PageProof(byte[] idKey)
{
    private readonly ConcurrentDictionary<ChunkId, bool> _wrong = new();

    /// <summary>Whether the pages of this block turned out to be others.</summary>
    public bool IsWrong(in ChunkId block) => _wrong.ContainsKey(block);

    /// <summary>Whether the pages of a block are what it says. Each of its chunks is read once.</summary>
    /// <exception cref="Primitives.BackupIQException">A chunk is missing or damaged, or the storage cannot be reached.</exception>
    public bool Prove(CheckedChunkReader reader, in ChunkId id, PageBlock block, int pageSize, long blockLength, CancellationToken cancellationToken)
    {
        PageDigest digest = default;
        foreach (IGrouping<int, PageRun> runs in block.Runs.Where(static run => run.Chunk >= 0).GroupBy(static run => run.Chunk))
        {
            ChunkReference chunk = block.Chunks[runs.Key];
            ReadOnlySpan<byte> bytes = reader.Read(PackKind.Data, chunk.Id, chunk.Length, cancellationToken).Span;
            foreach (PageRun run in runs)
            {
                ReadOnlySpan<byte> pages = bytes.Slice(run.Slot * pageSize, PageBlock.LengthOf(run.First, run.Count, pageSize, blockLength));
                digest ^= PageDigest.Of(idKey, run.First, pages, pageSize);
            }
        }

        bool isRight = digest == block.Digest;
        if (!isRight)
        {
            _wrong[id] = true;
        }

        return isRight;
    }
}
