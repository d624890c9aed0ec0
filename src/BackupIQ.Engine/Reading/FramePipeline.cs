using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Reading;

/// <summary>
/// Opened frames, shared by everybody who reads and kept within a budget of bytes: what several ask for is fetched once, and what will be
/// asked for soon is fetched in the background. Safe for any thread.
/// </summary>
/// <remarks>
/// The budget bounds what is kept. Frames that somebody holds at this moment count, but are never taken away, so that a budget too small
/// for all readers at once is exceeded by a frame for each.
/// </remarks>
internal sealed class FramePipeline : IDisposable
{
    /// <summary>The longest frame in plain, as docs/format.md bounds it.</summary>
    private const int MaxFrame = 4 << 20;

    private readonly BackupRepository _repository;
    private readonly long _budget;
    private readonly Lock _gate = new();
    private readonly Dictionary<FrameKey, OpenedFrame> _frames = [];
    private readonly LinkedList<OpenedFrame> _recent = [];
    private readonly ConcurrentBag<FrameWorkplace> _workplaces = [];

    // Buffers of frames that were given up, by their size, as long as all that there are fit into the budget: one that comes from the system
    // anew is filled in page by page.
    private readonly Dictionary<int, Stack<NativeBuffer>> _spare = [];
    private long _roomBytes;
    private readonly SemaphoreSlim _workers;
    private readonly CancellationTokenSource _stop = new();

    // What runs in the background, and one for the pipeline itself until it is disposed.
    private readonly CountdownEvent _running = new(1);
    private long _bytes;
    private int _ahead;

    /// <param name="repository">Where packs are.</param>
    /// <param name="budget">Bytes of opened frames.</param>
    /// <param name="workers">Frames that are fetched and opened at once.</param>
    public FramePipeline(BackupRepository repository, long budget, int workers)
    {
        _repository = repository;
        _budget = Math.Max(budget, MaxFrame);
        _workers = new SemaphoreSlim(workers, workers);
    }

    /// <summary>Bytes of frames that are held now.</summary>
    public long HeldBytes
    {
        get
        {
            lock (_gate)
            {
                return _bytes;
            }
        }
    }

    /// <summary>The frame, opened; whoever gets it gives it back by <see cref="Return"/>.</summary>
    /// <exception cref="BackupIQException">It is missing or damaged, or the storage fails.</exception>
    public async ValueTask<OpenedFrame> RentAsync(FrameReference reference, CancellationToken cancellationToken)
    {
        OpenedFrame frame = Take(reference, out bool isNew);
        if (isNew)
        {
            // On its own, so that a caller who gives up does not take the frame from others who wait for it.
            _ = LoadAsync(frame);
        }

        try
        {
            await frame.Loaded.WaitAsync(cancellationToken).ConfigureAwait(false);
            return frame;
        }
        catch
        {
            Return(frame);
            throw;
        }
    }

    /// <summary>
    /// Fetches a frame in the background and checks a chunk in it, unless the budget is used up by what is held. A failure is not told: it
    /// shows when the frame is asked for.
    /// </summary>
    /// <returns>False when it was refused: so much is being fetched already.</returns>
    public bool Prefetch(PackKind kind, ChunkId id, FrameReference reference, ChunkLocation location)
    {
        lock (_gate)
        {
            if (_frames.ContainsKey(FrameKey.Of(reference)))
            {
                return true;
            }

            if ((_ahead + 1L) * MaxFrame > _budget)
            {
                return false;
            }

            _ahead++;
        }

        _running.AddCount();
        OpenedFrame frame = Take(reference, out bool isNew);
        _ = Task.Run(async () =>
        {
            try
            {
                if (isNew)
                {
                    await LoadAsync(frame).ConfigureAwait(false);
                }

                if (frame.Loaded.IsCompletedSuccessfully)
                {
                    _ = TryVerify(frame, kind, id, location);
                }
            }
            finally
            {
                lock (_gate)
                {
                    _ahead--;
                }

                Return(frame);
                _running.Signal();
            }
        }, CancellationToken.None);
        return true;
    }

    /// <summary>The chunk's bytes in an opened frame, checked against its id once for as long as the frame is kept.</summary>
    /// <exception cref="CorruptDataException">They are others.</exception>
    public ReadOnlyMemory<byte> Chunk(OpenedFrame frame, PackKind kind, ChunkId id, ChunkLocation location) =>
        location.Offset + (long)location.Length > frame.Reference.PlainLength
            ? throw new CorruptDataException($"Pack {frame.Reference.Pack} is damaged: chunk {id} lies outside its frame.")
            : TryVerify(frame, kind, id, location)
                ? frame.Plain.Slice((int)location.Offset, (int)location.Length)
                : throw new CorruptDataException($"Pack {frame.Reference.Pack} is damaged: chunk {id} has other bytes.");

    /// <summary>Gives back what <see cref="RentAsync"/> gave.</summary>
    public void Return(OpenedFrame frame)
    {
        lock (_gate)
        {
            frame.Users--;
            if (frame.Users == 0 && frame.Place is null)
            {
                Free(frame);
            }

            Trim();
        }
    }

    /// <summary>Waits for what is being fetched and gives up all frames. Nobody may hold one any more.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        _running.Signal();
        _running.Wait(CancellationToken.None);
        lock (_gate)
        {
            foreach (OpenedFrame frame in _recent)
            {
                Free(frame);
            }

            _recent.Clear();
            _frames.Clear();
            foreach (NativeBuffer buffer in _spare.Values.SelectMany(static spare => spare))
            {
                buffer.Dispose();
            }

            _spare.Clear();
        }

        while (_workplaces.TryTake(out FrameWorkplace? workplace))
        {
            workplace.Dispose();
        }

        _running.Dispose();
        _workers.Dispose();
        _stop.Dispose();
    }

    private OpenedFrame Take(in FrameReference reference, out bool isNew)
    {
        FrameKey key = FrameKey.Of(reference);
        lock (_gate)
        {
            isNew = !_frames.TryGetValue(key, out OpenedFrame? frame);
            if (isNew)
            {
                frame = new OpenedFrame(reference);
                frame.Place = _recent.AddFirst(frame);
                _frames.Add(key, frame);
                _bytes += frame.Cost;

                // The one who loads it.
                frame.Users = 1;
                _running.AddCount();
            }
            else
            {
                _recent.Remove(frame!.Place!);
                _recent.AddFirst(frame.Place!);
            }

            frame!.Users++;
            Trim();
            return frame;
        }
    }

    // Takes away what was used longest ago and is not in use.
    private void Trim()
    {
        LinkedListNode<OpenedFrame>? node = _recent.Last;
        while (_bytes > _budget && node is not null)
        {
            LinkedListNode<OpenedFrame>? next = node.Previous;
            if (node.Value.Users == 0)
            {
                Forget(node.Value);
                Free(node.Value);
            }

            node = next;
        }
    }

    private void Forget(OpenedFrame frame)
    {
        if (frame.Place is { } place)
        {
            _recent.Remove(place);
            _frames.Remove(FrameKey.Of(frame.Reference));
            frame.Place = null;
        }
    }

    private void Free(OpenedFrame frame)
    {
        _bytes -= frame.Cost;
        if (frame.Release() is { } buffer)
        {
            Spare(buffer);
        }
    }

    private NativeBuffer TakeBuffer(int size)
    {
        lock (_gate)
        {
            if (_spare.TryGetValue(size, out Stack<NativeBuffer>? spare) && spare.TryPop(out NativeBuffer? buffer))
            {
                return buffer;
            }

            // One of another size makes room for it.
            if (_roomBytes + size > _budget && _spare.Values.FirstOrDefault(static other => other.Count > 0) is { } others)
            {
                Drop(others.Pop());
            }

            _roomBytes += size;
        }

        NativeBuffer made = new();
        made.Room(size);
        return made;
    }

    private void Spare(NativeBuffer buffer)
    {
        if (_roomBytes > _budget)
        {
            Drop(buffer);
            return;
        }

        if (!_spare.TryGetValue(buffer.Length, out Stack<NativeBuffer>? spare))
        {
            _spare.Add(buffer.Length, spare = new Stack<NativeBuffer>());
        }

        spare.Push(buffer);
    }

    private void Drop(NativeBuffer buffer)
    {
        _roomBytes -= buffer.Length;
        buffer.Dispose();
    }

    private async Task LoadAsync(OpenedFrame frame)
    {
        try
        {
            await _workers.WaitAsync(_stop.Token).ConfigureAwait(false);
            try
            {
                frame.Set(await OpenAsync(frame.Reference).ConfigureAwait(false));
            }
            finally
            {
                _workers.Release();
            }
        }
        catch (Exception e)
        {
            // Told to all who wait. Forgotten at once: the next who asks tries again.
            lock (_gate)
            {
                Forget(frame);
            }

            frame.Fail(e);
        }
        finally
        {
            Return(frame);
            _running.Signal();
        }
    }

    private async Task<NativeBuffer> OpenAsync(FrameReference reference)
    {
        if (reference.PlainLength > MaxFrame || reference.StoredLength > MaxFrame + 1024)
        {
            throw new CorruptDataException($"Pack {reference.Pack} is damaged: a frame is longer than any.");
        }

        NativeBuffer plain = TakeBuffer(OpenedFrame.RoomFor(reference));
        FrameWorkplace workplace = _workplaces.TryTake(out FrameWorkplace? free) ? free : new FrameWorkplace(_repository.Keys);
        try
        {
            Memory<byte> stored = workplace.Stored.Room((int)reference.StoredLength);
            await _repository.ReadFrameAsync(reference, workplace.Opener, stored, plain.Room((int)reference.PlainLength), _stop.Token).ConfigureAwait(false);
            return plain;
        }
        catch
        {
            lock (_gate)
            {
                Spare(plain);
            }

            throw;
        }
        finally
        {
            _workplaces.Add(workplace);
        }
    }

    private bool TryVerify(OpenedFrame frame, PackKind kind, in ChunkId id, in ChunkLocation location)
    {
        if (frame.IsVerified(location.Offset, id))
        {
            return true;
        }

        if (location.Offset + (long)location.Length > frame.Reference.PlainLength)
        {
            return false;
        }

        Span<byte> digest = stackalloc byte[ChunkId.Size];
        ReadOnlySpan<byte> key = kind == PackKind.Data ? _repository.Keys.DataIdKey : _repository.Keys.MetadataIdKey;
        Blake3.HashKeyed(key, frame.Plain.Span.Slice((int)location.Offset, (int)location.Length), digest);
        if (ChunkId.Read(digest) != id)
        {
            return false;
        }

        frame.SetVerified(location.Offset, id);
        return true;
    }

    private readonly record struct FrameKey(PackId Pack, uint Offset)
    {
        public static FrameKey Of(in FrameReference reference) => new(reference.Pack, reference.Offset);
    }
}
