using BackupIQ.Primitives;

namespace BackupIQ.Repository;

/// <summary>Something that was read from a repository is not what was written: the message says what and where.</summary>
public class CorruptDataException(string message, Exception? inner = null) : BackupIQException(ErrorCodes.CorruptData, message, null, inner);
