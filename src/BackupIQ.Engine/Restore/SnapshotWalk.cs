using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Walks a tree, each directory's entries sorted, a subdirectory's between its own name and the next. What is damaged or hostile is told
/// and left out: a node, or a page of a directory; the rest goes on. Memory is bounded whatever the tree's depth and width, because pages
/// of outer directories are given up and read again when too many are held.
/// </summary>
/// <param name="read">Reads metadata chunks.</param>
/// <param name="damaged">Told of what is left out: the code, the entry's name (empty: a part of the directory itself), and why.</param>
internal sealed class SnapshotWalk(ReadMetadata read, Action<ErrorCode, byte[], string> damaged)
{
    private const long MaxHeldBytes = 32 << 20;

    private readonly List<Level> _levels = [];
    private long _held;

    /// <summary>Walks into a directory: its entries come next.</summary>
    public void Enter(ChunkId tree) => _levels.Add(new Level(tree));

    /// <summary>The next entry, or null when a directory has been left. False at the end of all.</summary>
    public bool Next(out Node? node)
    {
        node = null;
        if (_levels.Count == 0)
        {
            return false;
        }

        Level level = _levels[^1];
        while (true)
        {
            try
            {
                if (!Load(level))
                {
                    Unload(level);
                    _levels.RemoveAt(_levels.Count - 1);
                    return true;
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                SkipPage(level);
                damaged(SnapshotMetadata.DamageCode(e), [], $"a part of this directory is lost: {e.Message}");
                continue;
            }

            if (ReadNode(level) is { } read)
            {
                node = read;
                return true;
            }
        }
    }

    /// <summary>The names in a directory, sorted; false when not all of them can be told.</summary>
    public static bool TryReadNames(ReadMetadata read, ChunkId tree, List<byte[]> names)
    {
        try
        {
            foreach (ChunkId page in PagesOf(read, tree))
            {
                TlvReader reader = new(read(page).Span);
                if (TreePage.ReadHead(ref reader, out int count) != TreePage.Nodes)
                {
                    return false;
                }

                for (int i = 0; i < count; i++)
                {
                    names.Add(NodePeek.Read(reader.ReadBlock()).Name.ToArray());
                }
            }

            return true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return false;
        }
    }

    private static ChunkId[] PagesOf(ReadMetadata read, ChunkId tree) => [.. new TreeReader(read).PagesOf(tree)];

    // Makes the level's next node ready; false when there is none.
    private bool Load(Level level)
    {
        if (level.Pages is null)
        {
            level.Pages = PagesOf(read, level.Tree);
            _held += level.HeldPages;
        }

        while (level.Left == 0)
        {
            Drop(level);
            if (++level.Page >= level.Pages.Length)
            {
                return false;
            }

            level.Offset = -1;
            LoadPage(level);
        }

        if (level.Bytes is null)
        {
            LoadPage(level);
        }

        return true;
    }

    private void LoadPage(Level level)
    {
        byte[] bytes = read(level.Pages![level.Page]).ToArray();
        TlvReader reader = new(bytes);
        if (TreePage.ReadHead(ref reader, out int count) != TreePage.Nodes)
        {
            throw TlvReader.Malformed("a list of pages stands where a page should");
        }

        if (level.Offset < 0)
        {
            level.Offset = bytes.Length - reader.Rest.Length;
            level.Left = count;
        }

        level.Bytes = bytes;
        _held += bytes.Length;
        for (int i = 0; i < _levels.Count - 1 && _held > MaxHeldBytes; i++)
        {
            Unload(_levels[i]);
        }
    }

    private Node? ReadNode(Level level)
    {
        ReadOnlySpan<byte> block;
        try
        {
            TlvReader reader = new(level.Bytes.AsSpan(level.Offset));
            block = reader.ReadBlock();
            level.Offset = level.Bytes!.Length - reader.Rest.Length;
            level.Left--;
        }
        catch (CorruptDataException e)
        {
            level.Left = 0;
            damaged(e.Code, [], $"a part of this directory is lost: {e.Message}");
            return null;
        }

        ReadOnlySpan<byte> name = default;
        try
        {
            name = NodePeek.Read(block).Name;
            if (!NodeFormat.IsName(name))
            {
                damaged(ErrorCodes.HostileName, name.ToArray(), "its name would lead out of the target; it was refused");
                return null;
            }

            if (level.Previous is not null && level.Previous.AsSpan().SequenceCompareTo(name) >= 0)
            {
                damaged(ErrorCodes.CorruptData, name.ToArray(), "it is not in order or stands there twice; it was left out");
                return null;
            }

            Node node = NodeFormat.Read(block);
            level.Previous = node.Metadata.Name;
            return node;
        }
        catch (CorruptDataException e)
        {
            damaged(e.Code, name.ToArray(), e.Message);
            return null;
        }
    }

    private void SkipPage(Level level)
    {
        level.Left = 0;
        Drop(level);
        if (level.Pages is null)
        {
            level.Pages = [];
            level.Page = 0;
        }
    }

    private void Unload(Level level)
    {
        Drop(level);
        _held -= level.HeldPages;
        level.Pages = null;
    }

    private void Drop(Level level)
    {
        _held -= level.Bytes?.Length ?? 0;
        level.Bytes = null;
    }

    private sealed class Level(ChunkId tree)
    {
        public ChunkId Tree { get; } = tree;

        public ChunkId[]? Pages { get; set; }

        public long HeldPages => (Pages?.Length ?? 0) * (long)ChunkId.Size;

        public int Page { get; set; } = -1;

        public byte[]? Bytes { get; set; }

        public int Offset { get; set; }

        public int Left { get; set; }

        public byte[]? Previous { get; set; }
    }
}
