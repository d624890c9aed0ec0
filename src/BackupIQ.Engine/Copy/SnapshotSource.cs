using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Copy;

/// <summary>
/// A snapshot of another repository as the source of a backup. Its content is cut, named and sealed as the target does it, so that a copy
/// deduplicates with what is backed up there directly. What is the same as in a snapshot whose copy the target has is taken from that copy
/// unread: a file by its node, a whole folder where nothing below it changed. Whether something is the same is told by ids and bytes of the
/// source alone, never by times.
/// </summary>
internal sealed class SnapshotSource : IBackupSource
{
    private readonly Snapshot _snapshot;
    private readonly SnapshotReader _files;
    private readonly ReadMetadata _read;
    private readonly ReadMetadata _readTarget;
    private readonly IReadOnlyList<CopiedTree> _known;
    private readonly TlvWriter _fields = new();

    /// <summary>Reads a snapshot.</summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="files">Reads content; the caller's.</param>
    /// <param name="read">Reads the source's metadata chunks; called by the thread that walks.</param>
    /// <param name="readTarget">Reads the target's, likewise.</param>
    /// <param name="known">What the target has; of an entry that several have, the first one's counts.</param>
    public SnapshotSource(Snapshot snapshot, SnapshotReader files, ReadMetadata read, ReadMetadata readTarget, IReadOnlyList<CopiedTree> known)
    {
        _snapshot = snapshot;
        _files = files;
        _read = read;
        _readTarget = readTarget;
        _known = known;
    }

    /// <inheritdoc/>
    public string Kind => _snapshot.Kind;

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths => _snapshot.RawPaths ?? [.. _snapshot.Paths.Select(PathText.Bytes)];

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
    {
        Stack<Level> open = new();
        open.Push(new Level(
            null,
            new SnapshotFolder(_read, _snapshot.TreeId, _snapshot.ScanId),
            [.. _known.Select(tree => CopiedFolder.Open(_read, _readTarget, tree)).OfType<CopiedFolder>()]));
        while (open.TryPeek(out Level? level))
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (level.Folder.TryReadNext(out SnapshotFolder.Item item, out BackupIQException? damage))
            {
                (SourceEntry entry, Level? below) = Compare(level, item);
                yield return new SourceEvent(below is null ? SourceEventKind.Leaf : SourceEventKind.Enter, entry, null);
                if (below is not null)
                {
                    open.Push(below);
                }
            }
            else if (damage is not null)
            {
                byte[] path = [.. level.Entry?.FullPath() ?? [], (byte)'/'];
                yield return new SourceEvent(SourceEventKind.Error, null, SnapshotSourceFile.Damaged(path, damage));
            }
            else
            {
                open.Pop();
                if (open.Count > 0)
                {
                    yield return new SourceEvent(SourceEventKind.Leave, level.Entry, null);
                }
            }
        }
    }

    /// <inheritdoc/>
    public NodeMetadata Describe(SourceEntry entry) => entry.Original!.Metadata;

    /// <inheritdoc/>
    public ISourceFile Open(SourceEntry entry) => SnapshotSourceFile.Open(_files, entry);

    /// <inheritdoc/>
    public void Dispose()
    {
        // The readers are the caller's.
    }

    // The entry, with what the target has of it; and for a folder that must be walked into, that.
    private (SourceEntry Entry, Level? Below) Compare(Level level, in SnapshotFolder.Item item)
    {
        Node node = item.Node;
        StoredNode? stored = null;
        KnownChunks? chunks = null;
        ParentPages? pages = null;
        List<CopiedFolder> below = [];
        foreach (CopiedFolder known in level.Known)
        {
            if (!known.Seek(node.Metadata.Name, out NodePeek original, out ScanEntry originalScan, out NodePeek copy, out ScanEntry copyScan)
                || original.Type != node.Metadata.Type)
            {
                continue;
            }

            bool isSame = item.Fields.Span.SequenceEqual(original.Raw);
            if (node.Metadata.Type == NodeType.Directory)
            {
                if (isSame && known.IsVouchedFor && item.Scan == originalScan)
                {
                    stored = new StoredNode(copy.Raw.ToArray(), copyScan);
                    break;
                }

                if (known.Enter(original, originalScan, copy, copyScan) is { } folder)
                {
                    below.Add(folder);
                }
            }
            else if (isSame)
            {
                stored = new StoredNode(copy.Raw.ToArray(), item.Scan);
                break;
            }
            else if (node.Content is not null && !original.Stream.IsEmpty && node.Metadata.Size == original.Size && HasStream(item.Fields.Span, original.Stream))
            {
                // The same content under another mode, owner or time.
                stored = new StoredNode(WithContent(node, NodeFormat.ReadStream(copy.Stream)), item.Scan);
                break;
            }
            else if (chunks is null && node.Content is { } content && !original.Stream.IsEmpty && !copy.Stream.IsEmpty)
            {
                FileContent copied = NodeFormat.ReadStream(copy.Stream);
                chunks = FindChunks(content, NodeFormat.ReadStream(original.Stream), copied);
                pages ??= ParentPages.Of(copied, copy.Size);
            }
        }

        SourceEntry entry = EntryOf(level, item, stored, chunks, pages);
        return node.Metadata.Type != NodeType.Directory || stored is not null
            ? (entry, null)
            : (entry, new Level(entry, new SnapshotFolder(_read, node.Subtree!.Value, item.Scan.Subscan), below));
    }

    private static bool HasStream(ReadOnlySpan<byte> fields, ReadOnlySpan<byte> stream) => NodePeek.Read(fields).Stream.SequenceEqual(stream);

    // Of a file of several chunks and without holes that changed in a part. What cannot be read is no help, and told when it is needed.
    private KnownChunks? FindChunks(FileContent now, FileContent before, FileContent copied)
    {
        FileContent[] versions = [now, before, copied];
        if (versions.Any(static version => version.Kind is not (ContentKind.Chunks or ContentKind.Indirect) || version.Extents.Count > 0 || version.Chunks.Count == 0))
        {
            return null;
        }

        try
        {
            TreeReader source = new(_read);
            return KnownChunks.Find(source.Resolve(now).Chunks, source.Resolve(before).Chunks, new TreeReader(_readTarget).Resolve(copied).Chunks);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return null;
        }
    }

    private byte[] WithContent(Node node, FileContent content)
    {
        _fields.Clear();
        NodeFormat.Write(_fields, new Node
        {
            Metadata = node.Metadata,
            Content = content,
            HardLinkGroup = node.HardLinkGroup,
            ChangedWhileRead = node.ChangedWhileRead,
            UnknownFields = node.UnknownFields,
        });
        return _fields.Written.ToArray();
    }

    private static SourceEntry EntryOf(Level level, in SnapshotFolder.Item item, StoredNode? stored, KnownChunks? chunks, ParentPages? pages)
    {
        NodeMetadata metadata = item.Node.Metadata;
        bool hasHoles = item.Node.Content is { } content && (content.Kind == ContentKind.Extents || content.Extents.Count > 0);
        return new SourceEntry
        {
            Name = metadata.Name,
            Parent = level.Entry,
            Original = item.Node,
            Stored = stored,
            Known = chunks,
            Pages = pages,
            PageSize = item.Node.Content is { Kind: ContentKind.Pages } paged ? paged.PageSize : 0,
            Stat = new SourceStat
            {
                Type = metadata.Type,
                Mode = metadata.Mode,
                UserId = metadata.UserId,
                GroupId = metadata.GroupId,
                Size = metadata.Size,
                Modified = metadata.Modified,
                Changed = item.Scan.Changed,
                Inode = item.Scan.Inode,
                Device = item.Scan.Device,
                LinkCount = item.Node.HardLinkGroup == 0 ? 1u : 2u,
                DeviceMajor = metadata.DeviceMajor,
                DeviceMinor = metadata.DeviceMinor,
                Blocks = hasHoles ? 0 : (metadata.Size / 512) + 1,
            },
        };
    }

    private sealed record Level(SourceEntry? Entry, SnapshotFolder Folder, IReadOnlyList<CopiedFolder> Known);
}
