using System.Globalization;

namespace BackupIQ.Sources.Postgres;

/// <summary>Positions in the WAL, as PostgreSQL writes them: <c>16/B374D848</c>.</summary>
internal static class PostgresLsn
{
    public static bool TryParse(string text, out ulong position)
    {
        position = 0;
        int slash = text.IndexOf('/');
        if (slash < 1
            || !uint.TryParse(text.AsSpan(0, slash), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint high)
            || !uint.TryParse(text.AsSpan(slash + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint low))
        {
            return false;
        }

        position = ((ulong)high << 32) | low;
        return true;
    }

    public static string Show(ulong position) => string.Create(CultureInfo.InvariantCulture, $"{position >> 32:X}/{(uint)position:X}");

    /// <summary>The name of the segment file that holds a position.</summary>
    public static string SegmentName(uint timeline, ulong position, uint segmentSize)
    {
        ulong segment = position / segmentSize;
        ulong perId = 0x1_0000_0000UL / segmentSize;
        return string.Create(CultureInfo.InvariantCulture, $"{timeline:X8}{segment / perId:X8}{segment % perId:X8}");
    }
}
