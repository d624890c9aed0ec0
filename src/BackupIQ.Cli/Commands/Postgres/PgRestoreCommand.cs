using System.Globalization;
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
        Value("--target-time", "TIME", "to this moment: 2026-11-26T14:29:59+01:00; without a zone the server's is meant");
        Value("--target-lsn", "LSN", "to this place in the log: 0/3000028");
        Value("--target-xid", "XID", "to the end of this transaction");
        Value("--target-name", "POINT", "to this restore point");
        Value("--target", "HOW FAR", "immediate: as soon as the backup is consistent; latest (default): to the end of the log");
        Flag("--exclusive", "leave out the target itself: what was committed at that moment, the record there, that transaction");
        Value("--timeline", "N", "along this timeline (default: latest)");
        Value("--action", "WHAT", "what the server does there: promote (default), pause or shutdown");
        Flag("--plan", "only say how it would be done, having proven that it can");
        Value("--base", "SNAP", "the backup (default: the newest from which the target is reached)");
        Flag("--delta", "the folder may hold what an interrupted restore left, or the stopped server itself: only what differs is written");
        List("--only-db", "DB", "leave the files of other databases out; those can only be dropped then");
        List("--tablespace-map", "OLD=NEW", "put the tablespace that lay at OLD to NEW");
        Value("--archive-mode", "HOW", "off (default): it archives nothing, lest it write into the original's archive; preserve: as the original");
        Flag("--start", "start it on a socket of its own, wait until it has recovered, and leave it running");
        Value("--pg-bin", "DIR", "the folder of pg_ctl, for --start (default: where packages put it)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq pg restore main --to /var/lib/postgresql/15/restored",
        "backupiq pg restore main --target-time 2026-11-26T14:29:59+01:00 --plan",
        "backupiq pg restore main --to /tmp/look --target immediate --tablespace-map /mnt/fast=/tmp/fast --start",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        Arguments arguments = run.Arguments;
        bool isPlan = arguments.Has("--plan");
        PostgresRestoreRequest request = new()
        {
            Server = arguments.Positional[0],
            Folder = arguments.Value("--to") ?? (isPlan ? "" : throw Misuse("--to DIR says where to restore to")),
            Base = arguments.Value("--base"),
            Target = ReadTarget(arguments),
            Exclusive = arguments.Has("--exclusive"),
            Timeline = ReadTimeline(arguments.Value("--timeline")),
            Action = OneOf(arguments, "--action", "promote", "pause", "shutdown"),
            Delta = arguments.Has("--delta"),
            OnlyDatabases = arguments.Values("--only-db"),
            TablespaceMap = ReadMap(arguments.Values("--tablespace-map")),
            KeepArchiving = OneOf(arguments, "--archive-mode", "off", "preserve") == "preserve",
            Start = arguments.Has("--start"),
            Programs = arguments.Value("--pg-bin"),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (isPlan)
        {
            Show(run, await repository.PlanPostgresRestoreAsync(request, cancellationToken).ConfigureAwait(false));
            return ExitCodes.Done;
        }

        RestoreMonitor monitor = new(failure => ItemLines.Tell(run, failure, "restore"), null, recall => ArchiveFlags.Tell(run, recall));
        PostgresRestoreOutcome outcome;
        await using (ProgressLoop.Start(run, () => RestoreCommand.Read(monitor), (writer, _, _) => RestoreCommand.WriteStatus(writer, monitor)).ConfigureAwait(false))
        {
            outcome = await repository.RestorePostgresAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        Finish(run, request, outcome);
        return outcome.Restore.ExitCode;
    }

    private PostgresTarget ReadTarget(Arguments arguments)
    {
        List<PostgresTarget> targets = [];
        foreach ((string flag, Func<string, PostgresTarget> read) in ((string, Func<string, PostgresTarget>)[])
            [("--target-time", PostgresTarget.Time), ("--target-lsn", PostgresTarget.Lsn), ("--target-xid", PostgresTarget.Transaction), ("--target-name", PostgresTarget.Name)])
        {
            if (arguments.Value(flag) is { } text)
            {
                targets.Add(read(text));
            }
        }

        if (arguments.Value("--target") is not null)
        {
            targets.Add(OneOf(arguments, "--target", "latest", "immediate") == "immediate" ? PostgresTarget.Immediate : PostgresTarget.Latest);
        }

        return targets.Count <= 1 ? targets.FirstOrDefault() ?? PostgresTarget.Latest : throw Misuse("A server recovers to one target: give one of --target-time, --target-lsn, --target-xid, --target-name and --target");
    }

    private uint? ReadTimeline(string? text) =>
        text is null or "latest" ? null
        : uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint timeline) && timeline > 0 ? timeline
        : throw Misuse($"--timeline: '{DisplayText.Of(text)}' is neither a timeline's number nor latest");

    // The first is what is meant where nothing is said.
    private string OneOf(Arguments arguments, string flag, params string[] words)
    {
        string word = arguments.Value(flag) ?? words[0];
        return words.Contains(word) ? word : throw Misuse($"{flag}: '{DisplayText.Of(word)}' is none of {string.Join(", ", words)}");
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

    private static string Now(PostgresReached reached) => reached.Action == "shutdown"
        ? "was shut down"
        : $"{(reached.Action == "pause" ? "is paused there" : $"runs on timeline {reached.Timeline}")}: psql -h {DisplayText.Of(reached.Sockets)} -p 5432";

    private static void Show(Invocation run, PostgresRestorePlan plan)
    {
        if (run.WantsJson)
        {
            run.Json.Document(plan.WriteTo);
            return;
        }

        run.Print(output =>
        {
            output.WriteLine($"target            {DisplayText.Of(plan.TargetKind == plan.Target ? plan.Target : $"{plan.TargetKind} {plan.Target}")}{(plan.Exclusive ? ", itself left out" : "")}{(plan.TimeZone is { } zone ? $" (read by the clock of {zone})" : "")}");
            output.WriteLine($"backup            {plan.Snapshot[..8]}, {Words.Moment(plan.BackupTime, run.Zone)}, {Words.Size(plan.BackupBytes)}, consistent from {plan.ConsistentLsn} on");
            output.WriteLine($"log               {Words.Count(plan.Segments, "segment")} ({Words.Size(plan.LogBytes)}), {plan.FirstSegment} to {plan.LastSegment}: all there, each record whole");
            output.WriteLine(plan.StopLsn is null
                ? $"stops             as soon as it is consistent, on timeline {plan.Timeline}"
                : $"stops             {(plan.StopsBefore ? "before" : "behind")} the record at {plan.StopLsn}, on timeline {plan.Timeline}{(plan.IsEndOfLog ? ": the end of what is stored" : "")}");
            output.WriteLine($"last commit       {Commit(plan.LastCommit, "none is replayed")}");
            output.WriteLine($"first one after   {Commit(plan.FirstCommitAfter, "none is stored")}");
            output.WriteLine($"then              {plan.Action}");
            output.WriteLine($"takes             about {Words.Duration(plan.Estimate)}");
            foreach (string note in plan.Notes)
            {
                output.WriteLine($"note              {DisplayText.Of(note)}");
            }
        });

        string Commit(PostgresCommit? commit, string none) => commit is null ? none : $"{PgWalCommand.Moment(commit.Time, run.Zone)} ({commit.Lsn}, transaction {commit.Transaction.ToString(CultureInfo.InvariantCulture)})";
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
                if (outcome.Plan is { } plan)
                {
                    writer.WritePropertyName("plan");
                    plan.WriteTo(writer);
                }

                if (outcome.Reached is { } reached)
                {
                    writer.WritePropertyName("reached");
                    reached.WriteTo(writer);
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
                ? $"It has recovered to {outcome.Plan?.EndLsn}, last transaction {reached.LastTransaction ?? "none"}, as planned, and {Now(reached)}\n"
                : $"Start it with pg_ctl: it recovers to {outcome.Plan?.EndLsn}.\n");
            run.Print(text.ToString());
        }
    }
}
