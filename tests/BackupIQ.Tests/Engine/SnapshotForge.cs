using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Tests.Engine;

/// <summary>Commits snapshots that no backup would make: what somebody who has the key may put into a repository.</summary>
internal sealed class SnapshotForge : IAsyncDisposable
{
    private readonly UploadSession _session;
    private readonly FrameWriter _metadata;
    private readonly FrameWriter _data;

    private SnapshotForge(UploadSession session)
    {
        _session = session;
        _metadata = session.CreateWriter(PackKind.Metadata);
        _data = session.CreateWriter(PackKind.Data);
    }

    public static async Task<SnapshotForge> OpenAsync(BackupRepository repository) =>
        new(await UploadSession.OpenAsync(repository, new UploadOptions { Hostname = "forge" }, null, TimeProvider.System, CancellationToken.None));

    /// <summary>Stores any bytes as a chunk of metadata.</summary>
    public ChunkId Metadata(ReadOnlySpan<byte> bytes) => _metadata.Write(bytes, ContentHint.Compressible);

    /// <summary>Stores any bytes as a chunk of data.</summary>
    public ChunkId Data(ReadOnlySpan<byte> bytes) => _data.Write(bytes, default);

    /// <summary>Stores a page of nodes in the order given, whatever they are called.</summary>
    public ChunkId Tree(params byte[][] nodes)
    {
        TlvWriter page = new();
        page.WriteByte(TreePage.Version);
        page.WriteByte(TreePage.Nodes);
        page.WriteVarint((ulong)nodes.Length);
        foreach (byte[] node in nodes)
        {
            page.WriteBlock(node);
        }

        return Metadata(page.Written);
    }

    /// <summary>A file with its content in the node.</summary>
    public static byte[] File(ReadOnlySpan<byte> name, ReadOnlySpan<byte> content, ulong group = 0) => Node(new Node
    {
        Metadata = new NodeMetadata { Name = name.ToArray(), Type = NodeType.File, Mode = 0x1a4, Size = (ulong)content.Length },
        Content = new FileContent { Kind = ContentKind.Inline, Inline = content.ToArray() },
        HardLinkGroup = group,
    });

    public static byte[] Link(ReadOnlySpan<byte> name, ReadOnlySpan<byte> target, ulong group = 0) => Node(new Node
    {
        Metadata = new NodeMetadata { Name = name.ToArray(), Type = NodeType.SymbolicLink, Mode = 0x1ff, LinkTarget = target.ToArray() },
        HardLinkGroup = group,
    });

    public static byte[] Folder(ReadOnlySpan<byte> name, ChunkId tree) => Node(new Node
    {
        Metadata = new NodeMetadata { Name = name.ToArray(), Type = NodeType.Directory, Mode = 0x1ed },
        Subtree = tree,
    });

    /// <summary>The bytes of a node; nothing about it is checked.</summary>
    public static byte[] Node(Node node)
    {
        TlvWriter writer = new();
        NodeFormat.Write(writer, node);
        return writer.Written.ToArray();
    }

    /// <summary>Commits a snapshot of a tree.</summary>
    public async Task<Snapshot> CommitAsync(ChunkId tree, params string[] paths)
    {
        Snapshot snapshot = new()
        {
            Id = _session.Id,
            Time = TimeProvider.System.GetUtcNow(),
            Hostname = "forge",
            Paths = paths,
            Kind = "files",
            Type = SnapshotType.Full,
            Tree = tree.ToString(),
        };
        _metadata.Flush();
        _data.Flush();
        await _session.CommitAsync(SnapshotStore.Write(snapshot), CancellationToken.None);
        return snapshot;
    }

    public async ValueTask DisposeAsync()
    {
        _metadata.Dispose();
        _data.Dispose();
        await _session.DisposeAsync();
    }
}
