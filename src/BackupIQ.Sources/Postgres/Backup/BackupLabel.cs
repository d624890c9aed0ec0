using System.Globalization;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>What the server's <c>backup_label</c> says: where recovery begins.</summary>
/// <param name="StartLsn">Where the WAL that is needed begins.</param>
/// <param name="StartSegment">The segment file that holds it.</param>
/// <param name="Timeline">The timeline of the backup.</param>
internal sealed record BackupLabel(ulong StartLsn, string StartSegment, uint Timeline)
{
    /// <summary>Reads the label.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it is none.</exception>
    public static BackupLabel Parse(string text)
    {
        const string Start = "START WAL LOCATION: ";
        const string File = " (file ";
        const string Timeline = "START TIMELINE: ";
        Lsn lsn = Lsn.None;
        string segment = "";
        uint timeline = 0;
        foreach (string line in text.Split('\n'))
        {
            int file = line.IndexOf(File, StringComparison.Ordinal);
            if (line.StartsWith(Start, StringComparison.Ordinal) && file >= Start.Length && line.EndsWith(')') && Lsn.TryParse(line.AsSpan()[Start.Length..file], out lsn))
            {
                segment = line[(file + File.Length)..^1];
            }
            else if (line.StartsWith(Timeline, StringComparison.Ordinal))
            {
                _ = uint.TryParse(line[Timeline.Length..].Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out timeline);
            }
        }

        return segment.Length == 24 && segment.All(char.IsAsciiHexDigit) && timeline > 0
            ? new BackupLabel(lsn.Value, segment, timeline)
            : throw new BackupIQException(ErrorCodes.SourceServer, "The server answered with a backup label that says neither where the WAL begins nor on which timeline");
    }
}
