using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// Puts the steps of a walk together into trees, from the leaves up, waiting for each file at its place, so that equal sources give equal
/// trees whatever the workers' order. Counts what became of the entries.
/// </summary>
internal sealed class TreeAssembler
{
    /// <summary>A file with more chunks keeps their list in metadata chunks of its own: the node stays small.</summary>
    private const int MaxChunksInNode = 1024;

    private readonly StoreMetadata _store;
    private readonly BackupProgress _progress;
    private readonly Stack<(DirectoryBuilder Builder, WalkStep? Step)> _open = new();
    private readonly TlvWriter _fields = new();
    private long _filesNew;
    private long _filesChanged;
    private long _filesUnmodified;
    private long _filesFailed;
    private long _dirsNew;
    private long _dirsChanged;
    private long _dirsUnmodified;
    private long _bytes;

    public TreeAssembler(StoreMetadata store, BackupProgress progress)
    {
        _store = store;
        _progress = progress;
        _open.Push((new DirectoryBuilder(store), null));
    }

    public SnapshotSummary Counts => new()
    {
        FilesNew = _filesNew,
        FilesChanged = _filesChanged,
        FilesUnmodified = _filesUnmodified,
        FilesFailed = _filesFailed,
        DirsNew = _dirsNew,
        DirsChanged = _dirsChanged,
        DirsUnmodified = _dirsUnmodified,
        TotalFilesProcessed = _filesNew + _filesChanged + _filesUnmodified,
        TotalBytesProcessed = _bytes,
    };

    public void Add(WalkStep step, CancellationToken stop)
    {
        switch (step.Kind)
        {
            case WalkStepKind.Enter:
                _open.Push((new DirectoryBuilder(_store), step));
                break;
            case WalkStepKind.Leave:
                Leave();
                break;
            case WalkStepKind.Node:
                _open.Peek().Builder.Add(step.Name, step.Fields, step.Scan);
                Count(step, step.Outcome, step.Size);
                break;
            default:
                AddFile(step, stop);
                break;
        }
    }

    /// <summary>The root, when all is in.</summary>
    public DirectoryIds Finish() => _open.Pop().Builder.Finish();

    /// <summary>The root as it is so far; the work goes on afterwards.</summary>
    public DirectoryIds Peek()
    {
        (byte[], ReadOnlyMemory<byte>, ScanEntry)? last = null;
        foreach ((DirectoryBuilder builder, WalkStep? step) in _open)
        {
            DirectoryIds ids = builder.Peek(last);
            if (step is null)
            {
                return ids;
            }

            last = (step.Name, Encode(FolderOf(step, ids)).ToArray(), step.Scan with { Subscan = ids.Scan });
        }

        throw new InvalidOperationException("The root is always open.");
    }

    private void Leave()
    {
        (DirectoryBuilder builder, WalkStep? step) = _open.Pop();
        DirectoryIds ids = builder.Finish();
        ReadOnlySpan<byte> fields = Encode(FolderOf(step!, ids));
        EntryOutcome outcome = step!.ParentFields is null ? EntryOutcome.New
            : fields.SequenceEqual(step.ParentFields) ? EntryOutcome.Unmodified : EntryOutcome.Changed;
        _open.Peek().Builder.Add(step.Name, fields, step.Scan with { Subscan = ids.Scan });
        switch (outcome)
        {
            case EntryOutcome.New: _dirsNew++; break;
            case EntryOutcome.Changed: _dirsChanged++; break;
            default: _dirsUnmodified++; break;
        }

        Tell(step, outcome, 0);
    }

    private void AddFile(WalkStep step, CancellationToken stop)
    {
        FileJob job = step.Job!;
        job.Wait(stop);
        if (job.Content is null)
        {
            _filesFailed++;
            Tell(step, EntryOutcome.Failed, 0);
            return;
        }

        Node node = new()
        {
            Metadata = NameOf(job.Metadata!, step.Name),
            Content = Shorten(job.Content),
            HardLinkGroup = step.HardLinkGroup,
            ChangedWhileRead = job.ChangedWhileRead || step.Entry!.Original is { ChangedWhileRead: true },
            UnknownFields = UnknownOf(step),
        };
        _open.Peek().Builder.Add(step.Name, Encode(node), ScanEntry.Of(job.Stat));
        Count(step, step.Outcome, job.BytesRead);
    }

    private static Node FolderOf(WalkStep step, DirectoryIds ids) => new() { Metadata = step.Metadata!, Subtree = ids.Tree, UnknownFields = UnknownOf(step) };

    private static ReadOnlyMemory<byte> UnknownOf(WalkStep step) => step.Entry?.Original?.UnknownFields ?? default;

    // Another name only where the file has several.
    private static NodeMetadata NameOf(NodeMetadata metadata, byte[] name) =>
        metadata.Name.AsSpan().SequenceEqual(name) ? metadata : metadata with { Name = name };

    private void Count(WalkStep step, EntryOutcome outcome, long bytes)
    {
        if (step.Entry!.Stat.Type == NodeType.File)
        {
            _bytes += bytes;
            switch (outcome)
            {
                case EntryOutcome.New: _filesNew++; break;
                case EntryOutcome.Changed: _filesChanged++; break;
                default: _filesUnmodified++; break;
            }
        }

        Tell(step, outcome, bytes);
    }

    private void Tell(WalkStep step, EntryOutcome outcome, long bytes) =>
        _progress.OnItem?.Invoke(step.Entry!.FullPath(), outcome, bytes);

    // A long list is cut where an id says so, so that a change in the middle of a large file changes one list only.
    private FileContent Shorten(FileContent content)
    {
        if (content.Chunks.Count <= MaxChunksInNode || content.HasLists)
        {
            return content;
        }

        List<ChunkReference> lists = [];
        List<ChunkReference> list = [];
        TlvWriter writer = new(64 << 10);
        for (int i = 0; i < content.Chunks.Count; i++)
        {
            list.Add(content.Chunks[i]);
            bool cut = (list.Count >= 256 && ((ulong)content.Chunks[i].Id.Low & 0x3FF) == 0) || list.Count >= 4096;
            if (cut || i == content.Chunks.Count - 1)
            {
                writer.Clear();
                NodeFormat.WriteChunks(writer, list);
                lists.Add(new ChunkReference(_store(writer.Written), (uint)writer.Length));
                list.Clear();
            }
        }

        return new FileContent { Kind = ContentKind.Indirect, Profile = content.Profile, Extents = content.Extents, Chunks = lists };
    }

    private ReadOnlySpan<byte> Encode(Node node)
    {
        _fields.Clear();
        NodeFormat.Write(_fields, node);
        return _fields.Written;
    }
}
