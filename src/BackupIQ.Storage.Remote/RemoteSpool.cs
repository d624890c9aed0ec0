using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote;

/// <summary>
/// The folder <c>tmp</c> of a storage of files: objects are written there first and then moved to their place, so that no part of one is ever
/// seen under its name. It is no part of the key space, as on local disk.
/// </summary>
internal static class RemoteSpool
{
    /// <summary>Its name.</summary>
    public const string Name = "tmp";

    /// <summary>What is older was left behind by a run that ended badly: no single upload takes so long.</summary>
    public static readonly TimeSpan LeftBehindAfter = TimeSpan.FromDays(2);

    private const string Prefix = Name + "/";
    private const string Suffix = ".put";

    /// <summary>A new name in it.</summary>
    public static string NewName() => $"{Prefix}{SessionId.New()}{Suffix}";

    /// <summary>Whether a key, as text, lies in it or is its name.</summary>
    public static bool Holds(string key) => key.StartsWith(Name, StringComparison.Ordinal) && (key.Length == Name.Length || key[Name.Length] == '/');

    /// <summary>Whether a name is one of <see cref="NewName"/>: what else somebody put there is not ours to sweep.</summary>
    public static bool IsUpload(string key) =>
        key.StartsWith(Prefix, StringComparison.Ordinal) && key.EndsWith(Suffix, StringComparison.Ordinal) && key.Length == Prefix.Length + (2 * SessionId.Size) + Suffix.Length
        && SessionId.TryParse(key.AsSpan(Prefix.Length, 2 * SessionId.Size), out _);

    /// <exception cref="ArgumentException">There is no key, or it lies in the spool.</exception>
    public static void CheckKey(StorageKey key)
    {
        if (key.Value is null || Holds(key.Value))
        {
            throw new ArgumentException($"'{key.Value}' cannot be a key here.", nameof(key));
        }
    }

    /// <summary>The folder of a key, as text; empty for the storage's own.</summary>
    public static string FolderOf(string key) => key.LastIndexOf('/') is var slash and >= 0 ? key[..slash] : "";
}
