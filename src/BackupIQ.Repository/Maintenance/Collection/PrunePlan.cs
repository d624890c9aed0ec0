using BackupIQ.Repository.Packs;

namespace BackupIQ.Repository.Maintenance.Collection;

/// <summary>How much may be left unused, and how much may be rewritten for it.</summary>
public sealed record PruneLimits
{
    /// <summary>The share of what the repository holds that may be unused afterwards, 0 to 1; null: see <see cref="MaxUnusedBytes"/>. 5 %: rewriting the last percents costs most and frees least.</summary>
    public double? MaxUnusedShare { get; init; } = 0.05;

    /// <summary>Bytes that may be unused afterwards; null with no share either: any, so that nothing is rewritten.</summary>
    public long? MaxUnusedBytes { get; init; }

    /// <summary>Bytes of packs that are rewritten at most.</summary>
    public long MaxRepackBytes { get; init; } = long.MaxValue;

    /// <summary>The bytes that may be unused beside <paramref name="used"/> bytes that are used.</summary>
    internal long UnusedAllowed(long used) =>
        MaxUnusedBytes ?? (MaxUnusedShare switch
        {
            null or >= 1 => long.MaxValue,
            <= 0 => 0,
            { } share => (long)(used * share / (1 - share)),
        });
}

/// <summary>What is to become of a pack.</summary>
public enum PackFate
{
    /// <summary>It stays as it is.</summary>
    Keep,

    /// <summary>Nothing in it is needed: it goes.</summary>
    Delete,

    /// <summary>What is needed of it is copied, whole frames as they are where most of them is needed; then it goes.</summary>
    Rewrite,

    /// <summary>The same, and frames that are needed in part are put together anew, whatever their share.</summary>
    Rebuild,
}

/// <summary>A pack of which a plan says more than that it stays.</summary>
/// <param name="Pack">The pack.</param>
/// <param name="Fate">What is to become of it.</param>
/// <param name="Size">Its bytes.</param>
/// <param name="Rewritten">Bytes that are copied out of it.</param>
/// <param name="Reason">Why: half a sentence.</param>
public sealed record PlannedPack(CollectedPack Pack, PackFate Fate, long Size, long Rewritten, string Reason);

/// <summary>What a prune will do: made first, shown by a dry run, then carried out.</summary>
public sealed record PrunePlan
{
    /// <summary>The packs that do not stay.</summary>
    public required IReadOnlyList<PlannedPack> Packs { get; init; }

    /// <summary>Packs that are there.</summary>
    public required int PacksTotal { get; init; }

    /// <summary>Bytes of packs that are there.</summary>
    public required long BytesTotal { get; init; }

    /// <summary>Packs of sessions that may still be at work: nobody can tell yet what of them will be needed.</summary>
    public required int PacksProtected { get; init; }

    /// <summary>Bytes that are needed.</summary>
    public required long BytesUsed { get; init; }

    /// <summary>Bytes of packs, but for protected ones, that nothing needs.</summary>
    public required long UnusedBefore { get; init; }

    /// <summary>What of that will be left.</summary>
    public required long UnusedAfter { get; init; }

    /// <summary>What may be left.</summary>
    public required long UnusedAllowed { get; init; }

    /// <summary>Index segments that are there.</summary>
    public required int SegmentsTotal { get; init; }

    /// <summary>Packs that go without anything in them being copied.</summary>
    public int PacksDeleted => Packs.Count(static p => p.Fate == PackFate.Delete);

    /// <summary>Packs that are rewritten.</summary>
    public int PacksRewritten => Packs.Count(static p => p.Fate is PackFate.Rewrite or PackFate.Rebuild);

    /// <summary>Bytes of the packs that go.</summary>
    public long BytesRemoved => Packs.Sum(static p => p.Size);

    /// <summary>Bytes that are copied.</summary>
    public long BytesRewritten => Packs.Sum(static p => p.Rewritten);

    /// <summary>Bytes that the repository will be smaller by.</summary>
    public long BytesFreed => BytesRemoved - BytesRewritten;
}

/// <summary>Makes the plan: what is dead goes; of the rest the packs that free most for each byte rewritten, until little enough is unused.</summary>
internal static class PrunePlanner
{
    // Many small packs cost requests and index; so many of a kind that together fill a pack are put into one.
    private const int ManySmall = 32;
    private const int SmallShare = 8;

    public static PrunePlan Make(IReadOnlyCollection<CollectedPack> packs, int segments, long packSize, PruneLimits limits)
    {
        List<PlannedPack> planned = [];
        List<CollectedPack> candidates = [];
        long used = 0;
        long unused = 0;
        int protectedPacks = 0;
        foreach (CollectedPack pack in packs.Where(static p => p.Size >= 0))
        {
            if (pack.IsProtected && !pack.IsMarked)
            {
                protectedPacks++;
                continue;
            }

            used += pack.LiveBytes;
            unused += pack.IsOrphan ? pack.Size : pack.FrameBytes - pack.LiveBytes;
            if (Forced(pack) is { } forced)
            {
                planned.Add(forced);
            }
            else
            {
                candidates.Add(pack);
            }
        }

        long allowed = limits.UnusedAllowed(used);
        long left = candidates.Sum(static p => p.FrameBytes - p.LiveBytes) + planned.Where(static p => p.Fate == PackFate.Rewrite).Sum(static p => p.Pack.DeadInWhole);
        long budget = limits.MaxRepackBytes - planned.Where(static p => p.Fate != PackFate.Delete).Sum(static p => p.Size);
        left = Take(planned, candidates, PackFate.Rewrite, allowed, left, ref budget);
        left = Take(planned, candidates, PackFate.Rebuild, allowed, left, ref budget);
        left = Sharpen(planned, allowed, left);
        if (allowed != long.MaxValue)
        {
            Gather(planned, candidates, packSize, ref budget);
        }

        return new PrunePlan
        {
            Packs = planned,
            PacksTotal = packs.Count(static p => p.Size >= 0),
            BytesTotal = packs.Where(static p => p.Size >= 0).Sum(static p => p.Size),
            PacksProtected = protectedPacks,
            BytesUsed = used,
            UnusedBefore = unused,
            UnusedAfter = Math.Max(0, left),
            UnusedAllowed = allowed,
            SegmentsTotal = segments,
        };
    }

    // What has to go whatever the limits say.
    private static PlannedPack? Forced(CollectedPack pack)
    {
        if (pack.IsMarked || pack.IsTombstoned)
        {
            return pack.LiveChunks == 0
                ? new PlannedPack(pack, PackFate.Delete, pack.Size, 0, "marked by an earlier prune")
                : new PlannedPack(pack, PackFate.Rewrite, pack.Size, pack.LiveBytes + pack.DeadInWhole, "marked by an earlier prune, and needed since");
        }

        if (pack.IsOrphan)
        {
            return new PlannedPack(pack, PackFate.Delete, pack.Size, 0, "left by a run that did not get far enough to name it");
        }

        if (pack.LiveChunks == 0)
        {
            return new PlannedPack(pack, PackFate.Delete, pack.Size, 0, "nothing in it is needed");
        }

        return pack.IsVouchedFor
            ? null
            : new PlannedPack(pack, PackFate.Rewrite, pack.Size, pack.LiveBytes + pack.DeadInWhole, "named only by a run that was given up");
    }

    private static long Take(List<PlannedPack> planned, List<CollectedPack> candidates, PackFate fate, long allowed, long left, ref long budget)
    {
        if (left <= allowed)
        {
            return left;
        }

        foreach (CollectedPack pack in candidates.Where(p => Freed(p, fate) > 0).OrderByDescending(p => Gain(p, fate)).ThenBy(static p => p.Id).ToArray())
        {
            if (left <= allowed)
            {
                break;
            }

            if (pack.Size > budget)
            {
                continue;
            }

            budget -= pack.Size;
            left -= Freed(pack, fate);
            candidates.Remove(pack);
            planned.Add(new PlannedPack(pack, fate, pack.Size, Written(pack, fate), "more of it is unused than may be"));
        }

        return left;
    }

    // What is rewritten anyway is put together anew where moving whole frames would leave too much that is dead.
    private static long Sharpen(List<PlannedPack> planned, long allowed, long left)
    {
        foreach (int i in Enumerable.Range(0, planned.Count)
            .Where(i => planned[i].Fate == PackFate.Rewrite && planned[i].Pack.DeadInWhole > 0)
            .OrderByDescending(i => planned[i].Pack.DeadInWhole).ThenBy(i => planned[i].Pack.Id).ToArray())
        {
            if (left <= allowed)
            {
                break;
            }

            CollectedPack pack = planned[i].Pack;
            planned[i] = planned[i] with { Fate = PackFate.Rebuild, Rewritten = pack.LiveBytes };
            left -= pack.DeadInWhole;
        }

        return left;
    }

    private static void Gather(List<PlannedPack> planned, List<CollectedPack> candidates, long packSize, ref long budget)
    {
        foreach (IGrouping<PackKind, CollectedPack> kind in candidates.GroupBy(static p => p.Kind).ToArray())
        {
            long target = kind.Key == PackKind.Data ? packSize : Math.Min(packSize, 16L << 20);
            CollectedPack[] small = [.. kind.Where(p => p.Size < target / SmallShare).OrderBy(static p => p.Size).ThenBy(static p => p.Id)];
            long sum = small.Sum(static p => p.Size);
            if (small.Length < ManySmall || sum < target || sum > budget)
            {
                continue;
            }

            budget -= sum;
            planned.AddRange(small.Select(static p => new PlannedPack(p, PackFate.Rewrite, p.Size, Written(p, PackFate.Rewrite), "one of many small ones, put together")));
        }
    }

    private static long Freed(CollectedPack pack, PackFate fate) =>
        pack.FrameBytes - pack.LiveBytes - (fate == PackFate.Rewrite ? pack.DeadInWhole : 0);

    private static long Written(CollectedPack pack, PackFate fate) => pack.LiveBytes + (fate == PackFate.Rewrite ? pack.DeadInWhole : 0);

    private static double Gain(CollectedPack pack, PackFate fate) => Freed(pack, fate) / (double)Math.Max(1, Written(pack, fate));
}
