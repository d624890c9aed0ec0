using BackupIQ.Primitives;
using Polly;
using Polly.Retry;

namespace BackupIQ.Storage.Resilience;

/// <summary>When a request to a provider is made again, and after which delay; tells of it and counts it. Thread-safe.</summary>
internal sealed class RetryPolicy
{
    private static readonly ResiliencePropertyKey<Call> CallKey = new("backupiq.call");

    private readonly StorageHealth _health;
    private readonly CircuitBreaker _breaker;
    private readonly ResilienceOptions _options;
    private readonly string _provider;
    private readonly TimeProvider _time;
    private readonly ResiliencePipeline _pipeline;

    public RetryPolicy(StorageProvider provider, ResilienceOptions options, TimeProvider time)
    {
        _health = provider.Health;
        _breaker = provider.Breaker;
        _options = options;
        _provider = provider.Name;
        _time = time;
        ResiliencePipelineBuilder builder = new() { TimeProvider = time };

        // Who is refused by the breaker made no attempt: it waits for the storage to come back, then has all its attempts. So does whose attempts
        // were among those that opened it: the storage is away, and no other call is better off.
        builder.AddRetry(new RetryStrategyOptions
        {
            MaxRetryAttempts = int.MaxValue,
            ShouldHandle = MayWaitForBreaker,
            DelayGenerator = DelayOf,
            OnRetry = Tell,
        });
        if (options.Retry.Attempts > 1)
        {
            builder.AddRetry(new RetryStrategyOptions
            {
                MaxRetryAttempts = options.Retry.Attempts - 1,
                ShouldHandle = MayRetry,
                DelayGenerator = DelayOf,
                OnRetry = Tell,
            });
        }

        _pipeline = builder.Build();
    }

    /// <summary>Does the work, again where that may help.</summary>
    /// <exception cref="StorageException">It failed for good, or the last attempt did.</exception>
    public async ValueTask<T> RunAsync<T>(StorageOperation operation, string subject, Func<CancellationToken, ValueTask<T>> work, CancellationToken cancellationToken)
    {
        Call call = new(operation, subject);
        ResilienceContext context = ResilienceContextPool.Shared.Get(continueOnCapturedContext: false, cancellationToken);
        context.Properties.Set(CallKey, call);
        try
        {
            T result = await _pipeline.ExecuteAsync(static (context, work) => work(context.CancellationToken), context, work).ConfigureAwait(false);
            if (call.Attempts > 0)
            {
                _health.Recovered();
            }

            return result;
        }
        catch (StorageException e) when (e.IsTransient)
        {
            _health.GaveUp(operation);
            if (call.Attempts > 0)
            {
                e.With("attempts", (call.Attempts + 1).ToString(System.Globalization.CultureInfo.InvariantCulture));
            }

            throw;
        }
        finally
        {
            ResilienceContextPool.Shared.Return(context);
        }
    }

    private ValueTask<bool> MayRetry(RetryPredicateArguments<object> failed) => ValueTask.FromResult(
        failed.Outcome.Exception is StorageException { IsTransient: true } e && !IsRefusal(e) && (e.RetryAfter ?? TimeSpan.Zero) <= _options.Retry.LongestWait);

    private ValueTask<bool> MayWaitForBreaker(RetryPredicateArguments<object> failed)
    {
        if (failed.Outcome.Exception is not StorageException { IsTransient: true } e || (!IsRefusal(e) && _breaker.State == BreakerState.Closed))
        {
            return ValueTask.FromResult(false);
        }

        // Patience is counted from the first refusal: a breaker that opens again and again must not hold a call for ever.
        Call call = CallOf(failed.Context);
        if (_options.IsReadElsewhere && call.Operation is StorageOperation.Read or StorageOperation.Stat or StorageOperation.List)
        {
            return ValueTask.FromResult(false);
        }

        call.RefusedSince ??= _time.GetTimestamp();
        TimeSpan waited = _time.GetElapsedTime(call.RefusedSince.Value);
        return ValueTask.FromResult(waited + e.RetryAfter.GetValueOrDefault() <= _options.Retry.LongestWait);
    }

    private ValueTask<TimeSpan?> DelayOf(RetryDelayGeneratorArguments<object> failed) => ValueTask.FromResult<TimeSpan?>(
        _options.Retry.DelayAfter(failed.AttemptNumber + 1, _options.Random(), (failed.Outcome.Exception as StorageException)?.RetryAfter));

    private ValueTask Tell(OnRetryArguments<object> retry)
    {
        Call call = CallOf(retry.Context);
        call.Attempts++;
        _health.Retried(call.Operation);
        _options.OnRetry?.Invoke(new StorageRetry(
            _provider, call.Operation, call.Subject, call.Attempts, retry.RetryDelay, (StorageException)retry.Outcome.Exception!));
        return ValueTask.CompletedTask;
    }

    private static Call CallOf(ResilienceContext context) => context.Properties.GetValue(CallKey, null!);

    private static bool IsRefusal(StorageException e) => e.Code == ErrorCodes.CircuitBreakerOpen;

    /// <summary>A call while it lasts.</summary>
    private sealed class Call(StorageOperation operation, string subject)
    {
        public StorageOperation Operation { get; } = operation;

        public string Subject { get; } = subject;

        /// <summary>Attempts that failed and are made again.</summary>
        public int Attempts { get; set; }

        /// <summary>When the breaker first refused it.</summary>
        public long? RefusedSince { get; set; }
    }
}
