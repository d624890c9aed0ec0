using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Tests.Exploration;

/// <summary>An object's bytes, with their hash: it is asked for after every step.</summary>
internal sealed class ExploredObject(byte[] bytes)
{
    public byte[] Bytes { get; } = bytes;

    public ulong Hash { get; } = HashOf(bytes);

    private static ulong HashOf(byte[] bytes)
    {
        Span<byte> digest = stackalloc byte[8];
        BackupIQ.Repository.Hashing.Blake3.Hash(bytes, digest);
        return BitConverter.ToUInt64(digest);
    }
}

/// <summary>What the actors of a run share: objects by name, with what listings show of them. Changed by one actor at a time.</summary>
internal sealed class ExploredStore(IReadOnlyDictionary<string, ExploredObject> start, bool conditionalPut, TimeSpan listingLag)
{
    private readonly SortedDictionary<string, Stored> _objects =
        new(start.ToDictionary(static o => o.Key, static o => new Stored(o.Value, false), StringComparer.Ordinal), StringComparer.Ordinal);

    private bool _isDoubtful = true;

    public StorageCapabilities Capabilities { get; } = new() { ConditionalPut = conditionalPut, ListingLag = listingLag, HasStoreClock = true };

    /// <summary>Of all that is stored, whatever the order in which it was.</summary>
    public ulong Hash { get; private set; } = start.Aggregate(0UL, static (hash, o) => hash ^ HashOf(o.Key, o.Value, false));

    public IEnumerable<string> Names => _objects.Keys;

    public bool Contains(string name) => _objects.ContainsKey(name);

    public ExploredObject? Find(string name) => _objects.TryGetValue(name, out Stored? stored) ? stored.Object : null;

    public PutOutcome Put(string name, ExploredObject item, bool isLate)
    {
        if (_objects.TryGetValue(name, out Stored? there))
        {
            return there.Object.Bytes.AsSpan().SequenceEqual(item.Bytes) ? PutOutcome.Stored : PutOutcome.AlreadyThere;
        }

        _objects.Add(name, new Stored(item, isLate));
        _isDoubtful |= name[0] is 's' or 'a';
        Hash ^= HashOf(name, item, isLate);
        return PutOutcome.Stored;
    }

    public void Delete(string name)
    {
        if (_objects.Remove(name, out Stored? stored))
        {
            Hash ^= HashOf(name, stored.Object, stored.IsLate);
            _isDoubtful = true;
        }
    }

    /// <summary>Whether something was done since the last question that may break a promise: only deletions and new snapshots can.</summary>
    public bool HasBecomeDoubtful()
    {
        bool isDoubtful = _isDoubtful;
        _isDoubtful = false;
        return isDoubtful;
    }

    public string[] List(string prefix) =>
        [.. _objects.Where(o => !o.Value.IsLate && o.Key.StartsWith(prefix, StringComparison.Ordinal)).Select(static o => o.Key)];

    /// <summary>Time has passed: listings show everything.</summary>
    public void Reveal()
    {
        foreach ((string name, Stored stored) in _objects.Where(static o => o.Value.IsLate).ToArray())
        {
            Hash ^= HashOf(name, stored.Object, true) ^ HashOf(name, stored.Object, false);
            _objects[name] = new Stored(stored.Object, false);
        }
    }

    public static ulong Mix(ulong hash, ulong value)
    {
        hash ^= value + 0x9E3779B97F4A7C15 + (hash << 6) + (hash >> 2);
        hash *= 0xFF51AFD7ED558CCD;
        return hash ^ (hash >> 33);
    }

    public static ulong HashOf(ReadOnlySpan<char> text)
    {
        ulong hash = 0xcbf29ce484222325;
        foreach (char c in text)
        {
            hash = (hash ^ c) * 0x100000001b3;
        }

        return hash;
    }

    private static ulong HashOf(string name, ExploredObject item, bool isLate) => Mix(Mix(HashOf(name), item.Hash), isLate ? 1u : 0u);

    private sealed record Stored(ExploredObject Object, bool IsLate);
}

/// <summary>The storage as one actor sees it: every call is a step, or comes with the step before.</summary>
internal sealed class ActorStorage(Actor actor, string spool) : IStorageBackend
{
    private static readonly DateTimeOffset LongAgo = new(2020, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>The run that goes on.</summary>
    public Execution Execution { get; set; } = null!;

    public bool ReadsAreSteps { get; set; }

    public StorageCapabilities Capabilities => Execution.Store.Capabilities;

    public string Location => "explored:";

    public string? SpoolFolder => spool;

    private ExploredStore Store => Execution.Store;

    public ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        ExploredObject item = new(content.File is { } file ? File.ReadAllBytes(file) : content.Bytes.ToArray());
        content.Discard();
        return ValueTask.FromResult(Execution.Step(
            actor, isPut: true, () => $"put {key}", variant =>
            {
                PutOutcome outcome = Store.Put(key.Value, item, variant == Variant.Late);
                return (outcome, ExploredStore.Mix(ExploredStore.HashOf(key.Value), (ulong)outcome));
            }));
    }

    public ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        int read = Answer(key, "read", () =>
        {
            byte[]? bytes = Store.Find(key.Value)?.Bytes;
            int count = bytes is null ? -1 : (int)Math.Min(destination.Length, Math.Max(0, bytes.Length - offset));
            bytes?.AsSpan((int)Math.Min(offset, bytes.Length), count).CopyTo(destination.Span);
            return count;
        });
        return read >= 0
            ? ValueTask.FromResult(read)
            : throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The storage has no object {key}.");
    }

    public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        int size = Answer(key, "stat", () => Store.Find(key.Value)?.Bytes.Length ?? -1);
        return ValueTask.FromResult<StoredObject?>(size < 0 ? null : new StoredObject(key, size, LongAgo));
    }

    public async IAsyncEnumerable<StoredObject> ListAsync(
        string prefix, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        string[] names = Execution.Step(actor, isPut: false, () => $"list {prefix}", _ =>
        {
            string[] found = Store.List(prefix);
            return (found, found.Aggregate(ExploredStore.HashOf(prefix), static (hash, name) => ExploredStore.Mix(hash, ExploredStore.HashOf(name))));
        });
        foreach (string name in names)
        {
            // Clocks decide nothing but whether a silent collector is dead: to who comes days later all others are.
            bool isLater = actor.Index == Stage.Afterwards && name.Contains(Stage.AfterwardsSession, StringComparison.Ordinal);
            yield return new StoredObject(new StorageKey(name), Store.Find(name)?.Bytes.Length ?? 0, isLater ? LongAgo.AddDays(2) : LongAgo);
        }

        await Task.CompletedTask;
    }

    public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        Execution.Step(actor, isPut: false, () => $"delete {key}", _ =>
        {
            Store.Delete(key.Value);
            return (true, ExploredStore.HashOf(key.Value));
        });
        return ValueTask.CompletedTask;
    }

    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, null, null));

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    // What is asked of sessions by name decides who is waited for and who is fenced: always a step. Of what else is read by name all that can
    // change is that it goes.
    private int Answer(StorageKey key, string what, Func<int> answer)
    {
        if (ReadsAreSteps || key.Value[0] is 'l' or 's' or 'a')
        {
            return Execution.Step(actor, isPut: false, () => $"{what} {key}", _ =>
            {
                int result = answer();
                return (result, ExploredStore.Mix(ExploredStore.HashOf(key.Value), (ulong)result));
            });
        }

        int known = answer();
        Execution.Note(actor, ExploredStore.Mix(ExploredStore.HashOf(key.Value), (ulong)known));
        return known;
    }
}

/// <summary>A clock that stands still. Who waits for listings waits for a step at which all of them show everything; beats never come.</summary>
internal sealed class StandingTime(Actor actor, ActorStorage storage) : TimeProvider
{
    private static readonly DateTimeOffset Now = new(2026, 11, 22, 2, 0, 0, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => Now;

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override long GetTimestamp() => 0;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        if (period == Timeout.InfiniteTimeSpan)
        {
            storage.Execution.Step(actor, isPut: false, static () => "waits for listings", _ =>
            {
                storage.Execution.Store.Reveal();
                return (true, 7UL);
            });
            callback(state);
        }

        return new NoTimer();
    }

    private sealed class NoTimer : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period) => true;

        public void Dispose()
        {
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
