using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>
/// Gives a request up when no byte moved for a while, however long it takes as a whole: a put when its content is not taken any further
/// (<see cref="StorageContent.OpenRead"/>) and is not answered, a read or a page of a listing when it does not come. Reads that a slow line
/// cannot answer within the time are made smaller by <see cref="RetryBackend"/>.
/// </summary>
internal sealed class ProgressTimeoutBackend(IStorageBackend inner, TimeSpan longestSilence, TimeProvider time) : InterceptingBackend(inner)
{
    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        using Watch watch = new(longestSilence, time, cancellationToken);
        StorageContent watched = content.Watched((_, _) =>
        {
            watch.Moved();
            return ValueTask.CompletedTask;
        });
        return await watch.GuardAsync(StorageOperation.Put, key.Value, token => Inner.PutAsync(key, watched, token)).ConfigureAwait(false);
    }

    protected override async ValueTask<T> CallAsync<T>(StorageRequest request, Func<CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken)
    {
        using Watch watch = new(longestSilence, time, cancellationToken);
        return await watch.GuardAsync(request.Operation, request.Subject, call).ConfigureAwait(false);
    }

    private sealed class Watch : IDisposable
    {
        private readonly TimeSpan _longestSilence;
        private readonly CancellationTokenSource _silence;
        private readonly CancellationTokenSource _either;
        private readonly CancellationToken _caller;

        public Watch(TimeSpan longestSilence, TimeProvider time, CancellationToken caller)
        {
            _longestSilence = longestSilence;
            _caller = caller;
            _silence = new CancellationTokenSource(longestSilence, time);
            _either = CancellationTokenSource.CreateLinkedTokenSource(_silence.Token, caller);
        }

        public void Moved() => _silence.CancelAfter(_longestSilence);

        public async ValueTask<T> GuardAsync<T>(StorageOperation operation, string subject, Func<CancellationToken, ValueTask<T>> call)
        {
            try
            {
                return await call(_either.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException e) when (!_caller.IsCancellationRequested)
            {
                // Also where a client library ran into a time-out of its own, which it tells of in the same way.
                throw new StorageException(
                    ErrorCodes.StorageTimeout,
                    $"The storage did not go on with the {Word(operation)} of '{subject}' for {_longestSilence.TotalSeconds:0.#} s",
                    null,
                    e);
            }
        }

        public void Dispose()
        {
            _either.Dispose();
            _silence.Dispose();
        }

        private static string Word(StorageOperation operation) => operation switch
        {
            StorageOperation.Put => "put",
            StorageOperation.Read => "read",
            StorageOperation.List => "listing",
            StorageOperation.Delete => "deletion",
            _ => "look-up",
        };
    }
}
