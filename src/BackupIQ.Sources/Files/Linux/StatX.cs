using System.Runtime.InteropServices;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>struct statx of statx(2): the same on every architecture, unlike struct stat.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct StatX
{
    /// <summary>The fields that <see cref="Syscalls.Stat"/> asks for: STATX_BASIC_STATS without the access time.</summary>
    internal const uint Wanted = 0x7ff & ~0x20u;

    private const ushort TypeMask = 0xf000;

    [FieldOffset(0)] internal uint Mask;
    [FieldOffset(4)] internal uint BlockSize;
    [FieldOffset(8)] internal ulong Attributes;
    [FieldOffset(16)] internal uint LinkCount;
    [FieldOffset(20)] internal uint UserId;
    [FieldOffset(24)] internal uint GroupId;
    [FieldOffset(28)] internal ushort Mode;
    [FieldOffset(32)] internal ulong Inode;
    [FieldOffset(40)] internal ulong Size;
    [FieldOffset(48)] internal ulong Blocks;
    [FieldOffset(96)] internal long ChangedSeconds;
    [FieldOffset(104)] internal uint ChangedNanoseconds;
    [FieldOffset(112)] internal long ModifiedSeconds;
    [FieldOffset(120)] internal uint ModifiedNanoseconds;
    [FieldOffset(128)] internal uint DeviceMajor;
    [FieldOffset(132)] internal uint DeviceMinor;
    [FieldOffset(136)] internal uint OnDeviceMajor;
    [FieldOffset(140)] internal uint OnDeviceMinor;

    /// <summary>The device that the entry lies on, major and minor in one number.</summary>
    internal readonly ulong Device => ((ulong)OnDeviceMajor << 32) | OnDeviceMinor;

    internal readonly bool IsDirectory => (Mode & TypeMask) == FileModes.Directory;

    internal readonly bool IsFile => (Mode & TypeMask) == FileModes.Regular;

    internal readonly bool IsSymbolicLink => (Mode & TypeMask) == FileModes.SymbolicLink;

    /// <summary>What it is, or null for what Linux does not know today.</summary>
    internal readonly NodeType? Type => (Mode & TypeMask) switch
    {
        FileModes.Regular => NodeType.File,
        FileModes.Directory => NodeType.Directory,
        FileModes.SymbolicLink => NodeType.SymbolicLink,
        FileModes.BlockDevice => NodeType.BlockDevice,
        FileModes.CharacterDevice => NodeType.CharacterDevice,
        FileModes.Fifo => NodeType.Fifo,
        FileModes.Socket => NodeType.Socket,
        _ => null,
    };

    /// <summary>As the engine wants it. An unknown type reads as a socket, which no source stores.</summary>
    internal readonly SourceStat ToSourceStat() => new()
    {
        Type = Type ?? NodeType.Socket,
        Mode = (uint)Mode & 0xfff,
        UserId = UserId,
        GroupId = GroupId,
        Size = IsFile ? Size : 0,
        Modified = new FileTime(ModifiedSeconds, ModifiedNanoseconds),
        Changed = new FileTime(ChangedSeconds, ChangedNanoseconds),
        Inode = Inode,
        Device = Device,
        LinkCount = LinkCount,
        DeviceMajor = DeviceMajor,
        DeviceMinor = DeviceMinor,
        Blocks = Blocks,
    };
}
