using System.Globalization;
using System.Text.Json;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>Shows a backup: progress, items that failed, and what came of it.</summary>
internal sealed class BackupView
{
    /// <summary>So many failed items are kept for reports; all are told when they happen.</summary>
    private const int MostKept = 10_000;

    private readonly Invocation _run;
    private readonly bool _dryRun;

    public BackupView(Invocation run, BackupRequest request)
    {
        _run = run;
        _dryRun = request.DryRun;
        Monitor = new BackupMonitor(Failed, Notice, run.Screen.Verbosity == Verbosity.Everything ? Item : null);
    }

    public BackupMonitor Monitor { get; }

    /// <summary>The items that failed.</summary>
    public List<ItemFailure> Failures { get; } = [];

    /// <summary>What a person should know.</summary>
    public List<string> Notices { get; } = [];

    /// <summary>Shows progress until disposed.</summary>
    public ProgressLoop Show() => ProgressLoop.Start(_run, Read, WriteStatus);

    /// <summary>Tells what came of it; to a program also where else it is.</summary>
    public void Finish(BackupOutcome outcome, OtherPlaces? places = null)
    {
        if (_run.WantsJson)
        {
            _run.Json.Line("summary", writer =>
            {
                WriteSummary(writer, outcome, _dryRun);
                (places ?? OtherPlaces.None).Write(writer);
            });
            return;
        }

        if (_run.Screen.Verbosity == Verbosity.Quiet)
        {
            return;
        }

        BackupCounts counts = outcome.Counts;
        _run.Print(output =>
        {
            output.WriteLine(
                $"Files:   {Words.Number(counts.FilesNew)} new, {Words.Number(counts.FilesChanged)} changed, {Words.Number(counts.FilesUnmodified)} unmodified");
            output.WriteLine(
                $"Folders: {Words.Number(counts.DirsNew)} new, {Words.Number(counts.DirsChanged)} changed, {Words.Number(counts.DirsUnmodified)} unmodified");
            output.WriteLine(
                $"Added:   {Words.Size(counts.DataAdded)} new data, {Words.Size(counts.DataAddedPacked)} stored ({(_dryRun ? "dry run: nothing was stored" : "the repository grew by " + Words.Size(outcome.BytesPut))})");
            double seconds = Math.Max(0.001, counts.Duration.TotalSeconds);
            output.WriteLine(
                $"Read:    {Words.Count(counts.TotalFiles, "file")}, {Words.Size(counts.TotalBytes)} in {Words.Duration(counts.Duration)} ({Words.Size(counts.TotalBytes / seconds)}/s)");
            output.WriteLine(
                outcome.Snapshot is { } snapshot ? $"Snapshot {snapshot.ShortId} ({snapshot.Name}) saved"
                : _dryRun ? "Dry run: no snapshot was made" : "Nothing changed: no snapshot was made");
        });
        if (outcome.Warnings > 0)
        {
            _run.Screen.Warn(
                $"{Words.Count(outcome.Warnings, "item")} could not be read whole; {(outcome.Warnings == 1 ? "it is" : "each is")} named above. The rest is saved (exit code 3)");
        }
    }

    /// <summary>The fields of the summary.</summary>
    public static void WriteSummary(Utf8JsonWriter writer, BackupOutcome outcome, bool dryRun)
    {
        BackupCounts counts = outcome.Counts;
        if (outcome.Snapshot is { } snapshot)
        {
            writer.WriteString("snapshot_id", snapshot.Id);
            writer.WriteString("snapshot_name", snapshot.Name);
        }

        if (dryRun)
        {
            writer.WriteBoolean("dry_run", true);
        }

        WriteCounts(writer, counts);
    }

    /// <summary>The counts of a backup under restic's names.</summary>
    public static void WriteCounts(Utf8JsonWriter writer, BackupCounts counts)
    {
        writer.WriteNumber("files_new", counts.FilesNew);
        writer.WriteNumber("files_changed", counts.FilesChanged);
        writer.WriteNumber("files_unmodified", counts.FilesUnmodified);
        writer.WriteNumber("files_failed", counts.FilesFailed);
        writer.WriteNumber("dirs_new", counts.DirsNew);
        writer.WriteNumber("dirs_changed", counts.DirsChanged);
        writer.WriteNumber("dirs_unmodified", counts.DirsUnmodified);
        writer.WriteNumber("data_blobs", counts.DataBlobs);
        writer.WriteNumber("tree_blobs", counts.TreeBlobs);
        writer.WriteNumber("data_added", counts.DataAdded);
        writer.WriteNumber("data_added_packed", counts.DataAddedPacked);
        writer.WriteNumber("total_files_processed", counts.TotalFiles);
        writer.WriteNumber("total_bytes_processed", counts.TotalBytes);
        writer.WriteNumber("total_duration", Math.Round(counts.Duration.TotalSeconds, 6));
        writer.WriteString("backup_start", counts.Started);
        writer.WriteString("backup_end", counts.Ended);
        writer.WriteNumber("success_rate", counts.SuccessRate);
    }

    private ProgressFigures Read() => new(
        Monitor.TotalsKnown ? Monitor.Phase : "looking",
        Monitor.FilesDone,
        Monitor.FilesTotal,
        Monitor.BytesDone,
        Monitor.BytesTotal,
        Monitor.TotalsKnown,
        Monitor.Failures,
        Monitor.CurrentPath);

    private void WriteStatus(Utf8JsonWriter writer, ProgressFigures figures, double? remaining)
    {
        writer.WriteString("phase", Monitor.Phase);
        writer.WriteNumber("percent_done", Math.Round(figures.Share, 6));
        writer.WriteNumber("total_files", figures.FilesTotal);
        writer.WriteNumber("files_done", figures.FilesDone);
        writer.WriteNumber("processed_files", figures.FilesDone);
        writer.WriteNumber("total_bytes", figures.BytesTotal);
        writer.WriteNumber("bytes_done", figures.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", remaining);
        writer.WriteNumber("error_count", figures.Errors);
        writer.WriteNumber("success_rate", figures.FilesDone + figures.Errors == 0 ? 1 : Math.Round((double)figures.FilesDone / (figures.FilesDone + figures.Errors), 6));
        JsonFields.WriteStrings(writer, "current_files", figures.Current is { } path ? [DisplayText.Of(path)] : []);
    }

    private void Failed(ItemFailure failure)
    {
        if (Failures.Count < MostKept)
        {
            Failures.Add(failure);
        }

        ItemLines.Tell(_run, failure, "archival");
    }

    private void Notice(string notice)
    {
        Notices.Add(notice);
        _run.Screen.Note(DisplayText.Of(notice));
    }

    private void Item(byte[] path, string outcome, long bytes)
    {
        if (_run.WantsJson)
        {
            _run.Json.Line("verbose_status", writer =>
            {
                writer.WriteString("action", outcome == "unmodified" ? "unchanged" : outcome == "changed" ? "modified" : outcome);
                writer.WriteName("item", path);
                writer.WriteNumber("data_size", bytes);
            });
        }
        else
        {
            _run.Screen.Note(string.Create(CultureInfo.InvariantCulture, $"{outcome,-10} {DisplayText.Of(path)}, {Words.Size(bytes)}"), Verbosity.Everything);
        }
    }
}

/// <summary>Tells of single items that failed.</summary>
internal static class ItemLines
{
    /// <summary>As a warning, or with <c>--json</c> as an <c>error</c> object with restic's fields.</summary>
    public static void Tell(Invocation run, ItemFailure failure, string during)
    {
        if (run.WantsJson)
        {
            run.Json.Line("error", writer =>
            {
                writer.WriteStartObject("error");
                writer.WriteString("message", failure.Message);
                writer.WriteEndObject();
                writer.WriteString("code", failure.Code.Name);
                writer.WriteString("during", during);
                writer.WriteName("item", failure.Path);
            });
        }
        else
        {
            run.Screen.Warn($"{DisplayText.Of(failure.Path)}: {DisplayText.Of(failure.Message.TrimEnd('.'))}", failure.Code);
        }
    }
}
