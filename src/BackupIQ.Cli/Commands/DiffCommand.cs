using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>diff A[:PATH] B[:PATH]</c></summary>
internal sealed class DiffCommand : Verb
{
    public DiffCommand()
        : base("diff", "Shows what differs between two snapshots: + - added, removed; M content, U metadata, T type changed; R renamed.")
    {
        Positional("SNAP[:PATH]", "the two snapshots, the earlier first, and a folder in each", 2, 2);
        Flag("--metadata", "also what differs in owner, mode, time or attributes alone");
        Flag("--long", "sizes as well", "-l");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq diff latest~1 latest", "backupiq diff @2026-11-01:/home/ann latest:/home/ann"];

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        SnapshotPath before = SnapshotPath.Parse(run.Arguments.Positional[0]);
        SnapshotPath after = SnapshotPath.Parse(run.Arguments.Positional[1]);
        DiffRequest request = new()
        {
            Before = before.Snapshot,
            BeforePath = OsText.Encode(before.Path ?? "/"),
            After = after.Snapshot,
            AfterPath = OsText.Encode(after.Path ?? "/"),
            Metadata = run.Arguments.Has("--metadata"),
        };
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        DiffOutcome outcome = run.WantsJson
            ? await WriteJsonAsync(run, repository, request, cancellationToken).ConfigureAwait(false)
            : await ShowAsync(run, repository, request, cancellationToken).ConfigureAwait(false);
        if (outcome.RenamesSkipped)
        {
            run.Screen.Warn("so much was added and removed that renames were not looked for; compare a folder: diff A:PATH B:PATH");
        }

        return outcome.Errors > 0 ? ExitCodes.Damage : ExitCodes.Done;
    }

    private static async Task<DiffOutcome> ShowAsync(Invocation run, BackupIqRepository repository, DiffRequest request, CancellationToken cancellationToken)
    {
        bool isLong = run.Arguments.Has("--long");
        DiffOutcome outcome;
        StreamWriter output = run.OpenText();
        await using (output.ConfigureAwait(false))
        {
            outcome = await repository.DiffAsync(
                request,
                entry => output.WriteLine($"{entry.Modifier,-5}{(isLong ? Sizes(entry) : "")}{Paths(entry)}"),
                failure => ItemLines.Tell(run, failure, "diff"),
                cancellationToken).ConfigureAwait(false);
        }

        if (run.Screen.Verbosity > Verbosity.Quiet)
        {
            run.Print(writer => WriteSummary(writer, outcome));
        }

        return outcome;
    }

    private static string Paths(DiffEntry entry)
    {
        string slash = entry.IsDirectory ? "/" : "";
        string path = DisplayText.Of(entry.Path) + slash;
        return entry.OldPath is { } old ? $"{DisplayText.Of(old)}{slash} -> {path}" : path;
    }

    private static string Sizes(DiffEntry entry) =>
        entry.Modifier == "R" ? $"{Size(entry.After),24}  " : $"{Size(entry.Before),10} -> {Size(entry.After),10}  ";

    private static string Size(EntryInfo? entry) => entry is null ? "" : entry.Type == "file" ? Words.Size(entry.Size) : entry.Type;

    private static void WriteSummary(TextWriter writer, DiffOutcome outcome)
    {
        DiffCounts added = outcome.Added;
        DiffCounts removed = outcome.Removed;
        writer.WriteLine($"Files:   {Words.Number(added.Files)} new, {Words.Number(removed.Files)} removed, {Words.Number(outcome.ChangedFiles)} changed, {Words.Number(outcome.RenamedFiles)} renamed");
        writer.WriteLine($"Folders: {Words.Number(added.Directories)} new, {Words.Number(removed.Directories)} removed, {Words.Number(outcome.RenamedDirectories)} renamed");
        writer.WriteLine($"Others:  {Words.Number(added.Others)} new, {Words.Number(removed.Others)} removed");
        writer.WriteLine($"Only metadata: {Words.Count(outcome.ChangedMetadata, "file")}, {Words.Count(outcome.ChangedDirectories, "folder")}");
        writer.WriteLine($"Added:   {Words.Size(added.Bytes)}");
        writer.WriteLine($"Removed: {Words.Size(removed.Bytes)}");
    }

    private static async Task<DiffOutcome> WriteJsonAsync(Invocation run, BackupIqRepository repository, DiffRequest request, CancellationToken cancellationToken)
    {
        DiffOutcome outcome = await repository.DiffAsync(
            request, entry => run.Json.Row("change", entry, WriteEntry), failure => ItemLines.Tell(run, failure, "diff"), cancellationToken).ConfigureAwait(false);
        run.Json.Line("statistics", writer => WriteStatistics(writer, request, outcome));
        return outcome;
    }

    private static void WriteEntry(Utf8JsonWriter writer, DiffEntry entry)
    {
        writer.WriteName("path", entry.IsDirectory ? [.. entry.Path, (byte)'/'] : entry.Path);
        writer.WriteString("modifier", entry.Modifier);
        if (entry.OldPath is { } old)
        {
            writer.WriteName("old_path", entry.IsDirectory ? [.. old, (byte)'/'] : old);
        }

        if (entry.Before is { } before)
        {
            writer.WriteString("type_before", before.Type);
            writer.WriteNumber("size_before", before.Size);
        }

        if (entry.After is { } after)
        {
            writer.WriteString("type", after.Type);
            writer.WriteNumber("size", after.Size);
        }
    }

    private static void WriteStatistics(Utf8JsonWriter writer, DiffRequest request, DiffOutcome outcome)
    {
        writer.WriteString("source_snapshot", IdAndPath(outcome.Before, request.BeforePath));
        writer.WriteString("target_snapshot", IdAndPath(outcome.After, request.AfterPath));
        writer.WriteNumber("changed_files", outcome.ChangedFiles);
        writer.WriteNumber("changed_metadata", outcome.ChangedMetadata);
        writer.WriteNumber("changed_dirs", outcome.ChangedDirectories);
        writer.WriteNumber("renamed_files", outcome.RenamedFiles);
        writer.WriteNumber("renamed_dirs", outcome.RenamedDirectories);
        WriteCount(writer, "added", outcome.Added);
        WriteCount(writer, "removed", outcome.Removed);
    }

    private static string IdAndPath(SnapshotInfo snapshot, byte[] path) => path.Length > 1 ? $"{snapshot.Id}:{System.Text.Encoding.UTF8.GetString(path)}" : snapshot.Id;

    private static void WriteCount(Utf8JsonWriter writer, string name, DiffCounts count)
    {
        writer.WriteStartObject(name);
        writer.WriteNumber("files", count.Files);
        writer.WriteNumber("dirs", count.Directories);
        writer.WriteNumber("others", count.Others);
        writer.WriteNumber("data_blobs", count.DataChunks);
        writer.WriteNumber("tree_blobs", count.TreePages);
        writer.WriteNumber("bytes", count.Bytes);
        writer.WriteEndObject();
    }
}
