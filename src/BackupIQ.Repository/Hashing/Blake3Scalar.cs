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
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    public static void Compress(uint* cv, byte* block, uint length, ulong counter, uint flags, uint* output)
    {
        uint* m = (uint*)block;
        uint v0 = cv[0], v1 = cv[1], v2 = cv[2], v3 = cv[3], v4 = cv[4], v5 = cv[5], v6 = cv[6], v7 = cv[7];
        uint v8 = Iv0, v9 = Iv1, v10 = Iv2, v11 = Iv3, v12 = (uint)counter, v13 = (uint)(counter >> 32), v14 = length, v15 = flags;
        ref byte s = ref MemoryMarshal.GetReference(Schedule);
        for (int round = 0; round < 7; round++)
        {
            G(ref v0, ref v4, ref v8, ref v12, m[s], m[Unsafe.Add(ref s, 1)]);
            G(ref v1, ref v5, ref v9, ref v13, m[Unsafe.Add(ref s, 2)], m[Unsafe.Add(ref s, 3)]);
            G(ref v2, ref v6, ref v10, ref v14, m[Unsafe.Add(ref s, 4)], m[Unsafe.Add(ref s, 5)]);
            G(ref v3, ref v7, ref v11, ref v15, m[Unsafe.Add(ref s, 6)], m[Unsafe.Add(ref s, 7)]);
            G(ref v0, ref v5, ref v10, ref v15, m[Unsafe.Add(ref s, 8)], m[Unsafe.Add(ref s, 9)]);
            G(ref v1, ref v6, ref v11, ref v12, m[Unsafe.Add(ref s, 10)], m[Unsafe.Add(ref s, 11)]);
            G(ref v2, ref v7, ref v8, ref v13, m[Unsafe.Add(ref s, 12)], m[Unsafe.Add(ref s, 13)]);
            G(ref v3, ref v4, ref v9, ref v14, m[Unsafe.Add(ref s, 14)], m[Unsafe.Add(ref s, 15)]);
            s = ref Unsafe.Add(ref s, 16);
        }

        Store(output, 0, cv, v0, v8);
        Store(output, 1, cv, v1, v9);
        Store(output, 2, cv, v2, v10);
        Store(output, 3, cv, v3, v11);
        Store(output, 4, cv, v4, v12);
        Store(output, 5, cv, v5, v13);
        Store(output, 6, cv, v6, v14);
        Store(output, 7, cv, v7, v15);
    }

    private static void Store(uint* output, int word, uint* cv, uint low, uint high)
    {
        output[word + 8] = high ^ cv[word];
        output[word] = low ^ high;
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
