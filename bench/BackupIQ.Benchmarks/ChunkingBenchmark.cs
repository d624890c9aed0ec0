using BackupIQ.Repository.Chunking;

namespace BackupIQ.Benchmarks;

/// <summary>The chunker, serial and by segments, on one core.</summary>
internal static class ChunkingBenchmark
{
    public static void Run(Stopclock clock)
    {
        clock.Section("chunking, profile general");
        byte[] data = TestBytes.Make(8 << 20, 3);
        GearChunker chunker = new(ChunkerProfile.General, new byte[32]);
        clock.Measure("serial: NextCut over 8 MiB", data.Length, () =>
        {
            for (int start = 0; start < data.Length;)
            {
                start += chunker.NextCut(data.AsSpan(start), isEnd: true);
            }
        });

        const int Segment = 4 << 20;
        CandidateList candidates = new();
        CutSelector selector = new(ChunkerProfile.General);
        clock.Measure("by segments of 4 MiB, one thread", data.Length, () =>
        {
            selector.Reset();
            for (int start = 0; start < data.Length; start += Segment)
            {
                int lookBehind = Math.Min(GearChunker.Window - 1, start);
                candidates.Clear();
                chunker.FindCandidates(data.AsSpan(start - lookBehind, Segment + lookBehind), lookBehind, start, candidates);
                selector.Add(candidates, start + Segment, start + Segment == data.Length);
                while (selector.TryTakeCut(out _))
                {
                }
            }
        });
        clock.Measure("candidates of 1 MiB in cache", 1 << 20, () =>
        {
            candidates.Clear();
            chunker.FindCandidates(data.AsSpan(0, 1 << 20), 0, 0, candidates);
        });
    }
}
