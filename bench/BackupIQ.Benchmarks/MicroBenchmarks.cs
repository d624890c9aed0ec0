namespace BackupIQ.Benchmarks;

/// <summary>The mode <c>micro</c>: each piece of the hot path by itself, on one thread, with memory copies beside them as the limit.</summary>
internal static class MicroBenchmarks
{
    private static readonly (string Name, Action<Stopclock> Run)[] All =
    [
        ("memory", MemoryBenchmark.Run),
        ("hashing", HashingBenchmark.Run),
        ("chunking", ChunkingBenchmark.Run),
    ];

    /// <summary>Runs the benchmarks named, or all.</summary>
    public static void Run(TextWriter output, string[] names)
    {
        Stopclock clock = new(output, TimeSpan.FromMilliseconds(300));
        foreach ((string name, Action<Stopclock> run) in All)
        {
            if (names.Length == 0 || names.Contains(name, StringComparer.Ordinal))
            {
                run(clock);
            }
        }
    }
}
