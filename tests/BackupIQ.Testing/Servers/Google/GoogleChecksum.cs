using System.Numerics;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>CRC-32C as the fakes of Google's services reckon it: byte by byte, so that the product is not compared with itself.</summary>
internal static class GoogleChecksum
{
    public static uint Of(byte[] bytes) => ~bytes.Aggregate(uint.MaxValue, static (crc, value) => BitOperations.Crc32C(crc, value));
}
