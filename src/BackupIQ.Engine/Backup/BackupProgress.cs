using BackupIQ.Engine.Snapshots;
using BackupIQ.Repository.Maintenance;

namespace BackupIQ.Engine.Backup;

/// <summary>Counters of a running backup: written by its workers, read by anybody at any time.</summary>
public sealed class BackupProgress
{
    private readonly Lock _callbacks = new();
    private long _filesDone;
    private long _bytesDone;
    private long _filesTotal;
    private long _bytesTotal;
    private long _bytesStored;
    private long _failures;
    private volatile byte[]? _currentPath;
    private volatile bool _totalsKnown;
    private volatile string _phase = "discovery";

    /// <summary>discovery, analysis, organisation, upload or verification: what the run mostly does now.</summary>
    public string Phase { get => _phase; internal set => _phase = value; }

    public long FilesDone => Interlocked.Read(ref _filesDone);

    public long BytesDone => Interlocked.Read(ref _bytesDone);

    /// <summary>Files met so far; all of them once <see cref="TotalsKnown"/>.</summary>
    public long FilesTotal => Interlocked.Read(ref _filesTotal);

    public long BytesTotal => Interlocked.Read(ref _bytesTotal);

    /// <summary>Bytes appended to packs.</summary>
    public long BytesStored => Interlocked.Read(ref _bytesStored);

    public long Failures => Interlocked.Read(ref _failures);

    /// <summary>The walk has ended, so the totals are final and an ETA makes sense.</summary>
    public bool TotalsKnown { get => _totalsKnown; internal set => _totalsKnown = value; }

    /// <summary>A path that is being worked on, as bytes.</summary>
    public byte[]? CurrentPath { get => _currentPath; internal set => _currentPath = value; }

    /// <summary>Called, on a worker's thread and one at a time, for each item that could not be read or changed while it was read.</summary>
    public Action<SourceItemException>? OnItemError { get; init; }

    /// <summary>Called for each entry with what came of it, when set (<c>-vv</c>); one at a time.</summary>
    public Action<byte[], EntryOutcome, long>? OnItem { get; init; }

    /// <summary>Called with what a person should know: an excluded repository, a codec that is missing. One at a time.</summary>
    public Action<string>? OnNotice { get; init; }

    /// <summary>Everything is looked at once more: what was counted no longer counts.</summary>
    internal void BeginAgain()
    {
        _totalsKnown = false;
        Interlocked.Exchange(ref _filesDone, 0);
        Interlocked.Exchange(ref _bytesDone, 0);
        Interlocked.Exchange(ref _filesTotal, 0);
        Interlocked.Exchange(ref _bytesTotal, 0);
        Interlocked.Exchange(ref _failures, 0);
    }

    internal void Found(long bytes)
    {
        Interlocked.Increment(ref _filesTotal);
        Interlocked.Add(ref _bytesTotal, bytes);
    }

    /// <summary>Bytes that were met need not be read.</summary>
    internal void Spared(long bytes) => Interlocked.Add(ref _bytesTotal, -bytes);

    internal void FileDone() => Interlocked.Increment(ref _filesDone);

    internal void BytesRead(long bytes) => Interlocked.Add(ref _bytesDone, bytes);

    internal void Stored(long bytes) => Interlocked.Add(ref _bytesStored, bytes);

    internal void Failed(SourceItemException error)
    {
        Interlocked.Increment(ref _failures);
        if (OnItemError is { } handler)
        {
            lock (_callbacks)
            {
                handler(error);
            }
        }
    }
}

/// <summary>What came of an entry.</summary>
public enum EntryOutcome
{
    New,
    Changed,
    Unmodified,
    Failed,
}

/// <summary>What a backup ended with.</summary>
public sealed record BackupResult
{
    /// <summary>What came of extending the locks of what the snapshot relies on.</summary>
    public LockExtension Locks { get; init; } = LockExtension.None;

    /// <summary>The snapshot that was committed; null for a dry run and where nothing changed and that was to make none.</summary>
    public Snapshot? Snapshot { get; init; }

    /// <summary>Counts, also where there is no snapshot.</summary>
    public required SnapshotSummary Summary { get; init; }

    /// <summary>How many items could not be read or changed while they were read: not 0 means exit code 3.</summary>
    public long Warnings { get; init; }

    /// <summary>Bytes of packs, index segments and the snapshot that this run put: what the repository grew by.</summary>
    public long BytesPut { get; init; }

    /// <summary>Damage of the repository that the run met and could do without, a sentence each.</summary>
    public IReadOnlyList<string> Damage { get; init; } = [];
}
