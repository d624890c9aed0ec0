using BackupIQ.Cli.Configuration;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary>The flags that say what is kept, and what they and the configuration ask for together.</summary>
internal static class RetentionFlags
{
    private static readonly string[] Periods = ["hourly", "daily", "weekly", "monthly", "yearly"];
    private static readonly string[] Types = ["full", "incremental", "differential"];

    /// <summary>Declares them.</summary>
    public static void Declare(Verb verb)
    {
        verb.Value("--policy", "POLICY", "gfs (7 days, 4 weeks, 12 months, 3 years), simple (the last 10) or time (30 days); or as gfs:daily=14, simple:30, time:90d");
        verb.Value("--keep-last", "N", "keep the newest N");
        foreach (string period in Periods)
        {
            verb.Value($"--keep-{period}", "N", $"keep the newest of each of the last N {Unit(period)}s with snapshots");
        }

        verb.Value("--keep-within", "TIME", "keep all within TIME of the newest, as 1y6m2w3d12h (m: months)");
        foreach (string period in Periods)
        {
            verb.Value($"--keep-within-{period}", "TIME", $"keep the newest of each {Unit(period)} within TIME of the newest");
        }

        verb.List("--keep-tag", "TAG[,TAG]", "keep all with all of these tags");
        foreach (string type in Types)
        {
            verb.Value($"--policy-{type}", "POLICY", $"policy of {type} snapshots alone");
        }
    }

    /// <summary>
    /// The rules that are asked for. Rules on the command line are all rules: with a policy or a --keep flag there, those of the configuration
    /// play no part.
    /// </summary>
    public static RetentionRequest Request(Invocation run)
    {
        Arguments arguments = run.Arguments;
        List<(string, string)> keep = [];
        Add("last", "--keep-last");
        Add("within", "--keep-within");
        foreach (string period in Periods)
        {
            Add(period, $"--keep-{period}");
            Add($"within-{period}", $"--keep-within-{period}");
        }

        IReadOnlyList<string> tags = arguments.Values("--keep-tag");
        bool isWritten = keep.Count + tags.Count > 0 || arguments.Has("--policy") || Types.Any(type => arguments.Has($"--policy-{type}"));
        return new RetentionRequest
        {
            Policy = Setting("retention.policy"),
            Keep = keep,
            KeepTags = tags,
            TypePolicies = Types.Select(type => (type, Policy: Setting($"retention.{type}"))).Where(static one => one.Policy is not null)
                .ToDictionary(static one => one.type, static one => one.Policy!),
        };

        void Add(string rule, string flag)
        {
            if (arguments.Value(flag) is { } value)
            {
                keep.Add((rule, value));
            }
        }

        string? Setting(string key) => isWritten && run.Settings.Get(key).Origin != SettingOrigin.Flag ? null : run.Settings.Text(key);
    }

    private static string Unit(string period) => period == "daily" ? "day" : period[..^2];
}
