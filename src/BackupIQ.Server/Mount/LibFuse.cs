using System.Runtime.InteropServices;

namespace BackupIQ.Server.Mount;

/// <summary>The parts of libfuse 3 that a read-only file system needs (fuse_lowlevel.h). Loaded when first used.</summary>
internal static unsafe partial class LibFuse
{
    public const string Library = "libfuse3.so.3";

    /// <summary>The number of members of <c>fuse_lowlevel_ops</c> in 3.0 to 3.16; libfuse is told how many there are.</summary>
    public const int OperationCount = 44;

    public const int DetachFlag = 2;

    // Places of the operations in fuse_lowlevel_ops.
    public const int Lookup = 2;
    public const int Forget = 3;
    public const int GetAttributes = 4;
    public const int ReadLink = 6;
    public const int Open = 14;
    public const int Read = 15;
    public const int Release = 18;
    public const int OpenDirectory = 20;
    public const int ReadDirectory = 21;
    public const int ReleaseDirectory = 22;
    public const int FileSystemStatus = 24;
    public const int GetExtendedAttribute = 26;
    public const int ListExtendedAttributes = 27;
    public const int ForgetMany = 38;
    public const int ReadDirectoryPlus = 41;
    public const int Seek = 43;

    /// <summary>Makes a session.</summary>
    [LibraryImport(Library, EntryPoint = "fuse_session_new")]
    public static partial nint NewSession(FuseArguments* arguments, nint* operations, nuint operationsSize, nint userData);

    [LibraryImport(Library, EntryPoint = "fuse_session_mount", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Mount(nint session, string folder);

    [LibraryImport(Library, EntryPoint = "fuse_session_unmount")]
    public static partial void Unmount(nint session);

    /// <summary>umount2(2); with <see cref="DetachFlag"/> even while files are open.</summary>
    [LibraryImport("libc", EntryPoint = "umount2", StringMarshalling = StringMarshalling.Utf8)]
    public static partial int DetachFolder(string folder, int flags);

    [LibraryImport(Library, EntryPoint = "fuse_session_destroy")]
    public static partial void Destroy(nint session);

    [LibraryImport(Library, EntryPoint = "fuse_session_exited")]
    public static partial int HasExited(nint session);

    [LibraryImport(Library, EntryPoint = "fuse_session_receive_buf")]
    public static partial int Receive(nint session, FuseBuffer* buffer);

    [LibraryImport(Library, EntryPoint = "fuse_session_process_buf")]
    public static partial void Process(nint session, FuseBuffer* buffer);

    [LibraryImport(Library, EntryPoint = "fuse_req_userdata")]
    public static partial nint UserData(nint request);

    [LibraryImport(Library, EntryPoint = "fuse_reply_err")]
    public static partial int ReplyError(nint request, int error);

    [LibraryImport(Library, EntryPoint = "fuse_reply_none")]
    public static partial void ReplyNone(nint request);

    [LibraryImport(Library, EntryPoint = "fuse_reply_entry")]
    public static partial int ReplyEntry(nint request, byte* entry);

    [LibraryImport(Library, EntryPoint = "fuse_reply_attr")]
    public static partial int ReplyAttributes(nint request, byte* status, double timeout);

    [LibraryImport(Library, EntryPoint = "fuse_reply_readlink")]
    public static partial int ReplyLink(nint request, byte* target);

    [LibraryImport(Library, EntryPoint = "fuse_reply_open")]
    public static partial int ReplyOpen(nint request, byte* fileInfo);

    [LibraryImport(Library, EntryPoint = "fuse_reply_buf")]
    public static partial int ReplyBytes(nint request, byte* bytes, nuint length);

    [LibraryImport(Library, EntryPoint = "fuse_reply_lseek")]
    public static partial int ReplyPlace(nint request, long offset);

    [LibraryImport(Library, EntryPoint = "fuse_reply_statfs")]
    public static partial int ReplyStatus(nint request, byte* status);

    [LibraryImport(Library, EntryPoint = "fuse_reply_xattr")]
    public static partial int ReplyAttributeSize(nint request, nuint length);

    [LibraryImport(Library, EntryPoint = "fuse_add_direntry")]
    public static partial nuint AddEntry(nint request, byte* buffer, nuint size, byte* name, byte* status, long offset);

    [LibraryImport(Library, EntryPoint = "fuse_add_direntry_plus")]
    public static partial nuint AddEntryPlus(nint request, byte* buffer, nuint size, byte* name, byte* entry, long offset);
}

/// <summary><c>struct fuse_args</c></summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct FuseArguments
{
    public int Count;
    public byte** Values;
    public int Allocated;
}

/// <summary><c>struct fuse_buf</c>, with room for what newer versions add. The memory is libfuse's, by malloc.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct FuseBuffer
{
    public nuint Size;
    public int Flags;
    public void* Memory;
    public int Descriptor;
    public long Position;
    public nuint MemorySize;
    public fixed long Reserved[4];
}

/// <summary><c>struct fuse_forget_data</c></summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FuseForget
{
    public ulong Inode;
    public ulong Lookups;
}
