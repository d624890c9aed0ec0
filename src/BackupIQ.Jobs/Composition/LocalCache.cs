using BackupIQ.Repository;

namespace BackupIQ.Jobs.Composition;

/// <summary>
/// The local cache of one repository while it is open: the index as maps, and pages of folders. When it is closed the caches of all repositories are brought
/// under their limit: what was used the longest ago goes first, and what any process of this machine has open stays.
/// </summary>
/// <remarks>
/// Below the cache's folder each repository has a folder named by its id. A file in there says by a shared lock of the system that it is in use, and by its
/// time when it was so last. Should something be removed all the same, as when somebody deletes the cache, it costs time and nothing else.
/// </remarks>
internal sealed class LocalCache : IDisposable
{
    private const string UseMark = "in-use";

    // Pages of folders go before the index: without them 'find' is slower, without the index every verb is.
    private static readonly string[] Parts = ["trees", "logs", "index"];

    private readonly string _folder;
    private readonly string _own;
    private readonly long _limit;
    private readonly TimeProvider _time;
    private readonly FileStream _mark;

    private LocalCache(string folder, string own, long limit, TimeProvider time)
    {
        _folder = folder;
        _own = own;
        _limit = limit;
        _time = time;
        string path = Path.Combine(own, UseMark);
        File.AppendAllBytes(path, []);
        _mark = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
    }

    /// <summary>Says that a repository's cache is in use, until this is disposed.</summary>
    /// <param name="folder">The folder of all caches; null: none is kept.</param>
    /// <param name="repository">Whose cache.</param>
    /// <param name="limit">Bytes of all caches together.</param>
    /// <param name="time">Says when it was used.</param>
    /// <returns>Null where there is no cache, or it cannot be marked: then it is not limited either.</returns>
    public static LocalCache? Use(string? folder, RepositoryId repository, long limit, TimeProvider time)
    {
        if (folder is null)
        {
            return null;
        }

        try
        {
            string own = Path.Combine(folder, repository.ToString());
            if (!OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(own, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }

            return new LocalCache(folder, own, limit, time);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>The repository is closed: its cache was used until now, and all caches are limited.</summary>
    public void Dispose()
    {
        _mark.Dispose();
        try
        {
            File.SetLastWriteTimeUtc(Path.Combine(_own, UseMark), _time.GetUtcNow().UtcDateTime);
            Limit();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next one who closes a repository does it.
        }
    }

    private void Limit()
    {
        (string Folder, FileInfo[] Files)[] caches = [.. Directory.EnumerateDirectories(_folder)
            .Where(static folder => RepositoryId.TryParse(Path.GetFileName(folder), out _))
            .OrderBy(static folder => File.GetLastWriteTimeUtc(Path.Combine(folder, UseMark)))
            .Select(static folder => (folder, FilesOf(folder)))];
        long size = caches.Sum(static cache => cache.Files.Sum(static file => file.Length));
        foreach ((string folder, FileInfo[] files) in caches)
        {
            if (size <= _limit)
            {
                return;
            }

            size -= Free(folder, files, size - _limit);
        }
    }

    /// <summary>Removes files until so many bytes are free, unless somebody uses them; returns how many are.</summary>
    private static long Free(string folder, FileInfo[] files, long bytes)
    {
        long freed = 0;
        try
        {
            using FileStream alone = new(Path.Combine(folder, UseMark), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
            foreach (FileInfo file in files)
            {
                if (freed >= bytes)
                {
                    break;
                }

                long length = file.Length;
                file.Delete();
                freed += length;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody has it open.
        }

        return freed;
    }

    // In the order in which they may go: the oldest first.
    private static FileInfo[] FilesOf(string folder) =>
        [.. Parts.Select(part => new DirectoryInfo(Path.Combine(folder, part))).Where(static part => part.Exists)
            .SelectMany(static part => part.EnumerateFiles().OrderBy(static file => file.LastWriteTimeUtc))];
}
