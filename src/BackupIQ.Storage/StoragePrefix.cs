namespace BackupIQ.Storage;

/// <summary>The prefix of a listing: empty, or whole segments of a key with a <c>/</c> behind each.</summary>
public static class StoragePrefix
{
    /// <summary>Checks what a listing was asked for.</summary>
    /// <exception cref="ArgumentException">It is not a prefix.</exception>
    public static void Check(string prefix)
    {
        if (prefix.Length != 0 && (prefix[^1] != '/' || !StorageKey.TryCreate(prefix[..^1], out _)))
        {
            throw new ArgumentException($"'{prefix}' is not a whole number of segments.", nameof(prefix));
        }
    }
}
