namespace BackupIQ.Storage;

/// <summary>
/// Holds reads back so that their mean rate stays below a limit, whatever reads: a decorator for the whole storage, so that everything that
/// reads shares one budget.
/// </summary>
/// <param name="inner">The storage; owned.</param>
/// <param name="bytesPerSecond">More than 0.</param>
/// <param name="time">Measures and waits.</param>
public sealed class DownloadLimitBackend(IStorageBackend inner, long bytesPerSecond, TimeProvider time) : DelegatingBackend(inner)
{
    private readonly Lock _gate = new();
    private readonly long _started = time.GetTimestamp();

    // When the next read may begin, in seconds since the start.
    private double _free;

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int read = await Inner.ReadAsync(key, offset, destination, cancellationToken).ConfigureAwait(false);
        double wait;
        lock (_gate)
        {
            double now = time.GetElapsedTime(_started).TotalSeconds;
            _free = Math.Max(_free, now) + (read / (double)bytesPerSecond);
            wait = _free - now;
        }

        // The bytes are given once they could have come at this rate.
        if (wait > 0.001)
        {
            await Task.Delay(TimeSpan.FromSeconds(wait), time, cancellationToken).ConfigureAwait(false);
        }

        return read;
    }
}
