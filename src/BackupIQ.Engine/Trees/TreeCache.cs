using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// Pages of directories in a local folder, under their ids: what was read once needs not be fetched and opened again. Only a cache: it can
/// be deleted at any time, everything that it gives is checked against its id, and where it cannot be written it does nothing. The pages
/// name files in the clear, so that folder and files belong to their owner alone. Not thread-safe; several processes may share the folder.
/// </summary>
public sealed class TreeCache : IDisposable
{
    /// <summary>More files than this are made one: each look-up asks each file.</summary>
    private const int MaxFiles = 6;

    /// <summary>The pages of some hundred million entries; beyond that, nothing is added.</summary>
    private const long MaxBytes = 4L << 30;

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly string _folder;
    private readonly byte[] _idKey;
    private readonly List<TreeCacheFile> _files = [];
    private readonly HashSet<ChunkId> _used = [];
    private readonly long _size;
    private TreeCacheFile.Writer? _writer;
    private bool _keepUsedOnly;
    private bool _isBroken;

    private TreeCache(string folder, RepositoryKeys keys)
    {
        _folder = folder;
        _idKey = keys.MetadataIdKey.ToArray();
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(folder, OwnerOnly | UnixFileMode.UserExecute);
            }

            foreach (string path in Directory.EnumerateFiles(folder))
            {
                AddFile(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _isBroken = true;
        }

        _size = _files.Sum(static file => file.Size);
    }

    /// <summary>Opens the cache in <paramref name="folder"/>, which is made when it is not there.</summary>
    public static TreeCache Open(string folder, RepositoryKeys keys) => new(folder, keys);

    /// <summary>The page of this id, if it is here and whole.</summary>
    public bool TryRead(in ChunkId id, out ReadOnlyMemory<byte> page)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        foreach (TreeCacheFile file in _files)
        {
            if (file.TryRead(id, out byte[] bytes))
            {
                Blake3.HashKeyed(_idKey, bytes, digest);
                if (ChunkId.Read(digest) == id)
                {
                    page = bytes;
                    _used.Add(id);
                    return true;
                }
            }
        }

        page = default;
        return false;
    }

    /// <summary>Keeps a page that was read elsewhere, and checked there.</summary>
    public void Add(in ChunkId id, ReadOnlySpan<byte> page)
    {
        if (_isBroken || _size + (_writer?.Length ?? 0) + page.Length > MaxBytes || !_used.Add(id))
        {
            return;
        }

        try
        {
            _writer ??= new TreeCacheFile.Writer(NewPath());
            _writer.Add(id, page);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _isBroken = true;
        }
    }

    /// <summary>
    /// Says that all pages of all snapshots were asked for since the cache was opened: the others belong to snapshots that were forgotten,
    /// and go when it is closed.
    /// </summary>
    public void KeepUsedOnly() => _keepUsedOnly = true;

    /// <summary>Closes the cache; what was added is there for the next.</summary>
    public void Dispose()
    {
        try
        {
            long known = _files.Sum(static file => (long)file.Count);
            bool hasUnused = _keepUsedOnly && known + (_writer?.Count ?? 0) > _used.Count;
            if (!_isBroken && (hasUnused || _files.Count + (_writer is null ? 0 : 1) > MaxFiles))
            {
                Rewrite(hasUnused);
            }

            _writer?.Finish();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _isBroken = true;
        }

        _writer?.Dispose();
        foreach (TreeCacheFile file in _files)
        {
            file.Dispose();
        }
    }

    private static void DeleteQuietly(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What stays is looked at again next time.
        }
    }

    private string NewPath() => Path.Combine(_folder, SessionId.New() + TreeCacheFile.Ending);

    private void AddFile(string path)
    {
        if (path.EndsWith(TreeCacheFile.Ending, StringComparison.Ordinal))
        {
            try
            {
                _files.Add(TreeCacheFile.Open(path));
                return;
            }
            catch (FileNotFoundException)
            {
                // Another process made one of several meanwhile.
                return;
            }
            catch (Exception e) when (e is CorruptDataException or IOException or UnauthorizedAccessException)
            {
                // What cannot be used is fetched again.
            }
        }
        else if (!TreeCacheFile.Writer.IsAbandoned(path))
        {
            return;
        }

        DeleteQuietly(path);
    }

    // Copies what is to stay into one new file, and then removes the others.
    private void Rewrite(bool usedOnly)
    {
        _writer ??= new TreeCacheFile.Writer(NewPath());
        foreach (TreeCacheFile file in _files)
        {
            foreach (ChunkId id in file.Ids())
            {
                if ((!usedOnly || _used.Contains(id)) && !_writer.Contains(id) && file.TryRead(id, out byte[] page))
                {
                    _writer.Add(id, page);
                }
            }
        }

        _writer.Finish();
        foreach (TreeCacheFile file in _files)
        {
            DeleteQuietly(file.Path);
        }
    }
}
