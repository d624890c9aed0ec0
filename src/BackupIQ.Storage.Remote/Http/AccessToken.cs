using System.Globalization;
using System.Text.Json;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>A bearer token and until when it holds.</summary>
internal sealed record AccessToken(string Value, DateTimeOffset Expires)
{
    /// <summary>The longest answer that a server of tokens gives.</summary>
    public const int LongestAnswer = 64 * 1024;

    /// <summary>Reads OAuth's answer to who asked for a token; null where it holds none that can stand in a header.</summary>
    /// <param name="body">JSON, from outside.</param>
    /// <param name="now">When it came.</param>
    public static AccessToken? Read(ReadOnlyMemory<byte> body, DateTimeOffset now)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(body);
            JsonElement root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("access_token", out JsonElement token) || token.GetString() is not { Length: > 0 } value)
            {
                return null;
            }

            // It stands as a number or as text, depending on who answers.
            double seconds = 300;
            if (root.TryGetProperty("expires_in", out JsonElement expires))
            {
                seconds = expires.ValueKind == JsonValueKind.Number ? expires.GetDouble()
                    : double.TryParse(expires.GetString(), NumberStyles.Float, CultureInfo.InvariantCulture, out double parsed) ? parsed : seconds;
            }

            return value.AsSpan().ContainsAnyExceptInRange('!', '~') ? null : new AccessToken(value, now.AddSeconds(Math.Clamp(seconds, 0, 86_400)));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }

    /// <summary>Not the token itself: records are printed.</summary>
    public override string ToString() => $"a token until {Expires:u}";
}
