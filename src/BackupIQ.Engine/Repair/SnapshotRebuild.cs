using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Repair;

/// <summary>
/// Makes the tree of a damaged snapshot again without what is lost. What can be read but may not be relied upon by a new snapshot (it stands
/// only in packs that are marked) is stored again, as a backup would. Directories that lost nothing keep their ids. One thread.
/// </summary>
internal sealed class SnapshotRebuild : IDisposable
{
    private readonly RepositoryCheck _check;
    private readonly UploadSession _session;
    private readonly CheckedChunkReader _reader;
    private readonly FrameWriter _metadata;
    private readonly FrameWriter _data;
    private readonly TlvWriter _fields = new();
    private readonly HashSet<ChunkId> _whole = [];

    public SnapshotRebuild(RepositoryCheck check, UploadSession session)
    {
        _check = check;
        _session = session;
        _reader = check.CreateReader();
        _metadata = session.CreateWriter(PackKind.Metadata);
        _data = session.CreateWriter(PackKind.Data);
    }

    /// <summary>Paths that are lost, as bytes; a folder of which a part is lost ends with a slash.</summary>
    public List<byte[]> Lost { get; } = [];

    /// <summary>Files and folders that are kept.</summary>
    public long Kept { get; private set; }

    /// <summary>
    /// The root tree without what is lost. It is the one given when nothing is. Everything is in packs when this returns, and durable after
    /// the session's next flush.
    /// </summary>
    public ChunkId Run(ChunkId root, CancellationToken cancellationToken)
    {
        Stack<Folder> open = new();
        open.Push(Open(root, null, [], cancellationToken));
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Folder folder = open.Peek();
            if (TryNext(folder, cancellationToken) is { } node)
            {
                byte[] path = [.. folder.Path, (byte)'/', .. node.Metadata.Name];
                if (node.Subtree is { } subtree && !_whole.Contains(subtree))
                {
                    open.Push(Open(subtree, node, path, cancellationToken));
                }
                else if (node.Subtree is null && !TryKeep(node, cancellationToken))
                {
                    Lost.Add(path);
                    folder.IsChanged = true;
                }
                else
                {
                    Add(folder, node);
                }

                continue;
            }

            open.Pop();
            ChunkId tree = folder.IsChanged ? folder.Builder.Finish().Tree : folder.Tree;
            if (!folder.IsChanged)
            {
                _whole.Add(folder.Tree);
            }

            if (open.Count == 0)
            {
                _metadata.Flush();
                _data.Flush();
                return tree;
            }

            Folder above = open.Peek();
            above.IsChanged |= folder.IsChanged;
            Add(above, folder.IsChanged ? With(folder.Node!, tree) : folder.Node!);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _metadata.Dispose();
        _data.Dispose();
        _reader.Dispose();
    }

    private Folder Open(ChunkId tree, Node? node, byte[] path, CancellationToken cancellationToken)
    {
        Folder folder = new(tree, node, path, new DirectoryBuilder(plain => _metadata.Write(plain, ContentHint.Compressible)));
        try
        {
            folder.Pages = Trees(cancellationToken).PagesOf(tree);
            folder.IsChanged |= !_session.Has(PackKind.Metadata, tree);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Lose(folder);
        }

        return folder;
    }

    // Page by page, so that a folder of a million entries is not held; a page that is lost costs its own entries alone.
    private Node? TryNext(Folder folder, CancellationToken cancellationToken)
    {
        while (folder.Next >= folder.Nodes.Count && folder.NextPage < folder.Pages.Count)
        {
            ChunkId page = folder.Pages[folder.NextPage++];
            folder.Nodes = [];
            folder.Next = 0;
            try
            {
                IReadOnlyList<Node> nodes = Trees(cancellationToken).ReadPage(page);
                foreach (Node node in nodes)
                {
                    if (folder.LastName is not null && folder.LastName.AsSpan().SequenceCompareTo(node.Metadata.Name) >= 0)
                    {
                        throw TlvReader.Malformed("its entries are not in order");
                    }

                    folder.LastName = node.Metadata.Name;
                }

                folder.Nodes = nodes;
                folder.IsChanged |= !_session.Has(PackKind.Metadata, page);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                Lose(folder);
            }
        }

        return folder.Next < folder.Nodes.Count ? folder.Nodes[folder.Next++] : null;
    }

    private TreeReader Trees(CancellationToken cancellationToken) => new(id => Read(PackKind.Metadata, id, -1, cancellationToken));

    private void Lose(Folder folder)
    {
        folder.IsChanged = true;
        if (!folder.HasLostPart)
        {
            folder.HasLostPart = true;
            Lost.Add([.. folder.Path, (byte)'/']);
        }
    }

    private void Add(Folder folder, Node node)
    {
        _fields.Clear();
        NodeFormat.Write(_fields, node);
        folder.Builder.Add(node.Metadata.Name, _fields.Written, default);
        Kept++;
    }

    private bool TryKeep(Node node, CancellationToken cancellationToken)
    {
        if (node.Content is not { } content)
        {
            return true;
        }

        if (!content.HasLists)
        {
            return TryKeep(PackKind.Data, content.Chunks, cancellationToken);
        }

        if (!TryKeep(PackKind.Metadata, [.. content.Chunks, .. content.Sums], cancellationToken))
        {
            return false;
        }

        foreach (ChunkReference list in content.Chunks)
        {
            TlvReader reader = new(Read(PackKind.Metadata, list.Id, list.Length, cancellationToken).Span);
            if (!TryKeep(PackKind.Data, NodeFormat.ReadChunks(ref reader), cancellationToken))
            {
                return false;
            }
        }

        return true;
    }

    private bool TryKeep(PackKind kind, IReadOnlyList<ChunkReference> chunks, CancellationToken cancellationToken)
    {
        // Nothing is stored again for a file of which a part is lost.
        for (int i = 0; i < chunks.Count; i++)
        {
            if (_check.Find(kind, chunks[i].Id, chunks[i].Length, out _) != ChunkFate.Present)
            {
                return false;
            }
        }

        for (int i = 0; i < chunks.Count; i++)
        {
            if (!_session.Has(kind, chunks[i].Id) && !TryStoreAgain(kind, chunks[i], cancellationToken))
            {
                return false;
            }
        }

        return true;
    }

    private bool TryStoreAgain(PackKind kind, ChunkReference chunk, CancellationToken cancellationToken)
    {
        try
        {
            ReadOnlyMemory<byte> plain = Read(kind, chunk.Id, chunk.Length, cancellationToken);
            (kind == PackKind.Data ? _data : _metadata).Write(plain.Span, kind == PackKind.Data ? ContentHint.Unknown : ContentHint.Compressible);
            return true;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return false;
        }
    }

    private ReadOnlyMemory<byte> Read(PackKind kind, ChunkId id, long length, CancellationToken cancellationToken) =>
        _reader.Read(kind, id, length, cancellationToken);

    private static Node With(Node node, ChunkId subtree) => new()
    {
        Metadata = node.Metadata,
        Subtree = subtree,
        HardLinkGroup = node.HardLinkGroup,
        ChangedWhileRead = node.ChangedWhileRead,
        UnknownFields = node.UnknownFields,
    };

    private sealed class Folder(ChunkId tree, Node? node, byte[] path, DirectoryBuilder builder)
    {
        public ChunkId Tree { get; } = tree;

        public Node? Node { get; } = node;

        public byte[] Path { get; } = path;

        public DirectoryBuilder Builder { get; } = builder;

        public IReadOnlyList<ChunkId> Pages { get; set; } = [];

        public int NextPage { get; set; }

        /// <summary>Of the page that is being worked through.</summary>
        public IReadOnlyList<Node> Nodes { get; set; } = [];

        public int Next { get; set; }

        public byte[]? LastName { get; set; }

        /// <summary>Some of its entries cannot be known any more.</summary>
        public bool HasLostPart { get; set; }

        /// <summary>Its tree must be written anew.</summary>
        public bool IsChanged { get; set; }
    }
}
