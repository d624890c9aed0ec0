using System.Diagnostics;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Restore;

/// <summary>What a restore did, or in a dry run would do, with an entry.</summary>
public enum RestoreAction
{
    /// <summary>Made anew.</summary>
    Restored,

    /// <summary>Was there and was changed.</summary>
    Updated,

    /// <summary>Was there and is right.</summary>
    Unchanged,

    /// <summary>Was left because of the overwrite rule.</summary>
    Skipped,

    /// <summary>Was removed because the snapshot does not have it.</summary>
    Deleted,
}

/// <summary>Counters of a running restore: written by its workers, read by anybody at any time.</summary>
public sealed class RestoreProgress
{
    private const int MaxExamples = 5;

    private static readonly (MetadataLoss Loss, string Message)[] s_losses =
    [
        (MetadataLoss.Owner, "the owner could not be set: only root may give files away; they belong to the user who restores"),
        (MetadataLoss.SpecialBits, "setuid or setgid was left off, because the owner could not be set"),
        (MetadataLoss.Mode, "the permissions could not be set"),
        (MetadataLoss.PrivilegedAttribute, "an extended attribute (capability, trusted or security) could not be set: only root may"),
        (MetadataLoss.Attribute, "an extended attribute or ACL could not be set: the target's file system does not take it"),
        (MetadataLoss.Time, "the modification time could not be set"),
        (MetadataLoss.Device, "a device was left out: only root may make devices"),
    ];

    private readonly Lock _gate = new();
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly List<RestoreIssue> _issues = [];
    private readonly Dictionary<string, (long Count, List<byte[]> Examples)> _warnings = new(StringComparer.Ordinal);
    private long _totalFiles;
    private long _totalBytes;
    private long _filesRestored;
    private long _filesUnchanged;
    private long _filesSkipped;
    private long _filesDeleted;
    private long _filesVerified;
    private long _filesFailed;
    private long _bytesRestored;
    private long _bytesDone;
    private long _expectedFiles;
    private long _expectedBytes;
    private long _errors;
    private bool _damage;
    private volatile byte[]? _currentPath;
    private volatile bool _totalsKnown;

    /// <summary>Called for each entry that was not restored; one at a time, on a worker's thread.</summary>
    public Action<RestoreIssue>? OnIssue { get; init; }

    /// <summary>Called for each entry with what was (or would be) done with it and its size, when set; one at a time, on a worker's thread.</summary>
    public Action<RestoreAction, byte[], long>? OnItem { get; init; }

    /// <summary>Entries of the restore: what the snapshot says where that is the whole of it, else those found so far.</summary>
    public long TotalFiles => Math.Max(Interlocked.Read(ref _expectedFiles), Interlocked.Read(ref _totalFiles));

    public long TotalBytes => Math.Max(Interlocked.Read(ref _expectedBytes), Interlocked.Read(ref _totalBytes));

    public long FilesRestored => Interlocked.Read(ref _filesRestored);

    public long FilesUnchanged => Interlocked.Read(ref _filesUnchanged);

    public long FilesSkipped => Interlocked.Read(ref _filesSkipped);

    public long FilesDeleted => Interlocked.Read(ref _filesDeleted);

    /// <summary>Bytes of content written.</summary>
    public long BytesRestored => Interlocked.Read(ref _bytesRestored);

    /// <summary>Entries that are done with, whatever came of them.</summary>
    public long FilesDone => FilesRestored + FilesUnchanged + FilesSkipped + Interlocked.Read(ref _filesFailed);

    /// <summary>The totals are final.</summary>
    public bool TotalsKnown { get => _totalsKnown; internal set => _totalsKnown = value; }

    /// <summary>The path, in bytes, of an entry that was worked on lately.</summary>
    public byte[]? CurrentPath { get => _currentPath; internal set => _currentPath = value; }

    /// <summary>Share that is done, 0 to 1, by bytes; 0 while the totals are unknown.</summary>
    public double PercentDone
    {
        get
        {
            long total = TotalBytes;
            long files = TotalFiles;
            return !TotalsKnown ? 0
                : total > 0 ? Math.Clamp((double)Interlocked.Read(ref _bytesDone) / total, 0, 1)
                : files > 0 ? Math.Clamp((double)FilesDone / files, 0, 1) : 0;
        }
    }

    /// <summary>Seconds since the restore began.</summary>
    public double SecondsElapsed => Stopwatch.GetElapsedTime(_started).TotalSeconds;

    /// <summary>Seconds that the rest will take at the mean rate so far, or null while that cannot be told.</summary>
    public double? SecondsRemaining
    {
        get
        {
            double done = PercentDone;
            return done is > 0.001 and <= 1 ? SecondsElapsed * (1 - done) / done : null;
        }
    }

    internal bool WantsItems => OnItem is not null;

    internal void Expect(long files, long bytes)
    {
        Interlocked.Exchange(ref _expectedFiles, files);
        Interlocked.Exchange(ref _expectedBytes, bytes);
        TotalsKnown = true;
    }

    internal void TotalsAreFinal()
    {
        Interlocked.Exchange(ref _expectedFiles, 0);
        Interlocked.Exchange(ref _expectedBytes, 0);
        TotalsKnown = true;
    }

    /// <summary>An entry was met. Its holes are not written, though what the snapshot says of itself counts them.</summary>
    internal void Found(long bytes, long holes)
    {
        Interlocked.Increment(ref _totalFiles);
        Interlocked.Add(ref _totalBytes, bytes);
        Interlocked.Add(ref _expectedBytes, -holes);
    }

    internal void Wrote(long bytes)
    {
        Interlocked.Add(ref _bytesRestored, bytes);
        Interlocked.Add(ref _bytesDone, bytes);
    }

    /// <summary>Bytes that need not be written, for the percentage.</summary>
    internal void Spared(long bytes) => Interlocked.Add(ref _bytesDone, bytes);

    internal void Verified() => Interlocked.Increment(ref _filesVerified);

    internal void Count(RestoreAction action)
    {
        switch (action)
        {
            case RestoreAction.Restored or RestoreAction.Updated: Interlocked.Increment(ref _filesRestored); break;
            case RestoreAction.Unchanged: Interlocked.Increment(ref _filesUnchanged); break;
            case RestoreAction.Skipped: Interlocked.Increment(ref _filesSkipped); break;
            case RestoreAction.Deleted: Interlocked.Increment(ref _filesDeleted); break;
        }
    }

    internal void Tell(RestoreAction action, byte[] path, long size)
    {
        if (OnItem is { } handler)
        {
            lock (_gate)
            {
                handler(action, path, size);
            }
        }
    }

    /// <summary>An entry failed (<paramref name="isEntry"/>) or something else did, such as a page of a directory.</summary>
    internal void Fail(ErrorCode code, byte[] path, string message, bool isEntry = true)
    {
        RestoreIssue issue = new(code, path, message);
        lock (_gate)
        {
            _errors++;
            _damage |= code.ExitCode == ErrorCodes.DamageFound.ExitCode;
            if (isEntry)
            {
                _filesFailed++;
            }

            if (_issues.Count < RestoreResult.MaxIssues)
            {
                _issues.Add(issue);
            }

            OnIssue?.Invoke(issue);
        }
    }

    /// <summary>Damage that cost nothing, because what was lost was found elsewhere.</summary>
    internal void Spare(string message, Func<byte[]> path)
    {
        lock (_gate)
        {
            _damage = true;
        }

        Warn(message, path);
    }

    internal void Lose(MetadataLoss loss, Func<byte[]> path)
    {
        foreach ((MetadataLoss kind, string message) in s_losses)
        {
            if ((loss & kind) != 0)
            {
                Warn(message, path);
            }
        }
    }

    internal void Warn(string message, Func<byte[]> path)
    {
        lock (_gate)
        {
            (long count, List<byte[]> examples) = _warnings.TryGetValue(message, out (long, List<byte[]>) known) ? known : (0, []);
            if (examples.Count < MaxExamples)
            {
                examples.Add(path());
            }

            _warnings[message] = (count + 1, examples);
        }
    }

    internal RestoreResult ToResult()
    {
        lock (_gate)
        {
            return new RestoreResult
            {
                TotalFiles = Interlocked.Read(ref _totalFiles),
                FilesRestored = FilesRestored,
                TotalBytes = Interlocked.Read(ref _totalBytes),
                BytesRestored = BytesRestored,
                FilesUnchanged = FilesUnchanged,
                FilesSkipped = FilesSkipped,
                FilesDeleted = FilesDeleted,
                FilesVerified = Interlocked.Read(ref _filesVerified),
                Warnings = [.. _warnings.Select(static w => new RestoreWarning(w.Key, w.Value.Count, w.Value.Examples))],
                Errors = [.. _issues],
                ErrorCount = _errors,
                DamageFound = _damage,
                Duration = Stopwatch.GetElapsedTime(_started),
            };
        }
    }
}
