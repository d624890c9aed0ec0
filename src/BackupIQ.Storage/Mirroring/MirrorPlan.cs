namespace BackupIQ.Storage.Mirroring;

/// <summary>What a storage and its mirror do not have in common.</summary>
public sealed class MirrorPlan
{
    internal MirrorPlan(MirrorLayout layout) => Layout = layout;

    /// <summary>Objects that the mirror lacks.</summary>
    public int MissingCount => Missing.Count;

    /// <summary>Their bytes.</summary>
    public long MissingBytes => Missing.Sum(static item => item.Size);

    /// <summary>Objects that the mirror has and the storage has not, roots not counted: removed there while the mirror was away, or stored when a put was cut off.</summary>
    public int StrayCount => Stray.Count + StrayIndex.Count;

    /// <summary>Those of them that are parts of an index.</summary>
    public int StrayIndexCount => StrayIndex.Count;

    /// <summary>Their bytes.</summary>
    public long StrayBytes => Stray.Concat(StrayIndex).Sum(static item => item.Size);

    /// <summary>Roots that the mirror has and the storage has not: removed there while the mirror was away, or put on the mirror by somebody who used it by itself.</summary>
    public int StrayRootCount => StrayRoots.Count;

    /// <summary>Roots that the mirror has in all.</summary>
    public int MirrorRootCount { get; internal set; }

    /// <summary>Objects that have another size on the mirror.</summary>
    public int DifferingCount => Differing.Count;

    /// <summary>Objects that both have.</summary>
    public int CommonCount => Common.Count;

    /// <summary>Whether the mirror can take the storage's place as it is. Announcements that it lacks, such as that somebody has ended since, and what it has too much, keep nobody from that.</summary>
    public bool IsInStep => StrayRootCount == 0 && StrayIndexCount == 0 && DifferingCount == 0 && Missing.TrueForAll(item => Layout.RankOf(item.Key) == MirrorRank.Announcement);

    internal MirrorLayout Layout { get; }

    internal List<StoredObject> Missing { get; } = [];

    internal List<StoredObject> Stray { get; } = [];

    internal List<StoredObject> StrayIndex { get; } = [];

    internal List<StoredObject> StrayRoots { get; } = [];

    internal List<StoredObject> Differing { get; } = [];

    /// <summary>As the storage has them.</summary>
    internal List<StoredObject> Common { get; } = [];

    /// <summary>The names of the storage's index when it was listed.</summary>
    internal HashSet<string> Index { get; } = new(StringComparer.Ordinal);
}

/// <summary>What came of bringing a mirror in step.</summary>
/// <param name="Copied">Objects that it got.</param>
/// <param name="BytesCopied">Their bytes.</param>
/// <param name="Removed">Objects that were removed from it.</param>
/// <param name="Verified">Objects of it whose bytes were read and compared with their names.</param>
/// <param name="Healed">Objects that were damaged on it and are replaced.</param>
/// <param name="HealedBack">Objects that were damaged on the storage itself and are replaced from the mirror.</param>
/// <param name="Damaged">Objects that are whole on neither, or that have other bytes here and there and no name that tells which are right.</param>
public sealed record MirrorResult(int Copied, long BytesCopied, int Removed, int Verified, int Healed, int HealedBack, IReadOnlyList<StorageKey> Damaged);
