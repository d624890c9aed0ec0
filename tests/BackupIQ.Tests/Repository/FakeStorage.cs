using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Tests.Repository;

/// <summary>Objects in a dictionary; a test may look into it, damage it, or let a put fail.</summary>
internal sealed class FakeStorage : IStorageBackend
{
    public SortedDictionary<string, byte[]> Objects { get; } = new(StringComparer.Ordinal);

    public Action<StorageKey> BeforePut { get; set; } = _ => { };

    public HashSet<string> Unreadable { get; } = [];

    public StorageCapabilities Capabilities { get; init; } = new() { ConditionalPut = true };

    public string Location => "fake:";

    public string? SpoolFolder => null;

    public ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        BeforePut(key);
        byte[] bytes = content.Bytes.ToArray();
        if (content.File is { } file)
        {
            bytes = File.ReadAllBytes(file);
            content.Discard();
        }

        return ValueTask.FromResult(
            Objects.TryAdd(key.Value, bytes) || Objects[key.Value].SequenceEqual(bytes) ? PutOutcome.Stored : PutOutcome.AlreadyThere);
    }

    public ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        if (Unreadable.Contains(key.Value))
        {
            throw new StorageException(ErrorCodes.Storage, "The disk says no.");
        }

        byte[] bytes = Objects.GetValueOrDefault(key.Value) ?? throw new StorageException(ErrorCodes.StorageObjectNotFound, $"{key} is not there.");
        int from = (int)Math.Min(offset, bytes.Length);
        int length = Math.Min(destination.Length, bytes.Length - from);
        bytes.AsMemory(from, length).CopyTo(destination);
        return ValueTask.FromResult(length);
    }

    public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken) =>
        ValueTask.FromResult<StoredObject?>(
            Objects.TryGetValue(key.Value, out byte[]? bytes) ? new StoredObject(key, bytes.Length, DateTimeOffset.UnixEpoch) : null);

    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        foreach ((string key, byte[] bytes) in Objects.Where(item => item.Key.StartsWith(prefix, StringComparison.Ordinal)).ToList())
        {
            yield return new StoredObject(new StorageKey(key), bytes.Length, DateTimeOffset.UnixEpoch);
        }

        await Task.CompletedTask;
    }

    public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        Objects.Remove(key.Value);
        return ValueTask.CompletedTask;
    }

    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, null, null));

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
