using System.Buffers.Binary;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;

namespace BackupIQ.Repository.Packs;

/// <summary>What a frame's seal vouches for beside its bytes: repository, kind, plain length, codec (docs/format.md, Frames).</summary>
internal static class FrameSeal
{
    public const int AssociatedDataSize = 22;

    /// <summary>The counter under which a pack's contents table is sealed; frames count up from 0 and never reach it.</summary>
    public const uint ContentsCounter = uint.MaxValue;

    public static SealPurpose PurposeOf(PackKind kind) => kind == PackKind.Data ? SealPurpose.Data : SealPurpose.Metadata;

    public static void WriteAssociatedData(Span<byte> bytes, RepositoryId repository, PackKind kind, uint plainLength, Codec codec)
    {
        repository.Write(bytes);
        bytes[16] = (byte)kind;
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[17..], plainLength);
        bytes[21] = (byte)codec;
    }

    /// <summary>The same for a contents table, which is no frame: its kind byte has the high bit set.</summary>
    public static void WriteContentsData(Span<byte> bytes, RepositoryId repository, PackKind kind, uint plainLength)
    {
        WriteAssociatedData(bytes, repository, kind, plainLength, Codec.None);
        bytes[16] |= 0x80;
    }
}
