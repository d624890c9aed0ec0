using BackupIQ.Primitives;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>
/// An index segment as a collector sees it. Segments have one order for everybody: by level, then by name. A segment may only ever go in
/// favour of greater ones; so two collectors at once never let two go in favour of each other.
/// </summary>
internal sealed class SegmentRecord
{
    public SegmentRecord(StorageKey key, bool isVouchedFor)
    {
        Key = key;
        IsVouchedFor = isVouchedFor;
        if (RepositoryLayout.TryParseIndex(key, out SessionId session, out int level, out _))
        {
            Session = session;
            Level = level;
        }
    }

    public StorageKey Key { get; }

    public SessionId Session { get; }

    public int Level { get; }

    /// <summary>Its session is announced.</summary>
    public bool IsVouchedFor { get; }

    /// <summary>It was there before the sessions were listed that this collector has waited for.</summary>
    public bool IsSettled { get; set; }

    /// <summary>Plain bytes.</summary>
    public long PlainSize { get; set; }

    /// <summary>The packs that it names.</summary>
    public CollectedPack[] Packs { get; set; } = [];

    /// <summary>Its tombstones.</summary>
    public PackId[] Tombstones { get; set; } = [];

    /// <summary>It has been proven, entry by entry, that nothing is lost with it.</summary>
    public bool IsProvenCovered { get; set; }

    /// <summary>It has gone.</summary>
    public bool IsDeleted { get; set; }

    /// <summary>The one order, as comparisons have it.</summary>
    public static int Compare(SegmentRecord one, SegmentRecord other) =>
        one.Level != other.Level ? one.Level.CompareTo(other.Level) : string.CompareOrdinal(one.Key.Value, other.Key.Value);

    public bool IsGreaterThan(SegmentRecord? other) => other is null || Compare(this, other) > 0;
}
