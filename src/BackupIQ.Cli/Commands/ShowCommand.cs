using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>show SNAP</c></summary>
internal sealed class ShowCommand : Verb
{
    private const int ShownLost = 20;

    public ShowCommand()
        : base("show", "Shows all that is known of a snapshot.") => Positional("SNAP", "the snapshot", 1, 1);

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        SnapshotInfo snapshot = await repository.FindSnapshotAsync(run.Arguments.Positional[0], null, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer => JsonFields.WriteSnapshot(writer, snapshot));
            return ExitCodes.Done;
        }

        run.Print(output =>
        {
            Row(output, "id", snapshot.Id);
            Row(output, "name", snapshot.Name);
            Row(output, "partial", snapshot.IsPartial ? "what an interrupted run had stored: the rest of the paths is not in it" : "");
            Row(output, "time", $"{Words.Moment(snapshot.Time, run.Zone)} to {Words.Moment(snapshot.Ended, run.Zone)}");
            Row(output, "host", snapshot.Hostname);
            Row(output, "user", snapshot.Username);
            Row(output, "kind, type", $"{snapshot.Kind}, {snapshot.Type}");
            foreach (byte[] path in snapshot.Paths)
            {
                output.WriteLine($"{"path",-12} {DisplayText.Of(path)}");
            }

            Row(output, "tags", string.Join(", ", snapshot.Tags));
            foreach (HoldInfo hold in snapshot.Holds)
            {
                string until = hold.Until is { } end ? $" until {Words.Moment(end, run.Zone)}" : "";
                Row(output, "held", $"{(hold.Reason.Length > 0 ? hold.Reason + ", " : "")}by {hold.Username}@{hold.Hostname} since {Words.Moment(hold.Time, run.Zone)}{until}");
            }

            Row(output, "pinned", snapshot.IsPinned ? "no rule removes it" : "");
            foreach (VerdictInfo verdict in snapshot.Verdicts)
            {
                Row(output, "verified", $"{verdict.Level}: {(verdict.Passed ? "passed" : "FAILED")}, {Words.Moment(verdict.Time, run.Zone)} on {verdict.Hostname}{(verdict.Summary.Length > 0 ? ": " + verdict.Summary : "")}");
            }

            if (snapshot.RepairedFrom is { } damaged)
            {
                Row(output, "repaired", $"what is left of snapshot {damaged[..8]}; {Words.Count(snapshot.LostCount, "path is", "paths are")} lost");
                foreach (string path in snapshot.Lost.Take(ShownLost))
                {
                    output.WriteLine($"{"lost",-12} {DisplayText.Of(path)}");
                }

                Row(output, "", snapshot.LostCount > ShownLost ? $"and {Words.Count(snapshot.LostCount - ShownLost, "more path")} (--json has more)" : "");
            }

            if (snapshot.Original is { } original)
            {
                Row(output, "copy of", $"{original}{(snapshot.OriginalRepository is { } home ? $" of repository {home}" : "")}");
            }

            Row(output, "parent", snapshot.Parent ?? "");
            Row(output, "tree", snapshot.Tree);
            Row(output, "made by", snapshot.ProgramVersion);
            if (snapshot.Counts is { } counts)
            {
                Row(output, "files", $"{Words.Number(counts.FilesNew)} new, {Words.Number(counts.FilesChanged)} changed, {Words.Number(counts.FilesUnmodified)} unmodified, {Words.Number(counts.FilesFailed)} failed");
                Row(output, "size", $"{Words.Size(counts.TotalBytes)} in {Words.Count(counts.TotalFiles, "file")}");
                Row(output, "added", $"{Words.Size(counts.DataAdded)}, stored as {Words.Size(counts.DataAddedPacked)}");
                Row(output, "duration", Words.Duration(counts.Duration));
            }
        });
        return ExitCodes.Done;
    }

    private static void Row(TextWriter output, string name, string value)
    {
        if (value.Length > 0)
        {
            output.WriteLine($"{name,-12} {DisplayText.Of(value)}");
        }
    }
}
