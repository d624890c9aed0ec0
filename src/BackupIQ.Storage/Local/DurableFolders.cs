using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage.Local;

/// <summary>
/// The folders under a root, made when needed, and their names and contents made durable with no more syncs than that takes: a folder's
/// own name is synced once in this object's life, and one sync serves all who waited for it.
/// </summary>
internal sealed class DurableFolders(string root)
{
    private const uint OwnerOnly = 0x1C0;

    private readonly ConcurrentDictionary<string, Folder> _known = new(StringComparer.Ordinal) { [""] = new Folder() };

    /// <summary>Syncs that reached the system: for tests.</summary>
    internal long SyncCount => Interlocked.Read(ref _syncCount);

    private long _syncCount;

    /// <summary>Makes a folder and those above it, down from the root, which must be there. When it returns they survive a crash.</summary>
    internal void Ensure(string folder)
    {
        if (_known.ContainsKey(folder))
        {
            return;
        }

        string parent = ParentOf(folder);
        Ensure(parent);
        string path = Path.Join(root, folder);
        int error = Libc.MakeFolder(path, OwnerOnly);
        if (error is not (0 or Libc.EEXIST))
        {
            throw error == Libc.ENOENT && !Directory.Exists(root)
                ? LocalFailure.NoRoot(root)
                : LocalFailure.For(error, $"The folder {folder} could not be made", path);
        }

        // A folder that is there already may be another process's, not durable yet. One sync of the parent settles it for all siblings.
        string[] siblings = error == Libc.EEXIST ? SiblingsIn(parent) : [];
        Sync(parent);
        _known.TryAdd(folder, new Folder());
        foreach (string sibling in siblings)
        {
            _known.TryAdd(sibling, new Folder());
        }
    }

    /// <summary>Forgets a folder that turned out to be gone.</summary>
    internal void Forget(string folder)
    {
        for (; folder.Length != 0; folder = ParentOf(folder))
        {
            _known.TryRemove(folder, out _);
        }
    }

    /// <summary>Makes durable what was renamed into, linked into or removed from a folder before the call.</summary>
    internal void Sync(string folder)
    {
        // Forgotten meanwhile: then it must not count as known just because its contents are synced.
        Folder state = _known.TryGetValue(folder, out Folder? known) ? known : new Folder();
        long ticket = Interlocked.Increment(ref state.Arrived);
        lock (state)
        {
            if (state.Synced >= ticket)
            {
                return;
            }

            long covered = Interlocked.Read(ref state.Arrived);
            SyncNow(folder, Path.Join(root, folder));
            state.Synced = covered;
        }
    }

    /// <summary>Makes durable the names in any folder.</summary>
    internal static int SyncPath(string path)
    {
        int error = Libc.Open(path, Libc.ReadOnly, out SafeFileHandle? handle);
        if (error == 0)
        {
            using (handle)
            {
                error = Libc.Sync(handle!);
            }
        }

        // Some network file systems cannot sync a folder: there the server answers for names.
        return error is Libc.EINVAL or Libc.ENOTSUP ? 0 : error;
    }

    internal static string ParentOf(string path)
    {
        int slash = path.LastIndexOf('/');
        return slash < 0 ? "" : path[..slash];
    }

    private void SyncNow(string folder, string path)
    {
        Interlocked.Increment(ref _syncCount);
        int error = SyncPath(path);
        if (error != 0)
        {
            throw error == Libc.ENOENT && !Directory.Exists(root)
                ? LocalFailure.NoRoot(root)
                : LocalFailure.For(error, $"The folder {(folder.Length == 0 ? "of the storage" : folder)} could not be made durable", path);
        }
    }

    private string[] SiblingsIn(string parent)
    {
        string path = Path.Join(root, parent);
        try
        {
            return [.. Directory.EnumerateDirectories(path).Select(d => Path.GetFileName(d)).Select(n => parent.Length == 0 ? n : $"{parent}/{n}")];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Only a saving is lost: each sibling is then synced when it is first used.
            return [];
        }
    }

    private sealed class Folder
    {
        /// <summary>Those who asked for a sync so far.</summary>
        public long Arrived;

        /// <summary>Those of them whom a sync has served; guarded by the folder's lock.</summary>
        public long Synced { get; set; }
    }
}
