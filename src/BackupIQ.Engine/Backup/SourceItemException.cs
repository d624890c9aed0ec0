using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// One item of a source could not be read, or changed while it was. The run goes on without it and ends with warnings (exit code 3).
/// </summary>
public sealed class SourceItemException : BackupIQException
{
    /// <summary>Says which item, and what failed.</summary>
    /// <param name="code"><see cref="ErrorCodes.SourceUnreadable"/>, <see cref="ErrorCodes.SourceChanged"/> or <see cref="ErrorCodes.SourceNotFound"/> (vanished).</param>
    /// <param name="path">The item's path, as bytes.</param>
    /// <param name="message">What failed, without the path.</param>
    /// <param name="inner">The cause, if any.</param>
    public SourceItemException(ErrorCode code, byte[] path, string message, Exception? inner = null)
        : base(code, message, null, inner)
    {
        Path = path;
        With("path", PathText.Show(path));
    }

    /// <summary>The item's path as bytes.</summary>
    public byte[] Path { get; }

    /// <summary>The source does without it and takes that for no failure: it is left out, and nobody is told.</summary>
    public bool IsExpected { get; init; }
}
