using System.Buffers;
using System.Buffers.Binary;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Jobs.Browsing;

/// <summary>A folder, a file or another entry of a <see cref="RepositoryView"/>. It stays what it is for as long as it is held.</summary>
public sealed class ViewEntry
{
    private string? _contentTag;

    private ViewEntry(EntryInfo info) => Info = info;

    /// <summary>Name, type, owner, permissions, size, time. The path is the name alone.</summary>
    public EntryInfo Info { get; }

    /// <summary>Whether there are entries below it.</summary>
    public bool IsFolder => Info.Type == "dir";

    /// <summary>Whether it is of the view's own making, so that what is in it changes with the snapshots.</summary>
    public bool IsVirtual => Virtual is not null;

    /// <summary>Extended attributes, ACLs among them.</summary>
    public IReadOnlyList<(byte[] Name, byte[] Value)> Attributes { get; private init; } = [];

    /// <summary>Entries of one snapshot with the same number other than 0 are names of one file.</summary>
    public ulong HardLinkGroup { get; private init; }

    /// <summary>Bytes of a file without its holes.</summary>
    public ulong DataLength => Node?.Content is { Extents: { } extents, Kind: ContentKind.Extents or ContentKind.Indirect } content
        && (extents.Count > 0 || content.Kind == ContentKind.Extents)
            ? extents.Aggregate(0UL, static (sum, extent) => sum + extent.Length)
            : Info.Size;

    public uint DeviceMajor { get; private init; }

    public uint DeviceMinor { get; private init; }

    /// <summary>32 hex digits that are the same only where the content is, and for as long as the entry is the same.</summary>
    public string ContentTag => _contentTag ??= MakeContentTag();

    /// <summary>The entry in its snapshot; null for folders of the view's own making and for snapshots.</summary>
    internal Node? Node { get; private init; }

    /// <summary>The tree of a folder that is in a snapshot, or is one.</summary>
    internal ChunkId? Tree { get; private init; }

    internal VirtualFolder? Virtual { get; private init; }

    /// <summary>Whether the other is the same folder of the view's own making or the same tree, whatever its name and time.</summary>
    public bool IsSame(ViewEntry other) => Virtual == other.Virtual && Tree == other.Tree;

    internal static ViewEntry Of(Node node) => new(EntryInfo.From(node.Metadata.Name, node))
    {
        Node = node,
        Tree = node.Subtree,
        Attributes = [.. node.Metadata.ExtendedAttributes.Select(static attribute => (attribute.Name, attribute.Value))],
        HardLinkGroup = node.HardLinkGroup,
        DeviceMajor = node.Metadata.DeviceMajor,
        DeviceMinor = node.Metadata.DeviceMinor,
    };

    /// <summary>A snapshot as a folder.</summary>
    internal static ViewEntry OfSnapshot(byte[] name, SnapshotInfo snapshot) => new(Folder(name, snapshot.Time)) { Tree = SnapshotBrowser.TreeOf(snapshot) };

    internal static ViewEntry OfVirtual(byte[] name, VirtualFolder folder, DateTimeOffset time) => new(Folder(name, time)) { Virtual = folder };

    private static EntryInfo Folder(byte[] name, DateTimeOffset time) => new()
    {
        Path = name,
        Name = name,
        Type = "dir",
        Mode = 0x16d, // r-xr-xr-x
        UserId = 0,
        GroupId = 0,
        Size = 0,
        ModifiedSeconds = time.ToUnixTimeSeconds(),
        ModifiedNanoseconds = (uint)(time.Ticks % TimeSpan.TicksPerSecond * 100),
    };

    private string MakeContentTag()
    {
        ArrayBufferWriter<byte> what = new();
        if (Node?.Content is { } content)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(what.GetSpan(8), Node.Metadata.Size);
            what.Advance(8);
            what.Write(content.Inline.Span);
            foreach (ChunkReference chunk in content.Chunks)
            {
                chunk.Id.Write(what.GetSpan(ChunkId.Size));
                what.Advance(ChunkId.Size);
            }

            foreach (Extent extent in content.Extents)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(what.GetSpan(8), extent.Offset);
                what.Advance(8);
            }
        }
        else if (Tree is { } tree)
        {
            tree.Write(what.GetSpan(ChunkId.Size));
            what.Advance(ChunkId.Size);
        }

        Span<byte> digest = stackalloc byte[Blake3.DigestSize];
        Blake3.Hash(what.WrittenSpan, digest);
        return Convert.ToHexStringLower(digest[..16]);
    }
}

/// <summary>Which folder of a view's own making: <c>/</c>, <c>/snapshots</c>, <c>/hosts</c>, <c>/hosts/NAME</c>, <c>/tags</c>, <c>/tags/NAME</c>.</summary>
/// <param name="Kind">What is in it.</param>
/// <param name="Key">Of one host or tag, its name.</param>
internal sealed record VirtualFolder(VirtualKind Kind, string Key = "");

/// <summary>What is in a folder of a view's own making.</summary>
internal enum VirtualKind
{
    Root,
    Snapshots,
    Hosts,
    Host,
    Tags,
    Tag,
}
