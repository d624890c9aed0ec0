using System.Threading.Channels;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// One thread that looks what a source has, ahead of whoever takes its events: its looks at the disk run beside the comparing, and, begun
/// before the repository is open, beside the deriving of its key. What it holds is bounded: the source is met no further ahead than that.
/// </summary>
/// <remarks>Belongs to one backup, which takes the events once. Disposing it ends the thread; the source stays the caller's.</remarks>
public sealed class DiscoveryPipeline : IDisposable
{
    // Some 300 bytes an entry: 5 MiB.
    private const int EventsPerPage = 256;
    private const int PagesAhead = 64;

    private readonly Channel<SourceEvent[]> _pages = Channel.CreateBounded<SourceEvent[]>(
        new BoundedChannelOptions(PagesAhead) { SingleReader = true, SingleWriter = true });

    private readonly CancellationTokenSource _stop;
    private readonly Task _walk;

    private DiscoveryPipeline(IBackupSource source, DateTimeOffset started, CancellationToken cancellationToken)
    {
        Source = source;
        Started = started;
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _walk = Task.Factory.StartNew(Walk, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>The source that is walked.</summary>
    public IBackupSource Source { get; }

    /// <summary>When the first look was taken: nothing in the snapshot is older news than this.</summary>
    public DateTimeOffset Started { get; }

    /// <summary>Begins to walk <paramref name="source"/>.</summary>
    public static DiscoveryPipeline Begin(IBackupSource source, TimeProvider time, CancellationToken cancellationToken) =>
        new(source, time.GetLocalNow(), cancellationToken);

    /// <summary>All events in their order. What ended the walk is thrown here.</summary>
    internal IEnumerable<SourceEvent> Read(CancellationToken cancellationToken)
    {
        while (_pages.Reader.TryRead(out SourceEvent[]? page) || _pages.Reader.WaitToReadAsync(cancellationToken).AsTask().GetAwaiter().GetResult())
        {
            foreach (SourceEvent next in page ?? [])
            {
                yield return next;
            }
        }

        // Over for good, or because something failed: that is thrown here.
        _walk.GetAwaiter().GetResult();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stop.Cancel();
        ((IAsyncResult)_walk).AsyncWaitHandle.WaitOne();
        _stop.Dispose();
    }

    /// <summary>Writes, and waits for room where there is none: for threads of their own.</summary>
    internal static void Write<T>(ChannelWriter<T> channel, T item, CancellationToken stop)
    {
        if (!channel.TryWrite(item))
        {
            channel.WriteAsync(item, stop).AsTask().GetAwaiter().GetResult();
        }
    }

    private void Walk()
    {
        try
        {
            List<SourceEvent> page = new(EventsPerPage);
            foreach (SourceEvent next in Source.Walk(_stop.Token))
            {
                page.Add(next);
                if (page.Count == EventsPerPage || next.Kind == SourceEventKind.Ahead)
                {
                    // What is to be read now waits for no neighbours.
                    Write(_pages.Writer, [.. page], _stop.Token);
                    page.Clear();
                }
            }

            Write(_pages.Writer, [.. page], _stop.Token);
        }
        finally
        {
            _pages.Writer.Complete();
        }
    }
}
