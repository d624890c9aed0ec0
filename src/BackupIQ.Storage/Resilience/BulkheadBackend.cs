using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>Lets no more requests at once, and a second, through to a provider than it takes.</summary>
internal sealed class BulkheadBackend(IStorageBackend inner, StorageProvider provider, TimeProvider time) : InterceptingBackend(inner)
{
    protected override async ValueTask<T> CallAsync<T>(StorageRequest request, Func<CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        await provider.Requests.TakeAsync(1, cancellationToken).ConfigureAwait(false);
        await provider.Concurrency.EnterAsync(cancellationToken).ConfigureAwait(false);
        long began = time.GetTimestamp();
        try
        {
            T result = await call(cancellationToken).ConfigureAwait(false);
            if (request.Operation != StorageOperation.List)
            {
                // A listing's pages say nothing: most are there already when they are asked for.
                provider.Concurrency.Learn(request.Operation, request.Bytes, time.GetElapsedTime(began), began);
            }

            return result;
        }
        catch (StorageException e) when (e.Code != ErrorCodes.CircuitBreakerOpen && (e.RetryAfter is not null || e.Code == ErrorCodes.StorageTimeout))
        {
            provider.Concurrency.Overloaded(began);
            throw;
        }
        finally
        {
            provider.Concurrency.Leave();
        }
    }
}
