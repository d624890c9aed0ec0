using System.Security.Cryptography;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>How failures, slowness and limits of a remote storage are dealt with.</summary>
public sealed record ResilienceOptions
{
    /// <summary>How failed requests are made again.</summary>
    public RetryProfile Retry { get; init; } = RetryProfile.Standard;

    /// <summary>Failures in a row that open the breaker. 5: more than one request's own attempts, so that one bad object does not do it.</summary>
    public int FailuresToOpen { get; init; } = 5;

    /// <summary>How long an open breaker refuses. 60 s: about what a server needs to restart, and little beside a backup.</summary>
    public TimeSpan OpenFor { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Most requests at once to one provider. 16: fills a gigabit at 100 ms with 1 MiB each, and costs some 16 connections; how many of
    /// them are used follows from the storage's latency.
    /// </summary>
    public int Connections { get; init; } = 16;

    /// <summary>Requests a second to one provider; 0: no limit. None: who has to pay by the request, or is limited, says so.</summary>
    public long RequestsPerSecond { get; init; }

    /// <summary>
    /// A request is given up when no byte moved for so long. 60 s: a busy storage answers within half of it, and after a minute of silence
    /// another connection is likelier to work than this one.
    /// </summary>
    public TimeSpan LongestSilence { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Share of reads that may be asked twice, because the first answer is late. 5 %: as many as are later than nineteen of twenty; 0: none.</summary>
    public double HedgedShare { get; init; } = 0.05;

    /// <summary>
    /// Whether somebody else answers what is read when this storage cannot: then what the breaker refuses of reads and listings fails at once, and does not wait for the storage to
    /// come back.
    /// </summary>
    public bool IsReadElsewhere { get; init; }

    /// <summary>A difference of the clocks beyond this is told. 5 min: what S3 tolerates in signatures is three times that.</summary>
    public TimeSpan ClockTolerance { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Bytes a second to the storage.</summary>
    public RateSchedule Upload { get; init; } = RateSchedule.Unlimited;

    /// <summary>Bytes a second from the storage.</summary>
    public RateSchedule Download { get; init; } = RateSchedule.Unlimited;

    /// <summary>Hears of each retry before its delay begins. On any thread.</summary>
    public Action<StorageRetry>? OnRetry { get; init; }

    /// <summary>Hears of each change of the breaker, with what it is now. On any thread.</summary>
    public Action<BreakerStatistics>? OnBreaker { get; init; }

    /// <summary>Hears once how far the storage's clock is ahead of this machine's (negative: behind), if it is too far.</summary>
    public Action<TimeSpan>? OnClockSkew { get; init; }

    /// <summary>For tests: numbers from 0 up to 1 that spread the delays.</summary>
    internal Func<double> Random { get; init; } = static () => RandomNumberGenerator.GetInt32(1 << 30) / (double)(1 << 30);
}

/// <summary>A request that is made again.</summary>
/// <param name="Provider">The storage's name.</param>
/// <param name="Operation">What was asked.</param>
/// <param name="Subject">The key or prefix.</param>
/// <param name="Attempt">The attempt that failed, from 1.</param>
/// <param name="Delay">How long is waited before the next.</param>
/// <param name="Cause">What failed.</param>
public sealed record StorageRetry(string Provider, StorageOperation Operation, string Subject, int Attempt, TimeSpan Delay, StorageException Cause);
