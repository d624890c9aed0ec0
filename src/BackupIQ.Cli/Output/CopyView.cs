using System.Text.Json;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Output;

/// <summary>Shows a copy of snapshots: progress, each snapshot as it is done, and what came of all.</summary>
internal sealed class CopyView
{
    private readonly Invocation _run;
    private readonly bool _dryRun;
    private readonly bool _outputIsData;

    /// <summary>
    /// Shows the copy of <paramref name="run"/>. Of one snapshot alone (<paramref name="isSingle"/>) it is not told that it is done, and where
    /// standard output is the data nothing is written there.
    /// </summary>
    public CopyView(Invocation run, bool dryRun, bool isSingle = false, bool outputIsData = false)
    {
        _run = run;
        _dryRun = dryRun;
        _outputIsData = outputIsData;
        Monitor = new CopyMonitor(Failed, isSingle ? null : Done, notice => run.Screen.Note(DisplayText.Of(notice)));
    }

    public CopyMonitor Monitor { get; }

    /// <summary>Shows progress until disposed.</summary>
    public ProgressLoop Show() => ProgressLoop.Start(_run, Read, _outputIsData ? null : WriteStatus);

    /// <summary>Tells what came of all, and returns the exit code.</summary>
    public int Finish(CopyReport report)
    {
        long read = report.Snapshots.Sum(static one => one.BytesRead);
        long put = report.Snapshots.Sum(static one => one.BytesPut);
        if (_run.WantsJson)
        {
            _run.Json.Line("summary", writer =>
            {
                writer.WriteNumber("snapshots_copied", report.Copied);
                writer.WriteNumber("snapshots_there", report.AlreadyThere);
                writer.WriteNumber("snapshots_damaged", report.Damaged);
                writer.WriteNumber("files_read", report.Snapshots.Sum(static one => one.FilesRead));
                writer.WriteNumber("bytes_read", read);
                writer.WriteNumber("data_added", report.Snapshots.Sum(static one => one.DataAdded));
                writer.WriteNumber("data_added_packed", put);
                writer.WriteNumber("total_duration", Math.Round(report.Duration.TotalSeconds, 6));
                writer.WriteBoolean("dry_run", _dryRun);
                JsonFields.WriteObjects(writer, "logs", report.Logs, (writer, log) =>
                {
                    writer.WriteString("server", log.Server);
                    writer.WriteNumber("files_copied", log.Files);
                    writer.WriteNumber("bytes_copied", log.Bytes);
                    writer.WriteNumber("files_damaged", log.Damaged);
                });
            });
        }
        else if (_run.Screen.Verbosity > Verbosity.Quiet)
        {
            string there = report.AlreadyThere == 0 ? "" : $"; {Words.Count(report.AlreadyThere, "snapshot is", "snapshots are")} there already";
            _run.Print(
                _dryRun ? $"Would copy {Words.Count(report.Copied, "snapshot")}{there}\n"
                : $"Copied {Words.Count(report.Copied, "snapshot")}: {Words.Size(read)} read, the repository grew by {Words.Size(put)}, in {Words.Duration(report.Duration)}{there}\n");
        }

        foreach (WalCopyInfo log in _run.WantsJson || _run.Screen.Verbosity == Verbosity.Quiet ? [] : report.Logs.Where(static log => log.Files > 0))
        {
            _run.Print(DisplayText.Of($"{(_dryRun ? "Would copy" : "Copied")} {Words.Count(log.Files, "file")} of the log of {log.Server}, {Words.Size(log.Bytes)}") + "\n");
        }

        if (report.Damaged == 0)
        {
            return ExitCodes.Done;
        }

        if (!_run.WantsJson)
        {
            _run.Screen.Fail(
                $"{Words.Count(report.Damaged, "snapshot")} could not be copied whole and so not at all; what is damaged is named above. 'backupiq repair packs' on the source mends what it can, then copy again",
                ErrorCodes.DamageFound);
        }

        return ExitCodes.Damage;
    }

    private ProgressFigures Read() => new(
        Monitor.Snapshot is null ? "looking" : $"snapshot {Monitor.SnapshotsDone + 1} of {Monitor.SnapshotsTotal}",
        Monitor.FilesDone,
        Monitor.FilesTotal,
        Monitor.BytesDone,
        Monitor.BytesTotal,
        Monitor.TotalsKnown && Monitor.BytesTotal > 0,
        Monitor.Failures,
        Monitor.Snapshot is { } snapshot ? System.Text.Encoding.UTF8.GetBytes($"snapshot {snapshot}, {Monitor.SnapshotsDone + 1} of {Monitor.SnapshotsTotal}") : null);

    private void WriteStatus(Utf8JsonWriter writer, ProgressFigures figures, double? remaining)
    {
        double share = Monitor.SnapshotsTotal == 0 ? 0 : (Monitor.SnapshotsDone + figures.Share) / Monitor.SnapshotsTotal;
        writer.WriteNumber("percent_done", Math.Round(Math.Min(1, share), 6));
        writer.WriteNumber("total_snapshots", Monitor.SnapshotsTotal);
        writer.WriteNumber("snapshots_done", Monitor.SnapshotsDone);
        writer.WriteString("current_snapshot", Monitor.Snapshot);
        writer.WriteNumber("total_files", figures.FilesTotal);
        writer.WriteNumber("files_done", figures.FilesDone);
        writer.WriteNumber("total_bytes", figures.BytesTotal);
        writer.WriteNumber("bytes_done", figures.BytesDone);
        writer.WriteNumber("bytes_read", Monitor.BytesRead);
        JsonFields.WriteSeconds(writer, "seconds_remaining", remaining);
        writer.WriteNumber("error_count", figures.Errors);
    }

    private void Failed(SnapshotInfo snapshot, ItemFailure failure)
    {
        ItemFailure told = failure with { Message = $"{failure.Message.TrimEnd('.')} (snapshot {snapshot.ShortId})" };
        if (_outputIsData)
        {
            _run.Screen.Warn($"{DisplayText.Of(told.Path)}: {DisplayText.Of(told.Message)}", told.Code);
        }
        else
        {
            ItemLines.Tell(_run, told, "copy");
        }
    }

    private void Done(CopiedSnapshotInfo one)
    {
        if (_run.WantsJson)
        {
            _run.Json.Line("snapshot", writer =>
            {
                writer.WriteString("outcome", _dryRun && one.Outcome == "copied" ? "would_copy" : one.Outcome);
                writer.WriteString("original", one.Original.Id);
                writer.WriteString("snapshot_id", one.Copy?.Id);
                writer.WriteString("time", one.Original.Time);
                writer.WriteString("hostname", one.Original.Hostname);
                JsonFields.WritePaths(writer, one.Original.Paths);
                writer.WriteNumber("files_read", one.FilesRead);
                writer.WriteNumber("bytes_read", one.BytesRead);
                writer.WriteNumber("data_added", one.DataAdded);
                writer.WriteNumber("data_added_packed", one.BytesPut);
                writer.WriteNumber("error_count", one.Failures);
            });
            return;
        }

        bool isNews = one.Outcome is "copied" or "damaged";
        if (_run.Screen.Verbosity < (isNews ? Verbosity.Normal : Verbosity.Detailed))
        {
            return;
        }

        string what = one.Outcome switch
        {
            "copied" when _dryRun => "would be copied",
            "copied" => $"copied as {one.Copy!.ShortId}: {Words.Count(one.FilesRead, "file")} read ({Words.Size(one.BytesRead)}), {Words.Size(one.BytesPut)} stored",
            "there" => $"is there as {one.Copy!.ShortId}",
            "forgotten" => $"is there as {one.Copy!.ShortId}, forgotten: 'backupiq undelete {one.Copy.ShortId}' brings it back",
            _ => $"NOT copied: {Words.Count(one.Failures, "item is", "items are")} damaged",
        };
        string paths = string.Join(", ", one.Original.Paths.Select(static path => DisplayText.Of(path)));
        _run.Screen.Draw("");
        _run.Print($"{one.Original.ShortId}  {Words.Moment(one.Original.Time, _run.Zone)}  {DisplayText.Of(one.Original.Hostname)}  {paths}: {what}\n");
    }
}
