using System.Runtime.CompilerServices;

namespace BackupIQ.Storage.Resilience;

/// <summary>What is asked of a storage, as decorators see it that treat all requests alike.</summary>
/// <param name="Operation">Which.</param>
/// <param name="Subject">The key or prefix.</param>
/// <param name="Bytes">Bytes to put, or bytes asked of a read.</param>
internal readonly record struct StorageRequest(StorageOperation Operation, string Subject, long Bytes);

/// <summary>The base of decorators that treat all requests alike: each passes through <see cref="CallAsync"/>; a listing does so page by page.</summary>
internal abstract class InterceptingBackend(IStorageBackend inner) : DelegatingBackend(inner)
{
    /// <summary>Objects of a listing that are taken over at once where they are there already.</summary>
    private const int PageSize = 1000;

    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        bool isGiven = false;
        try
        {
            return await CallAsync(
                new StorageRequest(StorageOperation.Put, key.Value, LengthOf(content)),
                token =>
                {
                    isGiven = true;
                    return Inner.PutAsync(key, content, token);
                },
                cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (!isGiven)
            {
                content.Discard();
            }
        }
    }

    public override ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
        CallAsync(
            new StorageRequest(StorageOperation.Read, key.Value, destination.Length),
            token => Inner.ReadAsync(key, offset, destination, token),
            cancellationToken);

    public override ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        CallAsync(new StorageRequest(StorageOperation.Stat, key.Value, 0), token => Inner.StatAsync(key, token), cancellationToken);

    public override async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) =>
        await CallAsync(
            new StorageRequest(StorageOperation.Delete, key.Value, 0),
            async token =>
            {
                await Inner.DeleteAsync(key, token).ConfigureAwait(false);
                return true;
            },
            cancellationToken).ConfigureAwait(false);

    public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) => CallAsync(
        new StorageRequest(StorageOperation.Delete, Deletion(keys), 0), token => Inner.DeleteAllAsync(keys, token), cancellationToken);

    public override ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken) =>
        CallAsync(new StorageRequest(StorageOperation.Lock, key.Value, 0), token => Inner.ExtendLockAsync(key, atLeast, until, token), cancellationToken);

    public override ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) =>
        CallAsync(new StorageRequest(StorageOperation.Stat, key.Value, 0), token => Inner.GetReadinessAsync(key, token), cancellationToken);

    public override async ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken) =>
        await CallAsync(
            new StorageRequest(StorageOperation.Recall, key.Value, 0),
            async token =>
            {
                await Inner.RecallAsync(key, order, token).ConfigureAwait(false);
                return true;
            },
            cancellationToken).ConfigureAwait(false);

    public override ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) =>
        CallAsync(new StorageRequest(StorageOperation.Space, "", 0), Inner.GetSpaceAsync, cancellationToken);

    public override async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StorageRequest request = new(StorageOperation.List, prefix, 0);
        Listing listing = new(Inner, prefix, cancellationToken);
        await using (listing.ConfigureAwait(false))
        {
            while (await CallAsync(request, listing.FillAsync, cancellationToken).ConfigureAwait(false))
            {
                foreach (StoredObject item in listing.Page)
                {
                    yield return item;
                }
            }
        }
    }

    /// <summary>Lets a request through to the storage behind, in whatever way this decorator is for.</summary>
    protected abstract ValueTask<T> CallAsync<T>(StorageRequest request, Func<CancellationToken, ValueTask<T>> call, CancellationToken cancellationToken);

    /// <summary>How a deletion of many is called.</summary>
    internal static string Deletion(IReadOnlyList<StorageKey> keys) =>
        keys.Count == 1 ? keys[0].Value : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{keys[0]} and {keys.Count - 1} more");

    // A file that is not there is the backend's to tell of.
    private static long LengthOf(StorageContent content) => content.File is null || File.Exists(content.File) ? content.GetLength() : 0;

    /// <summary>A listing that is asked for page by page: what the storage has at hand is a page.</summary>
    private sealed class Listing : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop;
        private readonly IAsyncEnumerator<StoredObject> _objects;
        private Task<bool>? _pending;

        public Listing(IStorageBackend storage, string prefix, CancellationToken cancellationToken)
        {
            // One token for the whole listing, which a page's own cancels: an enumerator takes no other.
            _stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            _objects = storage.ListAsync(prefix, _stop.Token).GetAsyncEnumerator(_stop.Token);
        }

        public List<StoredObject> Page { get; } = [];

        /// <summary>Waits for one object, and takes those that are there then without waiting. False: there are no more.</summary>
        public async ValueTask<bool> FillAsync(CancellationToken cancellationToken)
        {
            Page.Clear();
            CancellationTokenRegistration cancelled = cancellationToken.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), _stop);
            await using (cancelled.ConfigureAwait(false))
            {
                while (Page.Count < PageSize)
                {
                    ValueTask<bool> next = _pending is { } pending ? new ValueTask<bool>(pending) : _objects.MoveNextAsync();
                    _pending = null;
                    if (Page.Count > 0 && !(next.IsCompletedSuccessfully && next.Result))
                    {
                        // It takes time, is the end, or failed: the next call learns which.
                        _pending = next.AsTask();
                        return true;
                    }

                    if (!await next.ConfigureAwait(false))
                    {
                        return false;
                    }

                    Page.Add(_objects.Current);
                }
            }

            return true;
        }

        public async ValueTask DisposeAsync()
        {
            if (_pending is not null)
            {
                await _stop.CancelAsync().ConfigureAwait(false);
                await ((Task)_pending).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            await _objects.DisposeAsync().ConfigureAwait(false);
            _stop.Dispose();
        }
    }
}
