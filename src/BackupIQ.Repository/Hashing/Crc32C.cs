using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Hashing;

/// <summary>CRC-32C (Castagnoli, RFC 3720): against chance, not against people. Of <c>123456789</c> it is e3069283.</summary>
public static class Crc32C
{
    /// <summary>The checksum of bytes.</summary>
    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (ulong eight in MemoryMarshal.Cast<byte, ulong>(bytes))
        {
            crc = BitOperations.Crc32C(crc, BitConverter.IsLittleEndian ? eight : BinaryPrimitives.ReverseEndianness(eight));
        }

        for (int i = bytes.Length & ~7; i < bytes.Length; i++)
        {
            crc = BitOperations.Crc32C(crc, bytes[i]);
        }

        return ~crc;
    }
}
