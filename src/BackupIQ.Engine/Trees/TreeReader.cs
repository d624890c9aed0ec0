using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>Reads metadata chunks by id: the repository's reader, or a fake in tests. What it gives is the caller's own.</summary>
public delegate ReadOnlyMemory<byte> ReadMetadata(ChunkId id);

/// <summary>
/// Reads the directories of a snapshot. Nodes come sorted by the unsigned bytes of their names, each name once; a tree that breaks this
/// is refused as corrupt. Not thread-safe.
/// </summary>
public sealed class TreeReader
{
    private readonly ReadMetadata _read;

    /// <summary>Reads through <paramref name="read"/>.</summary>
    public TreeReader(ReadMetadata read) => _read = read;

    /// <summary>The nodes of one directory, read page by page.</summary>
    /// <exception cref="CorruptDataException">A page is missing, damaged or malformed.</exception>
    public IEnumerable<Node> ReadDirectory(ChunkId tree)
    {
        byte[]? previous = null;
        foreach (ChunkId page in PagesOf(tree))
        {
            foreach (Node node in ReadPage(page))
            {
                if (previous is not null && previous.AsSpan().SequenceCompareTo(node.Metadata.Name) >= 0)
                {
                    throw TlvReader.Malformed("its entries are not in order");
                }

                previous = node.Metadata.Name;
                yield return node;
            }
        }
    }

    /// <summary>The entry of that name in a directory, or null. Of a large directory one page is read.</summary>
    /// <exception cref="CorruptDataException">A page is missing, damaged or malformed.</exception>
    public Node? Find(ChunkId tree, ReadOnlySpan<byte> name)
    {
        TlvReader reader = new(_read(tree).Span);
        ChunkId page = tree;
        if (TreePage.ReadHead(ref reader, out int count) == TreePage.List)
        {
            bool isBefore = true;
            for (int i = 0; i < count; i++)
            {
                if (reader.ReadBlock().SequenceCompareTo(name) > 0)
                {
                    break;
                }

                isBefore = false;
                page = reader.ReadChunkId();
                reader.ReadVarint();
            }

            if (isBefore)
            {
                return null;
            }
        }

        TlvReader nodes = new(_read(page).Span);
        if (TreePage.ReadHead(ref nodes, out count) != TreePage.Nodes)
        {
            throw TlvReader.Malformed("a list of pages stands where a page should");
        }

        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> raw = nodes.ReadBlock();
            int order = NodePeek.Read(raw).Name.SequenceCompareTo(name);
            if (order >= 0)
            {
                return order == 0 ? NodeFormat.Read(raw) : null;
            }
        }

        return null;
    }

    /// <summary>The pages of a directory that hold nodes: itself, or those that it lists.</summary>
    public IReadOnlyList<ChunkId> PagesOf(ChunkId tree)
    {
        TlvReader reader = new(_read(tree).Span);
        if (TreePage.ReadHead(ref reader, out int count) == TreePage.Nodes)
        {
            return [tree];
        }

        List<ChunkId> pages = new(Math.Min(count, 4096));
        for (int i = 0; i < count; i++)
        {
            reader.ReadBlock();
            pages.Add(reader.ReadChunkId());
            reader.ReadVarint();
        }

        return pages;
    }

    /// <summary>All metadata chunks that a file's content needs beside its data: those of an indirect chunk list.</summary>
    public FileContent Resolve(FileContent content)
    {
        if (content.Kind != ContentKind.Indirect)
        {
            return content;
        }

        ContentKind kind = content.Extents.Count > 0 ? ContentKind.Extents : ContentKind.Chunks;
        return new FileContent { Kind = kind, Profile = content.Profile, Extents = content.Extents, Chunks = DataChunksOf(content) };
    }

    /// <summary>The chunks of data that a file's content needs, in the order in which they are named; of a page map those of every block.</summary>
    /// <exception cref="CorruptDataException">A list of them is missing, damaged or malformed.</exception>
    public IReadOnlyList<ChunkReference> DataChunksOf(FileContent content)
    {
        if (!content.HasLists)
        {
            return content.Chunks;
        }

        List<ChunkReference> chunks = [];
        foreach (ChunkReference list in content.Chunks)
        {
            TlvReader reader = new(_read(list.Id).Span);
            chunks.AddRange(NodeFormat.ReadChunks(ref reader));
        }

        return chunks;
    }

    /// <summary>The nodes of one page.</summary>
    /// <exception cref="CorruptDataException">It is missing, damaged or malformed.</exception>
    public IReadOnlyList<Node> ReadPage(ChunkId page)
    {
        TlvReader reader = new(_read(page).Span);
        if (TreePage.ReadHead(ref reader, out int count) != TreePage.Nodes)
        {
            throw TlvReader.Malformed("a list of pages stands where a page should");
        }

        List<Node> nodes = new(Math.Min(count, 8192));
        for (int i = 0; i < count; i++)
        {
            nodes.Add(NodeFormat.Read(reader.ReadBlock()));
        }

        return nodes;
    }
}
