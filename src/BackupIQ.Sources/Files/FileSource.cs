using System.Collections.Concurrent;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Sources.Files;

/// <summary>
/// Files and folders of this machine (Linux). Every access is relative to an open folder, so that neither the length of paths nor
/// symbolic links put in their place while the backup runs lead astray.
/// </summary>
/// <remarks>
/// A folder that may not be listed is kept, empty, and an <see cref="SourceEventKind.Error"/> follows its <see cref="SourceEventKind.Enter"/>.
/// A folder that leads to a given path is kept whatever is excluded; where it is a symbolic link, as the folder that the link leads to.
/// </remarks>
public sealed class FileSource : IBackupSource
{
    private readonly FileSourceOptions _options;
    private readonly OpenFolders _folders = new();
    private readonly OwnerNames _owners = new();
    private readonly ConcurrentQueue<SourceNotice> _notices = new();
    private readonly Dictionary<(ulong Device, ulong Inode), string> _ownFolders = [];
    private readonly List<SourceItemException> _missing = [];
    private readonly List<byte[]> _paths = [];
    private FileWalk _walk;
    private bool _walked;

    /// <summary>Looks at the given paths; reads nothing else yet.</summary>
    /// <exception cref="BackupIQException">
    /// <see cref="ErrorCodes.SourceNotFound"/>: none of the paths exists. <see cref="ErrorCodes.Usage"/>: a pattern is malformed, or no path
    /// is given.
    /// </exception>
    public FileSource(FileSourceOptions options)
    {
        _options = options;
        _ = Syscalls.RaiseOpenFileLimit();
        byte[] workingFolder = options.WorkingFolder ?? WorkingFolder();
        HashSet<byte[]> seen = new(ByBytes.Instance);
        foreach (byte[] given in options.Paths)
        {
            if (given.Length == 0 || given.AsSpan().Contains((byte)0))
            {
                throw new BackupIQException(ErrorCodes.Usage, "A path to back up is empty or has a zero byte.");
            }

            byte[] path = BytePath.MakeAbsolute(given, workingFolder);
            if (!seen.Add(path))
            {
                continue;
            }

            int error = Syscalls.Stat(AtFlags.WorkingFolder, path, out _);
            if (error is -Errno.NoEntry or -Errno.NotDirectory)
            {
                // A path too long to be asked for is found out by the walk.
                _missing.Add(LinuxError.ToItemException(Errno.NoEntry, path, "back it up"));
            }
            else
            {
                _paths.Add(path);
            }
        }

        if (_paths.Count == 0)
        {
            throw _missing.Count > 0 ? _missing[0] : new BackupIQException(ErrorCodes.Usage, "No path to back up is given.");
        }

        foreach (OwnFolder own in options.OwnFolders)
        {
            byte[] path = BytePath.MakeAbsolute(own.Path, workingFolder);
            if (_folders.OpenTop(path, out DirectoryHandle? handle) == 0)
            {
                _ownFolders[(handle!.Device, handle.Inode)] = own.Role;
                _folders.Release(handle);
            }
        }

        _walk = NewWalk();
    }

    /// <inheritdoc/>
    public string Kind => "files";

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths => _paths;

    /// <summary>What the last walk left out without being asked, and what an option could not do. Complete when the walk and all reading are.</summary>
    public IReadOnlyList<SourceNotice> Notices => [.. _notices];

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
    {
        if (_walked)
        {
            _walk.Dispose();
            _notices.Clear();
            _walk = NewWalk();
        }

        _walked = true;
        return Events(cancellationToken);
    }

    /// <inheritdoc/>
    public NodeMetadata Describe(SourceEntry entry)
    {
        (DirectoryHandle folder, byte[] name) = Locate(entry);
        using FolderLease lease = _folders.Lease(folder);
        int error = Syscalls.Stat(lease.Descriptor, name, out StatX stat);
        if (error < 0)
        {
            throw LinuxError.ToItemException(-error, entry.FullPath(), "read its metadata");
        }

        if (stat.Type != entry.Stat.Type || stat.Inode != entry.Stat.Inode || stat.Device != entry.Stat.Device)
        {
            throw LinuxError.ToItemException(Errno.Stale, entry.FullPath(), "read its metadata");
        }

        byte[]? target = null;
        if (stat.IsSymbolicLink)
        {
            error = Syscalls.ReadLink(lease.Descriptor, name, out target);
            if (error < 0)
            {
                throw LinuxError.ToItemException(-error, entry.FullPath(), "read the link");
            }
        }

        return ToMetadata(entry, stat, target, Attributes(entry, lease.Descriptor, name));
    }

    /// <summary>What is kept of a file that is open.</summary>
    internal NodeMetadata Describe(SourceEntry entry, int descriptor, in StatX stat)
    {
        int error = ExtendedAttributes.Read(descriptor, out ExtendedAttribute[] attributes);
        return ToMetadata(entry, stat, null, error >= 0 ? attributes : WithoutAttributes(entry, error));
    }

    private NodeMetadata ToMetadata(SourceEntry entry, in StatX stat, byte[]? target, ExtendedAttribute[] attributes)
    {
        SourceStat state = stat.ToSourceStat();
        return new NodeMetadata
        {
            Name = entry.Name,
            Type = state.Type,
            Mode = state.Mode,
            UserId = state.UserId,
            GroupId = state.GroupId,
            UserName = _owners.User(state.UserId),
            GroupName = _owners.Group(state.GroupId),
            Modified = state.Modified,
            Size = state.Size,
            DeviceMajor = state.Type is NodeType.BlockDevice or NodeType.CharacterDevice ? state.DeviceMajor : 0,
            DeviceMinor = state.Type is NodeType.BlockDevice or NodeType.CharacterDevice ? state.DeviceMinor : 0,
            LinkTarget = target,
            ExtendedAttributes = attributes,
            IsSparse = stat.IsFile && stat.Blocks * 512 < stat.Size,
        };
    }

    /// <inheritdoc/>
    public ISourceFile Open(SourceEntry entry)
    {
        (DirectoryHandle folder, byte[] name) = Locate(entry);
        using FolderLease lease = _folders.Lease(folder);

        // Not blocking: what was a file may be a fifo by now.
        int flags = OpenFlags.ReadOnly | OpenFlags.NoFollow | OpenFlags.NonBlocking | OpenFlags.NoControllingTerminal;
        int descriptor = Syscalls.OpenAt(lease.Descriptor, name, flags | OpenFlags.NoAccessTime);
        if (descriptor == -Errno.NotPermitted)
        {
            // Only the owner may leave the access time alone.
            descriptor = Syscalls.OpenAt(lease.Descriptor, name, flags);
        }

        if (descriptor < 0)
        {
            throw LinuxError.ToItemException(-descriptor, entry.FullPath(), "open it");
        }

        DescriptorHandle handle = new(descriptor);
        int error = Syscalls.StatDescriptor(descriptor, out StatX stat);
        if (error < 0 || !stat.IsFile)
        {
            handle.Dispose();
            throw error < 0
                ? LinuxError.ToItemException(-error, entry.FullPath(), "read its metadata")
                : new SourceItemException(ErrorCodes.SourceChanged, entry.FullPath(), "it is no longer a file");
        }

        return new LinuxSourceFile(this, entry, handle, stat);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _walk.Dispose();
        _folders.Dispose();
    }

    private static byte[] WorkingFolder()
    {
        int error = Syscalls.WorkingFolder(out byte[] path);
        return error < 0 ? throw LinuxError.ToItemException(-error, [(byte)'.'], "find the working folder") : path;
    }

    private static (DirectoryHandle Folder, byte[] Name) Locate(SourceEntry entry) => entry.State switch
    {
        DirectoryHandle folder => (folder, entry.Name),
        FollowedFolder followed => (followed.Handle, "."u8.ToArray()),
        _ => throw new ArgumentException("The entry is of another source.", nameof(entry)),
    };

    private FileWalk NewWalk() =>
        new(_options, _folders, _ownFolders, (path, message) => _notices.Enqueue(new SourceNotice(path, message)));

    private IEnumerable<SourceEvent> Events(CancellationToken cancellationToken)
    {
        _walk.Begin(SourcePlan.Of(_paths), _missing);
        while (_walk.Next(out SourceEvent next, cancellationToken))
        {
            yield return next;
        }
    }

    private ExtendedAttribute[] Attributes(SourceEntry entry, int folder, byte[] name)
    {
        int error = ExtendedAttributes.Read(folder, name, out ExtendedAttribute[] attributes);
        if (error >= 0)
        {
            return attributes;
        }

        // By that way ENOENT also says that there is no /proc, which leaves nothing to read attributes through.
        if (error == -Errno.NoEntry && Syscalls.Stat(folder, name, out _) == 0)
        {
            throw new BackupIQException(
                ErrorCodes.Configuration,
                "/proc is not mounted, and extended attributes cannot be read without it.",
                "Mount /proc where the backup runs.");
        }

        return WithoutAttributes(entry, error);
    }

    // Attributes that may not be read are left out and told; any other fault is the entry's.
    private ExtendedAttribute[] WithoutAttributes(SourceEntry entry, int error)
    {
        if (error is -Errno.AccessDenied or -Errno.NotPermitted)
        {
            _notices.Enqueue(new SourceNotice(entry.FullPath(), $"its extended attributes are left out: {LinuxError.Describe(-error)}"));
            return [];
        }

        throw LinuxError.ToItemException(-error, entry.FullPath(), "read its extended attributes");
    }
}
