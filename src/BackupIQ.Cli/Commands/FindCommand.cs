using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Cli.Commands;

/// <summary><c>find PATTERN…</c></summary>
internal sealed class FindCommand : Verb
{
    public FindCommand()
        : base("find", "Finds files in all snapshots by name: '*.pdf', 'docs/**/draft?'.")
    {
        Positional("PATTERN", "wildcards, as --exclude takes them", 1);
        List("--snapshot", "SNAP", "search only this snapshot", "-s");
        List("--host", "NAME", "only snapshots of this host", "-H");
        List("--tag", "TAG[,TAG]", "only snapshots with these tags");
        Flag("--ignore-case", "the case of letters does not count", "-i");
        Flag("--long", "owner, size and time as well", "-l");
    }

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        SnapshotQuery query = new() { Hosts = run.Arguments.Values("--host"), Tags = run.Arguments.Values("--tag") };
        List<SnapshotInfo> snapshots = [];
        foreach (string name in run.Arguments.Values("--snapshot"))
        {
            snapshots.Add(await repository.FindSnapshotAsync(name, query, cancellationToken).ConfigureAwait(false));
        }

        if (snapshots.Count == 0)
        {
            snapshots.AddRange(await repository.ListSnapshotsAsync(query, cancellationToken).ConfigureAwait(false));
        }

        using SnapshotBrowser browser = await repository.BrowseAsync(cancellationToken).ConfigureAwait(false);
        byte[][] patterns = [.. run.Arguments.Positional.Select(OsText.Encode)];
        bool ignoreCase = run.Arguments.Has("--ignore-case");
        List<(SnapshotInfo Snapshot, List<EntryInfo> Matches)> found = [];
        long hits = 0;
        foreach (SnapshotInfo snapshot in snapshots)
        {
            IEnumerable<EntryInfo> matches = browser.Find(snapshot, patterns, ignoreCase, cancellationToken);
            if (run.WantsJson)
            {
                found.Add((snapshot, [.. matches]));
                continue;
            }

            bool isLong = run.Arguments.Has("--long");
            run.Print(output =>
            {
                foreach (EntryInfo entry in matches)
                {
                    hits++;
                    output.WriteLine($"{snapshot.ShortId} {Words.Moment(snapshot.Time, run.Zone)}  {(isLong ? EntryText.Line(entry, run.Zone) : DisplayText.Of(entry.Path))}");
                }
            });
        }

        if (run.WantsJson)
        {
            WriteJson(run, found);
        }
        else if (hits == 0)
        {
            run.Screen.Note($"nothing found in {Words.Count(snapshots.Count, "snapshot")}");
        }

        return ExitCodes.Done;
    }

    private static void WriteJson(Invocation run, List<(SnapshotInfo Snapshot, List<EntryInfo> Matches)> found) => run.Json.Document(writer =>
    {
        writer.WriteStartArray();
        foreach ((SnapshotInfo snapshot, List<EntryInfo> matches) in found.Where(static found => found.Matches.Count > 0))
        {
            writer.WriteStartObject();
            writer.WriteStartArray("matches");
            foreach (EntryInfo entry in matches)
            {
                writer.WriteStartObject();
                JsonFields.WriteEntryFields(writer, entry);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteNumber("hits", matches.Count);
            writer.WriteString("snapshot", snapshot.Id);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });
}
