namespace BackupIQ.Testing;

/// <summary>
/// A clock that stands until a test moves it; timers fire when it passes them, in their order. What waits for hours is so tested in
/// milliseconds. Thread-safe.
/// </summary>
public sealed class SteppedTime(DateTimeOffset? start = null, TimeZoneInfo? zone = null) : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly List<Timer> _timers = [];
    private DateTimeOffset _now = start ?? new DateTimeOffset(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);
    private long _changes;

    /// <inheritdoc/>
    public override TimeZoneInfo LocalTimeZone => zone ?? TimeZoneInfo.Utc;

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <summary>When the next timer fires, or null.</summary>
    public DateTimeOffset? NextTimer
    {
        get
        {
            lock (_gate)
            {
                return Next()?.Due;
            }
        }
    }

    /// <inheritdoc/>
    public override long GetTimestamp() => GetUtcNow().UtcTicks;

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow()
    {
        lock (_gate)
        {
            return _now.ToUniversalTime();
        }
    }

    /// <summary>Moves the clock on, and fires what comes due on the way.</summary>
    public void Advance(TimeSpan by)
    {
        DateTimeOffset until = GetUtcNow() + by;
        while (FireNext(until))
        {
        }

        lock (_gate)
        {
            _now = until > _now ? until : _now;
        }
    }

    /// <summary>
    /// Lets work run to its end: whenever it waits for nothing but the clock, the clock goes to the next timer. Whether it still computes is
    /// told from timers being set for a few milliseconds of real time: a machine that is very slow sees a timer fire early.
    /// </summary>
    public async Task RunAsync(Task work)
    {
        for (int quiet = 0; !work.IsCompleted;)
        {
            long before = Interlocked.Read(ref _changes);
            await Task.WhenAny(work, Task.Delay(1)).ConfigureAwait(false);
            quiet = before == Interlocked.Read(ref _changes) ? quiet + 1 : 0;
            if (!work.IsCompleted && quiet >= 2)
            {
                FireNext(DateTimeOffset.MaxValue);
                quiet = 0;
            }
        }

        await work.ConfigureAwait(false);
    }

    /// <inheritdoc cref="RunAsync(Task)"/>
    public async Task<T> RunAsync<T>(Task<T> work)
    {
        await RunAsync((Task)work).ConfigureAwait(false);
        return await work.ConfigureAwait(false);
    }

    /// <summary>Waits in real time until something has come about by itself, which must not take a minute.</summary>
    public static async Task UntilAsync(Func<bool> happened)
    {
        for (int i = 0; !happened(); i++)
        {
            if (i == 12_000)
            {
                throw new TimeoutException("It did not come about.");
            }

            await Task.Delay(5).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        Timer timer = new(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    private bool FireNext(DateTimeOffset until)
    {
        Timer? timer;
        lock (_gate)
        {
            timer = Next();
            if (timer is null || timer.Due > until)
            {
                return false;
            }

            DateTimeOffset due = timer.Due.GetValueOrDefault();
            _now = due > _now ? due : _now;
            timer.Due = timer.Period == Timeout.InfiniteTimeSpan || timer.Period == TimeSpan.Zero ? null : _now + timer.Period;
            Interlocked.Increment(ref _changes);
        }

        timer.Fire();
        return true;
    }

    private Timer? Next() => _timers.Where(static t => t.Due is not null).MinBy(static t => t.Due);

    private sealed class Timer(SteppedTime owner, TimerCallback callback, object? state) : ITimer
    {
        public DateTimeOffset? Due { get; set; }

        public TimeSpan Period { get; private set; }

        public void Fire() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (owner._gate)
            {
                Period = period;
                Due = dueTime == Timeout.InfiniteTimeSpan ? null : owner._now + dueTime;
                if (!owner._timers.Contains(this))
                {
                    owner._timers.Add(this);
                }

                Interlocked.Increment(ref owner._changes);
            }

            return true;
        }

        public void Dispose()
        {
            lock (owner._gate)
            {
                owner._timers.Remove(this);
                Interlocked.Increment(ref owner._changes);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
