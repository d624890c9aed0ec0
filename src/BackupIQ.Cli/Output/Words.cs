using System.Globalization;

namespace BackupIQ.Cli.Output;

/// <summary>Figures as people read them.</summary>
internal static class Words
{
    private static readonly string[] Units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    /// <summary><c>512 B</c>, <c>1.5 MiB</c>: three digits and a unit of 1024.</summary>
    public static string Size(double bytes)
    {
        int unit = 0;
        while (Math.Abs(bytes) >= 999.5 && unit < Units.Length - 1)
        {
            bytes /= 1024;
            unit++;
        }

        string number = unit == 0 || bytes >= 99.95 ? bytes.ToString("0", CultureInfo.InvariantCulture)
            : bytes >= 9.995 ? bytes.ToString("0.0", CultureInfo.InvariantCulture)
            : bytes.ToString("0.00", CultureInfo.InvariantCulture);
        return $"{number} {Units[unit]}";
    }

    /// <summary><c>0:07</c>, <c>12:34</c>, <c>1:02:03</c>, <c>3d 04:05:06</c>.</summary>
    public static string Clock(TimeSpan time)
    {
        time = time < TimeSpan.Zero ? TimeSpan.Zero : time;
        string text = time.TotalHours < 1 ? $"{(int)time.TotalMinutes}:{time.Seconds:00}"
            : time.TotalDays < 1 ? $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}"
            : $"{(int)time.TotalDays}d {time.Hours:00}:{time.Minutes:00}:{time.Seconds:00}";
        return text;
    }

    /// <summary>A duration as a sentence has it: <c>0.42 s</c>, <c>8.1 s</c>, <c>2 min 5 s</c>, <c>1 h 3 min</c>.</summary>
    public static string Duration(TimeSpan time) => time.TotalSeconds switch
    {
        < 1 => time.TotalSeconds.ToString("0.00 s", CultureInfo.InvariantCulture),
        < 60 => time.TotalSeconds.ToString("0.0 s", CultureInfo.InvariantCulture),
        < 3600 => $"{(int)time.TotalMinutes} min {time.Seconds} s",
        < 86_400 => $"{(int)time.TotalHours} h {time.Minutes} min",
        _ => $"{(int)time.TotalDays} d {time.Hours} h",
    };

    /// <summary>How long a request took: <c>22 µs</c>, <c>0.4 ms</c>, <c>35 ms</c>, <c>1.2 s</c>.</summary>
    public static string Latency(TimeSpan time) => time.TotalMilliseconds switch
    {
        < 0.1 => time.TotalMicroseconds.ToString("0 'µs'", CultureInfo.InvariantCulture),
        < 10 => time.TotalMilliseconds.ToString("0.0 'ms'", CultureInfo.InvariantCulture),
        < 1000 => time.TotalMilliseconds.ToString("0 'ms'", CultureInfo.InvariantCulture),
        _ => Duration(time),
    };

    /// <summary><c>1 file</c>, <c>12,345 files</c>.</summary>
    public static string Count(long count, string one, string? many = null) =>
        string.Create(CultureInfo.InvariantCulture, $"{count:N0} {(count == 1 ? one : many ?? one + "s")}");

    /// <summary>A number with separators: <c>12,345</c>.</summary>
    public static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>A moment in the zone of the person who reads it: <c>2026-11-22 10:00:00</c>.</summary>
    public static string Moment(DateTimeOffset time, TimeZoneInfo zone) =>
        TimeZoneInfo.ConvertTime(time, zone).ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
}
