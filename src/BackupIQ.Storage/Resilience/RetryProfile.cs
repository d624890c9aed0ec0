using System.Diagnostics.CodeAnalysis;

namespace BackupIQ.Storage.Resilience;

/// <summary>How delays are spread, so that clients that failed together do not come back together.</summary>
public enum RetryJitter
{
    /// <summary>Anything from nothing to the whole delay: spreads best.</summary>
    Full,

    /// <summary>The delay, a tenth more or less: for who must rely on waiting.</summary>
    TenPercent,
}

/// <summary>How often and when a failed request is made again. Only failures that are transient are.</summary>
/// <param name="Name">As the command line calls it.</param>
/// <param name="Attempts">Requests in all, the first included.</param>
/// <param name="FirstDelay">Before the second attempt, before jitter.</param>
/// <param name="LongestDelay">No delay of ours grows beyond this.</param>
public sealed record RetryProfile(string Name, int Attempts, TimeSpan FirstDelay, TimeSpan LongestDelay)
{
    /// <summary>3 attempts from 1 s: outlives a reset connection or a server that restarts a worker, and tells of a storage that is away within seconds.</summary>
    public static RetryProfile Standard { get; } = new("standard", 3, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60));

    /// <summary>3 attempts within 2 s: for somebody who waits at a terminal, on a network that seldom fails.</summary>
    public static RetryProfile Quick { get; } = new("quick", 3, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(2))
    {
        LongestWait = TimeSpan.FromSeconds(10),
    };

    /// <summary>10 attempts from 0.5 s: what must not fail for a bad minute, and may bother the storage for it.</summary>
    public static RetryProfile Aggressive { get; } = new("aggressive", 10, TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(60));

    /// <summary>20 attempts from 5 s to 10 min: a night run outlives a maintenance of the storage or of the line.</summary>
    public static RetryProfile Patient { get; } = new("patient", 20, TimeSpan.FromSeconds(5), TimeSpan.FromMinutes(10))
    {
        LongestWait = TimeSpan.FromMinutes(30),
    };

    /// <summary>All profiles.</summary>
    public static IReadOnlyList<RetryProfile> All { get; } = [Standard, Quick, Aggressive, Patient];

    /// <summary>Each delay is so many times the one before. 2: halves the load of those who retry at each step.</summary>
    public double Factor { get; init; } = 2;

    /// <summary>How delays are spread. Full: after a failure that hits all connections at once, ten percent would bring them back at once, too.</summary>
    public RetryJitter Jitter { get; init; } = RetryJitter.Full;

    /// <summary>
    /// The longest that the storage, or its breaker, may ask to be left alone; beyond it the request is given up. 2 min: a breaker's open
    /// minute passes twice at most.
    /// </summary>
    public TimeSpan LongestWait { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Finds a profile by its name.</summary>
    public static bool TryFind(string name, [NotNullWhen(true)] out RetryProfile? profile) =>
        (profile = All.FirstOrDefault(one => one.Name == name)) is not null;

    /// <summary>How long to wait before attempt number <paramref name="failed"/> + 1.</summary>
    /// <param name="failed">Attempts that failed so far, from 1.</param>
    /// <param name="random">From 0 up to 1.</param>
    /// <param name="retryAfter">What the storage asked for: the least that is waited.</param>
    public TimeSpan DelayAfter(int failed, double random, TimeSpan? retryAfter = null)
    {
        double whole = Math.Min(FirstDelay.TotalSeconds * Math.Pow(Factor, failed - 1), LongestDelay.TotalSeconds);
        double spread = Jitter == RetryJitter.Full ? whole * random : whole * (0.9 + (0.2 * random));

        // Those who were sent away together come back one after the other, never early.
        return retryAfter is { } asked ? asked + TimeSpan.FromSeconds(Math.Min(spread, asked.TotalSeconds / 10)) : TimeSpan.FromSeconds(spread);
    }
}
