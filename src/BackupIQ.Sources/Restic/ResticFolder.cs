using BackupIQ.Primitives;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// The files of a restic repository in a folder of this machine, in today's layout or in that which restic once had for S3. They are only read.
/// Any thread may read.
/// </summary>
internal sealed class ResticFolder : IDisposable
{
    /// <summary>Neighbouring files lie in few packs.</summary>
    private const int OpenPacks = 16;

    private readonly string _root;
    private readonly bool _isOldLayout;
    private readonly Lock _gate = new();
    private readonly Dictionary<ResticId, SafeFileHandle> _handles = [];
    private readonly Queue<ResticId> _opened = new();
    private volatile bool _isDisposed;

    /// <summary>Looks whether a repository is there.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.RepositoryNotFound"/>: none is.</exception>
    public ResticFolder(string root)
    {
        _root = Path.GetFullPath(root);
        _isOldLayout = !Directory.Exists(Path.Join(_root, "keys")) && Directory.Exists(Path.Join(_root, "key"));
        if (!File.Exists(Path.Join(_root, "config")) || !Directory.Exists(Path.Join(_root, KeyFolder)))
        {
            throw new BackupIQException(ErrorCodes.RepositoryNotFound, "There is no restic repository", "Name the folder that holds its 'config' and 'keys'.")
                .With("location", _root);
        }
    }

    /// <summary>Where it is.</summary>
    public string Location => _root;

    /// <summary>The name of the folder of keys.</summary>
    public string KeyFolder => _isOldLayout ? "key" : "keys";

    /// <summary>The name of the folder of snapshots.</summary>
    public string SnapshotFolder => _isOldLayout ? "snapshot" : "snapshots";

    /// <summary>The files of a folder whose names are ids, sorted; with <paramref name="below"/> also of the folders in it.</summary>
    public IReadOnlyList<ResticId> List(string folder, bool below = false)
    {
        try
        {
            List<ResticId> ids = [];
            DirectoryInfo directory = new(Path.Join(_root, folder));
            if (directory.Exists)
            {
                EnumerationOptions options = new() { RecurseSubdirectories = below, MaxRecursionDepth = 1, IgnoreInaccessible = false, AttributesToSkip = 0 };
                foreach (FileInfo file in directory.EnumerateFiles("*", options))
                {
                    if (ResticId.TryParse(file.Name, out ResticId id))
                    {
                        ids.Add(id);
                    }
                }
            }

            ids.Sort(static (a, b) => string.CompareOrdinal(a.ToString(), b.ToString()));
            return ids;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(folder, e);
        }
    }

    /// <summary>A whole file.</summary>
    /// <exception cref="ResticDamageException">It is not there, or longer than it may be.</exception>
    public byte[] Read(string path, long atMost)
    {
        try
        {
            using SafeFileHandle handle = File.OpenHandle(Path.Join(_root, path));
            long length = RandomAccess.GetLength(handle);
            if (length > atMost)
            {
                throw new ResticDamageException($"{path} of the restic repository is longer than it can be.");
            }

            byte[] bytes = new byte[length];
            return ReadFully(handle, 0, bytes) ? bytes : throw new ResticDamageException($"{path} of the restic repository ended while it was read.");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new ResticDamageException($"{path} of the restic repository is not there.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(path, e);
        }
    }

    /// <summary>Fills <paramref name="destination"/> from a pack; false where the pack ends before.</summary>
    /// <exception cref="ResticDamageException">It is not there, or cannot be read.</exception>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.StorageConnection"/>: nothing is there any more.</exception>
    public bool ReadPack(ResticId pack, long offset, Span<byte> destination) => OnPack(pack, destination, (handle, span) => ReadFully(handle, offset, span));

    /// <summary>Bytes of a pack.</summary>
    /// <exception cref="ResticDamageException">It is not there.</exception>
    public long PackLength(ResticId pack) => OnPack(pack, [], static (handle, _) => RandomAccess.GetLength(handle));

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            foreach (SafeFileHandle handle in _handles.Values)
            {
                handle.Dispose();
            }

            _handles.Clear();
            _opened.Clear();
        }
    }

    private static bool ReadFully(SafeFileHandle handle, long offset, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            int read = RandomAccess.Read(handle, destination, offset);
            if (read == 0)
            {
                return false;
            }

            destination = destination[read..];
            offset += read;
        }

        return true;
    }

    private T OnPack<T>(ResticId pack, Span<byte> destination, PackAction<T> action)
    {
        while (true)
        {
            try
            {
                return action(Open(pack), destination);
            }
            catch (ObjectDisposedException) when (!_isDisposed)
            {
                // Other packs pushed it out in between.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // One pack that is gone or lies on a bad sector costs its files. A storage that is gone costs the run: a snapshot without all of
                // its files would say that they are damaged.
                throw File.Exists(Path.Join(_root, "config"))
                    ? new ResticDamageException($"Pack {pack.Short} of the restic repository is not there or cannot be read.", e)
                    : Unreadable($"pack {pack.Short}", e);
            }
        }
    }

    private SafeFileHandle Open(ResticId pack)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            if (_handles.TryGetValue(pack, out SafeFileHandle? known))
            {
                return known;
            }

            string name = pack.ToString();
            string path = Path.Join(_root, "data", name[..2], name);
            SafeFileHandle handle = File.OpenHandle(_isOldLayout && !File.Exists(path) ? Path.Join(_root, "data", name) : path);
            if (_opened.Count == OpenPacks && _handles.Remove(_opened.Dequeue(), out SafeFileHandle? oldest))
            {
                oldest.Dispose();
            }

            _handles.Add(pack, handle);
            _opened.Enqueue(pack);
            return handle;
        }
    }

    private BackupIQException Unreadable(string what, Exception cause) =>
        new BackupIQException(ErrorCodes.StorageConnection, "The restic repository cannot be read", "Check that it is mounted, and that you may read all of it.", cause)
            .With("location", _root).With("object", what).With("reason", cause.Message);

    private delegate T PackAction<T>(SafeFileHandle handle, Span<byte> destination);
}
