namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>A base backup, as far as it needs a log.</summary>
/// <param name="Timeline">Its timeline.</param>
/// <param name="Start">Where recovery from it begins.</param>
/// <param name="Stop">Up to where it must be recovered at least.</param>
/// <param name="Stopped">When it was complete.</param>
/// <param name="HoldsItsLog">It holds the log from its start to its stop itself.</param>
public sealed record WalBase(uint Timeline, Lsn Start, Lsn Stop, DateTimeOffset Stopped, bool HoldsItsLog);

/// <summary>Which part of a server's log the base backups that are kept need. Pure.</summary>
/// <remarks>
/// What is in doubt is needed: what was stored since the newest base was complete, for a backup may be running whose beginning nobody knows; and a timeline whose
/// history is not there may have come from anywhere.
/// </remarks>
public sealed class WalNeeds
{
    // By how much the clocks of servers and of who stores may be apart.
    private static readonly TimeSpan ClockGrain = TimeSpan.FromHours(1);

    private readonly uint _segmentSize;
    private readonly IReadOnlyDictionary<uint, TimelineHistory> _histories;
    private readonly WalBase[] _reaching;
    private readonly WalBase[] _islands;
    private readonly DateTimeOffset _newest;

    /// <summary>For base backups from which every later moment is to be reached, and such as are kept as they are (islands).</summary>
    /// <param name="segmentSize">Bytes of a segment.</param>
    /// <param name="histories">The histories that are there, by timeline.</param>
    /// <param name="reaching">Those of the first kind; at least one.</param>
    /// <param name="islands">Those of the second.</param>
    public WalNeeds(uint segmentSize, IReadOnlyDictionary<uint, TimelineHistory> histories, IReadOnlyCollection<WalBase> reaching, IReadOnlyCollection<WalBase> islands)
    {
        ArgumentOutOfRangeException.ThrowIfZero(reaching.Count);
        _segmentSize = segmentSize;
        _histories = histories;
        _reaching = [.. reaching];
        _islands = [.. islands.Where(static one => !one.HoldsItsLog)];
        _newest = reaching.Concat(islands).Max(static one => one.Stopped) - ClockGrain;
    }

    /// <summary>Whether a segment, or what belongs to one, is needed.</summary>
    /// <param name="timeline">Its timeline.</param>
    /// <param name="number">Its number there.</param>
    /// <param name="storedAt">When it was stored.</param>
    public bool IsNeeded(uint timeline, ulong number, DateTimeOffset storedAt) =>
        storedAt >= _newest ||
        _reaching.Any(one => number >= one.Start.Value / _segmentSize && MayComeFrom(timeline, one)) ||
        _islands.Any(one => number >= one.Start.Value / _segmentSize && number <= one.Stop.Value / _segmentSize && MayComeFrom(timeline, one));

    // Of a branch that was left before the base was complete it needs nothing.
    private bool MayComeFrom(uint timeline, WalBase one)
    {
        if (timeline == one.Timeline)
        {
            return true;
        }

        if (timeline < one.Timeline)
        {
            return false;
        }

        if (!_histories.TryGetValue(timeline, out TimelineHistory? history))
        {
            return true;
        }

        foreach (TimelineSwitch left in history.Ancestors)
        {
            if (left.Timeline == one.Timeline)
            {
                return left.SwitchedAt >= one.Start;
            }
        }

        return false;
    }
}
