using System.Globalization;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>What a file of the log is.</summary>
public enum WalFileKind
{
    /// <summary>A segment.</summary>
    Segment,

    /// <summary>The last segment of a timeline that was left for another one; it may not be written to its end.</summary>
    Partial,

    /// <summary>From where a timeline comes.</summary>
    History,

    /// <summary>Where a base backup began and ended.</summary>
    Backup,
}

/// <summary>The name of a file of the log, as the server gives it to its archive.</summary>
/// <param name="Kind">What the file is.</param>
/// <param name="Timeline">Its timeline.</param>
/// <param name="High">The middle eight digits of a segment's name.</param>
/// <param name="Low">The last eight.</param>
/// <param name="Offset">The bytes in the segment where the backup begins, for <see cref="WalFileKind.Backup"/>.</param>
public readonly record struct WalFileName(WalFileKind Kind, uint Timeline, uint High = 0, uint Low = 0, uint Offset = 0)
{
    private const int SegmentLength = 24;

    /// <summary>Reads a name; false for what a server never archives.</summary>
    public static bool TryParse(ReadOnlySpan<char> name, out WalFileName file)
    {
        file = default;
        if (name.Length == 16 && name[8..].SequenceEqual(".history") && TryHex(name[..8], out uint timeline))
        {
            file = new WalFileName(WalFileKind.History, timeline);
            return timeline > 0;
        }

        if (name.Length < SegmentLength || !TryHex(name[..8], out timeline) || timeline == 0 || !TryHex(name[8..16], out uint high) || !TryHex(name[16..24], out uint low))
        {
            return false;
        }

        ReadOnlySpan<char> rest = name[SegmentLength..];
        uint offset = 0;
        if (rest.Length != 0 && !rest.SequenceEqual(".partial") && !(rest.Length == 16 && rest[0] == '.' && rest[9..].SequenceEqual(".backup") && TryHex(rest[1..9], out offset)))
        {
            return false;
        }

        file = new WalFileName(
            rest.Length == 0 ? WalFileKind.Segment : rest.Length == 8 ? WalFileKind.Partial : WalFileKind.Backup, timeline, high, low, offset);
        return true;
    }

    /// <summary>A segment by its number on its timeline.</summary>
    public static WalFileName OfSegment(uint timeline, ulong number, uint segmentSize)
    {
        ulong each = PerFile(segmentSize);
        return new WalFileName(WalFileKind.Segment, timeline, (uint)(number / each), (uint)(number % each));
    }

    /// <summary>The segment that holds a place.</summary>
    public static WalFileName OfPlace(uint timeline, Lsn place, uint segmentSize) => OfSegment(timeline, place.Value / segmentSize, segmentSize);

    /// <summary>The history of a timeline.</summary>
    public static WalFileName OfHistory(uint timeline) => new(WalFileKind.History, timeline);

    /// <summary>The number of a segment, with segments of such a size.</summary>
    public ulong NumberOf(uint segmentSize) => (High * PerFile(segmentSize)) + Low;

    /// <summary>Whether segments of such a size have such names.</summary>
    public bool Fits(uint segmentSize) => Low < PerFile(segmentSize);

    /// <summary>Where the segment begins.</summary>
    public Lsn StartOf(uint segmentSize) => new(NumberOf(segmentSize) * segmentSize);

    /// <inheritdoc/>
    public override string ToString() => Kind switch
    {
        WalFileKind.History => string.Create(CultureInfo.InvariantCulture, $"{Timeline:X8}.history"),
        WalFileKind.Partial => string.Create(CultureInfo.InvariantCulture, $"{Timeline:X8}{High:X8}{Low:X8}.partial"),
        WalFileKind.Backup => string.Create(CultureInfo.InvariantCulture, $"{Timeline:X8}{High:X8}{Low:X8}.{Offset:X8}.backup"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{Timeline:X8}{High:X8}{Low:X8}"),
    };

    private static ulong PerFile(uint segmentSize) => 0x1_0000_0000UL / segmentSize;

    // The server writes capital letters, and asks for them.
    private static bool TryHex(ReadOnlySpan<char> text, out uint value)
    {
        value = 0;
        return !text.ContainsAnyExcept("0123456789ABCDEF") && uint.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
