using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>
/// System calls on an open folder and a name of bytes. Every call answers with its result, or with the error number negated
/// (<see cref="Errno"/>); none throws for what the system says. Names are given without a terminating zero; one with a zero inside is
/// answered with -<see cref="Errno.Invalid"/>. Interrupted calls are made again. Nothing here follows a symbolic link in the last
/// component unless it says so.
/// </summary>
internal static unsafe class Syscalls
{
    /// <summary>Room for names on the stack; longer ones (link targets, whole paths) come from a pool.</summary>
    private const int StackName = 512;

    private static int LastError => -Marshal.GetLastPInvokeError();

    /// <summary>openat(2) with O_CLOEXEC added: a descriptor, which the caller owns.</summary>
    internal static int OpenAt(int folder, ReadOnlySpan<byte> name, int flags, uint mode = 0)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        if (!buffer.IsValid)
        {
            return -Errno.Invalid;
        }

        fixed (byte* pointer = buffer.Bytes)
        {
            int result;
            do
            {
                result = LibC.OpenAt(folder, pointer, flags | OpenFlags.CloseOnExec, mode);
            }
            while (result < 0 && LastError == -Errno.Interrupted);

            return result < 0 ? LastError : result;
        }
    }

    /// <summary>
    /// Opens <paramref name="path"/> (relative, of several components) below <paramref name="folder"/> without ever leaving it or
    /// following a symbolic link: openat2(2), or component by component where the kernel (before 5.6) or a sandbox has none.
    /// </summary>
    internal static int OpenBeneath(int folder, ReadOnlySpan<byte> path, int flags, uint mode = 0)
    {
        using (NameBuffer buffer = new(path, stackalloc byte[StackName]))
        {
            if (!buffer.IsValid || path.IsEmpty || path[0] == (byte)'/')
            {
                return -Errno.Invalid;
            }

            fixed (byte* pointer = buffer.Bytes)
            {
                OpenHow how = new()
                {
                    Flags = (uint)(flags | OpenFlags.CloseOnExec | OpenFlags.NoFollow),
                    Mode = mode,
                    Resolve = AtFlags.ResolveBeneath | AtFlags.ResolveNoSymlinks | AtFlags.ResolveNoMagicLinks,
                };
                long result;
                do
                {
                    result = LibC.Syscall(SyscallNumbers.OpenAt2, folder, (long)pointer, (long)&how, sizeof(OpenHow), 0);
                }
                while (result < 0 && LastError is -Errno.Interrupted or -Errno.TryAgain);

                if (result >= 0)
                {
                    return (int)result;
                }

                // Old sandboxes answer EPERM for calls that they do not know.
                if (LastError is not (-Errno.NoSyscall or -Errno.NotPermitted))
                {
                    return LastError;
                }
            }
        }

        return OpenByComponents(folder, path, flags, mode);
    }

    /// <summary>What <see cref="OpenBeneath"/> does without openat2. Refuses <c>..</c>.</summary>
    internal static int OpenByComponents(int folder, ReadOnlySpan<byte> path, int flags, uint mode)
    {
        int current = folder;
        while (true)
        {
            int slash = path.IndexOf((byte)'/');
            ReadOnlySpan<byte> name = slash < 0 ? path : path[..slash];
            path = slash < 0 ? default : path[(slash + 1)..].TrimStart((byte)'/');
            bool last = path.IsEmpty;
            int next = name.SequenceEqual(".."u8)
                ? -Errno.CrossDevice
                : OpenAt(current, name, last ? flags | OpenFlags.NoFollow : OpenFlags.PathOnly | OpenFlags.Directory | OpenFlags.NoFollow, mode);
            if (current != folder)
            {
                _ = LibC.Close(current);
            }

            if (last || next < 0)
            {
                return next;
            }

            current = next;
        }
    }

    /// <summary>Closes a descriptor.</summary>
    internal static int Close(int descriptor) => LibC.Close(descriptor) < 0 ? LastError : 0;

    /// <summary>lstat of a name in a folder. Does not start an automount.</summary>
    internal static int Stat(int folder, ReadOnlySpan<byte> name, out StatX stat)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        stat = default;
        if (!buffer.IsValid)
        {
            return -Errno.Invalid;
        }

        fixed (byte* pointer = buffer.Bytes)
        {
            return StatTerminated(folder, pointer, out stat);
        }
    }

    /// <summary><see cref="Stat"/> for a name that ends with a zero: the walk's fast way.</summary>
    internal static int StatTerminated(int folder, byte* name, out StatX stat)
    {
        fixed (StatX* result = &stat)
        {
            return LibC.StatX(folder, name, AtFlags.SymlinkNoFollow | AtFlags.NoAutomount, Linux.StatX.Wanted, result) < 0 ? LastError : 0;
        }
    }

    /// <summary>fstat; the descriptor may be of any kind, also O_PATH.</summary>
    internal static int StatDescriptor(int descriptor, out StatX stat)
    {
        byte empty = 0;
        fixed (StatX* result = &stat)
        {
            return LibC.StatX(descriptor, &empty, AtFlags.EmptyPath, Linux.StatX.Wanted, result) < 0 ? LastError : 0;
        }
    }

    /// <summary>What the file system of an open file says of itself.</summary>
    internal static int StatFileSystem(int descriptor, out StatFs stat)
    {
        fixed (StatFs* result = &stat)
        {
            return LibC.FStatFs(descriptor, result) < 0 ? LastError : 0;
        }
    }

    /// <summary>Fills <paramref name="buffer"/> with entries of an open folder (getdents64); the bytes filled, 0 at the end.</summary>
    internal static int ReadDirectory(int folder, byte* buffer, int length)
    {
        long result = LibC.Syscall(SyscallNumbers.GetDents64, folder, (long)buffer, length, 0, 0);
        return result < 0 ? LastError : (int)result;
    }

    /// <summary>The target of a symbolic link.</summary>
    internal static int ReadLink(int folder, ReadOnlySpan<byte> name, out byte[] target)
    {
        target = [];
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        if (!buffer.IsValid)
        {
            return -Errno.Invalid;
        }

        // PATH_MAX bounds targets on most file systems; not on all, so grow when it is full.
        for (int size = 4096; ; size *= 4)
        {
            byte[] rented = ArrayPool<byte>.Shared.Rent(size);
            try
            {
                fixed (byte* pointer = buffer.Bytes, output = rented)
                {
                    nint read = LibC.ReadLinkAt(folder, pointer, output, (nuint)rented.Length);
                    if (read < 0)
                    {
                        return LastError;
                    }

                    if (read < rented.Length || size >= 1 << 20)
                    {
                        target = rented.AsSpan(0, (int)read).ToArray();
                        return (int)read;
                    }
                }
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(rented);
            }
        }
    }

    /// <summary>mkdirat(2).</summary>
    internal static int MakeDirectory(int folder, ReadOnlySpan<byte> name, uint mode)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        fixed (byte* pointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid : LibC.MkDirAt(folder, pointer, mode) < 0 ? LastError : 0;
        }
    }

    /// <summary>mknodat(2): a device, fifo or socket. <paramref name="mode"/> has the type bits (<see cref="FileModes"/>).</summary>
    internal static int MakeNode(int folder, ReadOnlySpan<byte> name, uint mode, uint major = 0, uint minor = 0)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        if (!buffer.IsValid || major > 0xfff || minor > 0xfffff)
        {
            return -Errno.Invalid;
        }

        // The kernel's own encoding (new_encode_dev): 12 bits of major, 20 of minor.
        uint device = (minor & 0xff) | (major << 8) | ((minor & ~0xffu) << 12);
        fixed (byte* pointer = buffer.Bytes)
        {
            return LibC.Syscall(SyscallNumbers.MkNodAt, folder, (long)pointer, mode, device, 0) < 0 ? LastError : 0;
        }
    }

    /// <summary>symlinkat(2).</summary>
    internal static int MakeSymbolicLink(ReadOnlySpan<byte> target, int folder, ReadOnlySpan<byte> name)
    {
        using NameBuffer targetBuffer = new(target, stackalloc byte[StackName]);
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        fixed (byte* targetPointer = targetBuffer.Bytes, pointer = buffer.Bytes)
        {
            return !buffer.IsValid || !targetBuffer.IsValid ? -Errno.Invalid
                : LibC.SymlinkAt(targetPointer, folder, pointer) < 0 ? LastError : 0;
        }
    }

    /// <summary>linkat(2): another name for what <paramref name="oldName"/> is; a symbolic link is linked itself.</summary>
    internal static int MakeHardLink(int oldFolder, ReadOnlySpan<byte> oldName, int newFolder, ReadOnlySpan<byte> newName)
    {
        using NameBuffer oldBuffer = new(oldName, stackalloc byte[StackName]);
        using NameBuffer newBuffer = new(newName, stackalloc byte[StackName]);
        fixed (byte* oldPointer = oldBuffer.Bytes, newPointer = newBuffer.Bytes)
        {
            return !oldBuffer.IsValid || !newBuffer.IsValid ? -Errno.Invalid
                : LibC.LinkAt(oldFolder, oldPointer, newFolder, newPointer, 0) < 0 ? LastError : 0;
        }
    }

    /// <summary>unlinkat(2); an (empty) folder with <paramref name="isDirectory"/>.</summary>
    internal static int Unlink(int folder, ReadOnlySpan<byte> name, bool isDirectory = false)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        fixed (byte* pointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid
                : LibC.UnlinkAt(folder, pointer, isDirectory ? AtFlags.RemoveDirectory : 0) < 0 ? LastError : 0;
        }
    }

    /// <summary>renameat(2): replaces what is there.</summary>
    internal static int Rename(int oldFolder, ReadOnlySpan<byte> oldName, int newFolder, ReadOnlySpan<byte> newName)
    {
        using NameBuffer oldBuffer = new(oldName, stackalloc byte[StackName]);
        using NameBuffer newBuffer = new(newName, stackalloc byte[StackName]);
        fixed (byte* oldPointer = oldBuffer.Bytes, newPointer = newBuffer.Bytes)
        {
            return !oldBuffer.IsValid || !newBuffer.IsValid ? -Errno.Invalid
                : LibC.RenameAt(oldFolder, oldPointer, newFolder, newPointer) < 0 ? LastError : 0;
        }
    }

    /// <summary>fchmod(2): permission bits with setuid, setgid and sticky.</summary>
    internal static int ChangeMode(int descriptor, uint mode) => LibC.FChMod(descriptor, mode) < 0 ? LastError : 0;

    /// <summary>chmod of a name; a symbolic link is not followed (and answers -<see cref="Errno.NotSupported"/>).</summary>
    internal static int ChangeMode(int folder, ReadOnlySpan<byte> name, uint mode)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        fixed (byte* pointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid
                : LibC.FChModAt(folder, pointer, mode, AtFlags.SymlinkNoFollow) < 0 ? LastError : 0;
        }
    }

    /// <summary>fchown(2). Clears setuid, setgid and capabilities: change the owner first.</summary>
    internal static int ChangeOwner(int descriptor, uint user, uint group) => LibC.FChOwn(descriptor, user, group) < 0 ? LastError : 0;

    /// <summary>lchown of a name.</summary>
    internal static int ChangeOwner(int folder, ReadOnlySpan<byte> name, uint user, uint group)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        fixed (byte* pointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid
                : LibC.FChOwnAt(folder, pointer, user, group, AtFlags.SymlinkNoFollow) < 0 ? LastError : 0;
        }
    }

    /// <summary>Sets the modification time (and the access time to the same) of a name, also of a symbolic link.</summary>
    internal static int SetModified(int folder, ReadOnlySpan<byte> name, long seconds, uint nanoseconds)
    {
        using NameBuffer buffer = new(name, stackalloc byte[StackName]);
        TimeSpec time = new() { Seconds = seconds, Nanoseconds = nanoseconds };
        TimeSpec* times = stackalloc TimeSpec[2] { time, time };
        fixed (byte* pointer = buffer.Bytes)
        {
            return !buffer.IsValid ? -Errno.Invalid
                : LibC.UTimeNsAt(folder, pointer, times, AtFlags.SymlinkNoFollow) < 0 ? LastError : 0;
        }
    }

    /// <summary>Sets the modification time (and the access time to the same) of an open file.</summary>
    internal static int SetModified(int descriptor, long seconds, uint nanoseconds)
    {
        TimeSpec time = new() { Seconds = seconds, Nanoseconds = nanoseconds };
        TimeSpec* times = stackalloc TimeSpec[2] { time, time };
        return LibC.FUTimeNs(descriptor, times) < 0 ? LastError : 0;
    }

    /// <summary>pread(2) until <paramref name="destination"/> is full or the file ends; the bytes read.</summary>
    internal static int Read(int descriptor, Span<byte> destination, long offset)
    {
        int total = 0;
        fixed (byte* pointer = destination)
        {
            while (total < destination.Length)
            {
                nint read = LibC.PRead(descriptor, pointer + total, (nuint)(destination.Length - total), offset + total);
                if (read == 0)
                {
                    break;
                }

                if (read > 0)
                {
                    total += (int)read;
                }
                else if (LastError != -Errno.Interrupted)
                {
                    return LastError;
                }
            }
        }

        return total;
    }

    /// <summary>pwrite(2) until all of <paramref name="source"/> is written; 0.</summary>
    internal static int Write(int descriptor, ReadOnlySpan<byte> source, long offset)
    {
        int total = 0;
        fixed (byte* pointer = source)
        {
            while (total < source.Length)
            {
                nint written = LibC.PWrite(descriptor, pointer + total, (nuint)(source.Length - total), offset + total);
                if (written >= 0)
                {
                    total += (int)written;
                }
                else if (LastError != -Errno.Interrupted)
                {
                    return LastError;
                }
            }
        }

        return 0;
    }

    /// <summary>The next data at or after <paramref name="offset"/>; -<see cref="Errno.NoDevice"/> (ENXIO) when there is none.</summary>
    internal static long SeekData(int descriptor, long offset)
    {
        long result = LibC.LSeek(descriptor, offset, AtFlags.SeekData);
        return result < 0 ? LastError : result;
    }

    /// <summary>The next hole at or after <paramref name="offset"/>; the end of the file counts as one.</summary>
    internal static long SeekHole(int descriptor, long offset)
    {
        long result = LibC.LSeek(descriptor, offset, AtFlags.SeekHole);
        return result < 0 ? LastError : result;
    }

    /// <summary>ftruncate(2).</summary>
    internal static int SetLength(int descriptor, long length) => LibC.FTruncate(descriptor, length) < 0 ? LastError : 0;

    /// <summary>fallocate(2).</summary>
    internal static int Allocate(int descriptor, int mode, long offset, long length) =>
        LibC.FAllocate(descriptor, mode, offset, length) < 0 ? LastError : 0;

    /// <summary>fsync(2).</summary>
    internal static int Sync(int descriptor) => LibC.FSync(descriptor) < 0 ? LastError : 0;

    /// <summary>syncfs(2): everything on the file system of an open file is durable afterwards.</summary>
    internal static int SyncFileSystem(int descriptor) => LibC.SyncFs(descriptor) < 0 ? LastError : 0;

    /// <summary>posix_fadvise(2) with <see cref="AtFlags"/>.Advice….</summary>
    internal static int Advise(int descriptor, long offset, long length, int advice) =>
        -LibC.PosixFAdvise(descriptor, offset, length, advice);

    /// <summary>Raises the number of files that this process may have open to what the system permits; the number.</summary>
    internal static long RaiseOpenFileLimit()
    {
        ResourceLimit limit;
        if (LibC.GetRLimit(AtFlags.ResourceNoFile, &limit) < 0)
        {
            return LastError;
        }

        if (limit.Current < limit.Maximum)
        {
            ResourceLimit raised = new() { Current = limit.Maximum, Maximum = limit.Maximum };
            if (LibC.SetRLimit(AtFlags.ResourceNoFile, &raised) == 0)
            {
                limit = raised;
            }
        }

        return (long)Math.Min(limit.Current, long.MaxValue);
    }

    /// <summary>The working folder's path.</summary>
    internal static int WorkingFolder(out byte[] path)
    {
        path = [];
        for (int size = 4096; ; size *= 4)
        {
            byte[] buffer = new byte[size];
            fixed (byte* pointer = buffer)
            {
                if (LibC.GetCwd(pointer, (nuint)size) != null)
                {
                    path = buffer[..buffer.AsSpan().IndexOf((byte)0)];
                    return path.Length;
                }
            }

            if (LastError != -Errno.Range || size > 1 << 22)
            {
                return LastError;
            }
        }
    }

    /// <summary>Writes <c>/proc/self/fd/N/NAME</c> with a zero; the way to calls that know only paths. The length, zero included.</summary>
    internal static int ProcPath(int folder, ReadOnlySpan<byte> name, Span<byte> destination)
    {
        ReadOnlySpan<byte> prefix = "/proc/self/fd/"u8;
        prefix.CopyTo(destination);
        _ = Utf8Formatter.TryFormat(folder, destination[prefix.Length..], out int digits);
        int length = prefix.Length + digits;
        destination[length++] = (byte)'/';
        name.CopyTo(destination[length..]);
        length += name.Length;
        destination[length++] = 0;
        return length;
    }

    /// <summary>A name with its terminating zero, on the stack when it is short.</summary>
    internal ref struct NameBuffer : IDisposable
    {
        private byte[]? _rented;

        internal NameBuffer(ReadOnlySpan<byte> name, Span<byte> stack)
        {
            IsValid = !name.Contains((byte)0);
            Span<byte> bytes = name.Length < stack.Length ? stack : _rented = ArrayPool<byte>.Shared.Rent(name.Length + 1);
            name.CopyTo(bytes);
            bytes[name.Length] = 0;
            Bytes = bytes;
        }

        /// <summary>Whether there is no zero inside.</summary>
        internal bool IsValid { get; }

        /// <summary>The name and a zero.</summary>
        internal ReadOnlySpan<byte> Bytes { get; }

        public void Dispose()
        {
            if (_rented is not null)
            {
                ArrayPool<byte>.Shared.Return(_rented);
                _rented = null;
            }
        }
    }
}
