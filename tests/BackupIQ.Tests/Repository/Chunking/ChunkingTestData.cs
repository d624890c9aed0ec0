using BackupIQ.Repository.Chunking;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Tests.Repository.Chunking;

/// <summary>Inputs and reference cuts for the chunker's tests.</summary>
internal static class ChunkingTestData
{
    /// <summary>Small chunks of which a short input has many; never long enough for the four lanes.</summary>
    public static ChunkerProfile Tiny { get; } = new("tiny", 64, 256, 1024);

    /// <summary>Chunks long enough for the four lanes.</summary>
    public static ChunkerProfile Middle { get; } = new("middle", 16 << 10, 64 << 10, 256 << 10);

    /// <summary>The key 0, 1 … 31, whose golden values stand in docs/format-chunking.md.</summary>
    public static byte[] Key { get; } = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    /// <summary>The first bytes of the BLAKE3 output of <paramref name="seed"/>, so that a reader in any language can make them.</summary>
    public static byte[] Generated(string seed, int length)
    {
        byte[] bytes = new byte[length];
        Blake3.Hash(System.Text.Encoding.ASCII.GetBytes(seed), bytes);
        return bytes;
    }

    public static byte[] Random(int seed, int length)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>
    /// The cuts by the definition, word for word and slowly: the sum over the window anew at every position, and every position judged.
    /// </summary>
    public static List<long> ByDefinition(ReadOnlySpan<byte> file, ChunkerProfile profile, byte[] key)
    {
        byte[] table = new byte[2048];
        Blake3.HashKeyed(key, "BackupIQ gear table v1"u8, table);
        int bits = int.Log2(profile.AverageSize);
        List<long> cuts = [];
        int start = 0;
        for (int p = 0; p < file.Length; p++)
        {
            int length = p - start + 1;
            bool cut = length == profile.MaxSize || p == file.Length - 1;
            if (!cut && length >= profile.MinSize)
            {
                ulong hash = 0;
                for (int back = 0; back < 64; back++)
                {
                    hash += BitConverter.ToUInt64(table, 8 * file[p - back]) << back;
                }

                cut = hash >> (64 - (length < profile.AverageSize ? bits + 2 : bits - 2)) == 0;
            }

            if (cut)
            {
                cuts.Add(p + 1);
                start = p + 1;
            }
        }

        return cuts;
    }

    public static List<long> Serial(GearChunker chunker, ReadOnlySpan<byte> file)
    {
        List<long> cuts = [];
        int start = 0;
        while (start < file.Length)
        {
            int length = chunker.NextCut(file[start..], isEnd: true);
            start += length;
            cuts.Add(start);
        }

        return cuts;
    }

    /// <summary>Cuts by segments, whose lengths <paramref name="nextLength"/> gives, scanned out of order.</summary>
    public static List<long> BySegments(GearChunker chunker, byte[] file, Func<int> nextLength)
    {
        List<(int Start, int End)> segments = [];
        for (int start = 0; start < file.Length;)
        {
            int end = (int)Math.Min(file.Length, start + (long)nextLength());
            segments.Add((start, end));
            start = end;
        }

        CandidateList[] found = new CandidateList[segments.Count];
        for (int i = segments.Count - 1; i >= 0; i--)
        {
            (int start, int end) = segments[i];
            int lookBehind = Math.Min(63, start);
            found[i] = new CandidateList();
            chunker.FindCandidates(file.AsSpan(start - lookBehind, end - start + lookBehind), lookBehind, start, found[i]);
        }

        CutSelector selector = new(chunker.Profile);
        List<long> cuts = [];
        for (int i = 0; i < segments.Count; i++)
        {
            selector.Add(found[i], segments[i].End, i == segments.Count - 1);
            while (selector.TryTakeCut(out long end))
            {
                cuts.Add(end);
            }
        }

        return cuts;
    }
}
