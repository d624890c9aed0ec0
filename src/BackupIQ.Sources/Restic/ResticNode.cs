using System.Buffers.Binary;
using System.Security.Cryptography;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Sources.Restic;

/// <summary>An entry of a restic tree, checked: the name is one that a file may have, and everything is within bounds.</summary>
internal sealed record ResticNode
{
    public required byte[] Name { get; init; }

    public required NodeType Type { get; init; }

    /// <summary>The low 12 bits of st_mode.</summary>
    public uint Mode { get; init; }

    public FileTime Modified { get; init; }

    public FileTime Changed { get; init; }

    public uint UserId { get; init; }

    public uint GroupId { get; init; }

    public byte[]? UserName { get; init; }

    public byte[]? GroupName { get; init; }

    public ulong Inode { get; init; }

    /// <summary>st_dev; newer versions of restic keep it for files with several names only.</summary>
    public ulong DeviceId { get; init; }

    public ulong Size { get; init; }

    public ulong Links { get; init; }

    public byte[]? LinkTarget { get; init; }

    /// <summary>st_rdev of a device.</summary>
    public ulong Device { get; init; }

    /// <summary>Sorted by name.</summary>
    public IReadOnlyList<ExtendedAttribute> ExtendedAttributes { get; init; } = [];

    /// <summary>The blobs of a file's content in order.</summary>
    public ResticId[] Content { get; init; } = [];

    /// <summary>The tree of a folder.</summary>
    public ResticId? Subtree { get; init; }

    /// <summary>Something of the entry was not text, and restic put U+FFFD in its place.</summary>
    public bool IsLossy { get; init; }

    /// <summary>Whether other entries may be the same file; only then do inode and device tell which.</summary>
    public bool IsLinked => Links > 1 && Inode != 0 && Type != NodeType.Directory;

    /// <summary>
    /// What the engine compares. Its device is a fingerprint of all that is kept of the entry but its name, so that two snapshots' entries
    /// with the same numbers are the same (<see cref="IBackupSource.IsAtRest"/>), and names are links to one file only if nothing tells them
    /// apart. Inode and change time are the file's own where restic kept it whole: a backup of that machine made after the move then need not read
    /// it again.
    /// </summary>
    public SourceStat ToStat() => new()
    {
        Type = Type,
        Mode = Mode,
        UserId = UserId,
        GroupId = GroupId,
        Size = Size,
        Modified = Modified,
        Changed = Type == NodeType.File && !IsLossy ? Changed : default,
        Inode = Inode,
        Device = Fingerprint(),
        LinkCount = IsLinked ? 2u : 1u,
        DeviceMajor = Major,
        DeviceMinor = Minor,
        Blocks = (Size / 512) + 1,
    };

    /// <summary>All that is kept of the entry.</summary>
    public NodeMetadata ToMetadata() => new()
    {
        Name = Name,
        Type = Type,
        Mode = Mode,
        UserId = UserId,
        GroupId = GroupId,
        UserName = UserName,
        GroupName = GroupName,
        Modified = Modified,
        Size = Size,
        DeviceMajor = Major,
        DeviceMinor = Minor,
        LinkTarget = LinkTarget,
        ExtendedAttributes = ExtendedAttributes,
    };

    private bool IsDevice => Type is NodeType.BlockDevice or NodeType.CharacterDevice;

    // The layout of dev_t in Linux.
    private uint Major => IsDevice ? (uint)(((Device >> 8) & 0xfff) | ((Device >> 32) & 0xfffff000)) : 0;

    private uint Minor => IsDevice ? (uint)((Device & 0xff) | ((Device >> 12) & 0xffffff00)) : 0;

    private ulong Fingerprint()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Span<byte> numbers = stackalloc byte[80];
        int at = 0;
        foreach (ulong number in (ReadOnlySpan<ulong>)
            [(ulong)Type, Mode, UserId, GroupId, (ulong)Modified.Seconds, Modified.Nanoseconds, Size, Device, IsLinked ? DeviceId : 0, IsLinked ? 1u : 0u])
        {
            BinaryPrimitives.WriteUInt64LittleEndian(numbers[at..], number);
            at += sizeof(ulong);
        }

        hash.AppendData(numbers);
        Append(hash, UserName);
        Append(hash, GroupName);
        Append(hash, LinkTarget);
        foreach (ExtendedAttribute attribute in ExtendedAttributes)
        {
            Append(hash, attribute.Name);
            Append(hash, attribute.Value);
        }

        // Where the attributes end and the content begins.
        Append(hash, null);
        Span<byte> id = stackalloc byte[ResticId.Size];
        foreach (ResticId blob in Content)
        {
            blob.Write(id);
            hash.AppendData(id);
        }

        hash.GetHashAndReset(id);
        return BinaryPrimitives.ReadUInt64LittleEndian(id);
    }

    private static void Append(IncrementalHash hash, byte[]? bytes)
    {
        Span<byte> length = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes?.Length ?? -1);
        hash.AppendData(length);
        hash.AppendData(bytes ?? []);
    }
}
