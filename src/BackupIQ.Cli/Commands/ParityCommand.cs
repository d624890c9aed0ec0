using System.Globalization;
using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>parity add|remove|status</c></summary>
internal static class ParityCommand
{
    public static VerbGroup Create() => new(
        "parity",
        "Adds and removes parity, by which damaged packs and other objects are mended.",
        new ParityAddCommand(),
        new ParityRemoveCommand(),
        new ParityStatusCommand());

    /// <summary>Shows what would be done, as text or JSON.</summary>
    public static int ShowPlan(Invocation run, ParityChange change)
    {
        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteBoolean("dry_run", true);
                writer.WriteNumber("objects_to_cover", change.ObjectsToCover);
                writer.WriteNumber("bytes_to_read", change.BytesToRead);
                writer.WriteNumber("bytes_to_write", change.BytesToWrite);
                writer.WriteNumber("parity_objects_to_remove", change.ObjectsToRemove);
                writer.WriteNumber("bytes_to_remove", change.BytesToRemove);
            });
        }
        else
        {
            run.Print(
                $"Would make parity for {Words.Count(change.ObjectsToCover, "object")}: {Words.Size(change.BytesToRead)} to read, {Words.Size(change.BytesToWrite)} to write\n" +
                $"Would remove {Words.Count(change.ObjectsToRemove, "parity object")} of {Words.Size(change.BytesToRemove)}\n");
        }

        return ExitCodes.Done;
    }

    /// <summary>Makes the change, with progress, and tells what came of it.</summary>
    public static async Task<int> ApplyAsync(Invocation run, BackupIqRepository repository, ParityChange change, CancellationToken cancellationToken)
    {
        ParityMonitor monitor = new();
        ParityChangeOutcome outcome;
        await using (ProgressLoop.Start(run, () => Read(monitor, change), static (writer, figures, left) => WriteStatus(writer, figures, left)).ConfigureAwait(false))
        {
            outcome = await repository.ChangeParityAsync(change, monitor, cancellationToken).ConfigureAwait(false);
        }

        if (run.WantsJson)
        {
            run.Json.Line("summary", writer =>
            {
                writer.WriteNumber("objects_covered", outcome.ObjectsCovered);
                writer.WriteNumber("bytes_written", outcome.BytesWritten);
                writer.WriteNumber("parity_objects_removed", outcome.ObjectsRemoved);
                writer.WriteNumber("objects_damaged", outcome.Damaged.Count);
            });
        }
        else
        {
            run.Print(
                $"Parity made for {Words.Count(outcome.ObjectsCovered, "object")}, {Words.Size(outcome.BytesWritten)}; {Words.Count(outcome.ObjectsRemoved, "parity object")} removed\n");
        }

        if (outcome.Damaged.Count > 0)
        {
            run.Screen.Note($"{Words.Count(outcome.Damaged.Count, "damaged object")} got no parity: run 'backupiq repair packs' first, then this again");
        }

        return outcome.Damaged.Count > 0 ? ExitCodes.Damage : ExitCodes.Done;
    }

    private static ProgressFigures Read(ParityMonitor monitor, ParityChange change) => new(
        "making parity", monitor.ObjectsDone, change.ObjectsToCover, Math.Min(monitor.BytesRead, change.BytesToRead), change.BytesToRead, true, 0, null);

    private static void WriteStatus(Utf8JsonWriter writer, ProgressFigures figures, double? left)
    {
        writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
        writer.WriteNumber("total_objects", figures.FilesTotal);
        writer.WriteNumber("objects_done", figures.FilesDone);
        writer.WriteNumber("total_bytes", figures.BytesTotal);
        writer.WriteNumber("bytes_done", figures.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", left);
    }
}

/// <summary><c>parity add [--percent N] [--dry-run]</c></summary>
internal sealed class ParityAddCommand : Verb
{
    private const int UsualPercent = 5;

    public ParityAddCommand()
        : base("add", "Makes parity for everything that has none yet, or another share of it.")
    {
        Value("--percent", "N", $"so much of each pack: 1 to 100 (default {UsualPercent}); damage of up to that share can be mended");
        Flag("--verify", "read the parity that is there, and make again what of it is damaged");
        Flag("--dry-run", "only show what would be done");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq parity add", "backupiq parity add --percent 10 --dry-run"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string text = run.Arguments.Value("--percent") is { } given ? given.TrimEnd('%') : UsualPercent.ToString(CultureInfo.InvariantCulture);
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int percent) || percent is < 1 or > 100)
        {
            throw Misuse($"--percent: '{DisplayText.Of(text)}' is not from 1 to 100");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string> damaged = run.Arguments.Has("--verify") ? await repository.FindDamagedParityAsync(null, cancellationToken).ConfigureAwait(false) : [];
        ParityChange change = await repository.PlanParityAsync(percent, damaged, cancellationToken).ConfigureAwait(false);
        return run.Arguments.Has("--dry-run")
            ? ParityCommand.ShowPlan(run, change)
            : await ParityCommand.ApplyAsync(run, repository, change, cancellationToken).ConfigureAwait(false);
    }
}

/// <summary><c>parity remove [--dry-run]</c></summary>
internal sealed class ParityRemoveCommand : Verb
{
    public ParityRemoveCommand()
        : base("remove", "Removes all parity; it can be made again at any time.") => Flag("--dry-run", "only show what would be done");

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        ParityChange change = await repository.PlanParityRemovalAsync(cancellationToken).ConfigureAwait(false);
        if (run.Arguments.Has("--dry-run"))
        {
            return ParityCommand.ShowPlan(run, change);
        }

        if (change.ObjectsToRemove > 0)
        {
            run.Confirm($"Remove {Words.Count(change.ObjectsToRemove, "parity object")} of {Words.Size(change.BytesToRemove)}? Damage could not be mended by it any more.");
        }

        return await ParityCommand.ApplyAsync(run, repository, change, cancellationToken).ConfigureAwait(false);
    }
}

/// <summary><c>parity status [--verify]</c></summary>
internal sealed class ParityStatusCommand : Verb
{
    public ParityStatusCommand()
        : base("status", "Tells what parity there is and what has none.") => Flag("--verify", "read all parity, and name what of it is damaged");

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        ParityInfo info = await repository.GetParityAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string> damaged = run.Arguments.Has("--verify") ? await repository.FindDamagedParityAsync(null, cancellationToken).ConfigureAwait(false) : [];
        if (run.WantsJson)
        {
            run.Json.Document(writer => WriteJson(writer, info, damaged));
        }
        else
        {
            run.Print(output => Show(output, info, damaged));
        }

        return damaged.Count > 0 ? ExitCodes.Damage : ExitCodes.Done;
    }

    private static void Show(TextWriter output, ParityInfo info, IReadOnlyList<string> damaged)
    {
        if (info.ParityObjects == 0)
        {
            output.WriteLine($"No parity: {Words.Count(info.Objects, "object")} of {Words.Size(info.ObjectBytes)} could have some ('backupiq parity add')");
            return;
        }

        output.WriteLine($"Covered:  {Words.Number(info.CoveredObjects)} of {Words.Count(info.Objects, "object")}, {Words.Size(info.CoveredBytes)} of {Words.Size(info.ObjectBytes)}");
        output.WriteLine($"Parity:   {Words.Size(info.ParityBytes)} in {Words.Count(info.ParityObjects, "object")}{Share(info)}");
        if (info.WasteObjects > 0)
        {
            output.WriteLine($"Waste:    {Words.Size(info.WasteBytes)} in {Words.Count(info.WasteObjects, "object")} of what is gone; 'backupiq parity add' removes it");
        }

        foreach (string name in damaged)
        {
            output.WriteLine($"DAMAGE    {DisplayText.Of(name)}: not all of it is as it was put; 'backupiq parity add --verify' makes it again");
        }

        if (info.CoveredObjects < info.Objects)
        {
            output.WriteLine($"{Words.Count(info.Objects - info.CoveredObjects, "object has", "objects have")} none yet: 'backupiq parity add' makes it");
        }
    }

    private static string Share(ParityInfo info) => info.LeastPercent is not { } least ? ""
        : info.MostPercent == least ? string.Create(CultureInfo.InvariantCulture, $", {least} % of each pack")
        : string.Create(CultureInfo.InvariantCulture, $", {least} to {info.MostPercent} % of a pack");

    private static void WriteJson(Utf8JsonWriter writer, ParityInfo info, IReadOnlyList<string> damaged)
    {
        writer.WriteStartObject();
        writer.WriteNumber("objects", info.Objects);
        writer.WriteNumber("object_bytes", info.ObjectBytes);
        writer.WriteNumber("covered_objects", info.CoveredObjects);
        writer.WriteNumber("covered_bytes", info.CoveredBytes);
        writer.WriteNumber("parity_objects", info.ParityObjects);
        writer.WriteNumber("parity_bytes", info.ParityBytes);
        writer.WriteNumber("waste_objects", info.WasteObjects);
        writer.WriteNumber("waste_bytes", info.WasteBytes);
        if (info is { LeastPercent: { } least, MostPercent: { } most })
        {
            writer.WriteNumber("least_percent", least);
            writer.WriteNumber("most_percent", most);
        }

        JsonFields.WriteStrings(writer, "damaged", damaged);

        writer.WriteEndObject();
    }
}
