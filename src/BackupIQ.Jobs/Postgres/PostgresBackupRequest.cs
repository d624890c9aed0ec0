using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;

namespace BackupIQ.Jobs.Postgres;

/// <summary>How a PostgreSQL server is backed up.</summary>
/// <example>
/// <code>
/// PostgresServer server = new() { Name = "main", Dsn = "host=/run/postgresql user=backup dbname=postgres" };
/// PostgresBackupOutcome outcome = await repository.BackupPostgresAsync(new PostgresBackupRequest { Server = server }, cancellationToken: cancellationToken);
/// Console.WriteLine($"{outcome.Database.WalStartLsn} to {outcome.Database.WalEndLsn}: snapshot {outcome.Backup.Snapshot?.ShortId}");
/// </code>
/// </example>
public sealed record PostgresBackupRequest
{
    public required PostgresServer Server { get; init; }

    /// <summary>How much is read: <c>full</c>, <c>incremental</c> or <c>differential</c>. Each is complete by itself.</summary>
    public string Type { get; init; } = "incremental";

    /// <summary>Files read at once; 0: fitting.</summary>
    public int ReadConcurrency { get; init; }

    /// <summary>A checkpoint at once, which writes hard for a moment; false: when the next one is due. True: who starts a backup waits for it.</summary>
    public bool FastCheckpoint { get; init; } = true;

    /// <summary>Whether a standby may be read instead of the primary; the server's DSN names the hosts.</summary>
    public PostgresStandby Standby { get; init; }

    /// <summary>
    /// The snapshot does not hold the WAL that it needs, but leaves it to the server's archive in the same repository, once that has all of it. It holds
    /// the WAL all the same where the archive does not get it within <see cref="WalPatience"/>.
    /// </summary>
    public bool LeaveWal { get; init; }

    /// <summary>How long is waited for the archive.</summary>
    public TimeSpan WalPatience { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How fast the server's files are read at most, in bytes a second, so that who works with it does not feel it.</summary>
    public RateSchedule ReadLimit { get; init; } = RateSchedule.Unlimited;

    /// <summary>Of a server that sends its files: the folder below which they lie until they are stored. Null: that for temporary files.</summary>
    public string? Spool { get; init; }

    /// <summary>The host name that the snapshot carries; null: this machine's.</summary>
    public string? Host { get; init; }

    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>As the command line takes it: <c>auto</c>, <c>zstd:9</c>, …</summary>
    public string Compression { get; init; } = "auto";

    /// <summary>Five minutes: what an interruption costs at most.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromMinutes(5);

    internal BackupRequest ToBackup() => new()
    {
        Type = Type,
        ReadConcurrency = ReadConcurrency,
        Host = Host,
        Tags = Tags,
        Compression = Compression,
        CheckpointInterval = CheckpointInterval,
    };
}

/// <summary>What a backup of a PostgreSQL server ended with.</summary>
/// <param name="Backup">As for every backup. Damaged pages count as warnings: exit code 3.</param>
/// <param name="Database">What the snapshot says of the server and the backup.</param>
public sealed record PostgresBackupOutcome(BackupOutcome Backup, PostgresBackupInfo Database);

/// <summary>What a backup of a PostgreSQL server says of itself.</summary>
public sealed record PostgresBackupInfo
{
    public required string Server { get; init; }

    public required string SystemIdentifier { get; init; }

    public required string ServerVersion { get; init; }

    public required long Timeline { get; init; }

    public required string WalStartLsn { get; init; }

    public required string WalEndLsn { get; init; }

    public required bool Checksums { get; init; }

    /// <summary>Segments of WAL that the snapshot holds, so that it restores alone; 0: they are in the server's archive.</summary>
    public required int WalSegments { get; init; }

    /// <summary>Whether the files are a standby's.</summary>
    public required bool FromStandby { get; init; }

    /// <summary>Tablespaces with where they lay.</summary>
    public required IReadOnlyDictionary<string, string> Tablespaces { get; init; }

    /// <summary>Pages that are damaged.</summary>
    public required long PageErrors { get; init; }

    internal static PostgresBackupInfo From(PostgresDocument document) => new()
    {
        Server = document.Server,
        SystemIdentifier = document.SystemIdentifier,
        ServerVersion = document.ServerVersion,
        Timeline = document.Timeline,
        WalStartLsn = document.WalStartLsn,
        WalEndLsn = document.WalEndLsn,
        Checksums = document.Checksums,
        WalSegments = document.Wal.Count,
        FromStandby = document.Standby == true,
        Tablespaces = document.Tablespaces.ToDictionary(static one => one.Name, static one => one.Location, StringComparer.Ordinal),
        PageErrors = document.PageErrorCount,
    };
}
