using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Google;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>Requests to Drive's interface, version 3.</summary>
internal sealed class DriveClient : IDisposable
{
    private const int LongestAnswer = 256 * 1024;
    private const int LongestPage = 16 << 20;
    private const int LargestPage = 1000;

    /// <summary>Ids that are fetched at once: one for each put.</summary>
    private const int IdsAtOnce = 100;

    // Files of shared drives are told of only to who says that it knows them.
    private const string AllDrives = "supportsAllDrives=true";

    private readonly GoogleApi _api;
    private readonly string? _sharedDrive;
    private readonly ConcurrentQueue<string> _ids = new();

    public DriveClient(DriveOptions options, GoogleTokens tokens, HttpMessageHandler handler, TimeProvider time)
    {
        _sharedDrive = options.SharedDrive;
        _api = new GoogleApi(options.Endpoint, tokens, handler, DriveWords.For(options.Location), time);
        Uploads = new ResumableUploads(_api);
    }

    /// <summary>Uploads that can be taken up.</summary>
    public ResumableUploads Uploads { get; }

    /// <summary>The folder in which all others are.</summary>
    public string Uppermost => _sharedDrive ?? "root";

    /// <summary>A file by its id, as it is at this moment; null: it is not there, or in the trash.</summary>
    public async Task<DriveFile?> GetAsync(string id, string what, CancellationToken cancellationToken)
    {
        using HttpResponseMessage answer = await _api.SendAsync(
            HttpMethod.Get, $"/drive/v3/files/{id}?{AllDrives}&fields={DriveFile.Fields}", what, cancellationToken, HttpStatusCode.OK, HttpStatusCode.NotFound).ConfigureAwait(false);
        if (answer.StatusCode == HttpStatusCode.NotFound)
        {
            return null;
        }

        DriveFile file = await ReadFileAsync(answer, what, cancellationToken).ConfigureAwait(false);
        return file.Id == id || id == "root" ? (file.IsTrashed ? null : file) : throw GoogleApi.NoAnswer(what, null);
    }

    /// <summary>What a query finds, page by page. Drive needs some time until it finds what was made a moment ago, or no longer finds what was deleted.</summary>
    /// <param name="query">In Drive's language.</param>
    /// <param name="what">What fails if it does.</param>
    /// <param name="isNewestFirst">The newest first, and only the first page of those.</param>
    /// <param name="cancellationToken">Stops.</param>
    public async Task<List<DriveFile>> FindAsync(string query, string what, bool isNewestFirst, CancellationToken cancellationToken)
    {
        List<DriveFile> found = [];
        string? next = null;
        string shared = _sharedDrive is null ? "" : $"&corpora=drive&driveId={_sharedDrive}&includeItemsFromAllDrives=true";
        string address = string.Create(
            CultureInfo.InvariantCulture,
            $"/drive/v3/files?{AllDrives}{shared}&pageSize={(isNewestFirst ? IdsAtOnce : LargestPage)}&fields=nextPageToken,files({DriveFile.Fields})&q={Uri.EscapeDataString(query)}{(isNewestFirst ? "&orderBy=createdTime%20desc" : "")}");
        do
        {
            using HttpResponseMessage answer = await _api.SendAsync(
                HttpMethod.Get, next is null ? address : $"{address}&pageToken={Uri.EscapeDataString(next)}", what, cancellationToken, HttpStatusCode.OK, HttpStatusCode.NotFound).ConfigureAwait(false);
            if (answer.StatusCode == HttpStatusCode.NotFound)
            {
                // The folder that is asked about is gone.
                return [];
            }

            using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestPage, what, cancellationToken).ConfigureAwait(false);
            (IReadOnlyList<DriveFile> files, string? following) = DriveFile.ReadPage(json.RootElement) ?? throw GoogleApi.NoAnswer(what, null);
            found.AddRange(files.Where(static file => !file.IsTrashed));
            if (following is not null && following == next)
            {
                throw new StorageException(ErrorCodes.Storage, "The storage's listing goes round in a circle");
            }

            next = isNewestFirst ? null : following;
        }
        while (next is not null);
        return found;
    }

    /// <summary>Reads a range; null: the file is not there.</summary>
    public async Task<int?> ReadAsync(string id, long offset, Memory<byte> destination, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Get, _api.At($"/drive/v3/files/{id}?{AllDrives}&alt=media"));
        request.Headers.Range = new RangeHeaderValue(offset, offset + destination.Length - 1);
        using HttpResponseMessage answer = await _api.SendAsync(
            request, what, cancellationToken, HttpStatusCode.PartialContent, HttpStatusCode.RequestedRangeNotSatisfiable, HttpStatusCode.NotFound).ConfigureAwait(false);
        return answer.StatusCode switch
        {
            HttpStatusCode.NotFound => null,
            HttpStatusCode.RequestedRangeNotSatisfiable => 0,
            _ => await HttpCall.ReadRangeAsync(answer, offset, destination, what, cancellationToken).ConfigureAwait(false),
        };
    }

    /// <summary>Deletes a file for good, past the trash; one that is not there is deleted.</summary>
    public async Task DeleteAsync(string id, string what, CancellationToken cancellationToken)
    {
        using HttpResponseMessage answer = await _api.SendAsync(
            HttpMethod.Delete, $"/drive/v3/files/{id}?{AllDrives}", what, cancellationToken, HttpStatusCode.NoContent, HttpStatusCode.OK, HttpStatusCode.NotFound).ConfigureAwait(false);
    }

    /// <summary>Makes a folder. Two who do so at once make two.</summary>
    public async Task<DriveFile> MakeFolderAsync(string name, string parent, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, _api.At($"/drive/v3/files?{AllDrives}&fields={DriveFile.Fields}"))
        {
            Content = GoogleApi.Json(Describe(name, parent, null, DriveFile.FolderType)),
        };
        using HttpResponseMessage answer = await _api.SendAsync(request, what, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
        DriveFile made = await ReadFileAsync(answer, what, cancellationToken).ConfigureAwait(false);
        return made.IsFolder && made.Name == name && (made.Parent == parent || parent == "root") ? made : throw GoogleApi.NoAnswer(what, null);
    }

    /// <summary>
    /// An id for a file that is yet to be made. Who makes a file under such an id can do so again when the answer was lost: Drive says then that it is there.
    /// </summary>
    public async Task<string> NewIdAsync(string what, CancellationToken cancellationToken)
    {
        if (_ids.TryDequeue(out string? id))
        {
            return id;
        }

        using HttpResponseMessage answer = await _api.SendAsync(
            HttpMethod.Get, string.Create(CultureInfo.InvariantCulture, $"/drive/v3/files/generateIds?count={IdsAtOnce}&space=drive"), what, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
        using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
        string[] ids = GoogleJson.TryGet(json.RootElement, "ids", out JsonElement array) && array.ValueKind == JsonValueKind.Array
            ? [.. array.EnumerateArray().Where(static one => one.ValueKind == JsonValueKind.String).Select(static one => JsonAnswer.TextOf(one) ?? "").Where(DriveFile.IsId).Distinct()]
            : [];
        if (ids.Length == 0)
        {
            throw GoogleApi.NoAnswer(what, null);
        }

        foreach (string more in ids.AsSpan(1))
        {
            _ids.Enqueue(more);
        }

        return ids[0];
    }

    /// <summary>Makes a file in one request; null: the id is taken.</summary>
    public async Task<DriveFile?> CreateAsync(string id, string name, string parent, StorageContent content, long length, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, UploadAt("multipart")) { Content = GoogleApi.Both(Describe(name, parent, id, null), GoogleApi.BodyOf(content, 0, length)) };
        using HttpResponseMessage answer = await _api.SendAsync(request, what, cancellationToken, HttpStatusCode.OK, HttpStatusCode.Conflict).ConfigureAwait(false);
        return answer.StatusCode == HttpStatusCode.Conflict ? null : await ReadFileAsync(answer, what, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The same by an upload that can be taken up where it broke.</summary>
    public async Task<DriveFile?> UploadAsync(string identity, string id, string name, string parent, StorageContent content, long length, string what, CancellationToken cancellationToken)
    {
        ResumableUpload upload = new(
            identity, () => new HttpRequestMessage(HttpMethod.Post, UploadAt("resumable")) { Content = GoogleApi.Json(Describe(name, parent, id, null)) }, content, length, what, HttpStatusCode.Conflict);
        using HttpResponseMessage answer = await Uploads.SendAsync(upload, cancellationToken).ConfigureAwait(false);
        return answer.StatusCode == HttpStatusCode.Conflict ? null : await ReadFileAsync(answer, what, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Bytes that the account may store, and those it has stored; null for what is not limited or not told.</summary>
    public async Task<(long? Limit, long? Used)> QuotaAsync(string what, CancellationToken cancellationToken)
    {
        using HttpResponseMessage answer = await _api.SendAsync(HttpMethod.Get, "/drive/v3/about?fields=storageQuota(limit,usage)", what, cancellationToken, HttpStatusCode.OK).ConfigureAwait(false);
        using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
        return GoogleJson.TryGet(json.RootElement, "storageQuota", out JsonElement quota) && quota.ValueKind == JsonValueKind.Object ? (Number("limit"), Number("usage")) : (null, null);

        long? Number(string name) => long.TryParse(GoogleJson.Text(quota, name), NumberStyles.None, CultureInfo.InvariantCulture, out long number) ? number : null;
    }

    /// <summary>A text in Drive's language.</summary>
    public static string Quote(string text) => $"'{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal)}'";

    /// <inheritdoc/>
    public void Dispose() => _api.Dispose();

    private static byte[] Describe(string name, string parent, string? id, string? type)
    {
        Dictionary<string, object> file = new(StringComparer.Ordinal) { ["name"] = name, ["parents"] = new[] { parent }, ["mimeType"] = type ?? "application/octet-stream" };
        if (id is not null)
        {
            file["id"] = id;
        }

        return JsonSerializer.SerializeToUtf8Bytes(file);
    }

    private static async Task<DriveFile> ReadFileAsync(HttpResponseMessage answer, string what, CancellationToken cancellationToken)
    {
        using JsonDocument json = await GoogleApi.ReadAsync(answer, LongestAnswer, what, cancellationToken).ConfigureAwait(false);
        return DriveFile.Read(json.RootElement) ?? throw GoogleApi.NoAnswer(what, null);
    }

    private Uri UploadAt(string kind) => _api.At($"/upload/drive/v3/files?uploadType={kind}&{AllDrives}&fields={DriveFile.Fields}");
}
