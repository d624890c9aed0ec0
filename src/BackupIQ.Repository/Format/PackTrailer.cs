using System.Buffers.Binary;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Repository.Format;

/// <summary>
/// The last 32 bytes of a pack: where its two sealed contents tables lie, the size of the whole, a checksum of these numbers (the first 4 bytes of their BLAKE3) and the
/// magic <c>BIQE</c> (docs/format.md, Packs).
/// </summary>
internal readonly record struct PackTrailer(uint FirstTable, uint TableLength, ulong PackSize)
{
    public const int Size = 32;

    public static ReadOnlySpan<byte> Magic => "BIQE"u8;

    public uint SecondTable => FirstTable + TableLength;

    public void Write(Span<byte> bytes)
    {
        bytes[..Size].Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, FirstTable);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[4..], TableLength);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], PackSize);
        Blake3.Hash(bytes[..24], bytes.Slice(24, 4));
        Magic.CopyTo(bytes[28..]);
    }

    public static bool TryRead(ReadOnlySpan<byte> bytes, long packSize, out PackTrailer trailer)
    {
        trailer = default;
        if (bytes.Length != Size || !bytes[28..].SequenceEqual(Magic))
        {
            return false;
        }

        Span<byte> checksum = stackalloc byte[4];
        Blake3.Hash(bytes[..24], checksum);
        if (!checksum.SequenceEqual(bytes.Slice(24, 4)))
        {
            return false;
        }

        trailer = new PackTrailer(
            BinaryPrimitives.ReadUInt32LittleEndian(bytes),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]));
        return trailer.PackSize == (ulong)packSize && trailer.FirstTable + (2L * trailer.TableLength) + Size == packSize;
    }
}
