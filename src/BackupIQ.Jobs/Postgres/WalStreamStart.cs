using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>From where on a server's log is received next: always from the beginning of a segment. Pure.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="Number">The segment.</param>
/// <param name="Until">Where that timeline was left for the next one; <see cref="Lsn.None"/>: it was not.</param>
/// <param name="IsFirst">Nothing tells where to begin but the server.</param>
internal sealed record WalStreamStart(uint Timeline, ulong Number, Lsn Until, bool IsFirst)
{
    /// <summary>
    /// The first segment on the way to what the server writes now that is not in the archive, from the newest base backup, or the newest gap, on. What was before
    /// that nobody needs who restores the newest base; without any base it is what follows the newest segment.
    /// </summary>
    /// <param name="segmentSize">Bytes of a segment.</param>
    /// <param name="current">The history of the timeline that the server writes.</param>
    /// <param name="archived">The whole segments of the archive.</param>
    /// <param name="anchors">Where base backups begin, and where the log goes on behind gaps, by timeline.</param>
    /// <param name="otherwise">Where to begin if nothing of that tells.</param>
    public static WalStreamStart Of(uint segmentSize, TimelineHistory current, IReadOnlySet<WalFileName> archived, IEnumerable<(uint Timeline, Lsn At)> anchors, Lsn otherwise)
    {
        ulong? from = null;
        foreach ((uint timeline, Lsn at) in anchors)
        {
            // What lies on a branch that the server has left tells nothing.
            if (TimelineAt(current, at.Value / segmentSize, segmentSize) == timeline && !(from > at.Value / segmentSize))
            {
                from = at.Value / segmentSize;
            }
        }

        if (from is null)
        {
            foreach (WalFileName name in archived)
            {
                ulong number = name.NumberOf(segmentSize);
                if (TimelineAt(current, number, segmentSize) == name.Timeline && !(from > number))
                {
                    from = number;
                }
            }
        }

        ulong next = from ?? (otherwise.Value / segmentSize);
        while (archived.Contains(WalFileName.OfSegment(TimelineAt(current, next, segmentSize), next, segmentSize)))
        {
            next++;
        }

        uint on = TimelineAt(current, next, segmentSize);
        return new WalStreamStart(on, next, current.Ancestors.FirstOrDefault(one => one.Timeline == on).SwitchedAt, from is null);
    }

    /// <summary>The next segment behind this one that is archived on the way, or null.</summary>
    public ulong? NextArchived(uint segmentSize, TimelineHistory current, IReadOnlySet<WalFileName> archived)
    {
        ulong? next = null;
        foreach (WalFileName name in archived)
        {
            ulong number = name.NumberOf(segmentSize);
            if (number > Number && !(next < number) && TimelineAt(current, number, segmentSize) == name.Timeline)
            {
                next = number;
            }
        }

        return next;
    }

    // The segment in which a timeline was left is whole on the next one, which begins with a copy of it.
    private static uint TimelineAt(TimelineHistory current, ulong number, uint segmentSize)
    {
        foreach (TimelineSwitch left in current.Ancestors)
        {
            if (number < left.SwitchedAt.Value / segmentSize)
            {
                return left.Timeline;
            }
        }

        return current.Timeline;
    }
}
