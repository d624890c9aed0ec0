namespace BackupIQ.Storage.Remote;

/// <summary>What a storage may treat differently by the prefix of a key; who composes the repository says which prefixes those are.</summary>
/// <param name="ColdPrefixes">Written once and seldom read: they may lie in a storage class of their own.</param>
/// <param name="LockedPrefixes">What a repository cannot be read without: where the URL asks for a lock, these objects get one.</param>
/// <param name="PassingSuffix">What ends like this is replaced by something else soon, and gets no lock; null: nothing.</param>
public sealed record RemoteLayout(IReadOnlyList<string> ColdPrefixes, IReadOnlyList<string> LockedPrefixes, string? PassingSuffix = null)
{
    /// <summary>Whether the object may lie in a cold storage class.</summary>
    public bool IsCold(StorageKey key) => StartsWithAny(key, ColdPrefixes);

    /// <summary>Whether the object is to be locked.</summary>
    public bool IsLocked(StorageKey key) => StartsWithAny(key, LockedPrefixes) && (PassingSuffix is null || !key.Value.EndsWith(PassingSuffix, StringComparison.Ordinal));

    private static bool StartsWithAny(StorageKey key, IReadOnlyList<string> prefixes)
    {
        foreach (string prefix in prefixes)
        {
            if (key.Value.StartsWith(prefix, StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }
}
