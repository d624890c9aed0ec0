using BackupIQ.Engine.Trees;

namespace BackupIQ.Sources.Restic;

/// <summary>Moments as Go writes them (RFC 3339): <c>2022-01-02T03:04:05.123456789+01:00</c>, with none to nine digits behind the second.</summary>
internal static class ResticTime
{
    /// <summary>Reads a moment and the zone it is written in; false when it is none.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out FileTime time, out TimeSpan zone)
    {
        time = default;
        zone = default;
        if (text.Length is < 20 or > 40 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':'
            || !TryNumber(text[..4], out int year) || !TryNumber(text[5..7], out int month) || !TryNumber(text[8..10], out int day)
            || !TryNumber(text[11..13], out int hour) || !TryNumber(text[14..16], out int minute) || !TryNumber(text[17..19], out int second)
            || month is < 1 or > 12 || day < 1 || day > DaysIn(year, month) || hour > 23 || minute > 59 || second > 59)
        {
            return false;
        }

        ReadOnlySpan<byte> rest = text[19..];
        uint nanoseconds = 0;
        if (rest[0] == '.')
        {
            int digits = 1;
            while (digits < rest.Length && rest[digits] is >= (byte)'0' and <= (byte)'9')
            {
                digits++;
            }

            if (digits is < 2 or > 10)
            {
                return false;
            }

            for (int i = 1; i < 10; i++)
            {
                nanoseconds = (nanoseconds * 10) + (i < digits ? (uint)(rest[i] - '0') : 0);
            }

            rest = rest[digits..];
        }

        if (!TryZone(rest, out int minutes))
        {
            return false;
        }

        long seconds = (DaysFromCivil(year, month, day) * 86400) + (hour * 3600) + (minute * 60) + second - (minutes * 60L);
        time = new FileTime(seconds, nanoseconds);
        zone = TimeSpan.FromMinutes(minutes);
        return true;
    }

    private static bool TryZone(ReadOnlySpan<byte> text, out int minutes)
    {
        minutes = 0;
        if (text is [(byte)'Z'])
        {
            return true;
        }

        if (text.Length != 6 || text[0] is not ((byte)'+' or (byte)'-') || text[3] != ':'
            || !TryNumber(text[1..3], out int hours) || !TryNumber(text[4..], out int rest) || hours > 23 || rest > 59)
        {
            return false;
        }

        minutes = ((hours * 60) + rest) * (text[0] == '-' ? -1 : 1);
        return true;
    }

    private static bool TryNumber(ReadOnlySpan<byte> digits, out int number)
    {
        number = 0;
        foreach (byte digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                return false;
            }

            number = (number * 10) + digit - '0';
        }

        return true;
    }

    private static bool IsLeap(int year) => (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    private static int DaysIn(int year, int month) => month == 2 ? (IsLeap(year) ? 29 : 28) : month is 4 or 6 or 9 or 11 ? 30 : 31;

    // Days since 1970 in the proleptic Gregorian calendar; years begin in March, so that the leap day is a year's last.
    private static long DaysFromCivil(int year, int month, int day)
    {
        long y = month <= 2 ? year - 1 : year;
        long era = (y >= 0 ? y : y - 399) / 400;
        long yearOfEra = y - (era * 400);
        long dayOfYear = (((153 * (month + (month > 2 ? -3 : 9))) + 2) / 5) + day - 1;
        long dayOfEra = (yearOfEra * 365) + (yearOfEra / 4) - (yearOfEra / 100) + dayOfYear;
        return (era * 146097) + dayOfEra - 719468;
    }
}
