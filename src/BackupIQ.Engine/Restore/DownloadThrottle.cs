using System.Diagnostics;

namespace BackupIQ.Engine.Restore;

/// <summary>Spreads reads over time so that their mean rate stays below a limit. Thread-safe.</summary>
internal sealed class DownloadThrottle(long bytesPerSecond)
{
    private readonly Lock _gate = new();
    private readonly long _started = Stopwatch.GetTimestamp();
    private double _free;

    /// <summary>Waits until <paramref name="bytes"/> may be read.</summary>
    public async ValueTask WaitAsync(int bytes, CancellationToken cancellationToken)
    {
        double wait;
        lock (_gate)
        {
            double now = Stopwatch.GetElapsedTime(_started).TotalSeconds;
            _free = Math.Max(_free, now);
            wait = _free - now;
            _free += bytes / (double)bytesPerSecond;
        }

        if (wait > 0.001)
        {
            await Task.Delay(TimeSpan.FromSeconds(wait), cancellationToken);
        }
    }
}
