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

        byte[][] patterns = [.. run.Arguments.Positional.Select(OsText.Encode)];
        using SnapshotBrowser browser = await repository.BrowseAsync(cancellationToken).ConfigureAwait(false);
        SnapshotSearch search = browser.Search(patterns, run.Arguments.Has("--ignore-case"), Damaged);
        long hits = run.WantsJson ? WriteJson(run, snapshots, search, cancellationToken) : Show(run, snapshots, search, cancellationToken);
        if (hits == 0)
        {
            run.Screen.Note($"nothing found in {Words.Count(snapshots.Count, "snapshot")}");
        }

        if (!run.Arguments.Has("--snapshot") && !run.Arguments.Has("--host") && !run.Arguments.Has("--tag") && !run.Arguments.Has("--at"))
        {
            browser.SearchedAll(search);
        }

        return search.Errors > 0 ? ExitCodes.Damage : ExitCodes.Done;

        // With --json, too: standard output is one document.
        void Damaged(ItemFailure failure) =>
            run.Screen.Warn($"{DisplayText.Of(failure.Path)}: {DisplayText.Of(failure.Message.TrimEnd('.'))}", failure.Code);
    }

    private static long Show(Invocation run, List<SnapshotInfo> snapshots, SnapshotSearch search, CancellationToken cancellationToken)
    {
        bool isLong = run.Arguments.Has("--long");
        long hits = 0;
        run.Print(output =>
        {
            foreach (SnapshotInfo snapshot in snapshots)
            {
                string head = $"{snapshot.ShortId} {Words.Moment(snapshot.Time, run.Zone)}  ";
                foreach (EntryInfo entry in search.Find(snapshot, cancellationToken))
                {
                    hits++;
                    output.Write(head);
                    output.WriteLine(isLong ? EntryText.Line(entry, run.Zone) : DisplayText.Of(entry.Path));
                }
            }
        });
        return hits;
    }

    // One document, as restic has it, written while it comes about.
    private static long WriteJson(Invocation run, List<SnapshotInfo> snapshots, SnapshotSearch search, CancellationToken cancellationToken)
    {
        long hits = 0;
        run.Json.Stream(writer =>
        {
            writer.WriteStartArray();
            foreach (SnapshotInfo snapshot in snapshots)
            {
                long before = hits;
                foreach (EntryInfo entry in search.Find(snapshot, cancellationToken))
                {
                    if (hits++ == before)
                    {
                        writer.WriteStartObject();
                        writer.WriteStartArray("matches");
                    }

                    writer.WriteStartObject();
                    JsonFields.WriteEntryFields(writer, entry);
                    writer.WriteEndObject();
                    if (writer.BytesPending >= JsonLines.RowBuffer)
                    {
                        writer.Flush();
                    }
                }

                if (hits > before)
                {
                    writer.WriteEndArray();
                    writer.WriteNumber("hits", hits - before);
                    writer.WriteString("snapshot", snapshot.Id);
                    writer.WriteEndObject();
                }
            }

            writer.WriteEndArray();
        });
        return hits;
    }
}
