using System.Buffers;
using System.IO.Enumeration;
using System.Runtime.CompilerServices;
using BackupIQ.Primitives;
using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Storage.Local;

/// <summary>
/// A folder as storage: every object is a file under its key's path. Folders are made 0700 and files 0600.
/// </summary>
/// <remarks>
/// A put writes a file in <see cref="SpoolFolder"/> (or takes one that is there), syncs it, renames it to its place unless that is taken,
/// and syncs the folder: at no moment is there a part of an object under its name, and when the put returns both survive a crash of the
/// machine. What a killed process leaves in the spool begins with 32 random hex digits. The folder <c>tmp</c> is no part of the key space.
/// When the folder itself cannot be made durable after the rename, the put fails though the object can be seen, like a put whose answer
/// was lost; the same put again settles it. Objects are compared byte by byte when a key is taken.
/// </remarks>
public sealed class LocalBackend : IStorageBackend, IFolderStorage
{
    private const string SpoolName = "tmp";
    private const int OwnerOnlyFile = 0x180;
    private const int OwnerOnlyFolder = 0x1C0;
    private const int CopyBufferSize = 1024 * 1024;

    /// <summary>Reads up to this size are made on the caller's thread: handing them to another costs more than they do.</summary>
    private const int ShortRead = 256 * 1024;

    /// <summary>A restore or a check reads from few packs at once; the limit of open files is 1,024 by default.</summary>
    private const int OpenHandles = 32;

    private readonly string _root;
    private readonly Publication _publication;
    private readonly Action? _beforePublishing;
    private readonly DurableFolders _folders;
    private readonly HandleCache _handles;

    private LocalBackend(string root, Publication publication, LocalOptions options, TimeProvider time, Action? beforePublishing)
    {
        _root = root;
        _publication = publication;
        _beforePublishing = beforePublishing;
        _folders = new DurableFolders(root);
        _handles = new HandleCache(OpenHandles, time);
        SpoolFolder = Path.Join(root, SpoolName);
        NetworkMount? mount = NetworkMount.At(root);
        Capabilities = new StorageCapabilities
        {
            ConditionalPut = publication != Publication.CheckAndRename,
            IsLocal = mount is null,
            HasStoreClock = mount is not null && FileSystemKinds.Of(Libc.FileSystemType(root)) == FileSystemKind.Network,
            ListingLag = options.ListingLag ?? mount?.ListingLag ?? TimeSpan.Zero,
            Mount = mount?.ToString(),
        };
    }

    /// <summary>How a finished file gets its name, from best to worst.</summary>
    internal enum Publication
    {
        /// <summary>renameat2 with RENAME_NOREPLACE.</summary>
        RenameNoReplace,

        /// <summary>link, then unlink of the old name: what NFS has.</summary>
        LinkAndUnlink,

        /// <summary>Neither is there: look, then rename. Two clients at once may both believe they were first.</summary>
        CheckAndRename,
    }

    /// <inheritdoc/>
    public StorageCapabilities Capabilities { get; }

    /// <inheritdoc/>
    public string Location => _root;

    /// <inheritdoc/>
    public string SpoolFolder { get; }

    /// <summary>Folder syncs so far: for tests.</summary>
    internal long FolderSyncs => _folders.SyncCount;

    /// <summary>Makes the folder, durably and with what is missing above it, where it is not there yet, and opens it.</summary>
    /// <exception cref="StorageException">It could not be made or opened.</exception>
    public static LocalBackend Create(string root, LocalOptions options, TimeProvider time)
    {
        root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(root));
        MakeDurably(root);
        return Open(root, options, time);
    }

    /// <summary>Opens a folder that is there.</summary>
    /// <exception cref="StorageException">With <c>StorageConnection</c> when it is not there.</exception>
    public static LocalBackend Open(string root, LocalOptions options, TimeProvider time) => Open(root, options, time, null);

    /// <summary>
    /// For tests: uses <paramref name="publication"/> instead of finding out, and calls <paramref name="beforePublishing"/> when a put's
    /// file is finished and about to get its name: the moment at which a rival may be first.
    /// </summary>
    internal static LocalBackend Open(
        string root, LocalOptions options, TimeProvider time, Publication? publication, Action? beforePublishing = null)
    {
        root = Path.TrimEndingDirectorySeparator(Path.GetFullPath(root));
        if (!Directory.Exists(root))
        {
            throw LocalFailure.NoRoot(root);
        }

        // Where this fails, the storage is read-only or the first put says what is wrong.
        _ = Libc.MakeFolder(Path.Join(root, SpoolName), OwnerOnlyFolder);
        return new LocalBackend(root, publication ?? FindPublication(root), options, time, beforePublishing);
    }

    /// <inheritdoc/>
    public ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        CheckKey(key);

        // Not cancelled before it starts: a file given has to be taken care of in any case.
        return new ValueTask<PutOutcome>(Task.Run(() => Put(key, content, cancellationToken), CancellationToken.None));
    }

    /// <inheritdoc/>
    public ValueTask<int> ReadAsync(StorageKey key, long offset, Memory<byte> destination, CancellationToken cancellationToken)
    {
        CheckKey(key);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        cancellationToken.ThrowIfCancellationRequested();
        return destination.Length <= ShortRead
            ? ValueTask.FromResult(Read(key, offset, destination.Span))
            : new ValueTask<int>(Task.Run(() => Read(key, offset, destination.Span), cancellationToken));
    }

    /// <inheritdoc/>
    public ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
    {
        CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        return ValueTask.FromResult(Stat(key));
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<StoredObject> ListAsync(string prefix, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        Stack<string> folders = new([prefix.TrimEnd('/')]);
        while (folders.TryPop(out string? folder))
        {
            cancellationToken.ThrowIfCancellationRequested();
            (List<StoredObject> objects, List<string> below) = await Task.Run(() => ListFolder(folder), cancellationToken);
            below.ForEach(folders.Push);
            foreach (StoredObject item in objects)
            {
                yield return item;
            }
        }
    }

    /// <inheritdoc/>
    public ValueTask DeleteAsync(StorageKey key, CancellationToken cancellationToken)
    {
        CheckKey(key);
        cancellationToken.ThrowIfCancellationRequested();
        _handles.Forget(key.Value);
        string path = PathOf(key);

        // Not synced: an object that comes back after a crash is deleted again, and nothing relies on its absence.
        int error = Libc.Unlink(path);
        if (IsAbsent(error))
        {
            RequireRoot();
            return ValueTask.CompletedTask;
        }

        return error == 0 ? ValueTask.CompletedTask : throw LocalFailure.For(error, $"The object {key} could not be deleted", path);
    }

    /// <inheritdoc/>
    public ValueTask<StorageSpace> GetSpaceAsync(CancellationToken cancellationToken)
    {
        RequireRoot();
        try
        {
            DriveInfo drive = new(_root);
            return ValueTask.FromResult(new StorageSpace(drive.TotalSize, drive.TotalSize - drive.TotalFreeSpace, drive.AvailableFreeSpace));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw LocalFailure.For(ErrnoOf(e), "The storage's space could not be told", _root);
        }
    }

    /// <inheritdoc/>
    public async ValueTask RemoveFolderAsync(string prefix, CancellationToken cancellationToken)
    {
        StoragePrefix.Check(prefix);
        ArgumentException.ThrowIfNullOrEmpty(prefix);
        string folder = prefix.TrimEnd('/');
        string path = Path.Join(_root, folder);
        try
        {
            await Task.Run(() => Directory.Delete(path, recursive: true), cancellationToken);
        }
        catch (DirectoryNotFoundException)
        {
            RequireRoot();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw LocalFailure.For(ErrnoOf(e), $"The folder {folder} could not be removed", path);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _handles.Dispose();
        return ValueTask.CompletedTask;
    }

    private PutOutcome Put(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        string? temporary = null;
        try
        {
            cancellationToken.ThrowIfCancellationRequested();
            string target = PathOf(key);
            string folder = DurableFolders.ParentOf(key.Value);
            if (Libc.Stat(target, out _) == 0 && Compare(key, content) is { } known)
            {
                return known;
            }

            _folders.Ensure(folder);
            if (content.File is { } file && IsInSpool(file))
            {
                temporary = content.IsLent ? LinkOf(key, content, cancellationToken) : file;
                SyncFile(key, temporary);
            }
            else
            {
                temporary = NewTemporary();
                Write(key, content, temporary, cancellationToken);
            }

            _beforePublishing?.Invoke();
            int error = Publish(temporary, target);
            if (error == Libc.ENOENT)
            {
                // Somebody removed the empty folder.
                RequireRoot();
                _folders.Forget(folder);
                _folders.Ensure(folder);
                error = Publish(temporary, target);
            }

            if (error == Libc.EEXIST)
            {
                return Compare(key, StorageContent.FromFile(temporary))
                    ?? throw new StorageException(ErrorCodes.Storage, $"The object {key} was deleted while it was put.", "Run again.");
            }

            if (error != 0)
            {
                throw LocalFailure.For(error, $"The object {key} could not be put in its place", target);
            }

            temporary = null;
            _folders.Sync(folder);
            return PutOutcome.Stored;
        }
        finally
        {
            // After a rename these names are gone, which is as good.
            Discard(temporary);
            Discard(content.IsLent ? null : content.File);
        }
    }

    // A lent file gets a second name, which is then taken; where there are no links it is copied.
    private string LinkOf(StorageKey key, StorageContent content, CancellationToken cancellationToken)
    {
        string temporary = NewTemporary();
        if (Libc.Link(content.File!, temporary) != 0)
        {
            Write(key, content, temporary, cancellationToken);
        }

        return temporary;
    }

    private string NewTemporary() => Path.Join(SpoolFolder, $"{SessionId.New()}.put");

    private int Publish(string from, string to)
    {
        switch (_publication)
        {
            case Publication.RenameNoReplace:
                return Libc.RenameNoReplace(from, to);
            case Publication.LinkAndUnlink:
                int error = Libc.Link(from, to);
                if (error == 0)
                {
                    Discard(from);
                }

                return error;
            default:
                return Libc.Stat(to, out _) == 0 ? Libc.EEXIST : Libc.Rename(from, to);
        }
    }

    /// <summary>
    /// What a put of a taken key comes to, or null when the object has just vanished. The folder is synced, because whoever put it may
    /// have been killed before doing so.
    /// </summary>
    private PutOutcome? Compare(StorageKey key, StorageContent content)
    {
        string path = PathOf(key);
        int error = Libc.Open(path, Libc.ReadOnly, out SafeFileHandle? there);
        if (error == Libc.ENOENT)
        {
            return null;
        }

        if (error != 0)
        {
            throw LocalFailure.For(error, $"The object {key}, which is there already, could not be read", path);
        }

        using (there)
        {
            if (!HasBytes(key, there!, content))
            {
                return PutOutcome.AlreadyThere;
            }
        }

        _folders.Ensure(DurableFolders.ParentOf(key.Value));
        _folders.Sync(DurableFolders.ParentOf(key.Value));
        return PutOutcome.Stored;
    }

    private bool HasBytes(StorageKey key, SafeFileHandle there, StorageContent content)
    {
        SafeFileHandle? source = null;
        byte[] ours = [];
        byte[] theirs = ArrayPool<byte>.Shared.Rent(CopyBufferSize);
        try
        {
            if (content.File is { } file)
            {
                source = OpenSource(key, file);
                ours = ArrayPool<byte>.Shared.Rent(CopyBufferSize);
            }

            long length = source is null ? content.Bytes.Length : RandomAccess.GetLength(source);
            if (RandomAccess.GetLength(there) != length)
            {
                return false;
            }

            for (long offset = 0; offset < length; offset += CopyBufferSize)
            {
                int count = (int)Math.Min(CopyBufferSize, length - offset);
                ReadFully(there, theirs.AsSpan(0, count), offset, $"The object {key}", PathOf(key));
                if (source is not null)
                {
                    ReadFully(source, ours.AsSpan(0, count), offset, $"The file that is to become {key}", content.File!);
                }

                ReadOnlySpan<byte> expected = source is null ? content.Bytes.Span.Slice((int)offset, count) : ours.AsSpan(0, count);
                if (!expected.SequenceEqual(theirs.AsSpan(0, count)))
                {
                    return false;
                }
            }

            return true;
        }
        finally
        {
            source?.Dispose();
            ArrayPool<byte>.Shared.Return(theirs);
            if (ours.Length != 0)
            {
                ArrayPool<byte>.Shared.Return(ours);
            }
        }
    }

    private void Write(StorageKey key, StorageContent content, string temporary, CancellationToken cancellationToken)
    {
        const int Flags = Libc.WriteOnly | Libc.Create | Libc.Exclusive;
        int error = Libc.Open(temporary, Flags, out SafeFileHandle? file, OwnerOnlyFile);
        if (error == Libc.ENOENT)
        {
            RequireRoot();
            _folders.Forget(SpoolName);
            _folders.Ensure(SpoolName);
            error = Libc.Open(temporary, Flags, out file, OwnerOnlyFile);
        }

        if (error == 0)
        {
            using (file)
            {
                error = content.File is { } source
                    ? Copy(key, source, file!, cancellationToken)
                    : Libc.Write(file!, content.Bytes.Span, 0);
                if (error == 0)
                {
                    error = Libc.Sync(file!);
                }
            }
        }

        if (error != 0)
        {
            Discard(temporary);
            throw LocalFailure.For(error, $"The object {key} could not be written", temporary);
        }
    }

    private static int Copy(StorageKey key, string from, SafeFileHandle to, CancellationToken cancellationToken)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent(CopyBufferSize);
        try
        {
            using SafeFileHandle source = OpenSource(key, from);
            for (long offset = 0; ;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int error = Libc.Read(source, buffer.AsSpan(0, CopyBufferSize), offset, out int count);
                if (error != 0)
                {
                    throw LocalFailure.For(error, $"The file that is to become {key} could not be read", from);
                }

                error = Libc.Write(to, buffer.AsSpan(0, count), offset);
                if (error != 0 || count < CopyBufferSize)
                {
                    return error;
                }

                offset += count;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static void SyncFile(StorageKey key, string path)
    {
        int error = Libc.Open(path, Libc.WriteOnly, out SafeFileHandle? file);
        if (error == 0)
        {
            using (file)
            {
                // Where modes are the mount's, this fails and does not matter.
                _ = Libc.SetMode(file!, OwnerOnlyFile);
                error = Libc.Sync(file!);
            }
        }

        if (error != 0)
        {
            throw LocalFailure.For(error, $"The file that is to become {key} could not be made durable", path);
        }
    }

    private static SafeFileHandle OpenSource(StorageKey key, string path)
    {
        int error = Libc.Open(path, Libc.ReadOnly, out SafeFileHandle? source);
        return error == 0 ? source! : throw LocalFailure.For(error, $"The file that is to become {key} could not be opened", path);
    }

    private static void ReadFully(SafeFileHandle file, Span<byte> destination, long offset, string subject, string path)
    {
        int error = Libc.Read(file, destination, offset, out int count);
        if (error != 0 || count != destination.Length)
        {
            throw LocalFailure.For(error == 0 ? Libc.EIO : error, $"{subject} could not be read", path);
        }
    }

    private int Read(StorageKey key, long offset, Span<byte> destination)
    {
        SafeFileHandle? file = _handles.Borrow(key.Value);
        string path = PathOf(key);
        int error;
        if (file is null)
        {
            error = Libc.Open(path, Libc.ReadOnly, out file);
            if (error != 0)
            {
                throw ReadFailure(error, key, path);
            }

            _handles.Add(key.Value, file!);
        }

        try
        {
            error = Libc.Read(file!, destination, offset, out int count);
            return error == 0 ? count : throw ReadFailure(error, key, path);
        }
        finally
        {
            HandleCache.Release(file!);
        }
    }

    private StorageException ReadFailure(int error, StorageKey key, string path)
    {
        _handles.Forget(key.Value);
        if (!IsAbsent(error))
        {
            return LocalFailure.For(error, $"The object {key} could not be read", path);
        }

        RequireRoot();
        return new StorageException(ErrorCodes.StorageObjectNotFound, $"The storage has no object {key}.");
    }

    private StoredObject? Stat(StorageKey key)
    {
        string path = PathOf(key);
        int error = Libc.Stat(path, out Libc.Status status);
        if (IsAbsent(error))
        {
            RequireRoot();
            return null;
        }

        if (error != 0)
        {
            throw LocalFailure.For(error, $"The object {key} could not be looked at", path);
        }

        return status.IsRegular ? new StoredObject(key, status.Size, status.Modified) : null;
    }

    private (List<StoredObject> Objects, List<string> Below) ListFolder(string folder)
    {
        List<StoredObject> objects = [];
        List<string> below = [];
        string path = Path.Join(_root, folder);
        try
        {
            FileSystemEnumerable<(string Name, bool IsFolder)> entries = new(
                path,
                static (ref FileSystemEntry entry) => (entry.FileName.ToString(), entry.IsDirectory),
                new EnumerationOptions { IgnoreInaccessible = false, AttributesToSkip = 0, ReturnSpecialDirectories = false });
            foreach ((string name, bool isFolder) in entries)
            {
                // What is not a key is somebody else's: lost+found, a note, a copy with an upper-case name.
                if (!StorageKey.TryCreate(folder.Length == 0 ? name : $"{folder}/{name}", out StorageKey key) || IsSpool(key))
                {
                    continue;
                }

                if (isFolder)
                {
                    below.Add(key.Value);
                }
                else if (Stat(key) is { } item)
                {
                    objects.Add(item);
                }
            }
        }
        catch (DirectoryNotFoundException)
        {
            RequireRoot();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (ErrnoOf(e) != Libc.ENOTDIR)
            {
                throw LocalFailure.For(ErrnoOf(e), $"The folder {(folder.Length == 0 ? "of the storage" : folder)} could not be listed", path);
            }
        }

        return (objects, below);
    }

    private string PathOf(StorageKey key) => Path.Join(_root, key.Value);

    private bool IsInSpool(string file) => string.Equals(Path.GetDirectoryName(Path.GetFullPath(file)), SpoolFolder, StringComparison.Ordinal);

    private void RequireRoot()
    {
        int error = Libc.Stat(_root, out _);
        if (error != 0)
        {
            throw IsAbsent(error) ? LocalFailure.NoRoot(_root) : LocalFailure.For(error, "The storage's folder could not be looked at", _root);
        }
    }

    private static bool IsAbsent(int error) => error is Libc.ENOENT or Libc.ENOTDIR or Libc.EISDIR;

    private static bool IsSpool(StorageKey key) =>
        key.Value.StartsWith(SpoolName, StringComparison.Ordinal) && (key.Value.Length == SpoolName.Length || key.Value[SpoolName.Length] == '/');

    private static void CheckKey(StorageKey key)
    {
        if (key.Value is null || IsSpool(key))
        {
            throw new ArgumentException($"'{key.Value}' cannot be a key here.", nameof(key));
        }
    }

    private static void Discard(string? path)
    {
        if (path is not null)
        {
            // A spool file that cannot be removed costs space until the next sweep, never correctness.
            _ = Libc.Unlink(path);
        }
    }

    private static int ErrnoOf(Exception e) => e switch
    {
        UnauthorizedAccessException => Libc.EACCES,
        DirectoryNotFoundException or FileNotFoundException => Libc.ENOENT,
        _ => e.HResult is > 0 and < 4096 ? e.HResult : Libc.EIO,
    };

    private static void MakeDurably(string root)
    {
        if (Directory.Exists(root) || Path.GetDirectoryName(root) is not { } parent)
        {
            return;
        }

        MakeDurably(parent);
        int error = Libc.MakeFolder(root, OwnerOnlyFolder);
        error = error is 0 or Libc.EEXIST ? DurableFolders.SyncPath(parent) : error;
        if (error != 0)
        {
            throw LocalFailure.For(error, "The storage's folder could not be made", root);
        }
    }

    /// <summary>Tries on two files in the spool which way of naming works. Where nothing can be written the question does not arise.</summary>
    private static Publication FindPublication(string root)
    {
        string spool = Path.Join(root, SpoolName);
        string from = Path.Join(spool, $"{SessionId.New()}.try");
        string to = from + "2";
        try
        {
            if (Libc.Open(from, Libc.WriteOnly | Libc.Create | Libc.Exclusive, out SafeFileHandle? file, OwnerOnlyFile) != 0)
            {
                return Publication.RenameNoReplace;
            }

            file!.Dispose();

            if (Libc.RenameNoReplace(from, to) == 0)
            {
                return Publication.RenameNoReplace;
            }

            return Libc.Link(from, to) == 0 ? Publication.LinkAndUnlink : Publication.CheckAndRename;
        }
        finally
        {
            Discard(from);
            Discard(to);
        }
    }
}
