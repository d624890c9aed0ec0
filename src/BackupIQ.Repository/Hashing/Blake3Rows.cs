using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;
using static BackupIQ.Repository.Hashing.Blake3Constants;

namespace BackupIQ.Repository.Hashing;

/// <summary>
/// A vector of one or more rows of four words: the state of one hash per 128 bits. The operations work within each 128-bit row.
/// </summary>
internal unsafe interface IBlake3Rows<TVector>
    where TVector : unmanaged
{
    /// <summary>How many hashes run beside each other.</summary>
    static abstract int Count { get; }

    /// <summary>16 bytes from each input; one input only when <see cref="Count"/> is 1.</summary>
    static abstract TVector Load(void* first, void* second);

    /// <summary>Writes what <see cref="Load"/> reads.</summary>
    static abstract void Store(TVector value, void* first, void* second);

    /// <summary>The same row for all hashes.</summary>
    static abstract TVector Broadcast(Vector128<uint> row);

    /// <summary>Row 3 of the state: counter, block length, flags; the second hash has the counter <paramref name="second"/>.</summary>
    static abstract TVector Tail(ulong first, ulong second, uint length, uint flags);

    /// <summary>Four G functions beside each other (specification, section 2.2).</summary>
    static abstract void G(ref TVector a, ref TVector b, ref TVector c, ref TVector d, TVector x, TVector y);

    static abstract TVector Xor(TVector left, TVector right);

    /// <summary>Words (1, 2, 3, 0).</summary>
    static abstract TVector Left1(TVector value);

    /// <summary>Words (2, 3, 0, 1).</summary>
    static abstract TVector Left2(TVector value);

    /// <summary>Words (3, 0, 1, 2).</summary>
    static abstract TVector Left3(TVector value);

    /// <summary>Even words of <paramref name="low"/>, then of <paramref name="high"/>.</summary>
    static abstract TVector Even(TVector low, TVector high);

    /// <summary>Odd words of <paramref name="low"/>, then of <paramref name="high"/>.</summary>
    static abstract TVector Odd(TVector low, TVector high);

    /// <summary>Brings the message words into the places of the next round; see <see cref="Blake3Rows{TRows, TVector}"/>.</summary>
    static abstract void Permute(ref TVector a, ref TVector b, ref TVector c, ref TVector d);
}

/// <summary>
/// BLAKE3's compression by rows: one hash takes one 128-bit vector per row of its state, so a single input needs no companions.
/// </summary>
/// <remarks>
/// A second half of a round works on diagonals. Rows 0, 2 and 3 are turned for it and row 1 stays, since row 1 is what comes last out of
/// the first half and turning it would lengthen the longest path. With that, the message words of a round stand in four vectors, by their
/// places in the round: A = (0, 2, 4, 6), B = (1, 3, 5, 7), C = (14, 8, 10, 12), D = (15, 9, 11, 13). The specification's permutation then
/// reads A' = (A1, B1, B3, A2), B' = (A3, C2, A0, D3), C' = (D0, B0, C3, D1), D' = (C1, D2, B2, C0).
/// </remarks>
internal static unsafe class Blake3Rows<TRows, TVector>
    where TRows : struct, IBlake3Rows<TVector>
    where TVector : unmanaged
{
    /// <summary>
    /// Runs the blocks of one chunk or parent through the chaining values at <paramref name="cv"/> (8 words for each hash) in place.
    /// The first <paramref name="blocks"/> − 1 blocks are read from the inputs. The last is read from <paramref name="last"/>, 64 bytes of
    /// which <paramref name="lastLength"/> count, when that is given (one hash only), else from the inputs too.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    public static void Run(
        uint* cv, byte* first, byte* second, int blocks, byte* last, uint lastLength, ulong counter, ulong secondCounter, uint flags, uint start, uint end)
    {
        TVector cv0 = TRows.Load(cv, cv + 8);
        TVector cv1 = TRows.Load(cv + 4, cv + 12);
        uint blockFlags = flags | start;
        uint length = BlockSize;
        for (int i = 1; i <= blocks; i++)
        {
            if (i == blocks)
            {
                blockFlags |= end;
                if (last != null)
                {
                    first = last;
                    length = lastLength;
                }
            }

            TVector low = TRows.Load(first, second);
            TVector high = TRows.Load(first + 16, second + 16);
            TVector a = TRows.Even(low, high);
            TVector b = TRows.Odd(low, high);
            low = TRows.Load(first + 32, second + 32);
            high = TRows.Load(first + 48, second + 48);
            TVector c = TRows.Left3(TRows.Even(low, high));
            TVector d = TRows.Left3(TRows.Odd(low, high));

            TVector v0 = cv0;
            TVector v1 = cv1;
            TVector v2 = TRows.Broadcast(Vector128.Create(Iv0, Iv1, Iv2, Iv3));
            TVector v3 = TRows.Tail(counter, secondCounter, length, blockFlags);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            TRows.Permute(ref a, ref b, ref c, ref d);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            TRows.Permute(ref a, ref b, ref c, ref d);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            TRows.Permute(ref a, ref b, ref c, ref d);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            TRows.Permute(ref a, ref b, ref c, ref d);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            TRows.Permute(ref a, ref b, ref c, ref d);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            TRows.Permute(ref a, ref b, ref c, ref d);
            Round(ref v0, ref v1, ref v2, ref v3, a, b, c, d);
            cv0 = TRows.Xor(v0, v2);
            cv1 = TRows.Xor(v1, v3);

            first += BlockSize;
            second += BlockSize;
            blockFlags = flags;
        }

        TRows.Store(cv0, cv, cv + 8);
        TRows.Store(cv1, cv + 4, cv + 12);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Round(ref TVector v0, ref TVector v1, ref TVector v2, ref TVector v3, TVector a, TVector b, TVector c, TVector d)
    {
        TRows.G(ref v0, ref v1, ref v2, ref v3, a, b);
        v0 = TRows.Left3(v0);
        v2 = TRows.Left1(v2);
        v3 = TRows.Left2(v3);
        TRows.G(ref v0, ref v1, ref v2, ref v3, c, d);
        v0 = TRows.Left1(v0);
        v2 = TRows.Left3(v2);
        v3 = TRows.Left2(v3);
    }
}

/// <summary>One hash in 128-bit vectors, on any processor that has them.</summary>
internal readonly unsafe struct Blake3Rows128 : IBlake3Rows<Vector128<uint>>
{
    public static int Count => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Load(void* first, void* second) => Vector128.Load((uint*)first);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<uint> value, void* first, void* second) => value.Store((uint*)first);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Broadcast(Vector128<uint> row) => row;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Tail(ulong first, ulong second, uint length, uint flags) =>
        Vector128.Create(first, length | ((ulong)flags << 32)).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void G(
        ref Vector128<uint> a, ref Vector128<uint> b, ref Vector128<uint> c, ref Vector128<uint> d, Vector128<uint> x, Vector128<uint> y)
    {
        a = a + x + b;
        d = Blake3Lanes128.Rotate16(d ^ a);
        c += d;
        b = Blake3Lanes128.Rotate12(b ^ c);
        a = a + y + b;
        d = Blake3Lanes128.Rotate8(d ^ a);
        c += d;
        b = Blake3Lanes128.Rotate7(b ^ c);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Xor(Vector128<uint> left, Vector128<uint> right) => left ^ right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Left1(Vector128<uint> value) => Vector128.Shuffle(value, Vector128.Create(1u, 2, 3, 0));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Left2(Vector128<uint> value) => Vector128.Shuffle(value, Vector128.Create(2u, 3, 0, 1));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Left3(Vector128<uint> value) => Vector128.Shuffle(value, Vector128.Create(3u, 0, 1, 2));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Even(Vector128<uint> low, Vector128<uint> high) => Sse.IsSupported
        ? Sse.Shuffle(low.AsSingle(), high.AsSingle(), 0b10_00_10_00).AsUInt32()
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.UnzipEven(low, high)
        : Vector128.Create(low[0], low[2], high[0], high[2]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<uint> Odd(Vector128<uint> low, Vector128<uint> high) => Sse.IsSupported
        ? Sse.Shuffle(low.AsSingle(), high.AsSingle(), 0b11_01_11_01).AsUInt32()
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.UnzipOdd(low, high)
        : Vector128.Create(low[1], low[3], high[1], high[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Permute(ref Vector128<uint> a, ref Vector128<uint> b, ref Vector128<uint> c, ref Vector128<uint> d)
    {
        Vector128<uint> nextA;
        Vector128<uint> nextB;
        Vector128<uint> nextC;
        Vector128<uint> nextD;
        if (Sse2.IsSupported)
        {
            Vector128<float> cdHigh = Sse2.UnpackHigh(c, d).AsSingle(); // C2 D2 C3 D3
            Vector128<float> bdLow = Sse2.UnpackLow(b, d).AsSingle(); // B0 D0 B1 D1
            nextA = Sse2.Shuffle(Sse.Shuffle(a.AsSingle(), b.AsSingle(), 0b11_01_10_01).AsUInt32(), 0b01_11_10_00); // A1 A2 B1 B3
            nextB = Sse2.Shuffle(Sse.Shuffle(a.AsSingle(), cdHigh, 0b11_00_00_11).AsUInt32(), 0b11_01_10_00); // A3 A0 C2 D3
            nextC = Sse.Shuffle(bdLow, Sse.Shuffle(cdHigh, bdLow, 0b11_11_10_10), 0b10_00_00_01).AsUInt32(); // C3 C3 D1 D1
            Vector128<float> db = Sse.Shuffle(cdHigh, b.AsSingle(), 0b10_10_01_01); // D2 D2 B2 B2
            nextD = Sse2.Shuffle(Sse.Shuffle(c.AsSingle(), db, 0b10_00_00_01).AsUInt32(), 0b01_11_10_00); // C1 C0 D2 B2
        }
        else if (AdvSimd.Arm64.IsSupported)
        {
            nextA = Table(a, b, 1, 5, 7, 2);
            nextB = Table(Table(a, c, 3, 6, 0, 0), d, 0, 1, 2, 7);
            nextC = Table(Table(d, b, 0, 4, 0, 1), c, 0, 1, 7, 3);
            nextD = Table(Table(c, d, 1, 6, 0, 0), b, 0, 1, 6, 2);
        }
        else
        {
            nextA = Vector128.Create(a[1], b[1], b[3], a[2]);
            nextB = Vector128.Create(a[3], c[2], a[0], d[3]);
            nextC = Vector128.Create(d[0], b[0], c[3], d[1]);
            nextD = Vector128.Create(c[1], d[2], b[2], c[0]);
        }

        a = nextA;
        b = nextB;
        c = nextC;
        d = nextD;
    }

    /// <summary>Words of the pair (<paramref name="low"/>, <paramref name="high"/>), numbered 0 to 7.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Table(Vector128<uint> low, Vector128<uint> high, uint w0, uint w1, uint w2, uint w3) =>
        AdvSimd.Arm64.VectorTableLookup(
            (low.AsByte(), high.AsByte()),
            (Vector128.Create(w0, w1, w2, w3) * 0x04040404u + Vector128.Create(0x03020100u)).AsByte()).AsUInt32();
}

/// <summary>Two hashes in AVX2 vectors, for the time of one.</summary>
internal readonly unsafe struct Blake3Rows256 : IBlake3Rows<Vector256<uint>>
{
    public static int Count => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Load(void* first, void* second) =>
        Avx2.InsertVector128(Vector128.Load((uint*)first).ToVector256Unsafe(), Vector128.Load((uint*)second), 1);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<uint> value, void* first, void* second)
    {
        value.GetLower().Store((uint*)first);
        value.GetUpper().Store((uint*)second);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Broadcast(Vector128<uint> row) => Vector256.Create(row, row);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Tail(ulong first, ulong second, uint length, uint flags)
    {
        ulong high = length | ((ulong)flags << 32);
        return Vector256.Create(first, high, second, high).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void G(
        ref Vector256<uint> a, ref Vector256<uint> b, ref Vector256<uint> c, ref Vector256<uint> d, Vector256<uint> x, Vector256<uint> y) =>
        Blake3Lanes256.G(ref a, ref b, ref c, ref d, &x, &y);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Xor(Vector256<uint> left, Vector256<uint> right) => left ^ right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Left1(Vector256<uint> value) => Avx2.Shuffle(value, 0b00_11_10_01);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Left2(Vector256<uint> value) => Avx2.Shuffle(value, 0b01_00_11_10);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Left3(Vector256<uint> value) => Avx2.Shuffle(value, 0b10_01_00_11);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Even(Vector256<uint> low, Vector256<uint> high) =>
        Avx.Shuffle(low.AsSingle(), high.AsSingle(), 0b10_00_10_00).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Odd(Vector256<uint> low, Vector256<uint> high) =>
        Avx.Shuffle(low.AsSingle(), high.AsSingle(), 0b11_01_11_01).AsUInt32();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Permute(ref Vector256<uint> a, ref Vector256<uint> b, ref Vector256<uint> c, ref Vector256<uint> d)
    {
        Vector256<float> cdHigh = Avx2.UnpackHigh(c, d).AsSingle(); // C2 D2 C3 D3
        Vector256<float> bdLow = Avx2.UnpackLow(b, d).AsSingle(); // B0 D0 B1 D1
        Vector256<uint> nextA = Avx2.Shuffle(Avx.Shuffle(a.AsSingle(), b.AsSingle(), 0b11_01_10_01).AsUInt32(), 0b01_11_10_00);
        Vector256<uint> nextB = Avx2.Shuffle(Avx.Shuffle(a.AsSingle(), cdHigh, 0b11_00_00_11).AsUInt32(), 0b11_01_10_00);
        Vector256<uint> nextC = Avx.Shuffle(bdLow, Avx.Shuffle(cdHigh, bdLow, 0b11_11_10_10), 0b10_00_00_01).AsUInt32();
        Vector256<float> db = Avx.Shuffle(cdHigh, b.AsSingle(), 0b10_10_01_01);
        Vector256<uint> nextD = Avx2.Shuffle(Avx.Shuffle(c.AsSingle(), db, 0b10_00_00_01).AsUInt32(), 0b01_11_10_00);
        a = nextA;
        b = nextB;
        c = nextC;
        d = nextD;
    }
}
