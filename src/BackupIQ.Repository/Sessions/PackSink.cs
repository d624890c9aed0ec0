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
    RateLimit upload,
    TimeProvider time,
    Func<OpenPack, PackId, Task> stored) : IAsyncDisposable
{
    /// <summary>A pack that was begun this long ago is closed when it is worth it, so that a crash costs little.</summary>
    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(15);

    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _slots = new(connections);
    private readonly OpenPack?[] _open = new OpenPack?[3];
    private readonly List<Task> _closing = [];
    private readonly CancellationTokenSource _failed = new();
    private volatile Exception? _failure;
    private int _sequence;

    /// <summary>Bytes appended to packs so far, tables included once they are written.</summary>
    public long BytesWritten => Interlocked.Read(ref _bytesWritten);

    private long _bytesWritten;

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

    /// <summary>Appends the frame sealed under a reserved counter.</summary>
    public void Append(OpenPack pack, ReadOnlySpan<byte> sealedFrame, in FrameEntry frame, List<ChunkEntry> chunks)
    {
        upload.Take(sealedFrame.Length);
        bool last;
        try
        {
            lock (pack)
            {
                pack.Append(sealedFrame, frame, chunks);
            }
        }
        catch (IOException e)
        {
            Exception failure = SpoolFault.Translate(e, pack.Path);
            _failure ??= failure;
            Abandon(pack);
            throw failure;
        }

        Interlocked.Add(ref _bytesWritten, sealedFrame.Length);
        lock (_gate)
        {
            if (!pack.IsClosing && IsFull(pack))
            {
                pack.IsClosing = true;
                _open[(int)pack.Head.Kind] = null;
            }

            last = --pack.Outstanding == 0 && pack.IsClosing;
        }

        if (last)
        {
            Close(pack);
        }
    }

    /// <summary>Gives a reservation back without a frame: the counter stays unused.</summary>
    public void Abandon(OpenPack pack)
    {
        lock (_gate)
        {
            pack.Outstanding--;
        }
    }

    /// <summary>
    /// Closes what is open and waits until every pack is durable. The writers must have flushed, and none may append meanwhile.
    /// </summary>
    public async Task FlushAsync()
    {
        ThrowIfFailed();
        for (int kind = 1; kind < _open.Length; kind++)
        {
            OpenPack? pack;
            lock (_gate)
            {
                pack = _open[kind];
                _open[kind] = null;
                if (pack is not null)
                {
                    pack.IsClosing = true;
                    if (pack.Outstanding > 0)
                    {
                        // A worker still seals into it; its append will close it.
                        pack = null;
                    }
                }
            }

            if (pack is not null)
            {
                Close(pack);
            }
        }

        await Closing();
        ThrowIfFailed();
    }

    /// <summary>Drops what is not durable yet.</summary>
    public async ValueTask DisposeAsync()
    {
        _failure ??= new OperationCanceledException("The session has ended.");
        await _failed.CancelAsync();
        await Closing();
        foreach (OpenPack? pack in _open)
        {
            if (pack is not null)
            {
                pack.Dispose();
                File.Delete(pack.Path);
            }
        }

        _slots.Dispose();
        _failed.Dispose();
    }

    public void ThrowIfFailed()
    {
        if (_failure is { } failure)
        {
            throw failure is BackupIQException known
                ? new BackupIQException(known.Code, known.Message, known.Guidance, known)
                : new OperationCanceledException(failure.Message, failure);
        }
    }

    private OpenPack Begin(PackKind kind)
    {
        string path = Path.Combine(spool, $"{session}.{_sequence++}.pack");
        try
        {
            return new OpenPack(keys, kind, session, 0, path, Now());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Exception failure = SpoolFault.Translate(e, path);
            _failure ??= failure;
            throw failure;
        }
    }

    private bool IsFull(OpenPack pack)
    {
        long target = targetSize(pack.Head.Kind);
        return pack.Length >= target || pack.Contents.Chunks.Count >= 1_000_000 ||
            (pack.Length >= target / 4 && Now() - pack.StartedAt > MaxAge.TotalMilliseconds);
    }

    private void Close(OpenPack pack)
    {
        try
        {
            _slots.Wait(_failed.Token);
        }
        catch (OperationCanceledException)
        {
            pack.Dispose();
            File.Delete(pack.Path);
            return;
        }

        Task task = Task.Run(() => StoreAsync(pack), CancellationToken.None);
        lock (_gate)
        {
            _closing.RemoveAll(static t => t.IsCompleted);
            _closing.Add(task);
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
            _failure ??= e is BackupIQException or OperationCanceledException ? e : SpoolFault.Translate(e, pack.Path);
            File.Delete(pack.Path);
        }
        finally
        {
            pack.Dispose();
            _slots.Release();
        }
    }

    private Task Closing()
    {
        lock (_gate)
        {
            return Task.WhenAll(_closing);
        }
    }

    private long Now() => (long)time.GetElapsedTime(0).TotalMilliseconds;
}
