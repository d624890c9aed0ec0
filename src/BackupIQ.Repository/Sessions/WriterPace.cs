namespace BackupIQ.Repository.Sessions;

/// <summary>
/// Tells whether writers wait for the storage, and so how much work a frame's compression may cost: where they wait, the processor has
/// head-room, and a smaller frame is sooner stored. Thread-safe.
/// </summary>
internal sealed class WriterPace(TimeProvider time)
{
    /// <summary>The highest <see cref="Effort"/>.</summary>
    public const int MaxEffort = 3;

    private static readonly TimeSpan Window = TimeSpan.FromMilliseconds(500);

    private readonly Lock _gate = new();
    private long _begun = time.GetTimestamp();
    private TimeSpan _waited;
    private int _waiting;
    private long _waitingSince;
    private volatile int _effort;

    /// <summary>0 while the processor is what a backup waits for, up to <see cref="MaxEffort"/> while it is the storage.</summary>
    public int Effort
    {
        get
        {
            Review();
            return _effort;
        }
    }

    /// <summary>Runs something that may wait for the storage.</summary>
    public void Wait(Action action)
    {
        lock (_gate)
        {
            if (_waiting++ == 0)
            {
                _waitingSince = time.GetTimestamp();
            }
        }

        try
        {
            action();
        }
        finally
        {
            lock (_gate)
            {
                Settle();
                _waiting--;
            }
        }
    }

    // One step a window: up when somebody waited for more than half of it, down when hardly anybody did.
    private void Review()
    {
        if (time.GetElapsedTime(Volatile.Read(ref _begun)) < Window)
        {
            return;
        }

        lock (_gate)
        {
            TimeSpan window = time.GetElapsedTime(_begun);
            if (window < Window)
            {
                return;
            }

            Settle();
            double share = _waited / window;
            _effort = Math.Clamp(share > 0.5 ? _effort + 1 : share < 0.1 ? _effort - 1 : _effort, 0, MaxEffort);
            _waited = TimeSpan.Zero;
            Volatile.Write(ref _begun, time.GetTimestamp());
        }
    }

    private void Settle()
    {
        long now = time.GetTimestamp();
        if (_waiting > 0)
        {
            _waited += time.GetElapsedTime(_waitingSince, now);
        }

        _waitingSince = now;
    }
}
