using BackupIQ.Engine.Retention;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;

namespace BackupIQ.Jobs;

/// <summary>By what rules snapshots are kept; texts as the command line takes them.</summary>
/// <example>
/// <code>
/// RetentionRequest rules = new() { Policy = "gfs", Keep = [("daily", "14")] };
/// ForgetPreview preview = await repository.PlanForgetAsync(new SnapshotSelection([], new SnapshotQuery()), rules, cancellationToken);
/// foreach (ForgetDecision decision in preview.Groups.SelectMany(group => group.Remove))
/// {
///     Console.WriteLine($"{decision.Snapshot.ShortId} goes: {string.Join(", ", decision.Reasons)}");
/// }
///
/// ForgetOutcome outcome = await repository.ForgetAsync(preview, cancellationToken);
/// Console.WriteLine($"{outcome.Forgotten.Count} forgotten; for {preview.Grace.TotalDays} days they can be brought back");
/// </code>
/// </example>
public sealed record RetentionRequest
{
    /// <summary>
    /// <c>gfs</c>, <c>simple</c>, <c>time</c>, with numbers as in <c>gfs:daily=14</c>, or <c>keep:…</c>; null: only what <see cref="Keep"/> says.
    /// </summary>
    public string? Policy { get; init; }

    /// <summary>Single rules over those of the policy: (<c>daily</c>, <c>7</c>), (<c>within</c>, <c>30d</c>), (<c>within-weekly</c>, <c>1y</c>).</summary>
    public IReadOnlyList<(string Rule, string Value)> Keep { get; init; } = [];

    /// <summary>Each a comma-separated list of tags: snapshots with all of them are kept.</summary>
    public IReadOnlyList<string> KeepTags { get; init; } = [];

    /// <summary>Policies of single types of snapshots: <c>full</c>, <c>incremental</c>, <c>differential</c>.</summary>
    public IReadOnlyDictionary<string, string> TypePolicies { get; init; } = new Dictionary<string, string>(0);

    /// <summary>What makes a series: words of <c>host</c>, <c>paths</c>, <c>tags</c> with commas between; empty: all are one.</summary>
    public string GroupBy { get; init; } = "host,paths";

    /// <summary>Also when more than half of a series goes, or its newest full snapshot.</summary>
    public bool AllowMass { get; init; }

    /// <summary>How long a forgotten snapshot can be brought back. A week by default.</summary>
    public TimeSpan Grace { get; init; } = ForgetOptions.DefaultGrace;

    /// <summary>Why, for people who look later.</summary>
    public string? Reason { get; init; }

    /// <summary>Whether any rule is given.</summary>
    public bool HasRules => Policy is not null || Keep.Count > 0 || KeepTags.Count > 0 || TypePolicies.Count > 0;

    internal ForgetOptions ToOptions() => new()
    {
        Policy = GeneralPolicy(),
        TypePolicies = TypePolicies.ToDictionary(static one => TypeOf(one.Key), static one => RetentionPolicy.Parse(one.Value)),
        GroupBy = Grouping(GroupBy),
        AllowMass = AllowMass,
        Grace = Grace,
        Reason = Reason,
    };

    private RetentionPolicy? GeneralPolicy()
    {
        if (Policy is null && Keep.Count == 0 && KeepTags.Count == 0)
        {
            return null;
        }

        RetentionPolicy policy = Policy is null ? RetentionPolicy.Keep(RetentionRules.None) : RetentionPolicy.Parse(Policy);
        foreach ((string rule, string value) in Keep)
        {
            policy = policy.With(rule, value);
        }

        IReadOnlyList<string>[] tags = [.. KeepTags.Select(static list => list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            .Where(static list => list.Length > 0)];
        return policy.With(policy.Rules with { Tags = [.. policy.Rules.Tags, .. tags] });
    }

    private static SnapshotType TypeOf(string word) => word switch
    {
        "full" => SnapshotType.Full,
        "incremental" => SnapshotType.Incremental,
        "differential" => SnapshotType.Differential,
        _ => throw new BackupIQException(ErrorCodes.Usage, $"'{word}' is no type of snapshot", "Use full, incremental or differential."),
    };

    private static RetentionGrouping Grouping(string text)
    {
        RetentionGrouping grouping = RetentionGrouping.None;
        foreach (string word in text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            grouping |= word switch
            {
                "host" => RetentionGrouping.Host,
                "path" or "paths" => RetentionGrouping.Paths,
                "tag" or "tags" => RetentionGrouping.Tags,
                _ => throw new BackupIQException(ErrorCodes.Usage, $"Snapshots cannot be grouped by '{word}'", "Use host, paths, tags, or several with commas between."),
            };
        }

        return grouping;
    }
}

/// <summary>What is decided about one snapshot.</summary>
/// <param name="Snapshot">The snapshot.</param>
/// <param name="Reasons">Why it is kept, or why every rule lets it go.</param>
/// <param name="Counters">What each counting rule (<c>daily</c>, …) had left after it.</param>
public sealed record ForgetDecision(SnapshotInfo Snapshot, IReadOnlyList<string> Reasons, IReadOnlyDictionary<string, int> Counters);

/// <summary>A series and what is decided about it.</summary>
/// <param name="Host">Its host, where hosts are told apart.</param>
/// <param name="Paths">Its paths, where paths are told apart.</param>
/// <param name="Tags">Its tags, where tags are told apart.</param>
/// <param name="Keep">What stays, newest first.</param>
/// <param name="Remove">What goes, newest first.</param>
public sealed record ForgetGroupInfo(
    string? Host, IReadOnlyList<string>? Paths, IReadOnlyList<string>? Tags, IReadOnlyList<ForgetDecision> Keep, IReadOnlyList<ForgetDecision> Remove);

/// <summary>What would be forgotten, and why. Made without changing anything; <see cref="BackupIqRepository.ForgetAsync"/> executes it.</summary>
public sealed record ForgetPreview
{
    public required IReadOnlyList<ForgetGroupInfo> Groups { get; init; }

    /// <summary>Snapshots that cannot be read and were named all the same; they go, too.</summary>
    public required IReadOnlyList<string> DamagedIds { get; init; }

    /// <summary>Why it may not be executed; empty: it may.</summary>
    public required IReadOnlyList<string> Refusals { get; init; }

    /// <summary>What a person should know.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>How many snapshots go.</summary>
    public int RemoveCount => Groups.Sum(static group => group.Remove.Count) + DamagedIds.Count;

    /// <summary>How long they can be brought back.</summary>
    public TimeSpan Grace => Plan.Options.Grace;

    internal ForgetPlan Plan { get; init; } = null!;

    /// <summary>Throws when it may not be executed.</summary>
    /// <exception cref="BackupIQException"><c>RetentionRefused</c>.</exception>
    public void ThrowIfRefused() => Plan.ThrowIfRefused();

    internal static ForgetPreview From(ForgetPlan plan) => new()
    {
        Groups = [.. plan.Groups.Select(static group => new ForgetGroupInfo(
            group.Host,
            group.Paths,
            group.Tags,
            [.. group.Decisions.Where(static d => d.IsKept).Select(Show)],
            [.. group.Decisions.Where(static d => !d.IsKept).Select(Show)]))],
        DamagedIds = [.. plan.Damaged.Select(static id => id.ToString())],
        Refusals = plan.Refusals,
        Warnings = plan.Warnings,
        Plan = plan,
    };

    private static ForgetDecision Show(RetentionDecision decision) => new(
        SnapshotInfo.From(decision.Snapshot),
        decision.Reasons,
        decision.Counters.ToDictionary(static one => RetentionRules.Word(one.Key), static one => one.Value, StringComparer.Ordinal));
}

/// <summary>A snapshot that remains although it was to go.</summary>
/// <param name="SnapshotId">Which.</param>
/// <param name="Code">What kind of failure.</param>
/// <param name="Message">Why.</param>
public sealed record ForgetRemainder(string SnapshotId, ErrorCode Code, string Message);

/// <summary>What came of forgetting.</summary>
/// <param name="Forgotten">The snapshots that are forgotten now.</param>
/// <param name="Removed">Those that were forgotten before and are removed for good now, for their grace time was over.</param>
/// <param name="Remaining">Those that remain although they were to go.</param>
public sealed record ForgetOutcome(IReadOnlyList<string> Forgotten, IReadOnlyList<string> Removed, IReadOnlyList<ForgetRemainder> Remaining);

/// <summary>The rules in force.</summary>
/// <param name="Type">For snapshots of this type; null: for all that have none of their own.</param>
/// <param name="Policy">The policy's name.</param>
/// <param name="Text">The policy as text.</param>
/// <param name="Counts">How many of each period (<c>daily</c>, …) are kept; <see cref="int.MaxValue"/>: all.</param>
/// <param name="Within">Within what time all (<c>all</c>) or one of each period are kept.</param>
/// <param name="Tags">Lists of tags that keep a snapshot.</param>
/// <param name="Days">How many days back the rules reach, about, with a backup every day; null: for ever.</param>
public sealed record RetentionRulesInfo(
    string? Type,
    string Policy,
    string Text,
    IReadOnlyDictionary<string, int> Counts,
    IReadOnlyDictionary<string, string> Within,
    IReadOnlyList<IReadOnlyList<string>> Tags,
    double? Days)
{
    /// <summary>The rules of a request: those of all types first.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: they cannot be read.</exception>
    public static IReadOnlyList<RetentionRulesInfo> Of(RetentionRequest request)
    {
        ForgetOptions options = request.ToOptions();
        List<RetentionRulesInfo> rules = [];
        if (options.Policy is { } general)
        {
            rules.Add(From(null, general));
        }

        rules.AddRange(options.TypePolicies.OrderBy(static one => one.Key).Select(static one => From(one.Key.ToString().ToLowerInvariant(), one.Value)));
        return rules;
    }

    private static RetentionRulesInfo From(string? type, RetentionPolicy policy) => new(
        type,
        policy.Name,
        policy.ToString(),
        RetentionRules.Periods.Where(p => policy.Rules.Count(p) > 0)
            .ToDictionary(RetentionRules.Word, p => policy.Rules.Count(p), StringComparer.Ordinal),
        RetentionRules.Periods.Where(p => !policy.Rules.SpanOf(p).IsZero)
            .ToDictionary(static p => p == RetentionPeriod.Last ? "all" : RetentionRules.Word(p), p => policy.Rules.SpanOf(p).ToString(), StringComparer.Ordinal),
        policy.Rules.Tags,
        policy.Rules.ApproximateDays);
}
