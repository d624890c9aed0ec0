using BackupIQ.Primitives;

namespace BackupIQ.Storage;

/// <summary>
/// Once closed it lets objects be put that are not there, and read and listed; it deletes nothing, changes nothing, and puts nothing under
/// prefixes that are not a writer's. Open it passes everything on: whether a repository is to be used so may stand in the repository itself.
/// </summary>
/// <remarks>
/// It holds this program, not whoever has the storage's credentials: for those the storage's own policy must say the same (docs/ransomware.md).
/// </remarks>
/// <param name="inner">The storage; owned from now on.</param>
/// <param name="closedPrefixes">Prefixes under which nothing may be put either.</param>
public sealed class AppendOnlyBackend(IStorageBackend inner, IReadOnlyList<string> closedPrefixes) : DelegatingBackend(inner)
{
    private volatile bool _isClosed;

    /// <inheritdoc/>
    public override StorageCapabilities Capabilities => _isClosed ? base.Capabilities with { CanDelete = false } : base.Capabilities;

    /// <summary>Whether only adding is allowed.</summary>
    public bool IsClosed => _isClosed;

    /// <summary>From now on only adding is allowed. There is no way back.</summary>
    public void Close() => _isClosed = true;

    /// <inheritdoc/>
    public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        if (!_isClosed)
        {
            return await base.PutAsync(key, content, cancellationToken);
        }

        if (closedPrefixes.Any(prefix => key.Value.StartsWith(prefix, StringComparison.Ordinal)))
        {
            content.Discard();
            throw Refused($"{key} may not be put by who may only add");
        }

        // Where the storage itself does not refuse to overwrite, we look first: what is there stays.
        if (!Capabilities.ConditionalPut && await StatAsync(key, cancellationToken) is { } there)
        {
            PutOutcome outcome = await IsSameAsync(there, content, cancellationToken) ? PutOutcome.Stored : PutOutcome.AlreadyThere;
            content.Discard();
            return outcome;
        }

        return await base.PutAsync(key, content, cancellationToken);
    }

    /// <inheritdoc/>
    public override ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken) =>
        _isClosed ? throw Refused($"{key} may not be deleted by who may only add") : base.DeleteAsync(key, cancellationToken);

    /// <inheritdoc/>
    public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) =>
        _isClosed ? throw Refused($"{keys.Count} objects may not be deleted by who may only add") : Inner.DeleteAllAsync(keys, cancellationToken);

    private static StorageException Refused(string message) => new(ErrorCodes.AppendOnly, message);

    private async Task<bool> IsSameAsync(StoredObject there, StorageContent content, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> bytes = content.File is { } file ? await File.ReadAllBytesAsync(file, cancellationToken) : content.Bytes;
        if (bytes.Length != there.Size)
        {
            return false;
        }

        var stored = new byte[bytes.Length];
        return await ReadAsync(there.Key, 0, stored, cancellationToken) == stored.Length && bytes.Span.SequenceEqual(stored);
    }
}
