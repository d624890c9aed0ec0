namespace BackupIQ.Engine.Reading;

/// <summary>How what snapshots hold is read.</summary>
public sealed record ReadingOptions
{
    /// <summary>
    /// Bytes of opened frames that are kept for whoever reads them next. 128 MiB: a hundred frames, enough for several readers that each
    /// are some frames ahead.
    /// </summary>
    public long MemoryBudget { get; init; } = 128L << 20;

    /// <summary>Frames that are fetched and opened at once. 0: one per core, at least 4, so that a distant storage's answers overlap.</summary>
    public int Concurrency { get; init; }
}
