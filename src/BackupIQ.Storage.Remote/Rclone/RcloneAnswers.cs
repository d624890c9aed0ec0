using System.Globalization;
using System.Text.Json;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>An entry of a listing.</summary>
/// <param name="Path">Below the storage's folder.</param>
/// <param name="Size">Bytes; negative where the provider does not say.</param>
/// <param name="Modified">When it was stored, by whoever's clock.</param>
/// <param name="IsFolder">Whether it is a folder.</param>
internal readonly record struct RcloneEntry(string Path, long Size, DateTimeOffset Modified, bool IsFolder);

/// <summary>Reads what rclone answers. It repeats what servers say, so nothing is taken to be there.</summary>
internal static class RcloneAnswers
{
    /// <summary>The entries of operations/list; null when it is none.</summary>
    public static IReadOnlyList<RcloneEntry>? Listing(ReadOnlyMemory<byte> answer) => Read<IReadOnlyList<RcloneEntry>?>(answer, static root =>
    {
        if (!root.TryGetProperty("list", out JsonElement list) || list.ValueKind is not (JsonValueKind.Array or JsonValueKind.Null))
        {
            return null;
        }

        List<RcloneEntry> entries = [];
        if (list.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement item in list.EnumerateArray())
            {
                if (Entry(item) is { } entry)
                {
                    entries.Add(entry);
                }
            }
        }

        return entries;
    });

    /// <summary>The entry of operations/stat; null when there is none.</summary>
    public static RcloneEntry? Item(ReadOnlyMemory<byte> answer) =>
        Read(answer, static root => root.TryGetProperty("item", out JsonElement item) ? Entry(item) : null);

    /// <summary>A number of an answer; null when it is not there.</summary>
    public static long? Number(ReadOnlyMemory<byte> answer, string name) =>
        Read<long?>(answer, root => root.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) && number >= 0 ? number : null);

    /// <summary>A text of an answer; null when it is not there.</summary>
    public static string? Text(ReadOnlyMemory<byte> answer, string name) =>
        Read(answer, root => root.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null);

    /// <summary>Whether operations/fsinfo says that the storage has a feature.</summary>
    public static bool HasFeature(ReadOnlyMemory<byte> answer, string name) => Read(
        answer, root => root.TryGetProperty("Features", out JsonElement features) && features.ValueKind == JsonValueKind.Object && features.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.True);

    /// <summary>Whether config/providers names a kind of storage.</summary>
    public static bool HasProvider(ReadOnlyMemory<byte> answer, string name) => Read(
        answer,
        root => root.TryGetProperty("providers", out JsonElement providers) && providers.ValueKind == JsonValueKind.Array
            && providers.EnumerateArray().Any(provider => provider.ValueKind == JsonValueKind.Object && provider.TryGetProperty("Name", out JsonElement value) && value.ValueKind == JsonValueKind.String && value.ValueEquals(name)));

    private static T? Read<T>(ReadOnlyMemory<byte> answer, Func<JsonElement, T?> read)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(answer);
            return document.RootElement.ValueKind == JsonValueKind.Object ? read(document.RootElement) : default;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The latter for text with half of a surrogate pair.
            return default;
        }
    }

    private static RcloneEntry? Entry(JsonElement item)
    {
        if (item.ValueKind != JsonValueKind.Object || !item.TryGetProperty("Path", out JsonElement path) || path.ValueKind != JsonValueKind.String)
        {
            return null;
        }

        long size = item.TryGetProperty("Size", out JsonElement bytes) && bytes.ValueKind == JsonValueKind.Number && bytes.TryGetInt64(out long number) ? number : -1;
        bool isFolder = item.TryGetProperty("IsDir", out JsonElement folder) && folder.ValueKind == JsonValueKind.True;
        DateTimeOffset modified = item.TryGetProperty("ModTime", out JsonElement time) && time.ValueKind == JsonValueKind.String
            && DateTimeOffset.TryParse(time.GetString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out DateTimeOffset parsed)
            ? parsed
            : DateTimeOffset.UnixEpoch;
        return new RcloneEntry(path.GetString()!, size, modified, isFolder);
    }
}
