using System.Diagnostics;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Command;

/// <summary>The content of a <see cref="CommandSource"/>'s file. Owns the process and ends it when disposed early.</summary>
internal sealed class CommandOutput(CommandSource source, SourceEntry entry, byte[] path, Process? process, Stream stream) : ISourceFile
{
    private bool _ended;
    private bool _disposed;

    /// <inheritdoc/>
    public bool IsSequential => true;

    /// <summary>How many bytes were read; where the next <see cref="Read"/> must begin.</summary>
    internal long Position { get; private set; }

    /// <inheritdoc/>
    public SourceStat Opened => source.FileStat(0);

    /// <inheritdoc/>
    /// <remarks>The size is what was read so far.</remarks>
    public NodeMetadata Describe() => CommandSource.Describe(entry, (ulong)Position);

    /// <inheritdoc/>
    /// <remarks>The size is what was read so far.</remarks>
    public SourceStat Stat() => source.FileStat((ulong)Position);

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The offset is not where the last read ended.</exception>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.SourceCommand"/>: the output has ended and the command failed.</exception>
    public int Read(Span<byte> destination, long offset)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (offset != Position)
        {
            throw new InvalidOperationException($"The output of a command is read from start to end: the next read begins at {Position}, not at {offset}.");
        }

        int total = 0;
        while (total < destination.Length && !_ended)
        {
            int read;
            try
            {
                read = stream.Read(destination[total..]);
            }
            catch (IOException e)
            {
                throw new SourceItemException(ErrorCodes.SourceUnreadable, path, $"cannot read it: {e.Message}", e);
            }

            total += read;
            if (read == 0)
            {
                _ended = true;
                RequireSuccess();
            }
        }

        Position += total;
        return total;
    }

    /// <inheritdoc/>
    /// <remarks>How much is left is not known before the end: the answer is all that could be.</remarks>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        dataOffset = offset;
        dataLength = _ended ? 0 : long.MaxValue - offset;
        return !_ended;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        stream.Dispose();
        if (process is not null)
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }

            process.Dispose();
        }
    }

    /// <summary>The output ended; what it is worth is known by how the command ends.</summary>
    private void RequireSuccess()
    {
        if (process is null)
        {
            return;
        }

        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new BackupIQException(ErrorCodes.SourceCommand, $"The command failed with exit status {process.ExitCode}.");
        }
    }
}
