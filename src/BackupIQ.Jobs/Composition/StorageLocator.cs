using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;
using BackupIQ.Storage.Archive;
using BackupIQ.Storage.Local;

namespace BackupIQ.Jobs.Composition;

/// <summary>Finds the storage that a URL names: the one place where backends are chosen.</summary>
internal static class StorageLocator
{
    private static readonly string[] OtherSchemes = ["s3", "azblob", "gs", "gdrive", "icloud", "sftp", "rclone", "http", "https", "webdav"];

    /// <summary>Opens the storage behind its decorators; with <paramref name="create"/> its folder is made.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: the URL names no storage that this version has.</exception>
    public static AppendOnlyBackend Open(string url, bool create, RepositoryOptions? options, TimeProvider time)
    {
        IStorageBackend storage = !create && LocalPath(url) is { } path && File.Exists(path) ? ArchiveBackend.Open(path)
            : create ? LocalBackend.Create(RequireLocal(url), new LocalOptions(), time)
            : LocalBackend.Open(RequireLocal(url), new LocalOptions(), time);
        storage = options is { DownloadLimit: > 0 } ? new DownloadLimitBackend(storage, options.DownloadLimit, time) : storage;
        AppendOnlyBackend outermost = new(storage, RepositoryLayout.MaintainerPrefixes);
        if (options is { AppendOnly: true } && !create)
        {
            outermost.Close();
        }

        return outermost;
    }

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

    /// <summary>Whether something is there.</summary>
    public static bool Exists(string url) =>
        LocalPath(url) is { } path && (File.Exists(path) || HasEntries(path));

    private static string RequireLocal(string url) => LocalPath(url)
        ?? throw new BackupIQException(
            ErrorCodes.Usage, "This version keeps repositories on local disks only", "Give --repo a path or file:///path.").With("repo", url);

    private static bool HasEntries(string path) => Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any();
}
