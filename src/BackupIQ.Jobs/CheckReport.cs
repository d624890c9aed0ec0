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

    internal CheckOptions ToOptions(RepositoryOptions options) => new()
    {
        ReadData = ReadDataSubset is { } subset ? Engine.Verification.ReadDataSubset.Parse(subset) : ReadData ? Engine.Verification.ReadDataSubset.All : null,
        Concurrency = options.Jobs,
    };
}

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

    public required long BytesRead { get; init; }

    public required long SnapshotsChecked { get; init; }

    internal static CheckReport From(CheckResult result) => new()
    {
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
        BytesRead = result.BytesRead,
        SnapshotsChecked = result.SnapshotsChecked,
    };

    private static string Word(string name) => System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(name);
}
