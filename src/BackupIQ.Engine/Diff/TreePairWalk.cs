using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Diff;

/// <summary>In which of two trees an entry is.</summary>
[Flags]
internal enum Sides
{
    Before = 1,
    After = 2,
    Both = Before | After,
}

/// <summary>
/// An entry that differs, or is in one tree only. A side that is not there is default. The nodes point into pages and are valid during the
/// call. Returns whether a directory is entered.
/// </summary>
internal delegate bool VisitDifference(ReadOnlySpan<byte> path, Sides sides, in NodePeek before, in NodePeek after);

/// <summary>
/// Walks two trees in step and tells what differs, in the order of the names, a directory before what is in it. Equal subtrees and equal
/// pages of large directories are passed unread. Memory is bounded whatever the trees' depth and width. A directory that is damaged on one
/// side is told and left, so that nothing is called added or removed because the other side could not be read.
/// </summary>
/// <param name="read">Reads metadata chunks.</param>
/// <param name="visit">Told of each difference.</param>
/// <param name="damaged">Told of each directory of which a part cannot be compared, and why.</param>
internal sealed class TreePairWalk(ReadMetadata read, VisitDifference visit, Action<byte[], BackupIQException> damaged)
{
    private const long MaxHeldBytes = 32 << 20;

    private readonly List<Level> _levels = [];
    private byte[] _path = new byte[512];

    /// <summary>Pages of directories that were read of the first tree, and of the second.</summary>
    public long PagesBefore { get; private set; }

    /// <inheritdoc cref="PagesBefore"/>
    public long PagesAfter { get; private set; }

    /// <summary>Walks two directories; null where a side has none.</summary>
    public void Run(ReadOnlySpan<byte> path, ChunkId? before, ChunkId? after, CancellationToken cancellationToken)
    {
        if (before == after)
        {
            return;
        }

        int length = Append(0, path, withSlash: false);
        Enter(length, before, after);
        while (_levels.Count > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Level level = _levels[^1];
            try
            {
                if (!Step(level))
                {
                    Leave(level);
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Leave(level);
                damaged(_path.AsSpan(0, level.PathLength).ToArray(), e);
            }
        }
    }

    private bool Step(Level level)
    {
        NodeCursor? a = level.Before is { IsAtEnd: false } ? level.Before : null;
        NodeCursor? b = level.After is { IsAtEnd: false } ? level.After : null;
        if (a is null && b is null)
        {
            return false;
        }

        if (a is { IsAtPageStart: true } && b is { IsAtPageStart: true } && a.Page == b.Page)
        {
            a.SkipPage();
            b.SkipPage();
            return true;
        }

        int order = a is null ? 1 : b is null ? -1 : a.Name.SequenceCompareTo(b.Name);
        NodePeek before = order <= 0 ? a!.Peek() : default;
        NodePeek after = order >= 0 ? b!.Peek() : default;
        ChunkId? enterBefore = null;
        ChunkId? enterAfter = null;
        int length = level.PathLength;
        if (order != 0 || !before.Raw.SequenceEqual(after.Raw))
        {
            length = Append(level.PathLength, order <= 0 ? before.Name : after.Name, withSlash: true);
            Sides sides = order == 0 ? Sides.Both : order < 0 ? Sides.Before : Sides.After;
            ChunkId? subtreeBefore = order <= 0 ? Subtree(before) : null;
            ChunkId? subtreeAfter = order >= 0 ? Subtree(after) : null;
            if (visit(_path.AsSpan(0, length), sides, before, after) && subtreeBefore != subtreeAfter)
            {
                enterBefore = subtreeBefore;
                enterAfter = subtreeAfter;
            }
        }

        if (order <= 0)
        {
            a!.Next();
        }

        if (order >= 0)
        {
            b!.Next();
        }

        if (enterBefore is not null || enterAfter is not null)
        {
            Enter(length, enterBefore, enterAfter);
        }

        return true;
    }

    private static ChunkId? Subtree(in NodePeek node) =>
        node.Type != NodeType.Directory ? null
        : node.SubtreeBytes.Length == ChunkId.Size ? ChunkId.Read(node.SubtreeBytes)
        : throw TlvReader.Malformed("an entry lacks its content");

    private void Enter(int pathLength, ChunkId? before, ChunkId? after)
    {
        long held = 0;
        for (int i = _levels.Count - 1; i >= 0; i--)
        {
            held += _levels[i].HeldBytes;
            if (held > MaxHeldBytes)
            {
                _levels[i].Release();
            }
        }

        _levels.Add(new Level(
            before is { } first ? new NodeCursor(read, first) : null, after is { } second ? new NodeCursor(read, second) : null, pathLength));
    }

    private void Leave(Level level)
    {
        PagesBefore += level.Before?.PagesRead ?? 0;
        PagesAfter += level.After?.PagesRead ?? 0;
        _levels.RemoveAt(_levels.Count - 1);
    }

    private int Append(int at, ReadOnlySpan<byte> name, bool withSlash)
    {
        int length = at + name.Length + (withSlash ? 1 : 0);
        if (length > _path.Length)
        {
            Array.Resize(ref _path, length * 2);
        }

        if (withSlash)
        {
            _path[at++] = (byte)'/';
        }

        name.CopyTo(_path.AsSpan(at));
        return length;
    }

    private sealed record Level(NodeCursor? Before, NodeCursor? After, int PathLength)
    {
        public long HeldBytes => (Before?.HeldBytes ?? 0) + (long)(After?.HeldBytes ?? 0);

        public void Release()
        {
            Before?.Release();
            After?.Release();
        }
    }
}
