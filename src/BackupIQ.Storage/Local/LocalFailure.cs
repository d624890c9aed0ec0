using System.Runtime.InteropServices;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Local;

/// <summary>Says what a system's error number means to somebody who backs up.</summary>
internal static class LocalFailure
{
    /// <summary>The failure of doing <paramref name="what"/>, such as "The object s/1 could not be written".</summary>
    internal static StorageException For(int error, string what, string path)
    {
        string reason = Marshal.GetPInvokeErrorMessage(error);
        (ErrorCode code, string? guidance) = error switch
        {
            Libc.ENOSPC or Libc.EDQUOT => (ErrorCodes.StorageFull, null),
            Libc.EACCES or Libc.EPERM => (ErrorCodes.StorageAuthentication, "Check who owns the repository's folder and its permissions."),
            Libc.EROFS => (ErrorCodes.StorageAuthentication, "The file system is mounted read-only; mount it for writing."),
            Libc.EMFILE or Libc.ENFILE or Libc.ENOMEM => (ErrorCodes.Resource, null),
            Libc.ETIMEDOUT => (ErrorCodes.StorageTimeout, null),
            Libc.ENXIO or Libc.ENODEV or Libc.ENOTCONN or Libc.EHOSTDOWN or Libc.EHOSTUNREACH or Libc.ENETUNREACH or Libc.ESTALE =>
                (ErrorCodes.StorageConnection, null),
            Libc.EIO => (ErrorCodes.Storage, "The disk may be failing: look at the kernel's log (dmesg) and at smartctl."),
            Libc.EXDEV => (ErrorCodes.Storage, "A repository must lie on one file system: check for mounts and links inside its folder."),
            _ => (ErrorCodes.Storage, (string?)null),
        };
        StorageException failure = new(code, $"{what}: {reason}.", guidance);
        failure.With("path", path).With("errno", error.ToString(System.Globalization.CultureInfo.InvariantCulture));
        return failure;
    }

    /// <summary>The storage's folder is not there: most likely its disk is not mounted.</summary>
    internal static StorageException NoRoot(string root)
    {
        StorageException failure = new(
            ErrorCodes.StorageConnection, "The storage's folder is not there.", "Check that its disk is mounted, and the path.");
        failure.With("path", root);
        return failure;
    }
}
