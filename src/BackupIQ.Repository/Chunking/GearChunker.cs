using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Repository.Chunking;

/// <summary>
/// Cuts files by their content: FastCDC with normalised chunking (Xia et al., USENIX ATC 2016 and IEEE TPDS 2020) over a gear hash whose
/// table comes from the repository's key, so that chunk sizes tell a stranger nothing about known files. docs/format-chunking.md has the
/// definition to the bit. Immutable: one chunker serves any number of threads.
/// </summary>
/// <remarks>
/// The hash at a position covers the 64 bytes up to it and nothing else: older bytes are shifted out. That makes candidates independent
/// of earlier cuts, so segments can be scanned by several threads, and within a segment four places at once, since each step of one hash
/// waits for the one before it.
/// </remarks>
public sealed unsafe class GearChunker
{
    /// <summary>How many bytes the hash at a position covers.</summary>
    public const int Window = 64;

    /// <summary>Length of a gear key, in bytes.</summary>
    public const int KeySize = Blake3.KeySize;

    private const int Lanes = 4;

    // One round of the lanes covers so many bytes. Longer lanes repeat less (each warms up with 63 bytes); shorter ones waste less
    // when a cut is found. 16 KiB is 1.5 % of each, and stays in the first-level cache.
    private const int BlockLane = 4096;
    private const int Block = Lanes * BlockLane;

    // More candidates than this in one block come from repeating data; it is scanned in order then.
    private const int FewCandidates = 64;

    private readonly ChunkerProfile _profile;
    private readonly ulong _strict;
    private readonly ulong _loose;
    private readonly ulong[] _gear = new ulong[256];

    /// <summary>Makes a chunker from a repository's gear key of 32 bytes.</summary>
    /// <exception cref="ArgumentException">The key does not have 32 bytes.</exception>
    public GearChunker(ChunkerProfile profile, ReadOnlySpan<byte> gearKey)
    {
        _profile = profile;
        _strict = profile.StrictLimit;
        _loose = profile.LooseLimit;
        Blake3.HashKeyed(gearKey, "BackupIQ gear table v1"u8, MemoryMarshal.AsBytes(_gear.AsSpan()));
    }

    /// <summary>The sizes that it cuts to.</summary>
    public ChunkerProfile Profile => _profile;

    internal ReadOnlySpan<ulong> Gear => _gear;

    /// <summary>
    /// The length of the chunk that begins where <paramref name="data"/> begins; 0 when the data do not decide it and more follows
    /// (<paramref name="isEnd"/> is false), or when there are none. <see cref="ChunkerProfile.MaxSize"/> bytes always decide; a caller
    /// that gives fewer has them scanned again the next time.
    /// </summary>
    public int NextCut(ReadOnlySpan<byte> data, bool isEnd)
    {
        if (data.Length > _profile.MinSize)
        {
            int end = Math.Min(data.Length, _profile.MaxSize);
            int middle = Math.Min(end, _profile.AverageSize - 1);
            fixed (byte* start = data)
            fixed (ulong* gear = _gear)
            {
                int position = FindFirst(start, _profile.MinSize - 1, middle, gear, _strict);
                if (position == middle)
                {
                    position = FindFirst(start, middle, end, gear, _loose);
                }

                if (position < end)
                {
                    return position + 1;
                }
            }

            if (end == _profile.MaxSize)
            {
                return end;
            }
        }

        return isEnd ? data.Length : 0;
    }

    /// <summary>
    /// Adds every position of a segment at which the file might be cut to <paramref name="candidates"/>, whatever the cuts before it.
    /// The data are <paramref name="lookBehind"/> bytes that stand before the segment, and the segment, which begins at
    /// <paramref name="segmentOffset"/> of the file. The look-behind has 63 bytes, or all that the file has before the segment if that
    /// is less. Segments can be scanned in any order, by any thread, each with a list of its own.
    /// </summary>
    /// <exception cref="ArgumentException">The look-behind has another length.</exception>
    public void FindCandidates(ReadOnlySpan<byte> lookBehindAndSegment, int lookBehind, long segmentOffset, CandidateList candidates)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(segmentOffset);
        if (lookBehind != Math.Min(Window - 1, segmentOffset) || lookBehind > lookBehindAndSegment.Length)
        {
            throw new ArgumentException("The look-behind must be the 63 bytes before the segment, or all of them.", nameof(lookBehind));
        }

        // At the very start of a file the first 63 positions have no full window; no chunk can end there either.
        int at = Math.Max(lookBehind, Window - 1);
        long fileOffset = segmentOffset - lookBehind;
        Span<long> found = stackalloc long[FewCandidates];
        fixed (byte* start = lookBehindAndSegment)
        fixed (ulong* gear = _gear)
        {
            while (at < lookBehindAndSegment.Length)
            {
                int length = Math.Min(Block, lookBehindAndSegment.Length - at);
                FindInBlock(start + at, length, gear, fileOffset + at, found, candidates);
                at += length;
            }
        }
    }

    /// <summary>The hash of the 63 bytes before <paramref name="position"/>, which the next step completes to a full window.</summary>
    private static ulong WarmUp(byte* position, ulong* gear)
    {
        ulong hash = 0;
        for (nint i = -(Window - 1); i < 0; i++)
        {
            hash = (hash << 1) + gear[position[i]];
        }

        return hash;
    }

    /// <summary>
    /// Scans four lanes of <paramref name="length"/> bytes, <paramref name="stride"/> apart, from <paramref name="i"/> on until one of
    /// them has a hash of at most <paramref name="limit"/>; returns the index, the hashes in <paramref name="hashes"/>, or the length.
    /// Two steps a turn, since a taken branch costs as much as a step.
    /// </summary>
    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint Scan(byte* lane, nint stride, nint i, nint length, ulong* gear, ulong limit, ulong* hashes)
    {
        byte* lane1 = lane + stride;
        byte* lane2 = lane1 + stride;
        byte* lane3 = lane2 + stride;
        ulong h0 = hashes[0];
        ulong h1 = hashes[1];
        ulong h2 = hashes[2];
        ulong h3 = hashes[3];
        nint even = length - ((length - i) & 1);
        for (; i < even; i += 2)
        {
            h0 = h0 + h0 + gear[lane[i]];
            h1 = h1 + h1 + gear[lane1[i]];
            h2 = h2 + h2 + gear[lane2[i]];
            h3 = h3 + h3 + gear[lane3[i]];
            if (h0 <= limit || h1 <= limit || h2 <= limit || h3 <= limit)
            {
                goto Found;
            }

            h0 = h0 + h0 + gear[lane[i + 1]];
            h1 = h1 + h1 + gear[lane1[i + 1]];
            h2 = h2 + h2 + gear[lane2[i + 1]];
            h3 = h3 + h3 + gear[lane3[i + 1]];
            if (h0 <= limit || h1 <= limit || h2 <= limit || h3 <= limit)
            {
                i++;
                goto Found;
            }
        }

        if (i < length)
        {
            h0 = h0 + h0 + gear[lane[i]];
            h1 = h1 + h1 + gear[lane1[i]];
            h2 = h2 + h2 + gear[lane2[i]];
            h3 = h3 + h3 + gear[lane3[i]];
            if (h0 > limit && h1 > limit && h2 > limit && h3 > limit)
            {
                i++;
            }
        }

    Found:
        hashes[0] = h0;
        hashes[1] = h1;
        hashes[2] = h2;
        hashes[3] = h3;
        return i;
    }

    /// <summary>Scans one stretch in order, as <see cref="Scan"/> does four.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint ScanOne(byte* data, nint i, nint length, ulong* gear, ulong limit, ref ulong hash)
    {
        ulong h = hash;
        for (; i < length; i++)
        {
            h = h + h + gear[data[i]];
            if (h <= limit)
            {
                break;
            }
        }

        hash = h;
        return i;
    }

    /// <summary>The first position from <paramref name="at"/> on whose hash is at most <paramref name="limit"/>, or <paramref name="end"/>.</summary>
    [SkipLocalsInit]
    private static int FindFirst(byte* data, int at, int end, ulong* gear, ulong limit)
    {
        ulong* hashes = stackalloc ulong[Lanes];
        while (end - at >= Block)
        {
            byte* block = data + at;
            for (int lane = 0; lane < Lanes; lane++)
            {
                hashes[lane] = WarmUp(block + lane * BlockLane, gear);
            }

            // A lane's finding counts when no lane before it has one; so does the scan go on after a finding, except in lane 0.
            int first = Block;
            for (nint i = 0; (i = Scan(block, BlockLane, i, BlockLane, gear, limit, hashes)) < BlockLane; i++)
            {
                int lane = 0;
                while (hashes[lane] > limit)
                {
                    lane++;
                }

                first = Math.Min(first, lane * BlockLane + (int)i);
                if (lane == 0)
                {
                    break;
                }
            }

            if (first < Block)
            {
                return at + first;
            }

            at += Block;
        }

        if (at < end)
        {
            ulong hash = WarmUp(data + at, gear);
            at += (int)ScanOne(data + at, 0, end - at, gear, limit, ref hash);
        }

        return at;
    }

    private void FindInBlock(byte* block, int length, ulong* gear, long fileOffset, Span<long> found, CandidateList candidates)
    {
        if (length == Block && TryFindFew(block, gear, found, out int count))
        {
            found = found[..count];
            found.Sort();
            foreach (long entry in found)
            {
                candidates.Add(fileOffset + (entry >> 1), (entry & 1) != 0);
            }

            return;
        }

        ulong hash = WarmUp(block, gear);
        for (nint i = 0; (i = ScanOne(block, i, length, gear, _loose, ref hash)) < length; i++)
        {
            candidates.Add(fileOffset + i, hash <= _strict);
        }
    }

    /// <summary>The candidates of a full block as position × 2 + strict, in no order; false when there are too many.</summary>
    [SkipLocalsInit]
    private bool TryFindFew(byte* block, ulong* gear, Span<long> found, out int count)
    {
        ulong* hashes = stackalloc ulong[Lanes];
        for (int lane = 0; lane < Lanes; lane++)
        {
            hashes[lane] = WarmUp(block + lane * BlockLane, gear);
        }

        count = 0;
        for (nint i = 0; (i = Scan(block, BlockLane, i, BlockLane, gear, _loose, hashes)) < BlockLane; i++)
        {
            for (int lane = 0; lane < Lanes; lane++)
            {
                if (hashes[lane] <= _loose)
                {
                    if (count == found.Length)
                    {
                        return false;
                    }

                    found[count++] = 2 * (lane * BlockLane + i) + (hashes[lane] <= _strict ? 1 : 0);
                }
            }
        }

        return true;
    }
}
