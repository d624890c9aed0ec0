using BackupIQ.Engine.Copy;

namespace BackupIQ.Jobs;

/// <summary>Which snapshots of another repository are to be copied, and how.</summary>
/// <example>
/// <code>
/// await using BackupIqRepository source = await BackupIqRepository.OpenAsync("/mnt/disk/backup", secrets, cancellationToken: cancellationToken);
/// CopyRequest request = new() { Snapshots = new SnapshotSelection([], new SnapshotQuery { Hosts = ["server"] }) };
/// CopyReport report = await repository.CopyFromAsync(source, request, cancellationToken: cancellationToken);
/// Console.WriteLine($"{report.Copied} copied, {report.AlreadyThere} were there");
/// </code>
/// </example>
public sealed record CopyRequest
{
    /// <summary>The snapshots; without names and query all of them.</summary>
    public SnapshotSelection Snapshots { get; init; } = new([], new SnapshotQuery());

    /// <summary>Tell what would be copied, and read and store nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>Read again what was stored before a copy counts.</summary>
    public bool Verify { get; init; }

    /// <summary>As the command line takes it: <c>auto</c>, <c>zstd:9</c>, …</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Five minutes: what an interruption costs at most.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>0: fitting.</summary>
    public int Connections { get; init; }

    /// <summary>Whether what lies in an archive of the other repository's storage is brought back first. It is not asked for unless it is waited for.</summary>
    public RecallOptions Recall { get; init; } = new();

    internal CopyOptions ToOptions(RepositoryOptions options, string version) => new()
    {
        Hostname = Environment.MachineName,
        Username = Environment.UserName,
        ProgramVersion = version,
        DryRun = DryRun,
        Verify = Verify,
        Compression = Compression,
        CheckpointInterval = CheckpointInterval,
        Concurrency = options.Jobs,
        Connections = Connections,
        MemoryBudget = options.MemoryBudget,
        CacheFolder = options.CacheFolder,
    };
}

/// <summary>Watches a copy: counters to poll at any time, and calls for single events (from workers, one at a time).</summary>
public sealed class CopyMonitor
{
    /// <summary>Makes a watcher; each call may be null.</summary>
    /// <param name="onFailure">Something of a snapshot cannot be read, so the snapshot will not be copied.</param>
    /// <param name="onSnapshot">A snapshot is done with.</param>
    /// <param name="onNotice">Something a person should know.</param>
    public CopyMonitor(
        Action<SnapshotInfo, ItemFailure>? onFailure = null, Action<CopiedSnapshotInfo>? onSnapshot = null, Action<string>? onNotice = null) =>
        Progress = new CopyProgress
        {
            OnItemError = onFailure is null ? null
                : (snapshot, error) => onFailure(SnapshotInfo.From(snapshot), new ItemFailure(error.Code, error.Path, error.Message)),
            OnSnapshot = onSnapshot is null ? null : snapshot => onSnapshot(CopiedSnapshotInfo.From(snapshot)),
            OnNotice = onNotice,
        };

    internal CopyProgress Progress { get; }

    /// <summary>Snapshots that are to be copied.</summary>
    public int SnapshotsTotal => Progress.SnapshotsTotal;

    /// <summary>Those that are done with.</summary>
    public int SnapshotsDone => Progress.SnapshotsDone;

    /// <summary>The first digits of the one that is being copied, or null.</summary>
    public string? Snapshot => Progress.Snapshot?.ShortId;

    /// <summary>Files of that one that are read.</summary>
    public long FilesDone => Progress.Current?.FilesDone ?? 0;

    /// <summary>Files of that one that must be read, as far as they are known.</summary>
    public long FilesTotal => Progress.Current?.FilesTotal ?? 0;

    public long BytesDone => Progress.Current?.BytesDone ?? 0;

    public long BytesTotal => Progress.Current?.BytesTotal ?? 0;

    /// <summary>All of that one that must be read is known.</summary>
    public bool TotalsKnown => Progress.Current?.TotalsKnown ?? false;

    /// <summary>Bytes read of all snapshots so far.</summary>
    public long BytesRead => Progress.BytesRead;

    /// <summary>Files and folders that could not be read.</summary>
    public long Failures => Progress.Failures;
}

/// <summary>What came of one snapshot that was to be copied.</summary>
/// <param name="Original">The snapshot.</param>
/// <param name="Copy">Its copy; null when there is none.</param>
/// <param name="Outcome"><c>copied</c>, <c>there</c>, <c>forgotten</c> (in the target) or <c>damaged</c> (in the source).</param>
public sealed record CopiedSnapshotInfo(SnapshotInfo Original, SnapshotInfo? Copy, string Outcome)
{
    /// <summary>Files and folders that could not be read.</summary>
    public required long Failures { get; init; }

    /// <summary>Files that were read; the others were the same in the copy before.</summary>
    public required long FilesRead { get; init; }

    public required long BytesRead { get; init; }

    /// <summary>Bytes of new chunks before compression.</summary>
    public required long DataAdded { get; init; }

    /// <summary>Bytes that the target grew by.</summary>
    public required long BytesPut { get; init; }

    internal static CopiedSnapshotInfo From(CopiedSnapshot copied) =>
        new(SnapshotInfo.From(copied.Original), copied.Copy is null ? null : SnapshotInfo.From(copied.Copy), Word(copied.Outcome))
        {
            Failures = copied.Failures,
            FilesRead = copied.FilesRead,
            BytesRead = copied.BytesRead,
            DataAdded = copied.DataAdded,
            BytesPut = copied.BytesPut,
        };

    private static string Word(CopyOutcome outcome) => outcome switch
    {
        CopyOutcome.Copied => "copied",
        CopyOutcome.AlreadyThere => "there",
        CopyOutcome.ForgottenThere => "forgotten",
        _ => "damaged",
    };
}

/// <summary>What came of a copy.</summary>
/// <param name="Snapshots">All that were chosen, in the order in which they were copied.</param>
/// <param name="Duration">How long it took.</param>
public sealed record CopyReport(IReadOnlyList<CopiedSnapshotInfo> Snapshots, TimeSpan Duration)
{
    /// <summary>What came of the archived logs of servers.</summary>
    public IReadOnlyList<WalCopyInfo> Logs { get; init; } = [];

    /// <summary>Snapshots that were copied, or in a dry run would be.</summary>
    public int Copied => Count("copied");

    /// <summary>Snapshots that the target has, forgotten there or not.</summary>
    public int AlreadyThere => Count("there") + Count("forgotten");

    /// <summary>Snapshots that were not copied because something of them is damaged: not 0 means exit code 14.</summary>
    public int Damaged => Count("damaged");

    private int Count(string outcome) => Snapshots.Count(snapshot => snapshot.Outcome == outcome);
}

/// <summary>What came of an export.</summary>
/// <param name="Snapshot">The snapshot, and what it is called in the file.</param>
/// <param name="Length">Bytes of the file.</param>
/// <param name="Duration">How long it took.</param>
public sealed record ExportReport(CopiedSnapshotInfo Snapshot, long Length, TimeSpan Duration);
