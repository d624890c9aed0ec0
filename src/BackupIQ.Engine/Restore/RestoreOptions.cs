using BackupIQ.Repository;

namespace BackupIQ.Engine.Restore;

/// <summary>What to do with a file that is there already.</summary>
public enum OverwriteRule
{
    /// <summary>Make it what the snapshot says; bytes that are right already are not written again.</summary>
    Always,

    /// <summary>As always, but a file whose size and mtime are the snapshot's is taken to be right.</summary>
    IfChanged,

    /// <summary>Only where the snapshot's file has a newer mtime.</summary>
    IfNewer,

    /// <summary>Leave it.</summary>
    Never,
}

/// <summary>How a restore is run.</summary>
public sealed record RestoreOptions
{
    public OverwriteRule Overwrite { get; init; } = OverwriteRule.Always;

    /// <summary>
    /// Chooses entries by path: gets the path inside what is restored (bytes, starting with <c>/</c>) and whether it is a directory.
    /// Null restores all.
    /// </summary>
    public RestoreFilter? Filter { get; init; }

    /// <summary>Remove what is in a restored directory of the target and not in the snapshot (never outside the filter).</summary>
    public bool Delete { get; init; }

    /// <summary>Read every restored file again and compare it with the snapshot.</summary>
    public bool Verify { get; init; }

    /// <summary>Make holes of long runs of zeros, also where the file had none. Holes that the snapshot knows are always made.</summary>
    public bool Sparse { get; init; }

    /// <summary>Say what would be done and change nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>Hears in a dry run of each data pack that would be read, maybe more than once. On any thread.</summary>
    public Action<PackId>? OnPack { get; init; }

    /// <summary>Workers that fetch, open and write. 0: one per core, fewer where the budget is small.</summary>
    public int Concurrency { get; init; }

    /// <summary>Bytes of buffers and plan that the run may use.</summary>
    public long MemoryBudget { get; init; } = 256L << 20;
}

/// <summary>What a filter says of a path.</summary>
/// <param name="Selected">The entry itself is restored.</param>
/// <param name="ChildMayBeSelected">Something below it may be, so its directory is walked.</param>
public readonly record struct FilterVerdict(bool Selected, bool ChildMayBeSelected);

/// <summary>Chooses what is restored.</summary>
public delegate FilterVerdict RestoreFilter(ReadOnlySpan<byte> path, bool isDirectory);
