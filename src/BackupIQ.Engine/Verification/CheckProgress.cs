namespace BackupIQ.Engine.Verification;

/// <summary>Counters of a running check: written by its workers, read by anybody at any time.</summary>
public sealed class CheckProgress
{
    private volatile string _phase = "index";
    private long _packsDone;
    private long _packsTotal;
    private long _bytesDone;
    private long _bytesTotal;
    private long _snapshotsDone;
    private long _snapshotsTotal;
    private long _directoriesDone;
    private long _startedAt;
    private TimeProvider? _time;

    /// <summary>index, objects, packs, snapshots or damage: what the check does now.</summary>
    public string Phase { get => _phase; internal set => _phase = value; }

    public long PacksDone => Interlocked.Read(ref _packsDone);

    public long PacksTotal => Interlocked.Read(ref _packsTotal);

    /// <summary>Bytes of packs read so far.</summary>
    public long BytesDone => Interlocked.Read(ref _bytesDone);

    /// <summary>Bytes of packs that will be read, as far as is known.</summary>
    public long BytesTotal => Interlocked.Read(ref _bytesTotal);

    /// <summary>Snapshots whose graph has been begun.</summary>
    public long SnapshotsDone => Interlocked.Read(ref _snapshotsDone);

    public long SnapshotsTotal => Interlocked.Read(ref _snapshotsTotal);

    /// <summary>Distinct directories read.</summary>
    public long DirectoriesDone => Interlocked.Read(ref _directoriesDone);

    /// <summary>Bytes of packs read per second since the check began.</summary>
    public double BytesPerSecond =>
        _time is { } time && time.GetElapsedTime(_startedAt).TotalSeconds is > 0 and double seconds ? BytesDone / seconds : 0;

    internal void Start(TimeProvider time)
    {
        _startedAt = time.GetTimestamp();
        _time = time;
    }

    internal void WillRead(long packs, long bytes)
    {
        Interlocked.Add(ref _packsTotal, packs);
        Interlocked.Add(ref _bytesTotal, bytes);
    }

    internal void WillWalk(long snapshots) => Interlocked.Exchange(ref _snapshotsTotal, snapshots);

    internal void PackDone() => Interlocked.Increment(ref _packsDone);

    internal void BytesRead(long bytes) => Interlocked.Add(ref _bytesDone, bytes);

    internal void SnapshotDone() => Interlocked.Increment(ref _snapshotsDone);

    internal void DirectoryDone() => Interlocked.Increment(ref _directoriesDone);
}
