using System.Buffers.Binary;
using System.Runtime.InteropServices;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Server.Mount;

/// <summary>Fills structures of the C library and of libfuse, whose members lie differently on different processors.</summary>
internal static unsafe class FuseLayouts
{
    private static readonly bool IsArm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    /// <summary>The size of <c>struct stat</c>.</summary>
    public static readonly int StatSize = IsArm ? 128 : 144;

    /// <summary>The size of <c>struct fuse_entry_param</c>: inode and generation, stat, two timeouts.</summary>
    public static readonly int EntrySize = 16 + StatSize + 16;

    /// <summary>The size of <c>struct statvfs</c>.</summary>
    public const int FileSystemStatusSize = 112;

    /// <summary>Where <c>struct fuse_file_info</c> has its flags for the caller, and its handle.</summary>
    private const int FileInfoBits = 4;
    private const int FileInfoHandle = 16;
    private const uint KeepCache = 4;

    private const int BlockSize = 4096;

    /// <summary>Fills a <c>struct stat</c>.</summary>
    public static void WriteStat(Span<byte> stat, ulong inode, ViewEntry entry, uint links)
    {
        EntryInfo info = entry.Info;
        stat[..StatSize].Clear();
        uint kind = info.Type switch
        {
            "dir" => 0x4000u,
            "symlink" => 0xa000u,
            "dev" => 0x6000u,
            "chardev" => 0x2000u,
            "fifo" => 0x1000u,
            "socket" => 0xc000u,
            _ => 0x8000u,
        };
        long size = info.Type == "symlink" ? info.LinkTarget?.Length ?? 0 : info.Type == "dir" ? BlockSize : (long)info.Size;
        BinaryPrimitives.WriteUInt64LittleEndian(stat[8..], inode);
        if (IsArm)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(stat[16..], kind | info.Mode);
            BinaryPrimitives.WriteUInt32LittleEndian(stat[20..], links);
            BinaryPrimitives.WriteUInt32LittleEndian(stat[24..], info.UserId);
            BinaryPrimitives.WriteUInt32LittleEndian(stat[28..], info.GroupId);
            BinaryPrimitives.WriteUInt64LittleEndian(stat[32..], Device(entry));
            BinaryPrimitives.WriteInt64LittleEndian(stat[48..], size);
            BinaryPrimitives.WriteInt32LittleEndian(stat[56..], BlockSize);
        }
        else
        {
            BinaryPrimitives.WriteUInt64LittleEndian(stat[16..], links);
            BinaryPrimitives.WriteUInt32LittleEndian(stat[24..], kind | info.Mode);
            BinaryPrimitives.WriteUInt32LittleEndian(stat[28..], info.UserId);
            BinaryPrimitives.WriteUInt32LittleEndian(stat[32..], info.GroupId);
            BinaryPrimitives.WriteUInt64LittleEndian(stat[40..], Device(entry));
            BinaryPrimitives.WriteInt64LittleEndian(stat[48..], size);
            BinaryPrimitives.WriteInt64LittleEndian(stat[56..], BlockSize);
        }

        BinaryPrimitives.WriteInt64LittleEndian(stat[64..], info.Type == "file" ? (long)((entry.DataLength + 511) / 512) : (size + 511) / 512);
        for (int time = 72; time < 120; time += 16)
        {
            BinaryPrimitives.WriteInt64LittleEndian(stat[time..], info.ModifiedSeconds);
            BinaryPrimitives.WriteInt64LittleEndian(stat[(time + 8)..], info.ModifiedNanoseconds);
        }
    }

    /// <summary>Fills a <c>struct fuse_entry_param</c>; with inode 0 it says that there is no such entry.</summary>
    public static void WriteEntry(Span<byte> parameter, ulong inode, ulong shownInode, ViewEntry? entry, uint links, double timeout)
    {
        parameter[..EntrySize].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(parameter, inode);
        if (entry is not null)
        {
            WriteStat(parameter[16..], shownInode, entry, links);
        }

        BinaryPrimitives.WriteDoubleLittleEndian(parameter[(16 + StatSize)..], timeout);
        BinaryPrimitives.WriteDoubleLittleEndian(parameter[(24 + StatSize)..], timeout);
    }

    /// <summary>Fills a <c>struct statvfs</c>: full, and no name longer than Linux has them.</summary>
    public static void WriteFileSystemStatus(Span<byte> status)
    {
        status[..FileSystemStatusSize].Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(status, BlockSize);
        BinaryPrimitives.WriteUInt64LittleEndian(status[8..], BlockSize);
        BinaryPrimitives.WriteUInt64LittleEndian(status[80..], 255);
    }

    /// <summary>Puts a handle into a <c>struct fuse_file_info</c>; of a file whose content never changes, the system keeps what it read.</summary>
    public static void SetHandle(byte* fileInfo, nint handle, bool keepCache)
    {
        *(long*)(fileInfo + FileInfoHandle) = handle;
        *(uint*)(fileInfo + FileInfoBits) |= keepCache ? KeepCache : 0;
    }

    /// <summary>The handle in a <c>struct fuse_file_info</c>.</summary>
    public static nint GetHandle(byte* fileInfo) => (nint)(*(long*)(fileInfo + FileInfoHandle));

    // As glibc's makedev puts a device's two numbers together.
    private static ulong Device(ViewEntry entry)
    {
        ulong major = entry.DeviceMajor;
        ulong minor = entry.DeviceMinor;
        return ((major & 0xfff) << 8) | ((major & 0xfffff000) << 32) | (minor & 0xff) | ((minor & 0xffffff00) << 12);
    }
}
