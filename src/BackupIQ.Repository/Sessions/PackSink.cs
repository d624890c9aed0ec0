using BackupIQ.Primitives;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Sessions;

/// <summary>
/// The packs that a session has open, one of each kind, and those that are on their way to the storage. Frames of many workers go into the
/// same pack; when it is full it is closed, made durable in the background and handed to <paramref name="stored"/>. At most
/// <paramref name="connections"/> packs are under way: whoever fills the next one then waits, so nothing piles up.
/// </summary>
internal sealed class PackSink(
    RepositoryKeys keys,
    SessionId session,
    string spool,
    int connections,
    Func<PackKind, long> targetSize,
    TimeProvider time,
    Func<OpenPack, PackId, Task> stored) : IAsyncDisposable
{
    /// <summary>A pack that was begun this long ago is closed when it is worth it, so that a crash costs little.</summary>
    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(15);

    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _slots = new(connections);
    private readonly WriterPace _pace = new(time);
    private readonly OpenPack?[] _open = new OpenPack?[3];
    private readonly List<OpenPack> _closing = [];
    private readonly List<Task> _storing = [];
    private readonly CancellationTokenSource _failed = new();
    private volatile Exception? _failure;
    private int _sequence;

    /// <summary>Bytes appended to packs so far, tables included once they are written.</summary>
    public long BytesWritten => Interlocked.Read(ref _bytesWritten);

    private long _bytesWritten;

    /// <summary>Why no pack is stored any more, or null.</summary>
    public Exception? Failure => _failure;

    /// <summary>How hard frames may be compressed: more while the storage is what writers wait for.</summary>
    public int Effort => _pace.Effort;

    /// <summary>A pack with room and a counter in it. Follow with <see cref="Append"/> or <see cref="Abandon"/>.</summary>
    public OpenPack Reserve(PackKind kind, out uint counter)
    {
        ThrowIfFailed();
        lock (_gate)
        {
            OpenPack pack = _open[(int)kind] ??= Begin(kind);
            pack.Outstanding++;
            counter = pack.NextCounter();
            return pack;
        }
    }

    /// <summary>Appends the frame sealed under a reserved counter. Where that fails the pack is never stored, and the session has failed.</summary>
    /// <exception cref="BackupIQException">The frame could not be written, or an earlier failure was the reason.</exception>
    public void Append(OpenPack pack, ReadOnlySpan<byte> sealedFrame, in FrameEntry frame, List<ChunkEntry> chunks)
    {
        try
        {
            lock (pack)
            {
                pack.Append(sealedFrame, frame, chunks);
            }

            Interlocked.Add(ref _bytesWritten, sealedFrame.Length);
        }
        catch (IOException e)
        {
            throw Fail(SpoolFault.Translate(e, pack.Path));
        }
        finally
        {
            Release(pack);
        }
    }

    /// <summary>
    /// Begins a pack that its caller fills alone, with frames that come from elsewhere; follow with <see cref="StoreAsideAsync"/> or
    /// <see cref="Discard"/>.
    /// </summary>
    public OpenPack BeginAside(PackKind kind, IReadOnlyList<SaltRow> foreignSalts)
    {
        ThrowIfFailed();
        lock (_gate)
        {
            return Begin(kind, foreignSalts);
        }
    }

    /// <summary>Appends a frame that was sealed elsewhere, under the salt of its row.</summary>
    public void AppendAside(OpenPack pack, ReadOnlySpan<byte> sealedFrame, in FrameEntry frame, IReadOnlyList<ChunkEntry> chunks)
    {
        try
        {
            pack.Append(sealedFrame, frame, chunks);
        }
        catch (IOException e)
        {
            throw SpoolFault.Translate(e, pack.Path);
        }

        Interlocked.Add(ref _bytesWritten, sealedFrame.Length);
    }

    /// <summary>Makes such a pack durable and hands it on.</summary>
    public async Task StoreAsideAsync(OpenPack pack)
    {
        await _slots.WaitAsync(_failed.Token);
        await StoreAsync(pack);
        ThrowIfFailed();
    }

    /// <summary>Drops what is left of such a pack; one that was stored is gone from here already.</summary>
    public static void Discard(OpenPack pack)
    {
        pack.Dispose();
        File.Delete(pack.Path);
    }

    /// <summary>Gives a reservation back without a frame: the counter stays unused.</summary>
    public void Abandon(OpenPack pack) => Release(pack);

    /// <summary>
    /// Closes what is open and waits until every pack begun so far is durable. Writers may go on meanwhile: they get new packs.
    /// </summary>
    public async Task FlushAsync()
    {
        ThrowIfFailed();
        Task[] waits;
        List<OpenPack> idle = [];
        lock (_gate)
        {
            for (int kind = 1; kind < _open.Length; kind++)
            {
                if (_open[kind] is { } pack)
                {
                    _open[kind] = null;
                    pack.IsClosing = true;
                    _closing.Add(pack);
                    if (pack.Outstanding == 0)
                    {
                        idle.Add(pack);
                    }
                }
            }

            waits = [.. _closing.Select(static p => p.Done.Task)];
        }

        idle.ForEach(Close);
        await Task.WhenAll(waits);
        ThrowIfFailed();
    }

    /// <summary>Drops what is not durable yet.</summary>
    public async ValueTask DisposeAsync()
    {
        Fail(new OperationCanceledException("The session has ended."));
        await _failed.CancelAsync();
        Task[] running;
        lock (_gate)
        {
            running = [.. _storing];
        }

        await Task.WhenAll(running);
        foreach (OpenPack pack in _open.OfType<OpenPack>().Concat(_closing.Where(static p => !p.Done.Task.IsCompleted)))
        {
            pack.Dispose();
            File.Delete(pack.Path);
        }

        _slots.Dispose();
        _failed.Dispose();
    }

    public void ThrowIfFailed()
    {
        if (_failure is { } failure)
        {
            throw Again(failure);
        }
    }

    private static Exception Again(Exception failure) => failure is BackupIQException known
        ? new BackupIQException(known.Code, known.Message, known.Guidance, known)
        : new OperationCanceledException(failure.Message, failure);

    // What is to be told: the first failure, of which this one may be a consequence.
    private Exception Fail(Exception failure) => Interlocked.CompareExchange(ref _failure, failure, null) is { } first ? Again(first) : failure;

    private OpenPack Begin(PackKind kind, IReadOnlyList<SaltRow>? foreignSalts = null)
    {
        string path = Path.Combine(spool, $"{session}.{_sequence++}.pack");
        try
        {
            return new OpenPack(keys, kind, session, 0, path, Now(), foreignSalts);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Fail(SpoolFault.Translate(e, path));
        }
    }

    private bool IsFull(OpenPack pack)
    {
        long target = targetSize(pack.Head.Kind);
        return pack.Length >= target || pack.Contents.Chunks.Count >= 1_000_000 ||
            (pack.Length >= target / 4 && Now() - pack.StartedAt > MaxAge.TotalMilliseconds);
    }

    private void Release(OpenPack pack)
    {
        bool close;
        lock (_gate)
        {
            if (!pack.IsClosing && IsFull(pack))
            {
                pack.IsClosing = true;
                _open[(int)pack.Head.Kind] = null;
                _closing.Add(pack);
            }

            close = --pack.Outstanding == 0 && pack.IsClosing;
        }

        if (close)
        {
            Close(pack);
        }
    }

    // Blocks while too many packs are under way: that is what holds the readers back when the storage is slower than they are.
    private void Close(OpenPack pack)
    {
        try
        {
            _pace.Wait(() => _slots.Wait(_failed.Token));
        }
        catch (OperationCanceledException)
        {
            pack.Dispose();
            File.Delete(pack.Path);
            pack.Done.TrySetResult();
            return;
        }

        lock (_gate)
        {
            _storing.RemoveAll(static t => t.IsCompleted);
            _storing.Add(Task.Run(() => StoreAsync(pack), CancellationToken.None));
        }
    }

    private async Task StoreAsync(OpenPack pack)
    {
        try
        {
            PackId id = pack.Finish();
            Interlocked.Add(ref _bytesWritten, pack.Length - pack.Contents.Frames.Sum(static f => (long)f.StoredLength));
            await stored(pack, id);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or BackupIQException or OperationCanceledException)
        {
            Fail(e is BackupIQException or OperationCanceledException ? e : SpoolFault.Translate(e, pack.Path));
            File.Delete(pack.Path);
        }
        finally
        {
            pack.Dispose();
            lock (_gate)
            {
                _closing.Remove(pack);
            }

            _slots.Release();
            pack.Done.TrySetResult();
        }
    }

    private long Now() => (long)time.GetElapsedTime(0).TotalMilliseconds;
}
