using System.Globalization;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Restore;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>A plan with the backup that it begins with.</summary>
internal sealed record PlannedRestore(Snapshot Snapshot, PostgresDocument Document, RecoveryPlan Plan, RecoveryLog Log, PostgresTarget Target, string? Zone, string Action)
{
    // What a machine of today restores and replays in a second, roughly: enough to tell minutes from hours.
    private const double RestoredASecond = 150e6;
    private const double ReplayedASecond = 60e6;

    /// <summary>
    /// What the server is told of where to stop. It is always a record's place, whatever the target was: a server that does not come to it refuses to go on, and
    /// is never promoted with less. Inclusive and exclusive say on which side of the record.
    /// </summary>
    public IReadOnlyList<(string Name, string Value)> Settings =>
    [
        Plan.Stop is { } stop ? ("recovery_target_lsn", stop.At.ToString()) : ("recovery_target", "immediate"),
        ("recovery_target_inclusive", Plan.Stop is { IsBefore: true } ? "off" : "on"),
        ("recovery_target_action", Action),
        .. Action == "pause" ? (IEnumerable<(string, string)>)[("hot_standby", "on")] : [],
    ];

    /// <summary>As those see it who do not read logs.</summary>
    public PostgresRestorePlan Show(string server)
    {
        long log = Plan.Segments.Count * (long)Log.SegmentSize;
        long backup = Snapshot.Summary?.TotalBytesProcessed ?? 0;
        return new PostgresRestorePlan
        {
            Server = server,
            TargetKind = Plan.Aim.Kind == PostgresTargetKind.Transaction ? "xid" : Plan.Aim.Kind.ToString().ToLowerInvariant(),
            Target = Plan.Aim.Kind == PostgresTargetKind.Time ? Plan.Aim.ToString() : Target.Text,
            TimeZone = Zone,
            Exclusive = Plan.Aim.IsExclusive,
            Snapshot = Snapshot.Id.ToString(),
            BackupTime = Plan.Base.Stopped,
            StartLsn = Plan.Base.Start.ToString(),
            ConsistentLsn = Plan.Base.Stop.ToString(),
            Timeline = Plan.Timeline,
            StopLsn = Plan.Stop?.At.ToString(),
            StopsBefore = Plan.Stop is { IsBefore: true },
            EndLsn = (Plan.Stop?.End ?? Plan.Base.Stop).ToString(),
            LastLsn = Plan.State.Last.ToString(),
            IsEndOfLog = Plan.IsEndOfLog && Plan.Stop is not null,
            LastCommit = Show(Plan.State.LastCommit),
            LastTransactionTime = Plan.State.LastTransaction is { } last ? PostgresTime.Read(last.Microseconds) : null,
            FirstCommitAfter = Show(Plan.FirstAfter),
            Segments = Plan.Segments.Count,
            FirstSegment = Plan.Segments[0].Name.ToString(),
            LastSegment = Plan.Segments[^1].Name.ToString(),
            LogBytes = log,
            BackupBytes = backup,
            Estimate = TimeSpan.FromSeconds((backup / RestoredASecond) + (log / ReplayedASecond) + 1),
            Action = Action,
            Notes = Plan.Notes,
        };
    }

    /// <summary>What a server reached, compared with the plan.</summary>
    public PostgresReached Reached(ServerReached started) =>
        new(started.Sockets, Plan.Stop is null ? started.Lsn : started.StoppedAt?.ToString(), started.LastTransaction, started.Timeline) { Action = Action, Difference = Difference(started) };

    // By the server's own word: the record it stopped at, on which side of it, the last one it replayed, and the timeline that it made for itself.
    private string? Difference(ServerReached started)
    {
        if (Plan.Stop is { } stop)
        {
            if (started.StoppedAt != stop.At || started.IsBefore != stop.IsBefore)
            {
                return $"it stopped {(started.IsBefore ? "before" : "behind")} {started.StoppedAt?.ToString() ?? "no record that it tells of"}, where {(stop.IsBefore ? "before" : "behind")} {stop.At} was planned";
            }

            // A server that stops at the very record of a commit replays it, and has not noted its time yet: what it tells is the one before.
            if (Plan.State.LastTransaction is { } ended && ended.Start != stop.At && PostgresTime.Read(ended.Microseconds) is { } planned
                && DateTimeOffset.TryParse(started.LastTransaction, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset told) && told != planned)
            {
                return $"the last transaction that it replayed ended at {started.LastTransaction}, where {RecoveryAim.Show(ended.Microseconds)} was planned";
            }
        }
        else if (!started.IsImmediate)
        {
            return "it did not stop where it became consistent";
        }

        return Action == "promote" && !(started.Timeline > Plan.Timeline) ? $"it is on timeline {started.Timeline}, where one after {Plan.Timeline} was planned" : null;
    }

    private static PostgresCommit? Show(RecoveryTransaction? one) => one is null ? null : new PostgresCommit(one.Transaction, PostgresTime.Read(one.Microseconds), one.Start.ToString());
}
