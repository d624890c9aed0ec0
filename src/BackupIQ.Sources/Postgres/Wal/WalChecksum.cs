using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>CRC-32C in pieces: a record's checksum goes over its data first and then over its header.</summary>
internal static class WalChecksum
{
    /// <summary>Where a checksum begins.</summary>
    public const uint Start = uint.MaxValue;

    /// <summary>Goes on over <paramref name="bytes"/>.</summary>
    public static uint Append(uint crc, ReadOnlySpan<byte> bytes)
    {
        foreach (ulong eight in MemoryMarshal.Cast<byte, ulong>(bytes))
        {
            crc = BitOperations.Crc32C(crc, BitConverter.IsLittleEndian ? eight : BinaryPrimitives.ReverseEndianness(eight));
        }

        for (int i = bytes.Length & ~7; i < bytes.Length; i++)
        {
            crc = BitOperations.Crc32C(crc, bytes[i]);
        }

        return crc;
    }

    /// <summary>The checksum as it stands in a record.</summary>
    public static uint Finish(uint crc) => ~crc;
}
