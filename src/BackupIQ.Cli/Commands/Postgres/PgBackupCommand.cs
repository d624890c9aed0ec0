using System.Globalization;
using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg backup NAME</c></summary>
internal sealed class PgBackupCommand : Verb
{
    public PgBackupCommand()
        : base("backup", "Backs up a PostgreSQL server while it works, with the WAL that the backup needs.")
    {
        Positional("NAME", "the server, as the configuration calls it", 1, 1);
        Value("--type", "TYPE", "full, incremental (default) or differential: how much is read; each is complete by itself");
        Value("--checkpoint", "HOW", "fast (default), or spread: begin with the next checkpoint of the server, which may take minutes");
        Value("--wal", "HOW", "include (default): the snapshot holds the WAL that it needs and restores alone; archive: it leaves it to the archive of 'pg wal-push'");
        Value("--wal-timeout", "TIME", "with --wal archive: how long to wait for the archive (default: 10m); then the snapshot holds the WAL after all");
        Value("--standby", "HOW", "prefer: read a standby where the DSN names one; require: a standby or nothing (default: the primary alone)");
        Value("--spool", "DIR", "of a server with mode: stream: where its files lie until they are stored; they take as much space as the server (default: the cache)");
        Value("--throttle", "RATE", "read at most RATE bytes per second of the server's files: 50M, or 08:00-18:00=20M,else=unlimited");
        List("--tag", "K[=V]", "a tag for the snapshot");
        Value("--host", "NAME", "host name of the snapshot (default: this machine's)", "-H");
        Value("--compression", "HOW", "auto, off, fast, default, max, zstd:N, lz4, gzip, bzip2, lzma");
        Value("--checkpoint-interval", "TIME", "how often a running backup is made resumable (5m)");
        Value("--read-concurrency", "N", "files read at once");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg backup main", "backupiq pg backup main --type full --jobs 4 --checkpoint spread"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PostgresServer server = PgServers.Of(run);
        PostgresBackupRequest request = new()
        {
            Server = server,
            Type = run.Settings.Text("backup.type")!,
            FastCheckpoint = (run.Arguments.Value("--checkpoint") ?? "fast") switch
            {
                "fast" => true,
                "spread" => false,
                { } other => throw Misuse($"--checkpoint: '{DisplayText.Of(other)}' is neither fast nor spread"),
            },
            LeaveWal = (run.Arguments.Value("--wal") ?? "include") switch
            {
                "include" => false,
                "archive" => true,
                { } other => throw Misuse($"--wal: '{DisplayText.Of(other)}' is neither include nor archive"),
            },
            WalPatience = Duration(run, "--wal-timeout", "30s, 10m or 1h") ?? TimeSpan.FromMinutes(10),
            Standby = PgServers.StandbyOf(run, this),
            ReadLimit = run.Arguments.Value("--throttle") is not { } rate ? RateSchedule.Unlimited
                : RateText.TryParse(rate, out RateSchedule schedule) ? schedule
                : throw Misuse($"--throttle: '{DisplayText.Of(rate)}' is no rate; write it as 10M, or as 08:00-18:00=2M,else=unlimited"),
            Spool = run.Arguments.Value("--spool") ?? (server.IsStreamed ? run.CacheFolder : null),
            Host = run.Settings.Text("backup.host"),
            Tags = run.Settings.Words("backup.tags"),
            Compression = run.Settings.Text("backup.compression")!,
            CheckpointInterval = run.Settings.Duration("backup.checkpoint-interval"),
            ReadConcurrency = run.Settings.Number("backup.read-concurrency"),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        BackupView view = new(run, new BackupRequest());
        PostgresBackupOutcome outcome;
        await using (view.Show().ConfigureAwait(false))
        {
            outcome = await repository.BackupPostgresAsync(request, view.Monitor, cancellationToken).ConfigureAwait(false);
        }

        Finish(run, view, outcome);
        LockOutput.Tell(run, outcome.Backup.LocksExtended, outcome.Backup.LockProblem);
        return outcome.Backup.Warnings > 0 || outcome.Backup.LockProblem is not null ? ExitCodes.Warnings : ExitCodes.Done;
    }

    private static void Finish(Invocation run, BackupView view, PostgresBackupOutcome outcome)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                BackupView.WriteSummary(writer, outcome.Backup, dryRun: false);
                WriteDatabase(writer, outcome.Database);
            });
            return;
        }

        view.Finish(outcome.Backup);
        if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            PostgresBackupInfo database = outcome.Database;
            run.Print(string.Create(
                CultureInfo.InvariantCulture,
                $"WAL:     {database.WalStartLsn} to {database.WalEndLsn} on timeline {database.Timeline}, {(database.WalSegments == 0 ? "left to the archive" : Words.Count(database.WalSegments, "segment") + " stored with it")}{(database.FromStandby ? "; read from a standby" : "")}\n"));
        }

        if (outcome.Database.PageErrors > 0)
        {
            run.Screen.Warn($"{Words.Count(outcome.Database.PageErrors, "page")} of the server {(outcome.Database.PageErrors == 1 ? "is" : "are")} damaged; the snapshot says which. Keep an older backup until they are mended");
        }
    }

    /// <summary>What a backup of a server says of itself, as the object <c>db</c>.</summary>
    internal static void WriteDatabase(Utf8JsonWriter writer, PostgresBackupInfo database)
    {
        writer.WriteStartObject("db");
        writer.WriteString("server", database.Server);
        writer.WriteString("system_identifier", database.SystemIdentifier);
        writer.WriteString("server_version", database.ServerVersion);
        writer.WriteNumber("timeline", database.Timeline);
        writer.WriteString("wal_start_lsn", database.WalStartLsn);
        writer.WriteString("wal_end_lsn", database.WalEndLsn);
        writer.WriteNumber("wal_segments", database.WalSegments);
        writer.WriteBoolean("standby", database.FromStandby);
        writer.WriteBoolean("checksums", database.Checksums);
        writer.WriteStartObject("tablespaces");
        foreach ((string name, string location) in database.Tablespaces)
        {
            writer.WriteString(name, location);
        }

        writer.WriteEndObject();
        writer.WriteNumber("page_errors", database.PageErrors);
        writer.WriteEndObject();
    }
}
