using BackupIQ.Engine.Backup;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <summary>Which snapshots of a restic repository are taken over, and how.</summary>
/// <example>
/// <code>
/// using Secret password = new("of the restic repository"u8);
/// ResticImportRequest request = new() { Location = "/mnt/old/restic", Password = password, Query = new SnapshotQuery { Hosts = ["server"] } };
/// ResticImportOutcome outcome = await repository.ImportResticAsync(request, cancellationToken: cancellationToken);
/// Console.WriteLine($"{outcome.Imported} snapshots taken over, {outcome.Present} were here already");
/// </code>
/// </example>
public sealed record ResticImportRequest
{
    /// <summary>The folder of the restic repository; <c>local:</c> may stand before it.</summary>
    public required string Location { get; init; }

    /// <summary>Its password. It stays the caller's.</summary>
    public required Secret Password { get; init; }

    /// <summary>Ids of snapshots there, or 4 or more digits of one, or <c>latest</c>; empty: all that <see cref="Query"/> chooses.</summary>
    public IReadOnlyList<string> Names { get; init; } = [];

    /// <summary>Which snapshots are looked at.</summary>
    public SnapshotQuery Query { get; init; } = new();

    /// <summary>Say what would be taken over; read no file and store nothing.</summary>
    public bool DryRun { get; init; }

    /// <summary>As the command line takes it: <c>auto</c>, <c>zstd:9</c>, …</summary>
    public string Compression { get; init; } = "auto";
}

/// <summary>What became of a snapshot of a restic repository.</summary>
public sealed record ResticImportItem
{
    /// <summary>Its id there, 64 hex digits.</summary>
    public required string Original { get; init; }

    public required DateTimeOffset Time { get; init; }

    public required string Hostname { get; init; }

    /// <summary>What was backed up, as bytes.</summary>
    public required IReadOnlyList<byte[]> Paths { get; init; }

    public required IReadOnlyList<string> Tags { get; init; }

    /// <summary>
    /// <c>imported</c>; <c>present</c>: it was here already; <c>forgotten</c>: it was, and is forgotten, so it is not taken over again unless it is named;
    /// <c>failed</c>: nothing of it can be read; <c>planned</c>: a dry run would take it over.
    /// </summary>
    public required string State { get; init; }

    /// <summary>The snapshot here, if there is one.</summary>
    public string? SnapshotId { get; init; }

    /// <summary>What taking it over counted; null where it was not.</summary>
    public BackupCounts? Counts { get; init; }
}

/// <summary>What taking over ended with.</summary>
public sealed record ResticImportOutcome
{
    /// <summary>Every snapshot that was chosen, oldest first.</summary>
    public required IReadOnlyList<ResticImportItem> Items { get; init; }

    /// <summary>Files and folders that could not be read, and damage that was met: not 0 means exit code 3.</summary>
    public required long Warnings { get; init; }

    /// <summary>What the repository grew by, in bytes.</summary>
    public required long BytesPut { get; init; }

    public required TimeSpan Duration { get; init; }

    public int Imported => Items.Count(static item => item.State == "imported");

    public int Present => Items.Count(static item => item.State is "present" or "forgotten");

    public int Failed => Items.Count(static item => item.State == "failed");
}

/// <summary>Watches the taking over of snapshots: figures to poll at any time, and calls for single events, one at a time.</summary>
/// <param name="onFailure">Something could not be read.</param>
/// <param name="onNotice">Something a person should know.</param>
/// <param name="onItem">A snapshot is done with.</param>
public sealed class ResticImportMonitor(
    Action<ItemFailure>? onFailure = null, Action<string>? onNotice = null, Action<ResticImportItem>? onItem = null)
{
    private volatile BackupProgress _current = new();
    private long _bytesBefore;
    private long _filesBefore;
    private long _failuresBefore;
    private volatile int _snapshot;
    private volatile int _snapshots;

    /// <summary>The number of the snapshot that is being taken over, from 1 on; 0 before the first.</summary>
    public int Snapshot => _snapshot;

    /// <summary>How many are to be taken over.</summary>
    public int Snapshots => _snapshots;

    public long FilesDone => Interlocked.Read(ref _filesBefore) + _current.FilesDone;

    public long BytesDone => Interlocked.Read(ref _bytesBefore) + _current.BytesDone;

    /// <summary>Files of what is done, and of what is left as if each further snapshot were as large as this one.</summary>
    public long FilesTotal => Interlocked.Read(ref _filesBefore) + (_current.FilesTotal * (1 + Math.Max(0, _snapshots - _snapshot)));

    /// <summary>Bytes, likewise.</summary>
    public long BytesTotal => Interlocked.Read(ref _bytesBefore) + (_current.BytesTotal * (1 + Math.Max(0, _snapshots - _snapshot)));

    /// <summary>Whether all of the current snapshot is known, so that the totals are worth something.</summary>
    public bool TotalsKnown => _snapshot > 0 && _current.TotalsKnown;

    public long Failures => Interlocked.Read(ref _failuresBefore) + _current.Failures;

    /// <summary>A path that is being worked on, as bytes.</summary>
    public byte[]? CurrentPath => _current.CurrentPath;

    internal void Plan(int snapshots) => _snapshots = snapshots;

    internal BackupProgress Begin()
    {
        BackupProgress ended = _current;
        Interlocked.Add(ref _bytesBefore, ended.BytesDone);
        Interlocked.Add(ref _filesBefore, ended.FilesDone);
        Interlocked.Add(ref _failuresBefore, ended.Failures);
        _current = new BackupProgress
        {
            OnItemError = onFailure is null ? null : error => onFailure(new ItemFailure(error.Code, error.Path, error.Message)),
            OnNotice = onNotice,
        };
        _snapshot++;
        return _current;
    }

    internal void Notice(string text) => onNotice?.Invoke(text);

    internal void Done(ResticImportItem item) => onItem?.Invoke(item);
}
