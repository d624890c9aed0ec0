using System.Text.Json;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>JSON of Google's interfaces: from outside, so nothing in it need be what it should be. Numbers of 64 bits stand there as text.</summary>
internal static class GoogleJson
{
    /// <summary>A property of an object that is text, or null.</summary>
    public static string? Text(JsonElement parent, string name)
    {
        try
        {
            return parent.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            // Half of a pair of surrogates, by an escape.
            return null;
        }
    }
}
