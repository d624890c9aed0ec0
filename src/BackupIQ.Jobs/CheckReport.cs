using BackupIQ.Engine.Verification;

namespace BackupIQ.Jobs;

/// <summary>How a repository is checked.</summary>
/// <example>
/// <code>
/// CheckReport report = await repository.CheckAsync(new CheckRequest { ReadData = true }, cancellationToken: cancellationToken);
/// foreach (CheckIssue issue in report.Issues)
/// {
///     Console.WriteLine($"{issue.ObjectName}: {issue.Problem}; {issue.FileCount} paths in {issue.SnapshotIds.Count} snapshots");
/// }
/// </code>
/// </example>
public sealed record CheckRequest
{
    /// <summary>Open every chunk and compare it with its id.</summary>
    public bool ReadData { get; init; }

    /// <summary>Do so for a part only: <c>5%</c>, <c>1/10</c> or <c>2G</c>.</summary>
    public string? ReadDataSubset { get; init; }

    /// <summary>Read only packs that were not verified for so long, by the ledger, the oldest first.</summary>
    public TimeSpan? MaxAge { get; init; }

    /// <summary>Begin to read no further pack whole after so long; the rest of the check is done all the same.</summary>
    public TimeSpan? Budget { get; init; }

    /// <summary>Go on with the check of everything that was interrupted.</summary>
    public bool Resume { get; init; }

    /// <summary>Whether any content is read beyond what a plain check reads.</summary>
    public bool ReadsContent => ReadData || ReadDataSubset is not null || MaxAge is not null || Budget is not null || Resume;

    /// <summary>Whether packs that are to be read and lie in an archive of the storage are brought back first. They are not asked for unless they are waited for.</summary>
    public RecallOptions Recall { get; init; } = new();

    internal CheckOptions ToOptions(RepositoryOptions options) => new()
    {
        ReadData = ReadDataSubset is { } subset ? Engine.Verification.ReadDataSubset.Parse(subset) : ReadData ? Engine.Verification.ReadDataSubset.All : null,
        MaxAge = MaxAge,
        Budget = Budget,
        Resume = Resume,
        Concurrency = options.Jobs,
    };
}

/// <summary>How fresh the verification of packs is.</summary>
/// <param name="PacksVerified">Packs of which this check opened every chunk.</param>
/// <param name="PacksFresh">Packs that were not read because an earlier check had verified them recently enough.</param>
/// <param name="PacksDue">Packs that should have been read and were left for the next time, because the budget was used up.</param>
/// <param name="PacksArchived">Packs that should have been read and were not, because they lie in an archive of the storage.</param>
/// <param name="NeverVerified">Packs of which no check that is known opened every chunk, or that were found damaged since.</param>
/// <param name="Oldest">When the pack whose chunks were opened the longest ago, of those that ever were, was verified.</param>
/// <param name="Interrupted">When a check of everything began that was interrupted and can be gone on with.</param>
/// <param name="LedgerProblem">Why the ledger could not be written.</param>
public sealed record CheckVerification(
    long PacksVerified,
    long PacksFresh,
    long PacksDue,
    long PacksArchived,
    long NeverVerified,
    DateTimeOffset? Oldest,
    DateTimeOffset? Interrupted,
    string? LedgerProblem);

/// <summary>What the ledger says of a repository's packs.</summary>
/// <param name="Packs">How many packs there are.</param>
/// <param name="NeverVerified">How many of them no check that is known has read and verified whole, or were found damaged since.</param>
/// <param name="Oldest">When the one of the others was verified that was verified the longest ago.</param>
/// <param name="Interrupted">When a check of everything began that was interrupted and can be gone on with.</param>
public sealed record VerificationInfo(long Packs, long NeverVerified, DateTimeOffset? Oldest, DateTimeOffset? Interrupted);

/// <summary>Watches a check: counters to poll at any time.</summary>
public sealed class CheckMonitor
{
    internal CheckProgress Progress { get; } = new();

    /// <summary>index, objects, packs, snapshots or damage: what the check does now.</summary>
    public string Phase => Progress.Phase;

    public long PacksDone => Progress.PacksDone;

    public long PacksTotal => Progress.PacksTotal;

    public long BytesDone => Progress.BytesDone;

    public long BytesTotal => Progress.BytesTotal;

    public long SnapshotsDone => Progress.SnapshotsDone;

    public long SnapshotsTotal => Progress.SnapshotsTotal;
}

/// <summary>A file that a finding damages.</summary>
/// <param name="Path">Its path in the snapshot, as bytes; a folder's ends with a slash.</param>
/// <param name="SnapshotId">The newest snapshot in which it was met.</param>
/// <param name="Chunk">The first of its chunks that is lost.</param>
public sealed record DamagedItem(byte[] Path, string SnapshotId, string Chunk);

/// <summary>Something that a check found.</summary>
/// <param name="IsError">Whether it is damage, or only worth knowing.</param>
/// <param name="Kind">What it is about: <c>pack_damaged</c>, <c>index_segment</c>, …</param>
/// <param name="ObjectName">The object's name in the repository.</param>
/// <param name="Problem">What is wrong with it: half a sentence that follows the name.</param>
/// <param name="Pack">The pack, when it is about one.</param>
/// <param name="FileCount">How many paths it damages.</param>
/// <param name="Files">The first of them.</param>
/// <param name="SnapshotIds">All snapshots that it touches, newest first.</param>
public sealed record CheckIssue(
    bool IsError,
    string Kind,
    string ObjectName,
    string Problem,
    string? Pack,
    long FileCount,
    IReadOnlyList<DamagedItem> Files,
    IReadOnlyList<string> SnapshotIds);

/// <summary>What a check ended with.</summary>
public sealed record CheckReport
{
    /// <summary>Errors first, then what is only worth knowing.</summary>
    public required IReadOnlyList<CheckIssue> Issues { get; init; }

    /// <summary>Errors; not 0 means exit code 14.</summary>
    public required long Errors { get; init; }

    public required IReadOnlyList<string> BrokenPacks { get; init; }

    /// <summary>Paths that cannot be restored whole.</summary>
    public required long DamagedFiles { get; init; }

    public required bool SuggestRepairIndex { get; init; }

    public required bool SuggestPrune { get; init; }

    public required long UnneededBytes { get; init; }

    public required long PacksChecked { get; init; }

    /// <summary>Those of them that lie in an archive of the storage: they are there with the size that they should have, and nobody has looked into them.</summary>
    public long PacksArchived { get; init; }

    public required long BytesRead { get; init; }

    public required long SnapshotsChecked { get; init; }

    /// <summary>What was read whole, and how fresh the verification is after this check.</summary>
    public required CheckVerification Verification { get; init; }

    /// <summary>Objects whose lock on the storage was extended because snapshots need them.</summary>
    public long LocksExtended { get; init; }

    /// <summary>Why locks could not be extended; null: all could, or the storage has none.</summary>
    public string? LockProblem { get; init; }

    internal static CheckReport From(CheckResult result) => new()
    {
        LocksExtended = result.Locks.Extended,
        LockProblem = result.Locks.Problem,
        Issues = [.. result.Findings.Select(static finding => new CheckIssue(
            finding.IsError,
            Word(finding.Damage.Kind.ToString()),
            finding.Damage.ObjectName,
            finding.Damage.Problem,
            finding.Damage.Pack?.ToString(),
            finding.FileCount,
            [.. finding.Files.Select(static file => new DamagedItem(file.Path, file.Snapshot.ToString(), file.Chunk.ToString()))],
            [.. finding.Snapshots.Select(static id => id.ToString())]))],
        Errors = result.NumErrors,
        BrokenPacks = [.. result.BrokenPacks.Select(static pack => pack.ToString())],
        DamagedFiles = result.DamagedFiles,
        SuggestRepairIndex = result.SuggestRepairIndex,
        SuggestPrune = result.SuggestPrune,
        UnneededBytes = result.UnneededBytes,
        PacksChecked = result.PacksChecked,
        PacksArchived = result.PacksArchived,
        BytesRead = result.BytesRead,
        SnapshotsChecked = result.SnapshotsChecked,
        Verification = new CheckVerification(
            result.Verification.PacksVerified,
            result.Verification.PacksFresh,
            result.Verification.PacksDue,
            result.Verification.PacksArchived,
            result.Verification.NeverVerified,
            result.Verification.Oldest,
            result.Verification.Interrupted,
            result.Verification.LedgerProblem),
    };

    private static string Word(string name) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(name);
}
