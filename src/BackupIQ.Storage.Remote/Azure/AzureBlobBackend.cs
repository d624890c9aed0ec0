using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Xml;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.Azure;

/// <summary>
/// A container of Azure Blob Storage, by its REST interface. Every put is conditional (If-None-Match: *), which the service decides itself; a
/// large object is sent in blocks that nobody sees before one conditional commit, so that it is there whole or not at all.
/// </summary>
/// <remarks>
/// Microsoft's reference of the Blob service: Put Blob, Put Block, Put Block List, Get Blob, Get Blob Properties, List Blobs, Delete Blob. Reads
/// after writes are strongly consistent, listings too. What an upload that was cut short has sent is dropped by the service after a week.
/// </remarks>
public sealed class AzureBlobBackend : IStorageBackend, ILinkStorage
{
    // Old enough for every private cloud and emulator, new enough for all that is used here.
    private const string Version = "2021-12-02";
    private const int LargestList = 5000;

    // Microsoft, "Overview of blob rehydration from the archive tier": standard may take up to 15 hours, high less than one for objects under 10 GB.
    private static readonly StorageArchive Archive = new(
        "archive", new Dictionary<RecallPriority, TimeSpan> { [RecallPriority.Standard] = TimeSpan.FromHours(15), [RecallPriority.Expedited] = TimeSpan.FromHours(1) });

    /// <summary>The service takes no more in one batch.</summary>
    private const int MostDeletions = 256;

    /// <summary>Keys to sign with begin so long ago, for the service's clock is not ours.</summary>
    private static readonly TimeSpan DelegatedBefore = TimeSpan.FromMinutes(5);

    // 256 answers of some 300 bytes, and much more than that.
    private const int LongestBatch = 1 << 20;

    // 50,000 blocks of 4,000 MiB. Some servers make other numbers of greater ones.
    private const long LargestBlob = 50_000L * 4_000 * (1 << 20);

    private readonly AzureBlobOptions _options;
    private readonly RemoteLayout _layout;
    private readonly HttpClient _http;
    private readonly TimeProvider _time;
    private bool _isLockProven;
    private volatile bool _refusesBatches;

    private AzureBlobBackend(AzureBlobOptions options, RemoteLayout layout, HttpClient http, TimeProvider time)
    {
        _options = options;
        _layout = layout;
        _http = http;
        _time = time;
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities => new()
    {
        ConditionalPut = true,
        HasStoreClock = true,
        LocksFor = _options.Immutable,
        ExtendsLocks = _options.Immutable is not null,
        Checksum = "Content-MD5",
        DeletesAtOnce = MostDeletions,
        Archive = _options.DataTier == "archive" ? Archive : null,
    };

    /// <inheritdoc/>
    public string Location => _options.Location;

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <summary>Connects to the container that the URL names, and proves by a listing that it is there and may be read.</summary>
    /// <exception cref="BackupIQException">The URL is wrong, or the container cannot be used; which of the two, and why, is said.</exception>
    public static Task<IStorageBackend> ConnectAsync(StorageUrl url, RemoteLayout layout, TimeProvider time, CancellationToken cancellationToken) =>
        ConnectAsync(url, layout, Environment.GetEnvironmentVariable, time, cancellationToken);

    /// <summary>The same, with an environment of the caller's own.</summary>
    internal static async Task<IStorageBackend> ConnectAsync(
        StorageUrl url, RemoteLayout layout, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken)
    {
        AzureBlobOptions options = AzureBlobOptions.Read(url, environment, time);
        AzureBlobBackend storage = new(options, layout, new HttpClient(HttpTransport.Create(options.Endpoint, url)) { Timeout = Timeout.InfiniteTimeSpan }, time);
        try
        {
            await storage.ListPageAsync("", 1, null, cancellationToken);
            return storage;
        }
        catch
        {
            await storage.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            long length = content.GetLength();
            bool isStored = length <= _options.BlockSize
                ? await PutWholeAsync(key, content, length, cancellationToken)
                : await PutInBlocksAsync(key, content, length, cancellationToken);
            if (isStored)
            {
                await ProveLockAsync(key, cancellationToken);
                return PutOutcome.Stored;
            }

            return await StoredBytes.CompareAsync(this, key, content, cancellationToken);
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
        bool isNothing = destination.Length == 0 || offset > LargestBlob;
        string range = isNothing ? "bytes=0-0" : string.Create(CultureInfo.InvariantCulture, $"bytes={offset}-{offset + destination.Length - 1}");
        using HttpResponseMessage answer = await SendAsync(
            HttpMethod.Get, key, "", request => request.Headers.Add("x-ms-range", range), what, cancellationToken,
            HttpStatusCode.PartialContent, HttpStatusCode.RequestedRangeNotSatisfiable);
        return isNothing || answer.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable ? 0
            : await HttpCall.ReadRangeAsync(answer, offset, destination, what, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be looked at";
        using HttpResponseMessage answer = await SendAsync(HttpMethod.Head, key, "", null, what, cancellationToken, HttpStatusCode.OK, HttpStatusCode.NotFound);
        if (answer.StatusCode == HttpStatusCode.NotFound)
        {
            return AzureFailure.CodeOf(answer) is "ContainerNotFound" ? throw Failure(answer, what) : null;
        }

        return answer.Content.Headers is { ContentLength: { } size, LastModified: { } modified }
            ? new StoredObject(key, size, modified)
            : throw new StorageException(ErrorCodes.Storage, $"{what}: the storage does not tell its size and time");
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
        using HttpResponseMessage answer = await SendAsync(HttpMethod.Delete, key, "", null, what, cancellationToken, HttpStatusCode.Accepted, HttpStatusCode.NotFound);
        if (answer.StatusCode == HttpStatusCode.NotFound && AzureFailure.CodeOf(answer) is "ContainerNotFound")
        {
            throw Failure(answer, what);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StorageReadiness> GetReadinessAsync(StorageKey key, CancellationToken cancellationToken)
    {
        using HttpResponseMessage answer = await SendAsync(HttpMethod.Head, key, "", null, $"Object {key} could not be looked at", cancellationToken, HttpStatusCode.OK);
        return HeaderOf(answer, "x-ms-archive-status") is not null ? StorageReadiness.Returning
            : HeaderOf(answer, "x-ms-access-tier") == "Archive" ? StorageReadiness.Archived
            : StorageReadiness.Ready;
    }

    /// <summary>Moves the object back to the hot tier, where it stays: Set Blob Tier. A second request while the first is being fulfilled is refused, and is none.</summary>
    public async ValueTask RecallAsync(StorageKey key, RecallOrder order, CancellationToken cancellationToken)
    {
        if (await GetReadinessAsync(key, cancellationToken) != StorageReadiness.Archived)
        {
            return;
        }

        string what = $"Object {key} could not be brought back from the archive";
        using HttpResponseMessage answer = await SendAsync(
            HttpMethod.Put,
            key,
            "comp=tier",
            request =>
            {
                request.Headers.Add("x-ms-access-tier", "Hot");
                request.Headers.Add("x-ms-rehydrate-priority", order.Priority == RecallPriority.Expedited ? "High" : "Standard");
                request.Content = new ByteArrayContent([]);
            },
            what,
            cancellationToken,
            HttpStatusCode.OK,
            HttpStatusCode.Accepted,
            HttpStatusCode.Conflict);
        if (answer.StatusCode == HttpStatusCode.Conflict && AzureFailure.CodeOf(answer) is not "BlobBeingRehydrated")
        {
            throw Failure(answer, what);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAllAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        if (keys.Count is 0 or > MostDeletions || _refusesBatches)
        {
            return await Deletions.OneByOneAsync(this, keys, cancellationToken);
        }

        try
        {
            return await DeleteBatchAsync(keys, cancellationToken);
        }
        catch (StorageException e) when (!e.IsTransient)
        {
            // Accounts with a hierarchical namespace have no batches, and some signatures do not reach them.
            _refusesBatches = true;
            return await Deletions.OneByOneAsync(this, keys, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<bool> ExtendLockAsync(StorageKey key, DateTimeOffset atLeast, DateTimeOffset until, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be locked";
        _ = _options.Immutable ?? throw new NotSupportedException("The storage was opened without a lock.");
        bool isLockedForGood;
        using (HttpResponseMessage head = await SendAsync(HttpMethod.Head, key, "", null, what, cancellationToken, HttpStatusCode.OK))
        {
            if (AzureLock.Read(head) is { } already && already.Until >= atLeast)
            {
                return false;
            }

            isLockedForGood = _options.Immutability == AzureImmutability.Locked || AzureLock.Read(head)?.Mode == AzureImmutability.Locked;
        }

        using HttpResponseMessage answer = await SendAsync(
            HttpMethod.Put,
            key,
            "comp=immutabilityPolicies",
            request => AzureLock.Ask(request, until, isLockedForGood ? AzureImmutability.Locked : AzureImmutability.Unlocked),
            what,
            cancellationToken,
            HttpStatusCode.OK);
        return true;
    }

    /// <inheritdoc/>
    public async ValueTask<StorageLink> LinkAsync(StorageKey key, TimeSpan lasts, CancellationToken cancellationToken)
    {
        DateTimeOffset until = _time.GetUtcNow() + lasts;
        string name = _options.Prefix + key.Value;
        string query = await _options.Credential.FindKeyAsync(cancellationToken) is { } signer
                ? signer.SignRead(_options.Container, name, until, Version, _options.Endpoint.Scheme == Uri.UriSchemeHttps)
            : _options.Credential.IsIdentity ? (await DelegateAsync(until, cancellationToken)).SignRead(_options.Account, _options.Container, name, until, Version)
            : throw new BackupIQException(
                ErrorCodes.Usage,
                "A shared access signature signs no further links",
                "The storage account's key does (AZURE_STORAGE_KEY or AZURE_STORAGE_CONNECTION_STRING, and auth=key in the URL where another way is set up, too), or an identity (auth=identity).");
        return new StorageLink($"{AddressOf(key)}?{query}", until);
    }

    private async Task<UserDelegationKey> DelegateAsync(DateTimeOffset until, CancellationToken cancellationToken)
    {
        const string What = "No key to sign links with was to be had";
        using HttpRequestMessage request = NewRequest(HttpMethod.Post, $"{_options.Endpoint.ToString().TrimEnd('/')}/?restype=service&comp=userdelegationkey");
        request.Content = new ByteArrayContent(UserDelegationKey.Request(_time.GetUtcNow() - DelegatedBefore, until));
        await _options.Credential.SignAsync(request, _http, cancellationToken);
        using HttpResponseMessage answer = await HttpCall.SendAsync(_http, request, What, cancellationToken);
        if (answer.StatusCode != HttpStatusCode.OK)
        {
            throw Failure(answer, What);
        }

        try
        {
            return UserDelegationKey.Read(await HttpCall.ReadWholeAsync(answer, UserDelegationKey.LongestAnswer, What, cancellationToken));
        }
        catch (XmlException e)
        {
            throw new StorageException(ErrorCodes.StorageConnection, $"{What}: the answer is none of Azure's Blob service", "Check the endpoint.", e);
        }
    }

    /// <summary>Nothing: a container has no end, and what it holds nobody adds up but its bill.</summary>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken) => ValueTask.FromResult(new StorageSpace(null, null, null));

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _http.Dispose();
        (_options.Credential as IDisposable)?.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<IReadOnlyDictionary<StorageKey, StorageException>> DeleteBatchAsync(IReadOnlyList<StorageKey> keys, CancellationToken cancellationToken)
    {
        string what = $"{keys.Count} objects could not be deleted";
        byte[] body;
        string boundary = $"batch_{Guid.NewGuid()}";
        using (MultipartContent batch = await BatchOfAsync(keys, boundary, cancellationToken))
        {
            body = await batch.ReadAsByteArrayAsync(cancellationToken);
        }

        using HttpResponseMessage answer = await SendAsync(
            HttpMethod.Post, null, "restype=container&comp=batch", request => request.Content = BatchBody(body, boundary), what, cancellationToken, HttpStatusCode.Accepted);
        ReadOnlyMemory<byte> answers = await HttpCall.ReadWholeAsync(answer, LongestBatch, what, cancellationToken);
        Dictionary<StorageKey, StorageException> failed = keys.Distinct().ToDictionary(
            static key => key, static key => new StorageException(ErrorCodes.StorageConnection, $"Object {key} could not be deleted: the storage did not answer for it"));
        foreach (BatchAnswer part in BatchAnswer.ReadAll(answers, BatchAnswer.BoundaryOf(answer)))
        {
            if (!int.TryParse(part.Id, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number >= keys.Count)
            {
                continue;
            }

            using HttpResponseMessage told = new(part.Status);
            if (part.Header(AzureFailure.CodeHeader) is { Length: > 0 } code)
            {
                told.Headers.TryAddWithoutValidation(AzureFailure.CodeHeader, code);
            }

            StorageKey key = keys[number];
            if (part.Status == HttpStatusCode.Accepted || (part.Status == HttpStatusCode.NotFound && AzureFailure.CodeOf(told) is not "ContainerNotFound"))
            {
                failed.Remove(key);
            }
            else
            {
                failed[key] = Failure(told, $"Object {key} could not be deleted");
            }
        }

        return failed;
    }

    // Each request in it is signed by itself; all have the version of the one around them.
    private async Task<MultipartContent> BatchOfAsync(IReadOnlyList<StorageKey> keys, string boundary, CancellationToken cancellationToken)
    {
        MultipartContent batch = new("mixed", boundary);
        for (int number = 0; number < keys.Count; number++)
        {
            using HttpRequestMessage request = new(HttpMethod.Delete, AddressOf(keys[number]));
            request.Headers.Add("x-ms-date", _time.GetUtcNow().ToString("r", CultureInfo.InvariantCulture));
            await _options.Credential.SignAsync(request, _http, cancellationToken);
            StringBuilder text = new($"DELETE {request.RequestUri!.PathAndQuery} HTTP/1.1\r\n");
            foreach ((string name, HeaderStringValues values) in request.Headers.NonValidated)
            {
                text.Append(name).Append(": ").Append(values.ToString()).Append("\r\n");
            }

            ByteArrayContent part = new(Encoding.ASCII.GetBytes(text.Append("Content-Length: 0\r\n\r\n").ToString()));
            part.Headers.ContentType = new MediaTypeHeaderValue("application/http");
            part.Headers.TryAddWithoutValidation("Content-Transfer-Encoding", "binary");
            part.Headers.TryAddWithoutValidation("Content-ID", number.ToString(CultureInfo.InvariantCulture));
            batch.Add(part);
        }

        return batch;
    }

    // Without quotes around the boundary: not every server looks behind them.
    private static ByteArrayContent BatchBody(byte[] body, string boundary)
    {
        ByteArrayContent content = new(body);
        content.Headers.ContentType = new MediaTypeHeaderValue("multipart/mixed") { Parameters = { new NameValueHeaderValue("boundary", boundary) } };
        return content;
    }

    // False when the name is taken.
    private async Task<bool> PutWholeAsync(StorageKey key, StorageContent content, long length, CancellationToken cancellationToken)
    {
        byte[] md5 = ContentHash.Md5(content, 0, length);
        using HttpResponseMessage answer = await SendAsync(
            HttpMethod.Put,
            key,
            "",
            request =>
            {
                request.Headers.Add("x-ms-blob-type", "BlockBlob");
                Publish(request, key);
                request.Content = BodyOf(content, 0, length, md5);
            },
            $"Object {key} could not be stored",
            cancellationToken,
            HttpStatusCode.Created,
            HttpStatusCode.Conflict,
            HttpStatusCode.PreconditionFailed);
        return IsStored(answer, key);
    }

    // Blocks go side by side under names that are this upload's own; then one request makes them the object, if there is none yet.
    private async Task<bool> PutInBlocksAsync(StorageKey key, StorageContent content, long length, CancellationToken cancellationToken)
    {
        if (await StatAsync(key, cancellationToken) is not null)
        {
            return false;
        }

        string upload = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
        string[] blocks = [.. Enumerable.Range(0, (int)((length + _options.BlockSize - 1) / _options.BlockSize))
            .Select(number => Convert.ToBase64String(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{upload}{number:d5}"))))];
        ParallelOptions parallel = new() { MaxDegreeOfParallelism = _options.Connections, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(Enumerable.Range(0, blocks.Length), parallel, async (number, stop) =>
        {
            long offset = (long)number * _options.BlockSize;
            long size = Math.Min(_options.BlockSize, length - offset);
            byte[] md5 = ContentHash.Md5(content, offset, size);
            using HttpResponseMessage answer = await SendAsync(
                HttpMethod.Put,
                key,
                $"comp=block&blockid={Uri.EscapeDataString(blocks[number])}",
                request => request.Content = BodyOf(content, offset, size, md5),
                $"A part of object {key} could not be stored",
                stop,
                HttpStatusCode.Created);
        });

        StringBuilder list = new("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
        foreach (string block in blocks)
        {
            list.Append("<Uncommitted>").Append(block).Append("</Uncommitted>");
        }

        byte[] body = Encoding.UTF8.GetBytes(list.Append("</BlockList>").ToString());
        using HttpResponseMessage committed = await SendAsync(
            HttpMethod.Put,
            key,
            "comp=blocklist",
            request =>
            {
                request.Headers.Add("x-ms-blob-content-type", "application/octet-stream");
                Publish(request, key);
                request.Content = new ByteArrayContent(body);
                request.Content.Headers.ContentMD5 = ContentHash.Md5(body);
            },
            $"Object {key} could not be stored",
            cancellationToken,
            HttpStatusCode.Created,
            HttpStatusCode.Conflict,
            HttpStatusCode.PreconditionFailed,
            HttpStatusCode.BadRequest);

        // Who commits drops what others have sent for the same name.
        return AzureFailure.CodeOf(committed) is "InvalidBlockList" && await StatAsync(key, cancellationToken) is not null ? false : IsStored(committed, key);
    }

    private bool IsStored(HttpResponseMessage answer, StorageKey key) =>
        answer.StatusCode == HttpStatusCode.Created ? true
        : AzureFailure.IsTaken(answer) ? false
        : throw Failure(answer, $"Object {key} could not be stored");

    private void Publish(HttpRequestMessage request, StorageKey key)
    {
        request.Headers.IfNoneMatch.Add(EntityTagHeaderValue.Any);
        foreach ((string name, string value) in _options.Metadata)
        {
            request.Headers.Add("x-ms-meta-" + name, value);
        }

        if (_options.DataTier is { } tier && _layout.IsCold(key))
        {
            request.Headers.Add("x-ms-access-tier", char.ToUpperInvariant(tier[0]) + tier[1..]);
        }

        if (_options.Immutable is { } time && _layout.IsLocked(key))
        {
            AzureLock.Ask(request, _time.GetUtcNow() + time, _options.Immutability);
        }
    }

    // A container without version-level immutability takes the request and leaves the lock away, without a word.
    private async Task ProveLockAsync(StorageKey key, CancellationToken cancellationToken)
    {
        if (_options.Immutable is null || _isLockProven || !_layout.IsLocked(key))
        {
            return;
        }

        using HttpResponseMessage answer = await SendAsync(HttpMethod.Head, key, "", null, $"Object {key} could not be looked at", cancellationToken, HttpStatusCode.OK);
        if (AzureLock.Read(answer) is null)
        {
            throw new StorageException(
                ErrorCodes.Storage,
                $"Object {key} was stored, but the container keeps no lock on it",
                "Enable version-level immutability on the container, or leave immutable= out of the URL.");
        }

        _isLockProven = true;
    }

    private async Task<ListingPage> ListPageAsync(string prefix, int most, string? marker, CancellationToken cancellationToken)
    {
        const string What = "The storage could not be listed";
        string query = string.Create(CultureInfo.InvariantCulture, $"restype=container&comp=list&maxresults={most}&prefix={Uri.EscapeDataString(_options.Prefix + prefix)}");
        query += marker is null ? "" : "&marker=" + Uri.EscapeDataString(marker);
        using HttpResponseMessage answer = await SendAsync(HttpMethod.Get, null, query, null, What, cancellationToken, HttpStatusCode.OK);
        ReadOnlyMemory<byte> page = await HttpCall.ReadWholeAsync(answer, AzureListing.LongestPage, What, cancellationToken);
        try
        {
            return AzureListing.Read(page, _options.Prefix);
        }
        catch (XmlException e)
        {
            throw new StorageException(ErrorCodes.StorageConnection, $"{What}: the answer is no listing of Azure's Blob service", "Check the endpoint.", e);
        }
    }

    // The caller disposes the answer; statuses that it does not expect are thrown. Sent once more where the secret that signed it was refused and is another by now.
    private async Task<HttpResponseMessage> SendAsync(
        HttpMethod method, StorageKey? key, string query, Action<HttpRequestMessage>? shape, string what, CancellationToken cancellationToken, params HttpStatusCode[] expected)
    {
        int generation = _options.Credential.Generation;
        HttpResponseMessage answer = await SendOnceAsync(method, key, query, shape, what, cancellationToken);
        if (AzureFailure.IsUnknownSecret(answer) && !expected.Contains(answer.StatusCode) && await _options.Credential.RenewAsync(generation, cancellationToken))
        {
            answer.Dispose();
            answer = await SendOnceAsync(method, key, query, shape, what, cancellationToken);
        }

        if (expected.Contains(answer.StatusCode))
        {
            return answer;
        }

        using (answer)
        {
            throw Failure(answer, what);
        }
    }

    private async Task<HttpResponseMessage> SendOnceAsync(
        HttpMethod method, StorageKey? key, string query, Action<HttpRequestMessage>? shape, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = NewRequest(method, $"{AddressOf(key)}{(query.Length == 0 ? "" : "?" + query)}");
        shape?.Invoke(request);
        await _options.Credential.SignAsync(request, _http, cancellationToken);
        return await HttpCall.SendAsync(_http, request, what, cancellationToken);
    }

    private HttpRequestMessage NewRequest(HttpMethod method, string address)
    {
        HttpRequestMessage request = new(method, address);
        request.Headers.Add("x-ms-version", Version);
        request.Headers.Add("x-ms-date", _time.GetUtcNow().ToString("r", CultureInfo.InvariantCulture));
        return request;
    }

    // Of an object, or of the container.
    private string AddressOf(StorageKey? key)
    {
        string path = key is { } named ? "/" + string.Join('/', (_options.Prefix + named.Value).Split('/').Select(Uri.EscapeDataString)) : "";
        return $"{_options.Endpoint.ToString().TrimEnd('/')}/{Uri.EscapeDataString(_options.Container)}{path}";
    }

    private StorageException Failure(HttpResponseMessage answer, string what)
    {
        StorageException failure = AzureFailure.Of(answer, what, _options.Container, _time.GetUtcNow());
        if (answer.Headers.TryGetValues("x-ms-request-id", out IEnumerable<string>? ids) && ids.FirstOrDefault() is { Length: <= 64 } id)
        {
            failure.With("request", id);
        }

        return failure;
    }

    private static string? HeaderOf(HttpResponseMessage answer, string name) =>
        answer.Headers.TryGetValues(name, out IEnumerable<string>? values) ? values.FirstOrDefault() : null;

    private static StreamContent BodyOf(StorageContent content, long offset, long length, byte[] md5)
    {
        StreamContent body = new(content.OpenRead(offset, length));
        body.Headers.ContentLength = length;
        body.Headers.ContentMD5 = md5;
        return body;
    }
}
