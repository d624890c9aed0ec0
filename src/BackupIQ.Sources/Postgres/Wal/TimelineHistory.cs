using System.Globalization;
using System.Text;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>Where a timeline was left for the next one.</summary>
/// <param name="Timeline">The one that was left.</param>
/// <param name="SwitchedAt">Where.</param>
public readonly record struct TimelineSwitch(uint Timeline, Lsn SwitchedAt);

/// <summary>From where a timeline comes: what a <c>.history</c> file says.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="Ancestors">Those before it, the oldest first.</param>
public sealed record TimelineHistory(uint Timeline, IReadOnlyList<TimelineSwitch> Ancestors)
{
    /// <summary>The largest such file that is read: a line for each time that a cluster was promoted.</summary>
    public const int LargestFile = 1 << 20;

    /// <summary>A timeline without a past.</summary>
    public static TimelineHistory OfFirst(uint timeline) => new(timeline, []);

    /// <summary>Reads a file; null with a problem when it is none.</summary>
    public static TimelineHistory? Read(uint timeline, ReadOnlySpan<byte> bytes, out string problem)
    {
        List<TimelineSwitch> ancestors = [];
        problem = "";
        foreach (string line in Encoding.UTF8.GetString(bytes).Split('\n'))
        {
            string text = line.Trim();
            if (text.Length == 0 || text[0] == '#')
            {
                continue;
            }

            string[] words = text.Split((char[]?)null, 3, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length < 2 || !uint.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out uint parent) || !Lsn.TryParse(words[1], out Lsn at))
            {
                problem = "a line of it is not a timeline and a place";
                return null;
            }

            if (parent == 0 || parent >= timeline || (ancestors.Count > 0 && (parent <= ancestors[^1].Timeline || at < ancestors[^1].SwitchedAt)))
            {
                problem = "its timelines do not ascend";
                return null;
            }

            ancestors.Add(new TimelineSwitch(parent, at));
        }

        return new TimelineHistory(timeline, ancestors);
    }
}
