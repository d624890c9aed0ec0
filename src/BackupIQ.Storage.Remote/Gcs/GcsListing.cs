using System.Text.Json;
using BackupIQ.Storage.Remote.Google;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>One page of a listing.</summary>
internal static class GcsListing
{
    /// <summary>The most that a page of 1,000 names takes, and much more than that.</summary>
    public const int LongestPage = 16 << 20;

    /// <summary>Reads a page; null: it is none.</summary>
    /// <param name="page">JSON, from outside.</param>
    /// <param name="prefix">What stands before each key in the bucket.</param>
    public static ListingPage? Read(JsonElement page, string prefix)
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

        return new ListingPage(objects, GoogleJson.Text(page, "nextPageToken") is { Length: > 0 } next ? next : null);
    }
}
