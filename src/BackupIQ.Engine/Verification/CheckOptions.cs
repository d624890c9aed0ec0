namespace BackupIQ.Engine.Verification;

/// <summary>How a repository is checked. Immutable.</summary>
public sealed record CheckOptions
{
    /// <summary>Which packs have every chunk opened and compared with its id. Null: none, but those in which something is wrong.</summary>
    public ReadDataSubset? ReadData { get; init; }

    /// <summary>
    /// Whether every pack's bytes are compared with its name. Null: where that costs no more than a disk's time, as borg does; so a flipped
    /// byte on a local disk is found by the plain check.
    /// </summary>
    public bool? HashPacks { get; init; }

    /// <summary>Workers. 0: one per core; each takes some 16 MiB of buffers.</summary>
    public int Concurrency { get; init; }

    /// <summary>How many damaged files a finding lists by name; the rest is counted.</summary>
    public int MaxListedFiles { get; init; } = 100;
}
