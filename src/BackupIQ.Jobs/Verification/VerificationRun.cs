using System.Globalization;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Jobs.Verification;

/// <summary>What a check has seen.</summary>
internal sealed record Seen(VerifyStatus Status, string Detail, IReadOnlyList<string> Items)
{
    /// <summary>So many things are named; the detail counts all.</summary>
    private const int MostItems = 100;

    public static Seen Passed(string detail, params IEnumerable<string> items) => new(VerifyStatus.Passed, detail, [.. items.Take(MostItems)]);

    public static Seen Warning(string detail, params IEnumerable<string> items) => new(VerifyStatus.Warning, detail, [.. items.Take(MostItems)]);

    public static Seen Failed(string detail, params IEnumerable<string> items) => new(VerifyStatus.Failed, detail, [.. items.Take(MostItems)]);

    public static Seen Skipped(string why) => new(VerifyStatus.Skipped, why, []);

    /// <summary><c>1 page</c>, <c>12,345 pages</c>.</summary>
    public static string Count(long count, string one, string? many = null) => string.Create(CultureInfo.InvariantCulture, $"{count:N0} {(count == 1 ? one : many ?? one + "s")}");

    /// <summary>Passed where there are no problems.</summary>
    public static Seen Of(IReadOnlyList<string> problems, string good) => problems.Count switch
    {
        0 => Passed(good),
        1 => Failed(problems[0].TrimEnd('.')),
        _ => Failed($"{problems.Count} things are wrong", problems),
    };
}

/// <summary>Makes checks one after the other and keeps what came of them.</summary>
internal sealed class VerificationRun(TimeProvider time, VerifyMonitor monitor)
{
    private readonly List<VerifyCheck> _checks = [];

    public IReadOnlyList<VerifyCheck> Checks => _checks;

    public VerifyMonitor Monitor => monitor;

    public TimeSpan? RestoreDuration { get; set; }

    public TimeSpan? RecoveryDuration { get; set; }

    /// <summary>
    /// Makes a check. That what is looked at is damaged, or a restored server refuses, is its outcome; that the storage cannot be reached, or a program is not
    /// installed, ends the run.
    /// </summary>
    /// <returns>Whether it did not fail.</returns>
    public async Task<bool> CheckAsync(string id, string name, Func<Task<Seen>> look)
    {
        monitor.Doing = name;
        monitor.Follow(static () => (0, 0));
        long began = time.GetTimestamp();
        Seen seen;
        try
        {
            seen = await look().ConfigureAwait(false);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e) || e.Code == ErrorCodes.DamageFound || e.Code == ErrorCodes.HostileName || e.Code == ErrorCodes.Restore || e.Code == ErrorCodes.RecoveryTarget || e.Code == ErrorCodes.SourceServer || e.Code == ErrorCodes.Authorization)
        {
            seen = Seen.Failed(e.Message.TrimEnd('.'));
        }

        VerifyCheck check = new(id, name, seen.Status, seen.Detail, seen.Items, time.GetElapsedTime(began));
        _checks.Add(check);
        monitor.OnCheck?.Invoke(check);
        return seen.Status != VerifyStatus.Failed;
    }

    /// <summary>The same of what is at hand.</summary>
    public Task<bool> CheckAsync(string id, string name, Func<Seen> look) => CheckAsync(id, name, () => Task.FromResult(look()));
}

/// <summary>How the snapshots of a kind are verified. What a level does, it does beside what those before it did.</summary>
internal interface ISnapshotVerification
{
    /// <summary>All is there; content is not read.</summary>
    Task QuickAsync(SnapshotProof proof, VerificationRun run, CancellationToken cancellationToken);

    /// <summary>All content is read and proven.</summary>
    Task StandardAsync(SnapshotProof proof, VerificationRun run, CancellationToken cancellationToken);

    /// <summary>It is restored and looked at.</summary>
    Task ComprehensiveAsync(VerificationRun run, CancellationToken cancellationToken);
}
