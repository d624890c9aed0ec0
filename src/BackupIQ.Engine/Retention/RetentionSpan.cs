using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Retention;

/// <summary>
/// A length of time as calendars have it: <c>1y6m2w3d12h</c> (years, months, weeks, days, hours). A month before 31 March is what the calendar
/// makes of 31 February: 3 March, as restic has it.
/// </summary>
public readonly record struct RetentionSpan(int Years, int Months, int Days, int Hours)
{
    // So many of each: beyond, the calendar ends.
    private const int Most = 9999;

    /// <summary>Whether it has no length.</summary>
    public bool IsZero => this == default;

    /// <summary>Reads <c>1y6m2w3d12h</c>; each unit once at most, in any order.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static RetentionSpan Parse(string text)
    {
        int years = 0, months = 0, days = 0, hours = 0;
        ReadOnlySpan<char> rest = text;
        while (!rest.IsEmpty)
        {
            int digits = rest.IndexOfAnyExceptInRange('0', '9');
            if (digits <= 0 || !int.TryParse(rest[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number > Most)
            {
                throw Malformed(text);
            }

            switch (rest[digits])
            {
                case 'y': years = years == 0 ? number : throw Malformed(text); break;
                case 'm': months = months == 0 ? number : throw Malformed(text); break;
                case 'w': days += 7 * number; break;
                case 'd': days += number; break;
                case 'h': hours = hours == 0 ? number : throw Malformed(text); break;
                default: throw Malformed(text);
            }

            rest = rest[(digits + 1)..];
        }

        return text.Length > 0 ? new RetentionSpan(years, months, days, hours) : throw Malformed(text);
    }

    /// <summary>
    /// The moment so long before <paramref name="moment"/>. Where the moment's offset is that of <paramref name="zone"/> at that time, years to
    /// days are counted on the clock of that zone, so that a day has 23 or 25 hours where its clock is set; else on a clock of that offset.
    /// </summary>
    public DateTimeOffset Before(DateTimeOffset moment, TimeZoneInfo zone)
    {
        // Months beyond 12 carry into years, days beyond a month into months: what the calendar makes of it.
        long month = ((moment.Year - (long)Years) * 12) + moment.Month - 1 - Months;
        if (month < 12)
        {
            return DateTimeOffset.MinValue;
        }

        DateTime first = new((int)(month / 12), (int)(month % 12) + 1, 1, 0, 0, 0, DateTimeKind.Unspecified);
        double back = moment.Day - 1 - Days;
        if ((first - DateTime.MinValue).TotalDays + back < 1)
        {
            return DateTimeOffset.MinValue;
        }

        DateTime clock = first.AddDays(back) + moment.TimeOfDay;
        DateTimeOffset day = zone.GetUtcOffset(moment) == moment.Offset ? OnClockOf(zone, clock) : new DateTimeOffset(clock, moment.Offset);
        TimeSpan hours = TimeSpan.FromHours(Hours);
        return day.UtcDateTime - DateTime.MinValue > hours + TimeSpan.FromDays(1) ? day - hours : DateTimeOffset.MinValue;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string text = string.Create(
            CultureInfo.InvariantCulture,
            $"{Part(Years, 'y')}{Part(Months, 'm')}{Part(Days, 'd')}{Part(Hours, 'h')}");
        return text.Length == 0 ? "0h" : text;
    }

    /// <summary>About so many days.</summary>
    public double ApproximateDays => (Years * 365.25) + (Months * 30.44) + Days + (Hours / 24.0);

    // A time that the clock skips or shows twice is read by the offset that holds some hours away, as Go's clock does it: the offset looked
    // up as if the clock showed universal time, unless that offset does not hold at the moment that results.
    private static DateTimeOffset OnClockOf(TimeZoneInfo zone, DateTime clock)
    {
        DateTime asUtc = DateTime.SpecifyKind(clock, DateTimeKind.Utc);
        TimeSpan offset = zone.GetUtcOffset(asUtc);
        DateTime moment = asUtc - offset;
        TimeSpan there = zone.GetUtcOffset(moment);
        if (there != offset)
        {
            moment = asUtc - there;
        }

        return new DateTimeOffset(moment, TimeSpan.Zero).ToOffset(zone.GetUtcOffset(moment));
    }

    private static string Part(int number, char unit) => number == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"{number}{unit}");

    private static BackupIQException Malformed(string text) =>
        new(ErrorCodes.Usage, $"'{text}' is no length of time for retention", "Write years, months, weeks, days and hours, as in 1y6m2w3d12h (m is months).");
}
