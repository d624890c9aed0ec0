using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;

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

    /// <summary>A frame as its pack's contents table or the index lists it, with the salt that its row names.</summary>
    internal static FrameReference Of(PackId pack, PackKind kind, in FrameEntry frame, in SaltRow salt) => new()
    {
        Pack = pack,
        Kind = kind,
        Offset = frame.Offset,
        StoredLength = frame.StoredLength,
        PlainLength = frame.PlainLength,
        Codec = frame.Codec,
        Counter = frame.Counter,
        Salt = salt,
    };
}
