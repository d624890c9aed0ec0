using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;

namespace BackupIQ.Repository.Packs;

/// <summary>All that is needed to fetch and open a frame.</summary>
public readonly record struct FrameReference
{
    /// <summary>The pack that holds it.</summary>
    public required PackId Pack { get; init; }

    public required PackKind Kind { get; init; }

    /// <summary>Where the sealed bytes begin in the pack.</summary>
    public required uint Offset { get; init; }

    /// <summary>Sealed bytes, the tag included.</summary>
    public required uint StoredLength { get; init; }

    /// <summary>Bytes once opened and decompressed.</summary>
    public required uint PlainLength { get; init; }

    public required Codec Codec { get; init; }

    /// <summary>The counter under which it was sealed.</summary>
    public required uint Counter { get; init; }

    /// <summary>The salt under which it was sealed.</summary>
    internal SaltRow Salt { get; init; }
}
