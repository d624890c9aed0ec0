using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Maintenance;

/// <summary>A metadata chunk that a snapshot reaches.</summary>
internal readonly record struct ReachedChunk(ChunkId Id, GraphPart Part);

/// <summary>
/// Follows the graph of snapshots and notes what it needs, each distinct chunk of metadata once whatever the number of snapshots that share it.
/// Reads no more of a node than what it refers to, and refuses references whose form it does not know: what cannot be followed must not be
/// deleted. Hints (partial snapshots) are followed apart: what is missing of them is nobody's loss, and must not hide what is.
/// </summary>
internal sealed class ReachabilityWorker(Collector collector, PruneProgress progress, bool isHint) : IDisposable
{
    private readonly CollectionReader _reader = collector.CreateReader();
    private readonly List<ReachedChunk> _children = [];

    /// <summary>Follows one chunk; what it leads to is valid until the next call.</summary>
    /// <exception cref="BackupIQException">
    /// <c>ChunkMissing</c> or <c>CorruptData</c>: something needed is not there or malformed; not when it is a hint that is followed.
    /// </exception>
    public List<ReachedChunk> Follow(ReachedChunk item, CancellationToken cancellationToken)
    {
        _children.Clear();
        if (!collector.Need(PackKind.Metadata, item.Id, -1))
        {
            return isHint ? _children : throw Missing(item.Id);
        }

        if (!collector.Visit(item.Part, isHint, item.Id))
        {
            return _children;
        }

        progress.DirectoryDone();
        try
        {
            ReadOnlySpan<byte> bytes = _reader.Read(item.Id, cancellationToken).Span;
            switch (item.Part)
            {
                case GraphPart.Tree:
                    ReadTree(bytes);
                    break;
                case GraphPart.Scan:
                    ReadScan(bytes);
                    break;
                default:
                    TlvReader list = new(bytes);
                    UseChunks(ref list);
                    break;
            }
        }
        catch (BackupIQException e) when (isHint && DamageReading.IsDamage(e))
        {
            _children.Clear();
        }

        return _children;
    }

    /// <inheritdoc/>
    public void Dispose() => _reader.Dispose();

    private static BackupIQException Missing(ChunkId id) =>
        new(ErrorCodes.ChunkMissing, $"Chunk {id}, which a snapshot needs, is in no pack that is there; nothing may be deleted.");

    private void ReadTree(ReadOnlySpan<byte> bytes)
    {
        TlvReader reader = new(bytes);
        bool isList = TreePage.ReadHead(ref reader, out int count) == TreePage.List;
        for (int i = 0; i < count; i++)
        {
            if (isList)
            {
                reader.ReadBlock();
                _children.Add(new ReachedChunk(reader.ReadChunkId(), GraphPart.Tree));
                reader.ReadVarint();
            }
            else
            {
                ReadNode(reader.ReadBlock());
            }
        }
    }

    private void ReadNode(ReadOnlySpan<byte> node)
    {
        TlvReader reader = new(node);
        while (!reader.IsAtEnd)
        {
            byte tag = reader.ReadByte();
            ReadOnlySpan<byte> value = reader.ReadBlock();
            if (tag == NodeFormat.SubtreeTag)
            {
                TlvReader subtree = new(value);
                _children.Add(new ReachedChunk(subtree.ReadChunkId(), GraphPart.Tree));
            }
            else if (tag == NodeFormat.StreamTag)
            {
                ReadStream(value);
            }
        }
    }

    // Every stream, whatever its name.
    private void ReadStream(ReadOnlySpan<byte> value)
    {
        TlvReader reader = new(value);
        reader.ReadBlock();
        ContentKind kind = (ContentKind)reader.ReadByte();
        switch (kind)
        {
            case ContentKind.Inline:
                return;
            case ContentKind.Chunks:
                reader.ReadByte();
                UseChunks(ref reader);
                return;
            case ContentKind.Pages:
                reader.ReadByte();
                ReadLists(ref reader);
                UseChunks(ref reader, PackKind.Metadata);
                return;
            case ContentKind.Extents or ContentKind.Indirect:
                reader.ReadByte();
                for (ulong extents = reader.ReadVarint(); extents > 0; extents--)
                {
                    reader.ReadVarint();
                    reader.ReadVarint();
                }

                if (kind == ContentKind.Extents)
                {
                    UseChunks(ref reader);
                }
                else
                {
                    ReadLists(ref reader);
                }

                return;
            default:
                throw new BackupIQException(
                    ErrorCodes.UnsupportedFormat, $"A snapshot holds content of kind {(byte)kind}, which this version cannot follow; nothing may be deleted.");
        }
    }

    private void ReadLists(ref TlvReader reader)
    {
        for (ulong count = reader.ReadVarint(); count > 0; count--)
        {
            _children.Add(new ReachedChunk(reader.ReadChunkId(), GraphPart.ChunkList));
            reader.ReadVarint();
        }
    }

    private void UseChunks(ref TlvReader reader, PackKind kind = PackKind.Data)
    {
        for (ulong count = reader.ReadVarint(); count > 0; count--)
        {
            ChunkId id = reader.ReadChunkId();
            if (!collector.Need(kind, id, reader.ReadUInt32()) && !isHint)
            {
                throw Missing(id);
            }
        }
    }

    private void ReadScan(ReadOnlySpan<byte> bytes)
    {
        TlvReader reader = new(bytes);
        bool isList = TreePage.ReadHead(ref reader, out int count) == TreePage.List;
        for (int i = 0; i < count; i++)
        {
            if (isList)
            {
                _children.Add(new ReachedChunk(reader.ReadChunkId(), GraphPart.Scan));
            }
            else if (ScanEntry.Read(ref reader).Subscan is { } subscan)
            {
                _children.Add(new ReachedChunk(subscan, GraphPart.Scan));
            }
        }
    }
}
