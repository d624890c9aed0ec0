using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Storage;

namespace BackupIQ.Testing.Storage;

/// <summary>What goes wrong.</summary>
public enum FaultKind
{
    /// <summary>The call fails and has no effect. A file to put is deleted all the same, as the storage's promise is.</summary>
    FailBefore,

    /// <summary>The call has its effect, but its answer is lost: the caller sees a failure. Listings fail after their last object.</summary>
    FailAfter,

    /// <summary>The call takes <see cref="Fault.Delay"/> longer.</summary>
    Delay,

    /// <summary>A read ends early: half of the bytes, as if the object ended there.</summary>
    TruncateRead,

    /// <summary>A read breaks: half of its bytes came, then it fails.</summary>
    BreakRead,

    /// <summary>One bit in the middle of what is read is wrong.</summary>
    FlipByte,

    /// <summary>A put is durable and can be read by name, but listings do not show it until <see cref="FaultyBackend.Reveal"/>.</summary>
    HideFromListings,
}

/// <summary>A rule: which calls go wrong, and how.</summary>
/// <param name="Operation">The kind of call.</param>
/// <param name="Prefix">Its key (or, of a listing, its prefix) begins so; empty for all.</param>
/// <param name="Kind">What goes wrong.</param>
public sealed record Fault(StorageOperation Operation, string Prefix, FaultKind Kind)
{
    /// <summary>So many matching calls go well first.</summary>
    public int Skip { get; init; }

    /// <summary>Then so many go wrong; the rest go well.</summary>
    public int Times { get; init; } = int.MaxValue;

    /// <summary>How long <see cref="FaultKind.Delay"/> delays.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>The code of the failure.</summary>
    public ErrorCode Code { get; init; } = ErrorCodes.StorageConnection;
}

/// <summary>
/// A storage on which things go wrong as the script says: every <see cref="Fault"/> that matches a call applies to it. Calls are counted
/// per fault, in the order in which they come.
/// </summary>
public sealed class FaultyBackend(IStorageBackend inner, TimeProvider time, params Fault[] script) : DelegatingBackend(inner)
{
    private readonly ConcurrentDictionary<string, bool> _hidden = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private readonly List<Rule> _rules = [.. script.Select(f => new Rule(f))];
    private long _room = long.MaxValue;

    /// <inheritdoc/>
    public override StorageCapabilities Capabilities => ListingLag is { } lag ? base.Capabilities with { ListingLag = lag } : base.Capabilities;

    /// <summary>What to declare as <see cref="StorageCapabilities.ListingLag"/>; null declares the inner storage's.</summary>
    public TimeSpan? ListingLag { get; init; }

    /// <summary>Bytes that can still be put before every put fails with <c>StorageFull</c>.</summary>
    public long Room
    {
        get => Interlocked.Read(ref _room);
        set => Interlocked.Exchange(ref _room, value);
    }

    /// <summary>How many calls went wrong so far.</summary>
    public int Applied { get; private set; }

    /// <summary>Adds a rule behind the others.</summary>
    public void Add(Fault fault)
    {
        lock (_gate)
        {
            _rules.Add(new Rule(fault));
        }
    }

    /// <summary>Drops all rules: from now on all goes well. What is hidden stays hidden.</summary>
    public void Heal()
    {
        lock (_gate)
        {
            _rules.Clear();
        }

        Room = long.MaxValue;
    }

    /// <summary>Lets listings show what was hidden under a prefix.</summary>
    public void Reveal(string prefix = "")
    {
        foreach (string key in _hidden.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal)))
        {
            _hidden.TryRemove(key, out _);
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        List<Fault> faults = Match(StorageOperation.Put, key.Value);
        try
        {
            await BeforeAsync(faults, key.Value, cancellationToken);
            TakeRoom(key, RecordingBackend.LengthOf(content));
        }
        catch
        {
            content.Discard();
            throw;
        }

        bool hides = faults.Any(f => f.Kind == FaultKind.HideFromListings) && await Inner.StatAsync(key, cancellationToken) is null;
        if (hides)
        {
            _hidden.TryAdd(key.Value, true);
        }

        PutOutcome outcome = await Inner.PutAsync(key, content, cancellationToken);
        After(faults, key.Value);
        return outcome;
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(
        StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        List<Fault> faults = Match(StorageOperation.Read, key.Value);
        await BeforeAsync(faults, key.Value, cancellationToken);
        int count = await Inner.ReadAsync(key, offset, destination, cancellationToken);
        After(faults, key.Value);
        if (faults.Find(f => f.Kind == FaultKind.BreakRead) is { } broken)
        {
            destination.Span[(count / 2)..count].Fill(0xEE);
            throw new StorageException(broken.Code, $"By the test's script the read of '{key}' broke.") { BytesRead = count / 2 };
        }

        if (faults.Any(f => f.Kind == FaultKind.FlipByte) && count > 0)
        {
            destination.Span[count / 2] ^= 0x10;
        }

        return faults.Any(f => f.Kind == FaultKind.TruncateRead) ? count / 2 : count;
    }

    /// <inheritdoc/>
    public override async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        List<Fault> faults = Match(StorageOperation.Stat, key.Value);
        await BeforeAsync(faults, key.Value, cancellationToken);
        StoredObject? result = await Inner.StatAsync(key, cancellationToken);
        After(faults, key.Value);
        return result;
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<StoredObject> ListAsync(
        string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        List<Fault> faults = Match(StorageOperation.List, prefix);
        await BeforeAsync(faults, prefix, cancellationToken);
        await foreach (StoredObject item in Inner.ListAsync(prefix, cancellationToken))
        {
            if (!_hidden.ContainsKey(item.Key.Value))
            {
                yield return item;
            }
        }

        After(faults, prefix);
    }

    /// <inheritdoc/>
    public override async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        List<Fault> faults = Match(StorageOperation.Delete, key.Value);
        await BeforeAsync(faults, key.Value, cancellationToken);
        await Inner.DeleteAsync(key, cancellationToken);
        _hidden.TryRemove(key.Value, out _);
        After(faults, key.Value);
    }

    /// <inheritdoc/>
    public override async ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken)
    {
        List<Fault> faults = Match(StorageOperation.Space, "");
        await BeforeAsync(faults, "", cancellationToken);
        StorageSpace space = await Inner.GetSpaceAsync(cancellationToken);
        After(faults, "");
        return space;
    }

    private List<Fault> Match(StorageOperation operation, string key)
    {
        List<Fault> matching = [];
        lock (_gate)
        {
            foreach (Rule rule in _rules)
            {
                if (rule.Fault.Operation == operation && key.StartsWith(rule.Fault.Prefix, StringComparison.Ordinal) && rule.Applies())
                {
                    matching.Add(rule.Fault);
                    Applied++;
                }
            }
        }

        return matching;
    }

    private async ValueTask BeforeAsync(List<Fault> faults, string key, CancellationToken cancellationToken)
    {
        foreach (Fault fault in faults)
        {
            if (fault.Kind == FaultKind.Delay)
            {
                await Task.Delay(fault.Delay, time, cancellationToken);
            }
        }

        Throw(faults, FaultKind.FailBefore, key, "did not reach the storage");
    }

    private static void After(List<Fault> faults, string key) => Throw(faults, FaultKind.FailAfter, key, "lost its answer");

    private static void Throw(List<Fault> faults, FaultKind kind, string key, string what)
    {
        if (faults.Find(f => f.Kind == kind) is { } fault)
        {
            throw new StorageException(fault.Code, $"By the test's script the {fault.Operation} of '{key}' {what}.");
        }
    }

    private void TakeRoom(StorageKey key, long length)
    {
        if (Room != long.MaxValue && Interlocked.Add(ref _room, -length) < 0)
        {
            Interlocked.Add(ref _room, length);
            lock (_gate)
            {
                Applied++;
            }

            throw new StorageException(ErrorCodes.StorageFull, $"By the test's script there is no room for '{key}'.");
        }
    }

    private sealed class Rule(Fault fault)
    {
        private int _seen;

        public Fault Fault { get; } = fault;

        public bool Applies()
        {
            int number = _seen++;
            return number >= Fault.Skip && number - Fault.Skip < Fault.Times;
        }
    }
}
