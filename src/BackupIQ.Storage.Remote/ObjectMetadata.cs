using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote;

/// <summary>
/// What every object that is put is to carry beside its bytes, for the storage's owner to find, count and bill it by: the URL's option
/// <c>metadata=team:ops,center:42</c>. The repository does not read it.
/// </summary>
internal static class ObjectMetadata
{
    /// <summary>The option of the URL.</summary>
    public const string Option = "metadata";

    // Azure takes no '-' in a name, and Ceph makes one of '_'. Amazon takes 2 KB of names and values together, and so do those who follow it.
    private const int Longest = 2000;
    private const string Cure = "Write it as name:value,name:value, names of small letters and digits that begin with a letter, values of plain characters without a comma.";

    /// <summary>The names and values.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: they are none that every storage takes.</exception>
    public static IReadOnlyList<KeyValuePair<string, string>> Read(StorageUrl url)
    {
        if (url.Text(Option) is not { } text)
        {
            return [];
        }

        List<KeyValuePair<string, string>> all = [];
        foreach (string part in text.Split(','))
        {
            int colon = part.IndexOf(':');
            string name = colon < 0 ? "" : part[..colon].Trim();
            string value = part[(colon + 1)..].Trim();
            if (name.Length is 0 or > 64 || !char.IsAsciiLetterLower(name[0]) || name.AsSpan().ContainsAnyExcept("abcdefghijklmnopqrstuvwxyz0123456789")
                || value.Length is 0 or > 256 || value.AsSpan().ContainsAnyExceptInRange(' ', '~') || all.Exists(one => one.Key == name))
            {
                throw new BackupIQException(ErrorCodes.Usage, "metadata in the storage's URL is none that every storage takes", Cure);
            }

            all.Add(new KeyValuePair<string, string>(name, value));
        }

        return all.Sum(static one => one.Key.Length + one.Value.Length) <= Longest ? all
            : throw new BackupIQException(ErrorCodes.Usage, "metadata in the storage's URL is too long", "Names and values together are at most 2,000 characters.");
    }
}
