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
        : base("check", "Checks that every snapshot can be restored; changes nothing.")
    {
        Flag("--read-data", "read and verify every chunk, too");
        Value("--read-data-subset", "PART", "as --read-data for a part: 5%, 1/10 or 2G");
        Value("--max-age", "TIME", "what was not verified for so long (in a later version)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq check --read-data", "backupiq check --read-data-subset 1/7"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        if (run.Arguments.Has("--max-age"))
        {
            throw Misuse("--max-age needs the ledger of verifications, which is not part of this version yet", "Use --read-data or --read-data-subset.");
        }

        CheckRequest request = new() { ReadData = run.Arguments.Has("--read-data"), ReadDataSubset = run.Arguments.Value("--read-data-subset") };
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

        return report.Errors > 0 ? ExitCodes.Damage : ExitCodes.Done;
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

        string read = request.ReadData || request.ReadDataSubset is not null ? ", chunks read and verified" : "";
        run.Print(report.Errors == 0
            ? $"No errors: {Words.Count(report.SnapshotsChecked, "snapshot")}, {Words.Count(report.PacksChecked, "pack")}, {Words.Size(report.BytesRead)} read{read}\n"
            : $"{Words.Count(report.Errors, "error")}: {Words.Count(report.BrokenPacks.Count, "broken pack")}, {Words.Count(report.DamagedFiles, "damaged path")}\n");
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
                writer.WriteStartArray("snapshots");
                foreach (string id in issue.SnapshotIds)
                {
                    writer.WriteStringValue(id);
                }

                writer.WriteEndArray();
            });
        }

        run.Json.Line("summary", writer =>
        {
            writer.WriteNumber("num_errors", report.Errors);
            writer.WriteStartArray("broken_packs");
            foreach (string pack in report.BrokenPacks)
            {
                writer.WriteStringValue(pack);
            }

            writer.WriteEndArray();
            writer.WriteNumber("damaged_files", report.DamagedFiles);
            writer.WriteBoolean("suggest_repair_index", report.SuggestRepairIndex);
            writer.WriteBoolean("suggest_prune", report.SuggestPrune);
            writer.WriteNumber("packs_checked", report.PacksChecked);
            writer.WriteNumber("bytes_read", report.BytesRead);
            writer.WriteNumber("snapshots_checked", report.SnapshotsChecked);
        });
    }
}
