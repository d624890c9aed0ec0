using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>snapshots</c></summary>
internal sealed class SnapshotsCommand : Verb
{
    public SnapshotsCommand()
        : base("snapshots", "Lists the snapshots, oldest first.")
    {
        Aliases.Add("list");
        Positional("SNAP", "only these");
        List("--host", "NAME", "only of this host", "-H");
        List("--tag", "TAG[,TAG]", "only with all of these tags");
        List("--path", "PATH", "only of this path");
        Value("--kind", "KIND", "only files, command, postgres, mysql, sqlite or state");
        Value("--type", "TYPE", "only full, incremental or differential");
        Value("--database", "NAME", "only of this database");
        Flag("--verified", "only those whose restore was verified");
        Value("--limit", "N", "only the newest N");
    }

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        SnapshotQuery query = Query(run);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        bool damaged = repository.Findings.Count > 0;
        IReadOnlyList<SnapshotInfo> snapshots = await repository.ListSnapshotsAsync(query, Damage, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<string> named = run.Arguments.Positional;
        if (named.Count > 0)
        {
            HashSet<string> wanted = [];
            foreach (string name in named)
            {
                wanted.Add((await repository.FindSnapshotAsync(name, query with { Limit = null }, cancellationToken).ConfigureAwait(false)).Id);
            }

            snapshots = [.. snapshots.Where(snapshot => wanted.Contains(snapshot.Id))];
        }

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
        else
        {
            Show(run, snapshots);
        }

        return damaged ? ExitCodes.Damage : ExitCodes.Done;

        void Damage(string finding)
        {
            damaged = true;
            run.Screen.Warn(DisplayText.Of(finding), ErrorCodes.CorruptData);
        }
    }

    /// <summary>The query that the flags ask for.</summary>
    private SnapshotQuery Query(Invocation run)
    {
        Arguments arguments = run.Arguments;
        int? limit = null;
        if (arguments.Value("--limit") is { } text)
        {
            limit = int.TryParse(text, out int number) && number > 0 ? number : throw Misuse($"--limit: '{DisplayText.Of(text)}' is not a number above 0");
        }

        return new SnapshotQuery
        {
            Hosts = arguments.Values("--host"),
            Tags = [.. arguments.Values("--tag"), .. Labels("database", arguments.Value("--database")), .. arguments.Has("--verified") ? ["verified"] : Array.Empty<string>()],
            Paths = [.. arguments.Values("--path").Select(static path => OsText.Encode(System.IO.Path.GetFullPath(path)))],
            Kind = arguments.Value("--kind"),
            Type = arguments.Value("--type"),
            Limit = limit,
        };
    }

    private static string[] Labels(string key, string? value) => value is null ? [] : [$"{key}={value}"];

    private static void Show(Invocation run, IReadOnlyList<SnapshotInfo> snapshots)
    {
        if (snapshots.Count == 0)
        {
            run.Screen.Note("no snapshots");
            return;
        }

        Table table = new("ID", "Time", "Host", "Type", ">Files", ">Size", ">Added", "Tags", "Paths");
        foreach (SnapshotInfo snapshot in snapshots)
        {
            table.Add(
                snapshot.ShortId,
                Words.Moment(snapshot.Time, run.Zone),
                DisplayText.Of(snapshot.Hostname),
                snapshot.Kind == "files" ? snapshot.Type : $"{snapshot.Kind}, {snapshot.Type}",
                snapshot.Counts is { } counts ? Words.Number(counts.TotalFiles) : "",
                snapshot.Counts is { } sizes ? Words.Size(sizes.TotalBytes) : "",
                snapshot.Counts is { } added ? Words.Size(added.DataAddedPacked) : "",
                DisplayText.Of(string.Join(",", snapshot.Tags)),
                string.Join(", ", snapshot.Paths.Select(static path => DisplayText.Of(path))));
        }

        run.Print(output =>
        {
            table.Write(output);
            output.WriteLine(Words.Count(snapshots.Count, "snapshot"));
        });
    }
}
