using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Parsing;

/// <summary>
/// Bytes a second as people write them: <c>10M</c>, <c>unlimited</c>, or by the time of day <c>08:00-18:00=2M,else=unlimited</c>. Times are
/// this machine's wall time; a window may go over midnight; of several that are open the first counts; without <c>else</c> there is no
/// limit outside of them.
/// </summary>
internal static class RateText
{
    private static readonly string[] Times = ["H:mm", "HH:mm"];

    /// <summary>Reads it; false when it is none.</summary>
    public static bool TryParse(string text, out RateSchedule schedule)
    {
        schedule = RateSchedule.Unlimited;
        if (!text.Contains('='))
        {
            bool isRate = TryParseRate(text, out long always);
            schedule = new RateSchedule(always);
            return isRate;
        }

        List<RateWindow> windows = [];
        long? otherwise = null;
        foreach (string part in text.Split(',', StringSplitOptions.TrimEntries))
        {
            string[] sides = part.Split('=', StringSplitOptions.TrimEntries);
            if (sides.Length != 2 || !TryParseRate(sides[1], out long rate))
            {
                return false;
            }

            if (sides[0] == "else")
            {
                if (otherwise is not null)
                {
                    return false;
                }

                otherwise = rate;
                continue;
            }

            string[] ends = sides[0].Split('-', StringSplitOptions.TrimEntries);
            if (ends.Length != 2 || !TryParseTime(ends[0], out TimeOnly from) || !TryParseTime(ends[1], out TimeOnly to))
            {
                return false;
            }

            windows.Add(new RateWindow(from, to, rate));
        }

        schedule = new RateSchedule(otherwise ?? 0) { Windows = windows };
        return true;
    }

    private static bool TryParseRate(string text, out long perSecond)
    {
        perSecond = 0;
        return text == "unlimited" || (text.Length > 0 && Quantity.TryParseSize(text, out perSecond));
    }

    // 24:00 is the midnight at the end of the day.
    private static bool TryParseTime(string text, out TimeOnly time) =>
        TimeOnly.TryParseExact(text == "24:00" ? "00:00" : text, Times, CultureInfo.InvariantCulture, DateTimeStyles.None, out time);
}
