using BackupIQ.Primitives;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// One item of a source could not be read, or changed while it was. The run goes on without it and ends with warnings (exit code 3).
/// </summary>
/// <param name="code"><see cref="ErrorCodes.SourceUnreadable"/>, <see cref="ErrorCodes.SourceChanged"/> or <see cref="ErrorCodes.SourceNotFound"/> (vanished).</param>
/// <param name="path">The item's path, as bytes.</param>
/// <param name="message">What failed, without the path.</param>
public sealed class SourceItemException(ErrorCode code, byte[] path, string message, Exception? inner = null)
    : BackupIQException(code, message, null, inner)
{
    /// <summary>The item's path as bytes.</summary>
    public byte[] Path { get; } = path;
}
