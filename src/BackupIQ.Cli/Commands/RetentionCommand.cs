using System.Globalization;
using System.Text;
using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>retention show|simulate</c></summary>
internal static class RetentionCommand
{
    public static VerbGroup Create() => new(
        "retention", "Shows what the rules of retention keep.", new RetentionShowCommand(), new RetentionSimulateCommand());

    /// <summary>Rules as text for people: <c>daily 7, weekly 4, all within 30d</c>.</summary>
    public static IEnumerable<string> Lines(RetentionRulesInfo rules)
    {
        foreach ((string period, int count) in rules.Counts)
        {
            yield return $"{period}: {(count == int.MaxValue ? "all" : count.ToString(CultureInfo.InvariantCulture))}";
        }

        foreach ((string period, string span) in rules.Within)
        {
            yield return $"{period} within {span}";
        }

        foreach (IReadOnlyList<string> tags in rules.Tags)
        {
            yield return $"all with {string.Join(" and ", tags)}";
        }
    }
}

/// <summary><c>retention show [--type T]</c></summary>
internal sealed class RetentionShowCommand : Verb
{
    public RetentionShowCommand()
        : base("show", "Shows the rules in force, and how many days back they reach.")
    {
        Value("--type", "TYPE", "only for full, incremental or differential snapshots");
        RetentionFlags.Declare(this);
    }

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        run.Settings.RequireValid();
        string? type = run.Arguments.Value("--type");
        if (type is not (null or "full" or "incremental" or "differential"))
        {
            throw Misuse($"--type: '{DisplayText.Of(type)}' is none of full, incremental, differential");
        }

        IReadOnlyList<RetentionRulesInfo> all = RetentionRulesInfo.Of(RetentionFlags.Request(run));
        RetentionRulesInfo[] shown = type is null ? [.. all]
            : [.. all.Where(rules => rules.Type == type).DefaultIfEmpty(all.FirstOrDefault(static rules => rules.Type is null)!).OfType<RetentionRulesInfo>()];
        if (run.WantsJson)
        {
            WriteJson(run, shown);
        }
        else
        {
            Show(run, shown);
        }

        return Task.FromResult(ExitCodes.Done);
    }

    private static void Show(Invocation run, RetentionRulesInfo[] shown)
    {
        if (shown.Length == 0)
        {
            run.Print("No rules: 'forget' keeps everything until it is given some, or retention.policy is set in the configuration.\n");
            return;
        }

        Table table = new("Snapshots", "Policy", "Keeps", ">Days back");
        foreach (RetentionRulesInfo rules in shown)
        {
            string who = rules.Type ?? (shown.Length > 1 ? "all others" : "all");
            string days = rules.Days is { } number ? Math.Ceiling(number).ToString("N0", CultureInfo.InvariantCulture) : "for ever";
            table.Add(who, rules.Policy, DisplayText.Of(string.Join(", ", RetentionCommand.Lines(rules))), days);
        }

        run.Print(output =>
        {
            table.Write(output);
            output.WriteLine($"Holds and pins win over every rule. A forgotten snapshot can be brought back for {Words.Duration(run.Settings.Duration("retention.grace"))}.");
        });
    }

    private static void WriteJson(Invocation run, RetentionRulesInfo[] shown) => run.Json.Document(writer =>
    {
        writer.WriteStartArray();
        foreach (RetentionRulesInfo rules in shown)
        {
            writer.WriteStartObject();
            writer.WriteString("type", rules.Type);
            writer.WriteString("policy", rules.Policy);
            writer.WriteString("text", rules.Text);
            if (rules.Days is { } days)
            {
                writer.WriteNumber("days", Math.Ceiling(days));
            }
            else
            {
                writer.WriteNull("days");
            }

            writer.WriteStartObject("keep");
            foreach ((string period, int count) in rules.Counts)
            {
                writer.WriteNumber(period, count);
            }

            writer.WriteEndObject();
            writer.WriteStartObject("within");
            foreach ((string period, string span) in rules.Within)
            {
                writer.WriteString(period, span);
            }

            writer.WriteEndObject();
            JsonFields.WriteStrings(writer, "tags", rules.Tags.Select(static tags => string.Join(",", tags)));
            writer.WriteNumber("grace_seconds", run.Settings.Duration("retention.grace").TotalSeconds);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });
}

/// <summary><c>retention simulate</c>: what rules keep over the coming year.</summary>
internal sealed class RetentionSimulateCommand : SnapshotVerb
{
    // More would take minutes and say nothing new.
    private const int MostBackups = 10_000;

    public RetentionSimulateCommand()
        : base("simulate", "Shows what rules would keep of backups to come.", "begin with these, which are there now")
    {
        RetentionFlags.Declare(this);
        Value("--every", "TIME", "from one backup to the next (default: 1d)");
        Value("--for", "TIME", "how long (default: 1y)");
        Flag("--existing", "begin with the snapshots that are there now; narrow them with --host, --path, --tag");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq retention simulate --policy gfs", "backupiq retention simulate --keep-daily 7 --every 6h --for 30d"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        RetentionRequest request = RetentionFlags.Request(run);
        IReadOnlyList<RetentionRulesInfo> rules = RetentionRulesInfo.Of(request);
        if (rules.FirstOrDefault(static one => one.Type is null) is not { } general)
        {
            throw Misuse("'retention simulate' needs rules (--policy gfs, --keep-daily 7 …) or retention.policy in the configuration");
        }

        TimeSpan every = Duration(run, "--every", TimeSpan.FromDays(1));
        TimeSpan length = Duration(run, "--for", TimeSpan.FromDays(365));
        long count = every > TimeSpan.Zero ? length.Ticks / every.Ticks : 0;
        if (count is < 1 or > MostBackups)
        {
            throw Misuse($"--every and --for ask for {Words.Count(count, "backup")}, and 1 to {Words.Number(MostBackups)} can be shown");
        }

        IReadOnlyList<DateTimeOffset> existing = await ExistingAsync(run, cancellationToken).ConfigureAwait(false);
        RetentionPreview preview = RetentionPreview.Of(existing, request, run.Host.Time.GetLocalNow(), every, (int)count, run.Zone, cancellationToken);
        if (run.WantsJson)
        {
            WriteJson(run, general, preview);
        }
        else
        {
            Show(run, general, preview);
        }

        return ExitCodes.Done;
    }

    private async Task<IReadOnlyList<DateTimeOffset>> ExistingAsync(Invocation run, CancellationToken cancellationToken)
    {
        if (!run.Arguments.Has("--existing") && run.Arguments.Positional.Count == 0)
        {
            return [];
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        return [.. (await repository.SelectSnapshotsAsync(Selection(run), cancellationToken).ConfigureAwait(false)).Select(static s => s.Time)];
    }

    private TimeSpan Duration(Invocation run, string flag, TimeSpan otherwise) =>
        Duration(run, flag, "12h, 1d or 1y") ?? otherwise;

    // A line a month, a letter a day: why the day's snapshot is kept in the end.
    private static void Show(Invocation run, RetentionRulesInfo rules, RetentionPreview preview) => run.Print(output =>
    {
        output.WriteLine($"{rules.Policy}: {DisplayText.Of(string.Join(", ", RetentionCommand.Lines(rules)))}");
        output.WriteLine($"{Words.Count(preview.Snapshots.Count, "backup")} until {Words.Moment(preview.End, run.Zone)[..10]}; kept then: {Words.Number(preview.CountAt(preview.End))}");
        output.WriteLine();
        output.WriteLine("         1   5    10   15   20   25   30   there at the month's end");
        foreach ((string month, string days, int there) in Months(run.Zone, preview))
        {
            output.WriteLine($"{month}  {days}  {there,4}");
        }

        output.WriteLine();
        output.WriteLine("Y year, M month, W week, D day, H hour, L last, T within a time, · backed up and let go");
    });

    private static IEnumerable<(string Month, string Days, int There)> Months(TimeZoneInfo zone, RetentionPreview preview)
    {
        foreach (IGrouping<(int Year, int Month), PreviewedSnapshot> month in preview.Snapshots.GroupBy(s => MonthOf(s.Time, zone)))
        {
            StringBuilder days = new();
            for (int day = 1; day <= 31; day++)
            {
                PreviewedSnapshot[] made = [.. month.Where(s => TimeZoneInfo.ConvertTime(s.Time, zone).Day == day)];
                days.Append(made.Length == 0 ? ' ' : made.Select(Letter).OrderBy(static letter => "YMWDHLT·".IndexOf(letter, StringComparison.Ordinal)).First());
            }

            yield return ($"{month.Key.Year:0000}-{month.Key.Month:00}", days.ToString(), preview.CountAt(month.Max(static s => s.Time)));
        }
    }

    private static (int Year, int Month) MonthOf(DateTimeOffset time, TimeZoneInfo zone)
    {
        DateTimeOffset local = TimeZoneInfo.ConvertTime(time, zone);
        return (local.Year, local.Month);
    }

    private static char Letter(PreviewedSnapshot snapshot)
    {
        foreach ((string word, char letter) in ((string, char)[])[("yearly", 'Y'), ("monthly", 'M'), ("weekly", 'W'), ("daily", 'D'), ("hourly", 'H'), ("last", 'L')])
        {
            if (snapshot.Reasons.Any(reason => reason.StartsWith(word, StringComparison.Ordinal)))
            {
                return letter;
            }
        }

        return snapshot.Reasons.Count > 0 ? 'T' : '·';
    }

    private static void WriteJson(Invocation run, RetentionRulesInfo rules, RetentionPreview preview) => run.Json.Document(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("policy", rules.Text);
        writer.WriteString("start", preview.Start);
        writer.WriteString("end", preview.End);
        writer.WriteNumber("made", preview.Snapshots.Count);
        writer.WriteNumber("kept", preview.CountAt(preview.End));
        writer.WriteStartArray("months");
        foreach ((string month, string days, int there) in Months(run.Zone, preview))
        {
            writer.WriteStartObject();
            writer.WriteString("month", month);
            writer.WriteString("days", days);
            writer.WriteNumber("there_at_end", there);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        WriteSnapshots(writer, "keep", preview.Snapshots.Where(static s => s.LetGoAt is null));
        writer.WriteEndObject();
    });

    private static void WriteSnapshots(Utf8JsonWriter writer, string name, IEnumerable<PreviewedSnapshot> snapshots)
    {
        writer.WriteStartArray(name);
        foreach (PreviewedSnapshot snapshot in snapshots)
        {
            writer.WriteStartObject();
            writer.WriteString("time", snapshot.Time);
            JsonFields.WriteStrings(writer, "matches", snapshot.Reasons);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
