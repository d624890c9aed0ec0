using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using BackupIQ.Storage.Remote.Http;

namespace BackupIQ.Storage.Remote.GoogleDrive;

/// <summary>
/// A folder of Google Drive as storage: <c>gdrive://folder/path</c>; <c>docs/storage/google-drive.md</c> is its manual. Every object is a file whose name is the
/// object's key, in a folder that has the key's first segment as its name.
/// </summary>
/// <remarks>
/// Names are not unique on Drive, and there is no condition on a put: where several files have one name, everybody takes the one that was made first, a listing
/// shows the key once, and a deletion deletes all. What was made a moment ago is found by its id at once, by a query only after some time; so what this client made it knows
/// by the id, and what a query for the name does not find is looked for among the newest files of the folder. Drive compares no checksum: the one that it tells of
/// afterwards is compared, and what arrived otherwise is deleted. A put that is made again uses the same id, under which Drive makes no second file.
/// </remarks>
public sealed class GoogleDriveBackend : IStorageBackend, IFolderStorage
{
    /// <summary>Up to this size a file goes in one request: Drive's documentation names 5 MB.</summary>
    internal const int LargestWhole = 5_000_000;

    /// <summary>More ids than this are not kept in memory.</summary>
    private const int MostKnown = 100_000;

    // 5 TB. Of greater numbers some servers make others.
    private const long LargestFile = 5_497_558_138_880;

    private readonly DriveOptions _options;
    private readonly DriveClient _client;
    private readonly DriveFolders _folders;
    private readonly int _largestWhole;
    private readonly ConcurrentDictionary<string, DriveFile> _known = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _unsure = new(StringComparer.Ordinal);

    private GoogleDriveBackend(DriveOptions options, DriveClient client, int largestWhole)
    {
        _options = options;
        _client = client;
        _largestWhole = largestWhole;
        _folders = new DriveFolders(client, options.Path);
        Capabilities = new StorageCapabilities { ConditionalPut = false, HasStoreClock = true, ListingLag = options.ListingLag };
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; }

    /// <inheritdoc/>
    public string Location => _options.Location;

    /// <inheritdoc/>
    public string? SpoolFolder => null;

    /// <summary>Connects, which proves that somebody has signed in and that the Drive can be read. The folder may be missing: the first put makes it.</summary>
    /// <exception cref="BackupIQException">The URL is wrong, nobody has signed in, or Drive cannot be used; which of these, and what to do, is said.</exception>
    public static Task<IStorageBackend> ConnectAsync(StorageUrl url, TimeProvider time, CancellationToken cancellationToken) =>
        ConnectAsync(url, LargestWhole, Environment.GetEnvironmentVariable, time, cancellationToken);

    /// <summary>The same, with an environment of the caller's own, and another size up to which a file goes in one request.</summary>
    internal static async Task<IStorageBackend> ConnectAsync(
        StorageUrl url, int largestWhole, Func<string, string?> environment, TimeProvider time, CancellationToken cancellationToken)
    {
        DriveOptions options = DriveOptions.Read(url, environment);
        DriveClient client = new(options, options.ReadTokens(), HttpTransport.Create(options.Endpoint, url), time);
        GoogleDriveBackend storage = new(options, client, largestWhole);
        try
        {
            await storage._folders.GetAsync(isFresh: true, cancellationToken).ConfigureAwait(false);
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
            return await PutAsync(key, content, content.GetLength(), cancellationToken).ConfigureAwait(false);
        }
        catch (StorageException e) when (e.Code == ErrorCodes.StorageObjectNotFound)
        {
            // The folder into which it should go, or what was there a moment ago.
            _folders.Forget();
            throw new StorageException(ErrorCodes.StorageConnection, $"Object {key} could not be stored: its folder, or what was there under its name, is not there any more", "Run again.", e);
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
        bool isNothing = destination.Length == 0 || offset > LargestFile;
        if (!isNothing && _known.TryGetValue(key.Value, out DriveFile? known))
        {
            if (await _client.ReadAsync(known.Id, offset, destination, what, cancellationToken).ConfigureAwait(false) is { } count)
            {
                return count;
            }

            _known.TryRemove(key.Value, out _);
        }

        int folders;
        do
        {
            folders = await CountFoldersAsync(key, isFresh: false, cancellationToken).ConfigureAwait(false);
            foreach (DriveFile file in await FindAsync(key, what, cancellationToken).ConfigureAwait(false))
            {
                if (isNothing && await _client.GetAsync(file.Id, what, cancellationToken).ConfigureAwait(false) is not null)
                {
                    return 0;
                }

                if (!isNothing && await _client.ReadAsync(file.Id, offset, destination, what, cancellationToken).ConfigureAwait(false) is { } count)
                {
                    Remember(key, file);
                    return count;
                }
            }
        }
        while (await CountFoldersAsync(key, isFresh: true, cancellationToken).ConfigureAwait(false) > folders);

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        throw new StorageException(ErrorCodes.StorageObjectNotFound, $"The storage has no object {key}.");
    }

    /// <inheritdoc/>
    public async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        if (await LookAsync(key, $"Object {key} could not be looked at", cancellationToken).ConfigureAwait(false) is { } there)
        {
            return there;
        }

        await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        return null;
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        const string What = "The storage could not be listed";
        StoragePrefix.Check(prefix);
        DriveFolders.Known folders = await _folders.GetAsync(isFresh: true, cancellationToken).ConfigureAwait(false);
        string segment = DriveFolders.SegmentOf(prefix);
        IEnumerable<string> asked = segment.Length > 0 ? folders.Of(segment) : folders.Root.Concat(folders.Below.Values.SelectMany(static ids => ids));

        // Of one name the first is shown, which may come last.
        Dictionary<string, (DriveFile File, StoredObject Object)> found = new(StringComparer.Ordinal);
        foreach (string folder in asked)
        {
            foreach (DriveFile file in await _client.FindAsync(InFolder(folder), What, isNewestFirst: false, cancellationToken).ConfigureAwait(false))
            {
                if (file.AsObject() is { } stored && file.Name.StartsWith(prefix, StringComparison.Ordinal) && (!found.TryGetValue(file.Name, out var other) || file.CompareTo(other.File) < 0))
                {
                    found[file.Name] = (file, stored);
                }
            }
        }

        if (found.Count == 0)
        {
            await RequireRootAsync(cancellationToken).ConfigureAwait(false);
        }

        foreach ((DriveFile file, StoredObject stored) in found.Values)
        {
            Remember(stored.Key, file);
            yield return stored;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be deleted";
        List<DriveFile> all = [.. await FindAsync(key, what, cancellationToken).ConfigureAwait(false)];
        if (_known.TryGetValue(key.Value, out DriveFile? known))
        {
            all.Add(known);
        }

        // The first last: as long as others are there it is the one that is seen.
        foreach (string id in all.OrderDescending().Select(static file => file.Id).Distinct(StringComparer.Ordinal))
        {
            await _client.DeleteAsync(id, what, cancellationToken).ConfigureAwait(false);
        }

        _known.TryRemove(key.Value, out _);
    }

    /// <inheritdoc/>
    public async ValueTask RemoveFolderAsync(string prefix, CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        string segment = DriveFolders.SegmentOf(prefix);
        ArgumentException.ThrowIfNullOrEmpty(segment, nameof(prefix));
        if (prefix.Length > segment.Length + 1)
        {
            // Only first segments have folders of their own.
            await foreach (StoredObject stored in ListAsync(prefix, cancellationToken).ConfigureAwait(false))
            {
                await DeleteAsync(stored.Key, cancellationToken).ConfigureAwait(false);
            }

            return;
        }

        foreach (string id in (await _folders.GetAsync(isFresh: true, cancellationToken).ConfigureAwait(false)).Of(segment))
        {
            await _client.DeleteAsync(id, $"The folder {segment} could not be removed", cancellationToken).ConfigureAwait(false);
        }

        _folders.Forget();
        foreach (string key in _known.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal)).ToArray())
        {
            _known.TryRemove(key, out _);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken)
    {
        // A shared drive counts against nobody's own quota.
        (long? limit, long? used) = _options.SharedDrive is null ? await _client.QuotaAsync("The storage's space could not be told", cancellationToken).ConfigureAwait(false) : (null, null);
        return new StorageSpace(limit, used, limit is null ? null : Math.Max(0, limit.Value - (used ?? 0)));
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        _folders.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<PutOutcome> PutAsync(StorageKey key, StorageContent content, long length, CancellationToken cancellationToken)
    {
        string what = $"Object {key} could not be stored";
        string md5 = Convert.ToHexStringLower(ContentHash.Md5(content, 0, length));
        string identity = $"{key} {md5}";
        string? folder = null;
        if (_unsure.TryGetValue(identity, out string? id))
        {
            // The end of an earlier try is not known.
            folder = await _folders.ForPutAsync(key, cancellationToken).ConfigureAwait(false);
            if (await SettleAsync(key, identity, id, folder, md5, length, what, cancellationToken).ConfigureAwait(false))
            {
                return PutOutcome.Stored;
            }

            id = _unsure.GetValueOrDefault(identity);
        }
        else if (await LookAsync(key, what, cancellationToken).ConfigureAwait(false) is { } there)
        {
            return await StoredBytes.CompareAsync(this, there, content, cancellationToken).ConfigureAwait(false);
        }

        folder ??= await _folders.ForPutAsync(key, cancellationToken).ConfigureAwait(false);
        id ??= await _client.NewIdAsync(what, cancellationToken).ConfigureAwait(false);
        _unsure[identity] = id;
        DriveFile? made = length <= _largestWhole
            ? await _client.CreateAsync(id, key.Value, folder, content, length, what, cancellationToken).ConfigureAwait(false)
            : await _client.UploadAsync(identity, id, key.Value, folder, content, length, what, cancellationToken).ConfigureAwait(false);
        if (made is not null && IsWhole(made, key, id, folder, md5, length))
        {
            _unsure.TryRemove(identity, out _);
            Remember(key, made);
            return PutOutcome.Stored;
        }

        if (await SettleAsync(key, identity, id, folder, md5, length, what, cancellationToken).ConfigureAwait(false))
        {
            return PutOutcome.Stored;
        }

        throw new StorageException(ErrorCodes.StorageConnection, $"{what}: other bytes arrived than were sent");
    }

    /// <summary>
    /// What became of a try: true where the file is there and right. What is there and not right is deleted, and its id is not used again; what is not there may be made under the same id.
    /// </summary>
    private async Task<bool> SettleAsync(StorageKey key, string identity, string id, string folder, string md5, long length, string what, CancellationToken cancellationToken)
    {
        if (await _client.GetAsync(id, what, cancellationToken).ConfigureAwait(false) is not { } there)
        {
            return false;
        }

        if (!IsWhole(there, key, id, folder, md5, length))
        {
            await _client.DeleteAsync(id, what, cancellationToken).ConfigureAwait(false);
            _unsure.TryRemove(identity, out _);
            return false;
        }

        _unsure.TryRemove(identity, out _);
        Remember(key, there);
        return true;
    }

    private static bool IsWhole(DriveFile file, StorageKey key, string id, string folder, string md5, long length) =>
        file.Id == id && file.Name == key.Value && file.Parent == folder && file.Size == length && file.Md5 == md5;

    /// <summary>The object as it is now: a query may tell of what was deleted a moment ago, or not of what was made.</summary>
    private async Task<StoredObject?> LookAsync(StorageKey key, string what, CancellationToken cancellationToken)
    {
        if (_known.TryGetValue(key.Value, out DriveFile? known))
        {
            if (await _client.GetAsync(known.Id, what, cancellationToken).ConfigureAwait(false) is { } still && still.AsObject() is { } stored && stored.Key == key)
            {
                return stored;
            }

            _known.TryRemove(key.Value, out _);
        }

        foreach (DriveFile file in await FindAsync(key, what, cancellationToken).ConfigureAwait(false))
        {
            if (await _client.GetAsync(file.Id, what, cancellationToken).ConfigureAwait(false) is { } there && there.AsObject() is { } stored && stored.Key == key)
            {
                Remember(key, there);
                return stored;
            }
        }

        return null;
    }

    // By the name; and among the newest of the folder, whose names Drive may not have in its index yet.
    private async Task<IReadOnlyList<DriveFile>> FindAsync(StorageKey key, string what, CancellationToken cancellationToken)
    {
        string segment = DriveFolders.SegmentOf(key.Value);
        IReadOnlyList<string> folders = (await _folders.GetAsync(isFresh: false, cancellationToken).ConfigureAwait(false)).Of(segment);
        if (folders.Count == 0)
        {
            folders = (await _folders.GetAsync(isFresh: true, cancellationToken).ConfigureAwait(false)).Of(segment);
        }

        string name = DriveClient.Quote(key.Value);
        List<DriveFile>[] found = await Task.WhenAll(folders.SelectMany(folder => (Task<List<DriveFile>>[])
        [
            _client.FindAsync($"name = {name} and {InFolder(folder)}", what, isNewestFirst: false, cancellationToken),
            _client.FindAsync(InFolder(folder), what, isNewestFirst: true, cancellationToken),
        ])).ConfigureAwait(false);

        // Drive compares names without regard to case; keys have one case only, but others may have put files there.
        return [.. found.SelectMany(static files => files).Where(file => file.Name == key.Value).DistinctBy(static file => file.Id).Order()];
    }

    // Somebody may have made another folder of the same name meanwhile, and put it there.
    private async Task<int> CountFoldersAsync(StorageKey key, bool isFresh, CancellationToken cancellationToken) =>
        (await _folders.GetAsync(isFresh, cancellationToken).ConfigureAwait(false)).Of(DriveFolders.SegmentOf(key.Value)).Count;

    private static string InFolder(string folder) => $"{DriveClient.Quote(folder)} in parents and mimeType != '{DriveFile.FolderType}' and trashed = false";

    // An absent object is told from a storage that is gone: a folder in the trash must not look like an empty repository.
    private async Task RequireRootAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<string> root = (await _folders.GetAsync(isFresh: false, cancellationToken).ConfigureAwait(false)).Root;
        foreach (string id in root)
        {
            if (await _client.GetAsync(id, "The storage's folder could not be looked at", cancellationToken).ConfigureAwait(false) is { IsFolder: true })
            {
                return;
            }
        }

        if (root.Count > 0)
        {
            throw StoredBytes.RootGone();
        }
    }

    private void Remember(StorageKey key, DriveFile file)
    {
        if (_known.Count < MostKnown)
        {
            _known[key.Value] = file;
        }
    }
}
