using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Restore;

/// <summary>Walks a tree and knows the path of each entry.</summary>
internal sealed class PathWalk
{
    private readonly SnapshotWalk _walk;
    private readonly Stack<byte[]> _folders = new();

    /// <summary>Begins at a tree.</summary>
    /// <param name="read">Reads metadata chunks.</param>
    /// <param name="tree">Where it begins.</param>
    /// <param name="damaged">Told of what is left out: the code, its path (a folder's ends with a slash where a part of it is lost), and why.</param>
    public PathWalk(ReadMetadata read, ChunkId tree, Action<ErrorCode, byte[], string> damaged)
    {
        _walk = new SnapshotWalk(read, (code, name, why) => damaged(code, name.Length > 0 ? Join(name) : [.. _folders.Peek(), (byte)'/'], why));
        _folders.Push([]);
        _walk.Enter(tree);
    }

    /// <summary>The next entry, or null at the end.</summary>
    public (byte[] Path, Node Node)? Next()
    {
        while (_walk.Next(out Node? node))
        {
            if (node is null)
            {
                _folders.Pop();
                continue;
            }

            byte[] path = Join(node.Metadata.Name);
            if (node.Metadata.Type == NodeType.Directory)
            {
                _folders.Push(path);
                _walk.Enter(node.Subtree!.Value);
            }

            return (path, node);
        }

        return null;
    }

    private byte[] Join(byte[] name) => [.. _folders.Peek(), (byte)'/', .. name];
}
