using System.Buffers.Binary;
using BackupIQ.Repository.Compression;

namespace BackupIQ.Repository.Format;

/// <summary>A frame as contents tables list it: 20 bytes (docs/format.md, Packs).</summary>
internal readonly record struct FrameEntry(uint Offset, uint StoredLength, uint PlainLength, uint Counter, Codec Codec, byte SaltRow, ushort ChunkCount)
{
    public const int Size = 20;

    /// <summary>A frame is one chunk or many small ones, never longer than the longest chunk.</summary>
    public const int MaxPlainLength = 4 << 20;

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Offset);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[4..], StoredLength);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], PlainLength);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], Counter);
        bytes[16] = (byte)Codec;
        bytes[17] = SaltRow;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[18..], ChunkCount);
    }

    public static FrameEntry Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]),
        (Codec)bytes[16],
        bytes[17],
        BinaryPrimitives.ReadUInt16LittleEndian(bytes[18..]));

    /// <summary>Whether the numbers can be a frame of a pack of <paramref name="packSize"/> bytes with <paramref name="saltRows"/> salts.</summary>
    public bool IsPlausible(long packSize, int saltRows) =>
        PlainLength is > 0 and <= MaxPlainLength && StoredLength > 16 && StoredLength <= PlainLength + 16 &&
        Offset + (long)StoredLength <= packSize && SaltRow < saltRows;
}
