using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Backup;

/// <summary>What the walk hands to the assembler, in the order of the tree.</summary>
internal enum WalkStepKind
{
    /// <summary>A directory begins.</summary>
    Enter,

    /// <summary>The directory entered last is complete.</summary>
    Leave,

    /// <summary>An entry whose node is known: unchanged, or without content.</summary>
    Node,

    /// <summary>A file that a worker reads.</summary>
    File,
}

/// <summary>One step of the walk, compared with the parents.</summary>
internal sealed class WalkStep
{
    public required WalkStepKind Kind { get; init; }

    public SourceEntry? Entry { get; init; }

    public byte[] Name { get; init; } = [];

    /// <summary>The node's fields as they go into the page, for <see cref="WalkStepKind.Node"/>.</summary>
    public byte[] Fields { get; init; } = [];

    public ScanEntry Scan { get; init; }

    /// <summary>The directory's own metadata, for <see cref="WalkStepKind.Enter"/>.</summary>
    public NodeMetadata? Metadata { get; init; }

    public FileJob? Job { get; init; }

    public ulong HardLinkGroup { get; init; }

    public EntryOutcome Outcome { get; init; }

    /// <summary>The parent's tree of this directory, to tell whether it changed.</summary>
    public byte[]? ParentFields { get; init; }

    public long Size { get; init; }
}
