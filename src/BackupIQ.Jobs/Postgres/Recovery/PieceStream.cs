namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>Hands on what is written to it in pieces of 1 MiB, so that pages of a log are whole in each.</summary>
internal sealed class PieceStream(Func<ReadOnlyMemory<byte>, ValueTask> write) : Stream
{
    private readonly byte[] _piece = new byte[1 << 20];
    private int _length;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Hands on what is left.</summary>
    public async ValueTask EndAsync()
    {
        if (_length > 0)
        {
            await write(_piece.AsMemory(0, _length)).ConfigureAwait(false);
            _length = 0;
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (buffer.Length > 0)
        {
            int count = Math.Min(buffer.Length, _piece.Length - _length);
            buffer[..count].CopyTo(_piece.AsMemory(_length));
            _length += count;
            buffer = buffer[count..];
            if (_length == _piece.Length)
            {
                await EndAsync().ConfigureAwait(false);
            }
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    // Pieces are handed on only to who can wait.
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();
}
