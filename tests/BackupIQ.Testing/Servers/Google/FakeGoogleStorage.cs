using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;

namespace BackupIQ.Testing.Servers.Google;

/// <summary>
/// A FAKE Google Cloud Storage: the part of the JSON API that BackupIQ uses, with preconditions on generations, checksums that are compared, uploads that can be taken
/// up, listings in pages, batches, retention, classes and keys. See <see cref="FakeGoogle"/> for what that is worth.
/// </summary>
public sealed class FakeGoogleStorage : FakeGoogle
{
    private const int LargestPage = 1000;

    private static readonly string[] Classes = ["STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"];

    private readonly ConcurrentDictionary<string, Bucket> _buckets = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Func<FakeGoogleCall, Bucket, Task>> _methods;
    private readonly FakeResumableUploads _uploads;
    private long _generation = 1_700_000_000_000_000;

    private FakeGoogleStorage()
        : base(GoogleDiscovery.Storage)
    {
        _uploads = new FakeResumableUploads(this);
        _methods = new(StringComparer.Ordinal)
        {
            ["storage.buckets.get"] = static (call, bucket) => call.AnswerAsync(bucket.ToJson()),
            ["storage.objects.get"] = GetAsync,
            ["storage.objects.list"] = ListAsync,
            ["storage.objects.insert"] = InsertAsync,
            ["storage.objects.delete"] = DeleteAsync,
            ["storage.objects.patch"] = PatchAsync,
        };
    }

    /// <inheritdoc/>
    public override IReadOnlyCollection<string> MethodIds => _methods.Keys;

    /// <summary>Uploads that were begun and have not come to their end.</summary>
    public int OpenUploads => _uploads.Open;

    /// <summary>Starts one on a port of this machine.</summary>
    public static async Task<FakeGoogleStorage> StartAsync()
    {
        FakeGoogleStorage server = new();
        await server.ListenAsync();
        return server;
    }

    /// <summary>Makes a bucket.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="objectRetention">Whether objects can have a lock of their own.</param>
    /// <param name="versioning">Whether what is deleted stays as a version.</param>
    /// <param name="requesterPays">Whether a request must say who pays.</param>
    public void MakeBucket(string name, bool objectRetention = false, bool versioning = false, bool requesterPays = false) =>
        _buckets[name] = new Bucket(name, objectRetention, versioning, requesterPays);

    /// <summary>Removes a bucket with all that is in it.</summary>
    public void RemoveBucket(string name) => _buckets.TryRemove(name, out _);

    /// <summary>What the service says of an object; null: there is none.</summary>
    public JsonObject? Describe(string bucket, string name)
    {
        Bucket there = _buckets[bucket];
        lock (there)
        {
            return there.Objects.GetValueOrDefault(name)?.Json;
        }
    }

    /// <inheritdoc/>
    private protected override string? Refusal(FakeGoogleCall call)
    {
        (GoogleRole least, string right) = call.Method.Id switch
        {
            "storage.buckets.get" => (GoogleRole.Viewer, "storage.buckets.get"),
            "storage.objects.get" => (GoogleRole.Viewer, "storage.objects.get"),
            "storage.objects.list" => (GoogleRole.Viewer, "storage.objects.list"),
            "storage.objects.delete" => (GoogleRole.User, "storage.objects.delete"),
            "storage.objects.patch" => (GoogleRole.User, "storage.objects.update"),
            _ => (GoogleRole.User, "storage.objects.create"),
        };
        return Accounts.RoleOf(call.Account) >= least ? null : $"does not have {right} access to the Google Cloud Storage bucket. Permission '{right}' denied on resource (or it may not exist).";
    }

    /// <inheritdoc/>
    private protected override Task AnswerAsync(FakeGoogleCall call) =>
        call.IsUpload && call.Verb != "POST" ? _uploads.ServeAsync(call)
        : !_buckets.TryGetValue(call.Names["bucket"], out Bucket? bucket) ? call.FailAsync(404, "notFound", "The specified bucket does not exist.")
        : bucket.RequesterPays && !call.Query.ContainsKey("userProject") ? call.FailAsync(400, "required", "Bucket is a requester pays bucket but no user project provided.")
        : _methods[call.Method.Id](call, bucket);

    /// <summary>A signed address (XML API), which is checked as Google's documentation of signatures (V4) says.</summary>
    private protected override async ValueTask<bool> TryServeAsync(HttpContext context, string target)
    {
        if (context.Request.Method != "GET" || !context.Request.Query.TryGetValue("X-Goog-Signature", out var signature))
        {
            return false;
        }

        (string path, string query) = (target.Split('?')[0], target.Split('?')[1]);
        string[] signed = [.. query.Split('&').Where(static pair => !pair.StartsWith("X-Goog-Signature=", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        IQueryCollection say = context.Request.Query;
        string moment = say["X-Goog-Date"].ToString();
        string[] credential = say["X-Goog-Credential"].ToString().Split('/', 2);
        int lasts = int.Parse(say["X-Goog-Expires"].ToString(), CultureInfo.InvariantCulture);
        DateTimeOffset from = DateTimeOffset.ParseExact(moment, "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        string request = $"GET\n{path}\n{string.Join('&', signed)}\nhost:{context.Request.Host.Value}\n\nhost\nUNSIGNED-PAYLOAD";
        string text = $"GOOG4-RSA-SHA256\n{moment}\n{credential[1]}\n{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(request)))}";
        bool isRight = say["X-Goog-Algorithm"] == "GOOG4-RSA-SHA256" && say["X-Goog-SignedHeaders"] == "host" && credential[1] == $"{moment[..8]}/auto/storage/goog4_request"
            && Accounts.HasSigned(Encoding.UTF8.GetBytes(text), Convert.FromHexString(signature.ToString()));
        string[] names = [.. path.TrimStart('/').Split('/', 2).Select(Uri.UnescapeDataString)];
        byte[]? bytes = null;
        if (_buckets.TryGetValue(names[0], out Bucket? bucket))
        {
            lock (bucket)
            {
                bytes = bucket.Objects.GetValueOrDefault(names[1])?.Bytes;
            }
        }

        context.Response.StatusCode = lasts is < 1 or > 604_800 || Now > from.AddSeconds(lasts) ? 400
            : !isRight || Accounts.RoleOf(credential[0]) < GoogleRole.Viewer ? 403
            : bytes is null ? 404
            : 200;
        if (context.Response.StatusCode == 200)
        {
            await context.Response.Body.WriteAsync(bytes);
        }

        return true;
    }

    // What BackupIQ changes of an object that is there: a lock of its own, which never becomes shorter here.
    private async Task PatchAsync(FakeGoogleCall call, Bucket bucket)
    {
        JsonObject? retention = (await MetadataAsync(call.Context.Request.Body))["retention"]?.AsObject();
        if (retention is null || !bucket.ObjectRetention)
        {
            await call.FailAsync(400, "invalid", "The bucket does not have object retention enabled; retention of the object cannot be set.");
            return;
        }

        Func<Task> answer;
        lock (bucket)
        {
            if (!bucket.Objects.TryGetValue(call.Names["object"], out Stored? there))
            {
                answer = () => call.FailAsync(404, "notFound", $"No such object: {bucket.Name}/{call.Names["object"]}");
            }
            else if (Unmet(call, there) is { } unmet)
            {
                answer = unmet;
            }
            else
            {
                DateTimeOffset until = DateTimeOffset.Parse(retention["retainUntilTime"]!.GetValue<string>(), CultureInfo.InvariantCulture);
                bool isLocked = there.Json["retention"]?["mode"]?.GetValue<string>() == "Locked";
                if (until < there.LockedUntil || (isLocked && retention["mode"]!.GetValue<string>() != "Locked"))
                {
                    answer = () => call.FailAsync(403, "retentionPolicyNotMet", "The object's retention cannot be shortened or unlocked.");
                }
                else
                {
                    there.Json["retention"] = retention.DeepClone();
                    bucket.Objects[call.Names["object"]] = there with { LockedUntil = until };
                    JsonNode json = there.Json.DeepClone();
                    answer = () => call.AnswerAsync(json);
                }
            }
        }

        await answer();
    }

    private Task GetAsync(FakeGoogleCall call, Bucket bucket)
    {
        Stored? found;
        lock (bucket)
        {
            found = bucket.Objects.GetValueOrDefault(call.Names["object"]);
        }

        if (found is null)
        {
            return call.FailAsync(404, "notFound", $"No such object: {bucket.Name}/{call.Names["object"]}");
        }

        if (Unmet(call, found) is { } unmet)
        {
            return unmet();
        }

        return call.Query.GetValueOrDefault("alt") == "media" ? FakeRange.AnswerAsync(call, found.Bytes) : call.AnswerAsync(found.Json.DeepClone());
    }

    private static Task ListAsync(FakeGoogleCall call, Bucket bucket)
    {
        string prefix = call.Query.GetValueOrDefault("prefix", "");
        string? after = null;
        if (call.Query.TryGetValue("pageToken", out string? token))
        {
            try
            {
                after = Encoding.UTF8.GetString(Convert.FromBase64String(token));
            }
            catch (FormatException)
            {
                return call.FailAsync(400, "invalid", "Invalid value for parameter pageToken.");
            }
        }

        int most = Math.Min(LargestPage, int.Parse(call.Query.GetValueOrDefault("maxResults", "1000"), CultureInfo.InvariantCulture));
        JsonObject page = new() { ["kind"] = "storage#objects" };
        JsonArray items = [];
        lock (bucket)
        {
            foreach ((string name, Stored stored) in bucket.Objects)
            {
                if (!name.StartsWith(prefix, StringComparison.Ordinal) || string.CompareOrdinal(name, after ?? "") <= 0)
                {
                    continue;
                }

                if (items.Count == most)
                {
                    page["nextPageToken"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(items[^1]!["name"]!.GetValue<string>()));
                    break;
                }

                items.Add(stored.Json.DeepClone());
            }
        }

        if (items.Count > 0)
        {
            page["items"] = items;
        }

        return call.AnswerAsync(page);
    }

    private async Task InsertAsync(FakeGoogleCall call, Bucket bucket)
    {
        byte[] body;
        JsonObject metadata = [];
        try
        {
            switch (call.Query.GetValueOrDefault("uploadType"))
            {
                case "media":
                    body = await ReadAsync(call.Context.Request.Body);
                    break;
                case "multipart":
                    MultipartReader reader = new(HeaderUtilities.RemoveQuotes(MediaTypeHeaderValue.Parse(call.Context.Request.ContentType).Boundary).ToString(), call.Context.Request.Body);
                    metadata = await MetadataAsync((await reader.ReadNextSectionAsync())!.Body);
                    body = await ReadAsync((await reader.ReadNextSectionAsync())!.Body);
                    if (await reader.ReadNextSectionAsync() is not null)
                    {
                        await call.FailAsync(400, "badContent", "Malformed multipart body.");
                        return;
                    }

                    break;
                case "resumable":
                    metadata = await MetadataAsync(call.Context.Request.Body);
                    bool isMet = true;
                    lock (bucket)
                    {
                        isMet = Unmet(call, bucket.Objects.GetValueOrDefault(NameOf(call, metadata))) is null;
                    }

                    // It is asked at the beginning and, which decides, at the end.
                    await (isMet ? _uploads.OpenAsync(call, (last, bytes) => StoreAsync(call, last, bucket, metadata, bytes)) : PreconditionAsync(call));
                    return;
                default:
                    await call.FailAsync(400, "wrongUrlForUpload", "Upload requests must be made to the upload URL with an uploadType.");
                    return;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or NullReferenceException or InvalidDataException)
        {
            await call.FailAsync(400, "parseError", "Parse Error");
            return;
        }
        catch (Exception e) when (e is BadHttpRequestException or ConnectionResetException or IOException)
        {
            call.Context.Abort();
            return;
        }

        await StoreAsync(call, call, bucket, metadata, body);
    }

    // Null: it was refused.
    private async Task<JsonNode?> StoreAsync(FakeGoogleCall asked, FakeGoogleCall call, Bucket bucket, JsonObject metadata, byte[] bytes)
    {
        string name = NameOf(asked, metadata);
        string md5 = Convert.ToBase64String(Md5(bytes));
        string crc = Crc32C(bytes);
        string storageClass = metadata["storageClass"]?.GetValue<string>() ?? "STANDARD";
        JsonObject? retention = metadata["retention"]?.AsObject();
        string? refusal = name.Length is 0 or > 1024 ? "Required object name"
            : metadata["md5Hash"]?.GetValue<string>() is { } given && given != md5 ? $"Provided MD5 hash \"{given}\" doesn't match calculated MD5 hash \"{md5}\"."
            : metadata["crc32c"]?.GetValue<string>() is { } sum && sum != crc ? $"Provided CRC32C \"{sum}\" doesn't match calculated CRC32C \"{crc}\". Its hash is wrong."
            : !Classes.Contains(storageClass) ? $"Invalid argument: storage class {storageClass}."
            : retention is not null && !bucket.ObjectRetention ? "The bucket does not have object retention enabled; retention of the object cannot be set."
            : null;
        if (refusal is not null)
        {
            await call.FailAsync(400, "invalid", refusal);
            return null;
        }

        Func<Task>? unmet = null;
        Stored? stored = null;
        lock (bucket)
        {
            Stored? there = bucket.Objects.GetValueOrDefault(name);
            if (Unmet(asked, there) is not null)
            {
                unmet = () => PreconditionAsync(call);
            }
            else if (there is { } locked && locked.LockedUntil > Now)
            {
                unmet = () => LockedAsync(call, bucket, name, locked);
            }
            else
            {
                string generation = Interlocked.Increment(ref _generation).ToString(CultureInfo.InvariantCulture);
                string now = Now.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
                JsonObject json = new()
                {
                    ["kind"] = "storage#object",
                    ["id"] = $"{bucket.Name}/{name}/{generation}",
                    ["name"] = name,
                    ["bucket"] = bucket.Name,
                    ["generation"] = generation,
                    ["metageneration"] = "1",
                    ["contentType"] = metadata["contentType"]?.DeepClone(),
                    ["storageClass"] = storageClass,
                    ["size"] = bytes.Length.ToString(CultureInfo.InvariantCulture),
                    ["md5Hash"] = md5,
                    ["crc32c"] = crc,
                    ["timeCreated"] = now,
                    ["updated"] = now,
                };
                if (asked.Query.TryGetValue("kmsKeyName", out string? key))
                {
                    json["kmsKeyName"] = key + "/cryptoKeyVersions/1";
                }

                if (metadata["metadata"] is { } own)
                {
                    json["metadata"] = own.DeepClone();
                }

                DateTimeOffset? until = null;
                if (retention is not null)
                {
                    json["retention"] = retention.DeepClone();
                    until = DateTimeOffset.Parse(retention["retainUntilTime"]!.GetValue<string>(), CultureInfo.InvariantCulture);
                }

                stored = new Stored(bytes, json, until);
                bucket.Objects[name] = stored;
            }
        }

        await (unmet is not null ? unmet() : call.AnswerAsync(stored!.Json.DeepClone()));
        return stored?.Json;
    }

    private Task DeleteAsync(FakeGoogleCall call, Bucket bucket)
    {
        string name = call.Names["object"];
        lock (bucket)
        {
            if (!bucket.Objects.TryGetValue(name, out Stored? there))
            {
                return call.FailAsync(404, "notFound", $"No such object: {bucket.Name}/{name}");
            }

            if (Unmet(call, there) is { } unmet)
            {
                return unmet();
            }

            if (there.LockedUntil > Now)
            {
                return LockedAsync(call, bucket, name, there);
            }

            bucket.Objects.Remove(name);
        }

        return call.AnswerAsync(204);
    }

    private static Task LockedAsync(FakeGoogleCall call, Bucket bucket, string name, Stored there) => call.FailAsync(
        403,
        "retentionPolicyNotMet",
        string.Create(CultureInfo.InvariantCulture, $"Object '{bucket.Name}/{name}' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until {there.LockedUntil:O}"));

    // Null: every condition is met.
    private static Func<Task>? Unmet(FakeGoogleCall call, Stored? there)
    {
        string generation = there?.Json["generation"]!.GetValue<string>() ?? "0";
        bool isMet = (!call.Query.TryGetValue("ifGenerationMatch", out string? match) || match == generation)
            && (!call.Query.TryGetValue("ifGenerationNotMatch", out string? other) || (there is not null && other != generation))
            && (!call.Query.TryGetValue("ifMetagenerationMatch", out string? meta) || (there is not null && meta == "1"));
        return isMet ? null : () => PreconditionAsync(call);
    }

    private static Task PreconditionAsync(FakeGoogleCall call) =>
        call.FailAsync(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.");

    private static string NameOf(FakeGoogleCall call, JsonObject metadata) => call.Query.GetValueOrDefault("name") ?? metadata["name"]?.GetValue<string>() ?? "";

    private static async Task<JsonObject> MetadataAsync(Stream body) => (await JsonNode.ParseAsync(body))!.AsObject();

    private static async Task<byte[]> ReadAsync(Stream body)
    {
        using MemoryStream bytes = new();
        await body.CopyToAsync(bytes);
        return bytes.ToArray();
    }

    private static byte[] Md5(byte[] bytes)
    {
#pragma warning disable CA5351 // It is the service's own checksum.
        return MD5.HashData(bytes);
#pragma warning restore CA5351
    }

    private static string Crc32C(byte[] bytes)
    {
        byte[] sum = new byte[sizeof(uint)];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(sum, GoogleChecksum.Of(bytes));
        return Convert.ToBase64String(sum);
    }

    private sealed record Stored(byte[] Bytes, JsonObject Json, DateTimeOffset? LockedUntil);

    private sealed class Bucket(string name, bool objectRetention, bool versioning, bool requesterPays)
    {
        public string Name => name;

        public bool ObjectRetention => objectRetention;

        public bool RequesterPays => requesterPays;

        /// <summary>In the order of listings.</summary>
        public SortedDictionary<string, Stored> Objects { get; } = new(StringComparer.Ordinal);

        public JsonObject ToJson()
        {
            JsonObject json = new() { ["kind"] = "storage#bucket", ["name"] = name };
            if (versioning)
            {
                json["versioning"] = new JsonObject { ["enabled"] = true };
            }

            if (objectRetention)
            {
                json["objectRetention"] = new JsonObject { ["mode"] = "Enabled" };
            }

            return json;
        }
    }
}

/// <summary>Bytes, or the range of them that is asked for.</summary>
internal static class FakeRange
{
    public static Task AnswerAsync(FakeGoogleCall call, byte[] bytes)
    {
        string[] range = call.Context.Request.Headers.Range.ToString().Split('=', '-');
        if (range is not ["bytes", { Length: > 0 } from, { Length: > 0 } to])
        {
            return call.AnswerAsync(200, "application/octet-stream", bytes);
        }

        long first = long.Parse(from, CultureInfo.InvariantCulture);
        if (first >= bytes.Length)
        {
            call.SetHeader("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes */{bytes.Length}"));
            return call.AnswerAsync(416, "text/html; charset=UTF-8", default);
        }

        long last = Math.Min(long.Parse(to, CultureInfo.InvariantCulture), bytes.Length - 1);
        call.SetHeader("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {first}-{last}/{bytes.Length}"));
        return call.AnswerAsync(206, "application/octet-stream", bytes.AsMemory((int)first, (int)(last - first + 1)));
    }
}
