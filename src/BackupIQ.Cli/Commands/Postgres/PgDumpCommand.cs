using System.Globalization;
using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg dump NAME [DB…]</c></summary>
internal sealed class PgDumpCommand : Verb
{
    public PgDumpCommand()
        : base("dump", "Dumps databases of a PostgreSQL server as pg_dump writes them, each as it was at one moment.")
    {
        Positional("NAME [DB]", "the server, as the configuration calls it, and databases of it (default: all)", 1);
        Value("--standby", "HOW", "prefer: read a standby where the DSN names one; require: a standby or nothing (default: the primary alone)");
        Flag("--role-passwords", "also the (hashed) passwords of roles, which only an administrator may read");
        Value("--work", "DIR", "where what is not stored yet lies for a moment, up to 512 MiB (default: $TMPDIR)");
        Value("--pg-bin", "DIR", "the folder of pg_dump (default: the newest that packages put there and that is not older than the server)");
        List("--tag", "K[=V]", "a tag for the snapshot");
        Value("--host", "NAME", "host name of the snapshot (default: this machine's)", "-H");
        Value("--compression", "HOW", "auto, off, fast, default, max, zstd:N, lz4, gzip, bzip2, lzma");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg dump main", "backupiq pg dump main shop --jobs 4 --tag before-migration"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PostgresDumpRequest request = new()
        {
            Server = PgServers.Of(run),
            Databases = [.. run.Arguments.Positional.Skip(1)],
            Standby = PgServers.StandbyOf(run, this),
            Jobs = run.Settings.Number("jobs"),
            RolePasswords = run.Arguments.Has("--role-passwords"),
            WorkFolder = run.Arguments.Value("--work"),
            Programs = run.Arguments.Value("--pg-bin"),
            Host = run.Settings.Text("backup.host"),
            Tags = run.Settings.Words("backup.tags"),
            Compression = run.Settings.Text("backup.compression")!,
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        BackupView view = new(run, new BackupRequest());
        PostgresDumpOutcome outcome;
        await using (view.Show().ConfigureAwait(false))
        {
            outcome = await repository.DumpPostgresAsync(request, view.Monitor, cancellationToken).ConfigureAwait(false);
        }

        Finish(run, view, outcome);
        LockOutput.Tell(run, outcome.Backup.LocksExtended, outcome.Backup.LockProblem);
        return outcome.Backup.LockProblem is not null ? ExitCodes.Warnings : ExitCodes.Done;
    }

    /// <summary>What a dump says of itself, as the object <c>db</c>.</summary>
    internal static void WriteDump(Utf8JsonWriter writer, PostgresDumpInfo dump)
    {
        writer.WriteStartObject("db");
        writer.WriteString("server", dump.Server);
        writer.WriteString("system_identifier", dump.SystemIdentifier);
        writer.WriteString("server_version", dump.ServerVersion);
        writer.WriteString("dump_version", dump.DumpVersion);
        JsonFields.WriteObjects(writer, "databases", dump.Databases, (writer, database) =>
        {
            writer.WriteString("name", database.Name);
            writer.WriteString("lsn", database.Lsn);
            writer.WriteString("time", database.Time);
            writer.WriteNumber("tables", database.Tables);
            writer.WriteNumber("rows", database.Rows);
            writer.WriteNumber("large_objects", database.LargeObjects);
        });
        writer.WriteEndObject();
    }

    private static void Finish(Invocation run, BackupView view, PostgresDumpOutcome outcome)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                BackupView.WriteSummary(writer, outcome.Backup, dryRun: false);
                WriteDump(writer, outcome.Dump);
            });
            return;
        }

        view.Finish(outcome.Backup);
        if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            foreach (PostgresDumpedDatabaseInfo database in outcome.Dump.Databases)
            {
                run.Print(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{DisplayText.Of(database.Name)}: {Words.Count(database.Tables, "table")}, {Words.Count(database.Rows, "row")}, {Words.Count(database.LargeObjects, "large object")} as of {Words.Moment(database.Time, run.Host.Time.LocalTimeZone)} ({database.Lsn})\n"));
            }
        }
    }
}
