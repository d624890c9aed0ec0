namespace BackupIQ.Storage;

/// <summary>
/// Bytes under keys, on any storage. Objects are immutable: written once, whole, never changed.
/// </summary>
/// <remarks>
/// What every implementation guarantees, and the conformance suite proves:
/// <list type="bullet">
/// <item>A put object is durable when the put returns: it survives a crash of the machine, and so does its name.</item>
/// <item>An object is visible whole or not at all; a failed or killed put leaves nothing under the key.</item>
/// <item>A put never replaces what is there (see <see cref="PutAsync"/>), where <see cref="StorageCapabilities.ConditionalPut"/> is declared.</item>
/// <item>After a put returned, a read, a stat and a listing see it, unless <see cref="StorageCapabilities.ListingLag"/> says otherwise.</item>
/// <item>Implementations never retry: that is a decorator's work. They may be called from any thread.</item>
/// <item>Failures are <see cref="StorageException"/>, with a code that says whether a retry makes sense.</item>
/// <item>A cancelled call ends soon, and then touches neither the content nor the destination any more.</item>
/// </list>
/// </remarks>
public interface IStorageBackend : IAsyncDisposable
{
    /// <summary>What this storage can and cannot do; fixed once it is connected.</summary>
    StorageCapabilities Capabilities { get; }

    /// <summary>The storage's own URL or path, without secrets, for messages.</summary>
    string Location { get; }

    /// <summary>
    /// A folder of this machine for files that are yet to be put; what dead sessions left in it is swept. Where the storage is a file system it
    /// lies on that, and a <see cref="StorageContent.FromFile"/> from there is taken over by renaming it. Null: any local spool serves.
    /// </summary>
    string? SpoolFolder { get; }

    /// <summary>
    /// Puts an object if the key is free. When the key is taken, the answer is <see cref="PutOutcome.AlreadyThere"/> and nothing
    /// changed, except that an object with the very same bytes counts as <see cref="PutOutcome.Stored"/>: a retried put may meet itself.
    /// A file given as content belongs to the storage from the call on, whatever comes of it: it is moved or deleted
    /// (<see cref="StorageContent.Discard"/>), unless it is lent.
    /// </summary>
    ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken);

    /// <summary>
    /// Reads from <paramref name="offset"/> until <paramref name="destination"/> is full or the object ends; returns the bytes read.
    /// </summary>
    /// <exception cref="StorageException">With <c>StorageObjectNotFound</c> when there is no such object.</exception>
    ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken);

    /// <summary>Size and store time of an object, or null when there is none.</summary>
    ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken);

    /// <summary>
    /// All objects whose key starts with <paramref name="prefix"/> (a whole number of segments, such as <c>s/</c>), in no particular order.
    /// What is put or deleted meanwhile may or may not appear. An absent prefix is an empty listing.
    /// </summary>
    IAsyncEnumerable<StoredObject> ListAsync(string prefix, CancellationToken cancellationToken);

    /// <summary>Deletes an object; deleting what is not there is success.</summary>
    ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken);

    /// <summary>
    /// Deletes objects, in no particular order and in as few requests as the storage takes (<see cref="StorageCapabilities.DeletesAtOnce"/>); one by one where it takes
    /// no more. Deleting what is not there is success, and what fails keeps none of the others.
    /// </summary>
    /// <returns>What could not be deleted, and why.</returns>
    ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) =>
        Deletions.OneByOneAsync(this, keys, cancellationToken);

    /// <summary>
    /// Keeps an object locked until <paramref name="until"/> if its lock ends before <paramref name="atLeast"/>; no lock becomes shorter. For storage that
    /// declares <see cref="StorageCapabilities.ExtendsLocks"/>.
    /// </summary>
    /// <returns>Whether the lock was extended.</returns>
    /// <exception cref="StorageException">With <c>StorageObjectNotFound</c> when there is no such object; or the storage refuses.</exception>
    /// <exception cref="NotSupportedException">The storage has no locks.</exception>
    ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken) =>
        throw new NotSupportedException("The storage has no locks that could be extended.");

    /// <summary>Whether an object can be read as it lies. A read of one that cannot fails with <c>StorageArchived</c>.</summary>
    /// <exception cref="StorageException">With <c>StorageObjectNotFound</c> when there is no such object.</exception>
    ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) => ValueTask.FromResult(StorageReadiness.Ready);

    /// <summary>Asks the storage to bring an object back from its archive, which takes its time. Asking again, or for what can be read, changes nothing.</summary>
    /// <exception cref="StorageException">With <c>StorageObjectNotFound</c> when there is no such object; or the storage refuses.</exception>
    /// <exception cref="NotSupportedException">The storage has no archive.</exception>
    ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken) =>
        throw new NotSupportedException("The storage has no archive that anything could be recalled from.");

    /// <summary>
    /// Other storages that hold the same objects, to read from: for whoever found that the bytes which this one gives are not those that were put. One after the other, each
    /// connected to when it is asked for; one that cannot be read is left out.
    /// </summary>
    IAsyncEnumerable<StorageCopy> CopiesAsync(CancellationToken cancellationToken) => AsyncEnumerable.Empty<StorageCopy>();

    /// <summary>Space on the storage, with null for what cannot be told.</summary>
    ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken);
}
