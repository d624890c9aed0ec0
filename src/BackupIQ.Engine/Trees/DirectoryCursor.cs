using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// Walks a directory of an earlier snapshot in step with the same directory on disk: both are sorted, so each node is passed once and only
/// one page is held. A directory without a scan, or with a damaged page, simply has nothing more to compare with.
/// </summary>
internal sealed class DirectoryCursor
{
    private readonly ReadMetadata _read;
    private readonly IReadOnlyList<ChunkId> _treePages;
    private readonly IReadOnlyList<ChunkId> _scanPages;
    private ReadOnlyMemory<byte> _tree;
    private ReadOnlyMemory<byte> _scan;
    private int _page = -1;
    private int _left;
    private ReadOnlyMemory<byte> _node;
    private ScanEntry _entry;
    private bool _hasNode;

    private DirectoryCursor(ReadMetadata read, IReadOnlyList<ChunkId> treePages, IReadOnlyList<ChunkId> scanPages)
    {
        _read = read;
        _treePages = treePages;
        _scanPages = scanPages;
    }

    /// <summary>Opens a directory; null when it cannot be read, which only means that everything in it is read again.</summary>
    public static DirectoryCursor? Open(ReadMetadata read, ChunkId tree, ChunkId scan)
    {
        try
        {
            List<ChunkId> trees = Pages(read(tree), tree, isTree: true);
            List<ChunkId> scans = Pages(read(scan), scan, isTree: false);
            return trees.Count == scans.Count ? new DirectoryCursor(read, trees, scans) : null;
        }
        catch (BackupIQException)
        {
            return null;
        }
    }

    /// <summary>
    /// Moves to the node of this name, which must not sort before the last one asked for; false when there is none. The peek points into
    /// the current page and is valid until the next call.
    /// </summary>
    public bool Seek(ReadOnlySpan<byte> name, out NodePeek node, out ScanEntry scan)
    {
        try
        {
            while (_hasNode || Next())
            {
                NodePeek peek = NodePeek.Read(_node.Span);
                int order = peek.Name.SequenceCompareTo(name);
                if (order > 0)
                {
                    break;
                }

                if (order == 0)
                {
                    node = peek;
                    scan = _entry;
                    return true;
                }

                _hasNode = false;
            }
        }
        catch (BackupIQException)
        {
            _hasNode = false;
            _left = 0;
            _page = _treePages.Count;
        }

        node = default;
        scan = default;
        return false;
    }

    private bool Next()
    {
        while (_left == 0)
        {
            if (++_page >= _treePages.Count)
            {
                _page = _treePages.Count;
                return false;
            }

            _tree = _read(_treePages[_page]);
            _scan = _read(_scanPages[_page]);
            TlvReader tree = new(_tree.Span);
            TlvReader scan = new(_scan.Span);
            byte treeKind = TreePage.ReadHead(ref tree, out _left);
            if (TreePage.ReadHead(ref scan, out int scans) != TreePage.Nodes || treeKind != TreePage.Nodes || scans != _left)
            {
                throw TlvReader.Malformed("tree and scan differ");
            }

            _tree = _tree[^tree.Rest.Length..];
            _scan = _scan[^scan.Rest.Length..];
        }

        TlvReader nodes = new(_tree.Span);
        int length = nodes.ReadBlock().Length;
        int start = _tree.Length - nodes.Rest.Length - length;
        _node = _tree.Slice(start, length);
        _tree = _tree[(start + length)..];
        TlvReader entries = new(_scan.Span);
        _entry = ScanEntry.Read(ref entries);
        _scan = _scan[^entries.Rest.Length..];
        _left--;
        _hasNode = true;
        return true;
    }

    /// <summary>The pages of a tree or a scan: itself, or those that it lists.</summary>
    internal static List<ChunkId> Pages(ReadOnlyMemory<byte> page, ChunkId self, bool isTree)
    {
        TlvReader reader = new(page.Span);
        if (TreePage.ReadHead(ref reader, out int count) == TreePage.Nodes)
        {
            return [self];
        }

        List<ChunkId> pages = new(Math.Min(count, 4096));
        for (int i = 0; i < count; i++)
        {
            if (isTree)
            {
                reader.ReadBlock();
            }

            pages.Add(reader.ReadChunkId());
            if (isTree)
            {
                reader.ReadVarint();
            }
        }

        return pages;
    }
}
