using BackupIQ.Storage.Mirroring;

namespace BackupIQ.Jobs;

/// <summary>How mirrors are to be brought in step.</summary>
/// <example>
/// <code>
/// RepositoryOptions options = new() { Mirrors = ["s3://bucket/backup?region=eu-central-1"] };
/// foreach (MirrorReport mirror in await BackupIqStorage.SyncAsync("/mnt/disk/backup", new MirrorSyncRequest(), options))
/// {
///     Console.WriteLine($"{mirror.Location}: {(mirror.IsInStep ? "in step" : mirror.Problem)}");
/// }
/// </code>
/// </example>
public sealed record MirrorSyncRequest
{
    /// <summary>Fill a mirror on which nothing is. Not by itself: an empty folder may be a disk that is not mounted.</summary>
    public bool Fill { get; init; }

    /// <summary>Remove from the mirror what the repository has not.</summary>
    public bool Delete { get; init; }

    /// <summary>Even if more than half of the mirror's snapshots go by it.</summary>
    public bool AllowMass { get; init; }

    /// <summary>Read all packs on both sides, and replace what is damaged on one of them by what is whole on the other.</summary>
    public bool Verify { get; init; }

    /// <summary>Compare, and change nothing.</summary>
    public bool DryRun { get; init; }
}

/// <summary>Watches mirrors being brought in step: counters to poll at any time.</summary>
public sealed class MirrorMonitor
{
    private volatile MirrorPipeline? _pipeline;
    private long _objects;
    private long _bytes;

    /// <summary>The mirror that is being brought in step; null: none yet.</summary>
    public string? Mirror { get; private set; }

    /// <summary>Objects that it lacked.</summary>
    public long ObjectsTotal => Interlocked.Read(ref _objects);

    /// <summary>Their bytes.</summary>
    public long BytesTotal => Interlocked.Read(ref _bytes);

    /// <summary>Objects that it got.</summary>
    public long ObjectsDone => _pipeline?.Copied ?? 0;

    /// <summary>Their bytes.</summary>
    public long BytesDone => _pipeline?.BytesCopied ?? 0;

    /// <summary>Objects that were read and compared with their names.</summary>
    public long Verified => _pipeline?.Verified ?? 0;

    internal void Begin(string mirror, MirrorPlan plan, MirrorPipeline pipeline)
    {
        Mirror = mirror;
        Interlocked.Exchange(ref _objects, plan.MissingCount);
        Interlocked.Exchange(ref _bytes, plan.MissingBytes);
        _pipeline = pipeline;
    }
}

/// <summary>How a mirror stands, or what was done to bring it in step.</summary>
/// <param name="Location">Where it is.</param>
public sealed record MirrorReport(string Location)
{
    /// <summary>Whether it has all that the repository has, and nothing that it has not or only what nothing needs.</summary>
    public bool IsInStep { get; init; }

    /// <summary>Why it is not; null: it is.</summary>
    public string? Problem { get; init; }

    /// <summary>Objects that it lacked.</summary>
    public int Missing { get; init; }

    /// <summary>Their bytes.</summary>
    public long MissingBytes { get; init; }

    /// <summary>Objects that it had and the repository had not, snapshots not counted.</summary>
    public int Stray { get; init; }

    /// <summary>Their bytes.</summary>
    public long StrayBytes { get; init; }

    /// <summary>Snapshots that it had and the repository had not.</summary>
    public int StraySnapshots { get; init; }

    /// <summary>Objects that had another size.</summary>
    public int Differing { get; init; }

    /// <summary>Objects that it got.</summary>
    public int Copied { get; init; }

    /// <summary>Their bytes.</summary>
    public long BytesCopied { get; init; }

    /// <summary>Objects that were removed from it.</summary>
    public int Removed { get; init; }

    /// <summary>Packs that were read on both sides.</summary>
    public int Verified { get; init; }

    /// <summary>Packs that were damaged on it and are whole now.</summary>
    public int Healed { get; init; }

    /// <summary>Packs that were damaged in the repository and are whole now.</summary>
    public int HealedBack { get; init; }

    /// <summary>Objects that are damaged and have no whole copy: exit code 14.</summary>
    public IReadOnlyList<string> Damaged { get; init; } = [];

    /// <summary>How its provider does; null: it is on this machine, or could not be reached.</summary>
    public StorageHealthInfo? Health { get; init; }

    internal static MirrorReport Of(string location, MirrorPlan plan) => new(location)
    {
        IsInStep = plan.IsInStep,
        Missing = plan.MissingCount,
        MissingBytes = plan.MissingBytes,
        Stray = plan.StrayCount,
        StrayBytes = plan.StrayBytes,
        StraySnapshots = plan.StrayRootCount,
        Differing = plan.DifferingCount,
    };
}
