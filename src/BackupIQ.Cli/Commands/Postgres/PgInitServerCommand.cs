using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg init-server NAME --dsn DSN</c>: defines a server, and prints what it needs. The server itself is not touched.</summary>
internal sealed class PgInitServerCommand : Verb
{
    public PgInitServerCommand()
        : base("init-server", "Defines a server in the configuration file and prints the SQL and the settings that it needs; the server is not touched.")
    {
        Positional("NAME", "what the server is called here", 1, 1);
        Value("--dsn", "DSN", "how it is reached, without a password: 'host=/run/postgresql user=backupiq dbname=postgres' or postgres://…");
        Value("--server-password-from", "REF", "a reference to its password: env:NAME, file:PATH, cmd:COMMAND, systemd:NAME, vault:… (default: PGPASSWORD, ~/.pgpass)");
        Value("--pgdata", "DIR", "its data directory on this machine (default: where the server says)");
        Value("--mode", "MODE", "direct: its files are read on its machine");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
        ["backupiq pg init-server main --dsn 'host=/run/postgresql user=backupiq dbname=postgres' --pgdata /var/lib/postgresql/15/main"];

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string name = run.Arguments.Positional[0];
        Dictionary<string, string> fields = new(StringComparer.Ordinal);
        foreach ((string key, string flag) in ((string, string)[])[("dsn", "--dsn"), ("password-from", "--server-password-from"), ("pgdata", "--pgdata"), ("mode", "--mode")])
        {
            if (run.Arguments.Value(flag) is { } value)
            {
                fields[key] = value;
            }
        }

        if (PostgresServer.Problem(name, fields) is { } problem)
        {
            throw Misuse(DisplayText.Of(problem));
        }

        run.Settings.RequireValid();
        if (run.Settings.File.Postgres.ContainsKey(name))
        {
            throw new BackupIQException(ErrorCodes.Configuration, $"The server '{name}' is defined already", "Change its entry in the configuration file, or choose another name.");
        }

        string role = PostgresRequirements.RoleOf(fields["dsn"]);
        string file = run.Settings.File.Files.Count > 0 ? run.Settings.File.Files[0] : run.Settings.Folders.ConfigFile;
        ConfigEditor.AddServer(file, ConfigFile.PostgresKey, name, fields);
        run.Screen.Note($"written to {DisplayText.Of(file)}");
        run.Print(PostgresRequirements.Sql(role) + "\n" + PostgresRequirements.Settings(name));
        return Task.FromResult(ExitCodes.Done);
    }
}
