using BackupIQ.Repository;

namespace BackupIQ.Engine.Verification;

/// <summary>How a repository is checked. Immutable.</summary>
public sealed record CheckOptions
{
    /// <summary>Which packs have every chunk opened and compared with its id. Null: none, but those in which something is wrong.</summary>
    public ReadDataSubset? ReadData { get; init; }

    /// <summary>
    /// Only packs that were not read and verified for so long, by the ledger, the oldest first. Null: whatever the ledger says.
    /// </summary>
    public TimeSpan? MaxAge { get; init; }

    /// <summary>
    /// Begin to read no further pack whole after so long; the rest of the check is done all the same. What is left is the oldest next time. Null: no
    /// limit.
    /// </summary>
    public TimeSpan? Budget { get; init; }

    /// <summary>Go on with the check of everything that was interrupted: packs that it had verified are not read again.</summary>
    public bool Resume { get; init; }

    /// <summary>
    /// Whether every pack's bytes are compared with its name. Null: where that costs no more than a disk's time, as borg does; so a flipped
    /// byte on a local disk is found by the plain check; not with <see cref="MaxAge"/>, <see cref="Budget"/> or <see cref="Resume"/>, which say what is
    /// to be read.
    /// </summary>
    public bool? HashPacks { get; init; }

    /// <summary>Called before packs are read whole, with the data packs that will be; null: nothing has to be made ready.</summary>
    public Func<IReadOnlyList<PackId>, CancellationToken, Task>? BeforeReading { get; init; }

    /// <summary>Workers. 0: one per core; each takes some 16 MiB of buffers.</summary>
    public int Concurrency { get; init; }

    /// <summary>How many damaged files a finding lists by name; the rest is counted.</summary>
    public int MaxListedFiles { get; init; } = 100;
}
