using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Storage;

/// <summary>
/// Where a storage is, as people write it: <c>scheme://place/path?option=value&amp;…</c>. The place is a bucket, a container or a host; the path
/// is what lies before every key there. <c>%xx</c> stands for a byte of UTF-8, as in any URL. It carries no secrets: such a URL is refused, since URLs
/// are shown, logged and kept in shell histories.
/// </summary>
public sealed class StorageUrl
{
    private const string Separator = "://";

    private static readonly string[] SecretWords = ["secret", "password", "passwd", "token", "credential", "signature", "accesskey", "accountkey", "apikey", "sas", "sig"];

    private readonly Dictionary<string, string> _options;

    private StorageUrl(string scheme, string? user, string place, string path, Dictionary<string, string> options)
    {
        Scheme = scheme;
        User = user;
        Place = place;
        Path = path;
        _options = options;
    }

    /// <summary>In lower case: <c>s3</c>.</summary>
    public string Scheme { get; }

    /// <summary>What stands before an <c>@</c> of the place, or null.</summary>
    public string? User { get; }

    /// <summary>Bucket, container or host with port; never empty.</summary>
    public string Place { get; }

    /// <summary>The path without slashes at its ends; empty for the whole place.</summary>
    public string Path { get; }

    /// <summary>The options' names.</summary>
    public IReadOnlyCollection<string> OptionNames => _options.Keys;

    /// <summary>Whether <paramref name="text"/> has the form of a URL with a scheme; what else it says is not looked at.</summary>
    public static bool HasScheme(string text) => SchemeOf(text) is not null;

    /// <summary>Takes a URL apart.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none, or it carries a password. The message does not show what the URL says.</exception>
    public static StorageUrl Parse(string text)
    {
        string scheme = SchemeOf(text) ?? throw Misuse("The storage's URL has no scheme", "Write it as scheme://place/path, for example s3://bucket/prefix.");
        string rest = text[(scheme.Length + Separator.Length)..];
        int query = rest.IndexOf('?');
        string before = query < 0 ? rest : rest[..query];
        int slash = before.IndexOf('/');
        string place = Decode(slash < 0 ? before : before[..slash]);
        string path = Decode(slash < 0 ? "" : before[slash..]).Trim('/');
        int at = place.LastIndexOf('@');
        string? user = at < 0 ? null : place[..at];
        if (user is not null && user.Contains(':'))
        {
            throw Misuse("The storage's URL carries a password", "Take it out of the URL; the storage's page under docs/storage says where secrets come from.");
        }

        place = place[(at + 1)..];
        if (place.Length == 0 || HasControl(place))
        {
            throw Misuse("The storage's URL names no bucket or host", $"Write it as {scheme}://place/path.");
        }

        if (HasControl(path) || (path.Length != 0 && path.Split('/').Any(static segment => segment is "" or "." or "..")))
        {
            throw Misuse("The path in the storage's URL has an empty segment, '.', '..' or a control character", "Write it as plain names with '/' between them.");
        }

        return new StorageUrl(scheme.ToLowerInvariant(), user, place, path, ParseOptions(query < 0 ? "" : rest[(query + 1)..]));
    }

    /// <summary>Refuses options that the storage does not have, with the nearest that it has.</summary>
    /// <param name="known">Its options.</param>
    /// <param name="secrets">Where its secrets come from, as a sentence: <c>Set AWS_ACCESS_KEY_ID …</c></param>
    /// <exception cref="BackupIQException"><c>Usage</c>.</exception>
    public void RequireOptions(IReadOnlyCollection<string> known, string secrets)
    {
        foreach (string name in _options.Keys.Where(name => !known.Contains(name)))
        {
            if (IsSecret(name))
            {
                throw Misuse($"'{name}' in the storage's URL is a secret, which has no place there", secrets);
            }

            string near = Suggestion.Nearest(name, known) is { } meant ? $"; did you mean '{meant}'?" : "";
            throw Misuse($"{Scheme}: URLs have no option '{Shown(name)}'{near}", $"Options are: {string.Join(", ", known.Order(StringComparer.Ordinal))}.");
        }
    }

    /// <summary>The option's value, or null where the URL does not have it.</summary>
    public string? Text(string name) => _options.GetValueOrDefault(name);

    /// <summary>The same URL with an option that it does not have; what it says itself stays.</summary>
    public StorageUrl WithDefault(string name, string value) =>
        _options.ContainsKey(name) ? this : new StorageUrl(Scheme, User, Place, Path, new Dictionary<string, string>(_options, StringComparer.Ordinal) { [name] = value });

    /// <summary>An option that is <c>true</c> or <c>false</c>; false where the URL does not have it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is neither.</exception>
    public bool Flag(string name) => Choice(name, ["true", "false"]) == "true";

    /// <summary>A whole number between two others, or null where the URL does not have it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public int? Number(string name, int least, int most) =>
        Text(name) is not { } text ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least && number <= most ? number
        : throw Misuse($"The option {name} of the storage's URL is '{Shown(text)}'", string.Create(CultureInfo.InvariantCulture, $"It is a number from {least} to {most}."));

    /// <summary>One of some words, or null where the URL does not have the option.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none of them.</exception>
    public string? Choice(string name, IReadOnlyList<string> words)
    {
        if (Text(name) is not { } text || words.Contains(text))
        {
            return Text(name);
        }

        string near = Suggestion.Nearest(text, words) is { } meant ? $"; did you mean '{meant}'?" : "";
        throw Misuse($"The option {name} of the storage's URL is '{Shown(text)}'{near}", $"It is one of: {string.Join(", ", words)}.");
    }

    /// <summary>The URL with those of its options that are named, in this order: what tells one storage from another, for messages.</summary>
    public string Show(params IReadOnlyList<string> options)
    {
        string shown = string.Join('&', options.Where(_options.ContainsKey).Select(name => $"{name}={_options[name]}"));
        string user = User is null ? "" : User + "@";
        return $"{Scheme}{Separator}{user}{Place}{(Path.Length == 0 ? "" : "/" + Path)}{(shown.Length == 0 ? "" : "?" + shown)}";
    }

    /// <inheritdoc/>
    public override string ToString() => Show();

    private static string? SchemeOf(string text)
    {
        int end = text.IndexOf(Separator, StringComparison.Ordinal);
        return end > 0 && char.IsAsciiLetter(text[0]) && text.AsSpan(0, end).IndexOfAnyExcept(SchemeLetters) < 0 ? text[..end] : null;
    }

    private static readonly System.Buffers.SearchValues<char> SchemeLetters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    private static Dictionary<string, string> ParseOptions(string query)
    {
        Dictionary<string, string> options = new(StringComparer.Ordinal);
        foreach (string part in query.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = part.IndexOf('=');
            string name = Decode(equals < 0 ? part : part[..equals]).ToLowerInvariant();
            string value = equals < 0 ? "true" : Decode(part[(equals + 1)..]);
            if (HasControl(value) || !options.TryAdd(name, value))
            {
                throw Misuse($"The option '{Shown(name)}' of the storage's URL is given twice, or has a control character", "Give it once.");
            }
        }

        return options;
    }

    private static bool IsSecret(string name)
    {
        string plain = name.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal);
        return SecretWords.Any(word => word.Length > 3 ? plain.Contains(word, StringComparison.Ordinal) : plain == word);
    }

    // Names and values come from whoever wrote the URL, and a value may be a secret that stands in the wrong place: a part is enough to find it.
    private static string Shown(string text) =>
        new([.. text.Take(20).Select(static c => char.IsControl(c) ? '?' : c)]);

    private static bool HasControl(string text) => text.Any(char.IsControl);

    private static string Decode(string text) => Uri.UnescapeDataString(text);

    private static BackupIQException Misuse(string message, string guidance) => new(ErrorCodes.Usage, message, guidance);
}
