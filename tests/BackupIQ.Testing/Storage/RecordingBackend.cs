using System.Collections.Concurrent;
using BackupIQ.Storage;

namespace BackupIQ.Testing.Storage;

/// <summary>One call that a storage got.</summary>
/// <param name="Operation">Which.</param>
/// <param name="Key">Its key or prefix; empty for space.</param>
/// <param name="Offset">Where a read began.</param>
/// <param name="Length">Bytes to put, or bytes asked of a read.</param>
public readonly record struct StorageCall(StorageOperation Operation, string Key, long Offset, long Length);

/// <summary>Notes every call in the order in which they began, and passes it on.</summary>
public sealed class RecordingBackend(IStorageBackend inner) : DelegatingBackend(inner)
{
    private readonly ConcurrentQueue<StorageCall> _calls = new();

    /// <summary>The calls so far.</summary>
    public IReadOnlyList<StorageCall> Calls => [.. _calls];

    /// <summary>How many calls of one kind there were under a prefix.</summary>
    public int Count(StorageOperation operation, string prefix = "") =>
        _calls.Count(c => c.Operation == operation && c.Key.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>How many bytes were put or asked for under a prefix.</summary>
    public long Bytes(StorageOperation operation, string prefix = "") =>
        _calls.Where(c => c.Operation == operation && c.Key.StartsWith(prefix, StringComparison.Ordinal)).Sum(c => c.Length);

    /// <summary>Forgets the calls so far.</summary>
    public void Clear() => _calls.Clear();

    /// <inheritdoc/>
    public override ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        Note(StorageOperation.Put, key.Value, 0, LengthOf(content));
        return base.PutAsync(key, content, cancellationToken);
    }

    /// <inheritdoc/>
    public override ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        Note(StorageOperation.Read, key.Value, offset, destination.Length);
        return base.ReadAsync(key, offset, destination, cancellationToken);
    }

    /// <inheritdoc/>
    public override ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        Note(StorageOperation.Stat, key.Value, 0, 0);
        return base.StatAsync(key, cancellationToken);
    }

    /// <inheritdoc/>
    public override IAsyncEnumerable<StoredObject> ListAsync(string prefix, CancellationToken cancellationToken)
    {
        Note(StorageOperation.List, prefix, 0, 0);
        return base.ListAsync(prefix, cancellationToken);
    }

    /// <inheritdoc/>
    public override ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        Note(StorageOperation.Delete, key.Value, 0, 0);
        return base.DeleteAsync(key, cancellationToken);
    }

    /// <inheritdoc/>
    public override ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken)
    {
        Note(StorageOperation.Space, "", 0, 0);
        return base.GetSpaceAsync(cancellationToken);
    }

    // What is put may not be there: the backend then says so.
    internal static long LengthOf(StorageContent content) => content.File is null || File.Exists(content.File) ? content.GetLength() : 0;

    private void Note(StorageOperation operation, string key, long offset, long length) =>
        _calls.Enqueue(new StorageCall(operation, key, offset, length));
}
