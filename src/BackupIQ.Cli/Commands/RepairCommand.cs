using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>repair index|packs|snapshots</c></summary>
internal static class RepairCommand
{
    /// <summary>So many lost paths are named on a terminal; JSON and the new snapshot have more.</summary>
    private const int ShownPaths = 20;

    public static VerbGroup Create() => new(
        "repair",
        "Mends what is damaged; says what it would do (--dry-run), and drops nothing that can still be read.",
        new RepairPacksCommand(),
        new RepairIndexCommand(),
        new RepairSnapshotsCommand());

    /// <summary>Runs a repair with progress and tells what came of it.</summary>
    public static async Task<int> RunAsync(
        Invocation run, Func<BackupIqRepository, bool, CheckMonitor, Task<RepairReport>> repair, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        CheckMonitor monitor = new();
        RepairReport report;
        await using (ProgressLoop.Start(run, () => Read(monitor), static (writer, figures, left) => WriteStatus(writer, figures, left)).ConfigureAwait(false))
        {
            report = await repair(repository, run.Arguments.Has("--dry-run"), monitor).ConfigureAwait(false);
        }

        if (run.WantsJson)
        {
            WriteJson(run, report);
        }
        else
        {
            run.Print(output => Show(output, report));
        }

        if (!report.IsDamageLeft && !report.IsTrial)
        {
            run.DamageIsMended();
        }
        else if (report.IsDamageLeft)
        {
            run.Screen.Fail($"{(report.IsTrial ? "Damage would be" : "Damage is")} left that cannot be mended; everything else restores. 'backupiq check' names the files", ErrorCodes.DamageFound);
        }

        return report.IsDamageLeft || (report.IsTrial && report.IsAnythingFound) ? ExitCodes.Damage : ExitCodes.Done;
    }

    private static ProgressFigures Read(CheckMonitor monitor) =>
        new("repairing " + monitor.Phase, monitor.PacksDone, monitor.PacksTotal, monitor.BytesDone, monitor.BytesTotal, monitor.BytesTotal > 0, 0, null);

    private static void WriteStatus(Utf8JsonWriter writer, ProgressFigures figures, double? left)
    {
        writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
        writer.WriteNumber("total_packs", figures.FilesTotal);
        writer.WriteNumber("packs_done", figures.FilesDone);
        writer.WriteNumber("total_bytes", figures.BytesTotal);
        writer.WriteNumber("bytes_done", figures.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", left);
    }

    private static void Show(TextWriter output, RepairReport report)
    {
        foreach (string name in report.Resumed)
        {
            output.WriteLine($"mended    {DisplayText.Of(name)}: an earlier repair had begun it");
        }

        foreach (RepairedObject item in report.Objects)
        {
            output.WriteLine(DisplayText.Of($"{Verb(item, report.IsTrial),-11} {item.ObjectName}: {item.Problem}; {item.Told}"));
        }

        if (report.PacksAdopted > 0)
        {
            output.WriteLine($"{(report.IsTrial ? "would put" : "put")} {Words.Count(report.PacksAdopted, "pack")} into the index again");
        }

        foreach (SnapshotLosses losses in report.Snapshots)
        {
            ShowLosses(output, losses, report.IsTrial);
        }

        int mended = report.Objects.Count(static item => item.IsMended) + report.Resumed.Count;
        int lost = report.Objects.Count(static item => !item.IsMended);
        output.WriteLine(!report.IsAnythingFound && report.Resumed.Count == 0 ? "Nothing is damaged"
            : $"{(report.IsTrial ? "Would mend" : "Mended")} {Words.Count(mended, "object")}{(lost > 0 ? $"; {Words.Count(lost, "object")} cannot be mended" : "")}");
    }

    private static string Verb(RepairedObject item, bool isTrial) =>
        item.IsMended ? (isTrial ? "would mend" : "mended") : item.Means == "moved" ? (isTrial ? "would move" : "moved") : "cannot mend";

    private static void ShowLosses(TextWriter output, SnapshotLosses losses, bool isTrial)
    {
        string beside = losses.Repaired is { } repaired ? $"the rest is snapshot {repaired.ShortId}"
            : losses.Kept == 0 ? "nothing is left of it"
            : isTrial ? "the rest would be a new snapshot" : "";
        output.WriteLine($"snapshot {losses.Damaged.ShortId} has lost {Words.Count(losses.Lost.Count, "path")}; {beside}");
        foreach (byte[] path in losses.Lost.Take(ShownPaths))
        {
            output.WriteLine($"        {DisplayText.Of(path)}");
        }

        if (losses.Lost.Count > ShownPaths)
        {
            output.WriteLine($"        and {Words.Count(losses.Lost.Count - ShownPaths, "more path")}");
        }
    }

    private static void WriteJson(Invocation run, RepairReport report)
    {
        foreach (RepairedObject item in report.Objects)
        {
            run.Json.Line(item.IsMended ? "verbose_status" : "error", writer =>
            {
                writer.WriteString("object", item.ObjectName);
                writer.WriteString("problem", item.Problem);
                writer.WriteBoolean("mended", item.IsMended);
                writer.WriteString("means", item.Means);
                writer.WriteString("told", item.Told);
            });
        }

        foreach (SnapshotLosses losses in report.Snapshots)
        {
            run.Json.Line("error", writer =>
            {
                writer.WriteString("snapshot", losses.Damaged.Id);
                writer.WriteString("repaired_snapshot", losses.Repaired?.Id);
                writer.WriteNumber("kept", losses.Kept);
                writer.WriteStartArray("lost");
                foreach (byte[] path in losses.Lost)
                {
                    writer.WriteStartObject();
                    writer.WriteName("path", path);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
            });
        }

        run.Json.Line("summary", writer =>
        {
            writer.WriteBoolean("dry_run", report.IsTrial);
            writer.WriteNumber("packs_adopted", report.PacksAdopted);
            writer.WriteNumber("snapshots_damaged", report.Snapshots.Count);
            writer.WriteNumber("objects_damaged", report.Objects.Count);
            writer.WriteNumber("objects_mended", report.Objects.Count(static item => item.IsMended) + report.Resumed.Count);
            writer.WriteNumber("objects_lost", report.Objects.Count(static item => !item.IsMended));
        });
    }
}

/// <summary><c>repair packs [--dry-run]</c></summary>
internal sealed class RepairPacksCommand : Verb
{
    public RepairPacksCommand()
        : base("packs", "Reads every pack and mends the damaged ones to the bytes that they had; what cannot be mended is saved as far as it can be read.") =>
        Flag("--dry-run", "only say what would be done");

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq repair packs --dry-run", "backupiq repair packs"];

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken) =>
        RepairCommand.RunAsync(run, (repository, isTrial, monitor) => repository.RepairPacksAsync(isTrial, monitor, cancellationToken), cancellationToken);
}

/// <summary><c>repair index [--dry-run]</c></summary>
internal sealed class RepairIndexCommand : Verb
{
    public RepairIndexCommand()
        : base("index", "Makes the index whole again from the packs' own contents tables.") => Flag("--dry-run", "only say what would be done");

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken) =>
        RepairCommand.RunAsync(run, (repository, isTrial, monitor) => repository.RepairIndexAsync(isTrial, monitor, cancellationToken), cancellationToken);
}

/// <summary><c>repair snapshots [--dry-run]</c></summary>
internal sealed class RepairSnapshotsCommand : Verb
{
    public RepairSnapshotsCommand()
        : base("snapshots", "Puts beside each snapshot that has lost files another one without them, which names them.") =>
        Flag("--dry-run", "only say what would be done");

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken) =>
        RepairCommand.RunAsync(run, (repository, isTrial, monitor) => repository.RepairSnapshotsAsync(isTrial, monitor, cancellationToken), cancellationToken);
}
