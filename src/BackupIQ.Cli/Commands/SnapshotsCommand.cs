using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>snapshots</c></summary>
internal sealed class SnapshotsCommand : SnapshotVerb
{
    public SnapshotsCommand()
        : base("snapshots", "Lists the snapshots, oldest first.", "only these")
    {
        Aliases.Add("list");
        Value("--database", "NAME", "only of this database");
        Flag("--verified", "only those whose restore was verified");
        Flag("--deleted", "the forgotten ones that 'undelete' can bring back");
        Flag("--partial", "what interrupted backups had stored; restored by id");
        Value("--limit", "N", "only the newest N");
    }

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        SnapshotSelection selection = Selection(run);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        bool deleted = run.Arguments.Has("--deleted");
        IReadOnlyList<SnapshotInfo> snapshots = run.Arguments.Has("--partial")
            ? await repository.ListPartialAsync(selection.Query, cancellationToken).ConfigureAwait(false)
            : deleted ? await repository.ListForgottenAsync(selection, cancellationToken).ConfigureAwait(false)
            : await repository.SelectSnapshotsAsync(selection, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartArray();
                foreach (SnapshotInfo snapshot in snapshots)
                {
                    JsonFields.WriteSnapshot(writer, snapshot);
                }

                writer.WriteEndArray();
            });
        }
        else if (deleted)
        {
            ShowForgotten(run, snapshots);
        }
        else
        {
            Show(run, snapshots);
        }

        return ExitCodes.Done;
    }

    /// <inheritdoc/>
    protected override SnapshotQuery Query(Invocation run)
    {
        Arguments arguments = run.Arguments;
        SnapshotQuery query = base.Query(run);
        return query with
        {
            Tags = [.. query.Tags, .. Labels("database", arguments.Value("--database"))],
            Verified = arguments.Has("--verified"),
            Limit = Limit(run),
        };
    }

    private static string[] Labels(string key, string? value) => value is null ? [] : [$"{key}={value}"];

    private static void Show(Invocation run, IReadOnlyList<SnapshotInfo> snapshots)
    {
        if (snapshots.Count == 0)
        {
            run.Screen.Note(run.Arguments.Has("--partial") ? "no partial snapshots" : "no snapshots");
            return;
        }

        DateTimeOffset now = run.Host.Time.GetUtcNow();
        string[] kept = [.. snapshots.Select(snapshot => Kept(snapshot, now, run.Zone))];
        bool anyKept = kept.Any(static word => word.Length > 0);
        Table table = new(["ID", "Time", "Host", "Type", ">Files", ">Size", ">Added", "Tags", .. anyKept ? ["Kept"] : Array.Empty<string>(), "Paths"]);
        foreach ((SnapshotInfo snapshot, string keeping) in snapshots.Zip(kept))
        {
            table.Add([
                snapshot.ShortId,
                Words.Moment(snapshot.Time, run.Zone),
                DisplayText.Of(snapshot.Hostname),
                (snapshot.Kind == "files" ? snapshot.Type : $"{snapshot.Kind}, {snapshot.Type}") + (snapshot.DamagedPages > 0 ? $", {Words.Count(snapshot.DamagedPages, "damaged page")}" : ""),
                snapshot.Counts is { } counts ? Words.Number(counts.TotalFiles) : "",
                snapshot.Counts is { } sizes ? Words.Size(sizes.TotalBytes) : "",
                snapshot.Counts is { } added ? Words.Size(added.DataAddedPacked) : "",
                DisplayText.Of(string.Join(",", snapshot.Tags)),
                .. anyKept ? [keeping] : Array.Empty<string>(),
                string.Join(", ", snapshot.Paths.Select(static path => DisplayText.Of(path)))]);
        }

        run.Print(output =>
        {
            table.Write(output);
            output.WriteLine(Words.Count(snapshots.Count, "snapshot"));
        });
    }

    private static void ShowForgotten(Invocation run, IReadOnlyList<SnapshotInfo> snapshots)
    {
        if (snapshots.Count == 0)
        {
            run.Screen.Note("no forgotten snapshots");
            return;
        }

        Table table = new("ID", "Time", "Host", "Forgotten", "By", "Removed from", "Reason", "Paths");
        foreach (SnapshotInfo snapshot in snapshots)
        {
            ForgottenInfo forgotten = snapshot.Forgotten!;
            table.Add(
                snapshot.ShortId,
                Words.Moment(snapshot.Time, run.Zone),
                DisplayText.Of(snapshot.Hostname),
                Words.Moment(forgotten.Time, run.Zone),
                DisplayText.Of($"{forgotten.Username}@{forgotten.Hostname}"),
                snapshot.IsHeld(run.Host.Time.GetUtcNow()) ? "held" : Words.Moment(forgotten.RemovedFrom, run.Zone),
                DisplayText.Of(forgotten.Reason),
                string.Join(", ", snapshot.Paths.Select(static path => DisplayText.Of(path))));
        }

        run.Print(table.Write);
    }

    // What keeps a snapshot beside the rules.
    private static string Kept(SnapshotInfo snapshot, DateTimeOffset now, TimeZoneInfo zone)
    {
        HoldInfo[] holds = [.. snapshot.Holds.Where(hold => hold.IsInForce(now))];
        string held = holds.Length == 0 ? snapshot.HasUnreadableAnnotation ? "held (unreadable)" : ""
            : holds.Any(static hold => hold.Until is null) ? "held"
            : $"held until {Words.Moment(holds.Max(static hold => hold.Until!.Value), zone)}";
        return string.Join(", ", ((string[])[held, snapshot.IsPinned ? "pinned" : "", snapshot.IsLastSound ? "last without damaged pages" : ""]).Where(static word => word.Length > 0));
    }
}
