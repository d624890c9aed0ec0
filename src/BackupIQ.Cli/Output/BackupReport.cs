using System.Net;
using System.Text;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Output;

/// <summary>A backup's report as a file: phases, counts, skipped items, where else it is; a page for people or JSON.</summary>
internal sealed class BackupReport
{
    private readonly string _file;
    private readonly bool _html;

    private BackupReport(string file, bool html)
    {
        _file = file;
        _html = html;
    }

    /// <summary>Knows by the file's ending what to write.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/>: it ends with neither.</exception>
    public static BackupReport For(string file) => Path.GetExtension(file).ToLowerInvariant() switch
    {
        ".html" or ".htm" => new BackupReport(file, html: true),
        ".json" => new BackupReport(file, html: false),
        _ => throw new BackupIQException(ErrorCodes.Usage, "The report's file must end with .html or .json").With("file", file),
    };

    /// <summary>Writes the report.</summary>
    /// <exception cref="BackupIQException">The file cannot be written. The backup itself stands.</exception>
    public void Write(BackupIqRepository repository, BackupRequest request, BackupOutcome outcome, OtherPlaces places, BackupView view)
    {
        try
        {
            File.WriteAllBytes(_file, _html ? Html(repository, request, outcome, places, view) : Json(repository, request, outcome, places, view));
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            string stands = outcome.Snapshot is null ? "" : $"; the backup itself is complete, as snapshot {outcome.Snapshot.ShortId}";
            throw new BackupIQException(ErrorCodes.Resource, $"The report cannot be written{stands}", "Choose another file for --report.", fault).With("file", _file);
        }
    }

    /// <summary>The five phases; they overlap, as every file passes through them by itself, so they have counts and no times of their own.</summary>
    private static (string Name, string State, (string Name, long Value)[] Figures)[] Phases(BackupRequest request, BackupOutcome outcome)
    {
        BackupCounts counts = outcome.Counts;
        return
        [
            ("discovery", "done", [("files", counts.TotalFiles + counts.FilesFailed), ("folders", counts.DirsNew + counts.DirsChanged + counts.DirsUnmodified), ("bytes", counts.TotalBytes)]),
            ("analysis", "done", [("files_new", counts.FilesNew), ("files_changed", counts.FilesChanged), ("files_unmodified", counts.FilesUnmodified), ("files_failed", counts.FilesFailed)]),
            ("organisation", "done", [("data_blobs", counts.DataBlobs), ("tree_blobs", counts.TreeBlobs), ("data_added", counts.DataAdded)]),
            ("upload", request.DryRun ? "skipped (dry run)" : "done", [("data_added_packed", counts.DataAddedPacked), ("repository_growth", outcome.BytesPut)]),
            ("verification", request.Verify ? "done" : "not asked for (--verify)", []),
        ];
    }

    private static byte[] Json(BackupIqRepository repository, BackupRequest request, BackupOutcome outcome, OtherPlaces places, BackupView view) =>
        JsonLines.Bytes(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("program_version", "backupiq " + BackupIqRepository.Version);
            writer.WriteString("repository", repository.Location);
            writer.WriteString("repository_id", repository.Id);
            writer.WriteStartArray("phases");
            foreach ((string name, string state, (string Name, long Value)[] figures) in Phases(request, outcome))
            {
                writer.WriteStartObject();
                writer.WriteString("name", name);
                writer.WriteString("state", state);
                foreach ((string figure, long value) in figures)
                {
                    writer.WriteNumber(figure, value);
                }

                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteStartObject("summary");
            BackupView.WriteSummary(writer, outcome, request.DryRun);
            places.Write(writer);
            writer.WriteEndObject();
            writer.WriteStartArray("skipped_items");
            foreach (ItemFailure failure in view.Failures)
            {
                writer.WriteStartObject();
                writer.WriteName("item", failure.Path);
                writer.WriteString("code", failure.Code.Name);
                writer.WriteString("message", failure.Message);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            JsonFields.WriteStrings(writer, "notices", view.Notices);
            writer.WriteEndObject();
        });

    private static byte[] Html(BackupIqRepository repository, BackupRequest request, BackupOutcome outcome, OtherPlaces places, BackupView view)
    {
        StringBuilder page = new();
        string title = outcome.Snapshot is { } snapshot ? $"Backup {snapshot.Name}" : request.DryRun ? "Backup (dry run)" : "Backup (nothing changed)";
        page.Append($$"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><title>{{Safe(title)}}</title>
            <style>
            body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff }
            table { border-collapse: collapse; width: 100%; margin: 1rem 0 } th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
            .ok { color: #176b2c } .warn { color: #9a5b00 } code { font-size: 13px; word-break: break-all }
            @media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } th, td { border-color: #444 } .ok { color: #6c6 } .warn { color: #e6a23c } }
            </style></head><body>
            <h1>{{Safe(title)}}</h1>

            """);
        string state = outcome.Warnings == 0
            ? "<p class=\"ok\">Complete: everything was read.</p>"
            : $"<p class=\"warn\">Complete with warnings: {Words.Count(outcome.Warnings, "item")} could not be read whole.</p>";
        page.Append(state).Append("\n<table>\n");
        Row(page, "Repository", repository.Location);
        Row(page, "Snapshot", outcome.Snapshot?.Id ?? "none");
        Row(page, "Paths", outcome.Snapshot is null ? "" : string.Join(", ", outcome.Snapshot.Paths.Select(static path => DisplayText.Of(path))));
        Row(page, "Started", outcome.Counts.Started.ToString("u", System.Globalization.CultureInfo.InvariantCulture));
        Row(page, "Duration", Words.Duration(outcome.Counts.Duration));
        Row(page, "Read", $"{Words.Count(outcome.Counts.TotalFiles, "file")}, {Words.Size(outcome.Counts.TotalBytes)}");
        Row(page, "New data", $"{Words.Size(outcome.Counts.DataAdded)}, stored as {Words.Size(outcome.Counts.DataAddedPacked)}");
        page.Append("</table>\n<h2>Phases</h2>\n<p>Every file passes through the phases by itself, so they overlap.</p>\n<table>\n<tr><th>Phase</th><th>State</th><th>Figures</th></tr>\n");
        foreach ((string name, string phaseState, (string Name, long Value)[] figures) in Phases(request, outcome))
        {
            string list = string.Join(", ", figures.Select(static figure => $"{figure.Name.Replace('_', ' ')} {Words.Number(figure.Value)}"));
            page.Append($"<tr><td>{name}</td><td>{Safe(phaseState)}</td><td>{Safe(list)}</td></tr>\n");
        }

        page.Append("</table>\n");
        if (places.Mirrors.Count + places.Copies.Count > 0)
        {
            page.Append("<h2>Other places</h2>\n<table>\n");
            foreach (MirrorState mirror in places.Mirrors)
            {
                Row(page, DisplayText.Of(mirror.Location), DisplayText.Of(mirror.Problem ?? "mirror, in step"));
            }

            foreach (DestinationOutcome copy in places.Copies)
            {
                Row(page, DisplayText.Of(copy.Name), DisplayText.Of(copy.State));
            }

            page.Append("</table>\n");
        }

        page.Append("<h2>Skipped items</h2>\n");
        if (view.Failures.Count == 0)
        {
            page.Append("<p>None.</p>\n");
        }
        else
        {
            page.Append("<table>\n<tr><th>Item</th><th>Why</th></tr>\n");
            foreach (ItemFailure failure in view.Failures)
            {
                page.Append($"<tr><td><code>{Safe(DisplayText.Of(failure.Path))}</code></td><td>{Safe(failure.Message)}</td></tr>\n");
            }

            page.Append("</table>\n");
        }

        foreach (string notice in view.Notices)
        {
            page.Append($"<p>{Safe(DisplayText.Of(notice))}</p>\n");
        }

        return Encoding.UTF8.GetBytes(page.Append("</body></html>\n").ToString());
    }

    private static void Row(StringBuilder page, string name, string value) => page.Append($"<tr><th>{Safe(name)}</th><td>{Safe(value)}</td></tr>\n");

    private static string Safe(string text) => WebUtility.HtmlEncode(text);
}
