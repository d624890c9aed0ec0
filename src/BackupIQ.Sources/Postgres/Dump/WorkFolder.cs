using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>
/// A folder for what lies on the disk for a while, for its owner alone. It is removed with this; that of a process which was killed is removed by the next one that
/// works beside it.
/// </summary>
public sealed class WorkFolder : IDisposable
{
    private const string Prefix = "backupiq-pgdump-";
    private const string LockName = "lock";

    private readonly FileStream _lock;

    private WorkFolder(string path, FileStream @lock)
    {
        Folder = path;
        _lock = @lock;
    }

    /// <summary>Its path.</summary>
    public string Folder { get; }

    /// <summary>Makes one in <paramref name="place"/>.</summary>
    /// <exception cref="BackupIQException"><c>Resource</c>: it cannot be made there.</exception>
    public static WorkFolder Create(string place)
    {
        try
        {
            Sweep(place);
            string path = Path.Combine(Path.GetFullPath(place), $"{Prefix}{Guid.NewGuid():n}");

            // Nobody takes it for one of a dead process before its lock is held.
            string beginning = path + ".new";
            MakePrivate(beginning);
            FileStream held = DurableFile.OpenPrivate(Path.Combine(beginning, LockName), FileMode.CreateNew, FileShare.None);
            Directory.Move(beginning, path);
            return new WorkFolder(path, held);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Resource, $"No folder can be made for what lies on the disk meanwhile: {e.Message}", "Name another place with --work DIR.", e).With("path", place);
        }
    }

    /// <summary>An empty folder in it.</summary>
    public string Make(string name) => MakePrivate(Path.Combine(Folder, name));

    /// <summary>Whether a part of a file can be given back to the disk while the rest is in use.</summary>
    public bool CanGiveBack()
    {
        string path = Path.Combine(Folder, "probe");
        using FileStream probe = DurableFile.OpenPrivate(path, FileMode.CreateNew, FileShare.None);
        probe.Write(new byte[64 << 10]);
        probe.Flush();
        bool can = Syscalls.Allocate((int)probe.SafeFileHandle.DangerousGetHandle(), AtFlags.FallocateKeepSize | AtFlags.FallocatePunchHole, 0, 32 << 10) == 0;
        File.Delete(path);
        return can;
    }

    /// <summary>There must be so much room.</summary>
    /// <exception cref="BackupIQException"><c>Resource</c>: there is not.</exception>
    public void Require(long bytes, string what)
    {
        long free = new DriveInfo(Folder).AvailableFreeSpace;
        if (free < bytes)
        {
            throw new BackupIQException(
                ErrorCodes.Resource, $"{what} needs {bytes >> 20} MiB of room for a while, and {free >> 20} MiB are free", "Name a place with more with --work DIR.").With("path", Path.GetDirectoryName(Folder)!);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Directory.Delete(Folder, recursive: true);
        _lock.Dispose();
    }

    private static string MakePrivate(string path)
    {
        int error = Syscalls.MakeDirectory(AtFlags.WorkingFolder, Encoding.UTF8.GetBytes(path), 0x1c0);
        return error == 0 ? path : throw new IOException(LinuxError.Describe(-error));
    }

    private static void Sweep(string place)
    {
        foreach (string folder in Directory.EnumerateDirectories(place, Prefix + "*"))
        {
            if (folder.EndsWith(".new", StringComparison.Ordinal))
            {
                continue;
            }

            try
            {
                // Who held it may have been killed when it had removed the lock itself already.
                string path = Path.Combine(folder, LockName);
                using FileStream? held = File.Exists(path) ? new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None) : null;
                Directory.Delete(folder, recursive: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Its owner lives, or it is another user's.
            }
        }
    }
}
