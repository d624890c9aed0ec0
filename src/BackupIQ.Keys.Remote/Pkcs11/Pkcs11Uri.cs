using BackupIQ.Primitives;

namespace BackupIQ.Keys.Remote.Pkcs11;

/// <summary>A key of a token as RFC 7512 writes it: <c>pkcs11:token=NAME;object=LABEL?module-path=FILE&amp;pin-source=REFERENCE</c>.</summary>
internal sealed record Pkcs11Uri
{
    public const string Scheme = "pkcs11";

    private static readonly string[] Attributes = ["token", "serial", "object", "type"];
    private static readonly string[] Queries = ["module-path", "pin-source"];

    private Pkcs11Uri()
    {
    }

    /// <summary>The token's label.</summary>
    public required string Token { get; init; }

    /// <summary>Its serial number, where two have one label; null: any.</summary>
    public string? Serial { get; init; }

    /// <summary>The key's label.</summary>
    public required string Label { get; init; }

    /// <summary>Whether it is a pair of RSA keys (<c>type=private</c>) and no AES key.</summary>
    public bool IsRsa { get; init; }

    /// <summary>The library that speaks for the token.</summary>
    public required string Module { get; init; }

    /// <summary>Where the PIN comes from; null: the environment's default.</summary>
    public SecretReference? Pin { get; init; }

    /// <summary>Reads it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none, or carries a PIN.</exception>
    public static Pkcs11Uri Parse(string text)
    {
        string rest = text[(text.IndexOf(':') + 1)..];
        int query = rest.IndexOf('?');
        Dictionary<string, string> path = Read(query < 0 ? rest : rest[..query], ';', Attributes);
        Dictionary<string, string> options = Read(query < 0 ? "" : rest[(query + 1)..], '&', Queries);
        string type = path.GetValueOrDefault("type", "secret-key");
        if (type is not ("secret-key" or "private"))
        {
            throw Wrong("The pkcs11: URL names no key that wraps", "AES keys (type=secret-key, the default) and RSA keys (type=private) do.");
        }

        return new Pkcs11Uri
        {
            Token = Needed(path, "token"),
            Serial = path.GetValueOrDefault("serial"),
            Label = Needed(path, "object"),
            IsRsa = type == "private",
            Module = Needed(options, "module-path"),
            Pin = options.TryGetValue("pin-source", out string? pin) ? SecretReference.Parse(pin.StartsWith('/') ? "file:" + pin : pin) : null,
        };
    }

    private static Dictionary<string, string> Read(string text, char separator, string[] known)
    {
        Dictionary<string, string> read = new(StringComparer.Ordinal);
        foreach (string part in text.Split(separator, StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = part.IndexOf('=');
            string name = equals < 0 ? part : part[..equals];
            if (name == "pin-value")
            {
                throw Wrong("The pkcs11: URL carries a PIN, which has no place there", "Name where it comes from: pin-source=env:NAME or pin-source=file:PATH, or set BACKUPIQ_PKCS11_PIN.");
            }

            string value = Uri.UnescapeDataString(equals < 0 ? "" : part[(equals + 1)..]);
            if (!known.Contains(name) || value.Any(char.IsControl) || !read.TryAdd(name, value))
            {
                string near = Suggestion.Nearest(name, known) is { } meant ? $"; did you mean '{meant}'?" : "";
                throw Wrong($"The pkcs11: URL has an attribute that is not known, given twice or malformed{near}", $"Known are: {string.Join(", ", Attributes.Concat(Queries))}.");
            }
        }

        return read;
    }

    private static string Needed(Dictionary<string, string> read, string name) => read.TryGetValue(name, out string? value) && value.Length > 0
        ? value
        : throw Wrong($"The pkcs11: URL has no {name}", "Write it as 'pkcs11:token=NAME;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so'.");

    private static BackupIQException Wrong(string message, string guidance) => new(ErrorCodes.Usage, message, guidance);
}
