namespace BackupIQ.Jobs.Postgres;

/// <summary>How a database is loaded from a dump, into a new database.</summary>
/// <example>
/// <code>
/// PostgresServer server = new() { Name = "test", Dsn = "host=/run/postgresql user=ann dbname=postgres" };
/// PostgresLoadRequest request = new() { Dump = "main", Database = "shop", Target = server, TargetDatabase = "shop_yesterday", Tables = ["public.orders"] };
/// PostgresLoadOutcome outcome = await repository.LoadPostgresAsync(request, cancellationToken: cancellationToken);
/// Console.WriteLine($"{outcome.Tables} tables of {outcome.Snapshot.Time}");
/// </code>
/// </example>
public sealed record PostgresLoadRequest
{
    /// <summary>The name of a server, whose newest dump is taken, or a snapshot in any form that names one.</summary>
    public required string Dump { get; init; }

    /// <summary>Which database of it; null: the only one.</summary>
    public string? Database { get; init; }

    /// <summary>The server that it goes to.</summary>
    public required PostgresServer Target { get; init; }

    /// <summary>The database to be. One that exists is never loaded into.</summary>
    public required string TargetDatabase { get; init; }

    /// <summary>These tables, views or sequences alone, as <c>name</c> or <c>schema.name</c>, with what they need and what is theirs.</summary>
    public IReadOnlyList<string> Tables { get; init; } = [];

    /// <summary>These schemas alone.</summary>
    public IReadOnlyList<string> Schemas { get; init; } = [];

    /// <summary>Make roles that own something, or have rights, and are missing there: such as may not log in. Otherwise what they own belongs to who loads.</summary>
    public bool CreateRoles { get; init; }

    /// <summary>Everything belongs to who loads, and no rights are given, whatever roles there are.</summary>
    public bool WithoutOwners { get; init; }

    /// <summary>Leave the database there under its provisional name when something fails.</summary>
    public bool KeepFailed { get; init; }

    /// <summary>Connections at once; 0: one per core.</summary>
    public int Jobs { get; init; }

    /// <summary>Where the files of the dump lie meanwhile; null: the system's place for temporary files.</summary>
    public string? WorkFolder { get; init; }

    /// <summary>The folder of <c>pg_restore</c>; null: the newest that is installed and fits the dump.</summary>
    public string? Programs { get; init; }
}

/// <summary>What a load ended with.</summary>
/// <param name="Snapshot">What was loaded.</param>
/// <param name="Dump">What it says of itself.</param>
/// <param name="Database">The database of it.</param>
/// <param name="Tables">Tables whose rows were loaded.</param>
/// <param name="Bytes">Of the dump's files.</param>
/// <param name="Duration">How long it took.</param>
/// <param name="MissingRoles">Roles that the server does not have; what they owned belongs to who loaded, and no rights were given.</param>
/// <param name="CreatedRoles">Roles that were made.</param>
/// <param name="LeftOut">What belongs to the tables that were asked for and needs others: foreign keys.</param>
public sealed record PostgresLoadOutcome(
    SnapshotInfo Snapshot,
    PostgresDumpInfo Dump,
    string Database,
    int Tables,
    long Bytes,
    TimeSpan Duration,
    IReadOnlyList<string> MissingRoles,
    IReadOnlyList<string> CreatedRoles,
    IReadOnlyList<string> LeftOut);
