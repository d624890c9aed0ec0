using BackupIQ.Primitives;

namespace BackupIQ.Storage;

/// <summary>A storage could not do what was asked.</summary>
public sealed class StorageException(ErrorCode code, string message, string? guidance = null, Exception? inner = null)
    : BackupIQException(code, message, guidance, inner);
