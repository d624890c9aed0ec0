using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Packs;

namespace BackupIQ.Engine.Restore;

/// <summary>A directory of the snapshot on its way to the target. It is finished when everything in it is.</summary>
internal sealed class PlannedDirectory(PlannedDirectory? parent, byte[] name)
{
    private int _pending = 1;

    public PlannedDirectory? Parent { get; } = parent;

    public byte[] Name { get; } = name;

    /// <summary>The directory in the target; null while it is not made (nothing in it was chosen yet, or a dry run).</summary>
    public TargetDirectory? Target { get; set; }

    /// <summary>What it gets at the end; null: it keeps what it has.</summary>
    public NodeMetadata? Metadata { get; set; }

    /// <summary>It is chosen itself, not only on the way to something that is.</summary>
    public bool IsSelected { get; set; }

    /// <summary>It was looked for or made: <see cref="Target"/> says what came of it.</summary>
    public bool IsReady { get; set; }

    /// <summary>It could not be made; nothing in it can.</summary>
    public bool HasFailed { get; set; }

    /// <summary>Nothing stands in it: it was made now, or would be in a dry run.</summary>
    public bool IsEmpty => Target is null || Target.IsNew;

    public void Hold() => Interlocked.Increment(ref _pending);

    /// <summary>One thing in it is done; true when that was the last.</summary>
    public bool Release() => Interlocked.Decrement(ref _pending) == 0;

    /// <summary>Its path, or that of an entry in it, starting with a slash.</summary>
    public byte[] Path(ReadOnlySpan<byte> entry = default)
    {
        int length = entry.Length + (entry.IsEmpty ? 0 : 1);
        for (PlannedDirectory? at = this; at?.Parent is not null; at = at.Parent)
        {
            length += at.Name.Length + 1;
        }

        if (length == 0)
        {
            return "/"u8.ToArray();
        }

        byte[] path = new byte[length];
        int end = length;
        Prepend(path, entry, ref end);
        for (PlannedDirectory? at = this; at?.Parent is not null; at = at.Parent)
        {
            Prepend(path, at.Name, ref end);
        }

        return path;
    }

    private static void Prepend(byte[] path, ReadOnlySpan<byte> name, ref int end)
    {
        if (!name.IsEmpty)
        {
            end -= name.Length;
            name.CopyTo(path.AsSpan(end));
            path[--end] = (byte)'/';
        }
    }
}

/// <summary>Entries of the snapshot that are one file; the first that is restored is made, the others are linked to it.</summary>
internal sealed class LinkGroup
{
    public required PlannedDirectory Directory { get; init; }

    public required byte[] Name { get; init; }

    /// <summary>The file is there, whole.</summary>
    public volatile bool IsReady;

    /// <summary>Why the file is not there; its other names share its fate.</summary>
    public volatile ErrorCode? Failure;
}

/// <summary>Another name for a file of the same restore.</summary>
internal readonly record struct PlannedLink(PlannedDirectory Directory, NodeMetadata Metadata, LinkGroup Group);

/// <summary>What is to be done about a file's or special entry's place in the target.</summary>
internal enum Placement
{
    /// <summary>The name is free.</summary>
    New,

    /// <summary>A regular file stands there: what it has right stays.</summary>
    Update,

    /// <summary>Something else stands there, or a file that may not be written: it is removed first.</summary>
    Replace,

    /// <summary>The content is right; only metadata is set.</summary>
    Keep,
}

/// <summary>A file, link or device of the snapshot on its way to the target.</summary>
internal sealed class PlannedFile
{
    private readonly Lock _gate = new();
    private long _chunksLeft;
    private PageDigest _pages;

    public required PlannedDirectory Directory { get; init; }

    public required NodeMetadata Metadata { get; init; }

    /// <summary>The content, where it stands in the node.</summary>
    public ReadOnlyMemory<byte> Inline { get; init; }

    /// <summary>Where data lies, in a file with holes; null: everywhere.</summary>
    public IReadOnlyList<Extent>? Extents { get; init; }

    /// <summary>Bytes of a page, where the file has a page map; else 0.</summary>
    public int PageSize { get; init; }

    /// <summary>Whether the pages that were expected and those that came, each told of once, are not the same.</summary>
    public bool HasWrongPages
    {
        get
        {
            lock (_gate)
            {
                return _pages != default;
            }
        }
    }

    public LinkGroup? Group { get; set; }

    public Placement Placement { get; set; }

    public TargetEntry Existing { get; set; }

    /// <summary>Its chunks are planned in several windows.</summary>
    public bool IsSplit { get; set; }

    /// <summary>All of it is one chunk, or stands in the node: it is made, written and closed at once.</summary>
    public bool IsWholeInOne { get; set; }

    /// <summary>Something of it was written, or must be.</summary>
    public bool IsDifferent { get; set; }

    /// <summary>Data stands where the snapshot has a hole.</summary>
    public bool NeedsClearing { get; set; }

    /// <summary>The open file, or null. Guarded by a lock on this object.</summary>
    public ITargetFile? Handle { get; set; }

    /// <summary>Who uses the handle now. Guarded by a lock on this object.</summary>
    public int Users { get; set; }

    /// <summary>Set once the file was made or opened for writing: tells it from any other of that name.</summary>
    public TargetIdentity? Identity { get; set; }

    /// <summary>Where it stands among the open files. Guarded by <see cref="OpenTargetFiles"/>.</summary>
    public LinkedListNode<PlannedFile>? Place { get; set; }

    public volatile bool HasFailed;

    /// <summary>It is whole and has its metadata.</summary>
    public volatile bool IsFinished;

    public byte[] Path => Directory.Path(Metadata.Name);

    /// <summary>Pages that are expected, or that came.</summary>
    public void AddPages(in PageDigest pages)
    {
        lock (_gate)
        {
            _pages ^= pages;
        }
    }

    public void AddChunks(long count) => Interlocked.Add(ref _chunksLeft, count);

    /// <summary>A chunk is in its place, or never will be; true when that was the last.</summary>
    public bool ChunkDone() => Interlocked.Decrement(ref _chunksLeft) == 0;
}

/// <summary>A chunk of a file: where it is fetched from and where it goes.</summary>
internal struct PlannedChunk
{
    public ChunkId Id;
    public long FileOffset;
    public uint FrameOffset;
    public uint Length;

    /// <summary>What of it goes there: all of it, but of a chunk of pages.</summary>
    public uint PartOffset;
    public uint PartLength;

    /// <summary>Where the sums of its pages begin (<see cref="RestoreWindow.SumsOf"/>).</summary>
    public int FirstSum;

    /// <summary>Index in <see cref="RestoreWindow.Files"/>.</summary>
    public int File;

    /// <summary>The number of its frame in the window.</summary>
    public int Frame;

    /// <summary>The next chunk of the same frame, or -1.</summary>
    public int Next;

    /// <summary>The target has it already.</summary>
    public bool IsRight;
}

/// <summary>A frame that some chunks of a window are in.</summary>
internal struct PlannedFrame
{
    public FrameReference Reference;
    public int PackOrder;
    public int FirstChunk;
    public int LastChunk;
}

/// <summary>A file in a window, with those of its chunks that the window has.</summary>
internal readonly record struct WindowFile(PlannedFile File, int FirstChunk, int ChunkCount);
