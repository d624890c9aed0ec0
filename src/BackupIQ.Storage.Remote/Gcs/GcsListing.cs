using System.Text.Json;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>One page of a listing.</summary>
/// <param name="Objects">What is under the prefix and has a name that a key can have.</param>
/// <param name="NextPage">Where the next page begins; null: this was the last.</param>
internal sealed record GcsListing(IReadOnlyList<StoredObject> Objects, string? NextPage)
{
    /// <summary>The most that a page of 1,000 names takes, and much more than that.</summary>
    public const int LongestPage = 16 << 20;

    /// <summary>Reads a page; null: it is none.</summary>
    /// <param name="page">JSON, from outside.</param>
    /// <param name="prefix">What stands before each key in the bucket.</param>
    public static GcsListing? Read(JsonElement page, string prefix)
    {
        List<StoredObject> objects = [];
        if (GoogleJson.TryGet(page, "items", out JsonElement items))
        {
            if (items.ValueKind != JsonValueKind.Array)
            {
                return null;
            }

            foreach (JsonElement item in items.EnumerateArray())
            {
                if (GcsObject.Read(item) is not { } found)
                {
                    return null;
                }

                if (found.Under(prefix) is { } stored)
                {
                    objects.Add(stored);
                }
            }
        }

        return new GcsListing(objects, GoogleJson.Text(page, "nextPageToken") is { Length: > 0 } next ? next : null);
    }
}
