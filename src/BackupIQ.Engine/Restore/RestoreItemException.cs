using BackupIQ.Primitives;

namespace BackupIQ.Engine.Restore;

/// <summary>One entry could not be restored. The run goes on without it, unless <see cref="EndsRun"/>.</summary>
/// <param name="code">What kind of failure.</param>
/// <param name="message">What failed, without the path, which the engine knows.</param>
public sealed class RestoreItemException(ErrorCode code, string message, string? guidance = null, Exception? inner = null)
    : BackupIQException(code, message, guidance, inner)
{
    /// <summary>Every further entry would fail likewise: no space, a read-only file system, no file descriptors.</summary>
    public bool EndsRun { get; init; }
}
