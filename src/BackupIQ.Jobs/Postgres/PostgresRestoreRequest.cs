using System.Text.Json;

namespace BackupIQ.Jobs.Postgres;

/// <summary>How a PostgreSQL server is brought back.</summary>
/// <example>
/// <code>
/// PostgresRestoreRequest request = new() { Server = "main", Folder = "/var/lib/postgresql/restored", Immediate = true };
/// PostgresRestoreOutcome outcome = await repository.RestorePostgresAsync(request, cancellationToken: cancellationToken);
/// Console.WriteLine($"PostgreSQL {outcome.Database.ServerVersion} of timeline {outcome.Database.Timeline} recovers when it is started");
/// </code>
/// </example>
public sealed record PostgresRestoreRequest
{
    /// <summary>The name under which it was backed up; it need not be defined any more.</summary>
    public required string Server { get; init; }

    /// <summary>The data directory to be: empty, or not there.</summary>
    public required string Folder { get; init; }

    /// <summary>The snapshot, in any form that names one; null: the newest of the server from which the target is reached.</summary>
    public string? Base { get; init; }

    /// <summary>How far it recovers; null: to the end of the log, or as <see cref="Immediate"/> says.</summary>
    public PostgresTarget? Target { get; init; }

    /// <summary>Without a <see cref="Target"/>: recovery ends as soon as the backup is consistent.</summary>
    public bool Immediate { get; init; }

    /// <summary>The target itself is left out: what was committed at that moment, the record at that place, or that transaction.</summary>
    public bool Exclusive { get; init; }

    /// <summary>Along which timeline; null: the newest that there is.</summary>
    public uint? Timeline { get; init; }

    /// <summary>What the server does when it is there: <c>promote</c> itself to one that works, <c>pause</c>, or <c>shutdown</c>.</summary>
    public string Action { get; init; } = "promote";

    /// <summary>Where tablespaces go that lay elsewhere: old paths and new ones.</summary>
    public IReadOnlyDictionary<string, string> TablespaceMap { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>
    /// The folder may hold what an interrupted restore left, or a stopped server of the same cluster: only what differs is written, and what the backup does not
    /// have is removed.
    /// </summary>
    public bool Delta { get; init; }

    /// <summary>
    /// When there are any, files of other databases are not restored; those databases can only be dropped then. The server's own (<c>postgres</c>, the templates)
    /// are restored always.
    /// </summary>
    public IReadOnlyList<string> OnlyDatabases { get; init; } = [];

    /// <summary>The server archives as the one did that was backed up. False: it does not, lest a copy write into the archive of the original.</summary>
    public bool KeepArchiving { get; init; }

    /// <summary>Start it where nobody but its owner reaches it, and wait until it has recovered; it is left running.</summary>
    public bool Start { get; init; }

    /// <summary>The folder of <c>pg_ctl</c>; null: where packages put it.</summary>
    public string? Programs { get; init; }
}

/// <summary>What a restore of a PostgreSQL server ended with.</summary>
/// <param name="Restore">As for every restore. Anything but exit code 0 or 3 means that the directory is not one to start from, and has no <c>pg_control</c>.</param>
/// <param name="Database">What the backup says of itself.</param>
/// <param name="Reached">What the server reached; null: it was not started.</param>
public sealed record PostgresRestoreOutcome(RestoreOutcome Restore, PostgresBackupInfo Database, PostgresReached? Reached)
{
    /// <summary>What was planned.</summary>
    public PostgresRestorePlan? Plan { get; init; }
}

/// <summary>What a restored server reached.</summary>
/// <param name="Sockets">The folder of its socket, port 5432.</param>
/// <param name="Lsn">Where the WAL that it replayed ended; null: not told.</param>
/// <param name="LastTransaction">When the last transaction that it replayed was committed, in the server's words; null: there was none.</param>
/// <param name="Timeline">The timeline that it is on now.</param>
public sealed record PostgresReached(string Sockets, string? Lsn, string? LastTransaction, long? Timeline)
{
    /// <summary>What it did there: <c>promote</c>, <c>pause</c> or <c>shutdown</c>.</summary>
    public string Action { get; init; } = "promote";

    /// <summary>In what that differs from the plan; null: in nothing.</summary>
    public string? Difference { get; init; }

    /// <summary>Writes it as an object.</summary>
    public void WriteTo(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        writer.WriteString("lsn", Lsn);
        writer.WriteString("last_transaction", LastTransaction);
        if (Timeline is { } timeline)
        {
            writer.WriteNumber("timeline", timeline);
        }

        writer.WriteString("action", Action);
        writer.WriteBoolean("as_planned", Difference is null);
        writer.WriteString("difference", Difference);
        writer.WriteString("socket_directory", Sockets);
        writer.WriteEndObject();
    }
}
