using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>The content of a file that is still being written. What was read is given back to the disk; a file that was read to its end is removed.</summary>
internal sealed class SpooledContent : ISourceFile
{
    /// <summary>Given back in pieces of this size: each is a call.</summary>
    private const long GiveBack = 4 << 20;

    private readonly PostgresDumpSource _source;
    private readonly SourceEntry _entry;
    private readonly SpoolPipeline _spool;
    private readonly SpooledFile _file;
    private readonly DescriptorHandle _handle;
    private long _position;
    private long _givenBack;
    private bool _hasEnded;
    private bool _isDisposed;

    /// <exception cref="BackupIQException"><c>Resource</c>: it cannot be opened, which nobody but somebody else's hand explains.</exception>
    public SpooledContent(PostgresDumpSource source, SourceEntry entry, SpoolPipeline spool, SpooledFile file)
    {
        _source = source;
        _entry = entry;
        _spool = spool;
        _file = file;
        int descriptor = Syscalls.OpenAt(AtFlags.WorkingFolder, System.Text.Encoding.UTF8.GetBytes(file.Path), OpenFlags.ReadWrite);
        if (descriptor < 0)
        {
            throw Failure("open", -descriptor);
        }

        _handle = new DescriptorHandle(descriptor);
        _spool.Enter();
    }

    /// <inheritdoc/>
    public bool IsSequential => true;

    /// <inheritdoc/>
    public SourceStat Opened => _entry.Stat;

    /// <inheritdoc/>
    public NodeMetadata Describe() => _source.Describe(_entry) with { Size = (ulong)_position };

    /// <inheritdoc/>
    public SourceStat Stat() => _entry.Stat with { Size = (ulong)_position };

    /// <inheritdoc/>
    public int Read(Span<byte> destination, long offset)
    {
        if (offset != _position)
        {
            throw new InvalidOperationException($"What is being written is read from start to end: the next read begins at {_position}, not at {offset}.");
        }

        int total = 0;
        while (total < destination.Length && !_hasEnded)
        {
            bool isWhole = _spool.IsWhole(_file);
            int read = Syscalls.Read(_handle.Descriptor, destination[total..], _position);
            GC.KeepAlive(_handle);
            if (read < 0)
            {
                throw Failure("read", -read);
            }

            if (read == 0)
            {
                _hasEnded = isWhole;
                if (!isWhole)
                {
                    _spool.WaitFor(_file, _position);
                }

                continue;
            }

            _file.Count(destination.Slice(total, read).Count((byte)'\n'));
            total += read;
            _position += read;
            _spool.Take(read);
            long upTo = _position / GiveBack * GiveBack;
            if (upTo > _givenBack)
            {
                // Where the file system cannot, the room was there from the start.
                _ = Syscalls.Allocate(_handle.Descriptor, AtFlags.FallocateKeepSize | AtFlags.FallocatePunchHole, _givenBack, upTo - _givenBack);
                _givenBack = upTo;
            }
        }

        return total;
    }

    /// <inheritdoc/>
    public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength)
    {
        dataOffset = offset;
        dataLength = _hasEnded ? 0 : long.MaxValue - offset;
        return !_hasEnded;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        _handle.Dispose();
        _spool.Leave();
        if (_hasEnded)
        {
            File.Delete(_file.Path);
        }
    }

    private BackupIQException Failure(string action, int errno) => new BackupIQException(
        ErrorCodes.Resource, $"Cannot {action} what pg_dump has written: {LinuxError.Describe(errno)}", null).With("path", _file.Path);
}
