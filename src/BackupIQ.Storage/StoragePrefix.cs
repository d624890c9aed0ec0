namespace BackupIQ.Storage;

/// <summary>The prefix of a listing: empty, or whole segments of a key with a <c>/</c> behind each.</summary>
internal static class StoragePrefix
{
    /// <exception cref="ArgumentException">It is not a prefix.</exception>
    internal static void Check(string prefix)
    {
        if (prefix.Length != 0 && (prefix[^1] != '/' || !StorageKey.TryCreate(prefix[..^1], out _)))
        {
            throw new ArgumentException($"'{prefix}' is not a whole number of segments.", nameof(prefix));
        }
    }
}
