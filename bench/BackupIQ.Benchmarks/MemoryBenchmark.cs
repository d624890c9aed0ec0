namespace BackupIQ.Benchmarks;

/// <summary>Plain copies: what a core can move at all.</summary>
internal static class MemoryBenchmark
{
    public static void Run(Stopclock clock)
    {
        clock.Section("memory copy");
        foreach (int size in (int[])[16 << 10, 1 << 20, 64 << 20])
        {
            byte[] source = TestBytes.Make(size, 1);
            byte[] target = new byte[size];
            clock.Measure($"copy of {size >> 10} KiB", size, () => source.AsSpan().CopyTo(target));
        }
    }
}
