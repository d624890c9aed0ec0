using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Copy;

/// <summary>A snapshot of the source that the target has a copy of, whole or in part: what is the same in the next one need not be read.</summary>
/// <param name="Original">The one in the source.</param>
/// <param name="Copy">The one in the target.</param>
/// <param name="IsVouchedFor">
/// Whether everything that the copy needs is known to be there for sessions of this run, because one of them stored or looked up all of it
/// after all had been announced; then whole folders are taken over unread.
/// </param>
internal sealed record CopiedTree(Snapshot Original, Snapshot Copy, bool IsVouchedFor);

/// <summary>The same folder in an original and in its copy, walked in step: both are sorted, so each entry is passed once.</summary>
internal sealed class CopiedFolder
{
    private readonly ReadMetadata _readOriginal;
    private readonly ReadMetadata _readCopy;
    private readonly DirectoryCursor _original;
    private readonly DirectoryCursor _copy;

    private CopiedFolder(ReadMetadata readOriginal, ReadMetadata readCopy, DirectoryCursor original, DirectoryCursor copy, bool isVouchedFor)
    {
        _readOriginal = readOriginal;
        _readCopy = readCopy;
        _original = original;
        _copy = copy;
        IsVouchedFor = isVouchedFor;
    }

    /// <summary>As <see cref="CopiedTree.IsVouchedFor"/>.</summary>
    public bool IsVouchedFor { get; }

    /// <summary>The root folders; null when either cannot be read, which only means that more is read again.</summary>
    public static CopiedFolder? Open(ReadMetadata readOriginal, ReadMetadata readCopy, CopiedTree tree) =>
        tree.Original.ScanId is { } scan && tree.Copy.ScanId is { } copiedScan
            ? Open(readOriginal, readCopy, (tree.Original.TreeId, scan), (tree.Copy.TreeId, copiedScan), tree.IsVouchedFor)
            : null;

    /// <summary>
    /// The entry of this name, which must not sort before the last one asked for, in both; false where one of them lacks it. What is given points
    /// into pages and is valid until the next call.
    /// </summary>
    public bool Seek(ReadOnlySpan<byte> name, out NodePeek original, out ScanEntry originalScan, out NodePeek copy, out ScanEntry copyScan)
    {
        copy = default;
        copyScan = default;
        return _original.Seek(name, out original, out originalScan) && _copy.Seek(name, out copy, out copyScan) && IsCopyOf(original, copy);
    }

    /// <summary>The subfolder that <see cref="Seek"/> gave; null when it cannot be read in both.</summary>
    public CopiedFolder? Enter(in NodePeek original, in ScanEntry originalScan, in NodePeek copy, in ScanEntry copyScan) =>
        original.SubtreeBytes.Length == ChunkId.Size && copy.SubtreeBytes.Length == ChunkId.Size &&
        originalScan.Subscan is { } scan && copyScan.Subscan is { } copiedScan
            ? Open(_readOriginal, _readCopy, (ChunkId.Read(original.SubtreeBytes), scan), (ChunkId.Read(copy.SubtreeBytes), copiedScan), IsVouchedFor)
            : null;

    private static CopiedFolder? Open(
        ReadMetadata readOriginal, ReadMetadata readCopy, (ChunkId Tree, ChunkId Scan) original, (ChunkId Tree, ChunkId Scan) copy, bool isVouchedFor) =>
        DirectoryCursor.Open(readOriginal, original.Tree, original.Scan) is { } from && DirectoryCursor.Open(readCopy, copy.Tree, copy.Scan) is { } to
            ? new CopiedFolder(readOriginal, readCopy, from, to, isVouchedFor)
            : null;

    // A document may be forged or wrong about what it is a copy of: what can be compared is.
    private static bool IsCopyOf(in NodePeek original, in NodePeek copy) =>
        copy.Type == original.Type && copy.Size == original.Size && copy.Modified == original.Modified &&
        copy.HardLinkGroup == original.HardLinkGroup && copy.ChangedWhileRead == original.ChangedWhileRead;
}
