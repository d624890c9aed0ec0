namespace BackupIQ.Storage.Resilience;

/// <summary>
/// The bulkhead of one provider: so many requests at once, the others wait in the order in which they came. How many follows from what the
/// storage shows, within a budget. Thread-safe.
/// </summary>
/// <remarks>
/// Additive increase, multiplicative decrease, as TCP does it: a request that came back quickly while the limit was in use raises it by
/// 1/limit; one that took three times as long as the best of its kind and size lately, or that the storage answered with "too much", lowers
/// it by three tenths, once per round trip. A line or a disk that is full does not get quicker by more requests, they only wait on it
/// instead of here; and where storages are shared, clients that all do so get equal parts. A gradient of latencies adapts more finely, but
/// needs requests that are alike; ours are a stat of 100 bytes and a pack of 64 MiB.
/// </remarks>
internal sealed class ConcurrencyLimit
{
    /// <summary>Below so much, latency is the machine's own noise.</summary>
    private static readonly TimeSpan Noise = TimeSpan.FromMilliseconds(20);

    private const double SlowFactor = 3;
    private const double Decrease = 0.7;

    private readonly Lock _gate = new();
    private readonly int _most;
    private readonly LinkedList<TaskCompletionSource> _waiting = [];
    private readonly TimeProvider _time;
    private readonly BestLatency[] _best = new BestLatency[Enum.GetValues<StorageOperation>().Length * BestLatency.Sizes];
    private double _limit;
    private int _used;
    private long _lowered;

    /// <param name="most">The budget.</param>
    /// <param name="time">Measures.</param>
    public ConcurrencyLimit(int most, TimeProvider time)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(most, 1);
        _most = most;
        _time = time;

        // A quarter of the budget at first: raised within a few round trips where that is too little.
        _limit = Math.Max(Math.Min(2, most), most / 4);
        _lowered = long.MinValue;
    }

    /// <summary>How many requests may be made at once now.</summary>
    public int Limit
    {
        get
        {
            lock (_gate)
            {
                return (int)_limit;
            }
        }
    }

    /// <summary>How many are being made.</summary>
    public int Used
    {
        get
        {
            lock (_gate)
            {
                return _used;
            }
        }
    }

    /// <summary>How many wait.</summary>
    public int Waiting
    {
        get
        {
            lock (_gate)
            {
                return _waiting.Count;
            }
        }
    }

    /// <summary>Waits for a place. Follow with <see cref="Leave"/>.</summary>
    public async ValueTask EnterAsync(CancellationToken cancellationToken)
    {
        LinkedListNode<TaskCompletionSource> place;
        lock (_gate)
        {
            if (_waiting.Count == 0 && _used < (int)_limit)
            {
                _used++;
                return;
            }

            place = _waiting.AddLast(new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        }

        using CancellationTokenRegistration cancelled = cancellationToken.UnsafeRegister(
            (_, token) =>
            {
                lock (_gate)
                {
                    if (place.List is null)
                    {
                        // It was just given a place; whoever called finds out itself that it is cancelled.
                        return;
                    }

                    _waiting.Remove(place);
                }

                place.Value.TrySetCanceled(token);
            },
            null);
        await place.Value.Task.ConfigureAwait(false);
    }

    /// <summary>Takes a place if one is free and nobody waits for it.</summary>
    public bool TryEnter()
    {
        lock (_gate)
        {
            if (_waiting.Count > 0 || _used >= (int)_limit)
            {
                return false;
            }

            _used++;
            return true;
        }
    }

    /// <summary>Gives a place back.</summary>
    public void Leave()
    {
        lock (_gate)
        {
            _used--;
            Admit();
        }
    }

    /// <summary>A request went through: how long it took says whether there may be more at once.</summary>
    public void Learn(StorageOperation operation, long bytes, TimeSpan latency, long began)
    {
        lock (_gate)
        {
            bool isSlow = _best[((int)operation * BestLatency.Sizes) + BestLatency.SizeOf(bytes)].Add(latency.Ticks, SlowFactor) && latency > Noise;
            if (isSlow)
            {
                Lower(began);
            }
            else if (_used >= (int)_limit)
            {
                _limit = Math.Min(_most, _limit + (1 / _limit));
                Admit();
            }
        }
    }

    /// <summary>The storage said that it is too much, or did not answer in time.</summary>
    public void Overloaded(long began)
    {
        lock (_gate)
        {
            Lower(began);
        }
    }

    // Requests that began before the limit was lowered tell of the time before.
    private void Lower(long began)
    {
        if (began >= _lowered)
        {
            _limit = Math.Max(1, _limit * Decrease);
            _lowered = _time.GetTimestamp();
        }
    }

    private void Admit()
    {
        while (_used < (int)_limit && _waiting.First is { } first)
        {
            _waiting.RemoveFirst();
            _used++;
            first.Value.TrySetResult();
        }
    }

    /// <summary>The best latency of requests of one kind and size among the last 64 to 128: old bests are forgotten, as lines and storages change.</summary>
    private struct BestLatency
    {
        /// <summary>Sizes in powers of two, from 64 KiB to 2 GiB.</summary>
        public const int Sizes = 16;

        private const int Remembered = 64;

        private long _best;
        private long _next;
        private int _count;

        public static int SizeOf(long bytes) => (int)Math.Min(Sizes - 1, 64 - long.LeadingZeroCount(bytes >> 16));

        /// <summary>Whether this one is slow beside the best.</summary>
        public bool Add(long ticks, double factor)
        {
            _next = _count == 0 ? ticks : Math.Min(_next, ticks);
            _best = _best == 0 ? ticks : Math.Min(_best, ticks);
            if (++_count == Remembered)
            {
                _best = _next;
                _count = 0;
            }

            return ticks > _best * factor;
        }
    }
}
