namespace BackupIQ.Storage.Local;

/// <summary>What can be said about a folder that is used as storage.</summary>
public sealed record LocalOptions
{
    /// <summary>
    /// Overrides what <see cref="StorageCapabilities.ListingLag"/> says. Null goes by the kind of file system: a minute on network file
    /// systems, which is how long their clients trust what they know of a folder; five on FUSE, as rclone's mount does; else none.
    /// </summary>
    public TimeSpan? ListingLag { get; init; }
}
