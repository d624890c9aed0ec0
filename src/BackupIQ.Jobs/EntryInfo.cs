using BackupIQ.Engine.Trees;

namespace BackupIQ.Jobs;

/// <summary>An entry of a snapshot as front doors show it. Paths and names are bytes.</summary>
public sealed record EntryInfo
{
    /// <summary>The whole path inside the snapshot, beginning with a slash.</summary>
    public required byte[] Path { get; init; }

    /// <summary>The last part of <see cref="Path"/>.</summary>
    public required byte[] Name { get; init; }

    /// <summary><c>file</c>, <c>dir</c>, <c>symlink</c>, <c>dev</c>, <c>chardev</c>, <c>fifo</c> or <c>socket</c>: restic's words.</summary>
    public required string Type { get; init; }

    /// <summary>The low 12 bits of st_mode.</summary>
    public required uint Mode { get; init; }

    public required uint UserId { get; init; }

    public required uint GroupId { get; init; }

    public byte[]? UserName { get; init; }

    public byte[]? GroupName { get; init; }

    /// <summary>Bytes of a file's content.</summary>
    public required ulong Size { get; init; }

    /// <summary>Seconds since 1970 of the last change.</summary>
    public required long ModifiedSeconds { get; init; }

    public required uint ModifiedNanoseconds { get; init; }

    public byte[]? LinkTarget { get; init; }

    /// <summary>The last change at the precision of .NET (100 ns).</summary>
    public DateTimeOffset Modified => new FileTime(ModifiedSeconds, ModifiedNanoseconds).ToDateTimeOffset();

    internal static EntryInfo From(byte[] path, Node node) => new()
    {
        Path = path,
        Name = node.Metadata.Name,
        Type = Word(node.Metadata.Type),
        Mode = node.Metadata.Mode,
        UserId = node.Metadata.UserId,
        GroupId = node.Metadata.GroupId,
        UserName = node.Metadata.UserName,
        GroupName = node.Metadata.GroupName,
        Size = node.Metadata.Size,
        ModifiedSeconds = node.Metadata.Modified.Seconds,
        ModifiedNanoseconds = node.Metadata.Modified.Nanoseconds,
        LinkTarget = node.Metadata.LinkTarget,
    };

    private static string Word(NodeType type) => type switch
    {
        NodeType.File => "file",
        NodeType.Directory => "dir",
        NodeType.SymbolicLink => "symlink",
        NodeType.BlockDevice => "dev",
        NodeType.CharacterDevice => "chardev",
        NodeType.Fifo => "fifo",
        _ => "socket",
    };
}
