namespace BackupIQ.Jobs;

/// <summary>What a storage is, holds and costs, as seen without any key.</summary>
public sealed record StorageReport
{
    /// <summary>The storage, without secrets.</summary>
    public required string Location { get; init; }

    /// <summary>What it says that it can do.</summary>
    public required StorageCapabilityInfo Capabilities { get; init; }

    /// <summary>Its space.</summary>
    public required StorageInfo Space { get; init; }

    /// <summary>What a repository holds there, by kind; kinds without an object are left out.</summary>
    public required IReadOnlyList<StoredKind> Kinds { get; init; }

    /// <summary>How its mirrors stand; none where none was named.</summary>
    public IReadOnlyList<MirrorReport> Mirrors { get; init; } = [];

    /// <summary>How its provider did while all of this was found out; null for a storage on this machine, which has none.</summary>
    public StorageHealthInfo? Health { get; init; }
}

/// <summary>A folder that is not on a disk of this machine.</summary>
/// <param name="Name">Kind and source: <c>nfs4 server:/export</c>.</param>
/// <param name="ListingLag">How long listings there are taken to miss what others put.</param>
public sealed record NetworkMountInfo(string Name, TimeSpan ListingLag);

/// <summary>Objects of one kind.</summary>
/// <param name="Kind">Such as <c>data packs</c>.</param>
/// <param name="Objects">How many.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="Newest">When the newest was stored.</param>
public sealed record StoredKind(string Kind, long Objects, long Bytes, DateTimeOffset Newest);
