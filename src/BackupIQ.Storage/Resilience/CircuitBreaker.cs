using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>What a breaker does with requests.</summary>
public enum BreakerState
{
    /// <summary>It lets them through.</summary>
    Closed,

    /// <summary>It refuses them.</summary>
    Open,

    /// <summary>It lets one through, the probe, and refuses the others.</summary>
    HalfOpen,
}

/// <summary>What a breaker is and has seen.</summary>
/// <param name="Name">The provider's name.</param>
/// <param name="State">What it does now.</param>
/// <param name="FailuresInARow">Failures since the last success.</param>
/// <param name="Successes">Requests that the storage answered, also with "no such object" or "not allowed".</param>
/// <param name="Failures">Requests that failed as they do when a storage is away or overloaded.</param>
/// <param name="Refusals">Requests that were not made because it was open.</param>
/// <param name="TimesOpened">How often it opened, by a failed probe too.</param>
/// <param name="OpenedAt">When it last opened.</param>
/// <param name="LastFailure">What failed last, in words.</param>
public sealed record BreakerStatistics(
    string Name,
    BreakerState State,
    int FailuresInARow,
    long Successes,
    long Failures,
    long Refusals,
    int TimesOpened,
    DateTimeOffset? OpenedAt,
    string? LastFailure);

/// <summary>
/// Leaves a storage alone that failed several times in a row, then tries with a single request whether it is back. Thread-safe.
/// </summary>
/// <remarks>
/// Failures in a row are counted, not a share of a window (as Polly's breaker does): after a thousand successes a storage that dies is
/// noticed at the fifth failure, not when half of a window failed. Answers to requests from before it opened change nothing any more.
/// </remarks>
public sealed class CircuitBreaker
{
    /// <summary>Who is refused beside a probe may ask again after this.</summary>
    private static readonly TimeSpan WhileProbing = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly int _failuresToOpen;
    private readonly TimeSpan _openFor;
    private readonly Action<BreakerStatistics>? _changed;
    private readonly TimeProvider _time;
    private BreakerState _state;
    private int _period;
    private int _inARow;
    private bool _isProbing;
    private long _successes;
    private long _failures;
    private long _refusals;
    private int _timesOpened;
    private long _openedTimestamp;
    private DateTimeOffset? _openedAt;
    private string? _lastFailure;

    internal CircuitBreaker(string name, ResilienceOptions options, TimeProvider time)
    {
        Name = name;
        _failuresToOpen = options.FailuresToOpen;
        _openFor = options.OpenFor;
        _changed = options.OnBreaker;
        _time = time;
    }

    /// <summary>The provider's name.</summary>
    public string Name { get; }

    /// <summary>What it does now. Open for as long as it must, it is half-open for whoever comes next.</summary>
    public BreakerState State
    {
        get
        {
            lock (_gate)
            {
                return Now();
            }
        }
    }

    /// <summary>What it is and has seen.</summary>
    public BreakerStatistics Statistics
    {
        get
        {
            lock (_gate)
            {
                return Describe();
            }
        }
    }

    /// <summary>Asks whether a request may be made. What comes of it is told with the pass.</summary>
    /// <exception cref="StorageException"><c>CircuitBreakerOpen</c>, with the time after which asking again makes sense.</exception>
    internal BreakerPass Enter()
    {
        BreakerStatistics? change = null;
        try
        {
            lock (_gate)
            {
                BreakerState now = Now();
                if (now == BreakerState.Closed)
                {
                    return new BreakerPass(_period, false);
                }

                if (now == BreakerState.Open || _isProbing)
                {
                    _refusals++;
                    throw Refusal(now == BreakerState.Open ? _openFor - _time.GetElapsedTime(_openedTimestamp) : WhileProbing);
                }

                if (_state != BreakerState.HalfOpen)
                {
                    _state = BreakerState.HalfOpen;
                    _period++;
                    change = Describe();
                }

                _isProbing = true;
                return new BreakerPass(_period, true);
            }
        }
        finally
        {
            Tell(change);
        }
    }

    /// <summary>The storage answered.</summary>
    internal void Succeed(BreakerPass pass)
    {
        BreakerStatistics? change = null;
        lock (_gate)
        {
            _successes++;
            if (pass.Period == _period)
            {
                _inARow = 0;
                if (pass.IsProbe)
                {
                    _isProbing = false;
                    _state = BreakerState.Closed;
                    _period++;
                    change = Describe();
                }
            }
        }

        Tell(change);
    }

    /// <summary>The storage is away or overloaded.</summary>
    internal void Fail(BreakerPass pass, StorageException cause)
    {
        BreakerStatistics? change = null;
        lock (_gate)
        {
            _failures++;
            _lastFailure = cause.Message;
            if (pass.Period == _period)
            {
                _inARow++;
                if (pass.IsProbe || _inARow >= _failuresToOpen)
                {
                    _isProbing = false;
                    _state = BreakerState.Open;
                    _period++;
                    _timesOpened++;
                    _openedAt = _time.GetUtcNow();
                    _openedTimestamp = _time.GetTimestamp();
                    change = Describe();
                }
            }
        }

        Tell(change);
    }

    /// <summary>Nothing can be said of the storage: the request was cancelled. The next one may be the probe.</summary>
    internal void Abandon(BreakerPass pass)
    {
        lock (_gate)
        {
            _isProbing &= pass.Period != _period;
        }
    }

    private BreakerState Now() =>
        _state == BreakerState.Open && _time.GetElapsedTime(_openedTimestamp) >= _openFor ? BreakerState.HalfOpen : _state;

    private BreakerStatistics Describe() => new(Name, Now(), _inARow, _successes, _failures, _refusals, _timesOpened, _openedAt, _lastFailure);

    private StorageException Refusal(TimeSpan wait) =>
        new(ErrorCodes.CircuitBreakerOpen, $"The storage {Name} failed {_inARow} times in a row and is left alone for now; last: {_lastFailure}")
        {
            RetryAfter = wait,
        };

    private void Tell(BreakerStatistics? change)
    {
        if (change is not null)
        {
            _changed?.Invoke(change);
        }
    }
}

/// <summary>Leave to make one request.</summary>
/// <param name="Period">Counts the breaker's changes: what comes of requests of an earlier period does not matter any more.</param>
/// <param name="IsProbe">Whether it decides over the breaker.</param>
internal readonly record struct BreakerPass(int Period, bool IsProbe);
