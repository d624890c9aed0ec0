using System.Runtime.InteropServices;

namespace BackupIQ.Primitives;

/// <summary>Small files that must outlive a power cut: keys, keystores.</summary>
public static partial class DurableFile
{
    private const int CloseOnExec = 0x80000;
    private const int EINVAL = 22;
    private const int ENOTSUP = 95;

    /// <summary>
    /// Puts a file with these bytes, readable for its owner alone, in the place of <paramref name="path"/>: written beside it, synced, renamed
    /// over it, the folder synced. Whoever opens the path at any moment, after a crash too, finds the old bytes or the new ones. Two who do this
    /// at once must be kept apart by the caller.
    /// </summary>
    /// <exception cref="IOException">It cannot be written; what was there is unchanged.</exception>
    /// <exception cref="UnauthorizedAccessException">Likewise.</exception>
    public static void Replace(string path, ReadOnlySpan<byte> bytes)
    {
        string temporary = path + ".new";
        File.Delete(temporary);
        using (FileStream file = OpenPrivate(temporary, FileMode.CreateNew, FileShare.None))
        {
            file.Write(bytes);
            file.Flush(flushToDisk: true);
        }

        File.Move(temporary, path, overwrite: true);
        SyncFolder(Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/");
    }

    /// <summary>Opens a file for reading and writing, unbuffered; one that is made is readable for its owner alone.</summary>
    public static FileStream OpenPrivate(string path, FileMode mode, FileShare share)
    {
        FileStreamOptions options = new() { Mode = mode, Access = FileAccess.ReadWrite, Share = share, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return new FileStream(path, options);
    }

    /// <summary>Makes durable which names a folder has; .NET opens no folders.</summary>
    /// <exception cref="IOException">It failed.</exception>
    public static void SyncFolder(string folder)
    {
        int descriptor = OpenFolder(folder, CloseOnExec);
        int error = descriptor < 0 ? Marshal.GetLastPInvokeError() : 0;
        if (error == 0)
        {
            error = Sync(descriptor) < 0 ? Marshal.GetLastPInvokeError() : 0;
            _ = CloseFolder(descriptor);
        }

        // A folder that may be entered and not read, or of a network file system, cannot be synced by us.
        if (error is not (0 or EINVAL or ENOTSUP) && descriptor >= 0)
        {
            throw new IOException($"{folder}: {Marshal.GetPInvokeErrorMessage(error)}");
        }
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenFolder(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int CloseFolder(int descriptor);
}
