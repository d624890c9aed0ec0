using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using BackupIQ.Primitives;

namespace BackupIQ.Storage.Remote.Rclone;

/// <summary>
/// A storage that rclone reaches: <c>rclone:remote:path</c>, <c>sftp://user@host/path</c>, <c>icloud://folder</c>. Every object is a file under its
/// key's path.
/// </summary>
/// <remarks>
/// Where the storage can move or copy on its own side, a put writes a file in the folder <c>tmp</c>, asks for its size and moves it to its place; elsewhere
/// it writes to the place itself. rclone has no way to say "only where nothing is": it is looked before, and nothing more is promised. Nor does it say
/// when the other side has a file on its disk.
/// </remarks>
public sealed class RcloneBackend : IStorageBackend, IFolderStorage
{
    /// <summary>What providers of the net need, at most, until a listing shows what was stored: some seconds were seen, and rclone knows nothing of it.</summary>
    private static readonly TimeSpan DefaultListingLag = TimeSpan.FromSeconds(30);

    /// <summary>What others of this run are sending takes its place as well.</summary>
    private const int UploadsAtOnce = 4;

    /// <summary>How often a folder is made that others make as well: once for each that was missing above it, and some more.</summary>
    private const int FolderAttempts = 8;

    private static readonly TimeSpan DiscardPatience = TimeSpan.FromSeconds(5);

    private readonly RcloneClient _client;
    private readonly TimeProvider _time;
    private readonly bool _moves;
    private readonly bool _keepsFolders;
    private readonly SemaphoreSlim _preparing = new(1);
    private volatile bool _isRootThere;
    private volatile bool _isPrepared;
    private bool _isDisposed;

    private RcloneBackend(RcloneClient client, string location, StorageCapabilities capabilities, bool moves, bool keepsFolders, TimeProvider time)
    {
        _client = client;
        _time = time;
        _moves = moves;
        _keepsFolders = keepsFolders;
        Location = location;
        Capabilities = capabilities;
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; }

    /// <inheritdoc/>
    public string Location { get; }

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <summary>Whether a URL is one of those that are reached through rclone.</summary>
    public static bool IsFor(string url) => RcloneRemote.Is(url);

    /// <summary>Starts rclone and connects, which proves that the storage can be reached and read. Its folder may be missing: the first put makes it.</summary>
    /// <exception cref="BackupIQException">
    /// <c>Usage</c>: the URL is wrong. <c>MissingLibrary</c>: rclone is not installed, too old, or does not have that kind of storage. Or the storage cannot be reached.
    /// </exception>
    public static async Task<IStorageBackend> ConnectAsync(string url, TimeProvider time, CancellationToken cancellationToken)
    {
        RcloneRemote remote = RcloneRemote.Parse(url, await RcloneRemote.FindPasswordAsync(url, time, cancellationToken).ConfigureAwait(false));
        RcloneProgram program = RcloneProgram.Require();
        RcloneClient client = new(await RcloneProcess.StartAsync(program, remote, time, cancellationToken).ConfigureAwait(false));
        try
        {
            return await ConnectAsync(client, remote, time, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e)
        {
            await client.DisposeAsync().ConfigureAwait(false);
            e.With("storage", remote.Location);
            throw;
        }
        catch (OperationCanceledException)
        {
            await client.DisposeAsync().ConfigureAwait(false);
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
        bool isAsked = !destination.IsEmpty && offset <= long.MaxValue - destination.Length;
        if (isAsked && await _client.ReadAsync(key.Value, offset, destination, $"The object {key} could not be read", cancellationToken).ConfigureAwait(false) is { } count)
        {
            return count;
        }

        if (await FindAsync(key.Value, cancellationToken).ConfigureAwait(false) is { } there)
        {
            return !isAsked || offset >= there.Size ? 0 : throw new StorageException(ErrorCodes.StorageConnection, $"The object {key} could not be read: rclone gave another part of it", "Run again.");
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The storage has no object {key}.");
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        RemoteSpool.CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        if (await FindAsync(key.Value, cancellationToken).ConfigureAwait(false) is { } found)
        {
            return new StoredObject(key, found.Size, found.Modified);
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        return null;
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        foreach (RcloneEntry entry in await ListAsync(prefix.TrimEnd('/'), isDeep: true, cancellationToken).ConfigureAwait(false))
        {
            // What is not a key is somebody else's.
            if (!entry.IsFolder && StorageKey.TryCreate(entry.Path, out StorageKey key) && !RemoteSpool.Holds(entry.Path) && entry.Path.StartsWith(prefix, StringComparison.Ordinal))
            {
                yield return new StoredObject(key, entry.Size, entry.Modified);
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        RemoteSpool.CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        if (await _client.CallAsync("operations/deletefile", new JsonObject { ["remote"] = key.Value }, $"The object {key} could not be deleted", cancellationToken).ConfigureAwait(false) is null)
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
        if (await _client.CallAsync("operations/purge", new JsonObject { ["remote"] = folder }, $"The folder {folder} could not be removed", cancellationToken).ConfigureAwait(false) is null)
        {
            await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte>? answer = null;
        try
        {
            answer = _isRootThere ? await _client.CallAsync("operations/about", [], "The storage's space could not be told", cancellationToken).ConfigureAwait(false) : answer;
        }
        catch (StorageException e) when (e.Details.TryGetValue("rclone", out string? words) && words.Contains("doesn't support about", StringComparison.Ordinal))
        {
            // Unknown, which is not nothing.
        }

        return answer is { } space
            ? new StorageSpace(RcloneAnswers.Number(space, "total"), RcloneAnswers.Number(space, "used"), RcloneAnswers.Number(space, "free"))
            : new StorageSpace(null, null, null);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!Interlocked.Exchange(ref _isDisposed, true))
        {
            await _client.DisposeAsync().ConfigureAwait(false);
            _preparing.Dispose();
        }
    }

    private static async Task<IStorageBackend> ConnectAsync(RcloneClient client, RcloneRemote remote, TimeProvider time, CancellationToken cancellationToken)
    {
        const string What = "The storage could not be opened";
        string version = RcloneAnswers.Text(await client.CallPlainAsync("core/version", [], What, cancellationToken).ConfigureAwait(false) ?? default, "version") ?? "";
        if (!Version.TryParse(version.TrimStart('v').Split('-')[0], out Version? parsed) || parsed < RcloneProgram.Oldest)
        {
            throw new BackupIQException(ErrorCodes.MissingLibrary, $"The rclone that is installed is {RcloneLog.Clean(version)}, and {RcloneProgram.Oldest} is the oldest that will do", "Install a newer one: apt install rclone");
        }

        if (remote.Provider is { } provider && !RcloneAnswers.HasProvider(await client.CallPlainAsync("config/providers", [], What, cancellationToken).ConfigureAwait(false) ?? default, provider))
        {
            throw new BackupIQException(
                ErrorCodes.MissingLibrary, $"The rclone that is installed ({RcloneLog.Clean(version)}) does not know {provider}", "iCloud Drive needs rclone 1.69 or later, from https://rclone.org/downloads; Debian's does not have it.");
        }

        ReadOnlyMemory<byte> features = await client.CallAsync("operations/fsinfo", [], What, cancellationToken).ConfigureAwait(false) ?? default;
        bool isFolderHere = RcloneAnswers.HasFeature(features, "IsLocal");
        RcloneBackend storage = new(
            client,
            remote.Location,
            new StorageCapabilities { ConditionalPut = false, HasStoreClock = false, ListingLag = remote.ListingLag ?? (isFolderHere ? TimeSpan.Zero : DefaultListingLag) },
            moves: RcloneAnswers.HasFeature(features, "Move") || RcloneAnswers.HasFeature(features, "Copy"),
            keepsFolders: RcloneAnswers.HasFeature(features, "CanHaveEmptyDirectories"),
            time);
        storage._isRootThere = await client.CallAsync("operations/list", Listing("", isDeep: false), What, cancellationToken).ConfigureAwait(false) is not null;
        return storage;
    }

    private async Task<PutOutcome> PutAsync(StorageKey key, StorageContent content, long length, CancellationToken cancellationToken)
    {
        await PrepareAsync(cancellationToken).ConfigureAwait(false);
        if (await FindAsync(key.Value, cancellationToken).ConfigureAwait(false) is { } there)
        {
            return await StoredBytes.CompareAsync(this, new StoredObject(key, there.Size, there.Modified), content, cancellationToken).ConfigureAwait(false);
        }

        string name = _moves ? RemoteSpool.NewName() : key.Value;
        bool isMine = _moves;
        try
        {
            await UploadAsync(key, name, content, length, cancellationToken).ConfigureAwait(false);

            // rclone takes a small file that was cut off on its way for a whole one.
            if (await FindAsync(name, cancellationToken).ConfigureAwait(false) is not { } sent || sent.Size != length)
            {
                isMine = true;
                throw new StorageException(ErrorCodes.StorageConnection, $"The object {key} did not arrive whole", "Run again.");
            }

            if (_moves && await MoveAsync(key, name, content, cancellationToken).ConfigureAwait(false) is PutOutcome.AlreadyThere)
            {
                return PutOutcome.AlreadyThere;
            }

            isMine = false;
            _isRootThere = true;
            return PutOutcome.Stored;
        }
        finally
        {
            // What stands in its place may be another's, unless it is seen to be a part.
            if (isMine)
            {
                await DiscardAsync(name).ConfigureAwait(false);
            }
        }
    }

    private async Task UploadAsync(StorageKey key, string name, StorageContent content, long length, CancellationToken cancellationToken)
    {
        string what = $"The object {key} could not be sent";
        try
        {
            await _client.UploadAsync(name, content, length, what, cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.Storage || e.Code == ErrorCodes.StorageConnection)
        {
            // SFTP has no word for a disk that is full, and rclone hangs up in the middle of what it is sent.
            if (await IsFullAsync(length, cancellationToken).ConfigureAwait(false))
            {
                throw new StorageException(ErrorCodes.StorageFull, $"{what}: the storage is full", null, e);
            }

            if (e.IsTransient || !await IsFolderMadeAsync(name, cancellationToken).ConfigureAwait(false))
            {
                throw;
            }

            await _client.UploadAsync(name, content, length, what, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<bool> IsFullAsync(long length, CancellationToken cancellationToken)
    {
        try
        {
            return (await GetSpaceAsync(cancellationToken).ConfigureAwait(false)).Free is { } free && free < UploadsAtOnce * length;
        }
        catch (StorageException)
        {
            // Whatever failed before is what is told.
            return false;
        }
    }

    private async Task<PutOutcome> MoveAsync(StorageKey key, string temporary, StorageContent content, CancellationToken cancellationToken)
    {
        try
        {
            return await MoveAsync(key, temporary, cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e)
        {
            // OpenSSH's server renames only where nothing is: somebody may have been first.
            if (await FindAsync(key.Value, cancellationToken).ConfigureAwait(false) is { } there)
            {
                return await StoredBytes.CompareAsync(this, new StoredObject(key, there.Size, there.Modified), content, cancellationToken).ConfigureAwait(false);
            }

            if (e.Code != ErrorCodes.Storage || !await IsFolderMadeAsync(key.Value, cancellationToken).ConfigureAwait(false))
            {
                throw;
            }

            return await MoveAsync(key, temporary, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<PutOutcome> MoveAsync(StorageKey key, string temporary, CancellationToken cancellationToken)
    {
        string what = $"The object {key} could not be put in its place";
        JsonObject move = new() { ["srcFs"] = RcloneProcess.Remote, ["srcRemote"] = temporary, ["dstFs"] = RcloneProcess.Remote, ["dstRemote"] = key.Value };

        // Else rclone deletes what stands in the place before it moves: a call that was given up and is done late would take away what a later one had put.
        move["_config"] = new JsonObject { ["NoCheckDest"] = true };
        return await _client.CallPlainAsync("operations/movefile", move, what, cancellationToken).ConfigureAwait(false) is not null ? PutOutcome.Stored
            : throw new StorageException(ErrorCodes.StorageConnection, $"{what}: what was sent a moment ago is gone", "Run again.");
    }

    // rclone makes the folder into which it writes, and each above that is missing. Where two processes make one at the same moment, one of them is told that it failed
    // (by SFTP: "Failure"). The same again finds it there, and may meet the other at the next one.
    private async Task<bool> IsFolderMadeAsync(string name, CancellationToken cancellationToken)
    {
        string folder = RemoteSpool.FolderOf(name);
        for (int attempt = 0; _keepsFolders && folder.Length > 0 && attempt < FolderAttempts; attempt++)
        {
            try
            {
                await _client.CallAsync("operations/mkdir", new JsonObject { ["remote"] = folder }, $"The folder {folder} could not be made", cancellationToken).ConfigureAwait(false);
                return true;
            }
            catch (StorageException e) when (e.Code == ErrorCodes.Storage)
            {
                // What failed before is what is told.
            }
        }

        return false;
    }

    /// <summary>Before the first put: what others left behind in the folder for what is being sent is removed.</summary>
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

            await RequireRootAsync(cancellationToken).ConfigureAwait(false);
            DateTimeOffset left = _time.GetUtcNow() - RemoteSpool.LeftBehindAfter;
            foreach (RcloneEntry entry in await ListAsync(RemoteSpool.Name, isDeep: false, cancellationToken).ConfigureAwait(false))
            {
                if (!entry.IsFolder && RemoteSpool.IsUpload(entry.Path) && entry.Modified < left)
                {
                    await DiscardAsync(entry.Path).ConfigureAwait(false);
                }
            }

            _isPrepared = true;
        }
        finally
        {
            _preparing.Release();
        }
    }

    private async Task<IReadOnlyList<RcloneEntry>> ListAsync(string folder, bool isDeep, CancellationToken cancellationToken)
    {
        string what = folder.Length == 0 ? "The storage could not be listed" : $"The folder {folder} could not be listed";
        try
        {
            if (await _client.CallAsync("operations/list", Listing(folder, isDeep), what, cancellationToken).ConfigureAwait(false) is { } answer)
            {
                return RcloneAnswers.Listing(answer) ?? throw new StorageException(ErrorCodes.Storage, $"{what}: rclone's answer is none");
            }
        }
        catch (StorageException e) when (!e.IsTransient && folder.Length > 0)
        {
            // A file under the name of a folder is nothing to list.
            return await FindAsync(folder, cancellationToken).ConfigureAwait(false) is null ? throw new StorageException(e.Code, e.Message, e.Guidance, e) : [];
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        return [];
    }

    private async Task<RcloneEntry?> FindAsync(string name, CancellationToken cancellationToken) =>
        await _client.CallAsync("operations/stat", new JsonObject { ["remote"] = name }, $"The object {name} could not be looked at", cancellationToken).ConfigureAwait(false) is { } answer
            && RcloneAnswers.Item(answer) is { IsFolder: false } entry
            ? entry
            : null;

    // An absent object is told from a storage that is gone: a mount that failed on the server must not look like an empty repository.
    private async Task RequireRootAsync(CancellationToken cancellationToken)
    {
        if (_isRootThere && _keepsFolders
            && await _client.CallAsync("operations/list", Listing("", isDeep: false), "The storage's folder could not be looked at", cancellationToken).ConfigureAwait(false) is null)
        {
            throw StoredBytes.RootGone();
        }
    }

    // What cannot be removed costs space until a later sweep, never correctness.
    private async Task DiscardAsync(string name)
    {
        using CancellationTokenSource soon = new(DiscardPatience, _time);
        try
        {
            _ = await _client.CallAsync("operations/deletefile", new JsonObject { ["remote"] = name }, "The file that was sent could not be removed", soon.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is StorageException or OperationCanceledException)
        {
        }
    }

    private static JsonObject Listing(string folder, bool isDeep) => new()
    {
        ["remote"] = folder,
        ["opt"] = new JsonObject { ["recurse"] = isDeep, ["noMimeType"] = true, ["filesOnly"] = isDeep },
    };
}
