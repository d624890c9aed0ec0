using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Verification;

/// <summary>What stands at a place of a snapshot's graph.</summary>
internal enum GraphPlace : byte
{
    /// <summary>A directory: a page of nodes or a list of pages.</summary>
    Tree,

    /// <summary>One of the pages that a directory lists.</summary>
    TreePage,

    /// <summary>A scan, likewise.</summary>
    Scan,

    ScanPage,
}

/// <summary>A metadata chunk that a snapshot's graph reaches.</summary>
internal readonly record struct GraphItem(ChunkId Id, GraphPlace Place);

/// <summary>
/// Follows the graph of snapshots, each distinct chunk of metadata once whatever the number of snapshots that share it. It only tells
/// whether all is there, and with <paramref name="proof"/> whether pages are those that were backed up; what damage means for paths is
/// <see cref="DamageTrace"/>'s question, asked only where there is some.
/// </summary>
internal sealed class GraphWorker(RepositoryCheck check, CheckProgress progress, PageProof? proof) : IDisposable
{
    private readonly CheckedChunkReader _reader = check.CreateReader();
    private readonly List<GraphItem> _children = [];

    /// <summary>Something that was followed is lost, missing or malformed.</summary>
    public bool HasMetDamage { get; private set; }

    /// <summary>A chunk was needed that nothing knows.</summary>
    public bool HasMetMissing { get; private set; }

    /// <summary>Follows one item; what it leads to is valid until the next call.</summary>
    public List<GraphItem> Follow(GraphItem item, CancellationToken cancellationToken)
    {
        _children.Clear();
        if (!check.Visit(item.Id))
        {
            return _children;
        }

        try
        {
            GraphPages.Read(_reader.Read(item.Id, cancellationToken).Span, item.Place, _children.Add, node => FollowNode(node, cancellationToken));
            progress.DirectoryDone();
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Note(e.Code == ErrorCodes.ChunkMissing);
        }

        return _children;
    }

    /// <inheritdoc/>
    public void Dispose() => _reader.Dispose();

    private void FollowNode(Node node, CancellationToken cancellationToken)
    {
        if (node.Subtree is { } subtree)
        {
            _children.Add(new GraphItem(subtree, GraphPlace.Tree));
        }

        if (node.Content is not { } content)
        {
            return;
        }

        if (!content.HasLists)
        {
            _ = Use(content.Chunks);
            return;
        }

        if (content.Kind == ContentKind.Pages)
        {
            UsePages(new PageMap(id => _reader.Read(id, cancellationToken), content, (long)node.Metadata.Size), content, cancellationToken);
            return;
        }

        foreach (ChunkReference list in content.Chunks)
        {
            if (check.Visit(list.Id))
            {
                UseList(list.Id, cancellationToken);
            }
        }
    }

    private void UseList(ChunkId list, CancellationToken cancellationToken)
    {
        try
        {
            TlvReader reader = new(_reader.Read(list, cancellationToken).Span);
            _ = Use(NodeFormat.ReadChunks(ref reader));
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Note(e.Code == ErrorCodes.ChunkMissing);
        }
    }

    private void UsePages(PageMap map, FileContent content, CancellationToken cancellationToken)
    {
        _ = Use(content.Sums, PackKind.Metadata);
        for (int n = 0; n < map.BlockCount; n++)
        {
            if (!check.Visit(content.Chunks[n].Id))
            {
                continue;
            }

            try
            {
                PageBlock block = map.ReadBlock(n);
                if (Use(block.Chunks) && proof is not null && !proof.Prove(_reader, content.Chunks[n].Id, block, map.PageSize, map.LengthOf(n), cancellationToken))
                {
                    Note(isMissing: false);
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Note(e.Code == ErrorCodes.ChunkMissing);
            }
        }
    }

    // Whether all of them are there.
    private bool Use(IReadOnlyList<ChunkReference> chunks, PackKind kind = PackKind.Data)
    {
        bool areThere = true;
        for (int i = 0; i < chunks.Count; i++)
        {
            ChunkFate fate = check.Use(kind, chunks[i].Id, chunks[i].Length);
            if (fate != ChunkFate.Present)
            {
                Note(fate == ChunkFate.Missing);
                areThere = false;
            }
        }

        return areThere;
    }

    private void Note(bool isMissing)
    {
        HasMetDamage = true;
        HasMetMissing |= isMissing;
    }
}

/// <summary>Reads the pages of trees and scans for those who follow graphs.</summary>
internal static class GraphPages
{
    /// <summary>Calls <paramref name="onItem"/> for each further page or subscan and <paramref name="onNode"/> for each node.</summary>
    /// <exception cref="CorruptDataException">It is malformed.</exception>
    public static void Read(ReadOnlySpan<byte> bytes, GraphPlace place, Action<GraphItem> onItem, Action<Node> onNode)
    {
        TlvReader reader = new(bytes);
        bool isList = TreePage.ReadHead(ref reader, out int count) == TreePage.List;
        bool isTree = place is GraphPlace.Tree or GraphPlace.TreePage;
        if (isList && (place is GraphPlace.TreePage or GraphPlace.ScanPage))
        {
            throw TlvReader.Malformed("a list of pages stands where a page should");
        }

        ReadOnlySpan<byte> previous = default;
        for (int i = 0; i < count; i++)
        {
            if (isTree && isList)
            {
                previous = InOrder(previous, reader.ReadBlock(), isFirst: i == 0);
                onItem(new GraphItem(reader.ReadChunkId(), GraphPlace.TreePage));
                reader.ReadVarint();
            }
            else if (isTree)
            {
                ReadOnlySpan<byte> block = reader.ReadBlock();
                previous = InOrder(previous, NodePeek.Read(block).Name, isFirst: i == 0);
                onNode(NodeFormat.Read(block));
            }
            else if (isList)
            {
                onItem(new GraphItem(reader.ReadChunkId(), GraphPlace.ScanPage));
            }
            else if (ScanEntry.Read(ref reader).Subscan is { } subscan)
            {
                onItem(new GraphItem(subscan, GraphPlace.Scan));
            }
        }
    }

    private static ReadOnlySpan<byte> InOrder(ReadOnlySpan<byte> previous, ReadOnlySpan<byte> name, bool isFirst) =>
        isFirst || previous.SequenceCompareTo(name) < 0 ? name : throw TlvReader.Malformed("its entries are not in order");
}
