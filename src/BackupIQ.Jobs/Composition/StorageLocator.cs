using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;
using BackupIQ.Storage.Archive;
using BackupIQ.Storage.Local;
using BackupIQ.Storage.Resilience;

namespace BackupIQ.Jobs.Composition;

/// <summary>Finds the storage that a URL names, and stacks its decorators: the one place for both. What is not local is in <see cref="RemoteStorage"/> and <see cref="ResilientStorage"/>.</summary>
internal static class StorageLocator
{
    // Without "://": what else looks like a path, however odd, is one.
    private static readonly string[] OtherSchemes = ["s3", "azblob", "gs", "gdrive", "icloud", "sftp", "rclone", "http", "https", "webdav", "webdavs"];

    /// <summary>Opens the storage behind its decorators; with <paramref name="create"/> its folder is made where it is a local one.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL names no storage that this version has; or it cannot be reached.</exception>
    public static async Task<AppendOnlyBackend> OpenAsync(
        string url, bool create, RepositoryOptions? options, TimeProvider time, CancellationToken cancellationToken)
    {
        RepositoryOptions use = options ?? new RepositoryOptions();
        AppendOnlyBackend? outermost = null;
        IStorageBackend storage = use.Mirrors.Count == 0
            ? await OpenOneAsync(url, create, use, time, cancellationToken).ConfigureAwait(false)
            : await MirroredStorage.OpenAsync(url, create, use, () => outermost is { IsClosed: false }, time, cancellationToken).ConfigureAwait(false);
        outermost = new AppendOnlyBackend(storage, RepositoryLayout.MaintainerPrefixes);
        if (options is { AppendOnly: true } && !create)
        {
            outermost.Close();
        }

        return outermost;
    }

    /// <summary>Opens one storage behind what makes it bearable, without its mirrors.</summary>
    /// <exception cref="BackupIQException">As <see cref="OpenAsync"/>.</exception>
    public static async Task<IStorageBackend> OpenOneAsync(string url, bool create, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken) =>
        LocalPath(url) is { } path
            ? StorageStack.Throttled(OpenLocal(path, create, use, time), use.UploadLimit, use.DownloadLimit, time)
            : WithSpool(await ResilientStorage.ConnectAsync(url, use, time, cancellationToken).ConfigureAwait(false), use.CacheFolder);

    /// <summary>Opens the storage as it is, with nothing between it and the caller.</summary>
    /// <exception cref="BackupIQException">As <see cref="OpenAsync"/>; an export is no storage to write to.</exception>
    public static async Task<IStorageBackend> OpenPlainAsync(string url, RepositoryOptions use, TimeProvider time, CancellationToken cancellationToken) =>
        LocalPath(url) is { } path ? OpenLocal(path, create: false, use, time) : await RemoteStorage.ConnectAsync(url, use, time, cancellationToken).ConfigureAwait(false);

    /// <summary>The absolute path on this machine's own file system, or null when the URL names another storage.</summary>
    public static string? LocalPath(string url)
    {
        if (url.StartsWith("file://", StringComparison.Ordinal))
        {
            string path = Uri.UnescapeDataString(url["file://".Length..]);
            return path.StartsWith('/') ? Path.GetFullPath(path) : null;
        }

        int colon = url.IndexOf(':');
        bool isOther = colon > 0 && OtherSchemes.Contains(url[..colon], StringComparer.OrdinalIgnoreCase);
        return url.Length == 0 || isOther || url.Contains("://", StringComparison.Ordinal) ? null : Path.GetFullPath(url);
    }

    /// <summary>Whether something is at a local path.</summary>
    public static bool ExistsAt(string path) => File.Exists(path) || HasEntries(path);

    /// <summary>
    /// Takes away a folder that was made for a repository which did not come about, so that the next try finds its place free: when a key service
    /// refuses, say. Folders with anything in them stay.
    /// </summary>
    public static void RemoveEmpty(string? path)
    {
        try
        {
            foreach (string folder in path is null || !Directory.Exists(path) ? [] : Directory.GetDirectories(path).Append(path))
            {
                Directory.Delete(folder);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Something is in it.
        }
    }

    /// <summary>Whether something is there. A storage that cannot be reached is a failure.</summary>
    public static async Task<bool> ExistsAsync(string url, TimeProvider time, CancellationToken cancellationToken)
    {
        if (LocalPath(url) is { } path)
        {
            return ExistsAt(path);
        }

        await using AppendOnlyBackend storage = await OpenAsync(url, create: false, null, time, cancellationToken).ConfigureAwait(false);
        await foreach (StoredObject _ in storage.ListAsync("", cancellationToken).ConfigureAwait(false))
        {
            return true;
        }

        return false;
    }

    private static IStorageBackend OpenLocal(string path, bool create, RepositoryOptions use, TimeProvider time)
    {
        LocalOptions options = new() { ListingLag = use.ListingLag };
        return create ? LocalBackend.Create(path, options, time)
            : File.Exists(path) ? ArchiveBackend.Open(path)
            : LocalBackend.Open(path, options, time);
    }

    // In the cache, which is its owner's alone, by the storage's name, so that the next session finds what a killed one left there. Without a cache every session has its own.
    private static IStorageBackend WithSpool(IStorageBackend storage, string? cacheFolder)
    {
        if (cacheFolder is null)
        {
            return storage;
        }

        string name = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(storage.Location)))[..16];
        string folder = Path.Combine(cacheFolder, "spool", name);
        try
        {
            Directory.CreateDirectory(folder);
            return new SpoolBackend(storage, folder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // As without a cache.
            return storage;
        }
    }

    private static bool HasEntries(string path) => Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any();
}
