using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>
/// Holds puts and reads back so that their rates stay below limits, whatever puts and reads: a decorator for the whole storage, so that
/// everything shares one budget. Limits may differ by the time of day.
/// </summary>
/// <remarks>
/// What goes over a line is paced as it goes (<see cref="StorageContent.Watched"/>); what a storage on this machine takes over in one step
/// waits before that. Bytes read are given once they could have come at the rate.
/// </remarks>
/// <param name="inner">The storage; owned.</param>
/// <param name="upload">Bytes a second to the storage.</param>
/// <param name="download">Bytes a second from the storage.</param>
/// <param name="time">Measures and waits.</param>
public sealed class ThrottleBackend(IStorageBackend inner, RateSchedule upload, RateSchedule download, TimeProvider time) : DelegatingBackend(inner)
{
    private readonly TokenBucket _up = new(upload, time);
    private readonly TokenBucket _down = new(download, time);

    /// <inheritdoc/>
    public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) => Inner.DeleteAllAsync(keys, cancellationToken);

    /// <inheritdoc/>
    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        if (upload.IsUnlimited)
        {
            return await Inner.PutAsync(key, content, cancellationToken).ConfigureAwait(false);
        }

        if (Capabilities.IsLocal)
        {
            try
            {
                await _up.TakeAsync(content.GetLength(), cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                content.Discard();
                throw;
            }

            return await Inner.PutAsync(key, content, cancellationToken).ConfigureAwait(false);
        }

        long length = content.GetLength();
        long seen = 0;
        PutOutcome outcome = await Inner.PutAsync(
            key,
            content.Watched((count, moving) =>
            {
                Interlocked.Add(ref seen, count);
                return _up.TakeAsync(count, moving);
            }),
            cancellationToken).ConfigureAwait(false);
        await PayRestAsync(length - seen, cancellationToken).ConfigureAwait(false);
        return outcome;
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int read = await Inner.ReadAsync(key, offset, destination, cancellationToken).ConfigureAwait(false);
        await _down.TakeAsync(read, cancellationToken).ConfigureAwait(false);
        return read;
    }

    // What a backend sent without being seen. The put is done: who cancels now learns what came of it.
    private async ValueTask PayRestAsync(long rest, CancellationToken cancellationToken)
    {
        try
        {
            await _up.TakeAsync(rest, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
        }
    }
}
