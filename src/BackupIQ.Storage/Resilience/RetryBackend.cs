using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Resilience;

/// <summary>
/// Makes requests again that failed transiently: the one place where that is done. A read goes on where it broke, a listing gives nothing
/// twice, a file to put is lent until the put is over.
/// </summary>
/// <remarks>
/// A deletion whose answer was lost and that is repeated may delete what somebody put under the same key in between; keys of a repository
/// are content's names or random, so nobody does.
/// </remarks>
internal sealed class RetryBackend : DelegatingBackend
{
    private readonly TimeProvider _time;
    private readonly ReadPieces _pieces;
    private readonly RetryPolicy _policy;

    public RetryBackend(IStorageBackend inner, StorageProvider provider, ResilienceOptions options, TimeProvider time)
        : base(inner)
    {
        _time = time;
        _pieces = new ReadPieces(options.LongestSilence);
        _policy = new RetryPolicy(provider, options, time);
    }

    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            StorageContent lent = content.Lend();
            return await _policy.RunAsync(StorageOperation.Put, key.Value, token => Inner.PutAsync(key, lent, token), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            content.Discard();
        }
    }

    public override async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int done = 0;
        do
        {
            Memory<byte> piece = destination.Slice(done, Math.Min(_pieces.Size, destination.Length - done));
            int read = await ReadPieceAsync(key, offset + done, piece, cancellationToken).ConfigureAwait(false);
            done += read;
            if (read < piece.Length)
            {
                break;
            }
        }
        while (done < destination.Length);
        return done;
    }

    public override ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        _policy.RunAsync(StorageOperation.Stat, key.Value, token => Inner.StatAsync(key, token), cancellationToken);

    public override async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) =>
        await _policy.RunAsync(
            StorageOperation.Delete,
            key.Value,
            async token =>
            {
                await Inner.DeleteAsync(key, token).ConfigureAwait(false);
                return true;
            },
            cancellationToken).ConfigureAwait(false);

    public override async ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        int most = Inner.Capabilities.DeletesAtOnce;
        if (most <= 1 || keys.Count <= 1)
        {
            return await base.DeleteAllAsync(keys, cancellationToken).ConfigureAwait(false);
        }

        Dictionary<StorageKey, StorageException> failed = [];
        foreach (StorageKey[] batch in keys.Chunk(most))
        {
            await DeleteBatchAsync(batch, failed, cancellationToken).ConfigureAwait(false);
        }

        return failed;
    }

    public override ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken) =>
        _policy.RunAsync(StorageOperation.Lock, key.Value, token => Inner.ExtendLockAsync(key, atLeast, until, token), cancellationToken);

    public override ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) =>
        _policy.RunAsync(StorageOperation.Stat, key.Value, token => Inner.GetReadinessAsync(key, token), cancellationToken);

    public override async ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken) =>
        await _policy.RunAsync(
            StorageOperation.Recall,
            key.Value,
            async token =>
            {
                await Inner.RecallAsync(key, order, token).ConfigureAwait(false);
                return true;
            },
            cancellationToken).ConfigureAwait(false);

    public override ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) =>
        _policy.RunAsync(StorageOperation.Space, "", Inner.GetSpaceAsync, cancellationToken);

    public override async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        // A listing that broke is begun again, in whatever order the storage then has: what was given is remembered in 16 bytes each.
        HashSet<UInt128> given = [];
        IAsyncEnumerator<StoredObject>? objects = null;
        Task<bool>? pending = null;
        try
        {
            while (true)
            {
                // What is at hand, most of a page, needs no guard.
                if (objects is not null)
                {
                    ValueTask<bool> move = objects.MoveNextAsync();
                    if (move.IsCompletedSuccessfully && move.Result)
                    {
                        if (given.Add(NameOf(objects.Current.Key)))
                        {
                            yield return objects.Current;
                        }

                        continue;
                    }

                    pending = move.AsTask();
                }

                StoredObject? next = await _policy.RunAsync(StorageOperation.List, prefix, NextAsync, cancellationToken).ConfigureAwait(false);
                if (next is not { } item)
                {
                    yield break;
                }

                yield return item;
            }
        }
        finally
        {
            if (pending is not null)
            {
                await ((Task)pending).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            if (objects is not null)
            {
                await objects.DisposeAsync().ConfigureAwait(false);
            }
        }

        async ValueTask<StoredObject?> NextAsync(CancellationToken token)
        {
            objects ??= Inner.ListAsync(prefix, cancellationToken).GetAsyncEnumerator(cancellationToken);
            try
            {
                while (true)
                {
                    Task<bool> move = pending ?? objects.MoveNextAsync().AsTask();
                    pending = null;
                    if (!await move.ConfigureAwait(false))
                    {
                        return null;
                    }

                    if (given.Add(NameOf(objects.Current.Key)))
                    {
                        return objects.Current;
                    }
                }
            }
            catch (StorageException)
            {
                IAsyncEnumerator<StoredObject> broken = objects;
                objects = null;
                await broken.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
    }

    // What failed in a way that may pass is asked again, and nothing else. A storage that refuses to be asked for many at once is asked one by one.
    private async ValueTask DeleteBatchAsync(IReadOnlyList<StorageKey> keys, Dictionary<StorageKey, StorageException> failed, CancellationToken cancellationToken)
    {
        IReadOnlyList<StorageKey> left = keys;
        try
        {
            await _policy.RunAsync(
                StorageOperation.Delete,
                InterceptingBackend.Deletion(keys),
                async token =>
                {
                    IReadOnlyDictionary<StorageKey, StorageException> refused = await Inner.DeleteAllAsync(left, token).ConfigureAwait(false);
                    foreach ((StorageKey key, StorageException e) in refused.Where(static one => !one.Value.IsTransient))
                    {
                        failed[key] = e;
                    }

                    left = [.. refused.Where(static one => one.Value.IsTransient).Select(static one => one.Key)];
                    return left.Count == 0 ? true : throw refused[left[0]];
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (e.IsTransient)
        {
            foreach (StorageKey key in left)
            {
                failed[key] = e;
            }
        }
        catch (StorageException)
        {
            foreach ((StorageKey key, StorageException e) in await base.DeleteAllAsync(left, cancellationToken).ConfigureAwait(false))
            {
                failed[key] = e;
            }
        }
    }

    private static UInt128 NameOf(StorageKey key)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        Span<byte> name = stackalloc byte[StorageKey.MaxLength];
        SHA256.HashData(name[..Encoding.ASCII.GetBytes(key.Value, name)], hash);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(hash);
    }

    // Each try goes on behind what came before; where it stalled, it asks for less at once.
    private ValueTask<int> ReadPieceAsync(StorageKey key, long offset, Memory<byte> piece, CancellationToken cancellationToken)
    {
        int done = 0;
        return _policy.RunAsync(StorageOperation.Read, key.Value, TryAsync, cancellationToken);

        async ValueTask<int> TryAsync(CancellationToken token)
        {
            do
            {
                Memory<byte> part = piece.Slice(done, Math.Min(_pieces.Size, piece.Length - done));
                long began = _time.GetTimestamp();
                int read;
                try
                {
                    read = await Inner.ReadAsync(key, offset + done, part, token).ConfigureAwait(false);
                }
                catch (StorageException e)
                {
                    done += Math.Clamp(e.BytesRead, 0, part.Length);
                    if (e.Code == ErrorCodes.StorageTimeout)
                    {
                        _pieces.Stalled(part.Length);
                    }

                    throw;
                }

                _pieces.Came(read, _time.GetElapsedTime(began));
                done += read;
                if (read < part.Length)
                {
                    break;
                }
            }
            while (done < piece.Length);
            return done;
        }
    }
}
