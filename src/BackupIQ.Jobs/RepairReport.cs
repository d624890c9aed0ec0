using BackupIQ.Engine.Repair;
using BackupIQ.Repository.Maintenance.Repair;

namespace BackupIQ.Jobs;

/// <summary>A damaged object and what came of repairing it.</summary>
/// <param name="ObjectName">Its name in the repository.</param>
/// <param name="Problem">What was wrong with it: half a sentence that follows the name.</param>
/// <param name="IsMended">It has its old bytes again, or would have.</param>
/// <param name="Means"><c>none</c>, <c>structure</c> or <c>parity</c>.</param>
/// <param name="Told">What came of it: half a sentence.</param>
public sealed record RepairedObject(string ObjectName, string Problem, bool IsMended, string Means, string Told)
{
    internal static RepairedObject From(MendedObject mended) => new(
        mended.ObjectName, mended.Problem, mended.Mending.Means != MendingMeans.None, mended.Mending.Means.ToString().ToLowerInvariant(), mended.Mending.Told);
}

/// <summary>What a repair ended with, or would end with.</summary>
public sealed record RepairReport
{
    /// <summary>Nothing was changed: this is what would be done.</summary>
    public required bool IsTrial { get; init; }

    /// <summary>Objects that an earlier repair had begun to mend and this one finished.</summary>
    public required IReadOnlyList<string> Resumed { get; init; }

    /// <summary>Everything that was damaged.</summary>
    public required IReadOnlyList<RepairedObject> Objects { get; init; }

    /// <summary>Damage is left, or would be.</summary>
    public bool IsDamageLeft => Objects.Any(static item => !item.IsMended);

    internal static RepairReport From(RepairResult result, bool isTrial) => new()
    {
        IsTrial = isTrial,
        Resumed = result.Resumed,
        Objects = [.. result.Objects.Select(RepairedObject.From)],
    };
}
