using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Jobs.Browsing;

/// <summary>Walks the trees of snapshots. Not thread-safe.</summary>
public sealed class SnapshotBrowser : IDisposable
{
    private readonly ChunkIndex _index;
    private readonly ChunkReader _reader;
    private readonly TreeReader _trees;

    internal SnapshotBrowser(BackupRepository repository, IndexLoad load)
    {
        _index = load.Index;
        _reader = new ChunkReader(repository, _index);
        _trees = new TreeReader(id => _reader.Read(PackKind.Metadata, id));
    }

    /// <summary>
    /// The entry at <paramref name="path"/> and, unless it is no folder, what is in it: with <paramref name="recursive"/> all, depth first. The
    /// root itself (<c>/</c>) is no entry.
    /// </summary>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>, or damage was met.</exception>
    public IEnumerable<EntryInfo> List(SnapshotInfo snapshot, byte[] path, bool recursive, CancellationToken cancellationToken)
    {
        ChunkId tree = TreeOf(snapshot);
        byte[] at = [];
        foreach (byte[] name in BytePath.Names(path))
        {
            Node node = _trees.ReadDirectory(tree).FirstOrDefault(node => node.Metadata.Name.AsSpan().SequenceEqual(name)) ?? throw NotFound(snapshot, path);
            at = Join(at, name);
            if (node.Subtree is { } subtree)
            {
                tree = subtree;
                continue;
            }

            if (!at.AsSpan().SequenceEqual(Absolute(path)))
            {
                throw NotFound(snapshot, path);
            }

            yield return EntryInfo.From(at, node);
            yield break;
        }

        foreach (EntryInfo entry in Walk(tree, at, recursive, cancellationToken))
        {
            yield return entry;
        }
    }

    /// <summary>All entries whose path matches one of the patterns, as <c>--exclude</c> understands them.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: a pattern is malformed.</exception>
    public IEnumerable<EntryInfo> Find(
        SnapshotInfo snapshot, IReadOnlyList<byte[]> patterns, bool ignoreCase, CancellationToken cancellationToken)
    {
        PatternList list = new(patterns, ignoreCase, "find");
        return Walk(TreeOf(snapshot), [], recursive: true, cancellationToken).Where(entry => list.Matches(entry.Path));
    }

    /// <summary>Counts what the repository and these snapshots hold; with <paramref name="compression"/> by codec and category, too.</summary>
    public RepositoryStatistics Count(IReadOnlyList<SnapshotInfo> snapshots, bool compression, CancellationToken cancellationToken) =>
        new StatisticsReader(_index, _trees).Read(snapshots, compression, cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        _reader.Dispose();
        _index.Dispose();
    }

    private static ChunkId TreeOf(SnapshotInfo snapshot) =>
        ChunkId.TryParse(snapshot.Tree, out ChunkId id) ? id : throw new CorruptDataException($"Snapshot {snapshot.ShortId} names no tree.");

    private static BackupIQException NotFound(SnapshotInfo snapshot, byte[] path) =>
        new BackupIQException(ErrorCodes.PathNotFound, $"Snapshot {snapshot.ShortId} has no such path").With("path", PathText.Show(path));

    private static byte[] Absolute(byte[] path)
    {
        byte[] joined = [];
        foreach (byte[] name in BytePath.Names(path))
        {
            joined = Join(joined, name);
        }

        return joined;
    }

    private static byte[] Join(byte[] folder, byte[] name) => [.. folder, (byte)'/', .. name];

    private IEnumerable<EntryInfo> Walk(ChunkId tree, byte[] folder, bool recursive, CancellationToken cancellationToken)
    {
        Stack<(IEnumerator<Node> Nodes, byte[] Folder)> open = new();
        open.Push((_trees.ReadDirectory(tree).GetEnumerator(), folder));
        try
        {
            while (open.TryPeek(out (IEnumerator<Node> Nodes, byte[] Folder) top))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (!top.Nodes.MoveNext())
                {
                    top.Nodes.Dispose();
                    open.Pop();
                    continue;
                }

                Node node = top.Nodes.Current;
                byte[] path = Join(top.Folder, node.Metadata.Name);
                yield return EntryInfo.From(path, node);
                if (recursive && node.Subtree is { } subtree)
                {
                    open.Push((_trees.ReadDirectory(subtree).GetEnumerator(), path));
                }
            }
        }
        finally
        {
            while (open.TryPop(out (IEnumerator<Node> Nodes, byte[] Folder) left))
            {
                left.Nodes.Dispose();
            }
        }
    }
}
