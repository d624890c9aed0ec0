using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>A pack as a collector sees it.</summary>
public sealed class CollectedPack
{
    internal CollectedPack(PackId id, PackKind kind)
    {
        Id = id;
        Kind = kind;
    }

    /// <summary>The pack's name.</summary>
    public PackId Id { get; }

    /// <summary>What it holds.</summary>
    public PackKind Kind { get; }

    /// <summary>Bytes as the storage lists it; -1 when it is not there.</summary>
    public long Size { get; internal set; } = -1;

    /// <summary>Bytes as the index has it.</summary>
    internal long IndexedSize { get; set; } = -1;

    /// <summary>Frames and chunks that the index has of it.</summary>
    internal long IndexRecords { get; set; }

    /// <summary>Whether it can be read: the storage lists it with the size that the index says.</summary>
    internal bool IsThere => Size >= 0 && (IndexedSize < 0 || Size == IndexedSize);

    /// <summary>A mark of it was seen; it is never taken back.</summary>
    public bool IsMarked { get; internal set; }

    /// <summary>The mark was visible before the sessions were listed that this collector has waited for: the pack may go.</summary>
    internal bool IsSettled { get; set; }

    /// <summary>The index has a tombstone of it.</summary>
    internal bool IsTombstoned { get; set; }

    /// <summary>The tombstone was there before the sessions were listed.</summary>
    internal bool WasTombstoned { get; set; }

    /// <summary>A segment of an announced session names it.</summary>
    internal bool IsVouchedFor { get; set; }

    /// <summary>A session that may still be at work wrote it, or a segment that names it.</summary>
    internal bool IsProtected { get; set; }

    /// <summary>No segment names it.</summary>
    internal bool IsOrphan => IndexedSize < 0;

    /// <summary>Whether what is in it counts for those who need it.</summary>
    internal bool IsHolder => IsThere && IsVouchedFor && !IsMarked && !IsTombstoned;

    /// <summary>Nothing of it is left but names.</summary>
    internal bool IsDead => IsTombstoned && Size < 0;

    /// <summary>The greatest segment that vouches for it, by its place in the order of segments; its entries count.</summary>
    internal SegmentRecord? Home { get; set; }

    /// <summary>The greatest of those that were there before the sessions were listed.</summary>
    internal SegmentRecord? HomeAtFirst { get; set; }

    /// <summary>Where its entries are: the tier and its number there.</summary>
    internal IndexTier? Tier { get; set; }

    internal uint Number { get; set; }

    /// <summary>Chunks that are needed and kept here.</summary>
    internal long LiveChunks { get; set; }

    /// <summary>Plain bytes of chunks that nothing else holds; what to prefer when there is a choice.</summary>
    internal long OnlyHere { get; set; }

    /// <summary>Stored bytes of all frames.</summary>
    internal long FrameBytes { get; set; }

    /// <summary>Of these the share of what is live: of each frame its stored bytes times the share of its plain bytes.</summary>
    internal long LiveBytes { get; set; }

    /// <summary>Stored bytes of dead chunks in frames that would move as they are.</summary>
    internal long DeadInWhole { get; set; }
}
