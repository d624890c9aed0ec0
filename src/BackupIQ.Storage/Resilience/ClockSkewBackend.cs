namespace BackupIQ.Storage.Resilience;

/// <summary>
/// Finds out once, at the first object that is new, how far the storage's clock is from this machine's: by the time that the storage gives
/// the object, beside the time around the put. Costs two look-ups.
/// </summary>
/// <remarks>Clocks that differ shift what grace periods and retention mean, and make signatures be refused.</remarks>
internal sealed class ClockSkewBackend(IStorageBackend inner, StorageHealth health, ResilienceOptions options, TimeProvider time) : DelegatingBackend(inner)
{
    private int _isKnown = inner.Capabilities.HasStoreClock ? 0 : 1;

    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        if (Interlocked.Exchange(ref _isKnown, 1) != 0)
        {
            return await Inner.PutAsync(key, content, cancellationToken).ConfigureAwait(false);
        }

        TimeSpan? skew = null;
        bool isNew = await TryStatAsync(key, cancellationToken).ConfigureAwait(false) is { IsKnown: true, Object: null };
        try
        {
            DateTimeOffset before = time.GetUtcNow();
            PutOutcome outcome = await Inner.PutAsync(key, content, cancellationToken).ConfigureAwait(false);
            DateTimeOffset after = time.GetUtcNow();
            if (isNew && outcome == PutOutcome.Stored &&
                await TryStatAsync(key, cancellationToken).ConfigureAwait(false) is { Object: { } stored })
            {
                skew = stored.StoredAt > after ? stored.StoredAt - after : stored.StoredAt < before ? stored.StoredAt - before : TimeSpan.Zero;
                health.ClockSkew = skew;
            }

            return outcome;
        }
        finally
        {
            if (skew is not { } known)
            {
                // The next put may tell.
                Volatile.Write(ref _isKnown, 0);
            }
            else if (known.Duration() > options.ClockTolerance)
            {
                options.OnClockSkew?.Invoke(known);
            }
        }
    }

    public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) => Inner.DeleteAllAsync(keys, cancellationToken);

    // What cannot be looked at now is looked at another time.
    private async ValueTask<(bool IsKnown, StoredObject? Object)> TryStatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        try
        {
            return (true, await Inner.StatAsync(key, cancellationToken).ConfigureAwait(false));
        }
        catch (StorageException)
        {
            return (false, null);
        }
        catch (OperationCanceledException)
        {
            return (false, null);
        }
    }
}
