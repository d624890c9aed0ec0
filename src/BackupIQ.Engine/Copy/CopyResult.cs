using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Copy;

/// <summary>What came of one snapshot that was to be copied.</summary>
public enum CopyOutcome
{
    /// <summary>It was copied, or in a dry run would be.</summary>
    Copied,

    /// <summary>The target has it, or a copy of it.</summary>
    AlreadyThere,

    /// <summary>The target has a copy that is forgotten there but not yet removed; it was left so.</summary>
    ForgottenThere,

    /// <summary>Something of it is damaged in the source, so it was not copied; what could be read is stored and used by the next try.</summary>
    Damaged,
}

/// <summary>A snapshot that was to be copied.</summary>
/// <param name="Original">The one in the source.</param>
/// <param name="Copy">The one in the target; null when there is none.</param>
/// <param name="Outcome">What came of it.</param>
public sealed record CopiedSnapshot(Snapshot Original, Snapshot? Copy, CopyOutcome Outcome)
{
    /// <summary>Files and folders that could not be read.</summary>
    public long Failures { get; init; }

    /// <summary>Files that were read and stored, or found stored; the others were the same in the copy before.</summary>
    public long FilesRead { get; init; }

    public long BytesRead { get; init; }

    /// <summary>Bytes of new chunks before compression.</summary>
    public long DataAdded { get; init; }

    /// <summary>Bytes that the target grew by.</summary>
    public long BytesPut { get; init; }

    /// <summary>Why locks of what the copy relies on could not be extended; null: all could, or the target's storage has none.</summary>
    public string? LockProblem { get; init; }
}

/// <summary>What came of a copy.</summary>
/// <param name="Snapshots">All that were chosen, in the order in which they were copied.</param>
/// <param name="Damage">Damage of either repository that was met and could be done without, a sentence each.</param>
public sealed record CopyResult(IReadOnlyList<CopiedSnapshot> Snapshots, IReadOnlyList<string> Damage);
