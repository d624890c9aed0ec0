namespace BackupIQ.Storage;

/// <summary>
/// Gives a storage that is no file system a folder of this machine for what is yet to be put. What a killed session left there is swept by the next
/// one; what it holds at once is bounded by the packs that a session has open or under way.
/// </summary>
/// <param name="inner">The storage; owned.</param>
/// <param name="folder">A folder that is there, for this storage alone.</param>
public sealed class SpoolBackend(IStorageBackend inner, string folder) : DelegatingBackend(inner)
{
    /// <inheritdoc/>
    public override string? SpoolFolder => folder;

    /// <inheritdoc/>
    public override ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken) => Inner.DeleteAllAsync(keys, cancellationToken);
}
