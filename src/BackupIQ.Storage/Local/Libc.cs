using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage.Local;

/// <summary>The system calls that <see cref="LocalBackend"/> needs, each with its error number; interrupted calls are made again.</summary>
internal static unsafe partial class Libc
{
    internal const int EPERM = 1;
    internal const int ENOENT = 2;
    internal const int EINTR = 4;
    internal const int EIO = 5;
    internal const int ENXIO = 6;
    internal const int ENOMEM = 12;
    internal const int EACCES = 13;
    internal const int EEXIST = 17;
    internal const int EXDEV = 18;
    internal const int ENODEV = 19;
    internal const int ENOTDIR = 20;
    internal const int EISDIR = 21;
    internal const int EINVAL = 22;
    internal const int ENFILE = 23;
    internal const int EMFILE = 24;
    internal const int ENOSPC = 28;
    internal const int EROFS = 30;
    internal const int EMLINK = 31;
    internal const int ENOSYS = 38;
    internal const int ENOTSUP = 95;
    internal const int ENETUNREACH = 101;
    internal const int ENOTCONN = 107;
    internal const int ETIMEDOUT = 110;
    internal const int EHOSTDOWN = 112;
    internal const int EHOSTUNREACH = 113;
    internal const int ESTALE = 116;
    internal const int EDQUOT = 122;

    internal const int ReadOnly = 0;
    internal const int WriteOnly = 1;
    internal const int Create = 0x40;
    internal const int Exclusive = 0x80;
    internal const int CloseOnExec = 0x80000;

    private const string Library = "libc";
    private const int CurrentFolder = -100;
    private const uint NoReplace = 1;

    /// <summary>What statx tells of a file.</summary>
    internal readonly record struct Status(bool IsRegular, long Size, DateTimeOffset Modified);

    /// <summary>Opens a file or a folder; on failure the handle is null.</summary>
    internal static int Open(string path, int flags, out SafeFileHandle? handle, int mode = 0)
    {
        int descriptor;
        int error;
        do
        {
            descriptor = OpenFile(path, flags | CloseOnExec, mode);
            error = descriptor >= 0 ? 0 : Marshal.GetLastPInvokeError();
        }
        while (error == EINTR);
        handle = error == 0 ? new SafeFileHandle(descriptor, ownsHandle: true) : null;
        return error;
    }

    /// <summary>Reads until <paramref name="destination"/> is full or the file ends.</summary>
    internal static int Read(SafeFileHandle file, Span<byte> destination, long offset, out int count)
    {
        count = 0;
        fixed (byte* start = destination)
        {
            while (count < destination.Length)
            {
                nint result = ReadAt(file, start + count, (nuint)(destination.Length - count), offset + count);
                if (result > 0)
                {
                    count += (int)result;
                }
                else if (result == 0)
                {
                    return 0;
                }
                else if (Marshal.GetLastPInvokeError() != EINTR)
                {
                    return Marshal.GetLastPInvokeError();
                }
            }
        }

        return 0;
    }

    /// <summary>Writes all of <paramref name="bytes"/>.</summary>
    internal static int Write(SafeFileHandle file, ReadOnlySpan<byte> bytes, long offset)
    {
        fixed (byte* start = bytes)
        {
            for (int done = 0; done < bytes.Length;)
            {
                nint result = WriteAt(file, start + done, (nuint)(bytes.Length - done), offset + done);
                if (result >= 0)
                {
                    done += (int)result;
                }
                else if (Marshal.GetLastPInvokeError() != EINTR)
                {
                    return Marshal.GetLastPInvokeError();
                }
            }
        }

        return 0;
    }

    /// <summary>Makes a file's content durable, or the names in a folder.</summary>
    internal static int Sync(SafeFileHandle file)
    {
        int error;
        do
        {
            error = Error(SyncFile(file));
        }
        while (error == EINTR);
        return error;
    }

    /// <summary>Renames, unless the new name is taken. <c>ENOSYS</c> also where the C library has no such call.</summary>
    internal static int RenameNoReplace(string from, string to)
    {
        try
        {
            return Error(Rename2(CurrentFolder, from, CurrentFolder, to, NoReplace));
        }
        catch (EntryPointNotFoundException)
        {
            return ENOSYS;
        }
    }

    internal static int Rename(string from, string to) => Error(RenameFile(from, to));

    internal static int Link(string from, string to) => Error(LinkFile(from, to));

    internal static int Unlink(string path) => Error(UnlinkFile(path));

    internal static int MakeFolder(string path, uint mode) => Error(MakeDirectory(path, mode));

    internal static int SetMode(SafeFileHandle file, uint mode) => Error(ChangeMode(file, mode));

    internal static int Stat(string path, out Status status)
    {
        // struct statx is the same on every architecture: mode at 28, size at 40, time of modification at 112.
        byte* buffer = stackalloc byte[256];
        const uint TypeModeSizeAndTime = 0x1 | 0x2 | 0x40 | 0x200;
        int error = Error(StatX(CurrentFolder, path, 0, TypeModeSizeAndTime, buffer));
        status = default;
        if (error == 0)
        {
            long ticks = (*(uint*)(buffer + 120) / 100) + (*(long*)(buffer + 112) * TimeSpan.TicksPerSecond);
            long maximum = DateTimeOffset.MaxValue.Ticks - DateTimeOffset.UnixEpoch.Ticks;
            bool isSane = *(long*)(buffer + 112) is >= 0 and < 253_402_300_800;
            DateTimeOffset modified = DateTimeOffset.UnixEpoch.AddTicks(isSane ? Math.Min(ticks, maximum) : 0);
            status = new Status((*(ushort*)(buffer + 28) & 0xF000) == 0x8000, *(long*)(buffer + 40), modified);
        }

        return error;
    }

    /// <summary>The magic number of the file system that <paramref name="path"/> is on, or 0 when it cannot be told.</summary>
    internal static uint FileSystemType(string path)
    {
        // struct statfs begins with the type; 256 bytes are more than any architecture's.
        byte* buffer = stackalloc byte[256];
        return StatFs(path, buffer) == 0 ? *(uint*)buffer : 0;
    }

    private static int Error(int result) => result == 0 ? 0 : Marshal.GetLastPInvokeError();

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenFile(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "pread", SetLastError = true)]
    private static partial nint ReadAt(SafeFileHandle file, byte* buffer, nuint count, long offset);

    [LibraryImport(Library, EntryPoint = "pwrite", SetLastError = true)]
    private static partial nint WriteAt(SafeFileHandle file, byte* buffer, nuint count, long offset);

    [LibraryImport(Library, EntryPoint = "fsync", SetLastError = true)]
    private static partial int SyncFile(SafeFileHandle file);

    [LibraryImport(Library, EntryPoint = "fchmod", SetLastError = true)]
    private static partial int ChangeMode(SafeFileHandle file, uint mode);

    [LibraryImport(Library, EntryPoint = "renameat2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Rename2(int fromFolder, string from, int toFolder, string to, uint flags);

    [LibraryImport(Library, EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameFile(string from, string to);

    [LibraryImport(Library, EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LinkFile(string from, string to);

    [LibraryImport(Library, EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnlinkFile(string path);

    [LibraryImport(Library, EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeDirectory(string path, uint mode);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatX(int folder, string path, int flags, uint mask, byte* buffer);

    [LibraryImport(Library, EntryPoint = "statfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatFs(string path, byte* buffer);
}
