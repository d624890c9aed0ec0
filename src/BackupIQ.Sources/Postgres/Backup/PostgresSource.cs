using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Linux;
using BackupIQ.Sources.Postgres.Streaming;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>
/// The files of a PostgreSQL server, read while it works, between the beginning and the end of a backup that one session holds open. In the snapshot
/// they stand below the server's name: <c>data</c> is the data directory, <c>tablespaces/OID</c> what its links lead to, <c>config</c> the
/// configuration outside of it, and <c>tail</c> what is put over <c>data</c> at last: <c>backup_label</c>, <c>tablespace_map</c>, the WAL from the
/// beginning to the end of the backup (where it is not left to the archive), and <c>global/pg_control</c>, read after all others.
/// </summary>
/// <remarks>
/// <see cref="Walk"/> may be asked for once: a backup that a server ended cannot be gone on with. A file that cannot be read ends the run, for a
/// database that lacks one is no backup; one that vanished was dropped, and the WAL says so.
/// </remarks>
public sealed class PostgresSource : IBackupSource
{
    private const int MostPageErrors = 1000;

    /// <summary>A change that no earlier backup can have seen: what has it is read.</summary>
    private static readonly FileTime Never = new(long.MaxValue, 0);

    private static readonly TimeSpan ControlPause = TimeSpan.FromMilliseconds(20);

    private readonly PostgresSession _session;
    private readonly PostgresFacts _facts;
    private readonly PostgresBackupBeginning _beginning;
    private readonly PostgresStream? _stream;
    private readonly byte[] _data;
    private readonly SourceStat _dataStat;
    private readonly OwnerNames _owners = new();
    private readonly byte[] _kernelBuffer = DirectoryListing.NewKernelBuffer();
    private readonly SortedSet<(string Path, uint Block)> _damaged = new(DamageOrder.Instance);
    private long _damageCount;
    private SourceEntry? _top;
    private PostgresDocument? _document;
    private CancellationToken _stop;
    private bool _isWalked;

    /// <summary>Looks at the data directory; nothing of it is read yet.</summary>
    /// <param name="session">The session that the backup was begun in; it stays the caller's.</param>
    /// <param name="facts">What it says of the server.</param>
    /// <param name="beginning">How the backup was begun.</param>
    /// <param name="stream">What the server sent, where it is not read itself; it stays the caller's, until all is stored.</param>
    /// <exception cref="BackupIQException"><c>WrongServer</c>: another server's files lie there. <c>Authorization</c>, <c>SourceServer</c>: they cannot be read.</exception>
    public PostgresSource(PostgresSession session, PostgresFacts facts, PostgresBackupBeginning beginning, PostgresStream? stream = null)
    {
        _session = session;
        _facts = facts;
        _beginning = beginning;
        _stream = stream;
        _data = Encoding.UTF8.GetBytes(stream?.Folder.Data ?? beginning.DataDirectory.TrimEnd('/'));
        int error = Syscalls.OpenAt(AtFlags.WorkingFolder, _data, OpenFlags.ReadOnly | OpenFlags.Directory);
        if (error < 0)
        {
            throw Unreadable(beginning.DataDirectory, -error, "open the data directory");
        }

        using (DescriptorHandle folder = new(error))
        {
            _ = Syscalls.StatDescriptor(folder.Descriptor, out StatX stat);
            _dataStat = Owned(stat.ToSourceStat());
        }

        Control = ControlFile.TryRead(ReadControl())!;
        if (Control.SystemIdentifier != facts.SystemIdentifier)
        {
            throw new BackupIQException(
                ErrorCodes.WrongServer,
                $"The data directory is another server's: its system identifier is {Control.SystemIdentifier}, that of the server is {facts.SystemIdentifier}",
                "Correct pgdata or the DSN of this server.").With("path", beginning.DataDirectory);
        }

        // A primary and its standbys have one identifier: who asks one and reads the files of another backs nothing up.
        if ((Control.State == ControlFile.InProduction && facts.IsInRecovery) || (Control.State == ControlFile.InArchiveRecovery && !facts.IsInRecovery))
        {
            throw new BackupIQException(
                ErrorCodes.WrongServer,
                $"The data directory is another server's of the same cluster: it is {(facts.IsInRecovery ? "the primary's, and the DSN names a standby" : "a standby's, and the DSN names the primary")}",
                "Correct pgdata or the DSN of this server.").With("path", beginning.DataDirectory);
        }
    }

    /// <summary>Where WAL is that the server has no more, or that need not be stored; null: nowhere.</summary>
    public IPostgresWal? Wal { get; init; }

    /// <summary>The WAL is not stored where <see cref="Wal"/> has it; else it is stored, and <see cref="OnNotice"/> says so.</summary>
    public bool LeavesWal { get; init; }

    /// <summary>Called with bytes that are about to be read; what it returns ends when they may be. Null: reading is as fast as it can be.</summary>
    public Func<long, CancellationToken, ValueTask>? Throttle { get; init; }

    /// <summary>Hears what a person should know.</summary>
    public Action<string>? OnNotice { get; init; }

    /// <summary>Hears of each page that is damaged, once: the relation's file and the page's number. On any thread.</summary>
    public Action<string, long>? OnDamage { get; init; }

    /// <inheritdoc/>
    public string Kind => "postgres";

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Paths => [Encoding.UTF8.GetBytes("/" + _beginning.Name)];

    /// <inheritdoc/>
    public bool IsRepeatable => false;

    /// <inheritdoc/>
    public JsonElement? Document => _document?.ToJson();

    /// <inheritdoc/>
    public bool HasLastPart => true;

    internal ControlFile Control { get; }

    /// <inheritdoc/>
    public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
    {
        if (_isWalked)
        {
            throw new InvalidOperationException("A backup of a server can be walked once.");
        }

        _isWalked = true;
        _stop = cancellationToken;
        _top = Virtual(_beginning.Name, null);
        return WalkAll(_top, cancellationToken);
    }

    /// <inheritdoc/>
    /// <exception cref="BackupIQException">The server did not end the backup, or its WAL is not there: the backup is worth nothing.</exception>
    public IEnumerable<SourceEvent> WalkLast(CancellationToken cancellationToken)
    {
        // Of a standby it says how far its files must be brought, for no record in the WAL does: it is read when all of them were, and before the end.
        byte[] control = ReadControl();
        PostgresStop stop = _stream is null
            ? _session.StopAsync(_facts.IsInRecovery, cancellationToken).GetAwaiter().GetResult()
            : new PostgresStop(_stream.Bounds.End.ToString(), _stream.ReadText("backup_label"), _stream.ReadText("tablespace_map"), _beginning.Stopped);
        BackupLabel label = BackupLabel.Parse(stop.Label);
        if (!Lsn.TryParse(stop.Lsn, out Lsn end) || end.Value <= label.StartLsn)
        {
            throw new BackupIQException(ErrorCodes.SourceServer, $"The server says that the WAL of the backup ends at {stop.Lsn}, which is not behind where it began");
        }

        if (_facts.IsInRecovery && ControlFile.TryRead(control) is { } last && (last.MinRecoveryTimeline != label.Timeline || last.MinRecoveryPoint > end.Value))
        {
            throw PostgresSession.Promoted();
        }

        IReadOnlyList<string> needed = Segments(label, end.Value);
        IReadOnlyList<string> segments = LeavesWal && IsArchived(needed, cancellationToken) ? [] : needed;

        // What its databases are now, too: what was the same before the beginning is so in the backup.
        IReadOnlyList<PostgresDatabase> databases = _session.ReadDatabasesAsync(_facts, cancellationToken).GetAwaiter().GetResult();
        _document = Describe(stop, label, segments, PostgresDatabase.Steady(_beginning.Databases, databases));
        return Tail(control, stop, label, segments, cancellationToken);
    }

    private bool IsArchived(IReadOnlyList<string> segments, CancellationToken cancellationToken)
    {
        bool isThere = Wal?.WaitFor(segments, cancellationToken) == true;
        if (!isThere)
        {
            OnNotice?.Invoke("The archive did not get the WAL of this backup in time, so the backup holds it; see what keeps the server from archiving with 'backupiq pg check'.");
        }

        return isThere;
    }

    /// <inheritdoc/>
    public NodeMetadata Describe(SourceEntry entry)
    {
        PostgresPlace place = (PostgresPlace)entry.State!;
        if (place.IsVirtual || entry.Stat.Type != NodeType.SymbolicLink)
        {
            return Describe(entry, entry.Stat);
        }

        int error = Syscalls.ReadLink(AtFlags.WorkingFolder, place.Path, out byte[] target);
        if (error >= 0 && _stream is not null)
        {
            // Here it leads to where the tablespace was put for a while.
            target = Encoding.UTF8.GetBytes(_facts.Tablespaces.FirstOrDefault(space => place.Relative == $"pg_tblspc/{space.Oid}")?.Location ?? "");
        }

        return error < 0 ? throw LinuxError.ToItemException(-error, entry.FullPath(), "read the link") : Describe(entry, entry.Stat) with { LinkTarget = target };
    }

    /// <inheritdoc/>
    public ISourceFile Open(SourceEntry entry)
    {
        PostgresPlace place = (PostgresPlace)entry.State!;
        if (place.Content is { } content)
        {
            return new PostgresText(this, entry, content);
        }

        int flags = OpenFlags.ReadOnly | OpenFlags.NonBlocking | OpenFlags.NoControllingTerminal | (place.IsFollowed ? 0 : OpenFlags.NoFollow);
        int descriptor = Syscalls.OpenAt(AtFlags.WorkingFolder, place.Path, flags);
        if (descriptor < 0)
        {
            throw descriptor == -Errno.NoEntry
                ? place.IsWal ? WalGone(place.Relative) : new SourceItemException(ErrorCodes.SourceNotFound, entry.FullPath(), "it was dropped meanwhile") { IsExpected = true }
                : Unreadable(place.Relative, -descriptor, "open");
        }

        DescriptorHandle handle = new(descriptor);
        int error = Syscalls.StatDescriptor(descriptor, out StatX stat);
        if (error < 0 || !stat.IsFile)
        {
            handle.Dispose();
            throw Unreadable(place.Relative, error < 0 ? -error : Errno.Stale, "read the metadata of");
        }

        return new PostgresFile(this, entry, place, handle, stat.ToSourceStat());
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // The session is the caller's, and nothing else is open.
    }

    internal NodeMetadata Describe(SourceEntry entry, in SourceStat stat) => new()
    {
        Name = entry.Name,
        Type = stat.Type,
        Mode = stat.Mode,
        UserId = stat.UserId,
        GroupId = stat.GroupId,
        UserName = _stream is null ? _owners.User(stat.UserId) : null,
        GroupName = _stream is null ? _owners.Group(stat.GroupId) : null,
        Modified = stat.Modified,
        Size = stat.Type == NodeType.File ? stat.Size : 0,
    };

    /// <summary>
    /// Whether a page that is not sound is mended by the WAL all the same: what the server sends may have changed since the backup began, and who cannot
    /// read it again goes by the page's own place in the log, as the server does.
    /// </summary>
    internal bool IsMendedByWal(ReadOnlySpan<byte> page) =>
        _stream is not null && (((ulong)BinaryPrimitives.ReadUInt32LittleEndian(page) << 32) | BinaryPrimitives.ReadUInt32LittleEndian(page[4..])) >= _stream.Bounds.Start.Value;

    /// <summary>Whether a file may change while it is read.</summary>
    internal bool IsAtWork => _stream is null;

    /// <summary>Waits until so many bytes may be read.</summary>
    internal void Pace(long bytes)
    {
        if (Throttle is { } throttle)
        {
            throttle(bytes, _stop).AsTask().GetAwaiter().GetResult();
        }
    }

    /// <summary>A page is damaged.</summary>
    internal void Damaged(string path, uint block)
    {
        lock (_damaged)
        {
            if (_damaged.Contains((path, block)))
            {
                return;
            }

            _damageCount++;
            if (_damaged.Count < MostPageErrors)
            {
                _damaged.Add((path, block));
            }

            OnDamage?.Invoke(path, block);
        }
    }

    /// <summary>A file of the server cannot be read: the run ends.</summary>
    internal static BackupIQException Unreadable(string path, int errno, string action) => new BackupIQException(
        errno is Errno.AccessDenied or Errno.NotPermitted ? ErrorCodes.Authorization : ErrorCodes.SourceServer,
        $"Cannot {action} a file of the server: {LinuxError.Describe(errno)}",
        errno is Errno.AccessDenied or Errno.NotPermitted ? "Run as the user that the server runs as, or as root." : "See what the system says of the disk; nothing was committed.")
        .With("path", path);

    /// <summary>WAL that the backup needs is not there any more.</summary>
    internal static BackupIQException WalGone(string path) => new BackupIQException(
        ErrorCodes.SourceServer,
        "The server has taken away WAL that the backup needs, before it was stored; the backup is worth nothing",
        "Give the role REPLICATION and the server a free slot (max_replication_slots), so that the WAL is kept; or raise wal_keep_size.")
        .With("path", path);

    private IEnumerable<SourceEvent> WalkAll(SourceEntry top, CancellationToken cancellationToken)
    {
        yield return new SourceEvent(SourceEventKind.Enter, top, null);
        List<(string[] Names, string Path)> outside = OutsideConfiguration();
        if (outside.Count > 0)
        {
            foreach (SourceEvent next in WalkConfiguration(Virtual("config", top), outside, 0))
            {
                yield return next;
            }
        }

        SourceEntry data = new()
        {
            Name = "data"u8.ToArray(), Stat = _dataStat, Parent = top, State = new PostgresPlace(_data, "") { IsFollowed = true },
        };
        foreach (SourceEvent next in WalkFolder(data, DataFolder.Top, cancellationToken))
        {
            yield return next;
        }

        // The folder of this server's version alone: others may have theirs beside it.
        string version = string.Create(CultureInfo.InvariantCulture, $"PG_{_facts.Major}_{Control.CatalogVersion}");
        SourceEntry tablespaces = Virtual("tablespaces", top);
        yield return new SourceEvent(SourceEventKind.Enter, tablespaces, null);
        foreach (PostgresTablespace tablespace in _facts.Tablespaces.OrderBy(static one => one.Oid.ToString(CultureInfo.InvariantCulture), StringComparer.Ordinal))
        {
            string oid = tablespace.Oid.ToString(CultureInfo.InvariantCulture);
            string link = $"pg_tblspc/{oid}";
            byte[] path = Join(_data, Encoding.UTF8.GetBytes($"{link}/{version}"));
            SourceEntry? parent = Found(Join(_data, Encoding.UTF8.GetBytes(link)), oid, tablespaces, link, isFollowed: true);
            SourceEntry? content = parent is null ? null : Found(path, version, parent, $"{link}/{version}", isFollowed: false);
            if (parent is null)
            {
                continue;
            }

            yield return new SourceEvent(SourceEventKind.Enter, parent, null);
            foreach (SourceEvent next in content is null ? [] : WalkFolder(content, DataFolder.Databases, cancellationToken))
            {
                yield return next;
            }

            yield return new SourceEvent(SourceEventKind.Leave, parent, null);
        }

        yield return new SourceEvent(SourceEventKind.Leave, tablespaces, null);
    }

    private IEnumerable<SourceEvent> WalkFolder(SourceEntry folder, DataFolder kind, CancellationToken cancellationToken)
    {
        PostgresPlace at = (PostgresPlace)folder.State!;
        yield return new SourceEvent(SourceEventKind.Enter, folder, null);
        List<(byte[] Name, SourceStat Stat, bool IsFollowed)> entries = List(at, kind);
        bool hasRelations = kind is DataFolder.Relations or DataFolder.Global;
        HashSet<uint> unlogged = hasRelations ? DataFolderRules.Unlogged(entries.Select(static entry => entry.Name)) : [];
        foreach ((byte[] name, SourceStat stat, bool isFollowed) in entries)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string text = DataFolderRules.Text(name);
            if (DataFolderRules.IsLeftOut(kind, text, stat.Type == NodeType.Directory))
            {
                continue;
            }

            RelationName? relation = hasRelations && stat.Type == NodeType.File && RelationName.TryParse(name, out RelationName parsed) ? parsed : null;
            if (relation is { } found && (found.IsTemporary || (found.Fork != "init" && unlogged.Contains(found.Number))))
            {
                continue;
            }

            string relative = at.Relative.Length == 0 ? text : $"{at.Relative}/{text}";

            // What is not a whole page yet is being added; the server itself does not count it.
            SourceEntry entry = new()
            {
                Name = name,
                Stat = relation is null ? stat : stat with { Size = stat.Size / (ulong)Control.BlockSize * (ulong)Control.BlockSize },
                Parent = folder,
                State = new PostgresPlace(Join(at.Path, name), relative) { Relation = relation, IsFollowed = isFollowed },
                PageSize = relation is null ? 0 : Control.BlockSize,
            };
            if (stat.Type != NodeType.Directory)
            {
                yield return new SourceEvent(SourceEventKind.Leaf, entry, null);
                continue;
            }

            foreach (SourceEvent next in WalkFolder(entry, DataFolderRules.Below(kind, text), cancellationToken))
            {
                yield return next;
            }
        }

        yield return new SourceEvent(SourceEventKind.Leave, folder, null);
    }

    // What is in a folder now, sorted by bytes. A link in the data directory itself stands for what it leads to, as administrators put them there; those
    // to tablespaces stay links. What vanishes meanwhile is not there; sockets and the like are nobody's data.
    private List<(byte[] Name, SourceStat Stat, bool IsFollowed)> List(PostgresPlace at, DataFolder kind)
    {
        List<(byte[], SourceStat, bool)> entries = [];
        int descriptor = Syscalls.OpenAt(AtFlags.WorkingFolder, at.Path, OpenFlags.ReadOnly | OpenFlags.Directory | (at.IsFollowed ? 0 : OpenFlags.NoFollow));
        if (descriptor == -Errno.NoEntry)
        {
            return entries;
        }

        if (descriptor < 0)
        {
            throw Unreadable(at.Relative, -descriptor, "open");
        }

        using DescriptorHandle folder = new(descriptor);
        DirectoryListing listing = new();
        int error = listing.Read(folder.Descriptor, _kernelBuffer);
        if (error < 0)
        {
            throw Unreadable(at.Relative, -error, "list");
        }

        for (int i = 0; i < listing.Count; i++)
        {
            error = listing.Stat(i, folder.Descriptor, out StatX stat);
            bool isFollowed = error >= 0 && stat.IsSymbolicLink && kind is DataFolder.Top or DataFolder.Wal;
            if (isFollowed)
            {
                error = StatFollowed(Join(at.Path, listing[i]), out stat);
            }

            if (error == -Errno.NoEntry)
            {
                continue;
            }

            if (error < 0)
            {
                throw Unreadable($"{at.Relative}/{DataFolderRules.Text(listing[i])}", -error, "read the metadata of");
            }

            if (stat.IsFile || stat.IsDirectory || stat.IsSymbolicLink)
            {
                entries.Add((listing[i].ToArray(), Owned(stat.ToSourceStat()), isFollowed));
            }
        }

        return entries;
    }

    private SourceStat Owned(in SourceStat stat) => _stream is null ? stat with { LinkCount = 1 }
        : stat with { LinkCount = 1, UserId = _stream.Folder.Owner.UserId, GroupId = _stream.Folder.Owner.GroupId };

    private static int StatFollowed(byte[] path, out StatX stat)
    {
        int descriptor = Syscalls.OpenAt(AtFlags.WorkingFolder, path, OpenFlags.PathOnly);
        stat = default;
        if (descriptor < 0)
        {
            return descriptor;
        }

        using DescriptorHandle handle = new(descriptor);
        return Syscalls.StatDescriptor(handle.Descriptor, out stat);
    }

    private SourceEntry? Found(byte[] path, string name, SourceEntry parent, string relative, bool isFollowed)
    {
        int error = StatFollowed(path, out StatX stat);
        return error == -Errno.NoEntry ? null
            : error < 0 ? throw Unreadable(relative, -error, "read the metadata of")
            : new SourceEntry
            {
                Name = Encoding.UTF8.GetBytes(name),
                Stat = Owned(stat.ToSourceStat()),
                Parent = parent,
                State = new PostgresPlace(path, relative) { IsFollowed = isFollowed },
            };
    }

    // Where configuration files lie outside, with their names below the folder of the main one.
    private List<(string[] Names, string Path)> OutsideConfiguration()
    {
        if (_stream is not null)
        {
            // Those are files of another machine.
            return [];
        }

        string inside = _beginning.DataDirectory.TrimEnd('/') + "/";
        string? main = _facts.Settings.GetValueOrDefault("config_file");
        string folder = Path.GetDirectoryName(main) ?? "/";
        SortedDictionary<string, (string[], string)> files = new(StringComparer.Ordinal);
        foreach (string? path in (string?[])[main, _facts.Settings.GetValueOrDefault("hba_file"), _facts.Settings.GetValueOrDefault("ident_file"), .. _facts.SettingFiles])
        {
            if (path is not null && path.StartsWith('/') && !path.StartsWith(inside, StringComparison.Ordinal) && File.Exists(path))
            {
                string[] names = path.StartsWith(folder + "/", StringComparison.Ordinal) ? path[(folder.Length + 1)..].Split('/') : [Path.GetFileName(path)];
                files.TryAdd(string.Join('\0', names), (names, path));
            }
        }

        return [.. files.Values];
    }

    private IEnumerable<SourceEvent> WalkConfiguration(SourceEntry folder, IEnumerable<(string[] Names, string Path)> files, int depth)
    {
        yield return new SourceEvent(SourceEventKind.Enter, folder, null);
        foreach (IGrouping<string, (string[] Names, string Path)> group in files.GroupBy(file => file.Names[depth], StringComparer.Ordinal))
        {
            (string[] names, string path) = group.First();
            if (names.Length > depth + 1)
            {
                foreach (SourceEvent next in WalkConfiguration(Virtual(group.Key, folder), group, depth + 1))
                {
                    yield return next;
                }
            }
            else if (Found(Encoding.UTF8.GetBytes(path), group.Key, folder, path, isFollowed: true) is { } file)
            {
                yield return new SourceEvent(SourceEventKind.Leaf, file, null);
            }
        }

        yield return new SourceEvent(SourceEventKind.Leave, folder, null);
    }

    private IEnumerable<SourceEvent> Tail(byte[] control, PostgresStop stop, BackupLabel label, IReadOnlyList<string> segments, CancellationToken cancellationToken)
    {
        SourceEntry tail = Virtual("tail", _top);
        SourceEntry global = Virtual("global", tail);
        SourceEntry wal = Virtual("pg_wal", tail);
        yield return new SourceEvent(SourceEventKind.Enter, tail, null);
        yield return new SourceEvent(SourceEventKind.Leaf, Text("backup_label", tail, Encoding.UTF8.GetBytes(stop.Label)), null);
        yield return new SourceEvent(SourceEventKind.Enter, global, null);
        yield return new SourceEvent(SourceEventKind.Leaf, Text("pg_control", global, control), null);
        yield return new SourceEvent(SourceEventKind.Leave, global, null);
        yield return new SourceEvent(SourceEventKind.Enter, wal, null);
        foreach (string name in segments.Concat(Histories(label.Timeline)).Order(StringComparer.Ordinal))
        {
            cancellationToken.ThrowIfCancellationRequested();
            string relative = $"pg_wal/{name}";
            SourceEntry? file = Found(Join(_data, Encoding.UTF8.GetBytes(relative)), name, wal, relative, isFollowed: false);
            bool isSegment = segments.Contains(name);
            bool isOurs = true;
            if (isSegment && file?.Stat.Size != _facts.WalSegmentSize)
            {
                // A standby may have had it from its archive and not kept it.
                string? fetched = Wal?.Fetch(name, cancellationToken);
                file = fetched is null ? null : Found(Encoding.UTF8.GetBytes(fetched), name, wal, relative, isFollowed: false);
                isOurs = false;
            }

            if (file is null || (isSegment && file.Stat.Size != _facts.WalSegmentSize))
            {
                throw WalGone(relative);
            }

            PostgresPlace place = (PostgresPlace)file.State!;
            SourceStat stat = isOurs ? file.Stat : file.Stat with { UserId = _dataStat.UserId, GroupId = _dataStat.GroupId, Mode = 0x180, Changed = Never };
            yield return new SourceEvent(
                SourceEventKind.Leaf, new SourceEntry { Name = file.Name, Stat = stat, Parent = wal, State = place with { IsWal = isSegment } }, null);
        }

        yield return new SourceEvent(SourceEventKind.Leave, wal, null);
        if (stop.TablespaceMap.Length > 0)
        {
            yield return new SourceEvent(SourceEventKind.Leaf, Text("tablespace_map", tail, Encoding.UTF8.GetBytes(stop.TablespaceMap)), null);
        }

        yield return new SourceEvent(SourceEventKind.Leave, tail, null);
        yield return new SourceEvent(SourceEventKind.Leave, _top, null);
    }

    private List<string> Segments(BackupLabel label, ulong end)
    {
        List<string> names = [];
        ulong size = _facts.WalSegmentSize;
        for (ulong at = label.StartLsn / size; at <= (end - 1) / size; at++)
        {
            names.Add(WalFileName.OfSegment(label.Timeline, at, _facts.WalSegmentSize).ToString());
        }

        return names[0] == label.StartSegment
            ? names
            : throw new BackupIQException(ErrorCodes.SourceServer, $"The server names {label.StartSegment} as the first segment of WAL, where {names[0]} would be");
    }

    // How the timeline of the backup came to be, as far as the server still has it.
    private IEnumerable<string> Histories(uint timeline)
    {
        for (uint one = 2; one <= timeline; one++)
        {
            string name = string.Create(CultureInfo.InvariantCulture, $"{one:X8}.history");
            if (Syscalls.Stat(AtFlags.WorkingFolder, Join(_data, Encoding.UTF8.GetBytes($"pg_wal/{name}")), out _) == 0)
            {
                yield return name;
            }
        }
    }

    private PostgresDocument Describe(PostgresStop stop, BackupLabel label, IReadOnlyList<string> segments, IReadOnlyList<PostgresDatabase> databases)
    {
        lock (_damaged)
        {
            return new PostgresDocument
            {
                Server = _beginning.Name,
                SystemIdentifier = _facts.SystemIdentifier.ToString(CultureInfo.InvariantCulture),
                ServerVersion = _facts.Version,
                Major = _facts.Major,
                CatalogVersion = Control.CatalogVersion,
                BlockSize = Control.BlockSize,
                SegmentBlocks = Control.SegmentBlocks,
                WalSegmentSize = _facts.WalSegmentSize,
                Checksums = Control.HasChecksums,
                Timeline = label.Timeline,
                WalStartLsn = new Lsn(label.StartLsn).ToString(),
                WalEndLsn = stop.Lsn,
                Started = _beginning.Started,
                Stopped = stop.Time,
                TimeZone = _facts.Settings.GetValueOrDefault("TimeZone"),
                DataDirectory = _beginning.DataDirectory,
                OwnerUserId = _dataStat.UserId,
                OwnerGroupId = _dataStat.GroupId,
                Wal = segments,
                WalSource = segments.Count == 0 ? PostgresDocument.InArchive : null,
                Standby = _facts.IsInRecovery ? true : null,
                Databases = databases,
                Superuser = _facts.Superuser,
                Tablespaces = _facts.Tablespaces,
                ConfigFiles = ConfigFiles(),
                PageErrors = [.. _damaged.Select(static one => new PostgresPageError(one.Path, one.Block))],
                PageErrorCount = _damageCount,
            };
        }
    }

    private Dictionary<string, string> ConfigFiles()
    {
        Dictionary<string, string> files = new(StringComparer.Ordinal);
        HashSet<string> outside = [.. OutsideConfiguration().Select(static file => file.Path)];
        foreach (string key in (string[])["config_file", "hba_file", "ident_file"])
        {
            if (_facts.Settings.TryGetValue(key, out string? path) && outside.Contains(path))
            {
                files[key] = path;
            }
        }

        return files;
    }

    // The server writes it in one piece; who reads in the middle of that reads again.
    private byte[] ReadControl()
    {
        const int MostTries = 50;
        const string Name = "global/pg_control";
        byte[] content = new byte[ControlFile.FileSize];
        for (int i = 0; i < MostTries; i++)
        {
            int descriptor = Syscalls.OpenAt(AtFlags.WorkingFolder, Join(_data, "global/pg_control"u8), OpenFlags.ReadOnly);
            if (descriptor < 0)
            {
                throw Unreadable(Name, -descriptor, "open");
            }

            using DescriptorHandle handle = new(descriptor);
            int read = Syscalls.Read(handle.Descriptor, content, 0);
            if (read < 0)
            {
                throw Unreadable(Name, -read, "read");
            }

            if (read == content.Length && ControlFile.TryRead(content) is not null)
            {
                return content;
            }

            Thread.Sleep(ControlPause);
        }

        throw new BackupIQException(
            ErrorCodes.SourceServer, "global/pg_control is damaged, or of a version of PostgreSQL that this version of BackupIQ does not know (it knows 13 to 18)", null)
            .With("path", _beginning.DataDirectory);
    }

    private SourceEntry Virtual(string name, SourceEntry? parent) => new()
    {
        Name = Encoding.UTF8.GetBytes(name),
        Stat = _dataStat with { Inode = 0, Device = 0, Modified = default, Changed = default },
        Parent = parent,
        State = new PostgresPlace([], name) { IsVirtual = true },
    };

    private SourceEntry Text(string name, SourceEntry parent, byte[] content) => new()
    {
        Name = Encoding.UTF8.GetBytes(name),
        Stat = new SourceStat
        {
            Type = NodeType.File,
            Mode = 0x180,
            UserId = _dataStat.UserId,
            GroupId = _dataStat.GroupId,
            Size = (ulong)content.Length,
            Modified = new FileTime(_beginning.Started.ToUnixTimeSeconds(), 0),

            Changed = Never,
            LinkCount = 1,
            Blocks = ((ulong)content.Length + 511) / 512,
        },
        Parent = parent,
        State = new PostgresPlace([], name) { Content = content },
    };

    private static byte[] Join(ReadOnlySpan<byte> folder, ReadOnlySpan<byte> name) => [.. folder, (byte)'/', .. name];

    private sealed class DamageOrder : IComparer<(string Path, uint Block)>
    {
        public static readonly DamageOrder Instance = new();

        public int Compare((string Path, uint Block) x, (string Path, uint Block) y)
        {
            int path = string.CompareOrdinal(x.Path, y.Path);
            return path != 0 ? path : x.Block.CompareTo(y.Block);
        }
    }
}

/// <summary>How a backup was begun.</summary>
/// <param name="Name">The server's name.</param>
/// <param name="DataDirectory">Its data directory on this machine.</param>
/// <param name="Started">When, by the server's clock.</param>
/// <param name="Databases">What its databases hold.</param>
public sealed record PostgresBackupBeginning(string Name, string DataDirectory, DateTimeOffset Started, IReadOnlyList<PostgresDatabase> Databases)
{
    /// <summary>Of a server that sent its files: when that was over, by its clock.</summary>
    public DateTimeOffset Stopped { get; init; }
}
