namespace BackupIQ.Primitives;

/// <summary>Every failure that BackupIQ tells of. Adding one means adding its line to docs/errors.md; a test compares them.</summary>
public static class ErrorCodes
{
    public static readonly ErrorCode Internal = new("Internal", 500, 1, false, "This is a fault of BackupIQ. Run again with -vv and report what it prints.");
    public static readonly ErrorCode Usage = new("Usage", 400, 2, false, "See 'backupiq COMMAND --help'.");
    public static readonly ErrorCode Configuration = new("Configuration", 400, 2, false, "Correct the setting named; 'backupiq config show --origin' tells where it comes from.");
    public static readonly ErrorCode Validation = new("Validation", 422, 2, false, "Correct the value named.");
    public static readonly ErrorCode SecretUnavailable = new("SecretUnavailable", 500, 2, false, "Check the file, command or variable that holds the secret.");
    public static readonly ErrorCode Authentication = new("Authentication", 401, 12, false, "Check the password or key file. With the recovery kit: --recovery-kit FILE.");
    public static readonly ErrorCode KeyDamaged = new("KeyDamaged", 500, 12, false, "Open the repository with another password or with its recovery kit: --recovery-kit FILE.");
    public static readonly ErrorCode KeyNotFound = new("KeyNotFound", 404, 15, false, "Check --kms; 'backupiq keystore list FILE' shows what a local keystore has.");
    public static readonly ErrorCode KeyDisabled = new("KeyDisabled", 403, 13, false, "Enable it where it is kept, or open the repository another way.");
    public static readonly ErrorCode KeyOutdated = new("KeyOutdated", 409, 12, false, "Ask whoever maintains the repository for a new key, or use one that 'backupiq key list' shows as current.");
    public static readonly ErrorCode KeyService = new("KeyService", 503, 15, true, "Check that the key service can be reached.");
    public static readonly ErrorCode KeyServiceAuthentication = new("KeyServiceAuthentication", 401, 13, false, "Check the token, PIN or account with which the key service is asked.");
    public static readonly ErrorCode Authorization = new("Authorization", 403, 13, false, "The account in use may not do this; ask for the permission named.");
    public static readonly ErrorCode RepositoryNotFound = new("RepositoryNotFound", 404, 10, false, "Check --repo, or make a repository with 'backupiq init'.");
    public static readonly ErrorCode RepositoryExists = new("RepositoryExists", 409, 7, false, "Use the repository that is there, or choose another place.");
    public static readonly ErrorCode RepositoryBusy = new("RepositoryBusy", 409, 11, true, "Another process works there; wait for it to end.");
    public static readonly ErrorCode SessionFenced = new("SessionFenced", 409, 11, true, "The run was silent for too long and was fenced off; run it again, what it stored is reused.");
    public static readonly ErrorCode UnsupportedFormat = new("UnsupportedFormat", 501, 1, false, "The repository was written by a newer BackupIQ; update this one.");
    public static readonly ErrorCode CorruptData = new("CorruptData", 500, 14, false, "Run 'backupiq check' to see which files and snapshots are touched.");
    public static readonly ErrorCode ChunkMissing = new("ChunkMissing", 500, 14, false, "Run 'backupiq check' to see which files and snapshots are touched; 'backupiq repair packs', then a backup stores it again if it can.");
    public static readonly ErrorCode DamageFound = new("DamageFound", 500, 14, false, "What is not named is intact and restores. 'backupiq repair packs' mends what it can; then a backup stores again what is there to be read.");
    public static readonly ErrorCode SnapshotNotFound = new("SnapshotNotFound", 404, 1, false, "List the snapshots with 'backupiq snapshots'.");
    public static readonly ErrorCode SnapshotAmbiguous = new("SnapshotAmbiguous", 409, 2, false, "Give more digits of the snapshot's id.");
    public static readonly ErrorCode PathNotFound = new("PathNotFound", 404, 1, false, "See what the snapshot holds with 'backupiq ls'.");
    public static readonly ErrorCode Storage = new("Storage", 502, 15, false, "Check that the storage works and that it may be written.");
    public static readonly ErrorCode StorageObjectNotFound = new("StorageObjectNotFound", 404, 15, false, "Run 'backupiq check'.");
    public static readonly ErrorCode StorageAuthentication = new("StorageAuthentication", 401, 13, false, "Check the credentials and permissions for the storage.");
    public static readonly ErrorCode StorageConnection = new("StorageConnection", 503, 15, true, "Check that the storage is mounted or reachable.");
    public static readonly ErrorCode StorageTimeout = new("StorageTimeout", 504, 15, true, "The storage did not answer in time; try again.");
    public static readonly ErrorCode StorageArchived = new("StorageArchived", 409, 15, false, "With --wait-archive 'restore', 'dump', 'copy' and 'check --read-data' have the storage bring it back, and wait for it.");
    public static readonly ErrorCode StorageFull = new("StorageFull", 507, 1, false, "Make space on the storage and run again; what was stored is kept and reused.");
    public static readonly ErrorCode CircuitBreaker = new("CircuitBreaker", 503, 15, true, "The storage failed repeatedly; see 'backupiq storage info'.");
    public static readonly ErrorCode CircuitBreakerOpen = new("CircuitBreakerOpen", 503, 15, true, "The storage failed repeatedly and is left alone for a moment; try again.");
    public static readonly ErrorCode Resource = new("Resource", 503, 1, true, "Free memory, disk or file descriptors, or lower --memory and --jobs.");
    public static readonly ErrorCode MissingLibrary = new("MissingLibrary", 501, 1, false, "Install the system package named.");
    public static readonly ErrorCode SourceNotFound = new("SourceNotFound", 404, 15, false, "Check the path to back up.");
    public static readonly ErrorCode SourceUnreadable = new("SourceUnreadable", 403, 3, false, "Run with the permissions to read it, or exclude it.");
    public static readonly ErrorCode SourceChanged = new("SourceChanged", 409, 3, true, "The file changed while it was read; back it up while it is at rest.");
    public static readonly ErrorCode SourceCommand = new("SourceCommand", 502, 1, false, "The command failed, so nothing was committed; see its own output.");
    public static readonly ErrorCode SourceServer = new("SourceServer", 502, 15, true, "Check that the server runs and can be reached; nothing was committed.");
    public static readonly ErrorCode SourceDamaged = new("SourceDamaged", 422, 3, false, "The backup holds it as it is; bring what is damaged back from an older backup, and look at the disk.");
    public static readonly ErrorCode TimelineChanged = new("TimelineChanged", 409, 1, true, "A server was promoted while it was read; run again.");
    public static readonly ErrorCode Restore = new("Restore", 500, 1, false, "See the items named; the rest was restored.");
    public static readonly ErrorCode RestoreTarget = new("RestoreTarget", 409, 7, false, "Choose another target, or say how to treat what is there with --overwrite.");
    public static readonly ErrorCode WrongServer = new("WrongServer", 409, 7, false, "Check which database server the name stands for.");
    public static readonly ErrorCode RecoveryTarget = new("RecoveryTarget", 409, 6, false, "Choose a target that 'backupiq pg window' shows.");
    public static readonly ErrorCode HostileName = new("HostileName", 422, 14, false, "The snapshot names a file that would leave the target; it was refused. Do not trust this repository.");
    public static readonly ErrorCode Cancelled = new("Cancelled", 499, 130, true, "What was stored stays usable; run again to go on.");
    public static readonly ErrorCode NotConfirmed = new("NotConfirmed", 409, 2, false, "Confirm on a terminal, or give --yes.");
    public static readonly ErrorCode RetentionRefused = new("RetentionRefused", 409, 17, false, "A hold or a lock keeps it.");
    public static readonly ErrorCode AppendOnly = new("AppendOnly", 403, 17, false, "This client may only add. Do it where the repository is maintained: with append-only: false in the configuration there.");

    /// <summary>All codes, in the order of docs/errors.md.</summary>
    public static IReadOnlyList<ErrorCode> All { get; } =
    [
        Internal, Usage, Configuration, Validation, SecretUnavailable, Authentication, KeyDamaged, KeyNotFound, KeyDisabled, KeyOutdated,
        KeyService, KeyServiceAuthentication, Authorization, RepositoryNotFound, RepositoryExists, RepositoryBusy, SessionFenced, UnsupportedFormat, CorruptData, ChunkMissing, DamageFound, SnapshotNotFound,
        SnapshotAmbiguous, PathNotFound, Storage, StorageObjectNotFound, StorageAuthentication, StorageConnection, StorageTimeout,
        StorageArchived, StorageFull, CircuitBreaker, CircuitBreakerOpen, Resource, MissingLibrary, SourceNotFound, SourceUnreadable, SourceChanged,
        SourceCommand, SourceServer, SourceDamaged, TimelineChanged, Restore, RestoreTarget, WrongServer, RecoveryTarget, HostileName, Cancelled, NotConfirmed, RetentionRefused, AppendOnly,
    ];
}
