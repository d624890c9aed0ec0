using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Jobs.Browsing;

/// <summary>Counts what a repository holds. Every tree is read once, however many snapshots share it.</summary>
internal sealed class StatisticsReader(ChunkIndex index, TreeReader trees)
{
    private readonly List<string> _findings = [];
    private readonly Dictionary<ChunkId, Totals> _trees = [];
    private readonly Dictionary<string, Totals> _categories = new(StringComparer.Ordinal);

    /// <summary>Counts; with <paramref name="compression"/> also by codec and category.</summary>
    public RepositoryStatistics Read(IReadOnlyList<SnapshotInfo> snapshots, bool compression, CancellationToken cancellationToken)
    {
        Totals total = default;
        foreach (SnapshotInfo snapshot in snapshots)
        {
            if (ChunkId.TryParse(snapshot.Tree, out ChunkId tree))
            {
                total += Count(tree, compression, depth: 0, cancellationToken);
            }
        }

        long stored = 0;
        HashSet<PackId> packs = [];
        foreach ((PackId id, _, long size) in index.Packs())
        {
            stored += packs.Add(id) ? size : 0;
        }

        long unique = 0;
        long uniqueData = 0;
        Dictionary<string, Totals> codecs = new(StringComparer.Ordinal);
        HashSet<(PackId, uint)> seen = [];
        foreach (FrameReference frame in index.Frames())
        {
            if (!seen.Add((frame.Pack, frame.Offset)))
            {
                continue;
            }

            unique += frame.PlainLength;
            uniqueData += frame.Kind == PackKind.Data ? frame.PlainLength : 0;
            string codec = frame.Codec.ToString().ToLowerInvariant();
            codecs[codec] = codecs.GetValueOrDefault(codec) + new Totals(1, frame.PlainLength, frame.StoredLength);
        }

        return new RepositoryStatistics
        {
            TotalSize = total.Plain,
            TotalFiles = total.Count,
            Snapshots = snapshots.Count,
            StoredSize = stored,
            Blobs = index.EntryCount,
            UniqueSize = unique,
            DedupRatio = uniqueData == 0 ? 1 : (double)total.Plain / uniqueData,
            Findings = _findings,
            ByCodec = compression ? Shares(codecs) : [],
            ByCategory = compression ? Shares(_categories) : [],
        };
    }

    private static CompressionShare[] Shares(Dictionary<string, Totals> totals) =>
        [.. totals.Select(static row => new CompressionShare(row.Key, row.Value.Count, row.Value.Plain, row.Value.Stored)).OrderByDescending(static row => row.PlainSize)];

    private Totals Count(ChunkId tree, bool compression, int depth, CancellationToken cancellationToken)
    {
        if (_trees.TryGetValue(tree, out Totals known))
        {
            return known;
        }

        cancellationToken.ThrowIfCancellationRequested();
        Totals total = default;
        try
        {
            foreach (Node node in trees.ReadDirectory(tree))
            {
                // A hostile repository cannot make a cycle of trees named by their content, but a very deep one it can.
                if (node.Subtree is { } subtree && depth < 10_000)
                {
                    System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
                    total += Count(subtree, compression, depth + 1, cancellationToken);
                }
                else if (node.Metadata.Type == NodeType.File)
                {
                    total += new Totals(1, (long)Math.Min(node.Metadata.Size, long.MaxValue), 0);
                    if (compression)
                    {
                        AddToCategory(node);
                    }
                }
            }
        }
        catch (BackupIQException damage) when (DamageReading.IsDamage(damage))
        {
            _findings.Add(damage.Message);
        }

        _trees[tree] = total;
        return total;
    }

    private void AddToCategory(Node node)
    {
        string category = ContentCategory.Of(node.Metadata.Name);
        long plain = node.Content?.Inline.Length ?? 0;
        double stored = plain;
        foreach (ChunkReference chunk in node.Content is { } content ? trees.DataChunksOf(content) : [])
        {
            if (index.TryFind(PackKind.Data, chunk.Id, out ChunkLocation location))
            {
                FrameReference frame = index.GetFrame(location.Frame);
                plain += chunk.Length;
                stored += frame.PlainLength == 0 ? 0 : (double)chunk.Length * frame.StoredLength / frame.PlainLength;
            }
        }

        _categories[category] = _categories.GetValueOrDefault(category) + new Totals(1, plain, (long)stored);
    }

    private readonly record struct Totals(long Count, long Plain, long Stored)
    {
        public static Totals operator +(Totals a, Totals b) => new(a.Count + b.Count, a.Plain + b.Plain, a.Stored + b.Stored);
    }
}
