using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;

namespace BackupIQ.Storage;

/// <summary>Objects in memory, for tests: every guarantee but surviving the process.</summary>
public sealed class MemoryBackend(TimeProvider time) : IStorageBackend
{
    private readonly ConcurrentDictionary<string, Item> _items = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; } = new() { ConditionalPut = true, HasStoreClock = true, IsLocal = true };

    /// <inheritdoc/>
    public string Location => "memory:";

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        byte[] bytes;
        if (content.File is { } file)
        {
            try
            {
                bytes = await File.ReadAllBytesAsync(file, cancellationToken);
            }
            catch (IOException e)
            {
                throw new StorageException(ErrorCodes.Storage, $"The file that is to become {key} could not be read.", null, e);
            }
            finally
            {
                content.Discard();
            }
        }
        else
        {
            cancellationToken.ThrowIfCancellationRequested();
            bytes = content.Bytes.ToArray();
        }

        Item item = new(bytes, time.GetUtcNow());
        Item there = _items.GetOrAdd(key.Value, item);
        return ReferenceEquals(there, item) || there.Bytes.AsSpan().SequenceEqual(bytes) ? PutOutcome.Stored : PutOutcome.AlreadyThere;
    }

    /// <inheritdoc/>
    public ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        cancellationToken.ThrowIfCancellationRequested();
        if (!_items.TryGetValue(key.Value, out Item? item))
        {
            throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The storage has no object {key}.");
        }

        ReadOnlySpan<byte> rest = item.Bytes.AsSpan((int)Math.Min(offset, item.Bytes.Length));
        int count = Math.Min(rest.Length, destination.Length);
        rest[..count].CopyTo(destination.Span);
        return ValueTask.FromResult(count);
    }

    /// <inheritdoc/>
    public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult<StoredObject?>(
            _items.TryGetValue(key.Value, out Item? item) ? new StoredObject(key, item.Bytes.Length, item.StoredAt) : null);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        foreach ((string name, Item item) in _items)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (name.StartsWith(prefix, StringComparison.Ordinal))
            {
                yield return new StoredObject(new StorageKey(name), item.Bytes.Length, item.StoredAt);
            }
        }

        await Task.CompletedTask;
    }

    /// <inheritdoc/>
    public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _items.TryRemove(key.Value, out _);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) =>
        ValueTask.FromResult(new StorageSpace(null, _items.Values.Sum(static i => (long)i.Bytes.Length), null));

    /// <summary>Keeps the objects: a store outlives its clients.</summary>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private sealed record Item(byte[] Bytes, DateTimeOffset StoredAt);
}
