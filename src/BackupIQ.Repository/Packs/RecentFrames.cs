using BackupIQ.Primitives;

namespace BackupIQ.Repository.Packs;

/// <summary>
/// Fetches and opens frames and keeps those opened last, in buffers that are used again and again: neighbours in a directory are neighbours in a
/// frame. Not thread-safe; blocks on the storage.
/// </summary>
/// <param name="repository">Where packs are.</param>
/// <param name="capacity">How many frames (of up to 4 MiB, mostly 1) are kept.</param>
/// <param name="onlyHere">Whether a frame that does not open is damaged, whatever copies of the storage have.</param>
internal sealed class RecentFrames<TKey>(BackupRepository repository, int capacity, bool onlyHere = false) : IDisposable
    where TKey : IEquatable<TKey>
{
    private readonly LinkedList<(TKey Key, Memory<byte> Plain, NativeBuffer Buffer)> _frames = [];
    private readonly NativeBuffer _stored = new();
    private NativeBuffer? _spare;

    /// <summary>What opens the frames.</summary>
    public FrameOpener Opener { get; } = new(repository.Keys);

    /// <summary>The opened frame, valid until the next call.</summary>
    /// <exception cref="BackupIQException">It is damaged, or the storage does not give it.</exception>
    public ReadOnlySpan<byte> Get(scoped in TKey key, scoped in FrameReference frame, CancellationToken cancellationToken)
    {
        for (LinkedListNode<(TKey Key, Memory<byte> Plain, NativeBuffer Buffer)>? node = _frames.First; node is not null; node = node.Next)
        {
            if (node.Value.Key.Equals(key))
            {
                _frames.Remove(node);
                _frames.AddFirst(node);
                return node.Value.Plain.Span;
            }
        }

        NativeBuffer buffer = _spare ?? TakePlace();
        _spare = buffer;
        Memory<byte> plain = buffer.Room((int)frame.PlainLength);
        Memory<byte> stored = _stored.Room((int)frame.StoredLength);
        if (onlyHere)
        {
            int read = repository.ReadPackAsync(frame.Kind, frame.Pack, frame.Offset, stored, cancellationToken).AsTask().GetAwaiter().GetResult();
            Opener.OpenInPlace(frame, stored.Span[..read], plain.Span);
        }
        else
        {
            repository.ReadFrameAsync(frame, Opener, stored, plain, cancellationToken).AsTask().GetAwaiter().GetResult();
        }

        _frames.AddFirst((key, plain, buffer));
        _spare = null;
        return plain.Span;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Opener.Dispose();
        _stored.Dispose();
        _spare?.Dispose();
        foreach ((_, _, NativeBuffer buffer) in _frames)
        {
            buffer.Dispose();
        }

        _frames.Clear();
    }

    private NativeBuffer TakePlace()
    {
        if (_frames.Count < capacity)
        {
            return new NativeBuffer();
        }

        NativeBuffer buffer = _frames.Last!.Value.Buffer;
        _frames.RemoveLast();
        return buffer;
    }
}
