namespace BackupIQ.Engine.Trees;

/// <summary>A moment as file systems keep it: seconds since 1970 (may be negative) and nanoseconds after it (0 to 999,999,999).</summary>
public readonly record struct FileTime(long Seconds, uint Nanoseconds) : IComparable<FileTime>
{
    /// <inheritdoc/>
    public int CompareTo(FileTime other) =>
        Seconds != other.Seconds ? Seconds.CompareTo(other.Seconds) : Nanoseconds.CompareTo(other.Nanoseconds);

    /// <summary>The same moment at the precision of .NET (100 ns), clamped to its range.</summary>
    public DateTimeOffset ToDateTimeOffset() =>
        DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(Seconds, -62_135_596_800, 253_402_300_799)).AddTicks(Nanoseconds / 100);
}
