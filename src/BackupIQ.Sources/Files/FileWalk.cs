using BackupIQ.Engine.Backup;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Files.Patterns;

namespace BackupIQ.Sources.Files;

/// <summary>One walk of a <see cref="FileSource"/>: a stack of folders, each with its sorted names and how far it has come.</summary>
internal sealed class FileWalk : IDisposable
{
    /// <summary>So many listings of folders that are done with are kept for the next ones.</summary>
    private const int SpareListings = 64;

    private readonly FileSourceOptions _options;
    private readonly OpenFolders _folders;
    private readonly Dictionary<(ulong Device, ulong Inode), string> _ownFolders;
    private readonly FolderTag[] _tags;
    private readonly PatternList? _excludes;
    private readonly PatternList? _excludesIgnoringCase;
    private readonly PatternList? _includes;
    private readonly Action<byte[], string> _notice;

    private readonly Queue<SourceEvent> _ready = new();
    private readonly Stack<Folder> _stack = new();
    private readonly Stack<DirectoryListing> _spare = new();
    private readonly byte[] _kernelBuffer = DirectoryListing.NewKernelBuffer();
    private readonly PathCursor _path = new();

    /// <summary>The same path in lower case, when something asks for it.</summary>
    private readonly PathCursor? _lowerPath;

    internal FileWalk(
        FileSourceOptions options,
        OpenFolders folders,
        Dictionary<(ulong Device, ulong Inode), string> ownFolders,
        Action<byte[], string> notice)
    {
        _options = options;
        _folders = folders;
        _ownFolders = ownFolders;
        _notice = notice;
        _tags = [.. options.ExcludeCaches ? [FolderTag.Cache] : Array.Empty<FolderTag>(), .. options.ExcludeIfPresent];
        _excludes = options.Excludes.Count > 0 ? new PatternList(options.Excludes) : null;
        _includes = options.Includes.Count > 0 ? new PatternList(options.Includes, option: "--include") : null;
        if (options.ExcludesIgnoringCase.Count > 0)
        {
            _excludesIgnoringCase = new PatternList(options.ExcludesIgnoringCase, ignoreCase: true, option: "--iexclude");
            _lowerPath = new PathCursor();
        }
    }

    /// <summary>Begins: reports the paths that are missing and opens the top folder.</summary>
    internal void Begin(SourcePlan plan, IReadOnlyList<SourceItemException> missing)
    {
        foreach (SourceItemException error in missing)
        {
            Report(error);
        }

        int error2 = _folders.OpenTop("/"u8, out DirectoryHandle? top);
        if (error2 < 0)
        {
            throw LinuxError.ToItemException(-error2, [(byte)'/'], "open the folder");
        }

        Enter(new Folder(null, top!, plan) { IsEntered = true, IsWhole = plan.IsGiven, Device = plan.IsGiven ? top!.Device : null }, plan.IsGiven);
    }

    /// <summary>The next event; false at the end.</summary>
    internal bool Next(out SourceEvent result, CancellationToken cancellationToken)
    {
        while (_ready.Count == 0 && _stack.Count > 0)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Advance(_stack.Peek());
        }

        return _ready.TryDequeue(out result);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Folder folder in _stack)
        {
            folder.ReturnLease();
        }

        _stack.Clear();
    }

    /// <summary>One step in the folder that is on top: its next name, or its end.</summary>
    private void Advance(Folder folder)
    {
        if (!folder.HasLease)
        {
            int error = folder.TakeLease(_folders);
            if (error < 0)
            {
                Report(LinuxError.ToItemException(-error, CurrentPath(), "return to the folder"));
                Leave(folder);
                return;
            }
        }

        bool listed = folder.Listing is not null && folder.Next < folder.Listing.Count;
        SourcePlan? planned = folder.NextPlanned;
        if (planned is null && !listed)
        {
            Leave(folder);
            return;
        }

        int order = planned is null ? -1 : !listed ? 1 : folder.Listing![folder.Next].SequenceCompareTo(planned.Name);
        if (order < 0)
        {
            Visit(folder, folder.Listing![folder.Next], folder.Next++, isGiven: false);
            return;
        }

        // A given path, or a folder that leads to one. The listing, when there is one, may have the same name.
        folder.AdvancePlan();
        if (order == 0)
        {
            folder.Next++;
        }

        if (planned!.Children.Count > 0)
        {
            EnterPlanned(folder, planned);
        }
        else
        {
            Visit(folder, planned.Name, -1, isGiven: true);
        }
    }

    /// <summary>
    /// A folder that leads to a given path: kept whatever is excluded, and found through symbolic links, so that a restore makes it a
    /// folder again.
    /// </summary>
    private void EnterPlanned(Folder parent, SourcePlan plan)
    {
        int error = _folders.OpenTop(plan.Path, out DirectoryHandle? handle);
        StatX stat = default;
        if (error == 0)
        {
            error = StatOpen(handle!, out stat);
        }

        if (error < 0)
        {
            Report(LinuxError.ToItemException(-error, plan.Path, "open the folder"));
            return;
        }

        SourceEntry entry = new()
        {
            Name = plan.Name,
            Stat = stat.ToSourceStat(),
            Parent = parent.Entry,
            State = new FollowedFolder(handle!),
        };
        Push(plan.Name);
        Folder folder = new(entry, handle!, plan)
        {
            Device = plan.IsGiven ? stat.Device : parent.Device,
            IsWhole = plan.IsGiven || parent.IsWhole,
        };
        Enter(folder, folder.IsWhole && !(_options.OneFileSystem && folder.Device != stat.Device));
    }

    /// <summary>An entry that the options decide about. The index is that in the folder's listing, or -1.</summary>
    private void Visit(Folder folder, ReadOnlySpan<byte> name, int index, bool isGiven)
    {
        Push(name);
        if (!TryVisit(folder, name, index, isGiven))
        {
            Pop();
        }
    }

    /// <summary>True when the entry is a folder that was entered, which keeps the path until it is left.</summary>
    private bool TryVisit(Folder folder, ReadOnlySpan<byte> name, int index, bool isGiven)
    {
        if (IsExcluded(_excludes, _path, folder) || IsExcluded(_excludesIgnoringCase, _lowerPath, folder) || IsTagged(folder, name))
        {
            return false;
        }

        int error = index >= 0
            ? folder.Listing!.Stat(index, folder.Descriptor, out StatX stat)
            : Syscalls.Stat(folder.Descriptor, name, out stat);
        if (error < 0)
        {
            Report(LinuxError.ToItemException(-error, CurrentPath(), "read its metadata"));
            return false;
        }

        return stat.IsDirectory ? TryEnter(folder, name, in stat, isGiven) : VisitLeaf(folder, name, in stat, isGiven);
    }

    /// <summary>Always false: a leaf does not keep the path.</summary>
    private bool VisitLeaf(Folder folder, ReadOnlySpan<byte> name, in StatX stat, bool isGiven)
    {
        if ((_options.OneFileSystem && !isGiven && folder.Device is ulong device && device != stat.Device)
            || (_options.ExcludeLargerThan is long most && stat.Size > (ulong)most)
            || _includes?.Matches(_path) == false)
        {
            return false;
        }

        if (stat.Type is null)
        {
            return false;
        }

        EnterPending();
        SourceEntry entry = new() { Name = name.ToArray(), Stat = stat.ToSourceStat(), Parent = folder.Entry, State = folder.Handle };
        _ready.Enqueue(new SourceEvent(SourceEventKind.Leaf, entry, null));
        return false;
    }

    private bool TryEnter(Folder parent, ReadOnlySpan<byte> name, in StatX found, bool isGiven)
    {
        bool isIncluded = _includes is null || _includes.Matches(_path);
        if (!isIncluded && !_includes!.MayMatchBelow(_path))
        {
            return false;
        }

        StatX stat = found;
        int error = _folders.OpenChild(parent.Handle, name, out DirectoryHandle? handle);
        if (error == 0 && (handle!.Inode != found.Inode || handle.Device != found.Device))
        {
            // Opening mounted something here, or another folder took the place: what is open counts.
            error = StatOpen(handle, out stat);
        }

        if (error is -Errno.NoEntry or -Errno.Loop or -Errno.NotDirectory)
        {
            Report(LinuxError.ToItemException(-error, CurrentPath(), "open the folder"));
            return false;
        }

        if (_ownFolders.TryGetValue((stat.Device, stat.Inode), out string? role))
        {
            _notice(CurrentPath(), $"left out: it is {role}");
            return false;
        }

        SourceEntry entry = new() { Name = name.ToArray(), Stat = stat.ToSourceStat(), Parent = parent.Entry, State = parent.Handle };
        bool isMountPoint = _options.OneFileSystem && !isGiven && parent.Device is ulong device && device != stat.Device;
        Folder folder = new(entry, handle ?? parent.Handle, null) { Device = isGiven ? stat.Device : parent.Device, IsPending = !isIncluded };
        if (error < 0)
        {
            // The folder itself is known; only what it holds is not.
            Enter(folder, isRead: false);
            Report(LinuxError.ToItemException(-error, CurrentPath(), "open the folder"));
            return true;
        }

        Enter(folder, isRead: !isMountPoint);
        return true;
    }

    private void Enter(Folder folder, bool isRead)
    {
        if (_stack.TryPeek(out Folder? parent))
        {
            parent.ReturnLease();
        }

        _stack.Push(folder);
        if (!folder.IsPending)
        {
            EnterPending();
        }

        if (!isRead)
        {
            return;
        }

        int error = folder.TakeLease(_folders);
        if (error == 0)
        {
            folder.Listing = _spare.Count > 0 ? _spare.Pop() : new DirectoryListing();
            error = folder.Listing.Read(folder.Descriptor, _kernelBuffer);
        }

        if (error < 0)
        {
            // What was listed before the error is not sorted and not complete.
            folder.Listing = null;
            Report(LinuxError.ToItemException(-error, CurrentPath(), "list the folder"));
        }
    }

    private void Leave(Folder folder)
    {
        folder.ReturnLease();
        _ = _stack.Pop();
        if (folder.Listing is { IsSmall: true } listing && _spare.Count < SpareListings)
        {
            _spare.Push(listing);
        }

        if (folder.Entry is not null)
        {
            if (folder.IsEntered)
            {
                _ready.Enqueue(new SourceEvent(SourceEventKind.Leave, folder.Entry, null));
            }

            Pop();
        }
    }

    /// <summary>Tells of the folders on the stack that waited for something included.</summary>
    private void EnterPending()
    {
        if (_stack.Count == 0 || _stack.Peek().IsEntered)
        {
            return;
        }

        List<Folder> waiting = [];
        foreach (Folder folder in _stack)
        {
            if (folder.IsEntered)
            {
                break;
            }

            waiting.Add(folder);
        }

        for (int i = waiting.Count - 1; i >= 0; i--)
        {
            waiting[i].IsEntered = true;
            _ready.Enqueue(new SourceEvent(SourceEventKind.Enter, waiting[i].Entry, null));
        }
    }

    /// <summary>The folders that lead to given paths were kept without asking; everywhere else, what is above is known not to match.</summary>
    private static bool IsExcluded(PatternList? patterns, PathCursor? path, Folder folder) =>
        patterns is not null && (folder.IsPlanned ? patterns.Matches(path!) : patterns.MatchesLast(path!));

    private bool IsTagged(Folder folder, ReadOnlySpan<byte> name)
    {
        if (_tags.Length == 0)
        {
            return false;
        }

        folder.Tagged ??= new bool?[_tags.Length];
        for (int i = 0; i < _tags.Length; i++)
        {
            if (!name.SequenceEqual(_tags[i].Name) && (folder.Tagged[i] ??= HasTag(folder, _tags[i])))
            {
                return true;
            }
        }

        return false;
    }

    private bool HasTag(Folder folder, FolderTag tag)
    {
        ReadOnlySpan<byte> name = tag.Name.AsSpan().TrimStart((byte)'/');
        int error = Syscalls.Stat(folder.Descriptor, name, out _);
        if (error == 0 && tag.Header.Length == 0)
        {
            return true;
        }

        if (error == -Errno.NoEntry)
        {
            return false;
        }

        int descriptor = error < 0 ? error : Syscalls.OpenAt(folder.Descriptor, name, OpenFlags.ReadOnly | OpenFlags.NonBlocking);
        if (descriptor < 0)
        {
            _notice(folder.Handle.Path(name), $"this tag cannot be read, so its folder is not left out: {LinuxError.Describe(-descriptor)}");
            return false;
        }

        using DescriptorHandle handle = new(descriptor);
        byte[] header = new byte[tag.Header.Length];
        int read = Syscalls.Read(descriptor, header, 0);
        bool isTag = read == header.Length && header.AsSpan().SequenceEqual(tag.Header);
        if (!isTag)
        {
            _notice(folder.Handle.Path(name), "this tag does not begin as it must, so its folder is not left out");
        }

        return isTag;
    }

    private int StatOpen(DirectoryHandle handle, out StatX stat)
    {
        stat = default;
        int error = _folders.Lease(handle, out FolderLease lease);
        using (lease)
        {
            return error < 0 ? error : Syscalls.StatDescriptor(lease.Descriptor, out stat);
        }
    }

    private void Report(SourceItemException error) => _ready.Enqueue(new SourceEvent(SourceEventKind.Error, null, error));

    private byte[] CurrentPath() => _path.Count == 0 ? [(byte)'/'] : _path.Path.ToArray();

    private void Push(ReadOnlySpan<byte> name)
    {
        _path.Push(name);
        _lowerPath?.Push(PatternList.LowerCase(name));
    }

    private void Pop()
    {
        _path.Pop();
        _lowerPath?.Pop();
    }

    /// <summary>A folder on the stack.</summary>
    private sealed class Folder(SourceEntry? entry, DirectoryHandle handle, SourcePlan? plan)
    {
        private readonly SourcePlan[] _plan = plan is null ? [] : [.. plan.Children];
        private int _planned;
        private FolderLease _lease;

        internal SourceEntry? Entry { get; } = entry;

        internal DirectoryHandle Handle { get; } = handle;

        /// <summary>The device of the given path that this lies below; null above all of them.</summary>
        internal ulong? Device { get; init; }

        /// <summary>Whether it or a folder above it was given, so that all of it is wanted and not only what leads on.</summary>
        internal bool IsWhole { get; init; }

        internal bool IsPlanned { get; } = plan is not null;

        /// <summary>Told of only when something in it is included.</summary>
        internal bool IsPending { get; init; }

        internal bool IsEntered { get; set; }

        internal DirectoryListing? Listing { get; set; }

        /// <summary>The next index in <see cref="Listing"/>.</summary>
        internal int Next { get; set; }

        /// <summary>Which tags it was found to have; null where nobody looked.</summary>
        internal bool?[]? Tagged { get; set; }

        internal bool HasLease { get; private set; }

        internal int Descriptor => _lease.Descriptor;

        internal SourcePlan? NextPlanned => _planned < _plan.Length ? _plan[_planned] : null;

        internal void AdvancePlan() => _planned++;

        internal int TakeLease(OpenFolders folders)
        {
            int error = folders.Lease(Handle, out _lease);
            HasLease = error == 0;
            return error;
        }

        internal void ReturnLease()
        {
            if (HasLease)
            {
                HasLease = false;
                _lease.Dispose();
            }
        }
    }
}

/// <summary>The state of an entry whose folder was reached through symbolic links: the folder itself, not a name in its parent.</summary>
internal sealed record FollowedFolder(DirectoryHandle Handle);
