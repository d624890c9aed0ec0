using System.Text;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Restore;

/// <summary>Finds a path in a snapshot.</summary>
internal static class SnapshotPath
{
    /// <summary>The node (null for the root) and its path, with a slash at its beginning and none at its end (empty for the root).</summary>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>: a component is not there, or is no directory.</exception>
    public static (Node? Node, byte[] Path) Find(TreeReader trees, Snapshot snapshot, ReadOnlySpan<byte> path)
    {
        List<byte> found = [];
        Node? node = null;
        foreach (Range range in path.Split((byte)'/'))
        {
            ReadOnlySpan<byte> name = path[range];
            if (name.IsEmpty)
            {
                continue;
            }

            ChunkId? tree = node is null ? snapshot.TreeId : node.Subtree;
            node = tree is { } directory ? trees.Find(directory, name) : null;
            if (node is null)
            {
                throw new BackupIQException(
                    ErrorCodes.PathNotFound, $"Snapshot {snapshot.ShortId} has no {Encoding.UTF8.GetString(path)}.");
            }

            found.Add((byte)'/');
            found.AddRange(name);
        }

        return (node, [.. found]);
    }
}
