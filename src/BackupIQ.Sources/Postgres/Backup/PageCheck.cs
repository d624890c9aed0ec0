using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>
/// Whether a page of a relation is what PostgreSQL wrote: its checksum (FNV-1a over 32 lanes, src/include/storage/checksum_impl.h there), or
/// without checksums what its header says of itself. A page of zeros is one that was never written.
/// </summary>
internal static class PageCheck
{
    private const int HeaderSize = 24;
    private const int ChecksumOffset = 8;
    private const int LowerOffset = 12;
    private const uint Prime = 16777619;

    private static readonly uint[] Bases =
    [
        0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
        0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
        0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
        0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
    ];

    /// <summary>Whether the page is sound.</summary>
    /// <param name="page">A whole page.</param>
    /// <param name="block">Its number in the relation's fork, over all of its files.</param>
    /// <param name="hasChecksums">Whether the server keeps checksums.</param>
    public static bool IsSound(ReadOnlySpan<byte> page, uint block, bool hasChecksums)
    {
        ushort lower = BinaryPrimitives.ReadUInt16LittleEndian(page[LowerOffset..]);
        ushort upper = BinaryPrimitives.ReadUInt16LittleEndian(page[(LowerOffset + 2)..]);
        ushort special = BinaryPrimitives.ReadUInt16LittleEndian(page[(LowerOffset + 4)..]);
        if (upper == 0)
        {
            return !page.ContainsAnyExcept((byte)0);
        }

        return hasChecksums
            ? Checksum(page, block) == BinaryPrimitives.ReadUInt16LittleEndian(page[ChecksumOffset..])
            : lower >= HeaderSize && lower <= upper && upper <= special && special <= page.Length;
    }

    /// <summary>The checksum of a page.</summary>
    public static ushort Checksum(ReadOnlySpan<byte> page, uint block)
    {
        ReadOnlySpan<Vector256<uint>> rows = MemoryMarshal.Cast<byte, Vector256<uint>>(page);
        ReadOnlySpan<Vector256<uint>> bases = MemoryMarshal.Cast<uint, Vector256<uint>>(Bases);
        Vector256<uint> a = bases[0];
        Vector256<uint> b = bases[1];
        Vector256<uint> c = bases[2];
        Vector256<uint> d = bases[3];

        // The checksum itself, the lower half of the third word, counts as zero.
        a = Mix(a, rows[0] & Vector256.Create(uint.MaxValue, uint.MaxValue, 0xFFFF0000, uint.MaxValue, uint.MaxValue, uint.MaxValue, uint.MaxValue, uint.MaxValue));
        b = Mix(b, rows[1]);
        c = Mix(c, rows[2]);
        d = Mix(d, rows[3]);
        for (int i = 4; i < rows.Length; i += 4)
        {
            a = Mix(a, rows[i]);
            b = Mix(b, rows[i + 1]);
            c = Mix(c, rows[i + 2]);
            d = Mix(d, rows[i + 3]);
        }

        for (int i = 0; i < 2; i++)
        {
            a = Mix(a, Vector256<uint>.Zero);
            b = Mix(b, Vector256<uint>.Zero);
            c = Mix(c, Vector256<uint>.Zero);
            d = Mix(d, Vector256<uint>.Zero);
        }

        Vector256<uint> all = a ^ b ^ c ^ d;
        uint result = block;
        for (int i = 0; i < Vector256<uint>.Count; i++)
        {
            result ^= all[i];
        }

        return (ushort)((result % 65535) + 1);
    }

    private static Vector256<uint> Mix(Vector256<uint> sum, Vector256<uint> value)
    {
        Vector256<uint> mixed = sum ^ value;
        return (mixed * Prime) ^ (mixed >>> 17);
    }
}
