using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Dump;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A dump from the first look at the server to the snapshot.</summary>
internal sealed class PostgresDumpJob(PostgresDumpRequest request, int jobs, BackupMonitor monitor, TimeProvider time)
{
    /// <summary>Makes it; <paramref name="run"/> stores what the source has, and commits.</summary>
    public async Task<(BackupResult Result, PostgresDumpDocument Document)> RunAsync(
        Func<IBackupSource, CancellationToken, Task<BackupResult>> run, CancellationToken cancellationToken)
    {
        using Secret? password = request.Server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
        string? plain = password is null ? null : Encoding.UTF8.GetString(password.Bytes);
        await using ServerChoice server = await ServerChoice.OpenAsync(PostgresDsn.Parse(request.Server.Dsn), plain, request.Standby, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string> databases = await ChooseAsync(server.Session, cancellationToken).ConfigureAwait(false);
        PostgresPrograms programs = PostgresPrograms.Find("pg_dump", request.Programs, server.Facts.Major);
        using WorkFolder work = WorkFolder.Create(request.WorkFolder ?? Path.GetTempPath());
        work.Require(PostgresDumpSource.MostWaiting, "A dump");
        using PostgresDumpSource source = new(
            new PostgresDumpPlan
            {
                Server = request.Server.Name,
                Dsn = server.Dsn,
                Password = password,
                Facts = server.Facts,
                Databases = databases,
                IsWhole = request.Databases.Count == 0,
                Programs = programs,
                Jobs = jobs,
                RolePasswords = request.RolePasswords,
                Work = work,
                OnNotice = monitor.OnNotice,
            },
            time);
        BackupResult result = await run(source, cancellationToken).ConfigureAwait(false);
        return (result, PostgresDumpDocument.Read(source.Document));
    }

    private async Task<IReadOnlyList<string>> ChooseAsync(PostgresSession session, CancellationToken cancellationToken)
    {
        List<(string Name, bool IsTemplate, bool CanConnect)> all =
        [
            .. (await session.QueryAsync("SELECT datname::text, datistemplate, datallowconn AND has_database_privilege(oid, 'CONNECT'), datallowconn FROM pg_database ORDER BY 1", cancellationToken).ConfigureAwait(false))
                .Where(static row => (bool)row[3]!).Select(static row => ((string)row[0]!, (bool)row[1]!, (bool)row[2]!)),
        ];
        if (request.Databases.Count > 0)
        {
            return request.Databases.FirstOrDefault(name => all.All(one => one.Name != name)) is { } missing
                ? throw new BackupIQException(
                    ErrorCodes.SourceNotFound, $"The server has no database '{missing}' that takes connections", Suggestion.Nearest(missing, all.Select(static one => one.Name)) is { } near ? $"Did you mean '{near}'?" : null)
                : [.. request.Databases.Distinct(StringComparer.Ordinal)];
        }

        // One that is left out silently is one that nobody misses until it is needed.
        return all.FirstOrDefault(static one => !one.IsTemplate && !one.CanConnect) is { Name: { } closed }
            ? throw new BackupIQException(ErrorCodes.Authorization, $"The role may not connect to the database '{closed}'", "GRANT CONNECT ON DATABASE, or name the databases that are to be dumped.")
            : [.. all.Where(static one => !one.IsTemplate).Select(static one => one.Name)];
    }
}
