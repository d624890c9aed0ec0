using BackupIQ.Engine.Restore;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Jobs;

/// <summary>What is to be restored, and how. Paths and patterns are bytes, as the operating system has them.</summary>
/// <example>
/// <code>
/// RestoreRequest request = new() { Snapshot = "latest", Path = "/home/ann/docs"u8.ToArray(), Target = "/tmp/docs"u8.ToArray(), Verify = true };
/// RestoreMonitor monitor = new(failure => Console.Error.WriteLine($"{System.Text.Encoding.UTF8.GetString(failure.Path)}: {failure.Message}"));
/// RestoreOutcome outcome = await repository.RestoreAsync(request, monitor, cancellationToken);
/// Console.WriteLine($"{outcome.FilesRestored} restored, {outcome.FilesVerified} verified, exit code {outcome.ExitCode}");
/// </code>
/// </example>
public sealed record RestoreRequest
{
    /// <summary>The snapshot, in any form that names one.</summary>
    public required string Snapshot { get; init; }

    /// <summary>
    /// <c>/</c> restores everything with its absolute paths below the target; another path of a folder its content, of a file the file.
    /// </summary>
    public byte[] Path { get; init; } = [(byte)'/'];

    /// <summary>The folder to restore into; made when it is not there.</summary>
    public required byte[] Target { get; init; }

    /// <summary>What happens to files that are there: <c>always</c>, <c>if-changed</c>, <c>if-newer</c> or <c>never</c> overwritten.</summary>
    public string Overwrite { get; init; } = "always";

    /// <summary>When there are any, only what matches one is restored. Paths begin with a slash where the restore begins.</summary>
    public IReadOnlyList<byte[]> Includes { get; init; } = [];

    public IReadOnlyList<byte[]> Excludes { get; init; } = [];

    /// <summary>Remove from restored folders what the snapshot does not have.</summary>
    public bool Delete { get; init; }

    /// <summary>Read every restored file again and compare.</summary>
    public bool Verify { get; init; }

    /// <summary>Make holes of long runs of zeros.</summary>
    public bool Sparse { get; init; }

    public bool DryRun { get; init; }

    /// <summary>
    /// Wait until the storage has brought back what lies in an archive; false: it is asked to, and the restore ends with <c>StorageArchived</c>, to be run again. With this the storage
    /// is asked also where the repository's URL says nothing of an archive, as when somebody else moved objects to one.
    /// </summary>
    public bool WaitForArchive { get; init; }

    /// <summary>How soon: <c>bulk</c>, <c>standard</c> or <c>expedited</c>; the sooner, the dearer.</summary>
    public string ArchivePriority { get; init; } = "standard";

    /// <summary>How many days what came back stays readable, where the storage makes a copy for a time. 7: a restore that fails today is run again within the week.</summary>
    public int ArchiveDays { get; init; } = 7;

    /// <summary>How often the storage is asked while it is waited for. Five minutes: little beside the hours that it takes, and a request for each pack.</summary>
    public TimeSpan ArchivePoll { get; init; } = TimeSpan.FromMinutes(5);

    internal RecallOptions ToRecall(RestoreMonitor monitor) =>
        new() { Wait = WaitForArchive, Priority = ArchivePriority, Days = ArchiveDays, Poll = ArchivePoll, OnRecall = monitor.OnRecall };

    internal RestoreOptions ToOptions(RepositoryOptions options) => new()
    {
        Overwrite = Overwrite switch
        {
            "always" => OverwriteRule.Always,
            "if-changed" => OverwriteRule.IfChanged,
            "if-newer" => OverwriteRule.IfNewer,
            "never" => OverwriteRule.Never,
            _ => throw new BackupIQException(ErrorCodes.Usage, $"--overwrite: '{Overwrite}' is no rule", "Use always, if-changed, if-newer or never."),
        },
        Filter = Filter(),
        Delete = Delete,
        Verify = Verify,
        Sparse = Sparse,
        DryRun = DryRun,
        Concurrency = options.Jobs,
        MemoryBudget = options.MemoryBudget,
    };

    private RestoreFilter? Filter()
    {
        if (Includes.Count == 0 && Excludes.Count == 0)
        {
            return null;
        }

        PatternList includes = new(Includes, ignoreCase: false, "--include");
        PatternList excludes = new(Excludes, ignoreCase: false, "--exclude");
        return (path, _) =>
        {
            if (excludes.Matches(path))
            {
                return new FilterVerdict(false, false);
            }

            if (includes.Count == 0)
            {
                return new FilterVerdict(true, true);
            }

            bool selected = includes.Matches(path, out bool below);
            return new FilterVerdict(selected, selected || below);
        };
    }
}

/// <summary>Watches a restore: counters to poll at any time, and calls for single events (from workers, one at a time).</summary>
public sealed class RestoreMonitor
{
    private readonly RestoreProgress _progress;

    /// <summary>Makes a watcher; each call may be null.</summary>
    /// <param name="onFailure">An entry was not restored, or not wholly.</param>
    /// <param name="onItem">An entry is done: what was done (<c>restored</c>, <c>updated</c>, <c>unchanged</c>, <c>skipped</c>, <c>deleted</c>), its path, its bytes.</param>
    /// <param name="onRecall">Something that is needed lies in an archive; and then each time that fewer do, until none does.</param>
    public RestoreMonitor(Action<ItemFailure>? onFailure = null, Action<string, byte[], long>? onItem = null, Action<RecallInfo>? onRecall = null)
    {
        OnRecall = onRecall;
        _progress = new RestoreProgress
        {
            OnIssue = onFailure is null ? null : issue => onFailure(new ItemFailure(issue.Code, issue.Path, issue.Message)),
            OnItem = onItem is null ? null : (action, path, bytes) => onItem(action.ToString().ToLowerInvariant(), path, bytes),
        };
    }

    internal Action<RecallInfo>? OnRecall { get; }

    internal RestoreProgress Progress => _progress;

    public long TotalFiles => _progress.TotalFiles;

    public long TotalBytes => _progress.TotalBytes;

    public long FilesRestored => _progress.FilesRestored;

    /// <summary>Entries that are done with, whatever came of them.</summary>
    public long FilesDone => _progress.FilesDone;

    public long BytesRestored => _progress.BytesRestored;

    public bool TotalsKnown => _progress.TotalsKnown;

    /// <summary>Share that is done, 0 to 1.</summary>
    public double Share => _progress.PercentDone;

    /// <summary>Null while that cannot be told.</summary>
    public double? SecondsRemaining => _progress.SecondsRemaining;

    /// <summary>A path that was worked on lately, as bytes.</summary>
    public byte[]? CurrentPath => _progress.CurrentPath;
}

/// <summary>What a restore ended with. Entries are files, folders, links and devices alike.</summary>
public sealed record RestoreOutcome
{
    public required SnapshotInfo Snapshot { get; init; }

    public required long TotalFiles { get; init; }

    public required long FilesRestored { get; init; }

    public required long FilesUnchanged { get; init; }

    /// <summary>Left as they are because of the overwrite rule.</summary>
    public required long FilesSkipped { get; init; }

    public required long FilesDeleted { get; init; }

    /// <summary>Read back and found to be what the snapshot says; 0 without <see cref="RestoreRequest.Verify"/>.</summary>
    public required long FilesVerified { get; init; }

    public required long TotalBytes { get; init; }

    public required long BytesRestored { get; init; }

    /// <summary>Entries that were not restored; each was told to the monitor.</summary>
    public required long Errors { get; init; }

    /// <summary>What could not be set, such as owners without root: a sentence, how many entries, and the first of them.</summary>
    public required IReadOnlyList<(string Message, long Count, IReadOnlyList<byte[]> Examples)> Warnings { get; init; }

    public required TimeSpan Duration { get; init; }

    /// <summary>0 done, 3 done with warnings, 1 some entries failed, 14 the repository is damaged.</summary>
    public required int ExitCode { get; init; }
}
