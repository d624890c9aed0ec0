using BackupIQ.Engine.Trees;
using BackupIQ.Repository;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// Goes through the source, compares each entry with the parents, and hands on what became of it: unchanged nodes as they are, files to
/// be read in batches of neighbours. A chunk that an unchanged file needs and that no usable pack holds makes it a changed one.
/// </summary>
internal sealed class Walk(
    IBackupSource source, UploadSession session, BackupOptions options, BackupProgress progress, WorkQueue queue, Func<WalkStep[], bool> tryHandOn, Action<WalkStep[]> handOn)
{
    /// <summary>Steps that are handed on at once: each time may wake the assembler.</summary>
    private const int StepsPerPage = 64;

    private const int MaxFilesPerBatch = 1024;

    private readonly Stack<ParentDirectory> _parents = new();
    private readonly Dictionary<(ulong Device, ulong Inode), LinkedFile> _links = [];
    private readonly Dictionary<ulong, (ulong Device, ulong Inode)> _groups = [];
    private readonly Dictionary<SourceEntry, FileJob> _ahead = [];
    private readonly TlvWriter _fields = new();
    private readonly long _batchBytes = options.BatchSize > 0 ? options.BatchSize : FrameWriter.DataFrameSize;
    private readonly List<WalkStep> _page = new(StepsPerPage);
    private FileBatch? _batch;

    /// <summary>Goes through all that the source's walk met, and then, once all files of that are read, through what comes last.</summary>
    public void Run(ParentDirectory roots, IEnumerable<SourceEvent> events, CancellationToken stop)
    {
        _parents.Push(roots);
        Follow(events);
        progress.TotalsKnown = true;
        if (source.HasLastPart)
        {
            queue.WaitForBatches();
            Follow(source.WalkLast(stop));
        }
    }

    private void Follow(IEnumerable<SourceEvent> events)
    {
        foreach (SourceEvent step in events)
        {
            switch (step.Kind)
            {
                case SourceEventKind.Error:
                    progress.Failed(step.Error!);
                    break;
                case SourceEventKind.Leave:
                    _parents.Pop();
                    HandOn(new WalkStep { Kind = WalkStepKind.Leave });
                    break;
                case SourceEventKind.Enter:
                    Enter(step.Entry!);
                    break;
                case SourceEventKind.Ahead:
                    Ahead(step.Entry!);
                    break;
                default:
                    Leaf(step.Entry!);
                    break;
            }
        }

        Dispatch();
        HandOnPage();
    }

    private void Enter(SourceEntry entry)
    {
        ParentDirectory parent = _parents.Peek();
        bool known = parent.Seek(entry.Name, out NodePeek node, out ScanEntry scan, out FileTime trusted) && node.Type == NodeType.Directory;
        byte[]? parentFields = known ? node.Raw.ToArray() : null;
        NodeMetadata metadata;
        try
        {
            metadata = known && !source.IsAtRest && scan.Changed == entry.Stat.Changed && !options.IgnoreCtime && entry.Stat.Changed.CompareTo(trusted) < 0
                ? NodeFormat.Read(parentFields).Metadata
                : source.Describe(entry);
        }
        catch (SourceItemException e)
        {
            progress.Failed(e);
            metadata = Bare(entry);
        }

        _parents.Push(parent.Enter(entry.Name));
        HandOn(new WalkStep
        {
            Kind = WalkStepKind.Enter,
            Entry = entry,
            Name = entry.Name,
            Metadata = metadata,
            Scan = ScanEntry.Of(entry.Stat),
            ParentFields = parentFields,
        });
    }

    // A worker has it as soon as one is free; the source may wait for that.
    private void Ahead(SourceEntry entry)
    {
        progress.Found((long)entry.Stat.Size);
        _ahead.Add(entry, Schedule(entry, entry.Pages));
        Dispatch();
    }

    private void Leaf(SourceEntry entry)
    {
        if (_ahead.Remove(entry, out FileJob? ahead))
        {
            bool wasThere = _parents.Peek().Seek(entry.Name, out NodePeek before, out _, out _) && before.Type == NodeType.File;
            HandOn(new WalkStep { Kind = WalkStepKind.File, Entry = entry, Name = entry.Name, Job = ahead, Outcome = wasThere ? EntryOutcome.Changed : EntryOutcome.New });
            return;
        }

        bool isFile = entry.Stat.Type == NodeType.File;
        if (entry.Stored is { } stored && (!isFile || HasContent(NodePeek.Read(stored.Fields))))
        {
            HandOn(entry, stored.Fields, stored.Scan, EntryOutcome.Unmodified, (long)entry.Stat.Size);
            return;
        }

        if (isFile)
        {
            progress.Found((long)entry.Stat.Size);
        }

        bool known = _parents.Peek().Seek(entry.Name, out NodePeek node, out ScanEntry scan, out FileTime trusted) && node.Type == entry.Stat.Type;
        bool linked = entry.Stat.LinkCount > 1;
        if (linked && _links.TryGetValue(FileOf(entry), out LinkedFile? first))
        {
            LinkAgain(entry, first, isFile);
            return;
        }

        ulong group = linked ? GroupOf(entry) : 0;
        if (known && IsUnchanged(entry.Stat, node, scan, trusted) && HasContent(node))
        {
            Unchanged(entry, node, scan, group);
            return;
        }

        EntryOutcome outcome = known ? EntryOutcome.Changed : EntryOutcome.New;
        if (!isFile)
        {
            Special(entry, group, linked, outcome);
            return;
        }

        FileJob job = Schedule(entry, entry.PageSize == 0 ? null : known ? PagesOf(node) : entry.Pages);
        if (linked)
        {
            _links.Add(FileOf(entry), new LinkedFile(group, job, null, outcome));
        }

        HandOn(new WalkStep { Kind = WalkStepKind.File, Entry = entry, Name = entry.Name, Job = job, HardLinkGroup = group, Outcome = outcome });
    }

    // A link, device, fifo or socket: its node is all there is of it.
    private void Special(SourceEntry entry, ulong group, bool linked, EntryOutcome outcome)
    {
        Node node;
        try
        {
            node = new Node { Metadata = source.Describe(entry), HardLinkGroup = group, UnknownFields = entry.Original?.UnknownFields ?? default };
        }
        catch (SourceItemException e)
        {
            progress.Failed(e);
            return;
        }

        if (linked)
        {
            _links.Add(FileOf(entry), new LinkedFile(group, null, node, outcome));
        }

        Hand(entry, node, outcome);
    }

    private void Unchanged(SourceEntry entry, in NodePeek node, in ScanEntry scan, ulong group)
    {
        byte[] fields = node.Raw.ToArray();
        if (group != 0)
        {
            Node full = NodeFormat.Read(fields);
            Node regrouped = WithGroup(full, full.Metadata, group);
            fields = Encode(regrouped);
            _links.Add(FileOf(entry), new LinkedFile(group, null, regrouped, EntryOutcome.Unmodified));
        }

        if (entry.Stat.Type == NodeType.File)
        {
            progress.BytesRead((long)entry.Stat.Size);
            progress.FileDone();
        }

        HandOn(
            entry,
            fields,
            scan with { Subscan = null, Inode = entry.Stat.Inode, Device = entry.Stat.Device, Changed = entry.Stat.Changed },
            EntryOutcome.Unmodified,
            (long)entry.Stat.Size);
    }

    // Another name of a file that was met before: the same content, read once.
    private void LinkAgain(SourceEntry entry, LinkedFile first, bool isFile)
    {
        if (isFile)
        {
            progress.BytesRead((long)entry.Stat.Size);
            progress.FileDone();
        }

        if (first.Known is { } known)
        {
            Hand(entry, WithGroup(known, known.Metadata with { Name = entry.Name }, first.Group), first.Outcome);
            return;
        }

        HandOn(new WalkStep
        {
            Kind = WalkStepKind.File,
            Entry = entry,
            Name = entry.Name,
            Job = first.Job,
            HardLinkGroup = first.Group,
            Outcome = first.Outcome,
        });
    }

    private bool IsUnchanged(in SourceStat stat, in NodePeek node, in ScanEntry scan, FileTime trusted) =>
        stat.Modified == node.Modified &&
        (stat.Type != NodeType.File || stat.Size == node.Size) &&
        (options.IgnoreInode || stat.Inode == scan.Inode) &&
        (source.IsAtRest ? stat.Device == scan.Device : IsOld(stat, scan, trusted)) &&
        !node.ChangedWhileRead;

    private bool IsOld(in SourceStat stat, in ScanEntry scan, FileTime trusted) =>
        (options.IgnoreCtime || (stat.Changed == scan.Changed && stat.Changed.CompareTo(trusted) < 0)) && stat.Modified.CompareTo(trusted) < 0;

    // Inherited chunks are looked up like any other: the parent is a hint, and its pack may be marked or gone.
    private bool HasContent(in NodePeek node)
    {
        if (node.Type != NodeType.File)
        {
            return true;
        }

        if (node.Stream.IsEmpty)
        {
            return false;
        }

        TlvReader reader = new(node.Stream);
        reader.ReadBlock();
        ContentKind kind = (ContentKind)reader.ReadByte();
        if (kind == ContentKind.Inline)
        {
            return true;
        }

        if (kind != ContentKind.Chunks)
        {
            return HasListed(NodeFormat.ReadStream(node.Stream));
        }

        reader.ReadByte();
        ulong count = reader.ReadVarint();
        for (ulong i = 0; i < count; i++)
        {
            ChunkId id = reader.ReadChunkId();
            reader.ReadVarint();
            if (!session.Has(PackKind.Data, id))
            {
                return false;
            }
        }

        return true;
    }

    // The map of a parent's file, if it has one. What is wrong with it is found when it is read.
    private static ParentPages? PagesOf(in NodePeek node) =>
        node.Stream.IsEmpty ? null : ParentPages.Of(NodeFormat.ReadStream(node.Stream), node.Size);

    private bool HasListed(FileContent content)
    {
        IReadOnlyList<ChunkReference>? chunks = content.Chunks;
        if (content.HasLists)
        {
            foreach (ChunkReference list in content.Chunks.Concat(content.Sums))
            {
                if (!session.Has(PackKind.Metadata, list.Id))
                {
                    return false;
                }
            }

            chunks = ReadLists(content);
            if (chunks is null)
            {
                return false;
            }
        }

        foreach (ChunkReference chunk in chunks)
        {
            if (!session.Has(PackKind.Data, chunk.Id))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Reads the lists of chunks that a node names; null when they cannot be read, which means that the file is read again.</summary>
    public required Func<FileContent, IReadOnlyList<ChunkReference>?> ReadLists { get; init; }

    private FileJob Schedule(SourceEntry entry, ParentPages? parent)
    {
        _batch ??= new FileBatch(source);
        FileJob job = _batch.Add(entry, parent);
        if (_batch.Bytes >= _batchBytes || _batch.Count >= MaxFilesPerBatch)
        {
            Dispatch();
        }

        return job;
    }

    private void Dispatch()
    {
        if (_batch is { } batch)
        {
            _batch = null;
            queue.Add(batch);
        }
    }

    private void Hand(SourceEntry entry, Node node, EntryOutcome outcome) =>
        HandOn(entry, Encode(node), ScanEntry.Of(entry.Stat), outcome, (long)node.Metadata.Size);

    private void HandOn(SourceEntry entry, byte[] fields, in ScanEntry scan, EntryOutcome outcome, long size) => HandOn(new WalkStep
    {
        Kind = WalkStepKind.Node,
        Entry = entry,
        Name = entry.Name,
        Fields = fields,
        Scan = scan,
        Outcome = outcome,
        Size = size,
    });

    private void HandOn(WalkStep step)
    {
        _page.Add(step);
        if (_page.Count == StepsPerPage)
        {
            HandOnPage();
        }
    }

    // The assembler may wait for a file of the batch that is not handed out yet: so it is, before this thread waits for the assembler.
    private void HandOnPage()
    {
        WalkStep[] page = [.. _page];
        _page.Clear();
        if (!tryHandOn(page))
        {
            Dispatch();
            handOn(page);
        }
    }

    private byte[] Encode(Node node)
    {
        _fields.Clear();
        NodeFormat.Write(_fields, node);
        return _fields.Written.ToArray();
    }

    // The number comes from the first link's path, so it is the same on every machine with the same tree; a clash moves to the next number.
    private ulong GroupOf(SourceEntry entry)
    {
        if (entry.Original is { HardLinkGroup: not 0 } original)
        {
            return original.HardLinkGroup;
        }

        ulong hash = 0xcbf29ce484222325;
        foreach (byte b in entry.FullPath())
        {
            hash = (hash ^ b) * 0x100000001b3;
        }

        (ulong, ulong) file = FileOf(entry);
        while (hash == 0 || (_groups.TryGetValue(hash, out (ulong, ulong) other) && other != file))
        {
            hash++;
        }

        _groups[hash] = file;
        return hash;
    }

    // The file that an entry is a link to. Of a copied node its group tells: inodes are only known where the snapshot has a scan.
    private static (ulong Device, ulong Inode) FileOf(SourceEntry entry) =>
        entry.Original is { HardLinkGroup: not 0 } original ? (ulong.MaxValue, original.HardLinkGroup) : (entry.Stat.Device, entry.Stat.Inode);

    private static Node WithGroup(Node node, NodeMetadata metadata, ulong group) => new()
    {
        Metadata = metadata,
        Subtree = node.Subtree,
        Content = node.Content,
        HardLinkGroup = group,
        ChangedWhileRead = node.ChangedWhileRead,
        UnknownFields = node.UnknownFields,
    };

    private static NodeMetadata Bare(SourceEntry entry) => new()
    {
        Name = entry.Name,
        Type = NodeType.Directory,
        Mode = entry.Stat.Mode,
        UserId = entry.Stat.UserId,
        GroupId = entry.Stat.GroupId,
        Modified = entry.Stat.Modified,
    };

    private sealed record LinkedFile(ulong Group, FileJob? Job, Node? Known, EntryOutcome Outcome);
}

/// <summary>Neighbouring files that one worker reads one after the other, so that they share frames.</summary>
internal sealed class FileBatch(IBackupSource source) : IWork
{
    private readonly List<FileJob> _jobs = [];

    public int Count => _jobs.Count;

    public long Bytes { get; private set; }

    public FileJob Add(SourceEntry entry, ParentPages? parent)
    {
        FileJob job = new(entry, parent, this);
        _jobs.Add(job);
        Bytes += (long)entry.Stat.Size;
        return job;
    }

    public void Run(FileWorker worker)
    {
        try
        {
            foreach (FileJob job in _jobs)
            {
                worker.Read(source, job);
            }
        }
        finally
        {
            lock (this)
            {
                Monitor.PulseAll(this);
            }
        }
    }
}
