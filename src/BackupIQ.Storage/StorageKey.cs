namespace BackupIQ.Storage;

/// <summary>
/// The name of an object: segments of lower-case letters, digits, <c>-</c>, <c>_</c> and <c>.</c>, joined by <c>/</c>, at most 200 characters.
/// Checked once, here; a backend may use it as a path as it is.
/// </summary>
public readonly record struct StorageKey
{
    /// <summary>The longest key.</summary>
    public const int MaxLength = 200;

    /// <summary>Checks and takes <paramref name="value"/>.</summary>
    /// <exception cref="ArgumentException">It is not a key.</exception>
    public StorageKey(string value)
    {
        if (!IsValid(value))
        {
            throw new ArgumentException($"'{value}' is not a storage key.", nameof(value));
        }

        Value = value;
    }

    /// <summary>The key as text.</summary>
    public string Value { get; }

    /// <summary>Makes a key of text that comes from outside, such as a listing; false when it is none.</summary>
    public static bool TryCreate(string value, out StorageKey key)
    {
        key = IsValid(value) ? new StorageKey(value) : default;
        return key.Value is not null;
    }

    /// <inheritdoc/>
    public override string ToString() => Value;

    private static bool IsValid(string value)
    {
        if (value.Length is 0 or > MaxLength || value.AsSpan().ContainsAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789-_./"))
        {
            return false;
        }

        foreach (Range range in value.AsSpan().Split('/'))
        {
            if (value.AsSpan()[range] is "" or "." or "..")
            {
                return false;
            }
        }

        return true;
    }
}
