namespace BackupIQ.Storage.Resilience;

/// <summary>How long the last requests took, and which times they seldom exceed. Thread-safe.</summary>
internal sealed class LatencyWindow
{
    /// <summary>Enough for a p99 that is not just the longest.</summary>
    private const int Remembered = 256;

    private readonly Lock _gate = new();
    private readonly long[] _ticks = new long[Remembered];
    private long[]? _sorted;
    private int _count;
    private int _age;

    /// <summary>How many requests there were.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _count;
            }
        }
    }

    /// <summary>Adds one.</summary>
    public void Add(TimeSpan latency)
    {
        lock (_gate)
        {
            _ticks[_count++ % Remembered] = latency.Ticks;
            if (_count >= 2 * Remembered)
            {
                _count -= Remembered;
            }

            _age++;
        }
    }

    /// <summary>The time that a share of the last requests did not exceed (nearest rank, at most 16 requests old); null while there were none.</summary>
    public TimeSpan? Percentile(double share)
    {
        lock (_gate)
        {
            int filled = Math.Min(_count, Remembered);
            if (filled == 0)
            {
                return null;
            }

            if (_sorted is null || _sorted.Length != filled || _age >= 16)
            {
                _sorted = _ticks[..filled];
                Array.Sort(_sorted);
                _age = 0;
            }

            return new TimeSpan(_sorted[Math.Clamp((int)Math.Ceiling(share * filled) - 1, 0, filled - 1)]);
        }
    }
}
