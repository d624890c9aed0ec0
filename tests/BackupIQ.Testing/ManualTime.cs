namespace BackupIQ.Testing;

/// <summary>A clock that a test sets. Timers run in real time.</summary>
public sealed class ManualTime(DateTimeOffset now, TimeZoneInfo? zone = null) : TimeProvider
{
    /// <summary>What the clock says.</summary>
    public DateTimeOffset Now { get; set; } = now;

    /// <inheritdoc/>
    public override TimeZoneInfo LocalTimeZone => zone ?? TimeZoneInfo.Utc;

    /// <inheritdoc/>
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    /// <inheritdoc/>
    public override long GetTimestamp() => Now.UtcTicks;

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => Now.ToUniversalTime();
}
