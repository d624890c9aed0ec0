using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static BackupIQ.Repository.Hashing.Blake3Constants;

namespace BackupIQ.Repository.Hashing;

/// <summary>The compression function of BLAKE3 in plain integers (specification, section 2.2).</summary>
internal static unsafe class Blake3Scalar
{
    /// <summary>
    /// Compresses one block of 64 bytes (zero-padded when <paramref name="length"/> is less) under <paramref name="cv"/> and writes
    /// all 16 words of output, of which the first 8 are the next chaining value. <paramref name="output"/> may be <paramref name="cv"/>
    /// only when it has room for 16 words.
    /// </summary>
    [SkipLocalsInit]
    public static void Compress(uint* cv, byte* block, uint length, ulong counter, uint flags, uint* output)
    {
        uint* m = stackalloc uint[16];
        uint* v = stackalloc uint[16];
        for (int i = 0; i < 16; i++)
        {
            m[i] = Unsafe.ReadUnaligned<uint>(block + 4 * i);
        }

        for (int i = 0; i < 8; i++)
        {
            v[i] = cv[i];
        }

        v[8] = Iv0;
        v[9] = Iv1;
        v[10] = Iv2;
        v[11] = Iv3;
        v[12] = (uint)counter;
        v[13] = (uint)(counter >> 32);
        v[14] = length;
        v[15] = flags;
        ref byte schedule = ref MemoryMarshal.GetReference(Schedule);
        for (int round = 0; round < 7; round++)
        {
            ref byte s = ref Unsafe.Add(ref schedule, 16 * round);
            G(ref v[0], ref v[4], ref v[8], ref v[12], m[s], m[Unsafe.Add(ref s, 1)]);
            G(ref v[1], ref v[5], ref v[9], ref v[13], m[Unsafe.Add(ref s, 2)], m[Unsafe.Add(ref s, 3)]);
            G(ref v[2], ref v[6], ref v[10], ref v[14], m[Unsafe.Add(ref s, 4)], m[Unsafe.Add(ref s, 5)]);
            G(ref v[3], ref v[7], ref v[11], ref v[15], m[Unsafe.Add(ref s, 6)], m[Unsafe.Add(ref s, 7)]);
            G(ref v[0], ref v[5], ref v[10], ref v[15], m[Unsafe.Add(ref s, 8)], m[Unsafe.Add(ref s, 9)]);
            G(ref v[1], ref v[6], ref v[11], ref v[12], m[Unsafe.Add(ref s, 10)], m[Unsafe.Add(ref s, 11)]);
            G(ref v[2], ref v[7], ref v[8], ref v[13], m[Unsafe.Add(ref s, 12)], m[Unsafe.Add(ref s, 13)]);
            G(ref v[3], ref v[4], ref v[9], ref v[14], m[Unsafe.Add(ref s, 14)], m[Unsafe.Add(ref s, 15)]);
        }

        for (int i = 0; i < 8; i++)
        {
            uint high = v[i + 8] ^ cv[i];
            output[i] = v[i] ^ v[i + 8];
            output[i + 8] = high;
        }
    }

    /// <summary>Runs <paramref name="blocks"/> blocks through <paramref name="cv"/>; see <see cref="Blake3Rows{TRows, TVector}.Run"/>.</summary>
    [SkipLocalsInit]
    public static void Run(uint* cv, byte* input, int blocks, byte* last, uint lastLength, ulong counter, uint flags, uint start, uint end)
    {
        uint* output = stackalloc uint[16];
        uint blockFlags = flags | start;
        for (int i = 0; i < blocks; i++)
        {
            bool isLast = i == blocks - 1;
            Compress(cv, isLast ? last : input + BlockSize * i, isLast ? lastLength : BlockSize, counter, isLast ? blockFlags | end : blockFlags, output);
            Unsafe.CopyBlockUnaligned(cv, output, DigestSize);
            blockFlags = flags;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void G(ref uint a, ref uint b, ref uint c, ref uint d, uint x, uint y)
    {
        a = a + b + x;
        d = BitOperations.RotateRight(d ^ a, 16);
        c += d;
        b = BitOperations.RotateRight(b ^ c, 12);
        a = a + b + y;
        d = BitOperations.RotateRight(d ^ a, 8);
        c += d;
        b = BitOperations.RotateRight(b ^ c, 7);
    }
}
