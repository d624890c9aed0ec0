using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Engine.Retention;

/// <summary>
/// A named set of rules. <c>gfs</c>: grandfather, father, son. <c>simple</c>: the newest n. <c>time</c>: all of so many days. <c>keep</c>: whatever
/// rules are written. As text: <c>gfs</c>, <c>gfs:daily=14,yearly=10</c>, <c>simple:30</c>, <c>time:90d</c>, <c>keep:last=3,within=30d,tag=a+b</c>.
/// </summary>
public sealed record RetentionPolicy
{
    private RetentionPolicy(string name, RetentionRules rules)
    {
        Name = name;
        Rules = rules;
    }

    /// <summary><c>gfs</c>, <c>simple</c>, <c>time</c> or <c>keep</c>.</summary>
    public string Name { get; }

    public RetentionRules Rules { get; }

    /// <summary>
    /// 7 days, 4 weeks, 12 months (a week to notice, a month to fill, a year to compare, as the rotation is usually given) and 3 years, so that
    /// the end of the year before last is there when its books are asked for.
    /// </summary>
    public static RetentionPolicy Gfs { get; } = new("gfs", RetentionRules.None
        .With(RetentionPeriod.Daily, 7).With(RetentionPeriod.Weekly, 4).With(RetentionPeriod.Monthly, 12).With(RetentionPeriod.Yearly, 3));

    /// <summary>The newest 10: with a backup a day that is more than a week.</summary>
    public static RetentionPolicy Simple { get; } = new("simple", RetentionRules.None.With(RetentionPeriod.Last, 10));

    /// <summary>
    /// All of the 30 days before the newest: counted from it and not from now, so that a series that is backed up no more does not melt away.
    /// </summary>
    public static RetentionPolicy Time { get; } = new("time", RetentionRules.None.With(RetentionPeriod.Last, new RetentionSpan(0, 0, 30, 0)));

    /// <summary>Rules that are written out.</summary>
    public static RetentionPolicy Keep(RetentionRules rules) => new("keep", rules);

    /// <summary>This policy with other rules.</summary>
    public RetentionPolicy With(RetentionRules rules) => new(Name, rules);

    /// <summary>This policy with one rule as the text of a policy has it: <c>daily</c> and <c>7</c>, <c>within</c> and <c>30d</c>.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public RetentionPolicy With(string rule, string value) => With(Add(Rules, rule, value, rule));

    /// <summary>Reads a policy.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static RetentionPolicy Parse(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string name = colon < 0 ? text : text[..colon];
        string[] parts = colon < 0 ? [] : text[(colon + 1)..].Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        RetentionPolicy policy = name switch
        {
            "gfs" => Gfs,
            "simple" => Simple,
            "time" => Time,
            "keep" when parts.Length > 0 => Keep(RetentionRules.None),
            _ => throw new BackupIQException(
                ErrorCodes.Usage,
                $"'{text}' is no policy of retention",
                "Write gfs, simple or time, with numbers as in gfs:daily=14,yearly=10, simple:30 or time:90d; or rules as in keep:last=3,daily=7,within=30d."),
        };

        RetentionRules rules = policy.Rules;
        foreach (string part in parts)
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            (string key, string value) = equals < 0 ? (name is "simple" ? "last" : name is "time" ? "within" : part, part) : (part[..equals], part[(equals + 1)..]);
            rules = Add(rules, key, value, text);
        }

        return policy.With(rules);
    }

    /// <summary>A count of a rule: 0 or more, or <c>unlimited</c>.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static int ParseCount(string text) =>
        text is "unlimited" or "-1" ? int.MaxValue
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) ? count
        : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no number of snapshots to keep", "Write 0 or more, or unlimited.");

    /// <inheritdoc/>
    public override string ToString() => $"{Name}:{Rules}";

    private static RetentionRules Add(RetentionRules rules, string key, string value, string text)
    {
        if (key == "tag")
        {
            return rules with { Tags = [.. rules.Tags, value.Split('+')] };
        }

        bool isWithin = key == "within" || key.StartsWith("within-", StringComparison.Ordinal);
        string word = key == "within" ? "last" : isWithin ? key["within-".Length..] : key;
        foreach (RetentionPeriod period in RetentionRules.Periods)
        {
            if (RetentionRules.Word(period) == word && key != "within-last")
            {
                return isWithin ? rules.With(period, RetentionSpan.Parse(value)) : rules.With(period, ParseCount(value));
            }
        }

        throw new BackupIQException(
            ErrorCodes.Usage, $"'{key}' in '{text}' is no rule of retention", "The rules are last, hourly, daily, weekly, monthly, yearly, within, within-hourly … within-yearly, tag.");
    }
}
