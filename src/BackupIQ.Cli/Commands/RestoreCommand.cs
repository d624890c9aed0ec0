using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>restore SNAP[:PATH]</c></summary>
internal sealed class RestoreCommand : Verb
{
    public RestoreCommand()
        : base("restore", "Brings files back from a snapshot.")
    {
        Positional("SNAP[:PATH]", "the snapshot, and a folder or file in it", 1, 1);
        Value("--target", "DIR", "where to; SNAP keeps absolute paths below DIR, SNAP:PATH puts PATH's content there", "-t");
        List("--include", "PATTERN", "only what matches", "-i");
        List("--exclude", "PATTERN", "not what matches", "-e");
        Value("--overwrite", "RULE", "files that are there: always, if-changed, if-newer or never");
        Flag("--delete", "remove from restored folders what the snapshot does not have");
        Flag("--verify", "read every restored file again and compare");
        Flag("--sparse", "make holes of long runs of zeros");
        Flag("--dry-run", "say what would be done, change nothing", "-n");
        ArchiveFlags.Declare(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq restore latest --target /tmp/restored",
        "backupiq restore latest:/home/ann/docs --target ~/docs --overwrite if-changed",
        "backupiq restore latest --target /tmp/restored --wait-archive --archive-priority bulk",
    ];

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        Arguments arguments = run.Arguments;
        SnapshotPath source = SnapshotPath.Parse(arguments.Positional[0]);
        string target = arguments.Value("--target") ?? throw Misuse("--target DIR says where to restore to", "Write: backupiq restore latest --target DIR");
        RecallOptions recall = ArchiveFlags.Read(this, run);
        RestoreRequest request = new()
        {
            Snapshot = source.Snapshot,
            Path = OsText.Encode(source.Path ?? "/"),
            Target = OsText.Encode(target),
            Overwrite = arguments.Value("--overwrite") ?? "always",
            Includes = [.. arguments.Values("--include").Select(OsText.Encode)],
            Excludes = [.. arguments.Values("--exclude").Select(OsText.Encode)],
            Delete = arguments.Has("--delete"),
            Verify = arguments.Has("--verify"),
            Sparse = arguments.Has("--sparse"),
            DryRun = arguments.Has("--dry-run"),
            WaitForArchive = recall.Wait,
            ArchivePriority = recall.Priority,
            ArchivePoll = recall.Poll,
            ArchiveDays = recall.Days,
        };
        if (request.Delete && !request.DryRun && System.IO.Path.GetFullPath(target) == "/")
        {
            run.Confirm("--delete with the target / removes from this system what the snapshot does not have. Go on?");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        bool everything = run.Screen.Verbosity == Verbosity.Everything;
        bool listed = request.DryRun && run.Screen.Verbosity >= Verbosity.Normal;
        RestoreMonitor monitor = new(
            failure => ItemLines.Tell(run, failure, "restore"),
            everything || listed ? (action, path, bytes) => TellItem(run, action, path, bytes, request.DryRun) : null,
            recall.OnRecall);
        RestoreOutcome outcome;
        await using (ProgressLoop.Start(run, () => Read(monitor), (writer, _, _) => WriteStatus(writer, monitor)).ConfigureAwait(false))
        {
            outcome = await repository.RestoreAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        Finish(run, request, outcome);
        return outcome.ExitCode;
    }

    /// <summary>The figures of a restore that runs.</summary>
    internal static ProgressFigures Read(RestoreMonitor monitor) => new(
        "restoring",
        monitor.FilesDone,
        monitor.TotalFiles,
        (long)(monitor.Share * monitor.TotalBytes),
        monitor.TotalBytes,
        monitor.TotalsKnown,
        0,
        monitor.CurrentPath);

    /// <summary>Its fields of a status line.</summary>
    internal static void WriteStatus(Utf8JsonWriter writer, RestoreMonitor monitor)
    {
        writer.WriteNumber("percent_done", Math.Round(monitor.Share, 6));
        writer.WriteNumber("total_files", monitor.TotalFiles);
        writer.WriteNumber("files_restored", monitor.FilesRestored);
        writer.WriteNumber("total_bytes", monitor.TotalBytes);
        writer.WriteNumber("bytes_restored", monitor.BytesRestored);
        JsonFields.WriteSeconds(writer, "seconds_remaining", monitor.SecondsRemaining);
    }

    private static void TellItem(Invocation run, string action, byte[] path, long bytes, bool dryRun)
    {
        if (run.WantsJson)
        {
            run.Json.Line("verbose_status", writer =>
            {
                writer.WriteString("action", action);
                writer.WriteName("item", path);
                writer.WriteNumber("size", bytes);
            });
        }
        else if (dryRun)
        {
            run.Print($"{action,-10} {DisplayText.Of(path)}\n");
        }
        else
        {
            run.Screen.Note($"{action,-10} {DisplayText.Of(path)}, {Words.Size(bytes)}", Verbosity.Everything);
        }
    }

    private static void Finish(Invocation run, RestoreRequest request, RestoreOutcome outcome)
    {
        foreach ((string message, long count, IReadOnlyList<byte[]> examples) in outcome.Warnings)
        {
            string example = examples.Count == 0 ? "" : $", for example {DisplayText.Of(examples[0])}";
            run.Screen.Warn($"{message} ({Words.Count(count, "entry", "entries")}{example})");
        }

        if (outcome.Snapshot.IsPartial)
        {
            run.Screen.Warn($"snapshot {outcome.Snapshot.ShortId} is partial: it holds what an interrupted run had stored, and nothing of the rest of its paths");
        }

        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteString("snapshot_id", outcome.Snapshot.Id);
                writer.WriteNumber("seconds_elapsed", Math.Round(outcome.Duration.TotalSeconds, 6));
                writer.WriteNumber("total_files", outcome.TotalFiles);
                writer.WriteNumber("files_restored", outcome.FilesRestored);
                writer.WriteNumber("files_unchanged", outcome.FilesUnchanged);
                writer.WriteNumber("files_skipped", outcome.FilesSkipped);
                writer.WriteNumber("files_deleted", outcome.FilesDeleted);
                writer.WriteNumber("files_verified", outcome.FilesVerified);
                writer.WriteNumber("total_bytes", outcome.TotalBytes);
                writer.WriteNumber("bytes_restored", outcome.BytesRestored);
                writer.WriteNumber("error_count", outcome.Errors);
                writer.WriteBoolean("dry_run", request.DryRun);
            });
            return;
        }

        if (outcome.Errors > 0)
        {
            run.Screen.Fail($"{Words.Count(outcome.Errors, "entry", "entries")} could not be restored; each is named above. The rest is there", ErrorCodes.Restore);
        }

        if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            string verified = request.Verify && !request.DryRun ? $", {Words.Number(outcome.FilesVerified)} verified" : "";
            run.Print(
                $"{(request.DryRun ? "Would restore" : "Restored")} {Words.Count(outcome.FilesRestored, "entry", "entries")} ({Words.Size(outcome.BytesRestored)}) of snapshot {outcome.Snapshot.ShortId} to {DisplayText.Of(request.Target)} in {Words.Duration(outcome.Duration)}\n"
                + $"{Words.Number(outcome.FilesUnchanged)} were right already, {Words.Number(outcome.FilesSkipped)} skipped, {Words.Number(outcome.FilesDeleted)} deleted{verified}\n");
        }
    }
}
