using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace BackupIQ.Repository.Parity;

/// <summary>The inner loop of Reed–Solomon: adds a multiple of one run of bytes to another.</summary>
/// <remarks>
/// A product with a constant is linear, so it is the sum of the products of the two half bytes: two tables of 16, looked up by a shuffle
/// (J. S. Plank, K. M. Greenan, E. L. Miller, "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", FAST 2013).
/// </remarks>
internal static unsafe class GaloisKernel
{
    /// <summary>target ^= source × factor, byte by byte in the field. Both have the same length and do not overlap.</summary>
    public static void MultiplyAdd(ReadOnlySpan<byte> source, byte factor, Span<byte> target) =>
        MultiplyAdd(GaloisPaths.Best, source, factor, target);

    internal static void MultiplyAdd(GaloisPath path, ReadOnlySpan<byte> source, byte factor, Span<byte> target)
    {
        if (source.Length != target.Length)
        {
            throw new ArgumentException("Source and target differ in length.", nameof(target));
        }

        if (factor == 0)
        {
            return;
        }

        fixed (byte* from = &MemoryMarshal.GetReference(source))
        fixed (byte* to = &MemoryMarshal.GetReference(target))
        {
            nint done = path switch
            {
                GaloisPath.Gfni512 => Gfni512(from, factor, to, source.Length),
                GaloisPath.Gfni256 => Gfni256(from, factor, to, source.Length),
                GaloisPath.Avx512 => Avx512(from, factor, to, source.Length),
                GaloisPath.Avx2 => Avx256(from, factor, to, source.Length),
                GaloisPath.Vector128 => Ssse3.IsSupported ? Sse(from, factor, to, source.Length) : Neon(from, factor, to, source.Length),
                _ => 0,
            };
            Scalar(source[(int)done..], factor, target[(int)done..]);
        }
    }

    private static void Scalar(ReadOnlySpan<byte> source, byte factor, Span<byte> target)
    {
        if (source.IsEmpty)
        {
            return;
        }

        Span<byte> products = stackalloc byte[256];
        for (int i = 0; i < 256; i++)
        {
            products[i] = GaloisField.Multiply((byte)i, factor);
        }

        for (int i = 0; i < source.Length; i++)
        {
            target[i] ^= products[source[i]];
        }
    }

    // Products of the factor with 0 … 15, and with 0x00, 0x10 … 0xf0.
    private static (Vector128<byte> Low, Vector128<byte> High) Tables(byte factor)
    {
        byte* low = stackalloc byte[16];
        byte* high = stackalloc byte[16];
        for (int i = 0; i < 16; i++)
        {
            low[i] = GaloisField.Multiply((byte)i, factor);
            high[i] = GaloisField.Multiply((byte)(i << 4), factor);
        }

        return (Vector128.Load(low), Vector128.Load(high));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Sse(byte* source, byte factor, byte* target, nint length)
    {
        (Vector128<byte> low, Vector128<byte> high) = Tables(factor);
        Vector128<byte> half = Vector128.Create((byte)15);
        nint i = 0;
        for (; i <= length - 16; i += 16)
        {
            Vector128<byte> x = Vector128.Load(source + i);
            Vector128<byte> product = Ssse3.Shuffle(low, x & half) ^ Ssse3.Shuffle(high, (x.AsUInt16() >> 4).AsByte() & half);
            (Vector128.Load(target + i) ^ product).Store(target + i);
        }

        return i;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Neon(byte* source, byte factor, byte* target, nint length)
    {
        (Vector128<byte> low, Vector128<byte> high) = Tables(factor);
        Vector128<byte> half = Vector128.Create((byte)15);
        nint i = 0;
        for (; i <= length - 16; i += 16)
        {
            Vector128<byte> x = Vector128.Load(source + i);
            Vector128<byte> product = AdvSimd.Arm64.VectorTableLookup(low, x & half) ^ AdvSimd.Arm64.VectorTableLookup(high, x >>> 4);
            (Vector128.Load(target + i) ^ product).Store(target + i);
        }

        return i;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Avx256(byte* source, byte factor, byte* target, nint length)
    {
        (Vector128<byte> low128, Vector128<byte> high128) = Tables(factor);
        Vector256<byte> low = Vector256.Create(low128, low128);
        Vector256<byte> high = Vector256.Create(high128, high128);
        Vector256<byte> half = Vector256.Create((byte)15);
        nint i = 0;
        for (; i <= length - 32; i += 32)
        {
            Vector256<byte> x = Vector256.Load(source + i);
            Vector256<byte> product = Avx2.Shuffle(low, x & half) ^ Avx2.Shuffle(high, (x.AsUInt16() >> 4).AsByte() & half);
            (Vector256.Load(target + i) ^ product).Store(target + i);
        }

        return i;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Avx512(byte* source, byte factor, byte* target, nint length)
    {
        (Vector128<byte> low128, Vector128<byte> high128) = Tables(factor);
        Vector512<byte> low = Vector512.Create(Vector256.Create(low128, low128), Vector256.Create(low128, low128));
        Vector512<byte> high = Vector512.Create(Vector256.Create(high128, high128), Vector256.Create(high128, high128));
        Vector512<byte> half = Vector512.Create((byte)15);
        nint i = 0;
        for (; i <= length - 64; i += 64)
        {
            Vector512<byte> x = Vector512.Load(source + i);
            Vector512<byte> product = Avx512BW.Shuffle(low, x & half) ^ Avx512BW.Shuffle(high, (x.AsUInt16() >> 4).AsByte() & half);
            (Vector512.Load(target + i) ^ product).Store(target + i);
        }

        return i;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Gfni256(byte* source, byte factor, byte* target, nint length)
    {
        Vector256<byte> by = Vector256.Create(factor);
        nint i = 0;
        for (; i <= length - 32; i += 32)
        {
            (Vector256.Load(target + i) ^ Gfni.V256.GaloisFieldMultiply(Vector256.Load(source + i), by)).Store(target + i);
        }

        return i;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static nint Gfni512(byte* source, byte factor, byte* target, nint length)
    {
        Vector512<byte> by = Vector512.Create(factor);
        nint i = 0;
        for (; i <= length - 64; i += 64)
        {
            (Vector512.Load(target + i) ^ Gfni.V512.GaloisFieldMultiply(Vector512.Load(source + i), by)).Store(target + i);
        }

        return i;
    }
}
