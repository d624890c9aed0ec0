namespace BackupIQ.Storage.Remote.Http;

/// <summary>
/// A time-out on progress, not on size: a transfer is given up when nothing moved for a while, however long it takes as a whole. The caller's
/// own cancellation passes through.
/// </summary>
internal sealed class Patience : IDisposable
{
    private readonly TimeSpan _within;
    private readonly CancellationTokenSource _source;
    private readonly CancellationTokenRegistration _registration;

    /// <summary>Waits at most <paramref name="within"/> for the next sign of progress.</summary>
    public Patience(TimeSpan within, TimeProvider time, CancellationToken cancellationToken)
    {
        _within = within;
        _source = new CancellationTokenSource(within, time);
        _registration = cancellationToken.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), _source);
    }

    /// <summary>Cancelled when patience has run out, or by the caller.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Something moved.</summary>
    public void Renew()
    {
        if (!_source.IsCancellationRequested)
        {
            _source.CancelAfter(_within);
        }
    }

    /// <summary>The content, whose bytes renew the patience as they go out.</summary>
    public StorageContent Watch(StorageContent content) => content.Watched((_, _) =>
    {
        Renew();
        return ValueTask.CompletedTask;
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        _registration.Dispose();
        _source.Dispose();
    }
}
