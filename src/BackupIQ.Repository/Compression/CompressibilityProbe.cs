using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace BackupIQ.Repository.Compression;

/// <summary>
/// Tells at some hundredths of a compression's cost whether a frame is worth compressing. It looks at the two things that Zstandard
/// lives from:
/// <list type="bullet">
/// <item>Uneven byte values: the index of coincidence (the sum of the squared counts against that of evenly spread bytes), of samples
/// spread over the frame, each by itself (a compressible part in a mix) and all together (a slight skew everywhere).</item>
/// <item>Repetition over any distance: 8-byte strings at content-defined places of the whole frame that occur again.</item>
/// </list>
/// Errs to the side of compressing: a wrong yes costs time, a wrong no costs space for good.
/// </summary>
internal static unsafe class CompressibilityProbe
{
    private const int SampleLength = 1024;
    private const int MaxSamples = 16;

    /// <summary>Below this a trial compression is cheap enough.</summary>
    private const int ShortestProbed = 16 * 1024;

    /// <summary>Anchors occur once in 4096 random bytes: a byte of this value before one whose low half is <see cref="AnchorLowHalf"/>.</summary>
    private const byte AnchorByte = 0xa5;
    private const byte AnchorLowHalf = 0x03;
    private const int AnchorTableBits = 11;

    /// <summary>So many anchors seen before mean repetition and no chance.</summary>
    private const int EnoughRepeats = 3;

    /// <summary>Whether compressing <paramref name="plain"/> is likely to pay; <paramref name="doubtful"/> asks for clearer signs.</summary>
    internal static bool LooksCompressible(ReadOnlySpan<byte> plain, bool doubtful) =>
        plain.Length < ShortestProbed || BytesAreUneven(plain, doubtful) || Repeats(plain);

    private static bool BytesAreUneven(ReadOnlySpan<byte> plain, bool doubtful)
    {
        int samples = Math.Min(MaxSamples, plain.Length / (4 * SampleLength));
        int stride = plain.Length / samples;
        Span<uint> counts = stackalloc uint[256];
        Span<uint> total = stackalloc uint[256];
        total.Clear();
        int unevenSamples = 0;
        for (int i = 0; i < samples; i++)
        {
            counts.Clear();
            Count(plain.Slice((i * stride) + ((stride - SampleLength) / 2), SampleLength), counts);

            // 1.5 of the even spread's sum is 28 standard deviations away from random bytes.
            if (SumOfSquares(counts) > EvenSum(SampleLength) * 1.5)
            {
                unevenSamples++;
            }

            Add(total, counts);
        }

        // An excess of 10 % means that an entropy coder saves about 1 %, the least that is stored compressed.
        double excess = SumOfSquares(total) / EvenSum(samples * SampleLength);
        return doubtful ? unevenSamples > samples / 8 || excess > 1.25 : unevenSamples > 0 || excess > 1.1;
    }

    /// <summary>The expected sum of squared counts of <paramref name="length"/> independent, evenly spread bytes.</summary>
    private static double EvenSum(int length) => length + ((double)length * (length - 1) / 256);

    private static void Count(ReadOnlySpan<byte> sample, Span<uint> counts)
    {
        ref uint table = ref MemoryMarshal.GetReference(counts);
        foreach (byte b in sample)
        {
            Unsafe.Add(ref table, b)++;
        }
    }

    private static double SumOfSquares(ReadOnlySpan<uint> counts)
    {
        // At most 16,384² = 2^28: a 32-bit sum holds.
        Vector<uint> sum = Vector<uint>.Zero;
        for (int i = 0; i < counts.Length; i += Vector<uint>.Count)
        {
            Vector<uint> part = new(counts[i..]);
            sum += part * part;
        }

        return Vector.Sum(sum);
    }

    private static void Add(Span<uint> total, ReadOnlySpan<uint> counts)
    {
        for (int i = 0; i < total.Length; i += Vector<uint>.Count)
        {
            (new Vector<uint>(total[i..]) + new Vector<uint>(counts[i..])).CopyTo(total[i..]);
        }
    }

    [SkipLocalsInit]
    private static bool Repeats(ReadOnlySpan<byte> plain)
    {
        ulong* seen = stackalloc ulong[1 << AnchorTableBits];
        new Span<ulong>(seen, 1 << AnchorTableBits).Clear();

        // Twice as many as random bytes have, and then some for short frames: such bytes are not random.
        int anchorsLeft = (plain.Length / 2048) + 64;
        int repeats = 0;
        Vector256<byte> anchorByte = Vector256.Create(AnchorByte);
        Vector256<byte> anchorLowHalf = Vector256.Create(AnchorLowHalf);
        Vector256<byte> lowHalf = Vector256.Create((byte)0x0f);
        fixed (byte* start = plain)
        {
            // The last positions are left out, so that a whole string follows each anchor.
            byte* end = start + plain.Length - (2 * Vector256<byte>.Count) - sizeof(ulong) - 1;
            for (byte* p = start; p < end; p += 2 * Vector256<byte>.Count)
            {
                Vector256<byte> first = Vector256.Equals(Vector256.Load(p), anchorByte)
                    & Vector256.Equals(Vector256.Load(p + 1) & lowHalf, anchorLowHalf);
                Vector256<byte> second = Vector256.Equals(Vector256.Load(p + 32), anchorByte)
                    & Vector256.Equals(Vector256.Load(p + 33) & lowHalf, anchorLowHalf);
                if ((first | second) == Vector256<byte>.Zero)
                {
                    continue;
                }

                ulong anchors = first.ExtractMostSignificantBits() | ((ulong)second.ExtractMostSignificantBits() << 32);
                for (; anchors != 0; anchors &= anchors - 1)
                {
                    ulong value = Unsafe.ReadUnaligned<ulong>(p + BitOperations.TrailingZeroCount(anchors) + 1);
                    ulong* slot = seen + ((value * 0x9e3779b97f4a7c15) >> (64 - AnchorTableBits));
                    if ((*slot == value && ++repeats == EnoughRepeats) || --anchorsLeft == 0)
                    {
                        return true;
                    }

                    *slot = value;
                }
            }
        }

        return false;
    }
}
