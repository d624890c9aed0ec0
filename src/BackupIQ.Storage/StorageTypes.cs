namespace BackupIQ.Storage;

/// <summary>What came of a put.</summary>
public enum PutOutcome
{
    /// <summary>The object is there with these bytes, put now or by an earlier try of the same put.</summary>
    Stored,

    /// <summary>Another object has that key; nothing was changed.</summary>
    AlreadyThere,
}

/// <summary>What a storage can do. What is not declared is not used.</summary>
public sealed record StorageCapabilities
{
    /// <summary>A put on a taken key is refused by the storage itself, even when two clients put at once.</summary>
    public required bool ConditionalPut { get; init; }

    /// <summary>How long after a put returned a listing may still miss the object. Zero for storage that lists what it holds.</summary>
    public TimeSpan ListingLag { get; init; }

    /// <summary>Whether <see cref="StoredObject.StoredAt"/> comes from the storage's own clock.</summary>
    public bool HasStoreClock { get; init; }

    /// <summary>Whether objects may be deleted at all; false where it is known that they may not.</summary>
    public bool CanDelete { get; init; } = true;

    /// <summary>How many objects one request can delete (<see cref="IStorageBackend.DeleteAllAsync"/>).</summary>
    public int DeletesAtOnce { get; init; } = 1;

    /// <summary>Reads cost no more than a local disk's: plain <c>check</c> may then read whole packs.</summary>
    public bool IsLocal { get; init; }

    /// <summary>What a folder is mounted from that is not on a disk of this machine: <c>nfs4 server:/export</c>; null: it is, or this is no folder.</summary>
    public string? Mount { get; init; }

    /// <summary>Whether what is deleted or replaced is kept as an older version; null where the storage does not tell.</summary>
    public bool? KeepsVersions { get; init; }

    /// <summary>How long objects that matter are locked when they are put: until then the storage refuses to delete them. Null: no lock was asked for.</summary>
    public TimeSpan? LocksFor { get; init; }

    /// <summary>Whether locks can be extended (<see cref="IStorageBackend.ExtendLockAsync"/>).</summary>
    public bool ExtendsLocks { get; init; }

    /// <summary>The checksum that goes with each put and by which the storage refuses bytes that arrived changed: <c>Content-MD5</c>; null: none.</summary>
    public string? Checksum { get; init; }

    /// <summary>The archive that objects are put into, of those that may lie in one, as it was asked for; null: none. Somebody else may have moved them to one all the same.</summary>
    public StorageArchive? Archive { get; init; }

    /// <summary>How the storage encrypts what is put, where that was asked for and it said that it does: <c>AES256</c>. Null: it was not asked for.</summary>
    public string? ServerEncryption { get; init; }
}

/// <summary>Whether an object can be read as it lies.</summary>
public enum StorageReadiness
{
    /// <summary>It can.</summary>
    Ready,

    /// <summary>It lies in an archive, and has to be recalled first.</summary>
    Archived,

    /// <summary>It lies in an archive and is being brought back.</summary>
    Returning,
}

/// <summary>How soon what lies in an archive is wanted; the sooner, the dearer.</summary>
public enum RecallPriority
{
    /// <summary>When it suits the storage.</summary>
    Bulk,

    /// <summary>The usual way.</summary>
    Standard,

    /// <summary>As soon as may be.</summary>
    Expedited,
}

/// <summary>How objects are to be brought back from an archive.</summary>
/// <param name="Priority">How soon.</param>
/// <param name="Days">How long they are to stay readable, where the storage makes a copy for a time; elsewhere they stay until somebody archives them again.</param>
public sealed record RecallOrder(RecallPriority Priority, int Days);

/// <summary>An archive in which objects of a storage lie.</summary>
/// <param name="Name">The storage's own word for it: <c>DEEP_ARCHIVE</c>.</param>
/// <param name="Takes">Within which time objects are back as a rule; what is not there is not offered.</param>
public sealed record StorageArchive(string Name, IReadOnlyDictionary<RecallPriority, TimeSpan> Takes);

/// <summary>An object as listings and stats tell of it.</summary>
/// <param name="Key">Its key.</param>
/// <param name="Size">Bytes.</param>
/// <param name="StoredAt">When it was stored, by the storage's clock where it has one.</param>
public readonly record struct StoredObject(StorageKey Key, long Size, DateTimeOffset StoredAt);

/// <summary>Space on a storage in bytes; null is unknown.</summary>
public sealed record StorageSpace(long? Total, long? Used, long? Free);
