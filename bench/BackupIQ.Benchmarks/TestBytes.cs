using System.Buffers.Binary;

namespace BackupIQ.Benchmarks;

/// <summary>Bytes that no codec shrinks and that are the same on every run (xorshift64*).</summary>
internal static class TestBytes
{
    /// <summary>Makes <paramref name="length"/> bytes from <paramref name="seed"/>, which is not 0.</summary>
    public static byte[] Make(int length, ulong seed)
    {
        byte[] bytes = new byte[length];
        Span<byte> word = stackalloc byte[8];
        for (int i = 0; i < length; i += 8)
        {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            BinaryPrimitives.WriteUInt64LittleEndian(word, seed * 0x2545F4914F6CDD1D);
            word[..Math.Min(8, length - i)].CopyTo(bytes.AsSpan(i));
        }

        return bytes;
    }
}
