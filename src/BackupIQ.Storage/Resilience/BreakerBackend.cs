namespace BackupIQ.Storage.Resilience;

/// <summary>Asks a breaker before each request, and tells it what came of it.</summary>
internal sealed class BreakerBackend(IStorageBackend inner, CircuitBreaker breaker) : InterceptingBackend(inner)
{
    protected override async ValueTask<T> CallAsync<T>(StorageRequest request, Func<CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        BreakerPass pass = breaker.Enter();
        bool isTold = false;
        try
        {
            T result = await call(cancellationToken).ConfigureAwait(false);
            isTold = true;
            breaker.Succeed(pass);
            return result;
        }
        catch (StorageException e)
        {
            isTold = true;
            if (e.IsTransient)
            {
                breaker.Fail(pass, e);
            }
            else
            {
                // "No such object" and "not allowed" are answers: the storage is there.
                breaker.Succeed(pass);
            }

            throw;
        }
        finally
        {
            if (!isTold)
            {
                breaker.Abandon(pass);
            }
        }
    }
}
