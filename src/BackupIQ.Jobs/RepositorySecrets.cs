using BackupIQ.Engine.Reading;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <summary>What opens a repository; any one is enough. The secrets stay the caller's.</summary>
/// <example>
/// <code>
/// using Secret password = new("correct horse battery staple"u8);
/// RepositorySecrets mine = new() { Password = password };
/// await using BackupIqRepository opened = await BackupIqRepository.OpenAsync("/mnt/disk/backup", mine, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed record RepositorySecrets
{
    /// <summary>The password's bytes.</summary>
    public Secret? Password { get; init; }

    /// <summary>The key file's bytes: at least 32, random.</summary>
    public Secret? KeyFile { get; init; }

    /// <summary>
    /// A key of a key service: <c>local:FILE</c> or <c>local:FILE#KEY</c> for a <see cref="BackupIqKeystore"/>, <c>pkcs11:</c>, <c>vault:</c> and the
    /// others of docs/keys-kms.md.
    /// </summary>
    public string? Kms { get; init; }

    /// <summary>
    /// The file that gets a line for each use of a key that <see cref="Kms"/> names, unless that is of a local keystore, which has its own log.
    /// Without a log that can be written no key is used. Null: the service's own log is enough.
    /// </summary>
    public string? KeyLog { get; init; }

    /// <summary>The password of the local keystore that <see cref="Kms"/> names.</summary>
    public Secret? KeystorePassword { get; init; }

    /// <summary>The text of a recovery kit, or of the part of it that holds the secret.</summary>
    public string? RecoveryKit { get; init; }
}

/// <summary>How a repository is used by one process.</summary>
/// <example>
/// <code>
/// RepositoryOptions options = new()
/// {
///     CacheFolder = "/home/ann/.cache/backupiq",
///     MemoryBudget = 134_217_728,
///     OnDamage = finding => Console.Error.WriteLine(finding),
/// };
/// await using BackupIqRepository opened = await BackupIqRepository.OpenAsync("/mnt/disk/backup", secrets, options, cancellationToken: cancellationToken);
/// </code>
/// </example>
public sealed record RepositoryOptions
{
    /// <summary>The folder of local caches, which can be deleted at any time; null: none is kept.</summary>
    public string? CacheFolder { get; init; }

    /// <summary>
    /// Bytes that the caches of all repositories may have when one is closed: what was used the longest ago goes first, and what is in use stays. 8 GiB: the index of some
    /// hundred terabytes, or the folders of some hundred million files.
    /// </summary>
    public long CacheLimit { get; init; } = 8L << 30;

    /// <summary>Hears how many of the index segments that are not in the cache have been read, and how many there are: a first look at a large repository takes its time. On any thread.</summary>
    public Action<int, int>? OnIndexRead { get; init; }

    /// <summary>
    /// Storages that hold the same as the repository's own, each a repository that opens by itself: what is put goes to all, and is read from them where the own one is away
    /// (docs/storage/destinations.md). None is made but with the repository.
    /// </summary>
    public IReadOnlyList<string> Mirrors { get; init; } = [];

    /// <summary>Bytes of buffers that a backup or restore may use. 256 MiB: enough for every core of a common machine, little beside what it runs.</summary>
    public long MemoryBudget { get; init; } = 256L << 20;

    /// <summary>
    /// Whether this process may only add: true, it may; false, it maintains the repository; null: as the repository itself says.
    /// </summary>
    public bool? AppendOnly { get; init; }

    /// <summary>Workers; 0: one per core, fewer where the budget is small.</summary>
    public int Jobs { get; init; }

    /// <summary>Bytes per second to the storage, which may differ by the time of day; a number is a rate for all day, 0 no limit.</summary>
    public RateSchedule UploadLimit { get; init; } = RateSchedule.Unlimited;

    /// <summary>Bytes per second from the storage, likewise.</summary>
    public RateSchedule DownloadLimit { get; init; } = RateSchedule.Unlimited;

    /// <summary>Requests per second to a remote storage; 0: no limit.</summary>
    public int RequestLimit { get; init; }

    /// <summary>
    /// How requests to a remote storage are made again that failed for its sake: <c>quick</c> (3 attempts within 2 s), <c>standard</c> (3,
    /// from 1 s), <c>aggressive</c> (10, up to a minute apart) or <c>patient</c> (20, up to ten minutes apart).
    /// </summary>
    public string RetryProfile { get; init; } = "standard";

    /// <summary>Most requests at once to a remote storage; 0: 16. How many of them are used follows from its latency.</summary>
    public int RequestsAtOnce { get; init; }

    /// <summary>A request to a remote storage is given up when no byte moved for so long; null: 60 s, or what the URL says.</summary>
    public TimeSpan? StorageTimeout { get; init; }

    /// <summary>The least TLS to a remote storage, <c>1.2</c> or <c>1.3</c>, where the URL does not say; what is newer is used where the server has it.</summary>
    public string TlsMinimum { get; init; } = "1.2";

    /// <summary>How long listings of a folder on a network mount may miss what others put; null: by the kind of file system.</summary>
    public TimeSpan? ListingLag { get; init; }

    /// <summary>The providers that this repository shares with others of the program; null: it has its own.</summary>
    public StorageProviders? Providers { get; init; }

    /// <summary>Hears of retries, of a storage that is left alone for a while, and of clocks that differ. On any thread.</summary>
    public Action<StorageNotice>? OnStorageNotice { get; init; }

    /// <summary>
    /// See the repository as it was at this moment: snapshots committed later, by the clock of the machine that was backed up, are not
    /// there. Null: as it is. Nothing may be written then.
    /// </summary>
    public DateTimeOffset? At { get; init; }

    /// <summary>
    /// Hears, once each, of damage of the repository that is met on the way and prevents nothing: a sentence. On any thread, one at a time.
    /// </summary>
    public Action<string>? OnDamage { get; init; }

    // Half for what is kept opened: the other half is left to those who read.
    internal ReadingOptions ToReading() => new() { MemoryBudget = MemoryBudget / 2, Concurrency = Jobs };
}

/// <summary>What a repository says of itself.</summary>
/// <param name="Id">32 hex digits.</param>
/// <param name="Label">What its owner calls it; may be empty.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Generation">How often its configuration was written.</param>
/// <param name="AppendOnly">Whether clients only add unless they are told that they maintain it.</param>
public sealed record RepositorySettingsInfo(string Id, string Label, DateTimeOffset Created, int Generation, bool AppendOnly);

/// <summary>A way into a repository.</summary>
/// <param name="Id">32 hex digits.</param>
/// <param name="Type"><c>password</c>, <c>keyfile</c>, <c>kit</c> or <c>kms</c>.</param>
/// <param name="Label">What its owner calls it.</param>
/// <param name="Created">When it was made.</param>
/// <param name="IsCurrent">Whether it opened the repository now.</param>
public sealed record KeyInfo(string Id, string Type, string Label, DateTimeOffset Created, bool IsCurrent)
{
    /// <summary>The newest key epoch that it opens; null: it does not say, for an older version made it.</summary>
    public int? Epoch { get; init; }

    /// <summary>Whether a new epoch can be begun for it without its secret.</summary>
    public bool CanFollow { get; init; }

    /// <summary>Of a key service's key: which service; else null.</summary>
    public string? Service { get; init; }

    /// <summary>Of a key service's key: its name there; else null.</summary>
    public string? ServiceKey { get; init; }
}

/// <summary>A key epoch.</summary>
/// <param name="Epoch">Its number, from 1.</param>
/// <param name="Begun">When it began; null: not known any more.</param>
/// <param name="StoredBytes">What is stored under it, compressed and sealed.</param>
public sealed record KeyEpoch(int Epoch, DateTimeOffset? Begun, long StoredBytes);

/// <summary>What a new key epoch would do.</summary>
/// <param name="Epoch">Its number.</param>
/// <param name="Follow">The keys that open it.</param>
/// <param name="CannotFollow">Those that an older version made: they are changed first, or they go.</param>
public sealed record KeyEpochPlan(int Epoch, IReadOnlyList<KeyInfo> Follow, IReadOnlyList<KeyInfo> CannotFollow);

/// <summary>What beginning an epoch did.</summary>
/// <param name="Epoch">Its number.</param>
/// <param name="LeftBehind">Keys that somebody added meanwhile; they must be added again.</param>
public sealed record KeyEpochOutcome(int Epoch, IReadOnlyList<KeyInfo> LeftBehind);

/// <summary>A key of a key service.</summary>
/// <param name="Service">Which service: <c>local:</c> and a keystore's id, for example.</param>
/// <param name="Key">Its name there.</param>
/// <param name="IsEnabled">Whether it may be used.</param>
/// <param name="Rotated">When its newest version was made; null where the service does not tell.</param>
public sealed record ServiceKeyInfo(string Service, string Key, bool IsEnabled, DateTimeOffset? Rotated);
