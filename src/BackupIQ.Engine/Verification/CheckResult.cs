using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Maintenance;

namespace BackupIQ.Engine.Verification;

/// <summary>A file, or a directory that cannot be listed whole, that a finding damages.</summary>
/// <param name="Path">Its path in the snapshot, bytes, beginning with a slash; a directory's ends with one.</param>
/// <param name="Snapshot">The newest snapshot in which it was met.</param>
/// <param name="Chunk">The first of its chunks that is lost.</param>
public sealed record DamagedFile(byte[] Path, SessionId Snapshot, ChunkId Chunk);

/// <summary>Something that a check found, with what it costs.</summary>
public sealed record CheckFinding
{
    public required RepositoryDamage Damage { get; init; }

    /// <summary>Distinct chunks that snapshots need and that are lost by it.</summary>
    public long ChunkCount { get; init; }

    /// <summary>Distinct paths that it damages.</summary>
    public long FileCount { get; init; }

    /// <summary>The first of them, newest snapshots first; at most <see cref="CheckOptions.MaxListedFiles"/>.</summary>
    public IReadOnlyList<DamagedFile> Files { get; init; } = [];

    /// <summary>All snapshots that it touches, newest first.</summary>
    public IReadOnlyList<SessionId> Snapshots { get; init; } = [];

    /// <summary>Whether it counts as an error.</summary>
    public bool IsError => Damage.Severity == DamageSeverity.Error;
}

/// <summary>How fresh the verification of packs is.</summary>
public sealed record VerificationState
{
    /// <summary>Packs that are there.</summary>
    public long Packs { get; init; }

    /// <summary>Packs of which every chunk was opened, by this check.</summary>
    public long PacksVerified { get; init; }

    /// <summary>Packs that were not read because an earlier check had verified them recently enough.</summary>
    public long PacksFresh { get; init; }

    /// <summary>Packs that should have been read and were left for the next time, because the budget was used up.</summary>
    public long PacksDue { get; init; }

    /// <summary>Packs that should have been read and were not, because they lie in an archive of the storage.</summary>
    public long PacksArchived { get; init; }

    /// <summary>Packs of which every chunk was never opened by any check that the ledger knows, or that were found damaged since.</summary>
    public long NeverVerified { get; init; }

    /// <summary>When the pack whose chunks were opened the longest ago, of those that ever were, was verified; null: none was.</summary>
    public DateTimeOffset? Oldest { get; init; }

    /// <summary>When a check of everything began that was interrupted and can be gone on with; null: there is none.</summary>
    public DateTimeOffset? Interrupted { get; init; }

    /// <summary>Why the ledger could not be written; null: it could. The next check then reads again what this one read.</summary>
    public string? LedgerProblem { get; init; }
}

/// <summary>What a check ended with.</summary>
public sealed record CheckResult
{
    /// <summary>Errors first, then warnings.</summary>
    public required IReadOnlyList<CheckFinding> Findings { get; init; }

    /// <summary>Findings that are errors; not 0 means exit code 14.</summary>
    public required long NumErrors { get; init; }

    /// <summary>Packs that are missing or damaged, errors only.</summary>
    public required IReadOnlyList<PackId> BrokenPacks { get; init; }

    /// <summary>Distinct paths of complete snapshots that cannot be restored whole.</summary>
    public required long DamagedFiles { get; init; }

    /// <summary>The index is damaged, and <c>repair index</c> makes it from the packs.</summary>
    public required bool SuggestRepairIndex { get; init; }

    /// <summary>There are packs that nothing needs, such as killed runs leave.</summary>
    public required bool SuggestPrune { get; init; }

    /// <summary>Packs that no snapshot needs and no session may still be writing.</summary>
    public long UnneededPacks { get; init; }

    /// <summary>Their bytes.</summary>
    public long UnneededBytes { get; init; }

    public long PacksChecked { get; init; }

    /// <summary>Those of them that lie in an archive of the storage: they are there with the size that they should have, and nobody has looked into them.</summary>
    public long PacksArchived { get; init; }

    /// <summary>Bytes of packs that were read.</summary>
    public long BytesRead { get; init; }

    public long SnapshotsChecked { get; init; }

    /// <summary>What came of extending the locks of what snapshots need.</summary>
    public LockExtension Locks { get; init; } = LockExtension.None;

    /// <summary>What was read whole, and what the ledger says after this check.</summary>
    public required VerificationState Verification { get; init; }

    /// <summary>Throws when damage was found.</summary>
    /// <exception cref="BackupIQException"><c>DamageFound</c>.</exception>
    public void ThrowIfDamaged()
    {
        if (NumErrors > 0)
        {
            throw new BackupIQException(ErrorCodes.DamageFound, $"{NumErrors} errors were found; {DamagedFiles} files are damaged.");
        }
    }
}
