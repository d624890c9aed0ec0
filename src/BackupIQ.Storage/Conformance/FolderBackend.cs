using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

namespace BackupIQ.Storage.Conformance;

/// <summary>
/// A folder of a storage as a storage of its own. It remembers under which names something may have been put, for who removes all of it: a listing
/// may lag.
/// </summary>
/// <param name="inner">The storage; it stays its owner's.</param>
/// <param name="folder">The folder, without a slash at its end.</param>
/// <param name="names">Gets the whole names; several clients of one folder share it.</param>
internal sealed class FolderBackend(IStorageBackend inner, string folder, ConcurrentDictionary<string, bool> names) : DelegatingBackend(inner)
{
    private readonly string _prefix = folder + "/";

    public override ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        StorageKey whole = Whole(key);
        names.TryAdd(whole.Value, true);
        return Inner.PutAsync(whole, content, cancellationToken);
    }

    public override ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
        Inner.ReadAsync(Whole(key), offset, destination, cancellationToken);

    public override async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        await Inner.StatAsync(Whole(key), cancellationToken) is { } found ? found with { Key = key } : null;

    public override async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        await foreach (StoredObject item in Inner.ListAsync(_prefix + prefix, cancellationToken))
        {
            yield return item with { Key = new StorageKey(item.Key.Value[_prefix.Length..]) };
        }
    }

    public override ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) => Inner.DeleteAsync(Whole(key), cancellationToken);

    public override ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken) =>
        Inner.ExtendLockAsync(Whole(key), atLeast, until, cancellationToken);

    public override ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) => Inner.GetReadinessAsync(Whole(key), cancellationToken);

    public override ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken) => Inner.RecallAsync(Whole(key), order, cancellationToken);

    public override ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private StorageKey Whole(StorageKey key) => new(_prefix + key.Value);
}
