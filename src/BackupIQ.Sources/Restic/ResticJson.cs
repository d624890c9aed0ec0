using System.Security.Cryptography;
using System.Text.Json;

namespace BackupIQ.Sources.Restic;

/// <summary>Reads restic's small JSON documents: what is not as it should be is damage, and nothing else comes out.</summary>
internal static class ResticJson
{
    private static readonly JsonDocumentOptions Options = new() { MaxDepth = 32 };

    /// <summary>Parses a document that must be an object, and hands it to <paramref name="read"/>.</summary>
    /// <exception cref="ResticDamageException">It is not, or <paramref name="read"/> misses something in it.</exception>
    public static T Read<T>(ReadOnlySpan<byte> json, string what, Func<JsonElement, T> read)
    {
        byte[] own = json.ToArray();
        try
        {
            using JsonDocument document = JsonDocument.Parse(own, Options);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? read(document.RootElement)
                : throw new ResticDamageException($"{what} of the restic repository is malformed.");
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException or KeyNotFoundException)
        {
            // Text that is not Unicode is an InvalidOperationException of the reader.
            throw new ResticDamageException($"{what} of the restic repository is malformed.", e);
        }
        finally
        {
            // It may be a key.
            CryptographicOperations.ZeroMemory(own);
        }
    }

    /// <summary>A text; empty where it is left out.</summary>
    public static string Text(JsonElement at, string name) =>
        at.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value.GetString()! : "";

    /// <summary>A whole number; 0 where it is left out.</summary>
    public static long Number(JsonElement at, string name) => at.TryGetProperty(name, out JsonElement value) ? value.GetInt64() : 0;

    /// <summary>Bytes written in base64.</summary>
    public static byte[] Bytes(JsonElement at, string name) => at.GetProperty(name).GetBytesFromBase64();

    /// <summary>An object within.</summary>
    public static JsonElement Object(JsonElement at, string name) => at.GetProperty(name);

    /// <summary>A list of texts; empty where it is left out or null.</summary>
    public static IReadOnlyList<string> Texts(JsonElement at, string name) =>
        at.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
            ? [.. value.EnumerateArray().Select(static text => text.GetString() ?? throw new FormatException("a text is null"))]
            : [];

    /// <summary>An id.</summary>
    public static ResticId Id(JsonElement at, string name) =>
        ResticId.TryParse(at.GetProperty(name).GetString() ?? "", out ResticId id) ? id : throw new FormatException("an id is none");
}
