using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using static BackupIQ.Repository.Hashing.Blake3Constants;

namespace BackupIQ.Repository.Hashing;

/// <summary>
/// BLAKE3's tree (specification, sections 2.1 and 2.4): chunks of 1 KiB are the leaves, the left side of every parent is a complete tree
/// of the largest power of two of chunks that leaves something for the right. Chaining values are 32 bytes each. Words are stored as the
/// processor stores them, so only little-endian processors are served; .NET runs on few others.
/// </summary>
internal static unsafe class Blake3Tree
{
    /// <summary>A subtree's level is cut down to at most so many chaining values, one vector of the widest path.</summary>
    private const int MaxWidth = 16;

    /// <summary>Hashes the whole of an input and writes <paramref name="length"/> bytes of digest.</summary>
    [SkipLocalsInit]
    public static void Hash(Blake3Path path, byte* input, nuint size, uint* key, uint flags, byte* digest, nuint length)
    {
        if (size <= ChunkSize)
        {
            HashSingle(path, input, (int)size, key, flags, digest, length);
            return;
        }

        byte* pair = stackalloc byte[2 * DigestSize];
        HashSubtreeToPair(path, input, size, key, 0, flags, pair);
        FinishRoot(path, key, pair, BlockSize, 0, flags | Parent, digest, length);
    }

    /// <summary>The two chaining values under the top parent of a subtree of more than one chunk.</summary>
    [SkipLocalsInit]
    public static void HashSubtreeToPair(Blake3Path path, byte* input, nuint size, uint* key, ulong counter, uint flags, byte* pair)
    {
        byte* values = stackalloc byte[MaxWidth * DigestSize];
        int count = HashSubtree(path, input, size, key, counter, flags, values);
        while (count > 2)
        {
            count = HashParents(path, values, count, key, flags, values);
        }

        Unsafe.CopyBlockUnaligned(pair, values, 2 * DigestSize);
    }

    /// <summary>The chaining value of one chunk that is not the root; an empty input has one chunk of no bytes.</summary>
    public static void HashChunk(Blake3Path path, byte* input, int size, uint* key, ulong counter, uint flags, byte* output)
    {
        Unsafe.CopyBlockUnaligned(output, key, DigestSize);
        RunChunk(path, (uint*)output, input, size, counter, flags, ChunkStart, ChunkEnd);
    }

    /// <summary>
    /// Runs <paramref name="size"/> bytes, 0 to 1024, through a chunk's chaining value. <paramref name="start"/> is set on the first block,
    /// <paramref name="end"/> on the last, which is padded with zeros.
    /// </summary>
    [SkipLocalsInit]
    public static void RunChunk(Blake3Path path, uint* cv, byte* input, int size, ulong counter, uint flags, uint start, uint end)
    {
        byte* padded = stackalloc byte[BlockSize];
        int blocks = Math.Max(1, (size + BlockSize - 1) / BlockSize);
        int lastLength = size - BlockSize * (blocks - 1);
        byte* last = input + BlockSize * (blocks - 1);
        if (lastLength < BlockSize)
        {
            last = Pad(padded, last, lastLength);
        }

        RunBlocks(path, cv, input, blocks, last, (uint)lastLength, counter, flags, start, end);
    }

    /// <summary>Runs blocks of one chunk or parent through <paramref name="cv"/>; the last one is read from <paramref name="last"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void RunBlocks(
        Blake3Path path, uint* cv, byte* input, int blocks, byte* last, uint lastLength, ulong counter, uint flags, uint start, uint end)
    {
        if (path == Blake3Path.Scalar)
        {
            Blake3Scalar.Run(cv, input, blocks, last, lastLength, counter, flags, start, end);
        }
        else
        {
            Blake3Rows<Blake3Rows128, Vector128<uint>>.Run(cv, input, null, blocks, last, lastLength, counter, 0, flags, start, end);
        }
    }

    /// <summary>
    /// The root's output: its last block again with the root flag and a counter for every 64 bytes (specification, section 2.6).
    /// <paramref name="block"/> has 64 bytes, zero-padded.
    /// </summary>
    [SkipLocalsInit]
    public static void FinishRoot(
        Blake3Path path, uint* cv, byte* block, uint blockLength, ulong firstOutputBlock, uint flags, byte* digest, nuint length)
    {
        uint* output = stackalloc uint[16];
        if (firstOutputBlock == 0 && length <= DigestSize)
        {
            Unsafe.CopyBlockUnaligned(output, cv, DigestSize);
            RunBlocks(path, output, null, 1, block, blockLength, 0, flags | Root, 0, 0);
            Unsafe.CopyBlockUnaligned(digest, output, (uint)length);
            return;
        }

        for (ulong counter = firstOutputBlock; length > 0; counter++)
        {
            Blake3Scalar.Compress(cv, block, blockLength, counter, flags | Root, output);
            nuint part = Math.Min(length, BlockSize);
            Unsafe.CopyBlockUnaligned(digest, output, (uint)part);
            digest += part;
            length -= part;
        }
    }

    /// <summary>Hashes <paramref name="count"/> pairs' parents; an odd value at the end is carried over. Returns how many values are left.</summary>
    public static int HashParents(Blake3Path path, byte* values, int count, uint* key, uint flags, byte* output)
    {
        int parents = count / 2;
        HashMany(path, values, BlockSize, parents, 1, key, 0, 0, flags | Parent, 0, 0, output);
        if ((count & 1) != 0)
        {
            Unsafe.CopyBlockUnaligned(output + DigestSize * parents, values + DigestSize * (count - 1), DigestSize);
            parents++;
        }

        return parents;
    }

    /// <summary>Zero-pads a block into <paramref name="padded"/>; never reads beyond the input.</summary>
    public static byte* Pad(byte* padded, byte* input, int length)
    {
        Unsafe.InitBlockUnaligned(padded, 0, BlockSize);
        Unsafe.CopyBlockUnaligned(padded, input, (uint)length);
        return padded;
    }

    [SkipLocalsInit]
    private static void HashSingle(Blake3Path path, byte* input, int size, uint* key, uint flags, byte* digest, nuint length)
    {
        uint* cv = stackalloc uint[KeyWords];
        Unsafe.CopyBlockUnaligned(cv, key, DigestSize);
        if (length <= DigestSize)
        {
            RunChunk(path, cv, input, size, 0, flags, ChunkStart, ChunkEnd | Root);
            Unsafe.CopyBlockUnaligned(digest, cv, (uint)length);
            return;
        }

        byte* padded = stackalloc byte[BlockSize];
        int before = size == 0 ? 0 : (size - 1) / BlockSize;
        if (before > 0)
        {
            RunBlocks(path, cv, input, before, input + BlockSize * (before - 1), BlockSize, 0, flags, ChunkStart, 0);
        }

        int lastLength = size - BlockSize * before;
        Pad(padded, input + BlockSize * before, lastLength);
        FinishRoot(path, cv, padded, (uint)lastLength, 0, flags | ChunkEnd | (before == 0 ? ChunkStart : 0), digest, length);
    }

    /// <summary>
    /// Hashes a subtree down to as many chaining values as fill a vector, so that its parents run side by side too.
    /// Returns their number: at least 2 when there is more than one chunk.
    /// </summary>
    [SkipLocalsInit]
    private static int HashSubtree(Blake3Path path, byte* input, nuint size, uint* key, ulong counter, uint flags, byte* output)
    {
        int width = Width(path);
        if (size <= (nuint)width * ChunkSize)
        {
            return HashChunks(path, input, (int)size, key, counter, flags, output);
        }

        nuint left = LeftSize(size);
        byte* values = stackalloc byte[2 * MaxWidth * DigestSize];
        int leftCount = HashSubtree(path, input, left, key, counter, flags, values);
        int rightCount = HashSubtree(
            path, input + left, size - left, key, counter + left / ChunkSize, flags, values + DigestSize * leftCount);

        // Narrow paths (one chunk on either side) are done: a caller wants both sides of the top parent.
        if (leftCount == 1)
        {
            Unsafe.CopyBlockUnaligned(output, values, 2 * DigestSize);
            return 2;
        }

        return HashParents(path, values, leftCount + rightCount, key, flags, output);
    }

    private static int HashChunks(Blake3Path path, byte* input, int size, uint* key, ulong counter, uint flags, byte* output)
    {
        int whole = size / ChunkSize;
        int rest = size % ChunkSize;
        HashMany(path, input, ChunkSize, whole, BlocksPerChunk, key, counter, 1, flags, ChunkStart, ChunkEnd, output);
        if (rest == 0)
        {
            return whole;
        }

        HashChunk(path, input + ChunkSize * whole, rest, key, counter + (ulong)whole, flags, output + DigestSize * whole);
        return whole + 1;
    }

    /// <summary>Hashes inputs of whole blocks, <paramref name="stride"/> bytes apart, as many side by side as the path can.</summary>
    [SkipLocalsInit]
    private static void HashMany(
        Blake3Path path, byte* input, nint stride, int count, int blocks, uint* key, ulong counter, uint increment, uint flags, uint start, uint end, byte* output)
    {
        byte* cvs = stackalloc byte[2 * DigestSize];
        while (count > 0)
        {
            int done;
            if (path == Blake3Path.Avx512 && count > Blake3Lanes256.Count)
            {
                done = Math.Min(count, Blake3Lanes512.Count);
                Blake3Lanes<Blake3Lanes512, Vector512<uint>>.Run(input, stride, done, blocks, key, counter, increment, flags, start, end, output);
            }
            else if (path >= Blake3Path.Avx2 && count > 2)
            {
                done = Math.Min(count, Blake3Lanes256.Count);
                Blake3Lanes<Blake3Lanes256, Vector256<uint>>.Run(input, stride, done, blocks, key, counter, increment, flags, start, end, output);
            }
            else if (path >= Blake3Path.Avx2 && count == 2)
            {
                done = 2;
                Unsafe.CopyBlockUnaligned(cvs, key, DigestSize);
                Unsafe.CopyBlockUnaligned(cvs + DigestSize, key, DigestSize);
                Blake3Rows<Blake3Rows256, Vector256<uint>>.Run(
                    (uint*)cvs, input, input + stride, blocks, null, BlockSize, counter, counter + increment, flags, start, end);
                Unsafe.CopyBlockUnaligned(output, cvs, 2 * DigestSize);
            }
            else if (path == Blake3Path.Vector128 && count > 1)
            {
                done = Math.Min(count, Blake3Lanes128.Count);
                Blake3Lanes<Blake3Lanes128, Vector128<uint>>.Run(input, stride, done, blocks, key, counter, increment, flags, start, end, output);
            }
            else
            {
                done = 1;
                Unsafe.CopyBlockUnaligned(cvs, key, DigestSize);
                RunBlocks(path, (uint*)cvs, input, blocks, input + BlockSize * (blocks - 1), BlockSize, counter, flags, start, end);
                Unsafe.CopyBlockUnaligned(output, cvs, DigestSize);
            }

            input += stride * done;
            output += DigestSize * done;
            counter += (ulong)done * increment;
            count -= done;
        }
    }

    private static int Width(Blake3Path path) => path switch
    {
        Blake3Path.Avx512 => Blake3Lanes512.Count,
        Blake3Path.Avx2 => Blake3Lanes256.Count,
        Blake3Path.Vector128 => Blake3Lanes128.Count,
        _ => 1,
    };

    /// <summary>The largest power of two of chunks that leaves at least one byte for the right side, of more than one chunk.</summary>
    private static nuint LeftSize(nuint size) => (nuint)(BitOperations.RoundUpToPowerOf2((ulong)size) / 2);
}
