using System.Globalization;
using System.Text.Json;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>A file or folder as Drive tells of it, in JSON that comes from outside. Names are no names there: several files may have the same.</summary>
/// <param name="Id">What it is known by.</param>
/// <param name="Name">What it is called.</param>
/// <param name="Created">When, by Drive's clock.</param>
internal sealed record DriveFile(string Id, string Name, DateTimeOffset Created) : IComparable<DriveFile>
{
    /// <summary>The fields that are asked for.</summary>
    public const string Fields = "id,name,parents,size,md5Checksum,createdTime,mimeType,trashed";

    /// <summary>What makes a folder one.</summary>
    public const string FolderType = "application/vnd.google-apps.folder";

    /// <summary>The folder in which it is, where that is told: today's Drive knows one for each file.</summary>
    public string? Parent { get; private init; }

    /// <summary>Bytes; null for what has none, such as folders and Google's own documents.</summary>
    public long? Size { get; private init; }

    /// <summary>In lower-case hexadecimal digits.</summary>
    public string? Md5 { get; private init; }

    public bool IsFolder { get; private init; }

    public bool IsTrashed { get; private init; }

    /// <summary>Of several with one name everybody takes the first.</summary>
    public int CompareTo(DriveFile? other) =>
        other is null ? 1
        : Created != other.Created ? Created.CompareTo(other.Created)
        : string.CompareOrdinal(Id, other.Id);

    /// <summary>As the repository knows it; null for what is no object of it.</summary>
    public StoredObject? AsObject() =>
        !IsFolder && !IsTrashed && Size is { } size && StorageKey.TryCreate(Name, out StorageKey key) ? new StoredObject(key, size, Created) : null;

    /// <summary>Null: it is no file's description.</summary>
    public static DriveFile? Read(JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object || Text(json, "id") is not { } id || !IsId(id) || Text(json, "name") is not { } name
            || !DateTimeOffset.TryParse(Text(json, "createdTime"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset created))
        {
            return null;
        }

        return new DriveFile(id, name, created)
        {
            Parent = GoogleJson.TryGet(json, "parents", out JsonElement parents) && parents.ValueKind == JsonValueKind.Array && parents.GetArrayLength() == 1 && parents[0].ValueKind == JsonValueKind.String
                ? Http.JsonAnswer.TextOf(parents[0])
                : null,
            Size = long.TryParse(Text(json, "size"), NumberStyles.None, CultureInfo.InvariantCulture, out long size) ? size : null,
            Md5 = Text(json, "md5Checksum"),
            IsFolder = Text(json, "mimeType") == FolderType,
            IsTrashed = GoogleJson.TryGet(json, "trashed", out JsonElement trashed) && trashed.ValueKind == JsonValueKind.True,
        };
    }

    /// <summary>One page of a listing; null: it is none.</summary>
    public static (IReadOnlyList<DriveFile> Files, string? NextPage)? ReadPage(JsonElement page)
    {
        if (!GoogleJson.TryGet(page, "files", out JsonElement items) || items.ValueKind != JsonValueKind.Array)
        {
            return null;
        }

        List<DriveFile> files = [];
        foreach (JsonElement item in items.EnumerateArray())
        {
            if (Read(item) is not { } file)
            {
                return null;
            }

            files.Add(file);
        }

        return (files, Text(page, "nextPageToken") is { Length: > 0 } next ? next : null);
    }

    /// <summary>Whether text is what Drive knows a file by: it becomes a part of addresses.</summary>
    public static bool IsId(string text) => text.Length is > 0 and <= 128 && text.All(static c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_');

    private static string? Text(JsonElement parent, string name) => GoogleJson.Text(parent, name);
}
