using BackupIQ.Engine.Diff;

namespace BackupIQ.Jobs;

/// <summary>Which snapshots, or parts of them, are compared. Paths are bytes.</summary>
/// <example>
/// <code>
/// DiffRequest request = new() { Before = "latest~1", After = "latest" };
/// DiffOutcome outcome = await repository.DiffAsync(
///     request,
///     change => Console.WriteLine($"{change.Modifier} {System.Text.Encoding.UTF8.GetString(change.Path)}"),
///     cancellationToken: cancellationToken);
/// Console.WriteLine($"{outcome.ChangedFiles} files changed, {outcome.RenamedFiles} renamed");
/// </code>
/// </example>
public sealed record DiffRequest
{
    /// <summary>The first snapshot, in any form that names one.</summary>
    public required string Before { get; init; }

    /// <summary>The folder, or file, of the first snapshot; <c>/</c> is all.</summary>
    public byte[] BeforePath { get; init; } = [(byte)'/'];

    /// <summary>The second snapshot.</summary>
    public required string After { get; init; }

    public byte[] AfterPath { get; init; } = [(byte)'/'];

    /// <summary>Tell entries of which only owner, mode, time or attributes differ, too.</summary>
    public bool Metadata { get; init; }
}

/// <summary>One difference.</summary>
public sealed record DiffEntry
{
    /// <summary>
    /// restic's signs: <c>+</c> added, <c>-</c> removed, <c>M</c> content, <c>U</c> metadata, <c>T</c> type; <c>M?</c> content under the
    /// very same metadata, as a failing disk changes it; and <c>R</c> renamed.
    /// </summary>
    public required string Modifier { get; init; }

    /// <summary>The path below what is compared, with a slash at its beginning; of a renamed entry the new one.</summary>
    public required byte[] Path { get; init; }

    /// <summary>The former path of a renamed entry.</summary>
    public byte[]? OldPath { get; init; }

    /// <summary>Whether it is a folder, in the second snapshot if it is there.</summary>
    public required bool IsDirectory { get; init; }

    /// <summary>The entry in the first snapshot; null when it was added.</summary>
    public EntryInfo? Before { get; init; }

    /// <summary>The entry in the second snapshot; null when it was removed.</summary>
    public EntryInfo? After { get; init; }

    internal static string Sign(DiffKind kind) => kind switch
    {
        DiffKind.Added => "+",
        DiffKind.Removed => "-",
        DiffKind.Content => "M",
        DiffKind.ContentUnderSameMetadata => "M?",
        DiffKind.Metadata => "U",
        DiffKind.Type => "T",
        _ => "R",
    };

    internal static DiffEntry From(DiffChange change) => new()
    {
        Modifier = Sign(change.Kind),
        Path = change.Path,
        OldPath = change.OldPath,
        IsDirectory = (change.After ?? change.Before)!.Subtree is not null,
        Before = change.Before is { } before ? EntryInfo.From(change.OldPath ?? change.Path, before) : null,
        After = change.After is { } after ? EntryInfo.From(change.Path, after) : null,
    };
}

/// <summary>What a comparison ended with.</summary>
public sealed record DiffOutcome
{
    public required SnapshotInfo Before { get; init; }

    public required SnapshotInfo After { get; init; }

    public required DiffCounts Added { get; init; }

    public required DiffCounts Removed { get; init; }

    /// <summary>Files of which the content differs.</summary>
    public required long ChangedFiles { get; init; }

    /// <summary>Entries other than folders of which only the metadata differs, whether they were told or not.</summary>
    public required long ChangedMetadata { get; init; }

    /// <summary>Folders of which the metadata differs, whether they were told or not.</summary>
    public required long ChangedDirectories { get; init; }

    public required long RenamedFiles { get; init; }

    /// <summary>Folders that were renamed with all that is in them, which is counted nowhere else.</summary>
    public required long RenamedDirectories { get; init; }

    /// <summary>There was so much added and removed that renames were not looked for.</summary>
    public required bool RenamesSkipped { get; init; }

    /// <summary>Damage that was met; each was told.</summary>
    public required long Errors { get; init; }
}

/// <summary>What is in one of two snapshots only.</summary>
/// <param name="Files">Files.</param>
/// <param name="Directories">Folders.</param>
/// <param name="Others">Symbolic links, devices, fifos, sockets.</param>
/// <param name="DataChunks">Chunks of files, one that several files have counted for each.</param>
/// <param name="TreePages">Pages of folders.</param>
/// <param name="Bytes">Bytes of those chunks before compression: of a changed file only what the other version lacks.</param>
public sealed record DiffCounts(long Files, long Directories, long Others, long DataChunks, long TreePages, long Bytes)
{
    internal static DiffCounts From(DiffCount count) =>
        new(count.Files, count.Directories, count.Others, count.DataChunks, count.TreePages, count.Bytes);
}
