using System.Text.Json;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>JSON of Google's interfaces: from outside, so nothing in it need be what it should be. Numbers of 64 bits stand there as text.</summary>
internal static class GoogleJson
{
    /// <summary>A property of an object that is text, or null.</summary>
    public static string? Text(JsonElement parent, string name) => TryGet(parent, name, out JsonElement value) ? JsonAnswer.TextOf(value) : null;

    /// <summary>A property of an object.</summary>
    public static bool TryGet(JsonElement parent, string name, out JsonElement value)
    {
        try
        {
            return parent.TryGetProperty(name, out value);
        }
        catch (InvalidOperationException)
        {
            // A name beside it is no text: half of a pair of surrogates, by an escape, or bytes that are no UTF-8.
            value = default;
            return false;
        }
    }
}
