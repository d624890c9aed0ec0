using System.Text;
using BackupIQ.Jobs.Verification;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Verification;

namespace BackupIQ.Jobs.Postgres;

/// <content>Comparing databases.</content>
public static partial class BackupIqPostgres
{
    /// <summary>
    /// Compares a database with another one that should hold the same, as a restored one does. Each is seen at one moment and not changed; what is written to one of
    /// them meanwhile is a difference. That they differ, or cannot be connected to, is in the report and no exception.
    /// </summary>
    /// <exception cref="BackupIQException"><c>Configuration</c>: a DSN cannot be used; <c>SecretUnavailable</c>: a password cannot be read.</exception>
    public static async Task<VerifyReport> ComparePostgresAsync(
        PostgresCompareRequest request, VerifyMonitor? monitor = null, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        time ??= TimeProvider.System;
        DateTimeOffset began = time.GetUtcNow();
        long timestamp = time.GetTimestamp();
        VerificationRun run = new(time, monitor ?? new VerifyMonitor());
        ComparedServer source = await ComparedServer.ReadAsync(request.Source, time, cancellationToken).ConfigureAwait(false);
        ComparedServer target = await ComparedServer.ReadAsync(request.Target, time, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<(string Source, string Target)> pairs = [(request.SourceDatabase ?? source.Dsn.Database, request.TargetDatabase ?? target.Dsn.Database)];
        if (request.AllDatabases)
        {
            pairs = [];
            await run.CheckAsync("databases", "databases", async () => (pairs = await PairsAsync(source, target, cancellationToken).ConfigureAwait(false)).Count > 0 ? Seen.Passed($"{pairs.Count} in both: {string.Join(", ", pairs.Select(static pair => pair.Source))}") : Seen.Failed("there are none")).ConfigureAwait(false);
        }

        foreach ((string from, string to) in pairs)
        {
            await new DatabaseComparison(source, from, target, to, pairs.Count > 1 ? from : null, run).RunAsync(request.Level, cancellationToken).ConfigureAwait(false);
        }

        return new VerifyReport
        {
            Subject = request.AllDatabases ? $"{source.Dsn.Place} and {target.Dsn.Place}" : $"{source.Dsn.Place}/{pairs[0].Source} and {target.Dsn.Place}/{pairs[0].Target}",
            Level = request.Level,
            Started = began,
            Duration = time.GetElapsedTime(timestamp),
            Checks = run.Checks,
        };
    }

    private static async Task<IReadOnlyList<(string Source, string Target)>> PairsAsync(ComparedServer source, ComparedServer target, CancellationToken cancellationToken)
    {
        IReadOnlyList<string> theirs;
        await using (PostgresProbe probe = await target.OpenAsync(null, cancellationToken).ConfigureAwait(false))
        {
            theirs = await probe.ListDatabasesAsync(cancellationToken).ConfigureAwait(false);
        }

        await using PostgresProbe own = await source.OpenAsync(null, cancellationToken).ConfigureAwait(false);
        string[] names = [.. (await own.ListDatabasesAsync(cancellationToken).ConfigureAwait(false)).Where(static name => name is not ("template0" or "template1"))];
        string[] missing = [.. names.Except(theirs, StringComparer.Ordinal)];
        return missing.Length == 0
            ? [.. names.Select(static name => (name, name))]
            : throw new BackupIQException(ErrorCodes.DamageFound, $"The target lacks {(missing.Length == 1 ? "the database" : "the databases")} {string.Join(", ", missing)}");
    }
}

/// <summary>One of two servers that are compared.</summary>
internal sealed record ComparedServer(PostgresDsn Dsn, string? Password)
{
    public static async Task<ComparedServer> ReadAsync(PostgresServer server, TimeProvider time, CancellationToken cancellationToken)
    {
        using Secret? password = server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
        return new ComparedServer(PostgresDsn.Parse(server.Dsn), password is null ? null : Encoding.UTF8.GetString(password.Bytes));
    }

    public Task<PostgresProbe> OpenAsync(string? database, CancellationToken cancellationToken) => PostgresProbe.OpenAsync(Dsn, Password, database, cancellationToken);

    // Records print their members; this one has a secret.
    public override string ToString() => Dsn.Place;
}
