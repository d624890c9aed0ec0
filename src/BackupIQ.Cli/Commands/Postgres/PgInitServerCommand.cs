using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary>
/// <c>pg init-server NAME --dsn DSN</c>: defines a server, and prints what it needs. The server itself is not touched, unless <c>--apply</c> says so.
/// </summary>
internal sealed class PgInitServerCommand : Verb
{
    public PgInitServerCommand()
        : base("init-server", "Defines a server in the configuration file and prints the SQL and the settings that it needs; with --apply it makes them.")
    {
        Positional("NAME", "what the server is called here", 1, 1);
        Value("--dsn", "DSN", "how it is reached, without a password: 'host=/run/postgresql user=backupiq dbname=postgres' or postgres://…; host=a,b: a primary and its standbys");
        Value("--server-password-from", "REF", "a reference to its password: env:NAME, file:PATH, cmd:COMMAND, systemd:NAME, vault:… (default: PGPASSWORD, ~/.pgpass)");
        Value("--pgdata", "DIR", "its data directory on this machine (default: where the server says)");
        Value("--mode", "MODE", "direct (default): its files are read on its machine; stream: it sends them");
        Flag("--apply", "set what is missing in the server and make the role, after showing it; of a server that is defined already, too");
        Value("--admin-dsn", "DSN", "with --apply: how a superuser reaches it (default: --dsn)");
        Value("--admin-password-from", "REF", "a reference to the superuser's password");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq pg init-server main --dsn 'host=/run/postgresql user=backupiq dbname=postgres' --pgdata /var/lib/postgresql/15/main",
        "backupiq --repo /mnt/backup --key-file /etc/backupiq/key pg init-server main --apply --admin-dsn 'host=/run/postgresql user=postgres'",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string name = run.Arguments.Positional[0];
        bool applies = run.Arguments.Has("--apply");
        run.Settings.RequireValid();
        if (!applies && (run.Arguments.Has("--admin-dsn") || run.Arguments.Has("--admin-password-from")))
        {
            throw Misuse("--admin-dsn and --admin-password-from have a meaning with --apply alone");
        }

        bool isKnown = run.Settings.File.Postgres.ContainsKey(name);
        PostgresServer server = applies && isKnown && !run.Arguments.Has("--dsn") ? PgServers.Of(run) : Define(run, name, isKnown);
        if (applies)
        {
            return await ApplyAsync(run, server, cancellationToken).ConfigureAwait(false);
        }

        run.Print(PostgresRequirements.Sql(PostgresRequirements.RoleOf(server.Dsn)) + "\n" + PostgresRequirements.Settings(name, server.IsStreamed));
        return ExitCodes.Done;
    }

    private PostgresServer Define(Invocation run, string name, bool isKnown)
    {
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

        if (isKnown)
        {
            throw new BackupIQException(ErrorCodes.Configuration, $"The server '{name}' is defined already", "Change its entry in the configuration file, or choose another name.");
        }

        _ = PostgresRequirements.RoleOf(fields["dsn"]);
        string file = run.Settings.File.Files.Count > 0 ? run.Settings.File.Files[0] : run.Settings.Folders.ConfigFile;
        ConfigEditor.AddServer(file, ConfigFile.PostgresKey, name, fields);
        run.Screen.Note($"written to {DisplayText.Of(file)}");
        return PostgresServer.Read(name, fields);
    }

    private static async Task<int> ApplyAsync(Invocation run, PostgresServer server, CancellationToken cancellationToken)
    {
        PostgresSetupRequest request = new()
        {
            Server = server,
            AdminDsn = run.Arguments.Value("--admin-dsn"),
            AdminPasswordFrom = run.Arguments.Value("--admin-password-from"),
            ArchiveCommand = ArchiveCommand(run, server.Name),
        };
        PostgresSetupPlan plan = await PostgresSetup.PlanAsync(request, run.Host.Time, cancellationToken).ConfigureAwait(false);
        foreach (string notice in plan.Notices)
        {
            run.Screen.Note(DisplayText.Of(notice));
        }

        if (!run.WantsJson && plan.Steps.Count > 0)
        {
            run.Print(output =>
            {
                foreach (PostgresSetupStep step in plan.Steps)
                {
                    output.WriteLine($"-- {DisplayText.Of(step.Why)}");
                    output.WriteLine($"{DisplayText.Of(step.Sql)};");
                }
            });
        }

        PostgresSetupOutcome outcome = new([]);
        if (plan.Steps.Count > 0)
        {
            run.Confirm($"Make {Words.Count(plan.Steps.Count, "change")} in the server '{server.Name}'?");
            outcome = await PostgresSetup.ApplyAsync(request, plan, run.Host.Time, cancellationToken).ConfigureAwait(false);
        }

        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteString("server", server.Name);
                JsonFields.WriteStrings(writer, "applied", plan.Steps.Select(static step => step.Sql));
                JsonFields.WriteStrings(writer, "notices", plan.Notices);
                JsonFields.WriteStrings(writer, "await_restart", outcome.AwaitRestart);
                writer.WriteEndObject();
            });
        }
        else
        {
            run.Print(plan.Steps.Count == 0 ? "The server has all that it needs; nothing was changed.\n" : $"Made {Words.Count(plan.Steps.Count, "change")} in the server '{server.Name}'.\n");
            if (outcome.AwaitRestart.Count > 0)
            {
                run.Screen.Warn($"The server must be restarted for {string.Join(", ", outcome.AwaitRestart)}");
            }
        }

        return ExitCodes.Done;
    }

    // Only a repository and a key file that the server's own user can name stand in it: a password is asked for by nobody there.
    private static string? ArchiveCommand(Invocation run, string server)
    {
        if (run.Settings.Text("repo") is not { } repository || run.Settings.Text("key-file") is not { } key || Environment.ProcessPath is not { } program)
        {
            return null;
        }

        string url = repository.Contains("://", StringComparison.Ordinal) || repository.StartsWith('/') ? repository : System.IO.Path.GetFullPath(repository);
        return $"{Word(program)} --repo {Word(url)} --key-file {Word(System.IO.Path.GetFullPath(key))} pg wal-push {server} %p || exit 1";
    }

    // As a shell takes it, within a command in which the server replaces what follows a %.
    private static string Word(string text)
    {
        string escaped = text.Replace("%", "%%", StringComparison.Ordinal);
        return escaped.All(static c => char.IsAsciiLetterOrDigit(c) || c is '/' or '.' or '-' or '_' or ':' or '=' or '%' or '@' or '+' or ',') ? escaped
            : $"'{escaped.Replace("'", "'\\''", StringComparison.Ordinal)}'";
    }
}
