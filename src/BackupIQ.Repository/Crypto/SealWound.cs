using System.Buffers.Binary;

namespace BackupIQ.Repository.Crypto;

/// <summary>
/// Undoes small damage to a sealed text by its own seal. GCM's tag is linear: it is the sum of all blocks, each times the hash key once for
/// every block behind it. So the difference of the right and the stored tag, divided by the hash key block by block, is at the damaged block
/// the very change. A change is believed when it leaves at least half of its block alone, which chance brings about once in four thousand
/// million damaged texts of 4 MiB; what is mended must be proven besides.
/// </summary>
internal static class SealWound
{
    private const int BlockSize = 16;
    private const int MaxChanged = 8;

    /// <summary>
    /// Mends <paramref name="sealedBytes"/> (ciphertext, then tag) where all damage lies within one of its blocks of 16 bytes, the tag among
    /// them. False: it does not, and nothing was changed.
    /// </summary>
    public static bool TryMend(FrameCipher cipher, UInt128 hashKey, ulong counter, Span<byte> sealedBytes, ReadOnlySpan<byte> associatedData)
    {
        int length = sealedBytes.Length - FrameCipher.TagSize;
        if (length < 0)
        {
            return false;
        }

        Span<byte> block = stackalloc byte[BlockSize];
        cipher.ComputeTag(counter, sealedBytes[..length], associatedData, block);
        UInt128 change = BinaryPrimitives.ReadUInt128BigEndian(block) ^ BinaryPrimitives.ReadUInt128BigEndian(sealedBytes[length..]);
        if (change == 0 || hashKey == 0)
        {
            return false;
        }

        // The tag is behind all; before it comes the block of lengths, which nobody stores; before that the text's blocks from the last on.
        if (TryApply(change, sealedBytes[length..], block))
        {
            return true;
        }

        UInt128[] table = Multiples(Invert(hashKey));
        change = Divide(change, table);
        for (int start = (length - 1) / BlockSize * BlockSize; length > 0 && start >= 0; start -= BlockSize)
        {
            change = Divide(change, table);
            if (TryApply(change, sealedBytes[start..Math.Min(start + BlockSize, length)], block))
            {
                return true;
            }
        }

        return false;
    }

    private static bool TryApply(UInt128 change, Span<byte> target, Span<byte> scratch)
    {
        BinaryPrimitives.WriteUInt128BigEndian(scratch, change);
        int changed = BlockSize - scratch.Count((byte)0);
        if (changed > MaxChanged || scratch[target.Length..].ContainsAnyExcept((byte)0))
        {
            return false;
        }

        for (int i = 0; i < target.Length; i++)
        {
            target[i] ^= scratch[i];
        }

        return true;
    }

    private static UInt128 Divide(UInt128 value, UInt128[] multiplesOfInverse)
    {
        UInt128 product = 0;
        for (int i = 0; i < BlockSize; i++)
        {
            product ^= multiplesOfInverse[(i << 8) | (byte)(value >> (120 - (8 * i)))];
        }

        return product;
    }

    // What each value of each byte adds to a product with the factor.
    private static UInt128[] Multiples(UInt128 factor)
    {
        UInt128[] table = new UInt128[BlockSize << 8];
        for (int i = 0; i < BlockSize; i++)
        {
            // The highest bit of a byte is its lowest power of x.
            for (int bit = 128; bit > 0; bit >>= 1)
            {
                table[(i << 8) | bit] = factor;
                factor = TimesX(factor);
            }

            for (int value = 1; value < 256; value++)
            {
                int lowest = value & -value;
                table[(i << 8) | value] = table[(i << 8) | (value ^ lowest)] ^ table[(i << 8) | lowest];
            }
        }

        return table;
    }

    // The power of 2^128 − 2.
    private static UInt128 Invert(UInt128 value)
    {
        UInt128 inverse = UInt128.One << 127;
        for (int i = 0; i < 127; i++)
        {
            value = Multiply(value, value);
            inverse = Multiply(inverse, value);
        }

        return inverse;
    }

    private static UInt128 Multiply(UInt128 left, UInt128 right)
    {
        UInt128 product = 0;
        for (int bit = 127; bit >= 0; bit--)
        {
            product ^= ((left >> bit) & 1) != 0 ? right : 0;
            right = TimesX(right);
        }

        return product;
    }

    private static UInt128 TimesX(UInt128 value) => (value >> 1) ^ ((value & 1) != 0 ? (UInt128)0xE1 << 120 : 0);
}
