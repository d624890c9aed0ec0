using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage;

/// <summary>A part of a content on its way to a storage: before bytes are given out, <c>moving</c> hears how many.</summary>
internal sealed class StorageContentStream : Stream
{
    /// <summary>Most bytes given out at once while somebody watches: at 1 KiB a second a slice of them still moves within a quarter of a minute.</summary>
    private const int WatchedSlice = 16 * 1024;

    private readonly ReadOnlyMemory<byte> _bytes;
    private readonly SafeFileHandle? _file;
    private readonly long _start;
    private readonly Func<int, CancellationToken, ValueTask>? _moving;
    private long _position;

    public StorageContentStream(ReadOnlyMemory<byte> bytes, Func<int, CancellationToken, ValueTask>? moving)
    {
        _bytes = bytes;
        _moving = moving;
        Length = bytes.Length;
    }

    /// <summary>Owns the file's handle.</summary>
    public StorageContentStream(SafeFileHandle file, long start, long? length, Func<int, CancellationToken, ValueTask>? moving)
    {
        _file = file;
        _start = start;
        _moving = moving;
        Length = length ?? (RandomAccess.GetLength(file) - start);
    }

    /// <inheritdoc/>
    public override bool CanRead => true;

    /// <inheritdoc/>
    public override bool CanSeek => true;

    /// <inheritdoc/>
    public override bool CanWrite => false;

    /// <inheritdoc/>
    public override long Length { get; }

    /// <inheritdoc/>
    public override long Position
    {
        get => _position;
        set
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            _position = value;
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        int count = Available(buffer.Length, _moving is null ? int.MaxValue : WatchedSlice);
        if (count == 0)
        {
            return 0;
        }

        if (_moving is not null)
        {
            await _moving(count, cancellationToken).ConfigureAwait(false);
        }

        if (_file is null)
        {
            _bytes.Slice((int)_position, count).CopyTo(buffer);
        }
        else
        {
            count = await RandomAccess.ReadAsync(_file, buffer[..count], _start + _position, cancellationToken).ConfigureAwait(false);
        }

        _position += count;
        return count;
    }

    /// <inheritdoc/>
    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <inheritdoc/>
    public override int Read(Span<byte> buffer)
    {
        int count = Available(buffer.Length, int.MaxValue);
        if (_file is null)
        {
            _bytes.Span.Slice((int)Math.Min(_position, Length), count).CopyTo(buffer);
        }
        else
        {
            count = RandomAccess.Read(_file, buffer[..count], _start + _position);
        }

        _position += count;
        return count;
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => Position = origin switch
    {
        SeekOrigin.Begin => offset,
        SeekOrigin.Current => _position + offset,
        _ => Length + offset,
    };

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _file?.Dispose();
        }

        base.Dispose(disposing);
    }

    private int Available(int wanted, int most) => (int)Math.Min(Math.Min(wanted, most), Math.Max(0, Length - _position));
}
