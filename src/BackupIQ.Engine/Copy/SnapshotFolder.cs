using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Copy;

/// <summary>
/// The entries of a snapshot's folder one after the other, each with its node's own bytes and its scan entry. One page is held. What is
/// damaged is told and passed over; where the scan cannot be read its entries are empty, for it tells nothing of what is kept.
/// </summary>
internal sealed class SnapshotFolder(ReadMetadata read, ChunkId tree, ChunkId? scan)
{
    private IReadOnlyList<ChunkId>? _pages;
    private IReadOnlyList<ChunkId> _scanPages = [];
    private ReadOnlyMemory<byte> _nodes;
    private ReadOnlyMemory<byte> _scans;
    private byte[]? _previous;
    private int _page = -1;
    private int _left;
    private bool _hasScan;

    /// <summary>An entry.</summary>
    /// <param name="Node">Its node, checked.</param>
    /// <param name="Fields">The node's bytes as they stand in the page; valid until the next call.</param>
    /// <param name="Scan">Its scan entry.</param>
    public readonly record struct Item(Node Node, ReadOnlyMemory<byte> Fields, ScanEntry Scan);

    /// <summary>
    /// The next entry. False with <paramref name="damage"/>: something is lost, and the next call goes on behind it. False without: that was all.
    /// </summary>
    public bool TryReadNext(out Item item, out BackupIQException? damage)
    {
        item = default;
        damage = null;
        try
        {
            _pages ??= Open();
            while (_left == 0)
            {
                if (++_page >= _pages.Count)
                {
                    _page = _pages.Count;
                    return false;
                }

                LoadPage(_pages[_page]);
            }

            item = ReadItem();
            return true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e) || e.Code == ErrorCodes.HostileName)
        {
            // Of a node that is no node the length still holds, so the next one follows; of anything else the page is over.
            _pages ??= [];
            damage = e;
            return false;
        }
    }

    private List<ChunkId> Open()
    {
        List<ChunkId> pages = DirectoryCursor.Pages(read(tree), tree, isTree: true);
        try
        {
            _scanPages = scan is { } id ? DirectoryCursor.Pages(read(id), id, isTree: false) : [];
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            _scanPages = [];
        }

        return pages;
    }

    private void LoadPage(ChunkId page)
    {
        _left = 0;
        ReadOnlyMemory<byte> bytes = read(page);
        TlvReader reader = new(bytes.Span);
        if (TreePage.ReadHead(ref reader, out int count) != TreePage.Nodes)
        {
            throw TlvReader.Malformed("a list of pages stands where a page should");
        }

        _nodes = bytes[^reader.Rest.Length..];
        _hasScan = TryLoadScan(count);
        _left = count;
    }

    private bool TryLoadScan(int count)
    {
        if (_scanPages.Count != _pages!.Count)
        {
            return false;
        }

        try
        {
            ReadOnlyMemory<byte> bytes = read(_scanPages[_page]);
            TlvReader reader = new(bytes.Span);
            if (TreePage.ReadHead(ref reader, out int scans) != TreePage.Nodes || scans != count)
            {
                return false;
            }

            _scans = bytes[^reader.Rest.Length..];
            return true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return false;
        }
    }

    private Item ReadItem()
    {
        int left = _left;
        _left = 0;
        TlvReader reader = new(_nodes.Span);
        int length = reader.ReadBlock().Length;
        int start = _nodes.Length - reader.Rest.Length - length;
        ReadOnlyMemory<byte> fields = _nodes.Slice(start, length);
        _nodes = _nodes[(start + length)..];
        _left = left - 1;
        ScanEntry entry = _hasScan ? ReadScan() : default;
        Node node = NodeFormat.Read(fields.Span);
        if (!NodeFormat.IsName(node.Metadata.Name))
        {
            throw new BackupIQException(ErrorCodes.HostileName, "an entry's name would lead out of its folder");
        }

        if (_previous is not null && _previous.AsSpan().SequenceCompareTo(node.Metadata.Name) >= 0)
        {
            throw TlvReader.Malformed("its entries are not in order");
        }

        _previous = node.Metadata.Name;
        return node.Metadata.Type == NodeType.Directory && node.Subtree is null ? throw TlvReader.Malformed("a folder has no tree") : new Item(node, fields, entry);
    }

    private ScanEntry ReadScan()
    {
        try
        {
            TlvReader reader = new(_scans.Span);
            ScanEntry entry = ScanEntry.Read(ref reader);
            _scans = _scans[^reader.Rest.Length..];
            return entry;
        }
        catch (CorruptDataException)
        {
            _hasScan = false;
            return default;
        }
    }
}
