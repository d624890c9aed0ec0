using System.Numerics;
using System.Text.Json;
using BackupIQ.Engine.Copy;
using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Backup;

/// <summary>
/// Something that can be backed up as a tree of entries. A <see cref="Walk"/> is consumed by one thread;
/// <see cref="Describe"/> and <see cref="Open"/> are called by any thread, for any entry of the last walk, until the source is disposed.
/// </summary>
public interface IBackupSource : IDisposable
{
    /// <summary>What the snapshot's <c>kind</c> will say: <c>files</c>, <c>command</c>, …</summary>
    string Kind { get; }

    /// <summary>The paths as the snapshot will name them (absolute, for files), as bytes.</summary>
    IReadOnlyList<byte[]> Paths { get; }

    /// <summary>
    /// Whether nothing can change in it, and <see cref="SourceStat.Device"/> tells all that is kept of an entry but its name: one that has the
    /// parent's device, inode, size and time is the parent's, however young. Where it is false, devices are not compared and change times are.
    /// </summary>
    bool IsAtRest => false;

    /// <summary>Whether it can be had again from the start, by another <see cref="Walk"/> when the one before has ended: not what a command prints.</summary>
    bool IsRepeatable => true;

    /// <summary>
    /// All entries depth first, a folder before its content, siblings sorted by the unsigned bytes of their names, each name once.
    /// The walk starts inside the virtual root: its first event enters the first top folder. What cannot be read is an event of its
    /// own and never an exception; an exception ends the backup.
    /// </summary>
    IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken);

    /// <summary>Whether <see cref="WalkLast"/> goes on where <see cref="Walk"/> ends.</summary>
    bool HasLastPart => false;

    /// <summary>
    /// What can be had only once every file of <see cref="Walk"/> has been read, in the folders that are still open and in the same order of names.
    /// It is called when that is so and not before, by the thread that compares.
    /// </summary>
    IEnumerable<SourceEvent> WalkLast(CancellationToken cancellationToken) => [];

    /// <summary>
    /// What the snapshot says of a database beside its files (docs/format.md, Snapshots), asked for when all was read; null: it is none.
    /// </summary>
    JsonElement? Document => null;

    /// <summary>
    /// Everything that is kept of an entry whose content is not read: folders, links, devices. Separate from the walk because an entry
    /// that did not change needs none of it.
    /// </summary>
    /// <exception cref="SourceItemException">It vanished or may not be read.</exception>
    NodeMetadata Describe(SourceEntry entry);

    /// <summary>Opens a file's content. The caller disposes it.</summary>
    /// <exception cref="SourceItemException">It vanished, may not be read or is no longer a file.</exception>
    ISourceFile Open(SourceEntry entry);
}

/// <summary>A file that is being read. Not thread-safe, but for <see cref="Read"/>, which any number of threads may call.</summary>
public interface ISourceFile : IDisposable
{
    /// <summary>
    /// Whether it can be read only once and from the start, each <see cref="Read"/> where the last one ended, by one thread: the output
    /// of a command. Anything else throws <see cref="InvalidOperationException"/>.
    /// </summary>
    bool IsSequential { get; }

    /// <summary>The file's state when it was opened.</summary>
    SourceStat Opened { get; }

    /// <summary>The file's state now, from the open file (fstat).</summary>
    SourceStat Stat();

    /// <summary>
    /// Everything that is kept of the file, with the state that it was opened in. It is the open file that is described, whoever has its
    /// name by now.
    /// </summary>
    /// <exception cref="SourceItemException">It may not be read.</exception>
    NodeMetadata Describe();

    /// <summary>Reads at <paramref name="offset"/> until <paramref name="destination"/> is full or the file ends; returns the bytes read.</summary>
    /// <exception cref="SourceItemException">The read failed.</exception>
    int Read(Span<byte> destination, long offset);

    /// <summary>
    /// The next run of data at or after <paramref name="offset"/> and before <paramref name="fileEnd"/>; false when only a hole follows.
    /// A source without holes answers with all that is left.
    /// </summary>
    bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength);

    /// <summary>Once it was read: whether the next backup is to read it too, changed or not, because something is wrong with it that must be told again.</summary>
    bool IsReadAgain => false;

    /// <summary>Chunks of its content that the repository may have, where the source knows: they need not be read. Of a file without holes.</summary>
    internal KnownChunks? Known => null;
}

/// <summary>What the file system says of an entry: enough to tell whether it changed.</summary>
public readonly record struct SourceStat
{
    public NodeType Type { get; init; }

    /// <summary>The low 12 bits of st_mode.</summary>
    public uint Mode { get; init; }

    public uint UserId { get; init; }

    public uint GroupId { get; init; }

    public ulong Size { get; init; }

    public FileTime Modified { get; init; }

    public FileTime Changed { get; init; }

    public ulong Inode { get; init; }

    public ulong Device { get; init; }

    public uint LinkCount { get; init; }

    public uint DeviceMajor { get; init; }

    public uint DeviceMinor { get; init; }

    /// <summary>512-byte blocks in use; fewer than the size needs means that the file may have holes.</summary>
    public ulong Blocks { get; init; }
}

/// <summary>One entry of a walk. <see cref="State"/> is the source's own.</summary>
public sealed class SourceEntry
{
    /// <summary>The entry's name, bytes, without folder.</summary>
    public required byte[] Name { get; init; }

    public required SourceStat Stat { get; init; }

    /// <summary>The folder's entry, or null directly under the virtual root.</summary>
    public SourceEntry? Parent { get; init; }

    /// <summary>The entry's whole path: the names from the top folder down, each behind a slash.</summary>
    public byte[] FullPath()
    {
        int length = 0;
        for (SourceEntry? at = this; at is not null; at = at.Parent)
        {
            length += at.Name.Length + 1;
        }

        byte[] path = new byte[length];
        for (SourceEntry? at = this; at is not null; at = at.Parent)
        {
            length -= at.Name.Length;
            at.Name.CopyTo(path, length);
            path[--length] = (byte)'/';
        }

        return path;
    }

    /// <summary>What the source needs to find the entry again, such as its open folder.</summary>
    public object? State { get; init; }

    /// <summary>
    /// The size in bytes of the pages that the file consists of, a power of two from 512 to 65,536, where a program writes it page by page: it
    /// is stored as a page map, and a later backup stores its changed pages alone. 0: a file like any other.
    /// </summary>
    public int PageSize
    {
        get;
        init => field = value == 0 || (value is >= 512 and <= 65_536 && BitOperations.IsPow2(value))
            ? value
            : throw new ArgumentOutOfRangeException(nameof(PageSize), value, "A page has a power of two from 512 to 65,536 bytes.");
    }

    /// <summary>
    /// The node that this entry is a copy of, where the source is a snapshot: its hard link group, its flags and the fields that this version
    /// does not know are kept.
    /// </summary>
    internal Node? Original { get; init; }

    /// <summary>
    /// What the repository that is written to has of this entry, where the source knows it: then it is not read, if its content is there. Of a
    /// folder the source vouches that everything below it is there; it is one leaf of the walk, and what is below it is not walked.
    /// </summary>
    internal StoredNode? Stored { get; init; }

    /// <summary>Chunks of a file that the repository may have, where the source knows.</summary>
    internal KnownChunks? Known { get; init; }

    /// <summary>
    /// The page map, in the repository that is written to, of another version of the file, where the source knows one: the pages are compared with it.
    /// </summary>
    internal ParentPages? Pages { get; init; }
}

/// <summary>A node as it is stored: its fields, as they go into a page, and its scan entry.</summary>
internal sealed record StoredNode(byte[] Fields, ScanEntry Scan);

/// <summary>What a walk meets.</summary>
public enum SourceEventKind
{
    /// <summary>A folder begins; its entries follow.</summary>
    Enter,

    /// <summary>An entry that is not a folder.</summary>
    Leaf,

    /// <summary>
    /// A file that is to be read now, in the order in which these come, though its place is later: its <see cref="Leaf"/> follows, with this very entry. For sources that
    /// cannot choose when a file can be had.
    /// </summary>
    Ahead,

    /// <summary>The folder entered last is complete.</summary>
    Leave,

    /// <summary>Something could not be read and is left out; <see cref="SourceEvent.Error"/> says what. It does not end the walk.</summary>
    Error,
}

/// <summary>A step of a walk: an entry, or what went wrong.</summary>
public readonly record struct SourceEvent(SourceEventKind Kind, SourceEntry? Entry, SourceItemException? Error);
