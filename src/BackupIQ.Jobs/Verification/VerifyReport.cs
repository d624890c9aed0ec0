namespace BackupIQ.Jobs;

/// <summary>How deep something is verified. Each level does what those before it do, and more.</summary>
public enum VerifyLevel
{
    /// <summary>All is there; content is not read.</summary>
    Quick,

    /// <summary>All content is read and proven.</summary>
    Standard,

    /// <summary>It is restored, started where it is a server, and looked at.</summary>
    Comprehensive,
}

/// <summary>What came of one check.</summary>
public enum VerifyStatus
{
    /// <summary>As it should be.</summary>
    Passed,

    /// <summary>Not proven wrong, but somebody should look.</summary>
    Warning,

    /// <summary>Not as it should be.</summary>
    Failed,

    /// <summary>It could not be looked at, and the detail says why. It counts for nothing.</summary>
    Skipped,
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Id">A word for programs: <c>chunks</c>, <c>wal_records</c>, …</param>
/// <param name="Name">What was looked at, for people.</param>
/// <param name="Status">What came of it.</param>
/// <param name="Detail">What was seen, in a sentence or half of one.</param>
/// <param name="Items">Single things, a sentence each: each thing that is wrong, or what was counted. Of many the first.</param>
/// <param name="Duration">How long it took.</param>
public sealed record VerifyCheck(string Id, string Name, VerifyStatus Status, string Detail, IReadOnlyList<string> Items, TimeSpan Duration);

/// <summary>What a verification found.</summary>
public sealed record VerifyReport
{
    /// <summary>What was verified: <c>snapshot 1a2b3c4d of server main</c>, or two servers.</summary>
    public required string Subject { get; init; }

    public required VerifyLevel Level { get; init; }

    public required DateTimeOffset Started { get; init; }

    public required TimeSpan Duration { get; init; }

    /// <summary>In the order in which they were made.</summary>
    public required IReadOnlyList<VerifyCheck> Checks { get; init; }

    /// <summary>The snapshot; null where servers were compared.</summary>
    public SnapshotInfo? Snapshot { get; init; }

    /// <summary>How long the restore took; null: there was none.</summary>
    public TimeSpan? RestoreDuration { get; init; }

    /// <summary>How long the restored server took from its start until it had recovered; null: none was started.</summary>
    public TimeSpan? RecoveryDuration { get; init; }

    /// <summary>From the beginning of the restore until a server had recovered: the measured time to recover.</summary>
    public TimeSpan? Rto => RestoreDuration + RecoveryDuration;

    /// <summary>Why the outcome could not be noted beside the snapshot; null: it was, or there is none.</summary>
    public string? NoteProblem { get; init; }

    /// <summary>The worst of the checks.</summary>
    public VerifyStatus OverallStatus =>
        Checks.Any(static check => check.Status == VerifyStatus.Failed) ? VerifyStatus.Failed
        : Checks.Any(static check => check.Status == VerifyStatus.Warning) ? VerifyStatus.Warning
        : VerifyStatus.Passed;

    /// <summary>Of the checks that could be made, how many passed, in percent.</summary>
    public double PassRate => Checks.Count(static check => check.Status != VerifyStatus.Skipped) is > 0 and var made ? 100.0 * Checks.Count(static check => check.Status == VerifyStatus.Passed) / made : 100;

    /// <summary>0 when all passed, 3 with warnings, 14 when a check failed.</summary>
    public int ExitCode => OverallStatus switch { VerifyStatus.Failed => 14, VerifyStatus.Warning => 3, _ => 0 };
}

/// <summary>How a snapshot is verified.</summary>
/// <example>
/// <code>
/// VerifyRequest request = new() { Snapshot = "latest", Level = VerifyLevel.Standard };
/// VerifyReport report = await repository.VerifyAsync(request, cancellationToken: cancellationToken);
/// foreach (VerifyCheck check in report.Checks)
/// {
///     Console.WriteLine($"{check.Status}: {check.Name}, {check.Detail}");
/// }
/// </code>
/// </example>
public sealed record VerifyRequest
{
    /// <summary>In any form that names one.</summary>
    public required string Snapshot { get; init; }

    public VerifyLevel Level { get; init; } = VerifyLevel.Standard;

    /// <summary>Where a folder is made for what is restored, and removed again; null: where temporary files go.</summary>
    public string? Work { get; init; }

    /// <summary>Of a database server, statements that must each answer with one row of one column, true: <c>DB: SELECT …</c>. They make it a comprehensive one.</summary>
    public IReadOnlyList<string> Assertions { get; init; } = [];

    /// <summary>The role to connect as to the restored server; null: as the backup says, or else the usual ones.</summary>
    public string? Role { get; init; }

    /// <summary>The folder of <c>pg_ctl</c>; null: where packages put it.</summary>
    public string? Programs { get; init; }
}

/// <summary>Watches a verification: what it does, at any time, and each check when it is made (on any thread).</summary>
public sealed class VerifyMonitor
{
    private volatile string _doing = "verifying";
    private volatile Func<(long Done, long Total)> _bytes = static () => (0, 0);

    /// <summary>Hears of each check when it is made.</summary>
    public Action<VerifyCheck>? OnCheck { get; init; }

    /// <summary>What is being looked at.</summary>
    public string Doing { get => _doing; internal set => _doing = value; }

    /// <summary>Bytes that are done with, of what is being read or restored.</summary>
    public long BytesDone => _bytes().Done;

    /// <summary>All of them; 0: not known.</summary>
    public long BytesTotal => _bytes().Total;

    internal void Follow(Func<(long Done, long Total)> bytes) => _bytes = bytes;
}
