using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.WebDav;

/// <summary>
/// A folder of a WebDAV server as storage: <c>webdavs://user@host/path</c>, or <c>webdav://</c> without TLS. Every object is a file under
/// its key's path, as on local disk.
/// </summary>
/// <remarks>
/// A put writes a file in the folder <c>tmp</c> and moves it to its place with <c>Overwrite: F</c>. Between two who move at the very same moment
/// servers do not decide: of 300 rounds of six moves at once Apache let two win in 20, since it looks first and renames then. So conditional put is
/// not declared, and a server that ignores the header altogether is found out before the first put and looked at before each. How durable a file
/// is when the server has acknowledged it is the server's matter; none says.
/// </remarks>
public sealed class WebDavBackend : IStorageBackend, IFolderStorage
{
    /// <summary>A server with a few dozen workers drops idle connections of whoever holds more.</summary>
    private const int Connections = 16;

    /// <summary>Folders listed at once.</summary>
    private const int ListingsAtOnce = 8;

    /// <summary>From this size on it is worth a question whether an object is there already before it is sent.</summary>
    private const int WorthALook = 256 * 1024;

    private static readonly TimeSpan DiscardPatience = TimeSpan.FromSeconds(5);

    private static readonly string[] OwnOptions = ["auth", "listing-lag"];

    private readonly WebDavClient _client;
    private readonly TimeProvider _time;
    private readonly ConcurrentDictionary<string, bool> _folders = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _preparing = new(1);
    private volatile bool _isRootThere;
    private volatile bool _isPrepared;
    private volatile bool _looksFirst;

    private WebDavBackend(WebDavClient client, string location, TimeSpan listingLag, TimeProvider time)
    {
        _client = client;
        _time = time;
        Location = location;
        Capabilities = new StorageCapabilities { ConditionalPut = false, ListingLag = listingLag, HasStoreClock = true };
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; }

    /// <inheritdoc/>
    public string Location { get; }

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <summary>Connects, which proves that the server can be reached, knows the credentials and speaks WebDAV. The folder may be missing: the first put makes it.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL is wrong; or the server cannot be reached or used.</exception>
    public static async Task<IStorageBackend> ConnectAsync(StorageUrl url, TimeProvider time, CancellationToken cancellationToken)
    {
        url.RequireOptions(
            [.. HttpTransport.Options, .. StoragePassword.Options, .. OwnOptions],
            "Set BACKUPIQ_WEBDAV_PASSWORD or BACKUPIQ_WEBDAV_TOKEN, or name a password-file, password-command or password-from in the URL.");
        Uri server = ServerOf(url);
        WebDavLogin login = new(stop => AuthorizationOfAsync(url, time, stop));
        await login.RenewAsync(null, cancellationToken).ConfigureAwait(false);
        SocketsHttpHandler handler = HttpTransport.Create(server, url);
        handler.MaxConnectionsPerServer = Connections;
        WebDavClient client = new(server, url.Path, handler, login, time);
        try
        {
            WebDavBackend storage = new(client, url.ToString(), TimeSpan.FromSeconds(url.Number("listing-lag", 0, 3600) ?? 0), time);
            storage._isRootThere = await client.LookAsync("", "The storage could not be opened", cancellationToken).ConfigureAwait(false) switch
            {
                null => false,
                { IsFolder: true } => true,
                _ => throw new StorageException(ErrorCodes.Storage, "The storage's URL names a file, not a folder", "Check the path in the URL."),
            };
            return storage;
        }
        catch (StorageException e)
        {
            client.Dispose();
            e.With("storage", url.ToString());
            throw;
        }
        catch (OperationCanceledException)
        {
            client.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        RemoteSpool.CheckKey(key);
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            return await PutAsync(key, content, content.GetLength(), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            content.Discard();
        }
    }

    /// <inheritdoc/>
    public async ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        RemoteSpool.CheckKey(key);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        cancellationToken.ThrowIfCancellationRequested();
        int? read = destination.IsEmpty || offset > long.MaxValue - destination.Length
            ? await FindAsync(key, cancellationToken).ConfigureAwait(false) is null ? null : 0
            : await _client.ReadAsync(key.Value, offset, destination, $"The object {key} could not be read", cancellationToken).ConfigureAwait(false);
        if (read is { } count)
        {
            return count;
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The storage has no object {key}.");
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        RemoteSpool.CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        if (await FindAsync(key, cancellationToken).ConfigureAwait(false) is { } found)
        {
            return found;
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        return null;
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        List<string> level = [prefix.TrimEnd('/')];
        while (level.Count > 0)
        {
            List<string> below = [];
            foreach (string[] batch in level.Chunk(ListingsAtOnce))
            {
                foreach (IReadOnlyList<(string Name, DavResource Resource)> listing in await Task.WhenAll(batch.Select(folder => ListFolderAsync(folder, cancellationToken))).ConfigureAwait(false))
                {
                    foreach ((string name, DavResource resource) in listing)
                    {
                        // What is not a key is somebody else's.
                        if (!StorageKey.TryCreate(name, out StorageKey key) || RemoteSpool.Holds(name))
                        {
                            continue;
                        }

                        if (resource.IsFolder)
                        {
                            below.Add(name);
                        }
                        else
                        {
                            yield return ObjectOf(key, resource);
                        }
                    }
                }
            }

            level = below;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        RemoteSpool.CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        if (!await _client.DeleteAsync(key.Value, $"The object {key} could not be deleted", cancellationToken).ConfigureAwait(false))
        {
            await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask RemoveFolderAsync(string prefix, CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        ArgumentException.ThrowIfNullOrEmpty(prefix);
        string folder = prefix.TrimEnd('/');
        if (!await _client.DeleteAsync(folder, $"The folder {folder} could not be removed", cancellationToken, withAllBelow: true).ConfigureAwait(false))
        {
            await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken)
    {
        DavResource? root = await _client.LookAtQuotaAsync("The storage's space could not be told", cancellationToken).ConfigureAwait(false);
        return new StorageSpace(root?.Available + root?.Used, root?.Used, root?.Available);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        _preparing.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<PutOutcome> PutAsync(StorageKey key, StorageContent content, long length, CancellationToken cancellationToken)
    {
        await PrepareAsync(cancellationToken).ConfigureAwait(false);
        if ((_looksFirst || length >= WorthALook) && await FindAsync(key, cancellationToken).ConfigureAwait(false) is { } there)
        {
            return await StoredBytes.CompareAsync(this, there, content, cancellationToken).ConfigureAwait(false);
        }

        string temporary = RemoteSpool.NewName();
        bool isMoved = false;
        try
        {
            await UploadAsync(key, temporary, content, length, cancellationToken).ConfigureAwait(false);
            if (_looksFirst && await FindAsync(key, cancellationToken).ConfigureAwait(false) is { } meanwhile)
            {
                return await StoredBytes.CompareAsync(this, meanwhile, content, cancellationToken).ConfigureAwait(false);
            }

            isMoved = await MoveAsync(key, temporary, cancellationToken).ConfigureAwait(false);
            return isMoved ? PutOutcome.Stored
                : await FindAsync(key, cancellationToken).ConfigureAwait(false) is { } taken
                ? await StoredBytes.CompareAsync(this, taken, content, cancellationToken).ConfigureAwait(false)
                : throw StoredBytes.Vanished(key);
        }
        finally
        {
            if (!isMoved)
            {
                await DiscardAsync(temporary).ConfigureAwait(false);
            }
        }
    }

    private async Task UploadAsync(StorageKey key, string temporary, StorageContent content, long length, CancellationToken cancellationToken)
    {
        string what = $"The object {key} could not be sent";
        if (!await _client.PutAsync(temporary, content, length, what, cancellationToken).ConfigureAwait(false))
        {
            // Somebody removed the empty folder.
            _folders.Clear();
            await MakeFolderAsync(RemoteSpool.Name, cancellationToken).ConfigureAwait(false);
            if (!await _client.PutAsync(temporary, content, length, what, cancellationToken).ConfigureAwait(false))
            {
                throw new StorageException(ErrorCodes.Storage, $"{what}: the server does not keep the folder that was made for it");
            }
        }

        // TLS seals what is on its way. Nothing else does: WebDAV knows no checksum of what is put.
        if (!_client.IsEncrypted && !await StoredBytes.AreThoseOfAsync(content, length, ReadBackAsync, cancellationToken).ConfigureAwait(false))
        {
            throw new StorageException(ErrorCodes.StorageConnection, $"{what}: bytes were changed on the way", "Use webdavs://, which notices that at once.");
        }

        async ValueTask<int> ReadBackAsync(long offset, Memory<byte> part, CancellationToken stop) =>
            await _client.ReadAsync(temporary, offset, part, $"The object {key} could not be read back", stop).ConfigureAwait(false) ?? 0;
    }

    // False when the key is taken.
    private async Task<bool> MoveAsync(StorageKey key, string temporary, CancellationToken cancellationToken)
    {
        string what = $"The object {key} could not be put in its place";
        string folder = RemoteSpool.FolderOf(key.Value);
        long begun = _time.GetTimestamp();
        bool isFolderMadeAnew = false;
        while (true)
        {
            await MakeFolderAsync(folder, cancellationToken).ConfigureAwait(false);
            switch (await _client.MoveAsync(temporary, key.Value, what, cancellationToken).ConfigureAwait(false))
            {
                case HttpStatusCode.Created:
                    return true;
                case HttpStatusCode.PreconditionFailed:
                    return false;
                case HttpStatusCode.Locked when _time.GetElapsedTime(begun) < WebDavClient.LockPatience:
                    // A server that decides between two asks one of them to wait.
                    await Task.Delay(WebDavClient.LockPause, _time, cancellationToken).ConfigureAwait(false);
                    break;
                case HttpStatusCode.Locked:
                    throw WebDavClient.Locked(what);
                case HttpStatusCode.Forbidden when isFolderMadeAnew:
                    throw new StorageException(ErrorCodes.StorageAuthentication, $"{what}: the server does not allow it");
                default:
                    // Somebody removed the empty folder, or the file in tmp.
                    if (isFolderMadeAnew)
                    {
                        throw new StorageException(ErrorCodes.StorageConnection, $"{what}: what was sent a moment ago is gone", "Run again.");
                    }

                    _folders.Clear();
                    isFolderMadeAnew = true;
                    break;
            }
        }
    }

    /// <summary>
    /// Before the first put: the folder for what is being sent, free of what others left behind there; and whether the server keeps to
    /// <c>Overwrite: F</c> at all.
    /// </summary>
    private async Task PrepareAsync(CancellationToken cancellationToken)
    {
        if (_isPrepared)
        {
            return;
        }

        await _preparing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_isPrepared)
            {
                return;
            }

            await MakeFolderAsync(RemoteSpool.Name, cancellationToken).ConfigureAwait(false);
            await SweepAsync(cancellationToken).ConfigureAwait(false);
            _looksFirst = !await KeepsWhatIsThereAsync(cancellationToken).ConfigureAwait(false);
            _isPrepared = true;
        }
        finally
        {
            _preparing.Release();
        }
    }

    private async Task SweepAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<(string Name, DavResource Resource)> files = await ListFolderAsync(RemoteSpool.Name, cancellationToken).ConfigureAwait(false);
        DateTimeOffset left = _time.GetUtcNow() - RemoteSpool.LeftBehindAfter;
        foreach ((string name, DavResource resource) in files)
        {
            if (!resource.IsFolder && RemoteSpool.IsUpload(name) && resource.Modified < left)
            {
                await DiscardAsync(name).ConfigureAwait(false);
            }
        }
    }

    private async Task<bool> KeepsWhatIsThereAsync(CancellationToken cancellationToken)
    {
        const string What = "The storage could not be tried out";
        string one = RemoteSpool.NewName();
        string other = RemoteSpool.NewName();
        try
        {
            StorageContent content = StorageContent.FromBytes(new byte[] { 0 });
            foreach (string name in (string[])[one, other])
            {
                if (!await _client.PutAsync(name, content, 1, What, cancellationToken).ConfigureAwait(false))
                {
                    throw new StorageException(ErrorCodes.Storage, $"{What}: the server does not keep the folder that was made for it");
                }
            }

            return await _client.MoveAsync(one, other, What, cancellationToken).ConfigureAwait(false) == HttpStatusCode.PreconditionFailed;
        }
        finally
        {
            await DiscardAsync(one).ConfigureAwait(false);
            await DiscardAsync(other).ConfigureAwait(false);
        }
    }

    private async Task MakeFolderAsync(string folder, CancellationToken cancellationToken)
    {
        string what = folder.Length == 0 ? "The storage's folder could not be made" : $"The folder {folder} could not be made";
        if (folder.Length == 0 || _folders.ContainsKey(folder))
        {
            if (!_isRootThere)
            {
                await _client.MakeRootAsync(what, cancellationToken).ConfigureAwait(false);
                _isRootThere = true;
            }

            return;
        }

        if (!_isRootThere || !await _client.MakeFolderAsync(folder, what, cancellationToken).ConfigureAwait(false))
        {
            // Where the storage's own folder was there and is not any more, nothing is made anew: what it held is missing.
            await RequireRootAsync(cancellationToken).ConfigureAwait(false);
            await MakeFolderAsync(RemoteSpool.FolderOf(folder), cancellationToken).ConfigureAwait(false);
            if (!await _client.MakeFolderAsync(folder, what, cancellationToken).ConfigureAwait(false))
            {
                throw new StorageException(ErrorCodes.Storage, $"{what}: the server keeps no folders there");
            }
        }

        _folders[folder] = true;
    }

    private async Task<StoredObject?> FindAsync(StorageKey key, CancellationToken cancellationToken) =>
        await _client.LookAsync(key.Value, $"The object {key} could not be looked at", cancellationToken).ConfigureAwait(false) is { IsFolder: false } resource
            ? ObjectOf(key, resource)
            : null;

    private async Task<IReadOnlyList<(string Name, DavResource Resource)>> ListFolderAsync(string folder, CancellationToken cancellationToken)
    {
        string what = folder.Length == 0 ? "The storage could not be listed" : $"The folder {folder} could not be listed";
        if (await _client.ListAsync(folder, what, cancellationToken).ConfigureAwait(false) is { } found)
        {
            return found;
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        return [];
    }

    // An absent object is told from a storage that is gone: a mount that failed on the server must not look like an empty repository.
    private async Task RequireRootAsync(CancellationToken cancellationToken)
    {
        if (_isRootThere && await _client.LookAsync("", "The storage's folder could not be looked at", cancellationToken).ConfigureAwait(false) is not { IsFolder: true })
        {
            throw StoredBytes.RootGone();
        }
    }

    // What cannot be removed costs space until a later sweep, never correctness.
    private async Task DiscardAsync(string temporary)
    {
        using CancellationTokenSource soon = new(DiscardPatience, _time);
        try
        {
            _ = await _client.DeleteAsync(temporary, "The file that was sent could not be removed", soon.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is StorageException or OperationCanceledException)
        {
        }
    }

    private static StoredObject ObjectOf(StorageKey key, DavResource resource) => new(
        key,
        resource.Size ?? throw new StorageException(ErrorCodes.Storage, $"The server does not say how large {key} is", "BackupIQ needs the property getcontentlength."),
        resource.Modified ?? DateTimeOffset.UnixEpoch);

    private static Uri ServerOf(StorageUrl url)
    {
        string scheme = url.Scheme == "webdav" ? Uri.UriSchemeHttp : Uri.UriSchemeHttps;
        return Uri.TryCreate($"{scheme}://{url.Place}/", UriKind.Absolute, out Uri? server) && server.UserInfo.Length == 0 && server.PathAndQuery == "/" && server.Fragment.Length == 0
            ? server
            : throw new BackupIQException(ErrorCodes.Usage, "The storage's URL names no host that can be one", "Write it as webdavs://user@host:port/path.");
    }

    private static async Task<AuthenticationHeaderValue?> AuthorizationOfAsync(StorageUrl url, TimeProvider time, CancellationToken cancellationToken)
    {
        bool isBearer = url.Choice("auth", ["basic", "bearer"]) is { } kind ? kind == "bearer" : url.User is null && Environment.GetEnvironmentVariable("BACKUPIQ_WEBDAV_TOKEN") is { Length: > 0 };
        string? secret = await StoragePassword.FindAsync(url, isBearer ? "BACKUPIQ_WEBDAV_TOKEN" : "BACKUPIQ_WEBDAV_PASSWORD", time, cancellationToken).ConfigureAwait(false);
        if (isBearer)
        {
            return secret is { } token && token.All(static c => c is > ' ' and < '\x7f') ? new AuthenticationHeaderValue("Bearer", token)
                : throw new BackupIQException(ErrorCodes.SecretUnavailable, "There is no token for the WebDAV server, or it is none", "Set BACKUPIQ_WEBDAV_TOKEN, or name a password-file, password-command or password-from in the URL.");
        }

        string? user = url.User ?? Environment.GetEnvironmentVariable("BACKUPIQ_WEBDAV_USER");
        if (string.IsNullOrEmpty(user))
        {
            return null;
        }

        return secret is null
            ? throw new BackupIQException(
                ErrorCodes.SecretUnavailable, "There is no password for the account at the WebDAV server", "Set BACKUPIQ_WEBDAV_PASSWORD, or name a password-file, password-command or password-from in the URL.").With("user", user)
            : new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{secret}")));
    }
}
