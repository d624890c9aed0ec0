using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Walks the snapshot, makes its directories, decides what happens to each entry, and plans where its chunks come from, window by window.
/// Entries that cannot be restored whole are told here and never begun. Runs on one thread, beside the workers that do the window before.
/// </summary>
internal sealed class RestorePlanner(
    SnapshotMetadata metadata,
    IRestoreTarget target,
    RestoreOptions options,
    RestoreProgress progress,
    DirectoryFinisher finisher,
    DeletionScope deletions,
    Func<RestoreWindow, RestoreWindow> exchange,
    CancellationToken cancellationToken)
{
    private const int MaxEntriesPerWindow = 64 << 10;

    // The first window is small, so that the workers begin soon.
    private const int FirstWindowEntries = 4 << 10;

    private readonly TargetCleaner _cleaner = new(target, options, progress);
    private readonly Dictionary<ulong, LinkGroup> _groups = [];
    private readonly long _windowCost = Math.Max(options.MemoryBudget / 6, 1 << 20);
    private RestoreWindow _window = null!;
    private int _maxEntries = FirstWindowEntries;
    private byte[] _path = new byte[512];
    private int _pathLength;

    /// <summary>Plans everything in a directory of the snapshot.</summary>
    public RestoreWindow PlanTree(RestoreWindow window, PlannedDirectory root, ChunkId tree)
    {
        _window = window;
        Stack<(PlannedDirectory Directory, int PathLength)> open = new();
        SnapshotWalk walk = new(metadata.Read, (code, name, why) => progress.Fail(code, open.Peek().Directory.Path(name), why, name.Length > 0));
        DeleteExtras(root, tree);
        open.Push((root, 0));
        walk.Enter(tree);
        while (walk.Next(out Node? node))
        {
            cancellationToken.ThrowIfCancellationRequested();
            (PlannedDirectory directory, int length) = open.Peek();
            if (node is null)
            {
                open.Pop();
                finisher.Done(directory);
                continue;
            }

            _pathLength = length;
            if (Visit(directory, node) is { } entered)
            {
                open.Push((entered, _pathLength));
                walk.Enter(node.Subtree!.Value);
            }
        }

        return _window;
    }

    /// <summary>Plans a single file.</summary>
    public RestoreWindow PlanFile(RestoreWindow window, PlannedDirectory root, Node node)
    {
        _window = window;
        _ = Visit(root, node);
        finisher.Done(root);
        return _window;
    }

    // Returns the directory to go into.
    private PlannedDirectory? Visit(PlannedDirectory parent, Node node)
    {
        NodeMetadata entry = node.Metadata;
        AppendToPath(entry.Name);
        bool isDirectory = entry.Type == NodeType.Directory;
        FilterVerdict verdict = options.Filter is { } filter ? filter(_path.AsSpan(0, _pathLength), isDirectory) : new FilterVerdict(true, true);
        if (isDirectory)
        {
            return verdict.Selected || verdict.ChildMayBeSelected ? VisitDirectory(parent, node, verdict) : null;
        }

        if (verdict.Selected)
        {
            VisitEntry(parent, node);
        }

        return null;
    }

    private PlannedDirectory? VisitDirectory(PlannedDirectory parent, Node node, FilterVerdict verdict)
    {
        PlannedDirectory directory = new(parent, node.Metadata.Name) { Metadata = node.Metadata, IsSelected = verdict.Selected };
        parent.Hold();
        if (verdict.Selected)
        {
            Ensure(directory);
            DeleteExtras(directory, node.Subtree!.Value);
        }

        if (verdict.ChildMayBeSelected && !directory.HasFailed)
        {
            return directory;
        }

        finisher.Done(directory);
        return null;
    }

    private void VisitEntry(PlannedDirectory parent, Node node)
    {
        NodeMetadata entry = node.Metadata;
        IReadOnlyList<Extent>? extents = ExtentsOf(node, out BackupIQException? damage);
        long bytes = DataIn(entry, extents);
        progress.Found(bytes, (long)entry.Size - bytes);
        Ensure(parent);
        if (parent.HasFailed)
        {
            return;
        }

        if (damage is not null)
        {
            progress.Fail(SnapshotMetadata.DamageCode(damage), CurrentPath(), damage.Message);
            return;
        }

        if (_window.Files.Count + _window.Links.Count >= _maxEntries || _window.Cost >= _windowCost)
        {
            Flush();
        }

        if (node.HardLinkGroup != 0 && _groups.TryGetValue(node.HardLinkGroup, out LinkGroup? group))
        {
            parent.Hold();
            progress.Spared(bytes);
            _window.AddLink(new PlannedLink(parent, entry, group));
            return;
        }

        try
        {
            TargetEntry existing = default;
            bool isThere = !parent.IsEmpty && target.TryStat(parent.Target!, entry.Name, out existing);
            if (isThere && IsLeft(options.Overwrite, entry, existing))
            {
                progress.Spared(bytes);
                progress.Count(RestoreAction.Skipped);
                progress.Tell(RestoreAction.Skipped, CurrentPath(), (long)entry.Size);
                return;
            }

            Plan(parent, node, extents, isThere, existing);
        }
        catch (RestoreItemException e) when (!e.EndsRun)
        {
            progress.Fail(e.Code, CurrentPath(), e.Message);
        }
    }

    /// <summary>Whether the overwrite rule leaves what is there.</summary>
    internal static bool IsLeft(OverwriteRule rule, NodeMetadata entry, in TargetEntry existing) => rule switch
    {
        OverwriteRule.Never => true,
        OverwriteRule.IfNewer => entry.Modified.CompareTo(existing.Modified) <= 0,
        _ => false,
    };

    private void Plan(PlannedDirectory parent, Node node, IReadOnlyList<Extent>? extents, bool isThere, in TargetEntry existing)
    {
        NodeMetadata entry = node.Metadata;
        FileContent content = entry.Type == NodeType.File ? node.Content! : FileContent.Empty;
        PlannedFile file = new()
        {
            Directory = parent,
            Metadata = entry,
            Inline = content.Inline,
            Extents = extents,
            PageSize = content.Kind == ContentKind.Pages ? content.PageSize : 0,
            Existing = existing,
            Placement = !isThere ? Placement.New
                : existing.Type != entry.Type ? Placement.Replace
                : entry.Type == NodeType.File && options.Overwrite == OverwriteRule.IfChanged &&
                  existing.Size == entry.Size && existing.Modified == entry.Modified ? Placement.Keep : Placement.Update,
        };
        if (node.HardLinkGroup != 0)
        {
            file.Group = new LinkGroup { Directory = parent, Name = entry.Name };
        }

        if (FindFault(entry, content, content.Kind != ContentKind.Pages && extents is not null) is { } fault)
        {
            progress.Fail(ErrorCodes.CorruptData, CurrentPath(), fault);
            return;
        }

        parent.Hold();
        bool isPlanned = true;
        if (entry.Type != NodeType.File || content.Kind == ContentKind.Inline || file.Placement == Placement.Keep)
        {
            file.IsWholeInOne = true;
            _window.Direct.Add(_window.AddFile(file, _window.ChunkCount));
        }
        else
        {
            isPlanned = PlanChunks(file, content);
        }

        if (!isPlanned)
        {
            finisher.Done(parent);
        }
        else if (file.Group is { } group)
        {
            _groups.Add(node.HardLinkGroup, group);
        }
    }

    // Where a file with holes has data; null: everywhere. A page map is read for it, which is a thousandth of the file, and known to be whole before
    // anything is made.
    private IReadOnlyList<Extent>? ExtentsOf(Node node, out BackupIQException? damage)
    {
        damage = null;
        if (node is not { Metadata.Type: NodeType.File, Content: { } content })
        {
            return null;
        }

        if (content.Kind != ContentKind.Pages)
        {
            return content.Kind == ContentKind.Extents || (content.Kind == ContentKind.Indirect && content.Extents.Count > 0) ? content.Extents : null;
        }

        try
        {
            return new PageMap(metadata.Read, content, (long)node.Metadata.Size).ReadExtents();
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            damage = e;
            return null;
        }
    }

    // Extents beyond the size are a fault, which is found later.
    internal static long DataIn(NodeMetadata entry, IReadOnlyList<Extent>? extents)
    {
        ulong left = entry.Size;
        foreach (Extent extent in extents ?? [])
        {
            left -= Math.Min(left, extent.Length);
        }

        return (long)(extents is null ? entry.Size : entry.Size - left);
    }

    // What a tree says must agree with itself before anything is made of it.
    private static string? FindFault(NodeMetadata entry, FileContent content, bool hasExtents)
    {
        switch (entry.Type)
        {
            case NodeType.SymbolicLink:
                return entry.LinkTarget is { Length: > 0 } to && !to.AsSpan().Contains((byte)0) ? null : "the snapshot has no target for this symbolic link";
            case NodeType.File when content.Kind == ContentKind.Inline:
                return (ulong)content.Inline.Length == entry.Size ? null : "its content is not as long as its size says";
            case NodeType.File when hasExtents && content.Extents.Count > 0:
                Extent last = content.Extents[^1];
                return last.Offset + last.Length <= entry.Size ? null : "it has data beyond its size";
            case NodeType.File or NodeType.BlockDevice or NodeType.CharacterDevice or NodeType.Fifo or NodeType.Socket:
                return null;
            default:
                return $"it is of a kind ({(byte)entry.Type}) that this version does not know";
        }
    }

    // Adds the file and its chunks to the window, and goes on in further windows where there are many. False: told as failed, not added.
    private bool PlanChunks(PlannedFile file, FileContent content)
    {
        ChunkPlacer placer = new(file.Extents, (long)file.Metadata.Size);
        int first = _window.ChunkCount;
        BackupIQException? fault = null;
        try
        {
            if (content.Kind == ContentKind.Pages)
            {
                AddPages(file, new PageMap(metadata.Read, content, (long)file.Metadata.Size), ref first);
            }
            else if (content.Kind == ContentKind.Indirect)
            {
                foreach (ChunkReference list in content.Chunks)
                {
                    AddChunks(file, ReadList(list.Id), ref placer, ref first);
                }

                placer.ThrowIfIncomplete();
            }
            else
            {
                AddChunks(file, content.Chunks, ref placer, ref first);
                placer.ThrowIfIncomplete();
            }

            if (file.Placement == Placement.Replace && !file.IsSplit)
            {
                Clear(file);
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e) || e is RestoreItemException { EndsRun: false })
        {
            fault = e;
        }

        if (fault is not null)
        {
            _window.DropChunks(first);
            progress.Fail(SnapshotMetadata.DamageCode(fault), CurrentPath(), fault.Message);
            file.HasFailed = true;
            if (!file.IsSplit)
            {
                return false;
            }
        }

        int count = _window.ChunkCount - first;
        file.AddChunks(count);
        if (file.IsSplit)
        {
            AddPart(file, first);
            _window.Completed.Add(file);
            return true;
        }

        bool isWhole = file.Placement == Placement.New && count == 1 && file.Extents is null;
        file.IsWholeInOne = isWhole && (!options.Sparse || file.Metadata.Size < RestorePipeline.SparseBlock);
        int index = AddPart(file, first);
        if (count == 0 && file.Placement != Placement.Update)
        {
            _window.Direct.Add(index);
        }

        return true;
    }

    private int AddPart(PlannedFile file, int first)
    {
        int index = _window.AddFile(file, first);
        if (file.Placement == Placement.Update)
        {
            _window.Compare.Add(index);
        }

        return index;
    }

    private void AddChunks(PlannedFile file, IReadOnlyList<ChunkReference> chunks, ref ChunkPlacer placer, ref int first)
    {
        for (int i = 0; i < chunks.Count; i++)
        {
            ChunkReference chunk = chunks[i];
            AddChunk(file, chunk, new ChunkPart(0, chunk.Length), placer.Place(chunk.Length), default, ref first);
        }
    }

    // Of each block the runs in the order of their chunks, so that each chunk is fetched and verified once.
    private void AddPages(PlannedFile file, PageMap map, ref int first)
    {
        bool needsSums = file.Placement == Placement.Update || options.Verify;
        List<(PageRun Run, int FirstSum)> runs = [];
        for (int n = 0; n < map.BlockCount; n++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            PageBlock block = map.ReadBlock(n);
            file.AddPages(block.Digest);
            ulong[] sums = needsSums ? map.ReadSums(n, block) : [];
            runs.Clear();
            int pages = 0;
            foreach (PageRun run in block.Runs)
            {
                if (run.Chunk >= 0)
                {
                    runs.Add((run, pages));
                    pages += run.Count;
                }
            }

            runs.Sort(static (a, b) => a.Run.Chunk != b.Run.Chunk ? a.Run.Chunk.CompareTo(b.Run.Chunk) : a.FirstSum.CompareTo(b.FirstSum));
            foreach ((PageRun run, int firstSum) in runs)
            {
                ChunkPart part = new((uint)(run.Slot * map.PageSize), (uint)PageBlock.LengthOf(run.First, run.Count, map.PageSize, map.LengthOf(n)));
                long offset = (n * map.BlockSize) + ((long)run.First * map.PageSize);
                ReadOnlySpan<ulong> of = needsSums ? sums.AsSpan(firstSum, run.Count) : default;
                AddChunk(file, block.Chunks[run.Chunk], part, offset, of, ref first);
            }
        }
    }

    private void AddChunk(PlannedFile file, in ChunkReference chunk, ChunkPart part, long offset, ReadOnlySpan<ulong> sums, ref int first)
    {
        if (!metadata.TryFind(chunk.Id, out ChunkLocation location))
        {
            throw new BackupIQException(ErrorCodes.ChunkMissing, $"chunk {chunk.Id} is in no pack of the repository; the file was left out");
        }

        if (location.Length != chunk.Length)
        {
            throw new CorruptDataException($"chunk {chunk.Id} has another length than the snapshot says; the file was left out");
        }

        _window.AddChunk(chunk.Id, location, part, offset, sums, metadata);
        if (_window.Cost >= _windowCost && _window.ChunkCount > first + 64)
        {
            if (!file.IsSplit)
            {
                file.IsSplit = true;
                file.AddChunks(1);
                if (file.Placement == Placement.Replace)
                {
                    Clear(file);
                }
            }

            file.AddChunks(_window.ChunkCount - first);
            AddPart(file, first);
            Flush();
            first = 0;
        }
    }

    private ChunkReference[] ReadList(ChunkId id)
    {
        TlvReader reader = new(metadata.Read(id).Span);
        return NodeFormat.ReadChunks(ref reader);
    }

    // Removes what stands in the file's place and is no file.
    private void Clear(PlannedFile file)
    {
        if (!options.DryRun)
        {
            RemoveConflict(target, _cleaner, options, file.Directory, file.Metadata.Name, file.Existing.Type == NodeType.Directory);
            file.Placement = Placement.New;
        }
    }

    /// <summary>
    /// Removes what stands where something else is to be. A directory that is not empty only with <see cref="RestoreOptions.Delete"/>, as
    /// restic does it.
    /// </summary>
    internal static void RemoveConflict(
        IRestoreTarget target, TargetCleaner cleaner, RestoreOptions options, PlannedDirectory directory, byte[] name, bool isDirectory)
    {
        if (isDirectory && options.Delete)
        {
            byte[] path = directory.Path();
            if (!cleaner.Remove(directory.Target!, path.Length == 1 ? [] : path, name, filtered: true))
            {
                throw new RestoreItemException(ErrorCodes.RestoreTarget, "a directory stands in its place that could not be removed wholly");
            }
        }
        else
        {
            target.Remove(directory.Target!, name, isDirectory);
        }
    }

    // Makes a directory and those on the way to it, from the top.
    private void Ensure(PlannedDirectory directory)
    {
        if (directory.IsReady)
        {
            return;
        }

        List<PlannedDirectory> missing = [];
        for (PlannedDirectory? at = directory; at is not null && !at.IsReady; at = at.Parent)
        {
            missing.Add(at);
        }

        for (int i = missing.Count - 1; i >= 0; i--)
        {
            PlannedDirectory at = missing[i];
            at.IsReady = true;
            at.HasFailed = at.Parent!.HasFailed;
            if (at.HasFailed)
            {
                continue;
            }

            progress.Found(0, 0);
            try
            {
                Make(at, at.Parent);
            }
            catch (RestoreItemException e) when (!e.EndsRun)
            {
                at.HasFailed = true;
                progress.Fail(e.Code, at.Path(), e.Message + "; nothing in it was restored");
            }
        }
    }

    private void Make(PlannedDirectory directory, PlannedDirectory parent)
    {
        if (!parent.IsEmpty && target.TryStat(parent.Target!, directory.Name, out TargetEntry existing))
        {
            if (existing.Type == NodeType.Directory)
            {
                directory.Target = target.OpenDirectory(parent.Target!, directory.Name);
                if (!directory.IsSelected || IsLeft(options.Overwrite, directory.Metadata!, existing))
                {
                    directory.Metadata = null;
                }

                directory.Metadata = options.DryRun ? null : directory.Metadata;
                return;
            }

            if (IsLeft(options.Overwrite, directory.Metadata!, existing))
            {
                throw new RestoreItemException(ErrorCodes.RestoreTarget, "something else stands in the directory's place, and the overwrite rule leaves it");
            }

            if (!options.DryRun)
            {
                target.Remove(parent.Target!, directory.Name, isDirectory: false);
            }
        }

        if (!options.DryRun)
        {
            directory.Target = target.CreateDirectory(parent.Target!, directory.Name);
        }
    }

    private void DeleteExtras(PlannedDirectory directory, ChunkId tree)
    {
        if (!options.Delete || directory.IsEmpty || directory.HasFailed || !deletions.Allows(_path.AsSpan(0, _pathLength)))
        {
            return;
        }

        byte[] path = _path.AsSpan(0, _pathLength).ToArray();
        List<byte[]> known = [];
        if (!SnapshotWalk.TryReadNames(metadata.Read, tree, known))
        {
            progress.Warn("a directory is damaged in the repository, so nothing was deleted in it", () => path);
            return;
        }

        int next = 0;
        foreach (byte[] name in target.List(directory.Target!))
        {
            while (next < known.Count && known[next].AsSpan().SequenceCompareTo(name) < 0)
            {
                next++;
            }

            if (next >= known.Count || !known[next].AsSpan().SequenceEqual(name))
            {
                _ = _cleaner.Remove(directory.Target!, path, name, filtered: true);
            }
        }
    }

    private void Flush()
    {
        _window = exchange(_window);
        _maxEntries = Math.Min(_maxEntries * 4, MaxEntriesPerWindow);
    }

    private void AppendToPath(byte[] name)
    {
        int length = _pathLength + 1 + name.Length;
        if (length > _path.Length)
        {
            Array.Resize(ref _path, length * 2);
        }

        _path[_pathLength] = (byte)'/';
        name.CopyTo(_path, _pathLength + 1);
        _pathLength = length;
    }

    private byte[] CurrentPath() => _path.AsSpan(0, _pathLength).ToArray();

    /// <summary>Lays chunks one after the other into a file's runs of data, and refuses those that do not fit.</summary>
    private struct ChunkPlacer(IReadOnlyList<Extent>? extents, long size)
    {
        private int _extent;
        private long _at;

        public long Place(uint length)
        {
            if (extents is null)
            {
                long offset = _at;
                _at += length;
                return length > 0 && _at <= size ? offset : throw Mismatch();
            }

            if (length == 0 || _extent >= extents.Count || _at + length > (long)extents[_extent].Length)
            {
                throw Mismatch();
            }

            long place = (long)extents[_extent].Offset + _at;
            _at += length;
            if (_at == (long)extents[_extent].Length)
            {
                _extent++;
                _at = 0;
            }

            return place;
        }

        public readonly void ThrowIfIncomplete()
        {
            if (extents is null ? _at != size : _extent != extents.Count)
            {
                throw Mismatch();
            }
        }

        private static CorruptDataException Mismatch() => new("its chunks do not add up to its size; the file was left out");
    }
}
