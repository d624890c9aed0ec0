using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Sources.Command;
using BackupIQ.Sources.Files;

namespace BackupIQ.Jobs;

/// <summary>What is to be backed up, and how. Paths and patterns are bytes, as the operating system has them.</summary>
/// <example>
/// <code>
/// BackupRequest request = new()
/// {
///     Paths = ["/home/ann"u8.ToArray()],
///     Excludes = ["*.tmp"u8.ToArray(), ".cache"u8.ToArray()],
///     Tags = ["daily"],
/// };
/// BackupOutcome outcome = await repository.BackupAsync(request, cancellationToken: cancellationToken);
/// Console.WriteLine($"{outcome.Snapshot?.Name}: {outcome.Counts.TotalFiles} files, {outcome.Warnings} could not be read");
/// </code>
/// </example>
public sealed record BackupRequest
{
    /// <summary>Files and folders; empty when <see cref="Stdin"/> is set.</summary>
    public IReadOnlyList<byte[]> Paths { get; init; } = [];

    /// <summary>Back up a stream instead of files.</summary>
    public StreamSource? Stdin { get; init; }

    public IReadOnlyList<byte[]> Excludes { get; init; } = [];

    public IReadOnlyList<byte[]> ExcludesIgnoringCase { get; init; } = [];

    /// <summary>When there are any, only what matches one of them is kept.</summary>
    public IReadOnlyList<byte[]> Includes { get; init; } = [];

    /// <summary>Names, or <c>NAME:HEADER</c>, of files that mark their folder as one to leave out.</summary>
    public IReadOnlyList<byte[]> ExcludeIfPresent { get; init; } = [];

    /// <summary>Leave out files larger than so many bytes; null: none.</summary>
    public long? ExcludeLargerThan { get; init; }

    public bool ExcludeCaches { get; init; }

    public bool OneFileSystem { get; init; }

    /// <summary>The host name that the snapshot carries; null: this machine's.</summary>
    public string? Host { get; init; }

    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary><c>full</c>, <c>incremental</c> or <c>differential</c>.</summary>
    public string Type { get; init; } = "incremental";

    /// <summary>Compare with this snapshot instead of the newest of the series.</summary>
    public string? Parent { get; init; }

    public bool IgnoreCtime { get; init; }

    public bool IgnoreInode { get; init; }

    public bool DryRun { get; init; }

    public bool SkipIfUnchanged { get; init; }

    /// <summary>Read again what this run stored before the snapshot counts.</summary>
    public bool Verify { get; init; }

    /// <summary>As the command line takes it: <c>auto</c>, <c>zstd:9</c>, …</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Five minutes: what an interruption costs at most.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>0: fitting.</summary>
    public int ReadConcurrency { get; init; }

    /// <summary>0: fitting.</summary>
    public int Connections { get; init; }

    /// <summary>Bytes of small files that one worker takes at a time; 0: fitting.</summary>
    public long BatchSize { get; init; }

    /// <summary>Further repositories, into which the snapshot is to be copied: where they lie within the source, they are left out.</summary>
    public IReadOnlyList<string> OtherRepositories { get; init; } = [];

    /// <summary>Folders of ours, with what they are, that must not be backed up; repository and cache are added.</summary>
    internal IBackupSource OpenSource(IReadOnlyList<OwnFolder> ownFolders, TimeProvider time) =>
        Stdin is not null
            ? new CommandSource(
                new CommandSourceOptions { FileName = Stdin.FileName, Command = Stdin.Command, Input = Stdin.Input }, time)
            : new FileSource(new FileSourceOptions
            {
                Paths = Paths,
                Excludes = Excludes,
                ExcludesIgnoringCase = ExcludesIgnoringCase,
                Includes = Includes,
                ExcludeLargerThan = ExcludeLargerThan,
                ExcludeCaches = ExcludeCaches,
                ExcludeIfPresent = [.. ExcludeIfPresent.Select(static tag => FolderTag.Parse(tag))],
                OneFileSystem = OneFileSystem,
                OwnFolders = ownFolders,
            });

    internal BackupOptions ToOptions(RepositoryOptions options, string version) => new()
    {
        Hostname = Host ?? Environment.MachineName,
        Username = Environment.UserName,
        Tags = Tags,
        Type = Type switch
        {
            "full" => SnapshotType.Full,
            "incremental" => SnapshotType.Incremental,
            "differential" => SnapshotType.Differential,
            _ => throw new BackupIQException(ErrorCodes.Usage, $"'{Type}' is no type of backup", "Use full, incremental or differential."),
        },
        Parent = Parent,
        IgnoreCtime = IgnoreCtime,
        IgnoreInode = IgnoreInode,
        DryRun = DryRun,
        SkipIfUnchanged = SkipIfUnchanged,
        Verify = Verify,
        Compression = Compression,
        CheckpointInterval = CheckpointInterval,
        ReadConcurrency = ReadConcurrency > 0 ? ReadConcurrency : options.Jobs,
        Connections = Connections,
        BatchSize = BatchSize,
        MemoryBudget = options.MemoryBudget,
        ProgramVersion = version,
    };
}

/// <summary>A stream that is backed up as one file.</summary>
/// <param name="FileName">The file's path in the snapshot.</param>
/// <param name="Command">A program with its arguments whose output is the content; null: <paramref name="Input"/>.</param>
/// <param name="Input">The content when there is no command; disposed with the run. Null: standard input.</param>
public sealed record StreamSource(byte[] FileName, IReadOnlyList<string>? Command, Stream? Input = null);

/// <summary>An item that could not be read, restored or verified.</summary>
/// <param name="Code">What kind of failure.</param>
/// <param name="Path">The item, as bytes.</param>
/// <param name="Message">What failed, without the path.</param>
public sealed record ItemFailure(ErrorCode Code, byte[] Path, string Message);

/// <summary>Watches a backup: counters to poll at any time, and calls for single events (from workers, one at a time).</summary>
public sealed class BackupMonitor
{
    private readonly BackupProgress _progress;

    /// <summary>Makes a watcher; each call may be null.</summary>
    /// <param name="onFailure">An item could not be read or changed while it was.</param>
    /// <param name="onNotice">Something a person should know.</param>
    /// <param name="onItem">An entry is done: its path, what came of it (<c>new</c>, <c>changed</c>, <c>unmodified</c>, <c>failed</c>), its bytes.</param>
    public BackupMonitor(Action<ItemFailure>? onFailure = null, Action<string>? onNotice = null, Action<byte[], string, long>? onItem = null)
    {
        OnNotice = onNotice;
        OnFailure = onFailure;
        _progress = new BackupProgress
        {
            OnItemError = onFailure is null ? null : error => onFailure(new ItemFailure(error.Code, error.Path, error.Message)),
            OnNotice = onNotice,
            OnItem = onItem is null ? null : (path, outcome, bytes) => onItem(path, Word(outcome), bytes),
        };
    }

    internal Action<string>? OnNotice { get; }

    internal Action<ItemFailure>? OnFailure { get; }

    internal BackupProgress Progress => _progress;

    /// <summary>discovery, analysis, organisation, upload or verification: what the run mostly does now.</summary>
    public string Phase => _progress.Phase;

    public long FilesDone => _progress.FilesDone;

    public long BytesDone => _progress.BytesDone;

    /// <summary>Files met so far; all of them once <see cref="TotalsKnown"/>.</summary>
    public long FilesTotal => _progress.FilesTotal;

    public long BytesTotal => _progress.BytesTotal;

    /// <summary>Bytes appended to packs.</summary>
    public long BytesStored => _progress.BytesStored;

    public long Failures => _progress.Failures;

    public bool TotalsKnown => _progress.TotalsKnown;

    /// <summary>A path that is being worked on, as bytes.</summary>
    public byte[]? CurrentPath => _progress.CurrentPath;

    private static string Word(EntryOutcome outcome) => outcome switch
    {
        EntryOutcome.New => "new",
        EntryOutcome.Changed => "changed",
        EntryOutcome.Unmodified => "unmodified",
        _ => "failed",
    };
}

/// <summary>What a backup ended with.</summary>
public sealed record BackupOutcome
{
    /// <summary>The snapshot; null for a dry run, and where nothing changed and that was to make none.</summary>
    public SnapshotInfo? Snapshot { get; init; }

    public required BackupCounts Counts { get; init; }

    /// <summary>Items that could not be read or changed while they were read: not 0 means exit code 3.</summary>
    public required long Warnings { get; init; }

    /// <summary>What the repository grew by, in bytes.</summary>
    public required long BytesPut { get; init; }

    /// <summary>Objects whose lock on the storage was extended because the snapshot relies on them.</summary>
    public long LocksExtended { get; init; }

    /// <summary>Why locks could not be extended; null: all could, or the storage has none.</summary>
    public string? LockProblem { get; init; }
}
