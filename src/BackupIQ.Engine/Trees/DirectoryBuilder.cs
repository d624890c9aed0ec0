using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>Stores a metadata chunk and returns its id.</summary>
internal delegate ChunkId StoreMetadata(ReadOnlySpan<byte> plain);

/// <summary>A directory's tree and, beside it, its scan.</summary>
internal readonly record struct DirectoryIds(ChunkId Tree, ChunkId Scan);

/// <summary>
/// Gathers the nodes of one directory, in the order of their names, into pages; full pages are stored at once, so memory is bounded by a
/// page whatever the directory's size. Not thread-safe.
/// </summary>
internal sealed class DirectoryBuilder(StoreMetadata store)
{
    private const int MinPerPage = 512;
    private const int MaxPerPage = 8192;
    private const int MaxPageBytes = 1 << 20;

    private readonly TlvWriter _nodes = new(4096);
    private readonly TlvWriter _scans = new(1024);
    private readonly TlvWriter _page = new(4096);
    private readonly List<Page> _pages = [];
    private byte[] _firstName = [];
    private int _count;

    /// <summary>Appends a node (its fields, as <see cref="NodeFormat"/> writes them) with its scan entry.</summary>
    public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> fields, in ScanEntry scan)
    {
        bool boundary = _count >= MinPerPage && TreePage.IsBoundary(name);
        if (_count > 0 && (boundary || _count >= MaxPerPage || _nodes.Length + fields.Length > MaxPageBytes))
        {
            _pages.Add(StorePage());
        }

        if (_count == 0)
        {
            _firstName = name.ToArray();
        }

        _nodes.WriteBlock(fields);
        scan.Write(_scans);
        _count++;
    }

    /// <summary>Stores what is left and returns the directory's ids; then the builder is empty and can serve another directory.</summary>
    public DirectoryIds Finish()
    {
        if (_count > 0 || _pages.Count == 0)
        {
            _pages.Add(StorePage());
        }

        DirectoryIds ids = StoreList(_pages);
        _pages.Clear();
        return ids;
    }

    /// <summary>
    /// The ids of the directory as it is so far, with <paramref name="last"/> (a subdirectory in the making) as its last node; the builder
    /// goes on as if nothing had been.
    /// </summary>
    public DirectoryIds Peek((byte[] Name, ReadOnlyMemory<byte> Fields, ScanEntry Scan)? last)
    {
        TlvWriter nodes = new(_nodes.Length + 256);
        TlvWriter scans = new(_scans.Length + 128);
        nodes.WriteBytes(_nodes.Written);
        scans.WriteBytes(_scans.Written);
        byte[] firstName = _count > 0 ? _firstName : [];
        int count = _count;
        if (last is { } node)
        {
            nodes.WriteBlock(node.Fields.Span);
            node.Scan.Write(scans);
            firstName = count == 0 ? node.Name : firstName;
            count++;
        }

        List<Page> pages = [.. _pages];
        if (count > 0 || pages.Count == 0)
        {
            pages.Add(new Page(firstName, StoreNodes(nodes.Written, count), StoreNodes(scans.Written, count), count));
        }

        return StoreList(pages);
    }

    private Page StorePage()
    {
        Page page = new(_firstName, StoreNodes(_nodes.Written, _count), StoreNodes(_scans.Written, _count), _count);
        _nodes.Clear();
        _scans.Clear();
        _count = 0;
        return page;
    }

    private ChunkId StoreNodes(ReadOnlySpan<byte> body, int count)
    {
        _page.Clear();
        _page.WriteByte(TreePage.Version);
        _page.WriteByte(TreePage.Nodes);
        _page.WriteVarint((ulong)count);
        _page.WriteBytes(body);
        return store(_page.Written);
    }

    private DirectoryIds StoreList(List<Page> pages)
    {
        if (pages.Count == 1)
        {
            return new DirectoryIds(pages[0].Tree, pages[0].Scan);
        }

        TlvWriter tree = new(64 * pages.Count);
        TlvWriter scan = new(40 * pages.Count);
        foreach (TlvWriter list in (TlvWriter[])[tree, scan])
        {
            list.WriteByte(TreePage.Version);
            list.WriteByte(TreePage.List);
            list.WriteVarint((ulong)pages.Count);
        }

        foreach (Page page in pages)
        {
            tree.WriteBlock(page.FirstName);
            tree.WriteChunkId(page.Tree);
            tree.WriteVarint((ulong)page.Count);
            scan.WriteChunkId(page.Scan);
        }

        return new DirectoryIds(store(tree.Written), store(scan.Written));
    }

    private readonly record struct Page(byte[] FirstName, ChunkId Tree, ChunkId Scan, int Count);
}
