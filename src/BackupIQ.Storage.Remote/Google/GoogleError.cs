using System.Text.Json;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>What Google's interfaces say of a refused request: a word for programs and a sentence for people. Both come from outside.</summary>
internal sealed record GoogleError(string Reason, string Message)
{
    /// <summary>The longest answer that is read for it.</summary>
    public const int LongestAnswer = 64 * 1024;

    private const int LongestMessage = 300;

    /// <summary>An answer that says nothing that is understood.</summary>
    public static readonly GoogleError None = new("", "");

    /// <summary>Reads an answer's body; a body that is no such error may be the sentence itself, as it is where bytes were asked for.</summary>
    public static GoogleError Read(ReadOnlyMemory<byte> body)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(body);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("error", out JsonElement error) || error.ValueKind != JsonValueKind.Object)
            {
                return None;
            }

            string reason = error.TryGetProperty("errors", out JsonElement errors) && errors.ValueKind == JsonValueKind.Array && errors.GetArrayLength() > 0 && errors[0].ValueKind == JsonValueKind.Object
                ? Text(errors[0], "reason")
                : Text(error, "status");
            return new GoogleError(IsWord(reason) ? reason : "", Shown(Text(error, "message")));
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return new GoogleError("", Shown(System.Text.Encoding.UTF8.GetString(body.Span[..Math.Min(body.Length, LongestMessage)])));
        }
    }

    private static string Text(JsonElement parent, string name) =>
        parent.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() ?? "" : "";

    private static bool IsWord(string text) => text.Length <= 60 && text.All(static c => char.IsAsciiLetterOrDigit(c) || c == '_');

    private static string Shown(string text) => new([.. text.Take(LongestMessage).Where(static c => !char.IsControl(c))]);
}
