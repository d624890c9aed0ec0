using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>history PATH</c></summary>
internal sealed class HistoryCommand : Verb
{
    public HistoryCommand()
        : base("history", "Shows every version of a file or folder over all snapshots: when it changed, and which snapshots have it.")
    {
        Positional("PATH", "the file or folder, as it was backed up", 1, 1);
        List("--host", "NAME", "only snapshots of this host", "-H");
        List("--tag", "TAG[,TAG]", "only snapshots with these tags");
        List("--path", "PATH", "only snapshots of this path");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq history ~/thesis.tex", "backupiq history /etc --host ada"];

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string path = System.IO.Path.GetFullPath(run.Arguments.Positional[0]);
        byte[] wanted = OsText.Encode(path.Length > 1 ? path.TrimEnd('/') : path);
        if (wanted.Length < 2)
        {
            throw Misuse("/ is in every snapshot and has no history of its own", "Name a file or folder below it.");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        SnapshotQuery query = new()
        {
            Hosts = run.Arguments.Values("--host"),
            Tags = run.Arguments.Values("--tag"),
            Paths = [.. run.Arguments.Values("--path").Select(static path => OsText.Encode(System.IO.Path.GetFullPath(path)))],
        };
        IReadOnlyList<SnapshotInfo> snapshots = await repository.ListSnapshotsAsync(query, cancellationToken).ConfigureAwait(false);
        using SnapshotBrowser browser = await repository.BrowseAsync(cancellationToken).ConfigureAwait(false);
        bool isDamaged = false;
        PathHistoryInfo[] found = [.. browser.History(snapshots, wanted, Damaged).Where(static history => history.Versions.Count > 0)];
        if (found.Length == 0 && !isDamaged)
        {
            throw new BackupIQException(
                ErrorCodes.PathNotFound, $"None of {Words.Count(snapshots.Count, "snapshot")} has it", "See what there is with 'backupiq find'.").With("path", path);
        }

        if (run.WantsJson)
        {
            run.Json.Document(writer => WriteJson(writer, wanted, found));
        }
        else
        {
            run.Print(output => Show(output, run, found));
        }

        return isDamaged ? ExitCodes.Damage : ExitCodes.Done;

        // With --json, too: standard output is one document.
        void Damaged(ItemFailure failure)
        {
            isDamaged = true;
            run.Screen.Warn($"{DisplayText.Of(failure.Path)}: {DisplayText.Of(failure.Message.TrimEnd('.'))}", failure.Code);
        }
    }

    private static void Show(TextWriter output, Invocation run, PathHistoryInfo[] found)
    {
        bool isFirst = true;
        foreach (PathHistoryInfo history in found)
        {
            if (found.Length > 1)
            {
                output.Write(isFirst ? "" : "\n");
                output.WriteLine($"{DisplayText.Of(history.Hostname)}: {string.Join(", ", history.Paths.Select(static path => DisplayText.Of(path)))}");
                isFirst = false;
            }

            Table table = new("", "Since", "Snapshot", ">Size", "Modified", ">In", "Until");
            foreach (PathVersionInfo version in history.Versions)
            {
                SnapshotInfo first = version.Snapshots[0];
                SnapshotInfo last = version.Snapshots[^1];
                bool isOne = version.Snapshots.Count == 1;
                table.Add(
                    version.Modifier,
                    Words.Moment(first.Time, run.Zone),
                    first.ShortId,
                    version.Entry is not { } entry ? "gone" : entry.Type == "file" ? Words.Size(entry.Size) : entry.Type,
                    version.Entry is { } shown ? Words.Moment(shown.Modified, run.Zone) : "",
                    Words.Count(version.Snapshots.Count, "snapshot"),
                    isOne ? "" : $"{Words.Moment(last.Time, run.Zone)}  {last.ShortId}");
            }

            table.Write(output);
        }
    }

    private static void WriteJson(Utf8JsonWriter writer, byte[] path, PathHistoryInfo[] found)
    {
        writer.WriteStartArray();
        foreach (PathHistoryInfo history in found)
        {
            writer.WriteStartObject();
            writer.WriteName("path", path);
            writer.WriteString("hostname", history.Hostname);
            writer.WriteString("kind", history.Kind);
            JsonFields.WritePaths(writer, history.Paths);
            writer.WriteStartArray("versions");
            foreach (PathVersionInfo version in history.Versions)
            {
                writer.WriteStartObject();
                writer.WriteString("modifier", version.Modifier);
                writer.WriteString("since", version.Snapshots[0].Time);
                writer.WriteString("until", version.Snapshots[^1].Time);
                if (version.Entry is { } entry)
                {
                    writer.WriteStartObject("entry");
                    JsonFields.WriteEntryFields(writer, entry);
                    writer.WriteEndObject();
                }
                else
                {
                    writer.WriteNull("entry");
                }

                JsonFields.WriteStrings(writer, "snapshots", version.Snapshots.Select(static snapshot => snapshot.Id));
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
