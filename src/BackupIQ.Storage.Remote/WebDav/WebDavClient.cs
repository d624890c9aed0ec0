using System.Net;
using System.Net.Http.Headers;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.WebDav;

/// <summary>The requests of WebDAV (RFC 4918) below one folder of a server. Names are keys, or <c>""</c> for the folder itself.</summary>
internal sealed class WebDavClient : IDisposable
{
    /// <summary>A folder with a million files lists in some 500 MB; more in one folder is not a repository's.</summary>
    private const int LargestListing = 1 << 30;

    private const string Asked =
        """<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>""";

    private const string QuotaAsked =
        """<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><quota-available-bytes/><quota-used-bytes/></prop></propfind>""";

    /// <summary>How long one waits for somebody who is at work on the same name to be done: a rename, or a folder made.</summary>
    public static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(10);

    /// <summary>How long between two looks.</summary>
    public static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(50);

    private static readonly HttpMethod Propfind = new("PROPFIND");
    private static readonly HttpMethod MakeCollection = new("MKCOL");
    private static readonly HttpMethod Move = new("MOVE");

    private readonly Uri _server;
    private readonly string _root;
    private readonly HttpClient _http;
    private readonly WebDavLogin _login;
    private readonly TimeProvider _time;

    /// <summary>Owns the handler.</summary>
    /// <param name="server">Scheme, host and port.</param>
    /// <param name="path">The folder's path on the server, without slashes at its ends; may be empty.</param>
    /// <param name="handler">How the server is reached.</param>
    /// <param name="login">Who asks.</param>
    /// <param name="time">For Retry-After.</param>
    public WebDavClient(Uri server, string path, HttpMessageHandler handler, WebDavLogin login, TimeProvider time)
    {
        _server = server;
        _time = time;
        _login = login;
        _root = path.Length == 0 ? "/" : "/" + string.Join('/', path.Split('/').Select(Uri.EscapeDataString)) + "/";
        _http = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan, DefaultRequestVersion = HttpVersion.Version11 };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("BackupIQ", null));
    }

    /// <summary>Whether what is sent and read goes by TLS, so that nobody changes it unseen.</summary>
    public bool IsEncrypted => _server.Scheme == Uri.UriSchemeHttps;

    /// <summary>What is at a name: a file, a folder, or null for nothing.</summary>
    public Task<DavResource?> LookAsync(string name, string what, CancellationToken cancellationToken) => LookAsync(name, Asked, what, cancellationToken);

    /// <summary>The storage's folder with its quota, where the server tells it.</summary>
    public Task<DavResource?> LookAtQuotaAsync(string what, CancellationToken cancellationToken) => LookAsync("", QuotaAsked, what, cancellationToken);

    /// <summary>What a folder holds, by names; null when it is not there, or is none.</summary>
    public async Task<IReadOnlyList<(string Name, DavResource Resource)>?> ListAsync(string folder, string what, CancellationToken cancellationToken)
    {
        IReadOnlyList<DavResource>? resources = await PropfindAsync(folder, isFolder: true, "1", Asked, what, cancellationToken).ConfigureAwait(false);
        if (resources is null)
        {
            return null;
        }

        string path = Uri.UnescapeDataString(PathOf(folder, isFolder: true));
        List<(string Name, DavResource Resource)> found = [];
        foreach (DavResource resource in resources)
        {
            string there = Uri.UnescapeDataString(resource.Path);
            string name = there.StartsWith(path, StringComparison.Ordinal) ? there[path.Length..].TrimEnd('/') : "";
            if (name.Length == 0 && !resource.IsFolder && there.TrimEnd('/') == path.TrimEnd('/'))
            {
                return null;
            }

            // The folder itself is among its own members; what is elsewhere or deeper was not asked for.
            if (name.Length > 0 && !name.Contains('/'))
            {
                found.Add((folder.Length == 0 ? name : $"{folder}/{name}", resource));
            }
        }

        return found;
    }

    /// <summary>Makes a folder below the storage's, or that itself. True when it is there now, made or not; false when the one above it is missing.</summary>
    public Task<bool> MakeFolderAsync(string folder, string what, CancellationToken cancellationToken) => MakeFolderAtAsync(PathOf(folder, isFolder: true), what, cancellationToken);

    /// <summary>Makes the storage's folder, with what is missing above it.</summary>
    public async Task MakeRootAsync(string what, CancellationToken cancellationToken)
    {
        Stack<string> missing = new([_root]);
        while (missing.TryPeek(out string? path))
        {
            if (await MakeFolderAtAsync(path, what, cancellationToken).ConfigureAwait(false))
            {
                missing.Pop();
                continue;
            }

            int slash = path.TrimEnd('/').LastIndexOf('/');
            if (slash <= 0 || missing.Count > path.Count(static c => c == '/') + 1)
            {
                throw new StorageException(ErrorCodes.Storage, $"{what}: the server keeps no folders there", "Check the path in the URL, and that it may be written.");
            }

            missing.Push(path[..(slash + 1)]);
        }
    }

    /// <summary>Writes a file. False when its folder is missing.</summary>
    public async Task<bool> PutAsync(string name, StorageContent content, long length, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Put, name);
        request.Content = new StreamContent(content.OpenRead(), 256 * 1024);
        request.Content.Headers.ContentLength = length;
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        return response.StatusCode switch
        {
            HttpStatusCode.Created or HttpStatusCode.NoContent or HttpStatusCode.OK => true,
            HttpStatusCode.NotFound or HttpStatusCode.Conflict => false,
            HttpStatusCode.RequestEntityTooLarge => throw new StorageException(
                ErrorCodes.Storage, $"{what}: it is larger than the server takes", "Raise the server's limit of a request's body (Apache: LimitRequestBody, nginx: client_max_body_size)."),
            _ => throw Failure(response, what),
        };
    }

    /// <summary>Moves a file where nothing is; returns the server's status: 201 moved, 412 taken, 423 somebody is at it, 409 or 404 no folder.</summary>
    public async Task<HttpStatusCode> MoveAsync(string from, string to, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(Move, from);
        request.Headers.Add("Destination", new Uri(_server, PathOf(to, isFolder: false)).AbsoluteUri);
        request.Headers.Add("Overwrite", "F");
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        return (int)response.StatusCode switch
        {
            200 or 201 or 204 => HttpStatusCode.Created,
            403 or 404 or 409 or 412 or 423 => response.StatusCode,
            _ => throw Failure(response, what),
        };
    }

    /// <summary>Deletes a file. False when there was none.</summary>
    public async Task<bool> DeleteAsync(string name, string what, CancellationToken cancellationToken, bool withAllBelow = false)
    {
        using HttpRequestMessage request = Request(HttpMethod.Delete, name);

        // A folder may only be deleted with what is in it: servers that keep to the standard refuse that with a depth of 0.
        request.Headers.Add("Depth", withAllBelow ? "infinity" : "0");
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        return response.StatusCode switch
        {
            HttpStatusCode.OK or HttpStatusCode.NoContent or HttpStatusCode.Accepted => true,
            HttpStatusCode.NotFound or HttpStatusCode.Gone or HttpStatusCode.Conflict => false,
            HttpStatusCode.Locked => throw Locked(what),
            _ => throw Failure(response, what),
        };
    }

    /// <summary>Reads a part of a file; null when there is no such file, or it cannot be told from a folder.</summary>
    public async Task<int?> ReadAsync(string name, long offset, Memory<byte> destination, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = Request(HttpMethod.Get, name);
        request.Headers.Range = new RangeHeaderValue(offset, offset + destination.Length - 1);
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        switch (response.StatusCode)
        {
            case HttpStatusCode.PartialContent:
                return await HttpCall.ReadRangeAsync(response, offset, destination, what, cancellationToken).ConfigureAwait(false);
            case HttpStatusCode.RequestedRangeNotSatisfiable:
                return 0;
            case HttpStatusCode.OK:
                // The server knows no ranges, the file is empty, or this is a page about a folder.
                return await LookAsync(name, what, cancellationToken).ConfigureAwait(false) is { IsFolder: false, Size: { } size }
                    ? await ReadBehindAsync(response, offset, destination[..(int)Math.Clamp(size - offset, 0, destination.Length)], what, cancellationToken).ConfigureAwait(false)
                    : null;
            case HttpStatusCode.NotFound or HttpStatusCode.Gone or HttpStatusCode.Conflict:
                return null;
            case HttpStatusCode.Forbidden or HttpStatusCode.MethodNotAllowed or HttpStatusCode.MovedPermanently or HttpStatusCode.Found:
                return await LookAsync(name, what, cancellationToken).ConfigureAwait(false) is { IsFolder: false } ? throw Failure(response, what) : null;
            default:
                throw Failure(response, what);
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _login.Dispose();
    }

    /// <summary>Somebody else is at work on the same name.</summary>
    public static StorageException Locked(string what) => new(ErrorCodes.StorageConnection, $"{what}: the server holds a lock on it", "Run again.");

    private static async Task<int> ReadBehindAsync(HttpResponseMessage response, long offset, Memory<byte> destination, string what, CancellationToken cancellationToken)
    {
        byte[] skipped = new byte[64 * 1024];
        for (long left = destination.IsEmpty ? 0 : offset; left > 0;)
        {
            int count = await HttpCall.ReadAsync(response, skipped.AsMemory(0, (int)Math.Min(left, skipped.Length)), what, cancellationToken).ConfigureAwait(false);
            left = count == 0 ? throw Short(what) : left - count;
        }

        int read = await HttpCall.ReadAsync(response, destination, what, cancellationToken).ConfigureAwait(false);
        return read == destination.Length ? read : throw Short(what);
    }

    private static StorageException Short(string what) => new(ErrorCodes.StorageConnection, $"{what}: the answer ended early", "Check that the storage can be reached.");

    private async Task<DavResource?> LookAsync(string name, string asked, string what, CancellationToken cancellationToken)
    {
        bool isRoot = name.Length == 0;
        IReadOnlyList<DavResource>? resources = await PropfindAsync(name, isRoot, "0", asked, what, cancellationToken).ConfigureAwait(false);
        return resources switch
        {
            null => null,
            [{ } resource] => resource,
            _ => throw NoWebDav(what),
        };
    }

    private async Task<IReadOnlyList<DavResource>?> PropfindAsync(string name, bool isFolder, string depth, string asked, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(Propfind, new Uri(_server, PathOf(name, isFolder)));
        request.Headers.Add("Depth", depth);
        request.Content = new StringContent(asked, Encoding.UTF8, "application/xml");
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        switch ((int)response.StatusCode)
        {
            case 207:
                ReadOnlyMemory<byte> body = await HttpCall.ReadWholeAsync(response, LargestListing, what, cancellationToken).ConfigureAwait(false);
                return MultiStatus.Parse(body)
                    ?? throw new StorageException(ErrorCodes.StorageConnection, $"{what}: the answer is garbled", "When it stays so, look at what lies between here and the server.");
            case 404 or 409 or 410:
                return null;
            case 200 or 400 or 405 or 501:
                // A file under the name of a folder is nothing to list.
                return isFolder && name.Length > 0 && await LookAsync(name, what, cancellationToken).ConfigureAwait(false) is { IsFolder: false } ? null : throw NoWebDav(what);
            default:
                throw Failure(response, what);
        }
    }

    private async Task<bool> MakeFolderAtAsync(string path, string what, CancellationToken cancellationToken)
    {
        long begun = _time.GetTimestamp();
        while (true)
        {
            using HttpRequestMessage request = new(MakeCollection, new Uri(_server, path));
            using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
            switch (response.StatusCode)
            {
                case HttpStatusCode.Created or HttpStatusCode.OK or HttpStatusCode.MethodNotAllowed:
                    return true;
                case HttpStatusCode.Conflict or HttpStatusCode.NotFound:
                    return false;
                case HttpStatusCode.Locked when _time.GetElapsedTime(begun) < LockPatience:
                    await Task.Delay(LockPause, _time, cancellationToken).ConfigureAwait(false);
                    continue;
                case HttpStatusCode.Forbidden or HttpStatusCode.MovedPermanently:
                    // What two who make one folder at once are told differs; so does what is said of the folders above one's own.
                    return await IsFolderAsync(path, what, cancellationToken).ConfigureAwait(false) ? true : throw Failure(response, what);
                default:
                    throw Failure(response, what);
            }
        }
    }

    private async Task<bool> IsFolderAsync(string path, string what, CancellationToken cancellationToken)
    {
        using HttpRequestMessage request = new(Propfind, new Uri(_server, path));
        request.Headers.Add("Depth", "0");
        request.Content = new StringContent(Asked, Encoding.UTF8, "application/xml");
        using HttpResponseMessage response = await SendAsync(request, what, cancellationToken).ConfigureAwait(false);
        return (int)response.StatusCode == 207
            && MultiStatus.Parse(await HttpCall.ReadWholeAsync(response, LargestListing, what, cancellationToken).ConfigureAwait(false)) is [{ IsFolder: true }];
    }

    private HttpRequestMessage Request(HttpMethod method, string name) => new(method, new Uri(_server, PathOf(name, isFolder: false)));

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, string what, CancellationToken cancellationToken)
    {
        AuthenticationHeaderValue? authorization = _login.Authorization;
        request.Headers.Authorization = authorization;
        HttpResponseMessage response = await HttpCall.SendAsync(_http, request, what, cancellationToken).ConfigureAwait(false);
        if (response.StatusCode == HttpStatusCode.Unauthorized && await _login.RenewAsync(authorization, cancellationToken).ConfigureAwait(false))
        {
            // The body may be gone: whoever retries sends it anew.
            response.Dispose();
            throw new StorageException(ErrorCodes.StorageConnection, $"{what}: the password was changed meanwhile");
        }

        return response;
    }

    // Keys need no escaping: none of their characters means anything in a path.
    private string PathOf(string name, bool isFolder) => name.Length == 0 ? _root : isFolder ? $"{_root}{name}/" : _root + name;

    private StorageException Failure(HttpResponseMessage response, string what) => HttpCall.Failure(response, what, _time.GetUtcNow());

    private static StorageException NoWebDav(string what) =>
        new(ErrorCodes.Storage, $"{what}: the server does not speak WebDAV there", "Check the URL: it names the folder that the server offers by WebDAV.");
}
