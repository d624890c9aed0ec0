using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Engine.Retention;

/// <summary>
/// A snapshot with the times that retention goes by. What it claims is not believed alone: the storage's clock saw when it was stored. The
/// earlier of both counts; where they are further apart than <see cref="Tolerance"/> the snapshot is doubtful, and a doubtful snapshot may
/// be kept in some place but pushes no other out of one (<see cref="RetentionSieve"/>).
/// </summary>
public sealed record DatedSnapshot
{
    /// <summary>An hour: more than clocks differ that are set at all, and than lies between a commit and its store time.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromHours(1);

    // A backup that claims to have run for longer could as well claim any other day.
    private static readonly TimeSpan LongestRun = TimeSpan.FromDays(1);

    private DatedSnapshot(Snapshot snapshot) => Snapshot = snapshot;

    public Snapshot Snapshot { get; }

    /// <summary>The earlier of the claimed and the storage's time, on the clock of the machine that was backed up.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>Whether the times are too far apart, or lie in the future.</summary>
    public required bool IsDoubtful { get; init; }

    /// <summary>Whether the claimed time lies in the future.</summary>
    public required bool ClaimsFuture { get; init; }

    /// <summary>
    /// Judges a snapshot at <paramref name="now"/>. Without <paramref name="hasStoreTimes"/> nothing but its own word tells its time.
    /// </summary>
    public static DatedSnapshot Of(Snapshot snapshot, bool hasStoreTimes, DateTimeOffset now)
    {
        bool isFuture = snapshot.Time > now + Tolerance;
        DateTimeOffset time = snapshot.Time;
        bool isDoubtful = isFuture;
        if (hasStoreTimes && snapshot.StoredAt > DateTimeOffset.UnixEpoch)
        {
            DateTimeOffset ended = snapshot.Ended > snapshot.Time ? snapshot.Ended : snapshot.Time;
            isDoubtful |= (snapshot.StoredAt - ended).Duration() > Tolerance || ended - snapshot.Time > LongestRun || snapshot.StoredAt > now + Tolerance;
            time = snapshot.StoredAt < time ? snapshot.StoredAt.ToOffset(time.Offset) : time;
        }

        return new DatedSnapshot(snapshot) { Time = time, IsDoubtful = isDoubtful, ClaimsFuture = isFuture };
    }
}
