using System.Collections.Concurrent;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using Shouldly;

namespace BackupIQ.Testing.Storage;

/// <summary>
/// Workers that put, read, list and delete on a storage on which things go wrong, and note what was acknowledged: whatever goes through
/// must be right, whatever does not must be told as a failure of a storage, and what was acknowledged must be there in the end.
/// </summary>
/// <param name="storage">The storage as its users have it.</param>
/// <param name="folder">For files that are put.</param>
/// <param name="seed">What the workers do follows from it.</param>
public sealed class FaultRun(IStorageBackend storage, string folder, int seed)
{
    private readonly ConcurrentDictionary<string, byte[]> _acknowledged = new(StringComparer.Ordinal);
    private int _failures;

    /// <summary>Largest object in bytes.</summary>
    public int LargestObject { get; init; } = 80_000;

    /// <summary>
    /// Whether bytes read must be those put. A line that changes bytes changes those that are read, too: their reader, who knows what was sealed,
    /// finds out, and not the storage. Then only what the storage itself holds in the end is compared.
    /// </summary>
    public bool AreReadsChecked { get; init; } = true;

    /// <summary>Calls that failed.</summary>
    public int Failures => _failures;

    /// <summary>Objects that were acknowledged and not deleted.</summary>
    public int Acknowledged => _acknowledged.Count;

    /// <summary>One worker's calls, on keys of its own.</summary>
    public async Task WorkAsync(int worker, int calls)
    {
        Random random = new((seed * 31) + worker);
        for (int i = 0; i < calls; i++)
        {
            string[] mine = [.. _acknowledged.Keys.Where(key => key.StartsWith($"w{worker}/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
            string? old = mine.Length > 0 ? mine[random.Next(mine.Length)] : null;
            switch (old is null ? 0 : random.Next(8))
            {
                case 0 or 1 or 2:
                    await PutAsync($"w{worker}/{i}", random);
                    break;
                case 3 or 4 or 5:
                    await ReadAsync(old!, random);
                    break;
                case 6:
                    await ListAsync($"w{worker}/", mine);
                    break;
                default:
                    await DeleteAsync(old!);
                    break;
            }
        }
    }

    /// <summary>All that was acknowledged is there, as the storage itself shows it.</summary>
    public async Task CheckAsync(IStorageBackend behind)
    {
        foreach ((string key, byte[] bytes) in _acknowledged)
        {
            byte[] read = new byte[bytes.Length + 1];
            (await behind.ReadAsync(new StorageKey(key), 0, read, CancellationToken.None)).ShouldBe(bytes.Length, $"seed {seed}, {key}");
            read.AsSpan(0, bytes.Length).SequenceEqual(bytes).ShouldBeTrue($"seed {seed}, {key}");
        }
    }

    private async Task PutAsync(string key, Random random)
    {
        byte[] bytes = new byte[random.Next(LargestObject)];
        random.NextBytes(bytes);
        StorageContent content = StorageContent.FromBytes(bytes);
        if (random.Next(2) == 0)
        {
            string file = Path.Combine(folder, $"{seed}-{key.Replace('/', '-')}");
            await File.WriteAllBytesAsync(file, bytes);
            content = StorageContent.FromFile(file);
        }

        await TryAsync(async () =>
        {
            // Nobody else puts there: what is already there is what a lost answer left, and that counts as stored, if it can be compared.
            PutOutcome outcome = await storage.PutAsync(new StorageKey(key), content, CancellationToken.None);
            if (outcome == PutOutcome.Stored || AreReadsChecked)
            {
                outcome.ShouldBe(PutOutcome.Stored, $"seed {seed}, {key}");
                _acknowledged[key] = bytes;
            }
        });
    }

    private Task ReadAsync(string key, Random random)
    {
        byte[] bytes = _acknowledged[key];
        int offset = random.Next(bytes.Length + 1);
        byte[] read = new byte[random.Next(LargestObject)];
        int expected = Math.Min(read.Length, bytes.Length - offset);
        return TryAsync(async () =>
        {
            (await storage.ReadAsync(new StorageKey(key), offset, read, CancellationToken.None)).ShouldBe(expected, $"seed {seed}, {key}");
            if (AreReadsChecked)
            {
                read.AsSpan(0, expected).SequenceEqual(bytes.AsSpan(offset, expected)).ShouldBeTrue($"seed {seed}, {key}");
            }
        });
    }

    private Task ListAsync(string prefix, string[] there) => TryAsync(async () =>
    {
        List<string> seen = [];
        await foreach (StoredObject item in storage.ListAsync(prefix, CancellationToken.None))
        {
            seen.Add(item.Key.Value);
        }

        seen.ShouldBeUnique($"seed {seed}, {prefix}");
        if (AreReadsChecked)
        {
            there.ShouldBeSubsetOf(seen, $"seed {seed}, {prefix}");
        }
    });

    private Task DeleteAsync(string key)
    {
        // Whether a deletion that failed had its effect is not known.
        _acknowledged.TryRemove(key, out _);
        return TryAsync(async () =>
        {
            await storage.DeleteAsync(new StorageKey(key), CancellationToken.None);
            if (await storage.StatAsync(new StorageKey(key), CancellationToken.None) is not null)
            {
                throw new ShouldAssertException($"seed {seed}: {key} was deleted and is there");
            }
        });
    }

    private async Task TryAsync(Func<Task> call)
    {
        try
        {
            await call();
        }
        catch (StorageException e)
        {
            Interlocked.Increment(ref _failures);
            e.Code.ShouldBeOneOf(
                ErrorCodes.Storage, ErrorCodes.StorageAuthentication, ErrorCodes.StorageConnection, ErrorCodes.StorageTimeout, ErrorCodes.CircuitBreakerOpen);
            e.Message.ShouldNotBeNullOrWhiteSpace();
        }
    }
}
