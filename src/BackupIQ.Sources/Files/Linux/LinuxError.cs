using System.Runtime.InteropServices;
using BackupIQ.Engine.Backup;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>What an error number means to people and to a backup.</summary>
internal static class LinuxError
{
    /// <summary>The system's words for it, such as "Permission denied".</summary>
    internal static string Describe(int errno) => errno switch
    {
        Errno.Stale => "it was replaced by something else",
        _ => Marshal.GetPInvokeErrorMessage(errno),
    };

    /// <summary>
    /// What a backup reports of an item: <see cref="ErrorCodes.SourceNotFound"/> when it vanished, <see cref="ErrorCodes.SourceChanged"/>
    /// when it became something else, otherwise <see cref="ErrorCodes.SourceUnreadable"/>.
    /// </summary>
    /// <param name="errno">The error number (positive).</param>
    /// <param name="path">The item's path.</param>
    /// <param name="action">What was tried, as in "open".</param>
    internal static SourceItemException ToItemException(int errno, byte[] path, string action) => new(
        errno switch
        {
            Errno.NoEntry => ErrorCodes.SourceNotFound,
            Errno.Stale or Errno.Loop or Errno.NotDirectory or Errno.NoDevice => ErrorCodes.SourceChanged,
            _ => ErrorCodes.SourceUnreadable,
        },
        path,
        $"cannot {action}: {Describe(errno)}");
}
