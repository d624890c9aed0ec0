using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Diff;

/// <summary>How an entry differs between two trees.</summary>
public enum DiffKind
{
    /// <summary>It is in the second tree only.</summary>
    Added,

    /// <summary>It is in the first tree only.</summary>
    Removed,

    /// <summary>A file's content differs.</summary>
    Content,

    /// <summary>
    /// A file's content differs although nothing of its metadata does: no program changes a file so, a failing disk does.
    /// </summary>
    ContentUnderSameMetadata,

    /// <summary>Only its metadata differs.</summary>
    Metadata,

    /// <summary>It became another kind of entry.</summary>
    Type,

    /// <summary>A file or a whole directory vanished from one path and appeared at another.</summary>
    Renamed,
}

/// <summary>One difference between two trees.</summary>
public sealed record DiffChange
{
    public required DiffKind Kind { get; init; }

    /// <summary>The path in bytes, with a slash at its beginning: of a renamed entry the new one.</summary>
    public required byte[] Path { get; init; }

    /// <summary>The former path of a renamed entry.</summary>
    public byte[]? OldPath { get; init; }

    /// <summary>The entry in the first tree; null when it was added.</summary>
    public Node? Before { get; init; }

    /// <summary>The entry in the second tree; null when it was removed.</summary>
    public Node? After { get; init; }
}

/// <summary>One of the two trees that are compared.</summary>
/// <param name="Snapshot">The snapshot.</param>
/// <param name="Path">A path in it, in bytes; its content is compared, paths begin there. <c>/</c> for all.</param>
public readonly record struct DiffSide(Snapshot Snapshot, byte[] Path);

/// <summary>How trees are compared.</summary>
public sealed record DiffOptions
{
    /// <summary>Tell entries of which only the metadata differs, too.</summary>
    public bool Metadata { get; init; }

    /// <summary>Look for what was renamed. Costs a second and a third look at what was added and removed.</summary>
    public bool Renames { get; init; } = true;
}

/// <summary>What is in one tree only.</summary>
public sealed record DiffCount
{
    public long Files { get; set; }

    public long Directories { get; set; }

    /// <summary>Symbolic links, devices, fifos, sockets.</summary>
    public long Others { get; set; }

    /// <summary>Chunks of files, one that several files have counted for each.</summary>
    public long DataChunks { get; set; }

    /// <summary>Pages of directories.</summary>
    public long TreePages { get; set; }

    /// <summary>Bytes of those chunks before compression: of a changed file only what the other version lacks.</summary>
    public long Bytes { get; set; }
}

/// <summary>What a comparison counted.</summary>
public sealed record DiffStatistics
{
    public DiffCount Added { get; } = new();

    public DiffCount Removed { get; } = new();

    /// <summary>Files of which the content differs.</summary>
    public long ChangedFiles { get; internal set; }

    /// <summary>Entries of which only the metadata differs, whether they were told or not; directories are not among them.</summary>
    public long ChangedMetadata { get; internal set; }

    /// <summary>Directories of which the metadata itself differs; that of one in which something was added mostly does.</summary>
    public long ChangedDirectories { get; internal set; }

    public long RenamedFiles { get; internal set; }

    /// <summary>Directories that were renamed with all that is in them, which is counted nowhere else.</summary>
    public long RenamedDirectories { get; internal set; }

    /// <summary>So many entries were added and removed that renames were not looked for.</summary>
    public bool RenamesSkipped { get; internal set; }
}
