using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Copy;

/// <summary>Counters of a running copy: written by the run, read by anybody at any time.</summary>
public sealed class CopyProgress
{
    private volatile BackupProgress? _current;
    private volatile Snapshot? _snapshot;
    private int _total;
    private int _done;
    private long _bytesBefore;
    private long _failuresBefore;

    /// <summary>Snapshots that are to be copied.</summary>
    public int SnapshotsTotal => Volatile.Read(ref _total);

    /// <summary>Those that are done with.</summary>
    public int SnapshotsDone => Volatile.Read(ref _done);

    /// <summary>The one that is being copied; null before and after.</summary>
    public Snapshot? Snapshot => _snapshot;

    /// <summary>Counters of the snapshot that is being copied: what of it must be read, and what is read.</summary>
    public BackupProgress? Current => _current;

    /// <summary>Bytes read of all snapshots.</summary>
    public long BytesRead => Interlocked.Read(ref _bytesBefore) + (_current?.BytesDone ?? 0);

    /// <summary>Files and folders that could not be read.</summary>
    public long Failures => Interlocked.Read(ref _failuresBefore) + (_current?.Failures ?? 0);

    /// <summary>Called, on a worker's thread and one at a time, for each item that could not be read.</summary>
    public Action<Snapshot, SourceItemException>? OnItemError { get; init; }

    /// <summary>Called with each snapshot that is done with.</summary>
    public Action<CopiedSnapshot>? OnSnapshot { get; init; }

    /// <summary>Called with what a person should know.</summary>
    public Action<string>? OnNotice { get; init; }

    internal void Start(int snapshots) => Volatile.Write(ref _total, snapshots);

    internal BackupProgress Begin(Snapshot snapshot)
    {
        BackupProgress progress = new()
        {
            OnItemError = OnItemError is null ? null : error => OnItemError(snapshot, error),
            OnNotice = OnNotice,
        };
        _snapshot = snapshot;
        _current = progress;
        return progress;
    }

    internal void End(BackupProgress progress)
    {
        _current = null;
        _snapshot = null;
        Interlocked.Add(ref _bytesBefore, progress.BytesDone);
        Interlocked.Add(ref _failuresBefore, progress.Failures);
    }

    internal void Done(CopiedSnapshot snapshot)
    {
        if (snapshot.Outcome is CopyOutcome.Copied or CopyOutcome.Damaged)
        {
            Interlocked.Increment(ref _done);
        }

        OnSnapshot?.Invoke(snapshot);
    }
}
