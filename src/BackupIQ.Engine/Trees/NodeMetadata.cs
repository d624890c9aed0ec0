namespace BackupIQ.Engine.Trees;

/// <summary>
/// All that is kept of an entry beside its content, on any operating system. Names, link targets and attributes are bytes, as the
/// operating system has them; nothing here is assumed to be text.
/// </summary>
public sealed record NodeMetadata
{
    /// <summary>The entry's own name, without any folder. Never empty, <c>.</c>, <c>..</c>, nor with <c>/</c> or a zero byte.</summary>
    public required byte[] Name { get; init; }

    public required NodeType Type { get; init; }

    /// <summary>Permission bits with setuid, setgid and sticky: the low 12 bits of st_mode.</summary>
    public uint Mode { get; init; }

    public uint UserId { get; init; }

    public uint GroupId { get; init; }

    /// <summary>The owner's name on the machine that was backed up, or null when it had none.</summary>
    public byte[]? UserName { get; init; }

    /// <summary>The group's name on the machine that was backed up, or null when it had none.</summary>
    public byte[]? GroupName { get; init; }

    public FileTime Modified { get; init; }

    /// <summary>Length of a file's content in bytes, holes included; 0 for other types.</summary>
    public ulong Size { get; init; }

    public uint DeviceMajor { get; init; }

    public uint DeviceMinor { get; init; }

    /// <summary>What a symbolic link points to.</summary>
    public byte[]? LinkTarget { get; init; }

    /// <summary>Extended attributes sorted by name; ACLs and capabilities are among them.</summary>
    public IReadOnlyList<ExtendedAttribute> ExtendedAttributes { get; init; } = [];

    /// <summary>Whether a file has holes that a restore should make again (its content is then stored as extents).</summary>
    public bool IsSparse { get; init; }
}

/// <summary>An extended attribute: name with its namespace (<c>user.x</c>) and value, both bytes.</summary>
public readonly record struct ExtendedAttribute(byte[] Name, byte[] Value);
