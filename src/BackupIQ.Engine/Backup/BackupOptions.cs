using BackupIQ.Engine.Snapshots;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Backup;

/// <summary>How a backup is run. Immutable; each default says why.</summary>
public sealed record BackupOptions
{
    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    public IReadOnlyList<string> Tags { get; init; } = [];

    public SnapshotType Type { get; init; } = SnapshotType.Incremental;

    /// <summary>Compare with this snapshot (any form that names one) instead of the newest of the series.</summary>
    public string? Parent { get; init; }

    /// <summary>Trust size, mtime and inode alone: for file systems whose ctime changes by itself.</summary>
    public bool IgnoreCtime { get; init; }

    /// <summary>Do not compare inodes: for file systems that make them up at each mount.</summary>
    public bool IgnoreInode { get; init; }

    /// <summary>Walk, compare and read, but store nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>Make no snapshot when its tree equals the parent's.</summary>
    public bool SkipIfUnchanged { get; init; }

    /// <summary>Read again and verify all that this run stored before the snapshot counts.</summary>
    public bool Verify { get; init; }

    /// <summary>A compression setting as the command line takes it: <c>auto</c>, <c>zstd:9</c>, …</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Five minutes: what an interruption costs at most, at the price of one small object.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Workers that read, hash, compress and seal. 0: one per core, fewer where <see cref="MemoryBudget"/> is small.</summary>
    public int ReadConcurrency { get; init; }

    /// <summary>Packs that are made durable at the same time. 0: two, enough to overlap a flush with filling the next.</summary>
    public int Connections { get; init; }

    /// <summary>Bytes of small files that one worker takes at a time. 0: one frame (1 MiB).</summary>
    public long BatchSize { get; init; }

    /// <summary>Bytes of buffers that the run may use. 256 MiB: enough for every core of a common machine, little beside what it runs.</summary>
    public long MemoryBudget { get; init; } = 256L << 20;

    /// <summary>
    /// What the snapshot says of itself where it is a copy of one from elsewhere, with <see cref="Snapshot.Original"/>: time, host, user, paths,
    /// tags, kind, type, version, counts and unknown fields are taken over as they are, and only what its tree, its scan and its parent are
    /// called is this run's. Hostname, username and version of these options then name the session alone. It is compared with the newest
    /// snapshot of the copy's series that is not newer than the copy, and with what an interrupted copy of the same original left.
    /// Null: an ordinary backup.
    /// </summary>
    public Snapshot? CopyOf { get; init; }

    /// <summary>Commit nothing when an item could not be read: a copy is whole or not made. What was read is stored and reused.</summary>
    public bool RequireWhole { get; init; }

    /// <summary>The version that the snapshot names.</summary>
    public string ProgramVersion { get; init; } = "backupiq";

    /// <summary>The session's options.</summary>
    internal UploadOptions ToUpload() => new()
    {
        Purpose = CopyOf is null ? SessionPurpose.Backup : SessionPurpose.Copy,
        Hostname = Hostname,
        Username = Username,
        ProgramVersion = ProgramVersion,
        Compression = Compression,
        Connections = Connections > 0 ? Connections : 2,
        PackSize = PackSize(),
        IndexAtLatest = WantsLittleLost ? 32L << 20 : null,
        DryRun = DryRun,
    };

    // Who asks for checkpoints every few seconds wants little lost, also where a checkpoint waits long for its packs: over a line.
    private bool WantsLittleLost => CheckpointInterval < TimeSpan.FromSeconds(15);

    // Packs are closed at each checkpoint, so they may as well be small.
    private long PackSize()
    {
        long size = Math.Clamp(MemoryBudget / 8, 4L << 20, 32L << 20);
        return WantsLittleLost ? Math.Min(size, 8L << 20) : size;
    }
}
