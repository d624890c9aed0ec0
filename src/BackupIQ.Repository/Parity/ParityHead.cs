using System.Buffers.Binary;
using System.Numerics;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Repository.Parity;

/// <summary>
/// What stands at both ends of a parity object (docs/format.md, Parity): the cut, the object's name of bytes, and a checksum of every block
/// of object and parity, by which those that are damaged are known.
/// </summary>
/// <param name="Layout">The cut.</param>
/// <param name="Hash">The BLAKE3-256 of the object, which a mended one must have.</param>
/// <param name="Checksums">CRC-32C of the data blocks, then of the parity blocks.</param>
internal sealed record ParityHead(ParityLayout Layout, PackId Hash, uint[] Checksums)
{
    private const int FixedSize = 64;
    private const int DigestSize = 8;
    private const int EndSize = 8;

    public int Size => SizeFor(Layout);

    public ReadOnlySpan<uint> DataChecksums => Checksums.AsSpan(0, Layout.DataBlocks);

    public ReadOnlySpan<uint> ParityChecksums => Checksums.AsSpan(Layout.DataBlocks);

    private static ReadOnlySpan<byte> Magic => "BIQR"u8;

    private static ReadOnlySpan<byte> EndMagic => "RQIB"u8;

    /// <summary>Bytes of the head of a parity of this cut.</summary>
    public static int SizeFor(in ParityLayout layout) =>
        checked(FixedSize + (4 * (layout.DataBlocks + layout.ParityBlocks)) + DigestSize + EndSize);

    /// <summary>Bytes of the whole parity object: the head twice, and between them the parity blocks.</summary>
    public static long ObjectSizeFor(in ParityLayout layout) => (2L * SizeFor(layout)) + layout.ParityBytes;

    public byte[] ToBytes()
    {
        byte[] bytes = new byte[Size];
        Span<byte> span = bytes;
        Magic.CopyTo(span);
        bytes[4] = 1;
        bytes[5] = (byte)BitOperations.Log2((uint)Layout.BlockSize);
        bytes[6] = (byte)Layout.DataShards;
        bytes[7] = (byte)Layout.ParityShards;
        BinaryPrimitives.WriteInt32LittleEndian(span[8..], Layout.Columns);
        BinaryPrimitives.WriteInt32LittleEndian(span[12..], bytes.Length);
        BinaryPrimitives.WriteInt64LittleEndian(span[16..], Layout.Size);
        Hash.Write(span[24..]);
        for (int i = 0; i < Checksums.Length; i++)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(span[(FixedSize + (4 * i))..], Checksums[i]);
        }

        int end = bytes.Length - DigestSize - EndSize;
        Blake3.Hash(span[..end], span.Slice(end, DigestSize));
        BinaryPrimitives.WriteInt32LittleEndian(span[(end + DigestSize)..], bytes.Length);
        EndMagic.CopyTo(span[(end + DigestSize + 4)..]);
        return bytes;
    }

    /// <summary>How long the head is that begins with these 16 bytes; 0 when none does.</summary>
    public static int PeekSizeAtStart(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 16 && bytes.StartsWith(Magic) ? PlausibleSize(BinaryPrimitives.ReadInt32LittleEndian(bytes[12..])) : 0;

    /// <summary>How long the head is that ends with these 8 bytes; 0 when none does.</summary>
    public static int PeekSizeAtEnd(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= EndSize && bytes[^4..].SequenceEqual(EndMagic) ? PlausibleSize(BinaryPrimitives.ReadInt32LittleEndian(bytes[^8..])) : 0;

    /// <summary>Reads a head and checks every number of it. Null: it is damaged, or of a newer version.</summary>
    public static ParityHead? Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < FixedSize + DigestSize + EndSize || !bytes.StartsWith(Magic) || bytes[4] != 1 || bytes[5] > 30)
        {
            return null;
        }

        ParityLayout layout = new(
            BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]), 1 << bytes[5], BinaryPrimitives.ReadInt32LittleEndian(bytes[8..]), bytes[6], bytes[7]);
        Span<byte> digest = stackalloc byte[DigestSize];
        Blake3.Hash(bytes[..^(DigestSize + EndSize)], digest);
        if (!digest.SequenceEqual(bytes[^(DigestSize + EndSize)..^EndSize]) || !layout.IsPlausible() || SizeFor(layout) != bytes.Length)
        {
            return null;
        }

        uint[] checksums = new uint[layout.DataBlocks + layout.ParityBlocks];
        for (int i = 0; i < checksums.Length; i++)
        {
            checksums[i] = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(FixedSize + (4 * i))..]);
        }

        return new ParityHead(layout, PackId.Read(bytes[24..]), checksums);
    }

    // The largest object has 2^20 blocks of 4 KiB and as many of parity.
    private static int PlausibleSize(int size) => size is > FixedSize + DigestSize + EndSize and <= 1 << 24 ? size : 0;
}
