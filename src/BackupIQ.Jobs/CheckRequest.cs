using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <summary>How a repository is to be checked.</summary>
public sealed record CheckRequest
{
    /// <summary>Which packs have every chunk opened: <c>all</c>, <c>5%</c>, <c>1/10</c>, <c>2G</c>; null for none.</summary>
    public string? ReadData { get; init; }

    /// <summary>Compare each pack's bytes with its name; null: where the storage is local.</summary>
    public bool? HashPacks { get; init; }
}

/// <summary>Counters of a running check; readable by anybody at any time.</summary>
public sealed class CheckMonitor
{
    internal CheckProgress Progress { get; } = new();

    /// <summary>What the check does now.</summary>
    public string Phase => Progress.Phase;

    public long PacksDone => Progress.PacksDone;

    public long PacksTotal => Progress.PacksTotal;

    public long BytesDone => Progress.BytesDone;

    public long BytesTotal => Progress.BytesTotal;
}

/// <summary>Something that a check found.</summary>
/// <param name="IsError">False for what loses nothing.</param>
/// <param name="ObjectName">The object's key in the repository.</param>
/// <param name="Message">What is wrong with it.</param>
/// <param name="Pack">The pack, in hex, when it is one.</param>
/// <param name="FileCount">Distinct paths that it damages.</param>
/// <param name="Files">The first of them, as bytes, each with its snapshot's id.</param>
/// <param name="Snapshots">All snapshots that it touches.</param>
public sealed record CheckIssue(
    bool IsError,
    string ObjectName,
    string Message,
    string? Pack,
    long FileCount,
    IReadOnlyList<(byte[] Path, string Snapshot)> Files,
    IReadOnlyList<string> Snapshots);

/// <summary>What a check ended with; the exit code is 14 when <see cref="NumErrors"/> is not 0.</summary>
public sealed record CheckOutcome
{
    public required IReadOnlyList<CheckIssue> Issues { get; init; }

    public long NumErrors { get; init; }

    public IReadOnlyList<string> BrokenPacks { get; init; } = [];

    public long DamagedFiles { get; init; }

    public bool SuggestRepairIndex { get; init; }

    public bool SuggestPrune { get; init; }

    public long PacksChecked { get; init; }

    public long BytesRead { get; init; }

    public long SnapshotsChecked { get; init; }

    public int ExitCode => NumErrors > 0 ? ErrorCodes.DamageFound.ExitCode : 0;

    internal static CheckOutcome From(CheckResult result) => new()
    {
        Issues = [.. result.Findings.Select(From)],
        NumErrors = result.NumErrors,
        BrokenPacks = [.. result.BrokenPacks.Select(static p => p.ToString())],
        DamagedFiles = result.DamagedFiles,
        SuggestRepairIndex = result.SuggestRepairIndex,
        SuggestPrune = result.SuggestPrune,
        PacksChecked = result.PacksChecked,
        BytesRead = result.BytesRead,
        SnapshotsChecked = result.SnapshotsChecked,
    };

    private static CheckIssue From(CheckFinding finding) => new(
        finding.IsError,
        finding.Damage.ObjectName,
        finding.Damage.Problem,
        finding.Damage.Pack?.ToString(),
        finding.FileCount,
        [.. finding.Files.Select(static f => (f.Path, f.Snapshot.ToString()))],
        [.. finding.Snapshots.Select(static s => s.ToString())]);
}
