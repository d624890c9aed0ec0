using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using static BackupIQ.Repository.Hashing.Blake3Constants;

namespace BackupIQ.Repository.Hashing;

/// <summary>A vector with one word of each of <see cref="Count"/> hashes.</summary>
internal unsafe interface IBlake3Lanes<TVector>
    where TVector : unmanaged
{
    /// <summary>How many hashes run beside each other: 4, 8 or 16.</summary>
    static abstract int Count { get; }

    static abstract TVector Broadcast(uint value);

    static abstract TVector Load(uint* source);

    static abstract TVector Xor(TVector left, TVector right);

    /// <summary>
    /// One G function for every lane (specification, section 2.2). The message words come by address, so that they are operands of the
    /// additions and take no register.
    /// </summary>
    static abstract void G(ref TVector a, ref TVector b, ref TVector c, ref TVector d, TVector* x, TVector* y);

    /// <summary>16 bytes at <paramref name="offset"/> of each of the inputs 0, 4, 8 … of the list, one per 128 bits.</summary>
    static abstract TVector LoadQuarter(byte** inputs, nint offset);

    /// <summary>Writes each 128 bits <paramref name="stride"/> bytes after the one before.</summary>
    static abstract void StoreQuarter(TVector value, byte* target, nint stride);

    static abstract TVector UnpackLow32(TVector left, TVector right);

    static abstract TVector UnpackHigh32(TVector left, TVector right);

    static abstract TVector UnpackLow64(TVector left, TVector right);

    static abstract TVector UnpackHigh64(TVector left, TVector right);
}

/// <summary>
/// BLAKE3's compression by lanes: vector i holds word i of every hash, so that chunks or parents of one input are hashed side by side.
/// One text for all widths; the widths differ in <typeparamref name="TLanes"/>.
/// </summary>
/// <remarks>
/// These methods are optimised at their first call, since a short run never reaches the second tier, and never inlined: inlined into a
/// caller's second tier, the compiler ran out of budget for the G functions in one process of twenty, which made it six times slower.
/// </remarks>
internal static unsafe class Blake3Lanes<TLanes, TVector>
    where TLanes : struct, IBlake3Lanes<TVector>
    where TVector : unmanaged
{
    private const int MaxLanes = 16;

    /// <summary>
    /// Hashes up to <c>TLanes.Count</c> inputs of <paramref name="blocks"/> whole blocks each, the inputs <paramref name="stride"/> bytes
    /// apart. Input i has the counter <paramref name="counter"/> + i × <paramref name="increment"/>. The chaining values go to
    /// <paramref name="output"/>, 32 bytes each, which may overlap the inputs.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    public static void Run(
        byte* input, nint stride, int count, int blocks, uint* key, ulong counter, uint increment, uint flags, uint start, uint end, byte* output)
    {
        byte** inputs = stackalloc byte*[MaxLanes];
        uint* counters = stackalloc uint[2 * MaxLanes];
        byte* results = stackalloc byte[DigestSize * MaxLanes];

        // 16 message words and row 2 of the state; 64 bytes more allow for alignment.
        byte* room = stackalloc byte[20 * 64 + 64];
        TVector* m = (TVector*)((nuint)(room + 63) & ~(nuint)63);
        for (int i = 0; i < TLanes.Count; i++)
        {
            // Lanes without an input of their own repeat the first.
            inputs[i] = input + (i < count ? i * stride : 0);
            ulong laneCounter = counter + (ulong)i * increment;
            counters[i] = (uint)laneCounter;
            counters[MaxLanes + i] = (uint)(laneCounter >> 32);
        }

        TVector v0 = TLanes.Broadcast(key[0]);
        TVector v1 = TLanes.Broadcast(key[1]);
        TVector v2 = TLanes.Broadcast(key[2]);
        TVector v3 = TLanes.Broadcast(key[3]);
        TVector v4 = TLanes.Broadcast(key[4]);
        TVector v5 = TLanes.Broadcast(key[5]);
        TVector v6 = TLanes.Broadcast(key[6]);
        TVector v7 = TLanes.Broadcast(key[7]);
        uint blockFlags = flags | start;
        for (int block = 0; block < blocks; block++)
        {
            if (block == blocks - 1)
            {
                blockFlags |= end;
            }

            Transpose(inputs, block * BlockSize, m);
            TVector v12 = TLanes.Load(counters);
            TVector v13 = TLanes.Load(counters + MaxLanes);
            TVector v14 = TLanes.Broadcast(BlockSize);
            TVector v15 = TLanes.Broadcast(blockFlags);
            ref byte s = ref MemoryMarshal.GetReference(Schedule);
            if (TLanes.Count == MaxLanes)
            {
                TVector v8 = TLanes.Broadcast(Iv0);
                TVector v9 = TLanes.Broadcast(Iv1);
                TVector v10 = TLanes.Broadcast(Iv2);
                TVector v11 = TLanes.Broadcast(Iv3);
                for (int round = 0; round < 7; round++)
                {
                    TLanes.G(ref v0, ref v4, ref v8, ref v12, m + s, m + Unsafe.Add(ref s, 1));
                    TLanes.G(ref v1, ref v5, ref v9, ref v13, m + Unsafe.Add(ref s, 2), m + Unsafe.Add(ref s, 3));
                    TLanes.G(ref v2, ref v6, ref v10, ref v14, m + Unsafe.Add(ref s, 4), m + Unsafe.Add(ref s, 5));
                    TLanes.G(ref v3, ref v7, ref v11, ref v15, m + Unsafe.Add(ref s, 6), m + Unsafe.Add(ref s, 7));
                    TLanes.G(ref v0, ref v5, ref v10, ref v15, m + Unsafe.Add(ref s, 8), m + Unsafe.Add(ref s, 9));
                    TLanes.G(ref v1, ref v6, ref v11, ref v12, m + Unsafe.Add(ref s, 10), m + Unsafe.Add(ref s, 11));
                    TLanes.G(ref v2, ref v7, ref v8, ref v13, m + Unsafe.Add(ref s, 12), m + Unsafe.Add(ref s, 13));
                    TLanes.G(ref v3, ref v4, ref v9, ref v14, m + Unsafe.Add(ref s, 14), m + Unsafe.Add(ref s, 15));
                    s = ref Unsafe.Add(ref s, 16);
                }

                v0 = TLanes.Xor(v0, v8);
                v1 = TLanes.Xor(v1, v9);
                v2 = TLanes.Xor(v2, v10);
                v3 = TLanes.Xor(v3, v11);
            }
            else
            {
                // The state and one temporary are more than the 16 registers there are. Row 2 stays in memory by choice: it is needed
                // least often, while what the compiler would pick to spill lies on the longest path.
                m[16] = TLanes.Broadcast(Iv0);
                m[17] = TLanes.Broadcast(Iv1);
                m[18] = TLanes.Broadcast(Iv2);
                m[19] = TLanes.Broadcast(Iv3);
                for (int round = 0; round < 7; round++)
                {
                    TLanes.G(ref v0, ref v4, ref m[16], ref v12, m + s, m + Unsafe.Add(ref s, 1));
                    TLanes.G(ref v1, ref v5, ref m[17], ref v13, m + Unsafe.Add(ref s, 2), m + Unsafe.Add(ref s, 3));
                    TLanes.G(ref v2, ref v6, ref m[18], ref v14, m + Unsafe.Add(ref s, 4), m + Unsafe.Add(ref s, 5));
                    TLanes.G(ref v3, ref v7, ref m[19], ref v15, m + Unsafe.Add(ref s, 6), m + Unsafe.Add(ref s, 7));
                    TLanes.G(ref v0, ref v5, ref m[18], ref v15, m + Unsafe.Add(ref s, 8), m + Unsafe.Add(ref s, 9));
                    TLanes.G(ref v1, ref v6, ref m[19], ref v12, m + Unsafe.Add(ref s, 10), m + Unsafe.Add(ref s, 11));
                    TLanes.G(ref v2, ref v7, ref m[16], ref v13, m + Unsafe.Add(ref s, 12), m + Unsafe.Add(ref s, 13));
                    TLanes.G(ref v3, ref v4, ref m[17], ref v14, m + Unsafe.Add(ref s, 14), m + Unsafe.Add(ref s, 15));
                    s = ref Unsafe.Add(ref s, 16);
                }

                v0 = TLanes.Xor(v0, m[16]);
                v1 = TLanes.Xor(v1, m[17]);
                v2 = TLanes.Xor(v2, m[18]);
                v3 = TLanes.Xor(v3, m[19]);
            }

            v4 = TLanes.Xor(v4, v12);
            v5 = TLanes.Xor(v5, v13);
            v6 = TLanes.Xor(v6, v14);
            v7 = TLanes.Xor(v7, v15);
            blockFlags = flags;
        }

        StoreTransposed(v0, v1, v2, v3, results);
        StoreTransposed(v4, v5, v6, v7, results + 16);
        Unsafe.CopyBlockUnaligned(output, results, (uint)(DigestSize * count));
    }

    /// <summary>Word i of every input's block goes to m[i]: four columns of 16 bytes, each as 4×4 words within each 128 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose(byte** inputs, nint offset, TVector* m)
    {
        for (nint column = 0; column < 4; column++)
        {
            TVector r0 = TLanes.LoadQuarter(inputs, offset + 16 * column);
            TVector r1 = TLanes.LoadQuarter(inputs + 1, offset + 16 * column);
            TVector r2 = TLanes.LoadQuarter(inputs + 2, offset + 16 * column);
            TVector r3 = TLanes.LoadQuarter(inputs + 3, offset + 16 * column);
            TVector low01 = TLanes.UnpackLow32(r0, r1);
            TVector low23 = TLanes.UnpackLow32(r2, r3);
            TVector high01 = TLanes.UnpackHigh32(r0, r1);
            TVector high23 = TLanes.UnpackHigh32(r2, r3);
            m[4 * column] = TLanes.UnpackLow64(low01, low23);
            m[4 * column + 1] = TLanes.UnpackHigh64(low01, low23);
            m[4 * column + 2] = TLanes.UnpackLow64(high01, high23);
            m[4 * column + 3] = TLanes.UnpackHigh64(high01, high23);
        }
    }

    /// <summary>The way back: 16 bytes of each lane, 32 bytes apart.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StoreTransposed(TVector w0, TVector w1, TVector w2, TVector w3, byte* target)
    {
        TVector low01 = TLanes.UnpackLow32(w0, w1);
        TVector low23 = TLanes.UnpackLow32(w2, w3);
        TVector high01 = TLanes.UnpackHigh32(w0, w1);
        TVector high23 = TLanes.UnpackHigh32(w2, w3);
        TLanes.StoreQuarter(TLanes.UnpackLow64(low01, low23), target, 4 * DigestSize);
        TLanes.StoreQuarter(TLanes.UnpackHigh64(low01, low23), target + DigestSize, 4 * DigestSize);
        TLanes.StoreQuarter(TLanes.UnpackLow64(high01, high23), target + 2 * DigestSize, 4 * DigestSize);
        TLanes.StoreQuarter(TLanes.UnpackHigh64(high01, high23), target + 3 * DigestSize, 4 * DigestSize);
    }
}

/// <summary>Four lanes of 128 bits, on any processor that has them.</summary>
internal readonly unsafe struct Blake3Lanes128 : IBlake3Lanes<Vector128<uint>>
{
    public static int Count => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Broadcast(uint value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Load(uint* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Xor(Vector128<uint> left, Vector128<uint> right) => left ^ right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void G(
        ref Vector128<uint> a, ref Vector128<uint> b, ref Vector128<uint> c, ref Vector128<uint> d, Vector128<uint>* x, Vector128<uint>* y)
    {
        a = a + *x + b;
        d = Rotate16(d ^ a);
        Vector128<uint> sum = c + d; // c may be memory: read once, written once
        b = Rotate12(b ^ sum);
        a = a + *y + b;
        d = Rotate8(d ^ a);
        sum += d;
        c = sum;
        b = Rotate7(b ^ sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Rotate16(Vector128<uint> value) => Avx512F.VL.IsSupported
        ? Avx512F.VL.RotateRight(value, 16)
        : Vector128.Shuffle(value.AsByte(), Vector128.Create((byte)2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Rotate8(Vector128<uint> value) => Avx512F.VL.IsSupported
        ? Avx512F.VL.RotateRight(value, 8)
        : Vector128.Shuffle(value.AsByte(), Vector128.Create((byte)1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Rotate12(Vector128<uint> value) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateRight(value, 12) : (value >>> 12) | (value << 20);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Rotate7(Vector128<uint> value) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateRight(value, 7) : (value >>> 7) | (value << 25);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> LoadQuarter(byte** inputs, nint offset) => Vector128.Load((uint*)(inputs[0] + offset));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreQuarter(Vector128<uint> value, byte* target, nint stride) => value.Store((uint*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> UnpackLow32(Vector128<uint> left, Vector128<uint> right) => Sse2.IsSupported
        ? Sse2.UnpackLow(left, right)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(left, right)
        : Vector128.Create(left[0], right[0], left[1], right[1]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> UnpackHigh32(Vector128<uint> left, Vector128<uint> right) => Sse2.IsSupported
        ? Sse2.UnpackHigh(left, right)
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(left, right)
        : Vector128.Create(left[2], right[2], left[3], right[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> UnpackLow64(Vector128<uint> left, Vector128<uint> right) => Sse2.IsSupported
        ? Sse2.UnpackLow(left.AsUInt64(), right.AsUInt64()).AsUInt32()
        : Vector128.Create(left.GetLower(), right.GetLower());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> UnpackHigh64(Vector128<uint> left, Vector128<uint> right) => Sse2.IsSupported
        ? Sse2.UnpackHigh(left.AsUInt64(), right.AsUInt64()).AsUInt32()
        : Vector128.Create(left.GetUpper(), right.GetUpper());
}

/// <summary>Eight lanes of 256 bits; needs AVX2.</summary>
internal readonly unsafe struct Blake3Lanes256 : IBlake3Lanes<Vector256<uint>>
{
    public static int Count => 8;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Broadcast(uint value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Load(uint* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Xor(Vector256<uint> left, Vector256<uint> right) => left ^ right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void G(
        ref Vector256<uint> a, ref Vector256<uint> b, ref Vector256<uint> c, ref Vector256<uint> d, Vector256<uint>* x, Vector256<uint>* y)
    {
        a = a + *x + b;
        d = Rotate16(d ^ a);
        Vector256<uint> sum = c + d; // c may be memory: read once, written once
        b = Rotate12(b ^ sum);
        a = a + *y + b;
        d = Rotate8(d ^ a);
        sum += d;
        c = sum;
        b = Rotate7(b ^ sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> LoadQuarter(byte** inputs, nint offset) => Avx2.InsertVector128(
        Vector128.Load((uint*)(inputs[0] + offset)).ToVector256Unsafe(), Vector128.Load((uint*)(inputs[4] + offset)), 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreQuarter(Vector256<uint> value, byte* target, nint stride)
    {
        value.GetLower().Store((uint*)target);
        value.GetUpper().Store((uint*)(target + stride));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> UnpackLow32(Vector256<uint> left, Vector256<uint> right) => Avx2.UnpackLow(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> UnpackHigh32(Vector256<uint> left, Vector256<uint> right) => Avx2.UnpackHigh(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> UnpackLow64(Vector256<uint> left, Vector256<uint> right) =>
        Avx2.UnpackLow(left.AsUInt64(), right.AsUInt64()).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> UnpackHigh64(Vector256<uint> left, Vector256<uint> right) =>
        Avx2.UnpackHigh(left.AsUInt64(), right.AsUInt64()).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate16(Vector256<uint> value) => Avx512F.VL.IsSupported
        ? Avx512F.VL.RotateRight(value, 16)
        : Avx2.Shuffle(
            value.AsByte(),
            Vector256.Create(
                (byte)2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate8(Vector256<uint> value) => Avx512F.VL.IsSupported
        ? Avx512F.VL.RotateRight(value, 8)
        : Avx2.Shuffle(
            value.AsByte(),
            Vector256.Create(
                (byte)1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate12(Vector256<uint> value) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateRight(value, 12) : (value >>> 12) | (value << 20);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<uint> Rotate7(Vector256<uint> value) =>
        Avx512F.VL.IsSupported ? Avx512F.VL.RotateRight(value, 7) : (value >>> 7) | (value << 25);
}

/// <summary>
/// Sixteen lanes of 512 bits; needs AVX-512F. Without it every operation is emulated from its definition, so that the tests can follow
/// the logic anywhere; that is slow and never chosen by itself.
/// </summary>
internal readonly unsafe struct Blake3Lanes512 : IBlake3Lanes<Vector512<uint>>
{
    public static int Count => 16;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Broadcast(uint value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Load(uint* source) => Avx512F.IsSupported ? Avx512F.LoadVector512(source) : Vector512.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Xor(Vector512<uint> left, Vector512<uint> right) =>
        Avx512F.IsSupported ? Avx512F.Xor(left, right) : left ^ right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void G(
        ref Vector512<uint> a, ref Vector512<uint> b, ref Vector512<uint> c, ref Vector512<uint> d, Vector512<uint>* x, Vector512<uint>* y)
    {
        if (Avx512F.IsSupported)
        {
            a = Avx512F.Add(Avx512F.Add(a, *x), b);
            d = Avx512F.RotateRight(Avx512F.Xor(d, a), 16);
            c = Avx512F.Add(c, d);
            b = Avx512F.RotateRight(Avx512F.Xor(b, c), 12);
            a = Avx512F.Add(Avx512F.Add(a, *y), b);
            d = Avx512F.RotateRight(Avx512F.Xor(d, a), 8);
            c = Avx512F.Add(c, d);
            b = Avx512F.RotateRight(Avx512F.Xor(b, c), 7);
        }
        else
        {
            Vector256<uint> lowA = a.GetLower(), lowB = b.GetLower(), lowC = c.GetLower(), lowD = d.GetLower();
            Vector256<uint> highA = a.GetUpper(), highB = b.GetUpper(), highC = c.GetUpper(), highD = d.GetUpper();
            EmulateG(ref lowA, ref lowB, ref lowC, ref lowD, x->GetLower(), y->GetLower());
            EmulateG(ref highA, ref highB, ref highC, ref highD, x->GetUpper(), y->GetUpper());
            a = Vector512.Create(lowA, highA);
            b = Vector512.Create(lowB, highB);
            c = Vector512.Create(lowC, highC);
            d = Vector512.Create(lowD, highD);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> LoadQuarter(byte** inputs, nint offset)
    {
        Vector128<uint> r0 = Vector128.Load((uint*)(inputs[0] + offset));
        Vector128<uint> r1 = Vector128.Load((uint*)(inputs[4] + offset));
        Vector128<uint> r2 = Vector128.Load((uint*)(inputs[8] + offset));
        Vector128<uint> r3 = Vector128.Load((uint*)(inputs[12] + offset));
        if (Avx512F.IsSupported)
        {
            Vector512<uint> value = Avx2.InsertVector128(r0.ToVector256Unsafe(), r1, 1).ToVector512Unsafe();
            value = Avx512F.InsertVector128(value, r2, 2);
            return Avx512F.InsertVector128(value, r3, 3);
        }

        return Vector512.Create(Vector256.Create(r0, r1), Vector256.Create(r2, r3));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreQuarter(Vector512<uint> value, byte* target, nint stride)
    {
        Vector256<uint> low = value.GetLower();
        Vector256<uint> high = value.GetUpper();
        low.GetLower().Store((uint*)target);
        low.GetUpper().Store((uint*)(target + stride));
        high.GetLower().Store((uint*)(target + 2 * stride));
        high.GetUpper().Store((uint*)(target + 3 * stride));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> UnpackLow32(Vector512<uint> left, Vector512<uint> right) =>
        Avx512F.IsSupported ? Avx512F.UnpackLow(left, right) : EmulateUnpack32(left, right, 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> UnpackHigh32(Vector512<uint> left, Vector512<uint> right) =>
        Avx512F.IsSupported ? Avx512F.UnpackHigh(left, right) : EmulateUnpack32(left, right, 2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> UnpackLow64(Vector512<uint> left, Vector512<uint> right) =>
        Avx512F.IsSupported ? Avx512F.UnpackLow(left.AsUInt64(), right.AsUInt64()).AsUInt32() : EmulateUnpack64(left, right, 0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> UnpackHigh64(Vector512<uint> left, Vector512<uint> right) =>
        Avx512F.IsSupported ? Avx512F.UnpackHigh(left.AsUInt64(), right.AsUInt64()).AsUInt32() : EmulateUnpack64(left, right, 1);

    private static void EmulateG(
        ref Vector256<uint> a, ref Vector256<uint> b, ref Vector256<uint> c, ref Vector256<uint> d, Vector256<uint> x, Vector256<uint> y)
    {
        a = a + x + b;
        d = EmulateRotate(d ^ a, 16);
        c += d;
        b = EmulateRotate(b ^ c, 12);
        a = a + y + b;
        d = EmulateRotate(d ^ a, 8);
        c += d;
        b = EmulateRotate(b ^ c, 7);
    }

    private static Vector256<uint> EmulateRotate(Vector256<uint> value, int bits) => (value >>> bits) | (value << (32 - bits));

    /// <summary>VPUNPCKLDQ (first 0) and VPUNPCKHDQ (first 2), by their definition: within each 128 bits.</summary>
    private static Vector512<uint> EmulateUnpack32(Vector512<uint> left, Vector512<uint> right, int first)
    {
        uint* words = stackalloc uint[16];
        for (int i = 0; i < 16; i += 4)
        {
            words[i] = left[i + first];
            words[i + 1] = right[i + first];
            words[i + 2] = left[i + first + 1];
            words[i + 3] = right[i + first + 1];
        }

        return Vector512.Load(words);
    }

    /// <summary>VPUNPCKLQDQ (first 0) and VPUNPCKHQDQ (first 1), by their definition: within each 128 bits.</summary>
    private static Vector512<uint> EmulateUnpack64(Vector512<uint> left, Vector512<uint> right, int first)
    {
        ulong* words = stackalloc ulong[8];
        for (int i = 0; i < 8; i += 2)
        {
            words[i] = left.AsUInt64()[i + first];
            words[i + 1] = right.AsUInt64()[i + first];
        }

        return Vector512.Load(words).AsUInt32();
    }
}
