using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Gcs;

/// <summary>
/// A bucket of Google Cloud Storage, by its JSON interface; <c>docs/storage/google.md</c> is its manual. Every put is conditional (ifGenerationMatch=0), which the
/// service decides itself; a large object goes by an upload that can be taken up where it broke, and is there whole or not at all.
/// </summary>
/// <remarks>
/// Google's reference of the JSON API v1: Objects: insert, get, list, delete; Buckets: get. Reads, listings and deletions are strongly consistent. The MD5 of the
/// bytes goes with each put, and the service refuses what does not match it. What an upload that was cut short has sent is dropped by the service after a
/// week.
/// </remarks>
public sealed class GcsBackend : IStorageBackend, ILinkStorage
{
    /// <summary>Up to this size an object goes in one request; a larger one costs one more to open its upload.</summary>
    internal const int LargestWhole = 8 << 20;

    /// <summary>The service takes no more in one batch.</summary>
    private const int MostDeletions = 100;

    /// <summary>The service gives no more in one page.</summary>
    private const int LargestList = 1000;

    private const int LongestAnswer = 256 * 1024;

    // 5 TiB. Of greater numbers some servers make others.
    private const long LargestObject = 5L << 40;

    private readonly GcsOptions _options;
    private readonly RemoteLayout _layout;
    private readonly TimeProvider _time;
    private readonly GoogleApi _api;
    private readonly ResumableUploads _uploads;
    private readonly int _largestWhole;

    private GcsBackend(GcsOptions options, RemoteLayout layout, int largestWhole, HttpMessageHandler handler, TimeProvider time)
    {
        _largestWhole = largestWhole;
        _options = options;
        _layout = layout;
        _time = time;
        _api = new GoogleApi(options.Endpoint, options.Tokens, handler, GcsWords.For(options.Bucket), time);
        _uploads = new ResumableUploads(_api);
        Capabilities = new StorageCapabilities
        {
            ConditionalPut = true,
            HasStoreClock = true,
            LocksFor = options.LockMode is null ? null : options.LockFor,
            ExtendsLocks = options.LockMode is not null,
            Checksum = "MD5",
            ServerEncryption = options.KmsKey,
            DeletesAtOnce = MostDeletions,
        };
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; private set; }

    /// <inheritdoc/>
    public string Location => _options.Location;

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    private string BucketPath => $"/storage/v1/b/{Uri.EscapeDataString(_options.Bucket)}";

    /// <summary>Connects to the bucket that the URL names, and proves by a listing that it is there and may be read.</summary>
    /// <exception cref="BackupIQException">The URL is wrong, or the bucket cannot be used; which of the two, and why, is said.</exception>
    public static Task<IStorageBackend> ConnectAsync(StorageUrl url, RemoteLayout layout, TimeProvider time, CancellationToken cancellationToken) =>
        ConnectAsync(url, layout, LargestWhole, Environment.GetEnvironmentVariable, time, cancellationToken);

    /// <summary>The same, with an environment of the caller's own, and another size up to which an object goes in one request.</summary>
    internal static async Task<IStorageBackend> ConnectAsync(
        StorageUrl url, RemoteLayout layout, int largestWhole, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken)
    {
        GcsOptions options = GcsOptions.Read(url, environment);
        GcsBackend storage = new(options, layout, largestWhole, HttpTransport.Create(options.Endpoint, url), time);
        try
        {
            await storage.ListPageAsync("", 1, null, cancellationToken).ConfigureAwait(false);
            await storage.LookAtBucketAsync(cancellationToken).ConfigureAwait(false);
            return storage;
        }
        catch
        {
            await storage.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            return await PutAsync(key, content, content.GetLength(), cancellationToken).ConfigureAwait(false)
                ? PutOutcome.Stored
                : await StoredBytes.CompareAsync(this, key, content, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            content.Discard();
        }
    }

    /// <inheritdoc/>
    public async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        string what = $"Object {key} could not be read";
        bool isNothing = destination.Length == 0 || offset > LargestObject;
        using HttpRequestMessage request = new(HttpMethod.Get, _api.At(PathOf(key, "alt=media")));
        request.Headers.Range = isNothing ? new RangeHeaderValue(0, 0) : new RangeHeaderValue(offset, offset + destination.Length - 1);
        using HttpResponseMessage answer = await _api.SendAsync(
            request, what, cancellationToken, HttpStatusCode.PartialContent, HttpStatusCode.RequestedRangeNotSatisfiable).ConfigureAwait(false);
        return isNothing || answer.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable ? 0
            : await HttpCall.ReadRangeAsync(answer, offset, destination, what, cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be looked at";
        using HttpResponseMessage answer = await _api.SendAsync(
            HttpMethod.Get, PathOf(key, "fields=" + GcsObject.Fields), what, cancellationToken, HttpStatusCode.OK, HttpStatusCode.NotFound).ConfigureAwait(false);
        if (answer.StatusCode == HttpStatusCode.NotFound)
        {
            await RequireBucketAsync(answer, what, cancellationToken).ConfigureAwait(false);
            return null;
        }

        using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
        return GcsObject.Read(json.RootElement)?.Under(_options.Prefix) is { } found && found.Key == key ? found : throw GoogleApi.NoAnswer(what, null);
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<StoredObject> ListAsync(string prefix, CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        return ListingPages.ReadAllAsync((at, stop) => ListPageAsync(prefix, LargestList, at, stop), cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be deleted";
        using HttpResponseMessage answer = await _api.SendAsync(HttpMethod.Delete, PathOf(key, ""), what, cancellationToken, HttpStatusCode.NoContent, HttpStatusCode.NotFound).ConfigureAwait(false);
        if (answer.StatusCode == HttpStatusCode.NotFound)
        {
            await RequireBucketAsync(answer, what, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        if (keys.Count is 0 or > MostDeletions)
        {
            return await Deletions.OneByOneAsync(this, keys, cancellationToken).ConfigureAwait(false);
        }

        string what = $"{keys.Count} objects could not be deleted";
        using HttpRequestMessage request = new(HttpMethod.Post, _api.At("/batch/storage/v1")) { Content = GoogleBatch.Body(keys.Select(key => $"DELETE {PathOf(key, "")}")) };
        using HttpResponseMessage answer = await _api.SendAsync(request, what, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
        ReadOnlyMemory<byte> body = await HttpCall.ReadWholeAsync(answer, GcsListing.LongestPage, what, cancellationToken).ConfigureAwait(false);
        IReadOnlyDictionary<int, GoogleBatchAnswer> parts = GoogleBatch.Read(body, BatchAnswer.BoundaryOf(answer));
        Dictionary<StorageKey, StorageException> failed = [];
        for (int number = 0; number < keys.Count; number++)
        {
            string one = $"Object {keys[number]} could not be deleted";
            StorageException? failure = !parts.TryGetValue(number, out GoogleBatchAnswer? part) ? GoogleApi.NoAnswer(one, null)
                : part.Status is HttpStatusCode.NoContent or HttpStatusCode.OK || (part.Status == HttpStatusCode.NotFound && !GcsWords.IsBucketMissing(part.Error)) ? null
                : _api.Failure(part.Status, null, part.Error, one);
            if (failure is not null)
            {
                failed[keys[number]] = failure;
            }
        }

        return failed;
    }

    /// <inheritdoc/>
    public async ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be locked";
        string mode = _options.LockMode ?? throw new NotSupportedException("The storage was opened without a lock.");
        using (HttpResponseMessage looked = await _api.SendAsync(
            HttpMethod.Get, PathOf(key, $"fields={GcsObject.Fields},retention"), what, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false))
        {
            using JsonDocument there = await GoogleApi.ReadAsync(looked, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
            GcsObject found = GcsObject.Read(there.RootElement) ?? throw GoogleApi.NoAnswer(what, null);
            if (found.LockedUntil >= atLeast)
            {
                return false;
            }

            // What is locked for good stays so.
            mode = found.LockMode == GcsOptions.LockedMode ? GcsOptions.LockedMode : mode;
        }

        byte[] change = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, object>(StringComparer.Ordinal) { ["retention"] = Retention(mode, until) });
        using HttpRequestMessage request = new(HttpMethod.Patch, _api.At(PathOf(key, $"fields={GcsObject.Fields},retention"))) { Content = GoogleApi.Json(change) };
        using HttpResponseMessage answer = await _api.SendAsync(request, what, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
        using JsonDocument changed = await GoogleApi.ReadAsync(answer, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
        return GcsObject.Read(changed.RootElement)?.LockedUntil >= atLeast ? true
            : throw new StorageException(ErrorCodes.Storage, $"{what}: the storage keeps no longer lock on it", "See the bucket's object retention.");
    }

    /// <inheritdoc/>
    public ValueTask<StorageLink> LinkAsync(StorageKey key, TimeSpan lasts, CancellationToken cancellationToken)
    {
        GoogleSigner signer = _options.Tokens.Signer
            ?? throw new BackupIQException(ErrorCodes.Usage, "Only a service account with a key of its own can sign links", "Name its key file with credentials=FILE, or GOOGLE_APPLICATION_CREDENTIALS.");
        DateTimeOffset now = _time.GetUtcNow();
        return ValueTask.FromResult(new StorageLink(GcsSignedAddress.Of(signer, _options.Endpoint, _options.Bucket, _options.Prefix + key.Value, now, lasts), now + lasts));
    }

    /// <summary>Nothing: a bucket has no end, and what it holds nobody adds up but its bill.</summary>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, null, null));

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _api.Dispose();
        return ValueTask.CompletedTask;
    }

    // False when the name is taken.
    private async Task<bool> PutAsync(StorageKey key, StorageContent content, long length, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be stored";
        byte[] md5 = ContentHash.Md5(content, 0, length);
        byte[] metadata = MetadataOf(key, md5);
        using HttpResponseMessage answer = length <= _largestWhole
            ? await SendWholeAsync().ConfigureAwait(false)
            : await _uploads.SendAsync(
                new ResumableUpload(
                    $"{key} {Convert.ToHexStringLower(md5)}",
                    () => new HttpRequestMessage(HttpMethod.Post, UploadOf(key, "resumable")) { Content = GoogleApi.Json(metadata) },
                    content,
                    length,
                    what,
                    HttpStatusCode.PreconditionFailed),
                cancellationToken).ConfigureAwait(false);
        if (answer.StatusCode == HttpStatusCode.PreconditionFailed)
        {
            return false;
        }

        using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
        RequireEcho(key, length, md5, GcsObject.Read(json.RootElement) ?? throw GoogleApi.NoAnswer(what, null));
        return true;

        async Task<HttpResponseMessage> SendWholeAsync()
        {
            using HttpRequestMessage request = new(HttpMethod.Post, UploadOf(key, "multipart")) { Content = GoogleApi.Both(metadata, GoogleApi.BodyOf(content, 0, length)) };
            return await _api.SendAsync(request, what, cancellationToken, HttpStatusCode.OK, HttpStatusCode.PreconditionFailed).ConfigureAwait(false);
        }
    }

    // The name stands in the address.
    private byte[] MetadataOf(StorageKey key, byte[] md5)
    {
        Dictionary<string, object> metadata = new(StringComparer.Ordinal)
        {
            ["contentType"] = "application/octet-stream",
            ["md5Hash"] = Convert.ToBase64String(md5),
        };
        if (_options.ColdClass is { } cold && _layout.IsCold(key))
        {
            metadata["storageClass"] = cold;
        }

        if (_options.Metadata.Count > 0)
        {
            metadata["metadata"] = _options.Metadata.ToDictionary(StringComparer.Ordinal);
        }

        if (_options.LockMode is { } mode && _layout.IsLocked(key))
        {
            metadata["retention"] = Retention(mode, _time.GetUtcNow() + _options.LockFor);
        }

        return JsonSerializer.SerializeToUtf8Bytes(metadata);
    }

    private static Dictionary<string, string> Retention(string mode, DateTimeOffset until) => new(StringComparer.Ordinal)
    {
        ["mode"] = mode,
        ["retainUntilTime"] = until.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture),
    };

    private Uri UploadOf(StorageKey key, string kind)
    {
        string kms = _options.KmsKey is { } name ? "&kmsKeyName=" + Uri.EscapeDataString(name) : "";
        return _api.At(WithProject(
            $"/upload{BucketPath}/o?uploadType={kind}&ifGenerationMatch=0&name={Uri.EscapeDataString(_options.Prefix + key.Value)}{kms}"));
    }

    // What was asked for and is not so would be noticed when it is needed.
    private void RequireEcho(StorageKey key, long length, byte[] md5, GcsObject stored)
    {
        if (stored.Name != _options.Prefix + key.Value || stored.Size != length || (stored.Md5 is { } echo && echo != Convert.ToBase64String(md5)))
        {
            throw new StorageException(ErrorCodes.StorageConnection, $"Object {key} could not be stored: the storage tells of another one");
        }

        string? missing = _options.LockMode is { } mode && _layout.IsLocked(key) && stored.LockMode != mode ? "keeps no lock on it"
            : _options.ColdClass is { } cold && _layout.IsCold(key) && stored.StorageClass != cold ? $"has it in the class {stored.StorageClass}"
            : _options.KmsKey is { } kms && stored.KmsKey?.StartsWith(kms + "/", StringComparison.Ordinal) != true && stored.KmsKey != kms ? "does not encrypt it with the key of Cloud KMS"
            : null;
        if (missing is not null)
        {
            throw new StorageException(
                ErrorCodes.Storage,
                $"Object {key} was stored, but the storage {missing}",
                "Locks need a bucket with object retention (--enable-per-object-retention); see docs/storage/google.md, or leave the option out of the URL.");
        }
    }

    private async Task<ListingPage> ListPageAsync(string prefix, int most, string? page, CancellationToken cancellationToken)
    {
        const string What = "The storage could not be listed";
        string query = string.Create(CultureInfo.InvariantCulture, $"maxResults={most}&fields=nextPageToken,items({GcsObject.Fields})&prefix={Uri.EscapeDataString(_options.Prefix + prefix)}");
        query += page is null ? "" : "&pageToken=" + Uri.EscapeDataString(page);
        using HttpResponseMessage answer = await _api.SendAsync(HttpMethod.Get, WithProject($"{BucketPath}/o?{query}"), What, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
        using JsonDocument json = await GoogleApi.ReadAsync(answer, GcsListing.LongestPage, What, cancellationToken).ConfigureAwait(false);
        return GcsListing.Read(json.RootElement, _options.Prefix) ?? throw GoogleApi.NoAnswer(What, null);
    }

    // Whether it keeps versions, and locks where that is asked for. Who may not look does without: the first object tells of the lock.
    private async Task LookAtBucketAsync(CancellationToken cancellationToken)
    {
        const string What = "The bucket could not be looked at";
        try
        {
            using HttpResponseMessage answer = await _api.SendAsync(
                HttpMethod.Get, WithProject($"{BucketPath}?fields=versioning,objectRetention"), What, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
            using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestAnswer, What, cancellationToken).ConfigureAwait(false);
            bool keepsVersions = GoogleJson.TryGet(json.RootElement, "versioning", out JsonElement versioning) && versioning.ValueKind == JsonValueKind.Object
                && GoogleJson.TryGet(versioning, "enabled", out JsonElement enabled) && enabled.ValueKind == JsonValueKind.True;
            bool keepsLocks = GoogleJson.TryGet(json.RootElement, "objectRetention", out JsonElement retention) && retention.ValueKind == JsonValueKind.Object
                && GoogleJson.Text(retention, "mode") == "Enabled";
            if (_options.LockMode is not null && !keepsLocks)
            {
                throw new BackupIQException(
                    ErrorCodes.Usage,
                    "The URL asks for a lock, and the bucket keeps none",
                    $"Make a bucket with locks: gcloud storage buckets create gs://{_options.Bucket} --enable-per-object-retention; or take lock and lock-days out of the URL.");
            }

            Capabilities = Capabilities with { KeepsVersions = keepsVersions };
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageAuthentication)
        {
            Capabilities = Capabilities with { KeepsVersions = null };
        }
    }

    // An object that is not there is told from a bucket that is gone.
    private async Task RequireBucketAsync(HttpResponseMessage answer, string what, CancellationToken cancellationToken)
    {
        GoogleError error = await GoogleApi.ErrorAsync(answer, what, cancellationToken).ConfigureAwait(false);
        if (GcsWords.IsBucketMissing(error))
        {
            throw _api.Failure(answer, error, what);
        }
    }

    private string PathOf(StorageKey key, string query) =>
        WithProject($"{BucketPath}/o/{Uri.EscapeDataString(_options.Prefix + key.Value)}{(query.Length == 0 ? "" : "?" + query)}");

    private string WithProject(string path) =>
        _options.UserProject is { } project ? $"{path}{(path.Contains('?') ? '&' : '?')}userProject={Uri.EscapeDataString(project)}" : path;
}
