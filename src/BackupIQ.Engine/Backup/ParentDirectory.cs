using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// The same directory in the snapshots that a run compares with: the newest partial one first, then the last complete one.
/// </summary>
internal sealed class ParentDirectory
{
    private readonly List<(DirectoryCursor Cursor, FileTime TrustedBefore)> _cursors = [];
    private readonly ReadMetadata _read;

    private ParentDirectory(ReadMetadata read) => _read = read;

    /// <summary>The root directories of the parents.</summary>
    public static ParentDirectory Roots(ReadMetadata read, IEnumerable<Snapshot> parents)
    {
        ParentDirectory root = new(read);
        foreach (Snapshot parent in parents)
        {
            if (parent.ScanId is { } scan && DirectoryCursor.Open(read, parent.TreeId, scan) is { } cursor)
            {
                root._cursors.Add((cursor, TrustedBefore(parent)));
            }
        }

        return root;
    }

    /// <summary>
    /// The node of this name in the first parent that has it. <paramref name="trustedBefore"/>: only what was modified and changed before
    /// this moment can be told to be the same.
    /// </summary>
    public bool Seek(ReadOnlySpan<byte> name, out NodePeek node, out ScanEntry scan, out FileTime trustedBefore)
    {
        foreach ((DirectoryCursor cursor, FileTime trusted) in _cursors)
        {
            if (cursor.Seek(name, out node, out scan))
            {
                trustedBefore = trusted;
                return true;
            }
        }

        node = default;
        scan = default;
        trustedBefore = default;
        return false;
    }

    /// <summary>The subdirectory of this name in all parents that have it.</summary>
    public ParentDirectory Enter(ReadOnlySpan<byte> name)
    {
        ParentDirectory child = new(_read);
        foreach ((DirectoryCursor cursor, FileTime trusted) in _cursors)
        {
            if (cursor.Seek(name, out NodePeek node, out ScanEntry scan) && node.Type == NodeType.Directory &&
                node.SubtreeBytes.Length == ChunkId.Size && scan.Subscan is { } subscan &&
                DirectoryCursor.Open(_read, ChunkId.Read(node.SubtreeBytes), subscan) is { } opened)
            {
                child._cursors.Add((opened, trusted));
            }
        }

        return child;
    }

    // A file written in the tick in which the parent's run looked at it may have changed right after: two seconds cover file systems
    // with coarse clocks.
    private static FileTime TrustedBefore(Snapshot parent)
    {
        long seconds = parent.Time.ToUnixTimeSeconds();
        return new FileTime(seconds - 2, (uint)(parent.Time.Ticks % TimeSpan.TicksPerSecond) * 100);
    }
}
