namespace BackupIQ.Primitives;

/// <summary>
/// Lets so much a second pass: bytes, or requests. Who takes more than there is waits until it could have come, those who came first first.
/// Thread-safe. A rate that changes by the time of day is looked at again each second, also for those who wait.
/// </summary>
public sealed class TokenBucket(RateSchedule rate, TimeProvider time)
{
    /// <summary>What may be saved up while nobody takes, beside a first one: as much as timers oversleep, so that short waits lose nothing.</summary>
    private const double SavedSeconds = 1 / 32d;

    private static readonly TimeSpan LongestNap = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ShortestNap = TimeSpan.FromMilliseconds(1);

    private readonly Lock _gate = new();
    private readonly bool _isUnlimited = rate.IsUnlimited;

    // What came since the start, and what was taken since then; while somebody waits, more was taken than came.
    private double _come = double.PositiveInfinity;
    private double _taken;
    private long _last = time.GetTimestamp();

    /// <summary>Takes <paramref name="amount"/> and waits until it is there.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing was taken.</exception>
    public async ValueTask TakeAsync(long amount, CancellationToken cancellationToken)
    {
        if (_isUnlimited || amount <= 0)
        {
            return;
        }

        double mine;
        lock (_gate)
        {
            Fill();
            mine = _taken += amount;
        }

        try
        {
            while (LeftFor(mine) is { } left)
            {
                await Task.Delay(left < ShortestNap ? ShortestNap : left > LongestNap ? LongestNap : left, time, cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // Nothing passes, and those behind need not wait for it.
            lock (_gate)
            {
                _come += amount;
            }

            throw;
        }
    }

    private TimeSpan? LeftFor(double mine)
    {
        lock (_gate)
        {
            long perSecond = Fill();
            return perSecond == 0 || _come >= mine - 0.001 ? null : TimeSpan.FromSeconds(Math.Min((mine - _come) / perSecond, 3600));
        }
    }

    private long Fill()
    {
        long now = time.GetTimestamp();
        long perSecond = rate.At(time);
        double passed = time.GetElapsedTime(_last, now).TotalSeconds;
        _last = now;
        _come = perSecond == 0 ? Math.Max(_come, _taken) : Math.Min(_taken + Math.Max(1, perSecond * SavedSeconds), _come + (passed * perSecond));
        return perSecond;
    }
}
