using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>check</c></summary>
internal sealed class CheckCommand : Verb
{
    private const int FilesShown = 20;

    public CheckCommand()
        : base("check", "Proves that the repository is whole: objects, packs, index, and every snapshot.")
    {
        Flag("--read-data", "open every chunk of every pack, too");
        Value("--read-data-subset", "PART", "open the chunks of a part: 5%, 1/10 or 2G");
        Flag("--no-pack-hashes", "do not read whole packs; on local storage they are, to find what rotted");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq check", "backupiq check --read-data-subset 10%"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        if (run.Arguments.Has("--read-data") && run.Arguments.Value("--read-data-subset") is not null)
        {
            throw Misuse("--read-data reads all, so --read-data-subset makes no sense beside it");
        }

        CheckRequest request = new()
        {
            ReadData = run.Arguments.Has("--read-data") ? "all" : run.Arguments.Value("--read-data-subset"),
            HashPacks = run.Arguments.Has("--no-pack-hashes") ? false : null,
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        CheckMonitor monitor = new();
        CheckOutcome outcome;
        await using (ProgressLoop.Start(run, () => Read(monitor), (writer, _, _) =>
        {
            writer.WriteString("phase", monitor.Phase);
            writer.WriteNumber("packs_done", monitor.PacksDone);
            writer.WriteNumber("packs_total", monitor.PacksTotal);
            writer.WriteNumber("bytes_done", monitor.BytesDone);
            writer.WriteNumber("total_bytes", monitor.BytesTotal);
        }).ConfigureAwait(false))
        {
            outcome = await repository.CheckAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        foreach (CheckIssue issue in outcome.Issues)
        {
            Tell(run, issue);
        }

        Conclude(run, outcome);
        return outcome.ExitCode;
    }

    private static ProgressFigures Read(CheckMonitor monitor) =>
        new("checking", monitor.PacksDone, monitor.PacksTotal, monitor.BytesDone, monitor.BytesTotal, true, 0, null);

    private static void Tell(Invocation run, CheckIssue issue)
    {
        if (run.WantsJson)
        {
            run.Json.Line(issue.IsError ? "error" : "warning", writer =>
            {
                writer.WriteString("object", issue.ObjectName);
                writer.WriteString("message", issue.Message);
                if (issue.Pack is not null)
                {
                    writer.WriteString("pack", issue.Pack);
                }

                writer.WriteNumber("damaged_files", issue.FileCount);
                writer.WriteStartArray("files");
                foreach ((byte[] path, string snapshot) in issue.Files)
                {
                    writer.WriteStartObject();
                    writer.WriteName("path", path);
                    writer.WriteString("snapshot", snapshot);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
                writer.WriteStartArray("snapshots");
                foreach (string snapshot in issue.Snapshots)
                {
                    writer.WriteStringValue(snapshot);
                }

                writer.WriteEndArray();
            });
            return;
        }

        run.Print(output =>
        {
            output.WriteLine($"{(issue.IsError ? "DAMAGED" : "note")}  {DisplayText.Of(issue.ObjectName)}: {DisplayText.Of(issue.Message)}");
            foreach ((byte[] path, string snapshot) in issue.Files.Take(FilesShown))
            {
                output.WriteLine($"         {snapshot[..8]}  {DisplayText.Of(path)}");
            }

            if (issue.FileCount > Math.Min(FilesShown, issue.Files.Count))
            {
                output.WriteLine($"         and {Words.Count(issue.FileCount - Math.Min(FilesShown, issue.Files.Count), "more file")}; --json lists more");
            }

            if (issue.Snapshots.Count > 0)
            {
                output.WriteLine($"         touches {Words.Count(issue.Snapshots.Count, "snapshot")}: {string.Join(' ', issue.Snapshots.Select(static s => s[..8]))}");
            }
        });
    }

    private static void Conclude(Invocation run, CheckOutcome outcome)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteNumber("num_errors", outcome.NumErrors);
                writer.WriteStartArray("broken_packs");
                foreach (string pack in outcome.BrokenPacks)
                {
                    writer.WriteStringValue(pack);
                }

                writer.WriteEndArray();
                writer.WriteNumber("damaged_files", outcome.DamagedFiles);
                writer.WriteBoolean("suggest_repair_index", outcome.SuggestRepairIndex);
                writer.WriteBoolean("suggest_prune", outcome.SuggestPrune);
                writer.WriteNumber("packs_checked", outcome.PacksChecked);
                writer.WriteNumber("bytes_read", outcome.BytesRead);
                writer.WriteNumber("snapshots_checked", outcome.SnapshotsChecked);
            });
            return;
        }

        run.Print(output =>
        {
            string read = $"{Words.Count(outcome.SnapshotsChecked, "snapshot")}, {Words.Count(outcome.PacksChecked, "pack")}, {Words.Size(outcome.BytesRead)} read";
            output.WriteLine(outcome.NumErrors == 0
                ? $"No damage found: {read}"
                : $"{Words.Count(outcome.NumErrors, "error")}, {Words.Count(outcome.DamagedFiles, "file")} damaged: {read}. What is not named is intact and restores.");
        });
    }
}
