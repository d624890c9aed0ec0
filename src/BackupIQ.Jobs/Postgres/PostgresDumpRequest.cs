using BackupIQ.Sources.Postgres.Dump;

namespace BackupIQ.Jobs.Postgres;

/// <summary>How databases of a PostgreSQL server are dumped.</summary>
/// <example>
/// <code>
/// PostgresServer server = new() { Name = "main", Dsn = "host=/run/postgresql user=backup dbname=postgres" };
/// PostgresDumpOutcome outcome = await repository.DumpPostgresAsync(new PostgresDumpRequest { Server = server, Databases = ["shop"] }, cancellationToken: cancellationToken);
/// Console.WriteLine($"{outcome.Dump.Databases[0].Rows} rows: snapshot {outcome.Backup.Snapshot?.ShortId}");
/// </code>
/// </example>
public sealed record PostgresDumpRequest
{
    public required PostgresServer Server { get; init; }

    /// <summary>Which databases; none: all that may be connected to and are no templates.</summary>
    public IReadOnlyList<string> Databases { get; init; } = [];

    /// <summary>Whether a standby may be read instead of the primary; the server's DSN names the hosts.</summary>
    public PostgresStandby Standby { get; init; }

    /// <summary>Tables read at once, each by a connection of its own beside one more; 0: one per core, four at most, lest a server at work feel it.</summary>
    public int Jobs { get; init; }

    /// <summary>Also the (hashed) passwords of roles, which only an administrator may read.</summary>
    public bool RolePasswords { get; init; }

    /// <summary>Where what was not read yet lies for a moment, up to 512 MiB; null: the system's place for temporary files.</summary>
    public string? WorkFolder { get; init; }

    /// <summary>The folder of <c>pg_dump</c>; null: the newest that is installed and not older than the server.</summary>
    public string? Programs { get; init; }

    /// <summary>The host name that the snapshot carries; null: this machine's.</summary>
    public string? Host { get; init; }

    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>As the command line takes it: <c>auto</c>, <c>zstd:9</c>, …</summary>
    public string Compression { get; init; } = "auto";

    internal int JobsOr(int several) => Jobs > 0 ? Jobs : several > 0 ? several : Math.Min(4, Environment.ProcessorCount);

    // Whoever reads waits for the server most of the time: as many as it has tables in hand.
    internal BackupRequest ToBackup(int jobs) => new() { ReadConcurrency = Math.Max(jobs, Environment.ProcessorCount), Host = Host, Tags = Tags, Compression = Compression };
}

/// <summary>What a dump ended with.</summary>
/// <param name="Backup">As for every backup.</param>
/// <param name="Dump">What the snapshot says of it.</param>
public sealed record PostgresDumpOutcome(BackupOutcome Backup, PostgresDumpInfo Dump);

/// <summary>What a dump says of itself.</summary>
public sealed record PostgresDumpInfo
{
    public required string Server { get; init; }

    public required string SystemIdentifier { get; init; }

    public required string ServerVersion { get; init; }

    /// <summary>Of the <c>pg_dump</c> that wrote it; an older <c>pg_restore</c> may not read it.</summary>
    public required string DumpVersion { get; init; }

    public required IReadOnlyList<PostgresDumpedDatabaseInfo> Databases { get; init; }

    internal static PostgresDumpInfo From(PostgresDumpDocument document) => new()
    {
        Server = document.Server,
        SystemIdentifier = document.SystemIdentifier,
        ServerVersion = document.ServerVersion,
        DumpVersion = document.DumpVersion,
        Databases = [.. document.Databases.Select(static one => new PostgresDumpedDatabaseInfo(one.Name, one.Lsn, one.Time, one.TableCount, one.Tables.Sum(static table => table.Rows), one.LargeObjects))],
    };
}

/// <summary>A database in a dump.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Lsn">Where the server's log was at the moment that the dump shows.</param>
/// <param name="Time">That moment, by the server's clock.</param>
/// <param name="Tables">Tables that have data in it.</param>
/// <param name="Rows">Their rows, counted while they were read (of the first ten thousand tables).</param>
/// <param name="LargeObjects">Large objects.</param>
public sealed record PostgresDumpedDatabaseInfo(string Name, string Lsn, DateTimeOffset Time, long Tables, long Rows, long LargeObjects);
