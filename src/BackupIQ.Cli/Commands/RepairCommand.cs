using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>repair packs</c></summary>
internal static class RepairCommand
{
    public static VerbGroup Create() => new(
        "repair",
        "Mends what is damaged; says what it would do first (--dry-run), and drops nothing that can still be read.",
        new RepairPacksCommand());

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
            run.Screen.Fail("Damage is left that could not be mended. Everything else still restores: 'backupiq check' names the files", ErrorCodes.DamageFound);
        }

        return report.IsDamageLeft || (report.IsTrial && report.Objects.Count > 0) ? ExitCodes.Damage : ExitCodes.Done;
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
            string verb = !item.IsMended ? report.IsTrial ? "cannot mend" : "DAMAGE" : report.IsTrial ? "would mend" : "mended";
            output.WriteLine(DisplayText.Of($"{verb,-11} {item.ObjectName}: {item.Problem}; {item.Told}"));
        }

        int mended = report.Objects.Count(static item => item.IsMended) + report.Resumed.Count;
        int left = report.Objects.Count(static item => !item.IsMended);
        output.WriteLine(report.Objects.Count == 0 && report.Resumed.Count == 0 ? "Nothing is damaged"
            : $"{(report.IsTrial ? "Would mend" : "Mended")} {Words.Count(mended, "object")}{(left > 0 ? $"; {Words.Count(left, "object")} cannot be mended" : "")}");
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

        run.Json.Line("summary", writer =>
        {
            writer.WriteBoolean("dry_run", report.IsTrial);
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
        : base("packs", "Reads every pack and mends the damaged ones to the bytes that they had, by parity and by what else is known.") =>
        Flag("--dry-run", "only say what would be done");

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq repair packs --dry-run", "backupiq repair packs"];

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken) =>
        RepairCommand.RunAsync(run, (repository, isTrial, monitor) => repository.RepairPacksAsync(isTrial, monitor, cancellationToken), cancellationToken);
}
