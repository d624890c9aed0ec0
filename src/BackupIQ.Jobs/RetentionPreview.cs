using BackupIQ.Engine.Retention;

namespace BackupIQ.Jobs;

/// <summary>A backup of a simulation.</summary>
/// <param name="Time">When it was made.</param>
/// <param name="Reasons">Why it is kept at the end; empty: it is not.</param>
/// <param name="LetGoAt">When the rules let it go; null: they have not.</param>
public sealed record PreviewedSnapshot(DateTimeOffset Time, IReadOnlyList<string> Reasons, DateTimeOffset? LetGoAt);

/// <summary>What rules would keep over the time to come.</summary>
/// <param name="Start">The first backup.</param>
/// <param name="End">The last one.</param>
/// <param name="Snapshots">All backups, oldest first, those that were there at the beginning among them.</param>
public sealed record RetentionPreview(DateTimeOffset Start, DateTimeOffset End, IReadOnlyList<PreviewedSnapshot> Snapshots)
{
    /// <summary>How many there are at a moment.</summary>
    public int CountAt(DateTimeOffset moment) => Snapshots.Count(s => s.Time <= moment && !(s.LetGoAt <= moment));

    /// <summary>Plays rules forward: <paramref name="count"/> backups, each <paramref name="every"/> after the one before, the rules run after each.</summary>
    /// <param name="existing">When the series' backups were made that are there now; those at or after <paramref name="start"/> are left out.</param>
    /// <param name="request">The rules; those of single types play no part.</param>
    /// <param name="start">The first backup.</param>
    /// <param name="every">From one to the next; by the clock of <paramref name="zone"/> where it is whole days.</param>
    /// <param name="count">How many.</param>
    /// <param name="zone">The zone of the machine that is backed up.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="Primitives.BackupIQException"><c>Usage</c>: the rules cannot be read.</exception>
    public static RetentionPreview Of(
        IEnumerable<DateTimeOffset> existing,
        RetentionRequest request,
        DateTimeOffset start,
        TimeSpan every,
        int count,
        TimeZoneInfo zone,
        CancellationToken cancellationToken = default)
    {
        RetentionRules rules = request.ToOptions().Policy?.Rules ?? RetentionRules.None;
        Simulation simulation = RetentionSimulator.Run(existing.Where(time => time < start), rules, start, every, count, zone, cancellationToken);
        return new RetentionPreview(
            simulation.Start, simulation.End, [.. simulation.Snapshots.Select(static s => new PreviewedSnapshot(s.Time, s.Reasons, s.LetGoAt))]);
    }
}
