using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Diff;

/// <summary>One state of a path, and the snapshots in a row that have it so.</summary>
/// <typeparam name="TSnapshot">What stands for a snapshot.</typeparam>
public sealed record PathVersion<TSnapshot>
{
    /// <summary>How it differs from the version before; of the first <see cref="DiffKind.Added"/>.</summary>
    public required DiffKind Kind { get; init; }

    /// <summary>The entry; null where the path is not there (<see cref="DiffKind.Removed"/>).</summary>
    public required Node? Node { get; init; }

    /// <summary>The snapshots that have it so, oldest first; never empty.</summary>
    public required IReadOnlyList<TSnapshot> Snapshots { get; init; }
}

/// <summary>Follows a path through snapshots that are mostly the same. Not thread-safe.</summary>
/// <param name="trees">Reads directories.</param>
public sealed class PathHistory(TreeReader trees)
{
    private readonly Dictionary<(ChunkId Tree, int Depth), Node?> _seen = [];

    /// <summary>
    /// The versions of a path over the snapshots of one series, oldest first. Before it first was there it has none; a directory is another
    /// version when anything below it is.
    /// </summary>
    /// <typeparam name="TSnapshot">What stands for a snapshot.</typeparam>
    /// <param name="snapshots">The snapshots with their root trees, oldest first.</param>
    /// <param name="path">The names on the way; not empty, and the same in every call.</param>
    /// <param name="damaged">Told of each snapshot in which the path cannot be followed, and why; it is in no version.</param>
    public IReadOnlyList<PathVersion<TSnapshot>> Read<TSnapshot>(
        IReadOnlyList<(TSnapshot Snapshot, ChunkId Tree)> snapshots, IReadOnlyList<byte[]> path, Action<TSnapshot, BackupIQException> damaged)
    {
        List<PathVersion<TSnapshot>> versions = [];
        List<TSnapshot> last = [];
        Node? before = null;
        foreach ((TSnapshot snapshot, ChunkId tree) in snapshots)
        {
            Node? node;
            try
            {
                node = Find(tree, path);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                damaged(snapshot, e);
                continue;
            }

            if (node is null ? before is null : before is not null && NodeComparison.Compare(before, node) is null)
            {
                last.Add(snapshot);
                continue;
            }

            DiffKind kind = before is null ? DiffKind.Added : node is null ? DiffKind.Removed : NodeComparison.Compare(before, node)!.Value;
            last = [snapshot];
            versions.Add(new PathVersion<TSnapshot> { Kind = kind, Node = node, Snapshots = last });
            before = node;
        }

        return versions;
    }

    private Node? Find(ChunkId tree, IReadOnlyList<byte[]> path)
    {
        Node? node = null;
        for (int depth = 0; depth < path.Count; depth++)
        {
            ChunkId? folder = depth == 0 ? tree : node!.Subtree;
            if (folder is not { } at)
            {
                return null;
            }

            if (!_seen.TryGetValue((at, depth), out node))
            {
                node = trees.Find(at, path[depth]);
                _seen.Add((at, depth), node);
            }

            if (node is null)
            {
                return null;
            }
        }

        return node;
    }
}
