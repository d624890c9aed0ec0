using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Cli.Secrets;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>import restic REPO</c></summary>
internal sealed class ImportResticCommand : Verb
{
    public ImportResticCommand()
        : base("restic", "Takes over the snapshots of a restic repository, with times, hosts, tags and paths.")
    {
        Positional("REPO", "the folder of the restic repository; behind it, only these of its snapshots", atLeast: 1);
        Value("--from-password-file", "FILE", "password of the restic repository");
        Value("--from-password-command", "CMD", "command that prints the password of the restic repository");
        Value("--from-password-from", "REF", "reference to the password of the restic repository, as --password-from");
        List("--host", "NAME", "only of this host", "-H");
        List("--tag", "TAG[,TAG]", "only with all of these tags");
        List("--path", "PATH", "only of this path");
        Value("--latest", "N", "only the newest N");
        Flag("--dry-run", "say which would be taken over, store nothing", "-n");
        Value("--compression", "HOW", "auto, off, fast, default, max, zstd:N, lz4, gzip, bzip2, lzma");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq import restic /mnt/old/restic-repo --from-password-file ~/restic-password",
        "backupiq import restic /mnt/old/restic-repo --host server --dry-run",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        Arguments arguments = run.Arguments;
        run.Settings.RequireValid();
        int? limit = null;
        if (arguments.Value("--latest") is { } text)
        {
            limit = int.TryParse(text, out int number) && number > 0 ? number : throw Misuse($"--latest: '{DisplayText.Of(text)}' is not a number above 0");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        string location = arguments.Positional[0];
        RepositorySecrets secrets = await run.Secrets.ForOtherAsync("from-", $"password of {location}: ", cancellationToken).ConfigureAwait(false);
        try
        {
            ResticImportRequest request = new()
            {
                Location = location,
                Password = secrets.Password ?? throw Misuse("A restic repository is opened with a password"),
                Names = [.. arguments.Positional.Skip(1)],
                Query = new SnapshotQuery
                {
                    Hosts = arguments.Values("--host"),
                    Tags = arguments.Values("--tag"),
                    Paths = [.. arguments.Values("--path").Select(OsText.Encode)],
                    Limit = limit,
                },
                DryRun = arguments.Has("--dry-run"),
                Compression = arguments.Value("--compression") ?? run.Settings.Text("backup.compression")!,
            };
            ResticImportMonitor monitor = new(
                failure => ItemLines.Tell(run, failure, "import"),
                notice => run.Screen.Warn(DisplayText.Of(notice)),
                item => Tell(run, item));
            ResticImportOutcome outcome;
            await using (ProgressLoop.Start(run, () => Read(monitor), (writer, figures, left) => WriteStatus(writer, monitor, figures, left)).ConfigureAwait(false))
            {
                outcome = await repository.ImportResticAsync(request, monitor, cancellationToken).ConfigureAwait(false);
            }

            Finish(run, outcome, request.DryRun);
            return outcome.Warnings > 0 ? ExitCodes.Warnings : ExitCodes.Done;
        }
        finally
        {
            SecretReader.Wipe(secrets);
        }
    }

    private static ProgressFigures Read(ResticImportMonitor monitor) => new(
        $"importing {monitor.Snapshot} of {Words.Count(monitor.Snapshots, "snapshot")}",
        monitor.FilesDone,
        monitor.FilesTotal,
        monitor.BytesDone,
        monitor.BytesTotal,
        monitor.TotalsKnown,
        monitor.Failures,
        monitor.CurrentPath);

    private static void WriteStatus(Utf8JsonWriter writer, ResticImportMonitor monitor, ProgressFigures figures, double? left)
    {
        writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
        writer.WriteNumber("snapshot", monitor.Snapshot);
        writer.WriteNumber("total_snapshots", monitor.Snapshots);
        writer.WriteNumber("total_files", figures.FilesTotal);
        writer.WriteNumber("files_done", figures.FilesDone);
        writer.WriteNumber("total_bytes", figures.BytesTotal);
        writer.WriteNumber("bytes_done", figures.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", left);
        writer.WriteNumber("error_count", figures.Errors);
        JsonFields.WriteStrings(writer, "current_files", figures.Current is { } path ? [DisplayText.Of(path)] : []);
    }

    private static void Tell(Invocation run, ResticImportItem item)
    {
        if (run.WantsJson)
        {
            run.Json.Line("snapshot", writer =>
            {
                writer.WriteString("action", item.State);
                writer.WriteString("original", item.Original);
                writer.WriteString("snapshot_id", item.SnapshotId);
                writer.WriteString("time", item.Time);
                writer.WriteString("hostname", item.Hostname);
                JsonFields.WritePaths(writer, item.Paths);
                JsonFields.WriteStrings(writer, "tags", item.Tags);
                if (item.Counts is { } counts)
                {
                    BackupView.WriteCounts(writer, counts);
                }
            });
            return;
        }

        if (run.Screen.Verbosity == Verbosity.Quiet)
        {
            return;
        }

        string what = item.State switch
        {
            "imported" => $"is now {item.SnapshotId![..8]}",
            "present" => $"is here already, as {item.SnapshotId![..8]}",
            "forgotten" => $"was here and is forgotten; name it to take it over again",
            "planned" => "would be taken over",
            _ => "cannot be read",
        };
        string paths = string.Join(", ", item.Paths.Select(static path => DisplayText.Of(path)));
        run.Screen.Draw("");
        run.Print($"{item.Original[..8]}  {Words.Moment(item.Time, run.Zone)}  {DisplayText.Of(item.Hostname)}  {paths}  {what}\n");
    }

    private static void Finish(Invocation run, ResticImportOutcome outcome, bool dryRun)
    {
        long Sum(Func<BackupCounts, long> figure) => outcome.Items.Sum(item => item.Counts is { } counts ? figure(counts) : 0);
        int planned = outcome.Items.Count(static item => item.State == "planned");
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                if (dryRun)
                {
                    writer.WriteBoolean("dry_run", true);
                    writer.WriteNumber("snapshots_planned", planned);
                }

                writer.WriteNumber("snapshots_imported", outcome.Imported);
                writer.WriteNumber("snapshots_present", outcome.Present);
                writer.WriteNumber("snapshots_failed", outcome.Failed);
                writer.WriteNumber("files_new", Sum(static counts => counts.FilesNew));
                writer.WriteNumber("files_changed", Sum(static counts => counts.FilesChanged));
                writer.WriteNumber("files_unmodified", Sum(static counts => counts.FilesUnmodified));
                writer.WriteNumber("files_failed", Sum(static counts => counts.FilesFailed));
                writer.WriteNumber("total_files_processed", Sum(static counts => counts.TotalFiles));
                writer.WriteNumber("total_bytes_processed", Sum(static counts => counts.TotalBytes));
                writer.WriteNumber("data_added", Sum(static counts => counts.DataAdded));
                writer.WriteNumber("data_added_packed", Sum(static counts => counts.DataAddedPacked));
                writer.WriteNumber("warnings", outcome.Warnings);
                writer.WriteNumber("total_duration", Math.Round(outcome.Duration.TotalSeconds, 6));
            });
            return;
        }

        if (run.Screen.Verbosity != Verbosity.Quiet)
        {
            run.Print(dryRun
                ? $"Dry run: {Words.Count(planned, "snapshot")} would be taken over, {Words.Count(outcome.Present, "is", "are")} here already\n"
                : $"{Words.Count(outcome.Imported, "snapshot")} taken over, {outcome.Present} here already; the repository grew by {Words.Size(outcome.BytesPut)} in {Words.Duration(outcome.Duration)}\n");
        }

        if (outcome.Warnings > 0)
        {
            run.Screen.Warn($"{Words.Count(outcome.Warnings, "thing")} could not be read from the restic repository; {(outcome.Warnings == 1 ? "it is" : "each is")} named above. The rest is here (exit code 3)");
        }
    }
}
