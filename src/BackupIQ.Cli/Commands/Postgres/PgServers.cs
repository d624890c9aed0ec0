using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary>The PostgreSQL servers of the configuration.</summary>
internal static class PgServers
{
    /// <summary>For how long every moment of servers is to be reached, where the configuration says so.</summary>
    public static IReadOnlyDictionary<string, string> WalKeep(Invocation run) => run.Settings.File.Postgres.Values
        .Where(static server => server.Fields.ContainsKey("wal-keep"))
        .ToDictionary(static server => server.Name, static server => server.Fields["wal-keep"], StringComparer.Ordinal);

    /// <summary>The server that the first argument names.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/>: the configuration defines none of that name.</exception>
    public static PostgresServer Of(Invocation run) => Of(run, run.Arguments.Positional[0]);

    /// <summary>The server of a name.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Configuration"/>: the configuration defines none of that name.</exception>
    public static PostgresServer Of(Invocation run, string name)
    {
        run.Settings.RequireValid();
        if (run.Settings.File.Postgres.TryGetValue(name, out ConfigServer? server))
        {
            return PostgresServer.Read(server.Name, server.Fields);
        }

        string? near = Suggestion.Nearest(name, run.Settings.File.Postgres.Keys);
        throw new BackupIQException(
            ErrorCodes.Configuration,
            $"No PostgreSQL server is called '{DisplayText.Of(name)}'{(near is null ? "" : $"; did you mean '{near}'?")}",
            $"Define it: backupiq pg init-server {DisplayText.Of(name)} --dsn 'host=/run/postgresql user=backupiq dbname=postgres'");
    }

    /// <summary>What <c>--standby</c> says.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: nothing that it may say.</exception>
    public static PostgresStandby StandbyOf(Invocation run, Verb verb) => run.Arguments.Value("--standby") switch
    {
        null => PostgresStandby.No,
        "prefer" => PostgresStandby.Prefer,
        "require" => PostgresStandby.Require,
        { } other => throw verb.Misuse($"--standby: '{DisplayText.Of(other)}' is neither prefer nor require"),
    };
}
