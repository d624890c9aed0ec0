using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Copy;

/// <summary>How snapshots are copied from one repository into another.</summary>
public sealed record CopyOptions
{
    /// <summary>This machine's name, for people who look at sessions.</summary>
    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    public string ProgramVersion { get; init; } = "backupiq";

    /// <summary>Tell what would be copied, and read and store nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>Read again and verify all that was stored before a copy counts.</summary>
    public bool Verify { get; init; }

    /// <summary>A compression setting as the command line takes it.</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Five minutes: what an interruption costs at most.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Workers that read and write. 0: one per core, fewer where <see cref="MemoryBudget"/> is small.</summary>
    public int Concurrency { get; init; }

    /// <summary>Packs that are made durable at the same time. 0: two.</summary>
    public int Connections { get; init; }

    /// <summary>Bytes of buffers. A 32nd of it is for frames of the source, which are read once and in order; the rest is the writers'.</summary>
    public long MemoryBudget { get; init; } = 256L << 20;

    /// <summary>The folder of the index caches of both repositories; null: none is kept.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>Called before anything is read, with the snapshots that will be copied and those of the chosen that need not be; null: nothing has to be made ready.</summary>
    public Func<IReadOnlyList<Snapshot>, IReadOnlyList<Snapshot>, CancellationToken, Task>? BeforeReading { get; init; }

    internal long ReadingBudget => MemoryBudget / 32;

    // As many as write: each holds a frame as it is stored.
    internal int ReadingConcurrency => Concurrency > 0 ? Concurrency : Math.Clamp(Environment.ProcessorCount, 1, 4);

    // Everything that a copy's snapshot says comes from its original; what is said here is the session's. Full: nothing is compared with
    // what the target has by times, because the source itself knows what is the same.
    internal BackupOptions ToBackup(Snapshot copyOf) => new()
    {
        CopyOf = copyOf,
        RequireWhole = true,
        Hostname = Hostname,
        Username = Username,
        ProgramVersion = ProgramVersion,
        Type = SnapshotType.Full,
        Verify = Verify,
        Compression = Compression,
        CheckpointInterval = CheckpointInterval,
        ReadConcurrency = Concurrency,
        Connections = Connections,
        MemoryBudget = MemoryBudget - ReadingBudget,
    };
}
