using System.Globalization;
using System.Text.Json;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>An object as Cloud Storage tells of it, in JSON that comes from outside.</summary>
/// <param name="Name">In the bucket.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Created">When it was stored.</param>
internal sealed record GcsObject(string Name, long Size, DateTimeOffset Created)
{
    /// <summary>The fields that are asked for.</summary>
    public const string Fields = "name,size,timeCreated";

    public string? Md5 { get; private init; }

    public string? StorageClass { get; private init; }

    public string? KmsKey { get; private init; }

    public string? LockMode { get; private init; }

    public DateTimeOffset? LockedUntil { get; private init; }

    /// <summary>Null: it is no object's description.</summary>
    public static GcsObject? Read(JsonElement json) =>
        json.ValueKind == JsonValueKind.Object
        && GoogleJson.Text(json, "name") is { } name
        && long.TryParse(GoogleJson.Text(json, "size"), NumberStyles.None, CultureInfo.InvariantCulture, out long size)
        && DateTimeOffset.TryParse(GoogleJson.Text(json, "timeCreated"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset created)
            ? new GcsObject(name, size, created)
            {
                Md5 = GoogleJson.Text(json, "md5Hash"),
                StorageClass = GoogleJson.Text(json, "storageClass"),
                KmsKey = GoogleJson.Text(json, "kmsKeyName"),
                LockMode = RetentionOf(json, "mode"),
                LockedUntil = DateTimeOffset.TryParse(RetentionOf(json, "retainUntilTime"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset until) ? until : null,
            }
            : null;

    /// <summary>As the repository knows it; null where the name is none that a key can have.</summary>
    public StoredObject? Under(string prefix) =>
        Name.StartsWith(prefix, StringComparison.Ordinal) && StorageKey.TryCreate(Name[prefix.Length..], out StorageKey key) ? new StoredObject(key, Size, Created) : null;

    private static string? RetentionOf(JsonElement json, string name) =>
        GoogleJson.TryGet(json, "retention", out JsonElement retention) && retention.ValueKind == JsonValueKind.Object ? GoogleJson.Text(retention, name) : null;
}
