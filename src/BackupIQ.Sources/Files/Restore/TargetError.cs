using BackupIQ.Engine.Restore;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Files.Restore;

/// <summary>What an error number means to a restore.</summary>
internal static class TargetError
{
    /// <summary>STATX_ATTR_IMMUTABLE and STATX_ATTR_APPEND.</summary>
    private const ulong Immutable = 0x10 | 0x20;

    /// <summary>Refuses a name that could lead out of its directory.</summary>
    internal static void CheckName(ReadOnlySpan<byte> name)
    {
        if (name.IsEmpty || name.SequenceEqual("."u8) || name.SequenceEqual(".."u8) || name.ContainsAny((byte)'/', (byte)0))
        {
            throw new RestoreItemException(ErrorCodes.HostileName, "its name would lead out of the target; it was refused");
        }
    }

    /// <summary>The failure of <paramref name="action"/> ("make the file") by error number <paramref name="errno"/>.</summary>
    /// <param name="errno">The error number (positive).</param>
    /// <param name="action">What was tried.</param>
    /// <param name="folder">The open folder in which it was tried, for a closer look; -1 for none.</param>
    /// <param name="name">The entry that was there already, for a closer look.</param>
    internal static RestoreItemException From(int errno, string action, int folder = -1, ReadOnlySpan<byte> name = default) => errno switch
    {
        Errno.NoSpace or Errno.Quota => new RestoreItemException(
            ErrorCodes.Restore,
            errno == Errno.Quota ? "The quota on the target is used up." : "No space is left on the target.",
            "Make space on the target and run the same restore again: what is there already is found and kept.") { EndsRun = true },
        Errno.ReadOnlyFileSystem => new RestoreItemException(
            ErrorCodes.Restore, "The target's file system is read-only.", "Mount it for writing, or choose another target.") { EndsRun = true },
        Errno.TooManyOpen or Errno.TooManyOpenInSystem or Errno.NoMemory => new RestoreItemException(
            ErrorCodes.Resource, $"Cannot {action}: {LinuxError.Describe(errno)}.") { EndsRun = true },
        Errno.Exists => new RestoreItemException(ErrorCodes.RestoreTarget, $"cannot {action}: something appeared in its place meanwhile"),
        Errno.Loop or Errno.NotDirectory => new RestoreItemException(
            ErrorCodes.RestoreTarget, $"cannot {action}: a symbolic link or a file stands in its place, and links are not followed"),
        Errno.Stale => new RestoreItemException(ErrorCodes.RestoreTarget, $"cannot {action}: another process put something else in its place"),
        Errno.NotEmpty => new RestoreItemException(
            ErrorCodes.RestoreTarget,
            "a directory that is not empty stands where the snapshot has something else",
            "Give --delete to have it removed, or move it away."),
        Errno.NotPermitted when IsImmutable(folder, name) => new RestoreItemException(
            ErrorCodes.RestoreTarget, $"cannot {action}: it, or its directory, is marked immutable or append-only", "Take the mark off with chattr -i -a."),
        _ => new RestoreItemException(ErrorCodes.Restore, $"cannot {action}: {LinuxError.Describe(errno)}"),
    };

    private static bool IsImmutable(int folder, ReadOnlySpan<byte> name)
    {
        if (folder < 0)
        {
            return false;
        }

        return (Syscalls.StatDescriptor(folder, out StatX stat) == 0 && (stat.Attributes & Immutable) != 0) ||
            (!name.IsEmpty && Syscalls.Stat(folder, name, out stat) == 0 && (stat.Attributes & Immutable) != 0);
    }
}
