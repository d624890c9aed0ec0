using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Retention;

/// <summary>
/// Plans what is forgotten, by rules or by name. Pure: it sees the snapshots that are shown now, and changes nothing.
/// </summary>
/// <param name="all">All snapshots that are not forgotten.</param>
/// <param name="hasStoreTimes">Whether the storage's times are worth something.</param>
/// <param name="now">The moment.</param>
/// <param name="zone">The zone in whose calendar lengths of time are counted.</param>
public sealed class ForgetPlanner(IReadOnlyList<Snapshot> all, bool hasStoreTimes, DateTimeOffset now, TimeZoneInfo zone)
{
    private readonly IReadOnlyList<DatedSnapshot> _all = [.. all.Select(snapshot => DatedSnapshot.Of(snapshot, hasStoreTimes, now))];

    /// <summary>Sieves those snapshots that are <paramref name="chosen"/> by the rules of <paramref name="options"/>.</summary>
    /// <remarks>
    /// The newest full snapshot of a series stays, whatever the rules say, unless <see cref="ForgetOptions.AllowMass"/>: it is the last that
    /// trusted no change detection, and what differential ones compare with. So does the newest backup of a database without damaged pages while those
    /// after it have some (<see cref="SoundBases"/>).
    /// </remarks>
    public ForgetPlan ByRules(Func<Snapshot, bool> chosen, ForgetOptions options)
    {
        DatedSnapshot[] considered = [.. _all.Where(dated => chosen(dated.Snapshot))];
        HashSet<SessionId> newestFull = options.AllowMass ? [] : [.. NewestFulls().Select(static snapshot => snapshot.Id)];
        HashSet<SessionId> lastSound = options.AllowMass ? [] : [.. SoundBases.LastOf(all).Select(static snapshot => snapshot.Id)];
        List<ForgetGroup> groups = [];
        foreach (IGrouping<string, DatedSnapshot> group in considered.GroupBy(dated => GroupKey(dated.Snapshot, options.GroupBy), StringComparer.Ordinal)
            .OrderBy(static group => group.Key, StringComparer.Ordinal))
        {
            IEnumerable<RetentionDecision> decisions = group
                .GroupBy(dated => options.TypePolicies.ContainsKey(dated.Snapshot.Type) ? dated.Snapshot.Type : (SnapshotType?)null)
                .SelectMany(part => Sieve(part, PolicyOf(part.Key, options)))
                .Select(decision => Keep(decision, newestFull, "newest full snapshot of its series"))
                .Select(decision => Keep(decision, lastSound, SoundBases.Reason))
                .OrderByDescending(static decision => decision.Snapshot.Time).ThenBy(static decision => decision.Snapshot.Id);
            groups.Add(Describe(group.First().Snapshot, options.GroupBy, [.. decisions]));
        }

        return Conclude(groups, [], considered, options);
    }

    /// <summary>Takes those that are named; damaged ones too, which only their ids tell.</summary>
    public ForgetPlan ByName(IReadOnlyList<Snapshot> named, IReadOnlyList<SessionId> damaged, ForgetOptions options)
    {
        HashSet<SessionId> ids = [.. named.Select(static snapshot => snapshot.Id)];
        List<ForgetGroup> groups = [];
        foreach (IGrouping<string, Snapshot> group in named.GroupBy(snapshot => GroupKey(snapshot, options.GroupBy), StringComparer.Ordinal)
            .OrderBy(static group => group.Key, StringComparer.Ordinal))
        {
            groups.Add(Describe(
                group.First(),
                options.GroupBy,
                [.. group.OrderByDescending(static s => s.Time)
                    .Select(static s => new RetentionDecision(s, false, ["named"], new Dictionary<RetentionPeriod, int>()))]));
        }

        ForgetPlan plan = Conclude(groups, damaged, [.. _all.Where(dated => ids.Contains(dated.Snapshot.Id))], options);
        List<string> refusals = [.. named.Where(snapshot => snapshot.Annotations.IsHeld(now))
            .Select(static snapshot => AnnotationStore.Held(snapshot.Id, snapshot.Annotations).Message)];
        if (!options.AllowMass)
        {
            refusals.AddRange(NewestFulls().Where(snapshot => ids.Contains(snapshot.Id))
                .Select(static snapshot => $"Snapshot {snapshot.ShortId} is the newest full one of its series"));
            refusals.AddRange(SoundBases.LastOf(all).Where(snapshot => ids.Contains(snapshot.Id))
                .Select(static snapshot => $"Snapshot {snapshot.ShortId} is the newest of its server without damaged pages"));
        }

        return plan with { Refusals = [.. refusals, .. plan.Refusals] };
    }

    private static RetentionPolicy? PolicyOf(SnapshotType? type, ForgetOptions options) => type is { } own ? options.TypePolicies[own] : options.Policy;

    private IReadOnlyList<RetentionDecision> Sieve(IEnumerable<DatedSnapshot> part, RetentionPolicy? policy) =>
        RetentionSieve.Decide(part, policy?.Rules ?? RetentionRules.None, now, zone);

    private static RetentionDecision Keep(RetentionDecision decision, HashSet<SessionId> which, string reason) =>
        !decision.IsKept && which.Contains(decision.Snapshot.Id) ? decision with { IsKept = true, Reasons = [reason] } : decision;

    // Of each series the newest full one; where there is one whose time is beyond doubt, no other takes its place.
    private IEnumerable<Snapshot> NewestFulls() => _all
        .Where(static dated => dated.Snapshot.Type == SnapshotType.Full)
        .GroupBy(static dated => SeriesKey(dated.Snapshot), StringComparer.Ordinal)
        .Select(static series => series.OrderBy(static s => s.IsDoubtful).ThenByDescending(static s => s.Time).ThenBy(static s => s.Snapshot.Id).First().Snapshot);

    private ForgetPlan Conclude(
        List<ForgetGroup> groups, IReadOnlyList<SessionId> damaged, IReadOnlyList<DatedSnapshot> considered, ForgetOptions options)
    {
        ForgetPlan plan = new() { Options = options, Groups = groups, Damaged = damaged, Refusals = [], Warnings = [.. Doubts(considered)] };
        return options.AllowMass ? plan : plan with { Refusals = [.. MassRefusals([.. plan.Forgotten.Select(static d => d.Snapshot)])] };
    }

    private IEnumerable<string> MassRefusals(Snapshot[] forgotten)
    {
        Dictionary<string, int> sizes = _all.GroupBy(static dated => SeriesKey(dated.Snapshot), StringComparer.Ordinal)
            .ToDictionary(static series => series.Key, static series => series.Count(), StringComparer.Ordinal);
        foreach (IGrouping<string, Snapshot> series in forgotten.GroupBy(SeriesKey, StringComparer.Ordinal))
        {
            int goes = series.Count();
            int size = sizes.GetValueOrDefault(series.Key);
            if (2 * goes > size)
            {
                Snapshot one = series.First();
                yield return $"{goes} of {size} snapshots of {string.Join(", ", one.Paths)} on {one.Hostname} would go, more than half";
            }
        }
    }

    private static IEnumerable<string> Doubts(IReadOnlyList<DatedSnapshot> considered)
    {
        Snapshot[] future = [.. considered.Where(static dated => dated.ClaimsFuture).Select(static dated => dated.Snapshot)];
        Snapshot[] apart = [.. considered.Where(static dated => dated is { IsDoubtful: true, ClaimsFuture: false }).Select(static dated => dated.Snapshot)];
        if (future.Length > 0)
        {
            yield return $"{Some(future)} in the future; no other snapshot goes because of that";
        }

        if (apart.Length > 0)
        {
            yield return $"{Some(apart)} more than an hour from when the storage says it was stored; both times are looked at, and what either keeps is kept";
        }
    }

    private static string Some(Snapshot[] snapshots)
    {
        string ids = string.Join(", ", snapshots.Take(5).Select(static snapshot => snapshot.ShortId)) + (snapshots.Length > 5 ? ", …" : "");
        return snapshots.Length == 1 ? $"Snapshot {ids} claims a time" : $"{snapshots.Length} snapshots ({ids}) claim times";
    }

    private static ForgetGroup Describe(Snapshot one, RetentionGrouping by, IReadOnlyList<RetentionDecision> decisions) => new(
        by.HasFlag(RetentionGrouping.Host) ? one.Hostname : null,
        by.HasFlag(RetentionGrouping.Paths) ? [.. one.Paths.Order(StringComparer.Ordinal)] : null,
        by.HasFlag(RetentionGrouping.Tags) ? [.. one.Tags.Order(StringComparer.Ordinal)] : null,
        decisions);

    private static string SeriesKey(Snapshot snapshot) => GroupKey(snapshot, RetentionGrouping.Host | RetentionGrouping.Paths);

    // Two kinds of source never stand for one another, even where their paths are equal.
    private static string GroupKey(Snapshot snapshot, RetentionGrouping by)
    {
        List<string> parts = [];
        if (by.HasFlag(RetentionGrouping.Host))
        {
            parts.Add(snapshot.Hostname);
        }

        if (by.HasFlag(RetentionGrouping.Paths))
        {
            IEnumerable<string> paths = snapshot.RawPaths?.Select(Convert.ToBase64String) ?? snapshot.Paths;
            parts.Add(snapshot.Kind);
            parts.Add(string.Join('\0', paths.Order(StringComparer.Ordinal)));
        }

        if (by.HasFlag(RetentionGrouping.Tags))
        {
            parts.Add(string.Join('\0', snapshot.Tags.Order(StringComparer.Ordinal)));
        }

        return string.Join("\0\0", parts);
    }
}
