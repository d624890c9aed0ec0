namespace BackupIQ.Storage;

/// <summary>Passes everything on to another backend, which it owns: the base of decorators, which override what they change.</summary>
public abstract class DelegatingBackend(IStorageBackend inner) : IStorageBackend
{
    /// <inheritdoc/>
    public virtual StorageCapabilities Capabilities => Inner.Capabilities;

    /// <inheritdoc/>
    public virtual string Location => Inner.Location;

    /// <inheritdoc/>
    public virtual string? SpoolFolder => Inner.SpoolFolder;

    /// <summary>The backend behind this one.</summary>
    protected IStorageBackend Inner { get; } = inner;

    /// <inheritdoc/>
    public virtual ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken) =>
        Inner.PutAsync(key, content, cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken) =>
        Inner.ReadAsync(key, offset, destination, cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        Inner.StatAsync(key, cancellationToken);

    /// <inheritdoc/>
    public virtual IAsyncEnumerable<StoredObject> ListAsync(string prefix, CancellationToken cancellationToken) =>
        Inner.ListAsync(prefix, cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) => Inner.DeleteAsync(key, cancellationToken);

    /// <summary>One by one through <see cref="DeleteAsync"/>, which a decorator may have changed; who changes nothing about deletions passes them on together.</summary>
    public virtual ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) =>
        Deletions.OneByOneAsync(this, keys, cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken) =>
        Inner.ExtendLockAsync(key, atLeast, until, cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken) => Inner.GetReadinessAsync(key, cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken) => Inner.RecallAsync(key, order, cancellationToken);

    /// <inheritdoc/>
    public virtual IAsyncEnumerable<StorageCopy> CopiesAsync(CancellationToken cancellationToken) => Inner.CopiesAsync(cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => Inner.GetSpaceAsync(cancellationToken);

    /// <inheritdoc/>
    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return Inner.DisposeAsync();
    }
}
