namespace BackupIQ.Jobs.Postgres;

/// <summary>PostgreSQL servers by themselves, whatever repository they are backed up into.</summary>
public static partial class BackupIqPostgres
{
    /// <summary>
    /// Looks at all that can make a backup or a recovery fail later. Changes nothing in the server; what cannot be looked at is a finding, not an exception.
    /// <see cref="BackupIqRepository.CheckPostgresAsync"/> also looks at what the repository has of it.
    /// </summary>
    public static Task<IReadOnlyList<PostgresFinding>> CheckAsync(PostgresServer server, TimeProvider? time = null, CancellationToken cancellationToken = default) =>
        new ServerCheck(server, null, time ?? TimeProvider.System).RunAsync(cancellationToken);
}

/// <summary>How a server is looked at together with a repository.</summary>
/// <example>
/// <code>
/// PostgresServer server = new() { Name = "main", Dsn = "host=/run/postgresql user=backup dbname=postgres" };
/// foreach (PostgresFinding finding in await repository.CheckPostgresAsync(new PostgresCheckRequest { Server = server }, cancellationToken))
/// {
///     Console.WriteLine($"{finding.Level} {finding.Check}: {finding.Message}");
/// }
/// </code>
/// </example>
public sealed record PostgresCheckRequest
{
    public required PostgresServer Server { get; init; }

    /// <summary>
    /// Write a restore point into the server's log, let it begin another segment, and wait until that with the restore point is in the repository. Nothing
    /// else changes the server.
    /// </summary>
    public bool TestArchive { get; init; } = true;

    /// <summary>How long is waited for it.</summary>
    public TimeSpan ArchivePatience { get; init; } = TimeSpan.FromMinutes(1);
}

/// <summary>Something about a server that was looked at.</summary>
/// <param name="Level"><c>good</c>, <c>note</c>, <c>warning</c>, or <c>failed</c>: it cannot be backed up like this.</param>
/// <param name="Check">What was looked at.</param>
/// <param name="Message">What was seen.</param>
/// <param name="Guidance">What to do; null where there is nothing to do.</param>
public sealed record PostgresFinding(string Level, string Check, string Message, string? Guidance);
