using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Xml;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>
/// A key that the Blob service gives an identity for at most seven days, to sign addresses with its rights ("Create a user delegation SAS", Microsoft's reference of the Blob service).
/// </summary>
internal sealed class UserDelegationKey
{
    /// <summary>More than any answer has.</summary>
    public const int LongestAnswer = 64 << 10;

    // In the order of the answer's schema; all but the last go into the address.
    private static readonly string[] Names = ["SignedOid", "SignedTid", "SignedStart", "SignedExpiry", "SignedService", "SignedVersion", "Value"];

    private readonly Dictionary<string, string> _values;
    private readonly byte[] _key;

    private UserDelegationKey(Dictionary<string, string> values)
    {
        _values = values;
        _key = Convert.FromBase64String(values["Value"]);
    }

    /// <summary>What asks for one.</summary>
    /// <param name="from">When it begins: a little ago, for clocks differ.</param>
    /// <param name="until">When it ends.</param>
    public static byte[] Request(DateTimeOffset from, DateTimeOffset until) =>
        Encoding.UTF8.GetBytes($"<?xml version=\"1.0\" encoding=\"utf-8\"?><KeyInfo><Start>{Moment(from)}</Start><Expiry>{Moment(until)}</Expiry></KeyInfo>");

    /// <summary>Reads the answer.</summary>
    /// <exception cref="XmlException">It is none.</exception>
    public static UserDelegationKey Read(ReadOnlyMemory<byte> answer)
    {
        Dictionary<string, string> values = new(StringComparer.Ordinal);
        try
        {
            using XmlReader xml = ServerXml.Open(answer);
            string element = "";
            while (xml.Read())
            {
                element = xml.NodeType == XmlNodeType.Element ? xml.LocalName : element;
                if (xml.NodeType == XmlNodeType.Text && Names.Contains(element))
                {
                    values[element] = xml.Value;
                }
            }

            return Names.All(name => values.GetValueOrDefault(name) is { Length: > 0 } value && !value.Any(char.IsControl))
                ? new UserDelegationKey(values)
                : throw new XmlException("No user delegation key.");
        }
        catch (Exception e) when (e is not XmlException && (ServerXml.IsRefusal(e) || e is FormatException))
        {
            throw new XmlException("A user delegation key that is no XML, or no key.", e);
        }
    }

    /// <summary>The query by which anybody reads one blob until then, as long as the identity may and the key holds.</summary>
    /// <param name="account">The account's name.</param>
    /// <param name="container">The container.</param>
    /// <param name="name">The blob's name in it.</param>
    /// <param name="until">When it ends.</param>
    /// <param name="version">The service's version, from 2020-12-06 to before 2025-07-05.</param>
    public string SignRead(string account, string container, string name, DateTimeOffset until, string version)
    {
        string end = Moment(until);
        string key = string.Join('\n', Names[..^1].Select(part => _values[part]));

        // Rights, start, end, resource, the key; who may use it, on whose behalf, correlation, address; protocol, version, kind, snapshot, encryption scope, and five headers of the answer.
        string text = $"r\n\n{end}\n/blob/{account}/{container}/{name}\n{key}\n\n\n\n\nhttps\n{version}\nb\n\n\n\n\n\n\n";
        string signature = Convert.ToBase64String(HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(text)));
        string of = string.Concat(Names[..^1].Zip((string[])["skoid", "sktid", "skt", "ske", "sks", "skv"], (part, parameter) => $"&{parameter}={Uri.EscapeDataString(_values[part])}"));
        return $"sp=r&se={Uri.EscapeDataString(end)}&spr=https&sv={version}&sr=b{of}&sig={Uri.EscapeDataString(signature)}";
    }

    private static string Moment(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
