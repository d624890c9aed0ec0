namespace BackupIQ.Sources.Files.Linux;

/// <summary>
/// A folder that stays reachable without a path: its parent, its name there, and device and inode, which tell whether a folder found
/// later is still this one. The descriptor comes and goes (<see cref="OpenFolders"/>); this object costs some dozen bytes and may be kept
/// for as long as anybody likes.
/// </summary>
internal sealed class DirectoryHandle
{
    internal DirectoryHandle(DirectoryHandle? parent, byte[] name, ulong device, ulong inode)
    {
        Parent = parent;
        Name = name;
        Device = device;
        Inode = inode;
    }

    /// <summary>The folder that this one lies in; null for one that was opened by its path.</summary>
    internal DirectoryHandle? Parent { get; }

    /// <summary>Its name in the parent; the whole path when there is no parent.</summary>
    internal byte[] Name { get; }

    internal ulong Device { get; }

    internal ulong Inode { get; }

    /// <summary>Where <see cref="OpenFolders"/> keeps the descriptor; null while there is none. Guarded by its lock.</summary>
    internal DescriptorHandle? Open { get; set; }

    /// <summary>How many leases are out. Guarded by the lock of <see cref="OpenFolders"/>.</summary>
    internal int Leases { get; set; }

    /// <summary>Its place in the order of use. Guarded by the lock of <see cref="OpenFolders"/>.</summary>
    internal LinkedListNode<DirectoryHandle>? Place { get; set; }

    /// <summary>The path: the names from the top folder down, joined by <c>/</c>.</summary>
    internal byte[] Path(ReadOnlySpan<byte> name = default)
    {
        int length = name.Length;
        for (DirectoryHandle? folder = this; folder is not null; folder = folder.Parent)
        {
            length += folder.Name.Length + 1;
        }

        byte[] path = new byte[length];
        int end = length - name.Length;
        name.CopyTo(path.AsSpan(end));
        for (DirectoryHandle? folder = this; folder is not null; folder = folder.Parent)
        {
            path[--end] = (byte)'/';
            end -= folder.Name.Length;
            folder.Name.CopyTo(path.AsSpan(end));
        }

        // A top folder "/" brings its own slash; without a name the last one is not wanted.
        int start = path.Length > 1 && path[0] == (byte)'/' && path[1] == (byte)'/' ? 1 : 0;
        int stop = name.IsEmpty && path.Length - start > 1 ? path.Length - 1 : path.Length;
        return path[start..stop];
    }
}

/// <summary>
/// Opens folders for a walk or a restore and keeps the descriptors of those used last: at most <c>limit</c>, and those that are on lease.
/// A folder whose descriptor was closed is opened again through its parents, each by <c>openat</c> with O_NOFOLLOW and compared by
/// device and inode, so that neither long paths nor exchanged folders lead astray. Thread-safe; disposing closes all.
/// </summary>
internal sealed class OpenFolders : IDisposable
{
    /// <summary>
    /// Enough that a walk hardly ever opens a folder twice, and far below the usual limit of 1024 open files.
    /// </summary>
    internal const int DefaultLimit = 256;

    /// <summary>PATH_MAX is 4096 with the terminating zero.</summary>
    private const int LongestPath = 4000;

    private readonly Lock _lock = new();
    private readonly int _limit;

    /// <summary>Those with a descriptor, the one used last at the end.</summary>
    private readonly LinkedList<DirectoryHandle> _order = new();

    private bool _disposed;

    internal OpenFolders(int limit = DefaultLimit) => _limit = Math.Max(2, limit);

    /// <summary>How many descriptors are open now.</summary>
    internal int OpenCount
    {
        get
        {
            lock (_lock)
            {
                return _order.Count;
            }
        }
    }

    /// <summary>Opens a folder by its path, following symbolic links on the way; 0 or a negated error number.</summary>
    internal int OpenTop(ReadOnlySpan<byte> path, out DirectoryHandle? folder)
    {
        int descriptor = OpenPath(path);
        return Adopt(descriptor, null, path.ToArray(), out folder);
    }

    /// <summary>Opens a folder in a folder; not through a symbolic link. 0 or a negated error number.</summary>
    internal int OpenChild(DirectoryHandle parent, ReadOnlySpan<byte> name, out DirectoryHandle? folder)
    {
        folder = null;
        int error = Lease(parent, out FolderLease lease);
        using (lease)
        {
            return error < 0 ? error : Adopt(OpenFolder(lease.Descriptor, name, follow: false), parent, name.ToArray(), out folder);
        }
    }

    /// <summary>
    /// The folder's descriptor, open until the lease is disposed. -<see cref="Errno.Stale"/> when another folder is in its place.
    /// The descriptor lists its entries unless it may only be passed through (mode <c>--x</c>).
    /// </summary>
    internal int Lease(DirectoryHandle folder, out FolderLease lease)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            int error = EnsureOpen(folder);
            if (error < 0)
            {
                lease = default;
                return error;
            }

            folder.Leases++;
            Touch(folder);
            lease = new FolderLease(this, folder);
            return 0;
        }
    }

    /// <summary>As <see cref="Lease(DirectoryHandle, out FolderLease)"/>, for callers for whom a failure is an exception.</summary>
    /// <exception cref="Engine.Backup.SourceItemException">The folder vanished, was replaced or may not be opened.</exception>
    internal FolderLease Lease(DirectoryHandle folder)
    {
        int error = Lease(folder, out FolderLease lease);
        return error < 0 ? throw LinuxError.ToItemException(-error, folder.Path(), "open the folder") : lease;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_lock)
        {
            _disposed = true;
            foreach (DirectoryHandle folder in _order)
            {
                folder.Place = null;
                folder.Open?.Dispose();
                folder.Open = null;
            }

            _order.Clear();
        }
    }

    internal void Return(DirectoryHandle folder)
    {
        lock (_lock)
        {
            folder.Leases--;
            Trim();
        }
    }

    /// <summary>Closes the descriptor now when nobody has a lease: for folders that are done with.</summary>
    internal void Release(DirectoryHandle folder)
    {
        lock (_lock)
        {
            if (folder.Leases == 0)
            {
                CloseLocked(folder);
            }
        }
    }

    /// <summary>Opens a path of any length: what is longer than the kernel takes at once, piece by piece.</summary>
    private static int OpenPath(ReadOnlySpan<byte> path)
    {
        int parent = AtFlags.WorkingFolder;
        while (path.Length > LongestPath)
        {
            int cut = path[..LongestPath].LastIndexOf((byte)'/');
            int next = cut <= 0
                ? -Errno.NameTooLong
                : Syscalls.OpenAt(parent, path[..cut], OpenFlags.PathOnly | OpenFlags.Directory);
            if (parent >= 0)
            {
                _ = Syscalls.Close(parent);
            }

            if (next < 0)
            {
                return next;
            }

            parent = next;
            path = path[cut..].TrimStart((byte)'/');
        }

        int descriptor = OpenFolder(parent, path.IsEmpty ? "."u8 : path, follow: true);
        if (parent >= 0)
        {
            _ = Syscalls.Close(parent);
        }

        return descriptor;
    }

    private static int OpenFolder(int parent, ReadOnlySpan<byte> name, bool follow)
    {
        int flags = OpenFlags.Directory | OpenFlags.NonBlocking | (follow ? 0 : OpenFlags.NoFollow);
        int descriptor = Syscalls.OpenAt(parent, name, flags | OpenFlags.ReadOnly | OpenFlags.NoAccessTime);
        if (descriptor == -Errno.NotPermitted)
        {
            descriptor = Syscalls.OpenAt(parent, name, flags | OpenFlags.ReadOnly);
        }

        // A folder that may not be listed may still be passed through.
        return descriptor == -Errno.AccessDenied ? Syscalls.OpenAt(parent, name, flags | OpenFlags.PathOnly) : descriptor;
    }

    private int Adopt(int descriptor, DirectoryHandle? parent, byte[] name, out DirectoryHandle? folder)
    {
        folder = null;
        if (descriptor < 0)
        {
            return descriptor;
        }

        DescriptorHandle handle = new(descriptor);
        int error = Syscalls.StatDescriptor(descriptor, out StatX stat);
        if (error < 0)
        {
            handle.Dispose();
            return error;
        }

        folder = new DirectoryHandle(parent, name, stat.Device, stat.Inode);
        lock (_lock)
        {
            if (_disposed)
            {
                handle.Dispose();
                throw new ObjectDisposedException(nameof(OpenFolders));
            }

            Keep(folder, handle);
            Trim();
        }

        return 0;
    }

    /// <summary>Opens again what was closed: from the nearest open ancestor down, not recursively, for any depth.</summary>
    private int EnsureOpen(DirectoryHandle folder)
    {
        if (folder.Open is not null)
        {
            return 0;
        }

        List<DirectoryHandle> closed = [];
        for (DirectoryHandle? next = folder; next is not null && next.Open is null; next = next.Parent)
        {
            closed.Add(next);
        }

        for (int i = closed.Count - 1; i >= 0; i--)
        {
            DirectoryHandle next = closed[i];
            int descriptor = next.Parent is null ? OpenPath(next.Name) : OpenFolder(next.Parent.Open!.Descriptor, next.Name, follow: false);
            if (descriptor < 0)
            {
                return descriptor;
            }

            DescriptorHandle handle = new(descriptor);
            int error = Syscalls.StatDescriptor(descriptor, out StatX stat);
            if (error == 0 && (stat.Inode != next.Inode || stat.Device != next.Device))
            {
                error = -Errno.Stale;
            }

            if (error < 0)
            {
                handle.Dispose();
                return error;
            }

            // The one just opened is the next one's parent: it is the newest, so trimming spares it.
            Keep(next, handle);
            Trim();
        }

        return 0;
    }

    private void Keep(DirectoryHandle folder, DescriptorHandle handle)
    {
        folder.Open = handle;
        folder.Place = _order.AddLast(folder);
    }

    private void Touch(DirectoryHandle folder)
    {
        if (folder.Place is { Next: not null } place)
        {
            _order.Remove(place);
            _order.AddLast(place);
        }
    }

    /// <summary>Closes the oldest beyond the limit; those on lease and the newest stay.</summary>
    private void Trim()
    {
        LinkedListNode<DirectoryHandle>? node = _order.First;
        while (_order.Count > _limit && node is not null && node.Next is not null)
        {
            LinkedListNode<DirectoryHandle>? next = node.Next;
            if (node.Value.Leases == 0)
            {
                CloseLocked(node.Value);
            }

            node = next;
        }
    }

    private void CloseLocked(DirectoryHandle folder)
    {
        if (folder.Place is not null)
        {
            _order.Remove(folder.Place);
            folder.Place = null;
        }

        folder.Open?.Dispose();
        folder.Open = null;
    }
}

/// <summary>The right to use a folder's descriptor until disposed. Disposing twice is a mistake; the default value holds nothing.</summary>
internal readonly struct FolderLease : IDisposable
{
    private readonly OpenFolders? _folders;
    private readonly DirectoryHandle? _folder;

    internal FolderLease(OpenFolders folders, DirectoryHandle folder)
    {
        _folders = folders;
        _folder = folder;
        Descriptor = folder.Open!.Descriptor;
    }

    /// <summary>For the …at calls. Do not close it.</summary>
    internal int Descriptor { get; }

    /// <inheritdoc/>
    public void Dispose() => _folders?.Return(_folder!);
}
