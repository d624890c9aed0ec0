using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Files.Linux;

namespace BackupIQ.Sources.Files.Restore;

/// <summary>
/// Restores into a folder of this machine (Linux). Every call is relative to an open folder and none follows a symbolic link, so that
/// neither a hostile snapshot nor another process that exchanges entries leads out of the target, and paths may be of any length.
/// </summary>
/// <remarks>
/// Owners are set by their numbers, as restic does: names are kept in the snapshot, but a user of the same name on another machine need
/// not be the same. The order on a file is content, owner, attributes, mode, time, because a change of owner clears setuid and
/// capabilities, and each of them would change what comes after.
/// </remarks>
public sealed class LinuxRestoreTarget : IRestoreTarget
{
    private const uint DirectoryWorkMode = 0x1C0;
    private const uint FileWorkMode = 0x180;
    private const uint PermissionBits = 0x1FF;

    private readonly byte[] _path;
    private readonly OpenFolders _folders = new();
    private readonly EntryMetadata _metadata = new();
    private readonly uint _user = LibC.GetEUid();
    private readonly uint _group = ProcessIdentity.Group();
    private readonly uint _allowedMode = ~ProcessIdentity.FileModeMask() & PermissionBits;
    private LinuxTargetDirectory? _root;

    /// <summary>Nothing is opened or made yet.</summary>
    /// <param name="path">The target's path, in bytes; symbolic links in it are followed, those below it never.</param>
    public LinuxRestoreTarget(byte[] path)
    {
        ArgumentNullException.ThrowIfNull(path);
        _path = path.Length > 0 ? path : "."u8.ToArray();
        _ = Syscalls.RaiseOpenFileLimit();
    }

    /// <inheritdoc/>
    public TargetDirectory? OpenRoot(bool create)
    {
        if (_root is not null)
        {
            return _root;
        }

        int error = _folders.OpenTop(_path, out DirectoryHandle? handle);
        bool isNew = false;
        if (error == -Errno.NoEntry)
        {
            if (!create)
            {
                return null;
            }

            MakeParents();
            error = Syscalls.MakeDirectory(AtFlags.WorkingFolder, _path, DirectoryWorkMode);
            isNew = error == 0;
            error = error is 0 or -Errno.Exists ? _folders.OpenTop(_path, out handle) : error;
        }

        _root = error < 0 ? throw TargetError.From(-error, "open the target") : Adopt(handle!, isNew);
        return _root;
    }

    /// <inheritdoc/>
    public bool TryStat(TargetDirectory directory, ReadOnlySpan<byte> name, out TargetEntry entry)
    {
        TargetError.CheckName(name);
        using FolderLease lease = Lease(directory);
        int error = Syscalls.Stat(lease.Descriptor, name, out StatX stat);
        entry = error == 0 ? ToEntry(stat) : default;
        return error switch
        {
            0 => true,
            -Errno.NoEntry => false,
            _ => throw TargetError.From(-error, "look at what is there"),
        };
    }

    /// <inheritdoc/>
    public TargetDirectory CreateDirectory(TargetDirectory parent, ReadOnlySpan<byte> name)
    {
        TargetError.CheckName(name);
        using (FolderLease lease = Lease(parent))
        {
            int made = Syscalls.MakeDirectory(lease.Descriptor, name, DirectoryWorkMode);
            if (made < 0)
            {
                throw TargetError.From(-made, "make the directory", lease.Descriptor);
            }
        }

        int error = _folders.OpenChild(((LinuxTargetDirectory)parent).Handle, name, out DirectoryHandle? handle);
        return error < 0 ? throw TargetError.From(-error, "open the directory just made") : Adopt(handle!, isNew: true, parent);
    }

    /// <inheritdoc/>
    public TargetDirectory OpenDirectory(TargetDirectory parent, ReadOnlySpan<byte> name)
    {
        TargetError.CheckName(name);
        int error = _folders.OpenChild(((LinuxTargetDirectory)parent).Handle, name, out DirectoryHandle? handle);
        return error < 0 ? throw TargetError.From(-error, "open the directory") : Adopt(handle!, isNew: false, parent);
    }

    /// <inheritdoc/>
    public MetadataLoss FinishDirectory(TargetDirectory directory, NodeMetadata metadata)
    {
        LinuxTargetDirectory folder = (LinuxTargetDirectory)directory;
        MetadataLoss loss;
        using (FolderLease lease = Lease(directory))
        {
            int error = Syscalls.StatDescriptor(lease.Descriptor, out StatX stat);
            loss = error < 0
                ? throw TargetError.From(-error, "read the directory's metadata")
                : _metadata.Apply(lease.Descriptor, metadata, stat, reconcile: !folder.IsNew || folder.InheritsAttributes);
        }

        Forget(folder);
        return loss;
    }

    /// <inheritdoc/>
    public void LeaveDirectory(TargetDirectory directory) => Forget((LinuxTargetDirectory)directory);

    /// <inheritdoc/>
    public MetadataLoss WriteFile(TargetDirectory directory, NodeMetadata metadata, ReadOnlySpan<byte> content)
    {
        TargetError.CheckName(metadata.Name);
        LinuxTargetDirectory folder = (LinuxTargetDirectory)directory;
        using FolderLease lease = Lease(directory);

        // Where the file is the process's own, it is made with the permissions that it will have: a call less for each file.
        bool isOwn = metadata.UserId == _user && metadata.GroupId == _group && !folder.ChangesOwner && !folder.InheritsAttributes;
        uint mode = isOwn ? metadata.Mode & _allowedMode : FileWorkMode;
        int descriptor = Syscalls.OpenAt(
            lease.Descriptor, metadata.Name, OpenFlags.WriteOnly | OpenFlags.Create | OpenFlags.Exclusive | OpenFlags.NoFollow, mode);
        if (descriptor < 0)
        {
            throw TargetError.From(-descriptor, "make the file", lease.Descriptor);
        }

        try
        {
            int error = content.IsEmpty ? 0 : Syscalls.Write(descriptor, content, 0);
            if (error < 0)
            {
                _ = Syscalls.Unlink(lease.Descriptor, metadata.Name);
                throw TargetError.From(-error, "write the file");
            }

            return isOwn
                ? _metadata.ApplyToOwn(descriptor, metadata, mode)
                : _metadata.Apply(descriptor, metadata, folder.InheritsAttributes);
        }
        finally
        {
            _ = Syscalls.Close(descriptor);
        }
    }

    /// <inheritdoc/>
    public ITargetFile CreateFile(TargetDirectory directory, ReadOnlySpan<byte> name)
    {
        TargetError.CheckName(name);
        using FolderLease lease = Lease(directory);
        int descriptor = Syscalls.OpenAt(
            lease.Descriptor, name, OpenFlags.ReadWrite | OpenFlags.Create | OpenFlags.Exclusive | OpenFlags.NoFollow, FileWorkMode);
        return descriptor < 0
            ? throw TargetError.From(-descriptor, "make the file", lease.Descriptor)
            : LinuxTargetFile.TakeOver(descriptor, _metadata, reconcile: ((LinuxTargetDirectory)directory).InheritsAttributes, out _);
    }

    /// <inheritdoc/>
    public ITargetFile OpenFile(TargetDirectory directory, ReadOnlySpan<byte> name, in TargetIdentity expected, bool write)
    {
        TargetError.CheckName(name);
        using FolderLease lease = Lease(directory);
        int flags = OpenFlags.NoFollow | OpenFlags.NonBlocking | OpenFlags.NoControllingTerminal;
        int descriptor = Syscalls.OpenAt(lease.Descriptor, name, flags | (write ? OpenFlags.ReadWrite : OpenFlags.ReadOnly));
        if (descriptor < 0)
        {
            throw TargetError.From(-descriptor, "open the file", lease.Descriptor, name);
        }

        LinuxTargetFile file = LinuxTargetFile.TakeOver(descriptor, _metadata, reconcile: true, out StatX stat);
        if (stat.IsFile && file.Identity == expected && (!write || stat.LinkCount == 1))
        {
            return file;
        }

        file.Dispose();
        throw TargetError.From(Errno.Stale, "open the file");
    }

    /// <inheritdoc/>
    public MetadataLoss CreateSpecial(TargetDirectory directory, NodeMetadata metadata)
    {
        TargetError.CheckName(metadata.Name);
        LinuxTargetDirectory folder = (LinuxTargetDirectory)directory;
        using FolderLease lease = Lease(directory);
        int error = metadata.Type switch
        {
            NodeType.SymbolicLink => Syscalls.MakeSymbolicLink(metadata.LinkTarget, lease.Descriptor, metadata.Name),
            NodeType.Fifo => Syscalls.MakeNode(lease.Descriptor, metadata.Name, FileModes.Fifo | FileWorkMode),
            NodeType.Socket => Syscalls.MakeNode(lease.Descriptor, metadata.Name, FileModes.Socket | FileWorkMode),
            NodeType.CharacterDevice => MakeDevice(lease.Descriptor, metadata, FileModes.CharacterDevice),
            NodeType.BlockDevice => MakeDevice(lease.Descriptor, metadata, FileModes.BlockDevice),
            _ => -Errno.Invalid,
        };
        if (error == -Errno.NotPermitted && metadata.Type is NodeType.BlockDevice or NodeType.CharacterDevice)
        {
            return MetadataLoss.Device;
        }

        if (error < 0)
        {
            throw TargetError.From(-error, "make the entry", lease.Descriptor);
        }

        error = Syscalls.Stat(lease.Descriptor, metadata.Name, out StatX stat);
        return error < 0 || stat.Type != metadata.Type
            ? throw TargetError.From(error < 0 ? -error : Errno.Stale, "look at the entry just made")
            : _metadata.Apply(lease.Descriptor, metadata.Name, metadata, stat, reconcile: folder.InheritsAttributes);
    }

    /// <inheritdoc/>
    public byte[] ReadLink(TargetDirectory directory, ReadOnlySpan<byte> name)
    {
        TargetError.CheckName(name);
        using FolderLease lease = Lease(directory);
        int error = Syscalls.ReadLink(lease.Descriptor, name, out byte[] target);
        return error < 0 ? throw TargetError.From(-error, "read the symbolic link") : target;
    }

    /// <inheritdoc/>
    public MetadataLoss SetMetadata(TargetDirectory directory, NodeMetadata metadata, in TargetEntry existing)
    {
        TargetError.CheckName(metadata.Name);
        using FolderLease lease = Lease(directory);
        if (existing.Type == NodeType.File)
        {
            int descriptor = Syscalls.OpenAt(
                lease.Descriptor, metadata.Name, OpenFlags.ReadOnly | OpenFlags.NoFollow | OpenFlags.NonBlocking);
            if (descriptor >= 0)
            {
                using LinuxTargetFile file = LinuxTargetFile.TakeOver(descriptor, _metadata, reconcile: true, out _);
                return file.Identity == existing.Identity ? file.SetMetadata(metadata) : throw TargetError.From(Errno.Stale, "set its metadata");
            }
        }

        // Symbolic links and devices cannot be opened, nor a file that may not be read.
        int error = Syscalls.Stat(lease.Descriptor, metadata.Name, out StatX stat);
        return error < 0 || ToEntry(stat).Identity != existing.Identity
            ? throw TargetError.From(error < 0 ? -error : Errno.Stale, "set its metadata")
            : _metadata.Apply(lease.Descriptor, metadata.Name, metadata, stat, reconcile: true);
    }

    /// <inheritdoc/>
    public void Link(TargetDirectory directory, ReadOnlySpan<byte> name, TargetDirectory existingDirectory, ReadOnlySpan<byte> existingName)
    {
        TargetError.CheckName(name);
        TargetError.CheckName(existingName);
        using FolderLease from = Lease(existingDirectory);
        using FolderLease to = Lease(directory);
        int error = Syscalls.MakeHardLink(from.Descriptor, existingName, to.Descriptor, name);
        if (error < 0)
        {
            throw TargetError.From(-error, "make the hard link", to.Descriptor);
        }
    }

    /// <inheritdoc/>
    public void Remove(TargetDirectory directory, ReadOnlySpan<byte> name, bool isDirectory)
    {
        TargetError.CheckName(name);
        using FolderLease lease = Lease(directory);
        int error = Syscalls.Unlink(lease.Descriptor, name, isDirectory);
        if (error is < 0 and not -Errno.NoEntry)
        {
            throw TargetError.From(-error, "remove what is there", lease.Descriptor, name);
        }
    }

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> List(TargetDirectory directory)
    {
        DirectoryListing listing = new();
        using FolderLease lease = Lease(directory);
        int error = listing.Read(lease.Descriptor, DirectoryListing.NewKernelBuffer());
        if (error < 0)
        {
            throw TargetError.From(-error, "list the directory");
        }

        byte[][] names = new byte[listing.Count][];
        for (int i = 0; i < names.Length; i++)
        {
            names[i] = listing[i].ToArray();
        }

        return names;
    }

    /// <inheritdoc/>
    public void Flush()
    {
        if (_root is null)
        {
            return;
        }

        using FolderLease lease = Lease(_root);
        int error = Syscalls.SyncFileSystem(lease.Descriptor);
        if (error < 0)
        {
            throw TargetError.From(-error, "make durable what was restored");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _folders.Dispose();

    private static TargetEntry ToEntry(in StatX stat) => new(
        stat.Type ?? NodeType.Socket,
        stat.IsFile ? stat.Size : 0,
        new FileTime(stat.ModifiedSeconds, stat.ModifiedNanoseconds),
        new TargetIdentity(stat.Device, stat.Inode),
        stat.LinkCount,
        (uint)stat.Mode & 0xFFF,
        stat.UserId,
        stat.GroupId,
        stat.DeviceMajor,
        stat.DeviceMinor);

    private static int MakeDevice(int folder, NodeMetadata metadata, uint type) =>
        Syscalls.MakeNode(folder, metadata.Name, type | FileWorkMode, metadata.DeviceMajor, metadata.DeviceMinor);

    private void MakeParents()
    {
        for (int i = 1; i < _path.Length; i++)
        {
            if (_path[i] == (byte)'/' && _path[i - 1] != (byte)'/')
            {
                int error = Syscalls.MakeDirectory(AtFlags.WorkingFolder, _path.AsSpan(0, i), PermissionBits);
                if (error is < 0 and not (-Errno.Exists or -Errno.ReadOnlyFileSystem or -Errno.AccessDenied))
                {
                    throw TargetError.From(-error, "make the target");
                }
            }
        }
    }

    private LinuxTargetDirectory Adopt(DirectoryHandle handle, bool isNew, TargetDirectory? parent = null)
    {
        int error = _folders.Lease(handle, out FolderLease lease);
        using (lease)
        {
            StatX stat = default;
            error = error < 0 ? error : Syscalls.StatDescriptor(lease.Descriptor, out stat);
            if (error < 0)
            {
                throw TargetError.From(-error, "open the directory");
            }

            // A directory made in one with a default ACL has got it too; its own files would in turn.
            bool mayInherit = !isNew || parent is null || ((LinuxTargetDirectory)parent).InheritsAttributes;
            return new LinuxTargetDirectory
            {
                Handle = handle,
                IsNew = isNew,
                ChangesOwner = (stat.Mode & 0x400) != 0 || stat.GroupId != _group,
                InheritsAttributes = mayInherit && EntryMetadata.HasDefaultAccessList(lease.Descriptor),
            };
        }
    }

    private void Forget(LinuxTargetDirectory folder)
    {
        if (folder != _root)
        {
            _folders.Release(folder.Handle);
        }
    }

    private FolderLease Lease(TargetDirectory directory)
    {
        int error = _folders.Lease(((LinuxTargetDirectory)directory).Handle, out FolderLease lease);
        return error < 0 ? throw TargetError.From(-error, "open its directory again") : lease;
    }
}

/// <summary>A folder of the target and what it does to entries that are made in it.</summary>
internal sealed class LinuxTargetDirectory : TargetDirectory
{
    internal required DirectoryHandle Handle { get; init; }

    /// <summary>setgid, or a group other than the process's: new entries may not be the process's own.</summary>
    internal required bool ChangesOwner { get; init; }

    /// <summary>It has a default ACL, which new entries get.</summary>
    internal required bool InheritsAttributes { get; init; }
}
