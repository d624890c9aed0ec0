using BackupIQ.Repository;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// One entry of a directory in a snapshot: its metadata and where its content is. Directories have <see cref="Subtree"/>, files have
/// <see cref="Content"/>; other types have neither.
/// </summary>
public sealed class Node
{
    public required NodeMetadata Metadata { get; init; }

    /// <summary>The tree of a directory.</summary>
    public ChunkId? Subtree { get; init; }

    /// <summary>The unnamed stream of a file: its data.</summary>
    public FileContent? Content { get; init; }

    /// <summary>
    /// Entries of one snapshot with the same number other than 0 are hard links to one file. The number comes from the first link's
    /// path, so equal trees on two machines have equal numbers.
    /// </summary>
    public ulong HardLinkGroup { get; init; }

    /// <summary>The file changed while it was read: the content is what was read, at no single moment.</summary>
    public bool ChangedWhileRead { get; init; }

    /// <summary>Fields that this version does not know, as they were read; written back as they are.</summary>
    public ReadOnlyMemory<byte> UnknownFields { get; init; }
}

/// <summary>How a stream's bytes are kept. The numbers are written to repositories.</summary>
public enum ContentKind : byte
{
    /// <summary>The bytes stand in the node.</summary>
    Inline = 1,

    /// <summary>Chunks one after the other.</summary>
    Chunks = 2,

    /// <summary>Runs of data with holes between and after them; each run has chunks of its own.</summary>
    Extents = 3,

    /// <summary>The list of chunks was too long for the node: it is in metadata chunks, one after the other.</summary>
    Indirect = 4,

    /// <summary>A page map: blocks of it, in metadata chunks, say in which chunk each page lies (<see cref="PageBlock"/>).</summary>
    Pages = 5,
}

/// <summary>A chunk of a file: its id and its length in bytes.</summary>
public readonly record struct ChunkReference(ChunkId Id, uint Length);

/// <summary>A run of data within a sparse file, in bytes.</summary>
public readonly record struct Extent(ulong Offset, ulong Length);

/// <summary>Where a file's bytes are.</summary>
public sealed class FileContent
{
    public static readonly FileContent Empty = new() { Kind = ContentKind.Inline };

    public required ContentKind Kind { get; init; }

    /// <summary>The bytes, for <see cref="ContentKind.Inline"/>.</summary>
    public ReadOnlyMemory<byte> Inline { get; init; }

    /// <summary>
    /// For <see cref="ContentKind.Chunks"/> and <see cref="ContentKind.Extents"/>: the data's chunks in order (of all extents, one after the
    /// other; no chunk crosses the end of an extent). For <see cref="ContentKind.Indirect"/>: the metadata chunks that hold that list; for
    /// <see cref="ContentKind.Pages"/>: those that hold the map, a block each.
    /// </summary>
    public IReadOnlyList<ChunkReference> Chunks { get; init; } = [];

    /// <summary>For extents, also behind an indirection: where the data lies. Sorted, not touching, within the file's size. Empty: all from 0.</summary>
    public IReadOnlyList<Extent> Extents { get; init; } = [];

    /// <summary>The name of the chunker profile that cut the data; kept so that a later change finds the same cuts.</summary>
    public byte Profile { get; init; }

    /// <summary>For <see cref="ContentKind.Pages"/>: beside each block of the map the metadata chunk with the sums of its pages.</summary>
    public IReadOnlyList<ChunkReference> Sums { get; init; } = [];

    /// <summary>Bytes of a page, for <see cref="ContentKind.Pages"/>: a power of two from 512 to 65,536.</summary>
    public int PageSize { get; init; }

    /// <summary>Whether <see cref="Chunks"/> are metadata chunks that begin with lists of the data's chunks.</summary>
    internal bool HasLists => Kind is ContentKind.Indirect or ContentKind.Pages;
}
