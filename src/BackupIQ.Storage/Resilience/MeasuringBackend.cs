namespace BackupIQ.Storage.Resilience;

/// <summary>Counts each request that is really made, and how long it took.</summary>
internal sealed class MeasuringBackend(IStorageBackend inner, StorageHealth health, TimeProvider time) : InterceptingBackend(inner)
{
    protected override async ValueTask<T> CallAsync<T>(StorageRequest request, Func<CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        long began = time.GetTimestamp();
        try
        {
            T result = await call(cancellationToken).ConfigureAwait(false);
            health.Answered(request.Operation, result is int read ? read : request.Bytes, time.GetElapsedTime(began));
            return result;
        }
        catch (StorageException e)
        {
            health.Failed(request.Operation, e);
            throw;
        }
    }
}
