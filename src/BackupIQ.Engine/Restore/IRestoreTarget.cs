using BackupIQ.Engine.Trees;

namespace BackupIQ.Engine.Restore;

/// <summary>
/// Where a restore makes its entries: the seam between the engine, which knows what to write, and an operating system, which knows how.
/// Entries are named by an open directory and a name of bytes, never by a path, so that nothing leads out of the target.
/// </summary>
/// <remarks>
/// Every implementation guarantees:
/// <list type="bullet">
/// <item>No call follows a symbolic link below the root, also when another process exchanges entries meanwhile.</item>
/// <item>A name that could leave its directory is refused with <c>HostileName</c>, whatever the caller checked before.</item>
/// <item>Calls may come from several threads; two threads never work on the same entry.</item>
/// <item>What goes wrong with one entry is a <see cref="RestoreItemException"/>; one whose <see cref="RestoreItemException.EndsRun"/> is set
/// (no space, read-only) would meet every further entry.</item>
/// <item>Metadata that may not or cannot be set is no failure: it is answered as <see cref="MetadataLoss"/>.</item>
/// </list>
/// </remarks>
public interface IRestoreTarget : IDisposable
{
    /// <summary>Opens the root; with <paramref name="create"/> it is made, with its parents, when it is not there. Null: it is not there.</summary>
    TargetDirectory? OpenRoot(bool create);

    /// <summary>What stands under a name; false when nothing does.</summary>
    bool TryStat(TargetDirectory directory, ReadOnlySpan<byte> name, out TargetEntry entry);

    /// <summary>Makes a directory that only its owner may enter; its metadata is set at the end by <see cref="FinishDirectory"/>.</summary>
    TargetDirectory CreateDirectory(TargetDirectory parent, ReadOnlySpan<byte> name);

    /// <summary>Opens a directory that is there. A symbolic link or anything else is a <see cref="RestoreItemException"/>.</summary>
    TargetDirectory OpenDirectory(TargetDirectory parent, ReadOnlySpan<byte> name);

    /// <summary>Gives a directory its metadata and lets go of it. Its entries must be done with.</summary>
    MetadataLoss FinishDirectory(TargetDirectory directory, NodeMetadata metadata);

    /// <summary>Lets go of a directory without changing it.</summary>
    void LeaveDirectory(TargetDirectory directory);

    /// <summary>Makes a file whose name is free, writes its content and metadata and closes it.</summary>
    MetadataLoss WriteFile(TargetDirectory directory, NodeMetadata metadata, ReadOnlySpan<byte> content);

    /// <summary>Makes an empty file whose name is free, to be written in any order.</summary>
    ITargetFile CreateFile(TargetDirectory directory, ReadOnlySpan<byte> name);

    /// <summary>
    /// Opens a regular file that is there: the one that <paramref name="expected"/> told of, else a <see cref="RestoreItemException"/>.
    /// </summary>
    ITargetFile OpenFile(TargetDirectory directory, ReadOnlySpan<byte> name, in TargetIdentity expected, bool write);

    /// <summary>Makes a symbolic link, device, fifo or socket with its metadata under a name that is free.</summary>
    MetadataLoss CreateSpecial(TargetDirectory directory, NodeMetadata metadata);

    /// <summary>What a symbolic link points to.</summary>
    byte[] ReadLink(TargetDirectory directory, ReadOnlySpan<byte> name);

    /// <summary>Gives an entry other than a directory its metadata where it differs from what is there.</summary>
    MetadataLoss SetMetadata(TargetDirectory directory, NodeMetadata metadata, in TargetEntry existing);

    /// <summary>Makes another name for a file that is there.</summary>
    void Link(TargetDirectory directory, ReadOnlySpan<byte> name, TargetDirectory existingDirectory, ReadOnlySpan<byte> existingName);

    /// <summary>Removes an entry; a directory must be empty.</summary>
    void Remove(TargetDirectory directory, ReadOnlySpan<byte> name, bool isDirectory);

    /// <summary>The names in a directory, sorted by their unsigned bytes.</summary>
    IReadOnlyList<byte[]> List(TargetDirectory directory);

    /// <summary>Everything written is durable afterwards.</summary>
    void Flush();
}

/// <summary>A directory of a target, as its implementation knows it.</summary>
public abstract class TargetDirectory
{
    /// <summary>Made by this restore, so nothing stands in it but what this restore puts there.</summary>
    public required bool IsNew { get; init; }
}

/// <summary>A file of a target that is open. Positioned reads and writes may come from several threads; disposing closes it.</summary>
public interface ITargetFile : IDisposable
{
    /// <summary>Names the file, however it is reached: to be opened again by <see cref="IRestoreTarget.OpenFile"/>.</summary>
    TargetIdentity Identity { get; }

    /// <summary>Sets the length; what is added reads as zeros.</summary>
    void SetLength(long length);

    /// <summary>Reserves space as far as the file system can, so that a lack of it shows now and the file is not scattered.</summary>
    void Reserve(long length);

    /// <summary>Writes all of <paramref name="bytes"/> at <paramref name="offset"/>; the file grows as needed.</summary>
    void Write(ReadOnlySpan<byte> bytes, long offset);

    /// <summary>Reads until <paramref name="destination"/> is full or the file ends; returns the bytes read.</summary>
    int Read(Span<byte> destination, long offset);

    /// <summary>Whether any of this range takes space; true where the file system does not know holes.</summary>
    bool HasData(long offset, long length);

    /// <summary>Makes a range read as zeros, as a hole where the file system knows them.</summary>
    void Clear(long offset, long length);

    /// <summary>Gives the file its metadata, once its content is done.</summary>
    MetadataLoss SetMetadata(NodeMetadata metadata);
}

/// <summary>Tells a file from any other, as long as it exists.</summary>
public readonly record struct TargetIdentity(ulong Device, ulong Inode);

/// <summary>What stands under a name in the target.</summary>
/// <param name="Type">What it is; <see cref="NodeType.Socket"/> also for what this version does not know.</param>
/// <param name="Size">Bytes of a file.</param>
/// <param name="Modified">Its modification time.</param>
/// <param name="Identity">Which one it is.</param>
/// <param name="LinkCount">How many names it has.</param>
/// <param name="Mode">Permission bits, setuid, setgid, sticky.</param>
/// <param name="UserId">Its owner.</param>
/// <param name="GroupId">Its group.</param>
/// <param name="DeviceMajor">Of a device.</param>
/// <param name="DeviceMinor">Of a device.</param>
public readonly record struct TargetEntry(
    NodeType Type, ulong Size, FileTime Modified, TargetIdentity Identity, uint LinkCount, uint Mode, uint UserId, uint GroupId,
    uint DeviceMajor, uint DeviceMinor);

/// <summary>What could not be kept of an entry's metadata, mostly because the restore does not run as root.</summary>
[Flags]
public enum MetadataLoss
{
    None = 0,

    /// <summary>Owner or group: it belongs to whoever restores.</summary>
    Owner = 1,

    /// <summary>setuid and setgid were left off, because the owner is not the one for whom they were meant.</summary>
    SpecialBits = 2,

    /// <summary>Permission bits.</summary>
    Mode = 4,

    /// <summary>An extended attribute that only root may set (<c>trusted.</c>, <c>security.</c>, capabilities).</summary>
    PrivilegedAttribute = 8,

    /// <summary>An extended attribute or ACL that the file system does not take.</summary>
    Attribute = 16,

    /// <summary>The modification time.</summary>
    Time = 32,

    /// <summary>A device, which only root may make: the entry is missing.</summary>
    Device = 64,
}
