namespace BackupIQ.Repository.Sessions;

/// <summary>Holds callers back so that no more than so many bytes a second pass, over any two seconds. 0 is no limit. Thread-safe.</summary>
public sealed class RateLimit(long bytesPerSecond, TimeProvider time)
{
    private readonly Lock _gate = new();
    private double _credit = bytesPerSecond;
    private long _last = time.GetTimestamp();

    /// <summary>No limit.</summary>
    public static RateLimit None { get; } = new(0, TimeProvider.System);

    /// <summary>Takes <paramref name="bytes"/> from the budget and waits, blocking the thread, until they are there.</summary>
    public void Take(long bytes)
    {
        if (bytesPerSecond <= 0)
        {
            return;
        }

        double wait;
        lock (_gate)
        {
            long now = time.GetTimestamp();
            _credit = Math.Min(bytesPerSecond, _credit + (time.GetElapsedTime(_last, now).TotalSeconds * bytesPerSecond));
            _last = now;
            _credit -= bytes;
            wait = _credit < 0 ? -_credit / bytesPerSecond : 0;
        }

        if (wait > 0)
        {
            Thread.Sleep(TimeSpan.FromSeconds(wait));
        }
    }
}
