using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>forget [SNAP…]</c></summary>
internal sealed class ForgetCommand : SnapshotVerb
{
    public ForgetCommand()
        : base("forget", "Forgets snapshots, by rules or by name; until the grace time is over 'undelete' brings them back.", "forget these, whatever the rules say")
    {
        Aliases.Add("delete");
        RetentionFlags.Declare(this);
        Value("--group-by", "WORDS", "what makes a series: host, paths, tags (default: host,paths; '': all are one)");
        Flag("--allow-mass", "also when more than half of a series goes, its newest full snapshot, or the newest backup of a server without damaged pages");
        Value("--grace", "TIME", "how long they can be brought back (default: 7d); 0 removes them for good now");
        Value("--reason", "TEXT", "why");
        Flag("--prune", "then prune: what only snapshots needed that are gone for good goes, too");
        Value("--max-unused", "AMOUNT", "with --prune: how much may stay unused: 5% (the default), 200M, 0 or unlimited");
        Flag("--dry-run", "only show what would go, and why", "-n");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq forget --policy gfs --dry-run",
        "backupiq forget --keep-daily 7 --keep-weekly 4 --keep-tag yearly-report",
        "backupiq forget 1a2b3c4d",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        RetentionRequest request = RetentionFlags.Request(run) with
        {
            GroupBy = run.Arguments.Value("--group-by") ?? run.Settings.Text("retention.group-by") ?? "",
            Grace = run.Settings.Duration("retention.grace"),
            AllowMass = run.Arguments.Has("--allow-mass"),
            Reason = run.Arguments.Value("--reason"),
        };
        SnapshotSelection selection = Selection(run);
        RequireSense(run, selection, request);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        ForgetPreview preview = await repository.PlanForgetAsync(selection, request, cancellationToken).ConfigureAwait(false);
        foreach (string warning in preview.Warnings)
        {
            run.Screen.Warn(DisplayText.Of(warning));
        }

        if (!run.WantsJson)
        {
            Show(run, preview);
        }

        if (run.Arguments.Has("--dry-run"))
        {
            EndDryRun(run, preview);
            await PruneAsync(run, repository, cancellationToken).ConfigureAwait(false);
            return ExitCodes.Done;
        }

        preview.ThrowIfRefused();
        Confirm(run, preview);
        ForgetOutcome outcome = await repository.ForgetAsync(preview, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer => WriteGroups(writer, preview));
        }

        int code = Tell(run, preview, outcome);
        await PruneAsync(run, repository, cancellationToken).ConfigureAwait(false);
        return code;
    }

    private static async Task PruneAsync(Invocation run, BackupIqRepository repository, CancellationToken cancellationToken)
    {
        if (run.Arguments.Has("--prune"))
        {
            PruneRequest request = new() { MaxUnused = run.Arguments.Value("--max-unused") ?? "5%", DryRun = run.Arguments.Has("--dry-run") };
            await PruneCommand.PruneAsync(run, repository, request, cancellationToken).ConfigureAwait(false);
        }
    }

    private void RequireSense(Invocation run, SnapshotSelection selection, RetentionRequest request)
    {
        bool rulesWritten = run.Arguments.Command.Options.Any(option =>
            (option.Name.StartsWith("--keep-", StringComparison.Ordinal) || option.Name.StartsWith("--policy", StringComparison.Ordinal)) && run.Arguments.Has(option.Name));
        if (selection.Names.Count > 0 && rulesWritten)
        {
            throw Misuse("Snapshots that are named go whatever the rules say, so rules have no place beside them");
        }

        if (selection.Names.Count == 0 && !request.HasRules)
        {
            throw Misuse(
                "'forget' needs rules (--policy gfs, --keep-daily 7 …), snapshots, or retention.policy in the configuration",
                "See 'backupiq forget --help'; nothing was changed.");
        }

        // Rules that are none keep everything; who writes them means something else.
        if (selection.Names.Count == 0 && RetentionRulesInfo.Of(request).All(static rules => rules.Counts.Count + rules.Within.Count + rules.Tags.Count == 0))
        {
            throw Misuse("These rules keep nothing, and no rule is no licence to forget everything", "Keep something, or name the snapshots to forget.");
        }
    }

    // Where nobody can be asked, the grace time protects; without one, --yes is needed.
    private static void Confirm(Invocation run, ForgetPreview preview)
    {
        if (preview.RemoveCount > 0 && (run.MayAsk || preview.Grace <= TimeSpan.Zero))
        {
            string end = preview.Grace <= TimeSpan.Zero ? " for good" : "";
            run.Confirm($"Forget {Words.Count(preview.RemoveCount, "snapshot")}{end}?");
        }
    }

    private static void EndDryRun(Invocation run, ForgetPreview preview)
    {
        if (run.WantsJson)
        {
            run.Json.Document(writer => WriteGroups(writer, preview));
        }

        foreach (string refusal in preview.Refusals)
        {
            run.Screen.Warn(DisplayText.Of($"this would be refused: {refusal}"), ErrorCodes.RetentionRefused);
        }
    }

    private static int Tell(Invocation run, ForgetPreview preview, ForgetOutcome outcome)
    {
        if (!run.WantsJson)
        {
            string back = outcome.Forgotten.Count == 0 || preview.Grace <= TimeSpan.Zero ? ""
                : $"; until {Words.Moment(run.Host.Time.GetUtcNow() + preview.Grace, run.Zone)} 'backupiq undelete' brings {(outcome.Forgotten.Count == 1 ? "it" : "them")} back";
            run.Print($"Forgot {Words.Count(outcome.Forgotten.Count, "snapshot")}{back}\n");
            if (outcome.Removed.Count > 0)
            {
                run.Print($"Removed {Words.Count(outcome.Removed.Count, "forgotten snapshot")} for good; what only they needed goes with the next prune\n");
            }
        }

        foreach (ForgetRemainder remainder in outcome.Remaining)
        {
            run.Screen.Warn(DisplayText.Of($"snapshot {remainder.SnapshotId[..8]} remains: {remainder.Message}"), remainder.Code);
        }

        // Busy is what the next run does again by itself.
        return outcome.Remaining.FirstOrDefault(static remainder => remainder.Code != ErrorCodes.RepositoryBusy)?.Code.ExitCode ?? ExitCodes.Done;
    }

    private static void Show(Invocation run, ForgetPreview preview) => run.Print(output =>
    {
        foreach (ForgetGroupInfo group in preview.Groups)
        {
            string[] parts =
            [
                .. group.Host is { } host ? [$"host {host}"] : Array.Empty<string>(),
                .. group.Paths is { } paths ? [string.Join(", ", paths)] : Array.Empty<string>(),
                .. group.Tags is { Count: > 0 } tags ? [$"tags {string.Join(", ", tags)}"] : Array.Empty<string>(),
            ];
            output.WriteLine(parts.Length > 0 ? DisplayText.Of(string.Join(", ", parts)) + ":" : "all snapshots:");
            Show(run, output, "keep", group.Keep);
            Show(run, output, "forget", group.Remove);
        }

        foreach (string id in preview.DamagedIds)
        {
            output.WriteLine($"forget the damaged snapshot {id[..8]}");
        }
    });

    private static void Show(Invocation run, TextWriter output, string what, IReadOnlyList<ForgetDecision> decisions)
    {
        if (decisions.Count == 0)
        {
            return;
        }

        output.WriteLine($"{what} {Words.Count(decisions.Count, "snapshot")}");
        Table table = new("ID", "Time", "Host", "Tags", "Reasons", "Paths");
        foreach (ForgetDecision decision in decisions)
        {
            SnapshotInfo snapshot = decision.Snapshot;
            table.Add(
                snapshot.ShortId,
                Words.Moment(snapshot.Time, run.Zone),
                DisplayText.Of(snapshot.Hostname),
                DisplayText.Of(string.Join(",", snapshot.Tags)),
                DisplayText.Of(string.Join("; ", decision.Reasons)),
                string.Join(", ", snapshot.Paths.Select(static path => DisplayText.Of(path))));
        }

        table.Write(output);
        output.WriteLine();
    }

    // restic's shape, with the reasons of what goes beside it.
    private static void WriteGroups(Utf8JsonWriter writer, ForgetPreview preview)
    {
        writer.WriteStartArray();
        foreach (ForgetGroupInfo group in preview.Groups)
        {
            writer.WriteStartObject();
            WriteList(writer, "tags", group.Tags);
            writer.WriteString("host", group.Host ?? "");
            WriteList(writer, "paths", group.Paths);
            WriteSnapshots(writer, "keep", group.Keep);
            WriteSnapshots(writer, "remove", group.Remove);
            WriteReasons(writer, "reasons", group.Keep);
            WriteReasons(writer, "remove_reasons", group.Remove);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteList(Utf8JsonWriter writer, string name, IReadOnlyList<string>? list)
    {
        if (list is null)
        {
            writer.WriteNull(name);
            return;
        }

        JsonFields.WriteStrings(writer, name, list);
    }

    private static void WriteSnapshots(Utf8JsonWriter writer, string name, IReadOnlyList<ForgetDecision> decisions)
    {
        writer.WriteStartArray(name);
        foreach (ForgetDecision decision in decisions)
        {
            JsonFields.WriteSnapshot(writer, decision.Snapshot);
        }

        writer.WriteEndArray();
    }

    private static void WriteReasons(Utf8JsonWriter writer, string name, IReadOnlyList<ForgetDecision> decisions)
    {
        writer.WriteStartArray(name);
        foreach (ForgetDecision decision in decisions)
        {
            writer.WriteStartObject();
            writer.WritePropertyName("snapshot");
            JsonFields.WriteSnapshot(writer, decision.Snapshot);
            WriteList(writer, "matches", decision.Reasons);
            writer.WriteStartObject("counters");
            foreach ((string rule, int left) in decision.Counters)
            {
                writer.WriteNumber(rule, left);
            }

            writer.WriteEndObject();
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}

/// <summary><c>undelete SNAP…</c></summary>
internal sealed class UndeleteCommand : SnapshotVerb
{
    public UndeleteCommand()
        : base("undelete", "Brings forgotten snapshots back; 'snapshots --deleted' lists them.", "the forgotten snapshots")
    {
    }

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        SnapshotSelection selection = NarrowSelection(run);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<(SnapshotInfo Snapshot, bool IsCertain)> back = await repository.UndeleteAsync(selection, cancellationToken).ConfigureAwait(false);
        foreach ((SnapshotInfo snapshot, _) in back.Where(static one => !one.IsCertain))
        {
            run.Screen.Warn($"a removal of snapshot {snapshot.ShortId} had begun; if it is not over it may yet go: look again with 'backupiq snapshots'");
        }

        Tell(run, [.. back.Select(static one => one.Snapshot)], static _ => "brought back");
        return ExitCodes.Done;
    }
}
