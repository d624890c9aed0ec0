using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Sessions;

/// <summary>Says what a failed write to an open pack means: mostly that the disk is full.</summary>
internal static class SpoolFault
{
    private const int NoSpace = 28;
    private const int QuotaExceeded = 122;

    public static StorageException Translate(Exception e, string path)
    {
        int errno = e.HResult & 0xFFFF;
        bool full = errno is NoSpace or QuotaExceeded || e.Message.Contains("No space left", StringComparison.Ordinal);
        ErrorCode code = full ? ErrorCodes.StorageFull : e is UnauthorizedAccessException ? ErrorCodes.StorageAuthentication : ErrorCodes.Storage;
        string message = full ? "There is no space left where packs are written." : "A pack could not be written.";
        StorageException failure = new(code, message, null, e);
        failure.With("path", path);
        return failure;
    }
}
