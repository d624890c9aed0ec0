namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>PostgreSQL's moments: microseconds since 2000-01-01 UTC.</summary>
public static class PostgresTime
{
    private static readonly long Epoch = new DateTime(2000, 1, 1, 0, 0, 0, DateTimeKind.Utc).Ticks;

    /// <summary>The moment; null for one that no calendar has, which a damaged or hostile log may name.</summary>
    public static DateTimeOffset? Read(long microseconds) =>
        microseconds >= -(Epoch / 10) && microseconds <= (DateTime.MaxValue.Ticks - Epoch) / 10 ? new DateTimeOffset(Epoch + (microseconds * 10), TimeSpan.Zero) : null;

    /// <summary>The same the other way round; what is finer than a microsecond is left out.</summary>
    public static long Write(DateTimeOffset moment) => (moment.UtcTicks - Epoch) / 10;
}
