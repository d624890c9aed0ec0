using BackupIQ.Engine.Trees;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Diff;

/// <summary>
/// Passes through one directory in the order of its names and holds at most one page of it. Where the directory lists its pages, the name
/// that a page begins with is known before the page is read, so that pages that another directory has too are skipped unread.
/// </summary>
internal sealed class NodeCursor(ReadMetadata read, ChunkId tree)
{
    private (ChunkId Id, byte[] FirstName)[]? _pages;
    private bool _isList;
    private int _page;
    private bool _isBegun;
    private byte[]? _bytes;
    private int _start;
    private int _end;
    private int _left;
    private byte[] _name = [];
    private byte[]? _previous;

    /// <summary>Pages that were read, with the one that lists them.</summary>
    public int PagesRead { get; private set; }

    /// <summary>Bytes that are held and can be given up by <see cref="Release"/>.</summary>
    public int HeldBytes => _bytes?.Length ?? 0;

    /// <summary>Whether there is no further node. Opens the directory.</summary>
    /// <exception cref="CorruptDataException">The directory is missing, damaged or malformed: as with all members.</exception>
    public bool IsAtEnd => _page >= Pages.Length;

    /// <summary>Whether nothing of the current page has been passed yet.</summary>
    public bool IsAtPageStart => !_isBegun;

    /// <summary>The current page's id.</summary>
    public ChunkId Page => Pages[_page].Id;

    /// <summary>The current node's name. Valid until the next change.</summary>
    public ReadOnlySpan<byte> Name => _isBegun ? _name : Pages[_page].FirstName;

    private (ChunkId Id, byte[] FirstName)[] Pages => _pages ?? Open();

    /// <summary>The current node. It points into the page and is valid until the next change.</summary>
    public NodePeek Peek()
    {
        Begin();
        _bytes ??= Read(Page);
        return NodePeek.Read(_bytes.AsSpan(_start, _end - _start));
    }

    /// <summary>Goes on to the next node.</summary>
    public void Next()
    {
        Begin();
        if (--_left == 0)
        {
            Leave();
            return;
        }

        _bytes ??= Read(Page);
        Enter(_end);
    }

    /// <summary>Passes the current page, of which nothing was passed yet, without reading it.</summary>
    public void SkipPage()
    {
        _previous = Pages[_page].FirstName;
        Leave();
    }

    /// <summary>Gives up the held page; it is read again when it is needed.</summary>
    public void Release() => _bytes = null;

    private (ChunkId Id, byte[] FirstName)[] Open()
    {
        byte[] bytes = Read(tree);
        PagesRead++;
        TlvReader reader = new(bytes);
        if (TreePage.ReadHead(ref reader, out int count) == TreePage.Nodes)
        {
            _bytes = bytes;
            _pages = count == 0 ? [] : [(tree, FirstName(reader.Rest))];
            return _pages;
        }

        _isList = true;
        List<(ChunkId, byte[])> pages = new(Math.Min(count, 4096));
        for (int i = 0; i < count; i++)
        {
            byte[] first = reader.ReadBlock().ToArray();
            if (pages.Count > 0 && pages[^1].Item2.AsSpan().SequenceCompareTo(first) >= 0)
            {
                throw TlvReader.Malformed("its pages are not in order");
            }

            pages.Add((reader.ReadChunkId(), first));
            reader.ReadVarint();
        }

        return _pages = [.. pages];
    }

    private static byte[] FirstName(ReadOnlySpan<byte> nodes)
    {
        TlvReader reader = new(nodes);
        return NodePeek.Read(reader.ReadBlock()).Name.ToArray();
    }

    private void Begin()
    {
        if (_isBegun)
        {
            return;
        }

        _bytes ??= Read(Page);
        PagesRead += _isList ? 1 : 0;
        TlvReader reader = new(_bytes);
        if (TreePage.ReadHead(ref reader, out _left) != TreePage.Nodes || _left == 0)
        {
            throw TlvReader.Malformed("a list of pages stands where a page should");
        }

        Enter(_bytes.Length - reader.Rest.Length);
        if (_isList && !_name.AsSpan().SequenceEqual(Pages[_page].FirstName))
        {
            throw TlvReader.Malformed("a page begins with another name than its list says");
        }

        _isBegun = true;
    }

    // Makes the node whose length stands at this offset the current one.
    private void Enter(int offset)
    {
        TlvReader reader = new(_bytes.AsSpan(offset));
        int length = reader.ReadBlock().Length;
        _end = _bytes!.Length - reader.Rest.Length;
        _start = _end - length;
        _name = NodePeek.Read(_bytes.AsSpan(_start, length)).Name.ToArray();
        if (!NodeFormat.IsName(_name))
        {
            throw TlvReader.Malformed("an entry has a name that no file may have");
        }

        if (_previous is not null && _previous.AsSpan().SequenceCompareTo(_name) >= 0)
        {
            throw TlvReader.Malformed("its entries are not in order");
        }

        _previous = _name;
    }

    private void Leave()
    {
        _page++;
        _isBegun = false;
        _bytes = null;
    }

    // A copy: what the reader gives may keep a whole frame alive.
    private byte[] Read(ChunkId page) => read(page).ToArray();
}
