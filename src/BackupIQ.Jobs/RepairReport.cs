using BackupIQ.Engine.Repair;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Repository.Maintenance.Repair;

namespace BackupIQ.Jobs;

/// <summary>A damaged object and what came of repairing it.</summary>
/// <param name="ObjectName">Its name in the repository.</param>
/// <param name="Problem">What was wrong with it: half a sentence that follows the name.</param>
/// <param name="IsMended">Nothing of it is lost any more, or would be.</param>
/// <param name="Means"><c>none</c>, <c>structure</c>, <c>seal</c>, <c>parity</c>, <c>mirror</c> or <c>moved</c>.</param>
/// <param name="Told">What came of it: half a sentence.</param>
public sealed record RepairedObject(string ObjectName, string Problem, bool IsMended, string Means, string Told)
{
    internal static RepairedObject From(MendedObject mended) => new(
        mended.ObjectName,
        mended.Problem,
        mended.Mending.Means is MendingMeans.Structure or MendingMeans.Parity or MendingMeans.Seal or MendingMeans.Mirror,
        mended.Mending.Means.ToString().ToLowerInvariant(),
        mended.Mending.Told);
}

/// <summary>A snapshot that has lost files.</summary>
/// <param name="Damaged">The snapshot; it stays as it is.</param>
/// <param name="Repaired">The one beside it, without what is lost; null in a trial, and when nothing is left to keep.</param>
/// <param name="Lost">The paths that are lost, as bytes; a folder of which only a part is lost ends with a slash.</param>
/// <param name="Kept">Files and folders that are kept.</param>
public sealed record SnapshotLosses(SnapshotInfo Damaged, SnapshotInfo? Repaired, IReadOnlyList<byte[]> Lost, long Kept);

/// <summary>What a repair ended with, or would end with.</summary>
public sealed record RepairReport
{
    /// <summary>Nothing was changed: this is what would be done.</summary>
    public required bool IsTrial { get; init; }

    /// <summary>Objects that an earlier repair had begun to mend and this one finished.</summary>
    public required IReadOnlyList<string> Resumed { get; init; }

    /// <summary>Everything that was damaged.</summary>
    public required IReadOnlyList<RepairedObject> Objects { get; init; }

    /// <summary>Packs that were put into the index again.</summary>
    public required int PacksAdopted { get; init; }

    /// <summary>Snapshots that have lost files.</summary>
    public required IReadOnlyList<SnapshotLosses> Snapshots { get; init; }

    /// <summary>Something is lost, or would be.</summary>
    public bool IsDamageLeft => Objects.Any(static item => !item.IsMended) || Snapshots.Count > 0;

    /// <summary>There was something to repair.</summary>
    public bool IsAnythingFound => Objects.Count > 0 || Snapshots.Count > 0 || PacksAdopted > 0;

    internal static RepairReport From(RepairResult result, bool isTrial) => new()
    {
        IsTrial = isTrial,
        Resumed = result.Resumed,
        Objects = [.. result.Objects.Select(RepairedObject.From)],
        PacksAdopted = result.PacksAdopted,
        Snapshots = [.. result.Snapshots.Select(static losses => new SnapshotLosses(
            SnapshotInfo.From(losses.Damaged), Info(losses.Repaired), losses.Lost, losses.Kept))],
    };

    private static SnapshotInfo? Info(Snapshot? snapshot) => snapshot is null ? null : SnapshotInfo.From(snapshot);
}
