namespace BackupIQ.Engine.Retention;

/// <summary>The periods by which snapshots are thinned, the shortest first.</summary>
public enum RetentionPeriod
{
    /// <summary>Each snapshot for itself.</summary>
    Last,

    /// <summary>An hour of the clock.</summary>
    Hourly,

    /// <summary>A day of the calendar.</summary>
    Daily,

    /// <summary>A week by ISO 8601: it begins on Monday.</summary>
    Weekly,

    /// <summary>A month of the calendar.</summary>
    Monthly,

    /// <summary>A year of the calendar.</summary>
    Yearly,
}

/// <summary>
/// What is kept of a series: of so many hours, days, weeks, months, years with snapshots the newest snapshot each; all, or one of each period,
/// within a length of time before the newest; all with certain tags. A snapshot that any rule keeps is kept. Immutable.
/// </summary>
public sealed record RetentionRules
{
    private static readonly RetentionPeriod[] s_periods = Enum.GetValues<RetentionPeriod>();

    /// <summary>No rule.</summary>
    public static RetentionRules None { get; } = new();

    /// <summary>Of so many of each period; <see cref="int.MaxValue"/>: of all. Absent: none.</summary>
    public IReadOnlyDictionary<RetentionPeriod, int> Counts { get; init; } = new Dictionary<RetentionPeriod, int>();

    /// <summary>Of each period within so long before the newest; <see cref="RetentionPeriod.Last"/> stands for all snapshots. Absent: none.</summary>
    public IReadOnlyDictionary<RetentionPeriod, RetentionSpan> Within { get; init; } = new Dictionary<RetentionPeriod, RetentionSpan>();

    /// <summary>Lists of tags: a snapshot with all tags of one list is kept.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Tags { get; init; } = [];

    /// <summary>Whether there is no rule at all.</summary>
    public bool IsEmpty => Counts.Values.All(static n => n <= 0) && Within.Values.All(static span => span.IsZero) && Tags.Count == 0;

    /// <summary>All periods, the shortest first.</summary>
    public static IReadOnlyList<RetentionPeriod> Periods => s_periods;

    /// <summary>How many of a period are kept.</summary>
    public int Count(RetentionPeriod period) => Math.Max(0, Counts.GetValueOrDefault(period));

    /// <summary>Within what time a period's are kept; zero: no such rule.</summary>
    public RetentionSpan SpanOf(RetentionPeriod period) => Within.GetValueOrDefault(period);

    /// <summary>These rules with another count.</summary>
    public RetentionRules With(RetentionPeriod period, int count) =>
        this with { Counts = new Dictionary<RetentionPeriod, int>(Counts) { [period] = count } };

    /// <summary>These rules with another length of time.</summary>
    public RetentionRules With(RetentionPeriod period, RetentionSpan within) =>
        this with { Within = new Dictionary<RetentionPeriod, RetentionSpan>(Within) { [period] = within } };

    /// <summary>How many days back the rules reach, about, where something is backed up every day; null: for ever.</summary>
    public double? ApproximateDays
    {
        get
        {
            if (Tags.Count > 0 || Counts.Values.Contains(int.MaxValue))
            {
                return null;
            }

            double days = Within.Values.Select(static span => span.ApproximateDays).DefaultIfEmpty().Max();
            foreach ((RetentionPeriod period, int count) in Counts)
            {
                days = Math.Max(days, count * DaysOf(period));
            }

            return days;
        }
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        List<string> parts = [];
        foreach (RetentionPeriod period in s_periods)
        {
            // A zero that is written counts too: it takes back what a policy would keep.
            if (Counts.TryGetValue(period, out int count))
            {
                parts.Add($"{Word(period)}={(count == int.MaxValue ? "unlimited" : count.ToString(System.Globalization.CultureInfo.InvariantCulture))}");
            }
        }

        foreach (RetentionPeriod period in s_periods)
        {
            if (SpanOf(period) is { IsZero: false } span)
            {
                parts.Add($"{(period == RetentionPeriod.Last ? "within" : "within-" + Word(period))}={span}");
            }
        }

        parts.AddRange(Tags.Select(static list => "tag=" + string.Join('+', list)));
        return string.Join(',', parts);
    }

    /// <summary>A period's word: <c>daily</c>.</summary>
    public static string Word(RetentionPeriod period) => period.ToString().ToLowerInvariant();

    private static double DaysOf(RetentionPeriod period) => period switch
    {
        RetentionPeriod.Hourly => 1 / 24.0,
        RetentionPeriod.Weekly => 7,
        RetentionPeriod.Monthly => 30.44,
        RetentionPeriod.Yearly => 365.25,
        _ => 1,
    };
}
