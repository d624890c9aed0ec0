using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs.Browsing;

/// <summary>
/// A file of a <see cref="RepositoryView"/>, open for reading at random. Every byte that is given was verified. Safe for any thread.
/// </summary>
public sealed class ViewFile
{
    private readonly RepositoryView _view;
    private readonly Node _node;
    private readonly Lock _gate = new();
    private int _number;
    private SnapshotFile _file;

    internal ViewFile(RepositoryView view, Node node, int number, SnapshotFile file)
    {
        _view = view;
        _node = node;
        _number = number;
        _file = file;
        Length = file.Length;
    }

    /// <summary>Bytes, holes included.</summary>
    public long Length { get; }

    /// <summary>Reads until <paramref name="destination"/> is full or the file ends; returns the bytes read. Holes read as zeros.</summary>
    /// <exception cref="BackupIQException"><c>ChunkMissing</c> or <c>CorruptData</c>: what was asked for is damaged; or the storage failed.</exception>
    public async ValueTask<int> ReadAsync(long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        RepositoryView.Generation generation = _view.Acquire();
        try
        {
            return await FileOf(generation).ReadAsync(offset, destination, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (RepositoryView.IsGone(e))
        {
            // Below, once the lease is given back.
        }
        finally
        {
            _view.Release(generation);
        }

        await _view.RenewAsync(generation.Number, cancellationToken).ConfigureAwait(false);
        generation = _view.Acquire();
        try
        {
            return await FileOf(generation).ReadAsync(offset, destination, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _view.Release(generation);
        }
    }

    /// <summary>
    /// The first place at or behind <paramref name="offset"/> that is in a hole, or else in data; the end counts as a hole. Null when there is
    /// none, as from the end on.
    /// </summary>
    public long? Seek(long offset, bool hole)
    {
        lock (_gate)
        {
            return _file.Seek(offset, hole);
        }
    }

    /// <summary>The file as a stream with a position of its own.</summary>
    public Stream OpenStream() => new ReadingStream(this);

    private SnapshotFile FileOf(RepositoryView.Generation generation)
    {
        lock (_gate)
        {
            if (_number != generation.Number)
            {
                _file = generation.Reader.OpenFile(_node);
                _number = generation.Number;
            }

            return _file;
        }
    }

    private sealed class ReadingStream(ViewFile file) : Stream
    {
        private long _position;

        public override bool CanRead => true;

        public override bool CanSeek => true;

        public override bool CanWrite => false;

        public override long Length => file.Length;

        public override long Position
        {
            get => _position;
            set => _position = value >= 0 ? value : throw new ArgumentOutOfRangeException(nameof(value));
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int read = await file.ReadAsync(_position, buffer, cancellationToken).ConfigureAwait(false);
            _position += read;
            return read;
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count) =>
            ReadAsync(buffer.AsMemory(offset, count), CancellationToken.None).AsTask().GetAwaiter().GetResult();

        public override long Seek(long offset, SeekOrigin origin) =>
            Position = origin switch { SeekOrigin.Begin => offset, SeekOrigin.Current => _position + offset, _ => Length + offset };

        public override void Flush()
        {
        }

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
