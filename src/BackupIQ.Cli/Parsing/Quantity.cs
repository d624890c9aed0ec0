using System.Globalization;

namespace BackupIQ.Cli.Parsing;

/// <summary>Sizes and durations as people write them.</summary>
internal static class Quantity
{
    /// <summary>
    /// A size in bytes: <c>1048576</c>, <c>512M</c>, <c>1.5GiB</c>, and for rates <c>10M/s</c>. K, M, G, T, P count in 1024. False when it is none or
    /// larger than 2^63.
    /// </summary>
    public static bool TryParseSize(string text, out long bytes)
    {
        bytes = 0;
        ReadOnlySpan<char> number = text.AsSpan().Trim();
        if (number.EndsWith("/s", StringComparison.OrdinalIgnoreCase))
        {
            number = number[..^2];
        }

        if (number.EndsWith("iB", StringComparison.OrdinalIgnoreCase) && number.Length > 2 && char.IsAsciiLetter(number[^3]))
        {
            number = number[..^2];
        }
        else if (number.EndsWith("B", StringComparison.OrdinalIgnoreCase))
        {
            number = number[..^1];
        }

        int power = number.IsEmpty ? 0 : "KMGTP".IndexOf(char.ToUpperInvariant(number[^1])) + 1;
        if (power > 0)
        {
            number = number[..^1];
        }

        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value) || value > long.MaxValue)
        {
            return false;
        }

        decimal product = value * (1L << (10 * power));
        if (product > long.MaxValue)
        {
            return false;
        }

        bytes = (long)product;
        return true;
    }

    /// <summary>
    /// A duration: numbers with units that add up, <c>90s</c>, <c>1h30m</c>, <c>30d</c>, <c>2w</c>, <c>1y</c> (365 days), <c>250ms</c>. A bare number is refused:
    /// nobody can know its unit; but 0 is 0 in every unit.
    /// </summary>
    public static bool TryParseDuration(string text, out TimeSpan duration)
    {
        duration = default;
        decimal seconds = 0;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        if (rest.IsEmpty)
        {
            return false;
        }

        if (rest is "0")
        {
            return true;
        }

        while (!rest.IsEmpty)
        {
            int digits = rest.IndexOfAnyExcept("0123456789.");
            if (digits <= 0
                || !decimal.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number)
                || number > 1_000_000_000)
            {
                return false;
            }

            rest = rest[digits..];
            int unitEnd = rest.IndexOfAny("0123456789.");
            ReadOnlySpan<char> unit = unitEnd < 0 ? rest : rest[..unitEnd];
            decimal factor = unit switch
            {
                "ms" => 0.001m,
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                "w" => 7 * 86_400,
                "y" => 365 * 86_400,
                _ => 0,
            };
            if (factor == 0)
            {
                return false;
            }

            seconds += number * factor;
            rest = unitEnd < 0 ? default : rest[unitEnd..];
        }

        if (seconds > 100 * 365 * 86_400m)
        {
            return false;
        }

        duration = TimeSpan.FromTicks((long)(seconds * TimeSpan.TicksPerSecond));
        return true;
    }
}
