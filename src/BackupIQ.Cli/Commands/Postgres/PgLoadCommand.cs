using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg load NAME|SNAP --target-db DB</c></summary>
internal sealed class PgLoadCommand : Verb
{
    private const string Elsewhere = "target";

    public PgLoadCommand()
        : base("load", "Loads a database, or some tables of it, from a dump into a new database.")
    {
        Positional("NAME|SNAP", "the server whose newest dump is loaded, or a snapshot that is a dump", 1, 1);
        Value("--target-db", "DB", "the database to be; one that exists is never loaded into (exit code 7)");
        Value("--db", "DB", "the database of the dump (default: the only one)");
        Value("--to", "SERVER", "the server that it goes to, as the configuration calls it, or a DSN (default: NAME)");
        List("--table", "[SCHEMA.]TABLE", "this table alone, with its indexes, constraints, sequences and what else it needs (repeatable)");
        List("--schema", "SCHEMA", "this schema alone (repeatable)");
        Flag("--create-roles", "make roles that are missing, without the right to log in; otherwise what they owned belongs to who loads");
        Flag("--no-owner", "everything belongs to who loads, and no rights are given");
        Flag("--keep-failed", "where something fails, leave what was loaded under the name that the message tells");
        Value("--work", "DIR", "where the files of the dump lie meanwhile (default: $TMPDIR)");
        Value("--pg-bin", "DIR", "the folder of pg_restore (default: the newest that packages put there and that fits the dump)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq pg load main --db shop --target-db shop_yesterday --jobs 4",
        "backupiq pg load 3f2a --db shop --target-db look --table public.orders --to 'host=/run/postgresql user=ann'",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PostgresLoadRequest request = new()
        {
            Dump = run.Arguments.Positional[0],
            Database = run.Arguments.Value("--db"),
            Target = TargetOf(run),
            TargetDatabase = run.Arguments.Value("--target-db") ?? throw Misuse("--target-db DB says what the new database is called"),
            Tables = [.. run.Arguments.Values("--table")],
            Schemas = [.. run.Arguments.Values("--schema")],
            CreateRoles = run.Arguments.Has("--create-roles"),
            WithoutOwners = run.Arguments.Has("--no-owner"),
            KeepFailed = run.Arguments.Has("--keep-failed"),
            Jobs = run.Settings.Number("jobs"),
            WorkFolder = run.Arguments.Value("--work"),
            Programs = run.Arguments.Value("--pg-bin"),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        RestoreMonitor monitor = new(failure => ItemLines.Tell(run, failure, "load"), null, recall => ArchiveFlags.Tell(run, recall));
        PostgresLoadOutcome outcome;
        await using (ProgressLoop.Start(run, () => RestoreCommand.Read(monitor) with { Doing = "loading" }, (writer, _, _) => RestoreCommand.WriteStatus(writer, monitor)).ConfigureAwait(false))
        {
            outcome = await repository.LoadPostgresAsync(request, monitor, notice => run.Screen.Note(DisplayText.Of(notice)), cancellationToken).ConfigureAwait(false);
        }

        Finish(run, request, outcome);
        return ExitCodes.Done;
    }

    // A snapshot names no server that is defined here, so --to says which.
    private PostgresServer TargetOf(Invocation run)
    {
        if (run.Arguments.Value("--to") is not { } to)
        {
            return run.Settings.File.Postgres.ContainsKey(run.Arguments.Positional[0])
                ? PgServers.Of(run)
                : throw Misuse("--to SERVER says where to load to: a server of the configuration, or a DSN");
        }

        if (!to.Contains('=') && !to.Contains("://", StringComparison.Ordinal))
        {
            return PgServers.Of(run, to);
        }

        Dictionary<string, string> fields = new(StringComparer.Ordinal) { ["dsn"] = to };
        return PostgresServer.Problem(Elsewhere, fields) is { } problem ? throw Misuse($"--to: {problem}") : PostgresServer.Read(Elsewhere, fields);
    }

    private static void Finish(Invocation run, PostgresLoadRequest request, PostgresLoadOutcome outcome)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteString("snapshot_id", outcome.Snapshot.Id);
                writer.WriteString("database", outcome.Database);
                writer.WriteString("target_database", request.TargetDatabase);
                writer.WriteNumber("tables", outcome.Tables);
                writer.WriteNumber("bytes", outcome.Bytes);
                writer.WriteNumber("seconds_elapsed", Math.Round(outcome.Duration.TotalSeconds, 6));
                JsonFields.WriteStrings(writer, "missing_roles", outcome.MissingRoles);
                JsonFields.WriteStrings(writer, "created_roles", outcome.CreatedRoles);
                JsonFields.WriteStrings(writer, "left_out", outcome.LeftOut);
                PgDumpCommand.WriteDump(writer, outcome.Dump);
            });
            return;
        }

        if (outcome.MissingRoles.Count > 0)
        {
            run.Screen.Warn($"the server lacks {Words.Count(outcome.MissingRoles.Count, "role")} ({DisplayText.Of(string.Join(", ", outcome.MissingRoles))}): everything belongs to who loaded it, and no rights were given; --create-roles makes them");
        }

        if (outcome.LeftOut.Count > 0)
        {
            run.Screen.Note(DisplayText.Of($"left out, because it needs what was not loaded: {string.Join(", ", outcome.LeftOut)}"));
        }

        if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            StringBuilder text = new();
            text.Append($"Loaded {Words.Count(outcome.Tables, "table")} ({Words.Size(outcome.Bytes)}) of the database '{DisplayText.Of(outcome.Database)}' of snapshot {outcome.Snapshot.ShortId} into '{DisplayText.Of(request.TargetDatabase)}' in {Words.Duration(outcome.Duration)}\n");
            foreach (string role in outcome.CreatedRoles)
            {
                text.Append($"Made the role {DisplayText.Of(role)}, which may not log in\n");
            }

            run.Print(text.ToString());
        }
    }
}
