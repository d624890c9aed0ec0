using System.Text.Json;
using BackupIQ.Cli.Commands.Postgres;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>prune</c></summary>
internal sealed class PruneCommand : Verb
{
    public PruneCommand()
        : base("prune", "Removes what no snapshot needs; backups may go on beside it.")
    {
        Value("--max-unused", "AMOUNT", "how much may stay unused: 5% (the default), 200M, 0 or unlimited");
        Value("--max-repack-size", "SIZE", "how much is rewritten at most");
        Flag("--exclusive", "only while nobody else is at work, and then leave nothing for later");
        Flag("--dry-run", "say what would be done, change nothing", "-n");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq prune", "backupiq prune --max-unused 0 --dry-run"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        PruneRequest request = new()
        {
            MaxUnused = run.Arguments.Value("--max-unused") ?? "5%",
            MaxRepackSize = run.Arguments.Value("--max-repack-size"),
            Exclusive = run.Arguments.Has("--exclusive"),
            DryRun = run.Arguments.Has("--dry-run"),
            WalKeep = PgServers.WalKeep(run),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        PruneOutcome outcome = await PruneAsync(run, repository, request, cancellationToken).ConfigureAwait(false);
        return repository.Findings.Count > 0 ? ExitCodes.Damage : outcome.LockProblem is null ? ExitCodes.Done : ExitCodes.Warnings;
    }

    /// <summary>Prunes, and shows how it goes and what came of it.</summary>
    internal static async Task<PruneOutcome> PruneAsync(Invocation run, BackupIqRepository repository, PruneRequest request, CancellationToken cancellationToken)
    {
        PruneMonitor monitor = new(plan => Tell(run, request, plan));
        PruneOutcome outcome;
        await using (ProgressLoop.Start(run, () => Read(monitor), (writer, figures, left) => WriteStatus(writer, monitor, figures, left)).ConfigureAwait(false))
        {
            outcome = await repository.PruneAsync(request, monitor, cancellationToken).ConfigureAwait(false);
        }

        Finish(run, outcome);
        return outcome;
    }

    /// <summary>Shows what came of a prune.</summary>
    internal static void Finish(Invocation run, PruneOutcome outcome)
    {
        LockOutput.Tell(run, outcome.LocksExtended, outcome.LockProblem);
        foreach (WalExpiryInfo log in outcome.Logs)
        {
            PgWalExpireCommand.Tell(run, log);
        }

        if (run.WantsJson)
        {
            run.Json.Line("summary", writer => WriteSummary(writer, outcome));
            return;
        }

        if (run.Screen.Verbosity == Verbosity.Quiet)
        {
            return;
        }

        PrunePlanInfo plan = outcome.Plan;
        string left = $"{Words.Size(plan.UnusedAfter)} of {Words.Size(plan.BytesUsed + plan.UnusedAfter)} stay unused";
        if (outcome.DryRun)
        {
            run.Print(
                $"Would delete {Words.Count(plan.PacksDeleted + plan.PacksRewritten, "pack")} of {Words.Number(plan.PacksTotal)}, {Words.Number(plan.PacksRewritten)} of them after rewriting {Words.Size(plan.BytesRewritten)}\n"
                + $"Would free {Words.Size(plan.BytesFreed)}; {left}\n");
            return;
        }

        string waited = outcome.Waited.TotalSeconds >= 1 ? $", {Words.Duration(outcome.Waited)} of it waiting for other sessions" : "";
        run.Print(outcome.PacksDeleted == 0
            ? $"Nothing to delete in {Words.Count(plan.PacksTotal, "pack")}; {left}\n"
            : $"Deleted {Words.Count(outcome.PacksDeleted, "pack")} of {Words.Number(plan.PacksTotal)}, {Words.Number(outcome.PacksRewritten)} of them after rewriting {Words.Size(plan.BytesRewritten)}, in {Words.Duration(outcome.Duration)}{waited}\n"
                + $"Freed {Words.Size(Math.Max(0, outcome.BytesFreed))}; {left}\n");
        if (plan.PacksProtected > 0)
        {
            run.Screen.Note($"{Words.Count(plan.PacksProtected, "pack")} of sessions that are still at work were left alone");
        }
    }

    private static ProgressFigures Read(PruneMonitor monitor)
    {
        IReadOnlyList<AwaitedInfo> awaited = monitor.Awaited;
        if (awaited.Count > 0)
        {
            string more = awaited.Count > 1 ? $" and {awaited.Count - 1} more" : "";
            return new($"waiting for {awaited[0].Purpose} of {DisplayText.Of(awaited[0].Hostname)}{more}", 0, 0, 0, 0, false, 0, null);
        }

        return monitor.BytesTotal > 0
            ? new(Doing(monitor.Phase), monitor.PacksDone, monitor.PacksTotal, monitor.BytesDone, monitor.BytesTotal, true, 0, null)
            : new(Doing(monitor.Phase), monitor.PacksTotal > 0 ? monitor.PacksDone : monitor.DirectoriesDone, monitor.PacksTotal, 0, 0, monitor.PacksTotal > 0, 0, null);
    }

    private static string Doing(string phase) => phase switch
    {
        "index" => "reading the index",
        "snapshots" => "following snapshots",
        "rewrite" => "rewriting packs",
        "mark" => "marking packs",
        "wait" => "looking after sessions",
        "locks" => "extending locks",
        "delete" => "deleting packs",
        _ => "sweeping",
    };

    private static void WriteStatus(Utf8JsonWriter writer, PruneMonitor monitor, ProgressFigures figures, double? left)
    {
        writer.WriteString("phase", monitor.Phase);
        writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
        writer.WriteNumber("total_packs", monitor.PacksTotal);
        writer.WriteNumber("packs_done", monitor.PacksDone);
        writer.WriteNumber("total_bytes", monitor.BytesTotal);
        writer.WriteNumber("bytes_done", monitor.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", left);
        writer.WriteStartArray("waiting_for");
        foreach (AwaitedInfo session in monitor.Awaited)
        {
            writer.WriteStartObject();
            writer.WriteString("session", session.Id);
            writer.WriteString("purpose", session.Purpose);
            writer.WriteString("hostname", session.Hostname);
            writer.WriteNumber("seconds_silent", Math.Round(session.Silence.TotalSeconds, 3));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    // The plan comes before anything is changed: a dry run shows all of it, and where nobody else may be at work the user is asked.
    private static void Tell(Invocation run, PruneRequest request, PrunePlanInfo plan)
    {
        if (run.WantsJson)
        {
            run.Json.Line("plan", writer => WritePlan(writer, plan, request.DryRun));
        }
        else if (request.DryRun && plan.Packs.Count > 0 && run.Screen.Verbosity > Verbosity.Quiet)
        {
            Table table = new("Action", "Kind", ">Size", ">Rewritten", "Pack", "Reason");
            foreach (PrunedPack pack in plan.Packs)
            {
                table.Add(pack.Action, pack.Kind, Words.Size(pack.Size), pack.Rewritten == 0 ? "" : Words.Size(pack.Rewritten), pack.Id[..16], pack.Reason);
            }

            run.Print(table.Write);
        }

        if (request.Exclusive && !request.DryRun && plan.Packs.Count > 0)
        {
            run.Confirm(
                $"{Words.Count(plan.Packs.Count, "pack")} with {Words.Size(plan.BytesRemoved)} will be deleted, {Words.Size(plan.BytesRewritten)} rewritten. Go on?");
        }
    }

    private static void WritePlan(Utf8JsonWriter writer, PrunePlanInfo plan, bool withPacks)
    {
        writer.WriteNumber("packs_total", plan.PacksTotal);
        writer.WriteNumber("packs_to_delete", plan.PacksDeleted);
        writer.WriteNumber("packs_to_rewrite", plan.PacksRewritten);
        writer.WriteNumber("packs_protected", plan.PacksProtected);
        writer.WriteNumber("bytes_total", plan.BytesTotal);
        writer.WriteNumber("bytes_used", plan.BytesUsed);
        writer.WriteNumber("bytes_to_delete", plan.BytesRemoved);
        writer.WriteNumber("bytes_to_rewrite", plan.BytesRewritten);
        writer.WriteNumber("bytes_to_free", plan.BytesFreed);
        writer.WriteNumber("unused_before", plan.UnusedBefore);
        writer.WriteNumber("unused_after", plan.UnusedAfter);
        if (plan.UnusedAllowed is { } allowed)
        {
            writer.WriteNumber("unused_allowed", allowed);
        }
        else
        {
            writer.WriteNull("unused_allowed");
        }

        writer.WriteNumber("segments_total", plan.SegmentsTotal);
        if (!withPacks)
        {
            return;
        }

        writer.WriteStartArray("packs");
        foreach (PrunedPack pack in plan.Packs)
        {
            writer.WriteStartObject();
            writer.WriteString("id", pack.Id);
            writer.WriteString("kind", pack.Kind);
            writer.WriteString("action", pack.Action);
            writer.WriteNumber("size", pack.Size);
            writer.WriteNumber("rewritten", pack.Rewritten);
            writer.WriteString("reason", pack.Reason);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteSummary(Utf8JsonWriter writer, PruneOutcome outcome)
    {
        writer.WriteBoolean("dry_run", outcome.DryRun);
        writer.WriteNumber("snapshots_removed", outcome.Removed.Count);
        writer.WriteNumber("packs_total", outcome.Plan.PacksTotal);
        writer.WriteNumber("packs_deleted", outcome.PacksDeleted);
        writer.WriteNumber("packs_rewritten", outcome.PacksRewritten);
        writer.WriteNumber("packs_protected", outcome.Plan.PacksProtected);
        writer.WriteNumber("bytes_deleted", outcome.BytesDeleted);
        writer.WriteNumber("bytes_rewritten", outcome.DryRun ? 0 : outcome.Plan.BytesRewritten);
        writer.WriteNumber("bytes_written", outcome.BytesWritten);
        writer.WriteNumber("bytes_freed", outcome.BytesFreed);
        writer.WriteNumber("bytes_used", outcome.Plan.BytesUsed);
        writer.WriteNumber("unused_left", outcome.DryRun ? outcome.Plan.UnusedBefore : outcome.Plan.UnusedAfter);
        writer.WriteNumber("segments_written", outcome.SegmentsWritten);
        writer.WriteNumber("segments_deleted", outcome.SegmentsDeleted);
        writer.WriteNumber("sessions_deleted", outcome.SessionsDeleted);
        writer.WriteNumber("partials_deleted", outcome.PartialsDeleted);
        writer.WriteNumber("locks_extended", outcome.LocksExtended);
        writer.WriteString("lock_problem", outcome.LockProblem);
        JsonFields.WriteObjects(writer, "logs", outcome.Logs, PgWalExpireCommand.WriteFields);
        writer.WriteNumber("seconds_waited", Math.Round(outcome.Waited.TotalSeconds, 3));
        writer.WriteNumber("seconds_elapsed", Math.Round(outcome.Duration.TotalSeconds, 3));
    }
}
