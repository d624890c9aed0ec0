using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>check</c></summary>
internal sealed class CheckCommand : Verb
{
    /// <summary>So many files are named for a finding on a terminal; JSON has more.</summary>
    private const int ShownFiles = 20;

    public CheckCommand()
        : base("check", "Checks that every snapshot can be restored; changes nothing but the ledger of what was verified.")
    {
        Flag("--read-data", "read and verify every chunk, too");
        Value("--read-data-subset", "PART", "as --read-data for a part: 5%, 2G (what was not verified the longest) or 1/10");
        Value("--max-age", "TIME", "read what was not verified for so long, as 30d, the oldest first");
        Value("--budget", "TIME", "stop reading after so long, as 10m; the next time goes on with the oldest");
        Flag("--resume", "go on with a --read-data that was interrupted");
        ArchiveFlags.Declare(this);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq check --read-data", "backupiq check --read-data-subset 1/7", "backupiq check --max-age 30d --budget 10m"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        CheckRequest request = new()
        {
            ReadData = run.Arguments.Has("--read-data"),
            ReadDataSubset = run.Arguments.Value("--read-data-subset"),
            MaxAge = Duration(run, "--max-age"),
            Budget = Duration(run, "--budget"),
            Resume = run.Arguments.Has("--resume"),
            Recall = ArchiveFlags.Read(this, run),
        };
        if (request.Recall.Wait && !request.ReadsContent)
        {
            throw Misuse("--wait-archive brings back what is to be read: say what with --read-data, --read-data-subset, --max-age, --budget or --resume");
        }

        if (request.Resume && (request.ReadDataSubset is not null || request.MaxAge is not null))
        {
            throw Misuse("--resume goes on with a check of everything, so --read-data-subset and --max-age have no place beside it");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        CheckMonitor monitor = new();
        CheckReport report;
        await using (ProgressLoop.Start(run, () => Read(monitor), (writer, figures, left) => WriteStatus(writer, monitor, figures, left)).ConfigureAwait(false))
        {
            report = await repository.CheckAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        if (run.WantsJson)
        {
            WriteJson(run, report);
        }
        else
        {
            Show(run, report, request);
        }

        LockOutput.Tell(run, report.LocksExtended, report.LockProblem);
        if (report.Verification.PacksArchived > 0)
        {
            run.Screen.Fail(
                $"{Words.Count(report.Verification.PacksArchived, "pack")} that should be read {(report.Verification.PacksArchived == 1 ? "lies" : "lie")} in an archive; --wait-archive has the storage bring them back, and waits",
                ErrorCodes.StorageArchived);
        }

        return report.Errors > 0 ? ExitCodes.Damage
            : report.Verification.PacksArchived > 0 ? ErrorCodes.StorageArchived.ExitCode
            : report.LockProblem is null ? ExitCodes.Done
            : ExitCodes.Warnings;
    }

    private static ProgressFigures Read(CheckMonitor monitor) => monitor.BytesTotal > 0
        ? new("checking " + monitor.Phase, monitor.PacksDone, monitor.PacksTotal, monitor.BytesDone, monitor.BytesTotal, true, 0, null)
        : new("checking " + monitor.Phase, monitor.SnapshotsDone, monitor.SnapshotsTotal, 0, 0, monitor.SnapshotsTotal > 0, 0, null);

    private static void WriteStatus(Utf8JsonWriter writer, CheckMonitor monitor, ProgressFigures figures, double? left)
    {
        writer.WriteString("phase", monitor.Phase);
        writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
        writer.WriteNumber("total_packs", monitor.PacksTotal);
        writer.WriteNumber("packs_done", monitor.PacksDone);
        writer.WriteNumber("total_bytes", monitor.BytesTotal);
        writer.WriteNumber("bytes_done", monitor.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", left);
    }

    private static void Show(Invocation run, CheckReport report, CheckRequest request)
    {
        foreach (CheckIssue issue in report.Issues)
        {
            string line = DisplayText.Of($"{issue.ObjectName}: {issue.Problem.TrimEnd('.')}");
            if (!issue.IsError)
            {
                run.Screen.Note("note: " + line);
                continue;
            }

            run.Print(output =>
            {
                output.WriteLine("DAMAGE  " + line);
                foreach (DamagedItem file in issue.Files.Take(ShownFiles))
                {
                    output.WriteLine($"        {DisplayText.Of(file.Path)} (snapshot {file.SnapshotId[..8]})");
                }

                if (issue.FileCount > Math.Min(ShownFiles, issue.Files.Count))
                {
                    output.WriteLine($"        and {Words.Count(issue.FileCount - Math.Min(ShownFiles, issue.Files.Count), "more path")}");
                }

                if (issue.SnapshotIds.Count > 0)
                {
                    output.WriteLine($"        in {Words.Count(issue.SnapshotIds.Count, "snapshot")}: {string.Join(", ", issue.SnapshotIds.Take(ShownFiles).Select(static id => id[..8]))}{(issue.SnapshotIds.Count > ShownFiles ? ", …" : "")}");
                }
            });
        }

        string read = request.ReadsContent ? $", {Words.Count(report.Verification.PacksVerified, "pack")} read and verified" : "";
        run.Print(report.Errors == 0
            ? $"No errors: {Words.Count(report.SnapshotsChecked, "snapshot")}, {Words.Count(report.PacksChecked, "pack")}, {Words.Size(report.BytesRead)} read{read}\n"
            : $"{Words.Count(report.Errors, "error")}: {Words.Count(report.BrokenPacks.Count, "broken pack")}, {Words.Count(report.DamagedFiles, "damaged path")}\n");
        ShowVerification(run, report.Verification, report.PacksArchived, request);
        if (report.Errors > 0)
        {
            run.Screen.Fail(
                $"Damage was found. {ErrorCodes.DamageFound.Guidance}", ErrorCodes.DamageFound);
        }
        else if (report.SuggestPrune)
        {
            run.Screen.Note($"{Words.Size(report.UnneededBytes)} are in packs that no snapshot needs, such as interrupted runs leave; the next backup uses what it can of them");
        }
    }

    private TimeSpan? Duration(Invocation run, string flag) => Duration(run, flag, "90s, 10m, 12h or 30d");

    private static void ShowVerification(Invocation run, CheckVerification verification, long archived, CheckRequest request)
    {
        if (archived > 0)
        {
            run.Screen.Note($"{Words.Count(archived, "pack lies", "packs lie")} in an archive of the storage: there, and of the right size, but not looked into");
        }

        if (verification.PacksFresh > 0)
        {
            run.Screen.Note($"{Words.Count(verification.PacksFresh, "pack was", "packs were")} not read again: {(request.Resume ? "the check that was interrupted" : "an earlier check")} had verified them");
        }

        if (verification.PacksDue > 0)
        {
            run.Screen.Note($"{Words.Count(verification.PacksDue, "pack was", "packs were")} left when the budget was used up; they are the first next time");
        }

        if (verification.Interrupted is { } began && !request.Resume)
        {
            run.Screen.Note($"a check of everything that began {Words.Moment(began, run.Zone)} was interrupted; --resume goes on with it");
        }

        if (verification.LedgerProblem is { } problem)
        {
            run.Screen.Note(DisplayText.Of($"what was verified could not be noted, so the next check reads it again: {problem}"));
        }
    }

    private static void WriteJson(Invocation run, CheckReport report)
    {
        foreach (CheckIssue issue in report.Issues)
        {
            run.Json.Line(issue.IsError ? "error" : "warning", writer =>
            {
                writer.WriteStartObject("error");
                writer.WriteString("message", $"{issue.ObjectName}: {issue.Problem}");
                writer.WriteEndObject();
                writer.WriteString("kind", issue.Kind);
                writer.WriteString("object", issue.ObjectName);
                writer.WriteString("pack", issue.Pack);
                writer.WriteNumber("file_count", issue.FileCount);
                writer.WriteStartArray("files");
                foreach (DamagedItem file in issue.Files)
                {
                    writer.WriteStartObject();
                    writer.WriteName("path", file.Path);
                    writer.WriteString("snapshot", file.SnapshotId);
                    writer.WriteString("chunk", file.Chunk);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
                JsonFields.WriteStrings(writer, "snapshots", issue.SnapshotIds);
            });
        }

        run.Json.Line("summary", writer =>
        {
            writer.WriteNumber("num_errors", report.Errors);
            JsonFields.WriteStrings(writer, "broken_packs", report.BrokenPacks);
            writer.WriteNumber("damaged_files", report.DamagedFiles);
            writer.WriteBoolean("suggest_repair_index", report.SuggestRepairIndex);
            writer.WriteBoolean("suggest_prune", report.SuggestPrune);
            writer.WriteNumber("packs_checked", report.PacksChecked);
            writer.WriteNumber("bytes_read", report.BytesRead);
            writer.WriteNumber("snapshots_checked", report.SnapshotsChecked);
            writer.WriteNumber("packs_verified", report.Verification.PacksVerified);
            writer.WriteNumber("packs_fresh", report.Verification.PacksFresh);
            writer.WriteNumber("packs_due", report.Verification.PacksDue);
            writer.WriteNumber("packs_archived", report.PacksArchived);
            writer.WriteNumber("packs_never_verified", report.Verification.NeverVerified);
            writer.WriteNumber("locks_extended", report.LocksExtended);
            writer.WriteString("lock_problem", report.LockProblem);
            JsonFields.WriteMoment(writer, "oldest_verification", report.Verification.Oldest);
        });
    }
}
