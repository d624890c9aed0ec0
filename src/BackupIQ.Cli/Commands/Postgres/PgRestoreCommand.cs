using System.Text;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg restore NAME --to DIR</c></summary>
internal sealed class PgRestoreCommand : Verb
{
    public PgRestoreCommand()
        : base("restore", "Makes a data directory of a backup, from which the server recovers when it is started.")
    {
        Positional("NAME", "the server, as it was backed up", 1, 1);
        Value("--to", "DIR", "the data directory to be: empty, or not there");
        Value("--base", "SNAP", "the backup (default: the newest of the server)");
        Value("--target", "HOW FAR", "immediate: as soon as the backup is consistent; latest (default): to the end of the WAL that it has");
        List("--tablespace-map", "OLD=NEW", "put the tablespace that lay at OLD to NEW");
        Value("--archive-mode", "HOW", "off (default): it archives nothing, lest it write into the original's archive; preserve: as the original");
        Flag("--start", "start it on a socket of its own, wait until it has recovered, and leave it running");
        Value("--pg-bin", "DIR", "the folder of pg_ctl, for --start (default: where packages put it)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq pg restore main --to /var/lib/postgresql/15/restored",
        "backupiq pg restore main --to /tmp/look --target immediate --tablespace-map /mnt/fast=/tmp/fast --start",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        Arguments arguments = run.Arguments;
        PostgresRestoreRequest request = new()
        {
            Server = arguments.Positional[0],
            Folder = arguments.Value("--to") ?? throw Misuse("--to DIR says where to restore to"),
            Base = arguments.Value("--base"),
            Immediate = (arguments.Value("--target") ?? "latest") switch
            {
                "immediate" => true,
                "latest" => false,
                { } other => throw Misuse($"--target: '{DisplayText.Of(other)}' is neither immediate nor latest"),
            },
            TablespaceMap = ReadMap(arguments.Values("--tablespace-map")),
            KeepArchiving = (arguments.Value("--archive-mode") ?? "off") switch
            {
                "off" => false,
                "preserve" => true,
                { } other => throw Misuse($"--archive-mode: '{DisplayText.Of(other)}' is neither off nor preserve"),
            },
            Start = arguments.Has("--start"),
            Programs = arguments.Value("--pg-bin"),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        RestoreMonitor monitor = new(failure => ItemLines.Tell(run, failure, "restore"), null, recall => ArchiveFlags.Tell(run, recall));
        PostgresRestoreOutcome outcome;
        await using (ProgressLoop.Start(run, () => RestoreCommand.Read(monitor), (writer, _, _) => RestoreCommand.WriteStatus(writer, monitor)).ConfigureAwait(false))
        {
            outcome = await repository.RestorePostgresAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        Finish(run, request, outcome);
        return outcome.Restore.ExitCode;
    }

    private Dictionary<string, string> ReadMap(IReadOnlyList<string> pairs)
    {
        Dictionary<string, string> map = new(StringComparer.Ordinal);
        foreach (string pair in pairs)
        {
            int equals = pair.IndexOf('=');
            if (equals <= 0 || equals == pair.Length - 1)
            {
                throw Misuse($"--tablespace-map: '{DisplayText.Of(pair)}' is not OLD=NEW");
            }

            map[pair[..equals]] = pair[(equals + 1)..];
        }

        return map;
    }

    private static void Finish(Invocation run, PostgresRestoreRequest request, PostgresRestoreOutcome outcome)
    {
        foreach ((string message, long count, IReadOnlyList<byte[]> examples) in outcome.Restore.Warnings)
        {
            string example = examples.Count == 0 ? "" : $", for example {DisplayText.Of(examples[0])}";
            run.Screen.Warn($"{message} ({Words.Count(count, "entry", "entries")}{example})");
        }

        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteString("snapshot_id", outcome.Restore.Snapshot.Id);
                writer.WriteString("target", DisplayText.Of(request.Folder));
                writer.WriteNumber("seconds_elapsed", Math.Round(outcome.Restore.Duration.TotalSeconds, 6));
                writer.WriteNumber("files_restored", outcome.Restore.FilesRestored);
                writer.WriteNumber("bytes_restored", outcome.Restore.BytesRestored);
                writer.WriteNumber("error_count", outcome.Restore.Errors);
                PgBackupCommand.WriteDatabase(writer, outcome.Database);
                if (outcome.Reached is { } reached)
                {
                    writer.WriteStartObject("reached");
                    writer.WriteString("lsn", reached.Lsn);
                    writer.WriteString("last_transaction", reached.LastTransaction);
                    if (reached.Timeline is { } timeline)
                    {
                        writer.WriteNumber("timeline", timeline);
                    }

                    writer.WriteString("socket_directory", reached.Sockets);
                    writer.WriteEndObject();
                }
            });
            return;
        }

        if (outcome.Restore.ExitCode is not (0 or 3))
        {
            run.Screen.Fail("Not everything could be restored; each entry is named above. No server can be started from the folder as it is", ErrorCodes.Restore);
            return;
        }

        if (outcome.Database.PageErrors > 0)
        {
            run.Screen.Warn($"the backup holds {Words.Count(outcome.Database.PageErrors, "page")} that {(outcome.Database.PageErrors == 1 ? "was" : "were")} damaged on the server already");
        }

        if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            StringBuilder text = new();
            text.Append($"Restored {Words.Count(outcome.Restore.FilesRestored, "entry", "entries")} ({Words.Size(outcome.Restore.BytesRestored)}) of snapshot {outcome.Restore.Snapshot.ShortId} to {DisplayText.Of(request.Folder)} in {Words.Duration(outcome.Restore.Duration)}\n");
            text.Append(outcome.Reached is { } reached
                ? $"It has recovered to {reached.Lsn ?? outcome.Database.WalEndLsn}, last transaction {reached.LastTransaction ?? "none"}, and runs on timeline {reached.Timeline}: psql -h {DisplayText.Of(reached.Sockets)} -p 5432\n"
                : $"Start it with pg_ctl: it recovers to {(request.Immediate ? "the end of the backup" : "the end of the WAL that the backup has")} ({outcome.Database.WalEndLsn}).\n");
            run.Print(text.ToString());
        }
    }
}
