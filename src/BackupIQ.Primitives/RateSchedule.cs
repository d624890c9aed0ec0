namespace BackupIQ.Primitives;

/// <summary>A time of day at which a rate holds: from <paramref name="From"/> until just before <paramref name="To"/>, over midnight where that is earlier.</summary>
/// <param name="From">Wall time.</param>
/// <param name="To">Wall time; the same as <paramref name="From"/>: the whole day.</param>
/// <param name="PerSecond">The rate; 0: no limit.</param>
public sealed record RateWindow(TimeOnly From, TimeOnly To, long PerSecond)
{
    /// <summary>Whether the window is open at this wall time.</summary>
    public bool Contains(TimeOnly time) => From == To || time.IsBetween(From, To);
}

/// <summary>How many bytes (or requests) may pass a second, by the time of day.</summary>
/// <remarks>
/// Windows are wall time of the clock's own zone: where clocks are put forward, a window that lies in the missing hour does not come; where
/// they are put back, one in the doubled hour comes twice.
/// </remarks>
/// <param name="Otherwise">The rate while no window is open; 0: no limit.</param>
public sealed record RateSchedule(long Otherwise)
{
    /// <summary>No limit at any time.</summary>
    public static RateSchedule Unlimited { get; } = new(0);

    /// <summary>The windows; of several that are open the first counts.</summary>
    public IReadOnlyList<RateWindow> Windows { get; init; } = [];

    /// <summary>Whether there is no limit at any time.</summary>
    public bool IsUnlimited => Otherwise == 0 && Windows.All(static window => window.PerSecond == 0);

    /// <summary>The same rate at all times; 0: no limit.</summary>
    public static implicit operator RateSchedule(long perSecond) => FromInt64(perSecond);

    /// <summary>The same rate at all times; 0: no limit.</summary>
    public static RateSchedule FromInt64(long perSecond)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(perSecond);
        return new RateSchedule(perSecond);
    }

    /// <summary>The rate at a wall time; 0: no limit.</summary>
    public long At(TimeOnly time)
    {
        foreach (RateWindow window in Windows)
        {
            if (window.Contains(time))
            {
                return window.PerSecond;
            }
        }

        return Otherwise;
    }

    /// <summary>The rate now; 0: no limit.</summary>
    public long At(TimeProvider time) => Windows.Count == 0 ? Otherwise : At(TimeOnly.FromDateTime(time.GetLocalNow().DateTime));
}
