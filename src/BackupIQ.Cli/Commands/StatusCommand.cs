using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>status</c>: one screen that says whether the backups are as they should be, and one exit code for those who watch.</summary>
internal sealed class StatusCommand : Verb
{
    // Fewer tell of no rhythm.
    private const int FewestGaps = 3;

    // What was done often lately counts, not what was done a year ago.
    private const int LatestGaps = 10;

    // So many times what is usual: one that is late or was left out is no news, two are.
    private const int UsualGaps = 2;

    private static readonly TimeSpan ShortestAge = TimeSpan.FromHours(1);

    public StatusCommand()
        : base("status", "Says on one screen whether the backups are as they should be.")
    {
        Value("--max-age", "TIME", "the newest snapshot may be so old, as 26h; else twice the usual gap");
        Value("--fail-on", "WHAT", "end with 16: overdue, or warning (anything that is not ok)");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq status",
        "backupiq status --max-age 26h --fail-on overdue || mail -s 'backup overdue' me",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        TimeSpan? maxAge = Duration(run, "--max-age", "90m, 26h or 7d", isSomething: true);
        string? failOn = run.Arguments.Value("--fail-on");
        if (failOn is not (null or "overdue" or "warning"))
        {
            throw Misuse($"--fail-on: '{DisplayText.Of(failOn)}' is none of overdue, warning");
        }

        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SnapshotInfo> snapshots = await repository.ListSnapshotsAsync(null, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SnapshotInfo> partials = await repository.ListPartialAsync(new SnapshotQuery(), cancellationToken).ConfigureAwait(false);
        DateTimeOffset now = run.Host.Time.GetUtcNow();
        Series[] series = [.. snapshots.GroupBy(Series.KeyOf, StringComparer.Ordinal).Select(group => Series.Of([.. group], maxAge, now)).OrderBy(static one => one.Newest.Time)];
        List<Finding> findings = [.. Backups(series, now, run.Zone), .. Interrupted(partials, series, run.Zone)];
        findings.Add(await RepositoryFindings.VerificationAsync(run, repository, cancellationToken).ConfigureAwait(false));
        findings.AddRange(RepositoryFindings.Restores(snapshots, now));
        findings.AddRange(await RepositoryFindings.KeysAsync(run, repository, cancellationToken).ConfigureAwait(false));
        if (run.WantsJson)
        {
            WriteJson(run, repository, series, findings, now);
        }
        else
        {
            Show(run, repository, series, findings, now);
        }

        bool isBroken = failOn switch
        {
            "overdue" => series.Length == 0 || series.Any(static one => one.IsOverdue),
            "warning" => findings.Exists(static finding => finding.Level != FindingLevel.Good),
            _ => false,
        };
        return isBroken ? ExitCodes.PromiseBroken : ExitCodes.Done;
    }

    private static IEnumerable<Finding> Backups(Series[] series, DateTimeOffset now, TimeZoneInfo zone)
    {
        if (series.Length == 0)
        {
            yield return new Finding(FindingLevel.Warning, "backups", "there is no snapshot yet", "Run 'backupiq backup DIR'.");
            yield break;
        }

        Series[] overdue = [.. series.Where(static one => one.IsOverdue)];
        foreach (Series late in overdue)
        {
            yield return new Finding(
                FindingLevel.Warning,
                "backups",
                $"{late.Newest.Hostname}, {late.Paths}: the newest is of {Words.Moment(late.Newest.Time, zone)}, {Words.Duration(now - late.Newest.Time)} ago; due every {Words.Duration(late.DueWithin!.Value)}",
                "Look why the backup did not run, and run it.");
        }

        if (overdue.Length == 0)
        {
            yield return new Finding(
                FindingLevel.Good, "backups", series.Any(static one => one.DueWithin is not null) ? "none is overdue" : "too few to tell what is overdue; --max-age says it");
        }
    }

    // A run that was interrupted after the newest whole snapshot of its series.
    private static IEnumerable<Finding> Interrupted(IReadOnlyList<SnapshotInfo> partials, Series[] series, TimeZoneInfo zone) =>
        from partial in partials
        group partial by Series.KeyOf(partial) into runs
        let newest = runs.MaxBy(static partial => partial.Time)!
        where !series.Any(one => one.Key == runs.Key && one.Newest.Time >= newest.Time)
        select new Finding(
            FindingLevel.Note,
            "interrupted",
            $"{newest.Hostname}, {Series.PathsOf(newest)}: a run of {Words.Moment(newest.Time, zone)} is at work or was interrupted",
            "The next run goes on from what it has stored.");

    private static void Show(Invocation run, BackupIqRepository repository, Series[] series, List<Finding> findings, DateTimeOffset now) => run.Print(output =>
    {
        output.WriteLine($"Repository  {DisplayText.Of(repository.Location)}");
        if (series.Length > 0)
        {
            output.WriteLine();
            Table table = new("Host", "Kind", ">Snapshots", "Newest", ">Ago", ">Files", ">Size", "Paths");
            foreach (Series one in series)
            {
                table.Add(
                    DisplayText.Of(one.Newest.Hostname),
                    one.Newest.Kind,
                    Words.Number(one.Count),
                    Words.Moment(one.Newest.Time, run.Zone),
                    Words.Duration(now - one.Newest.Time),
                    one.Newest.Counts is { } counts ? Words.Number(counts.TotalFiles) : "",
                    one.Newest.Counts is { } sizes ? Words.Size(sizes.TotalBytes) : "",
                    DisplayText.Of(one.Paths));
            }

            table.Write(output);
        }

        output.WriteLine();
        Finding.Show(output, findings);
    });

    private static void WriteJson(Invocation run, BackupIqRepository repository, Series[] series, List<Finding> findings, DateTimeOffset now) => run.Json.Document(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("repository", repository.Location);
        writer.WriteBoolean("ok", findings.TrueForAll(static finding => finding.Level == FindingLevel.Good));
        writer.WriteBoolean("overdue", series.Length == 0 || series.Any(static one => one.IsOverdue));
        writer.WriteStartArray("series");
        foreach (Series one in series)
        {
            writer.WriteStartObject();
            writer.WriteString("hostname", one.Newest.Hostname);
            writer.WriteString("kind", one.Newest.Kind);
            JsonFields.WritePaths(writer, one.Newest.Paths);
            writer.WriteNumber("snapshots_count", one.Count);
            writer.WriteString("newest_id", one.Newest.Id);
            writer.WriteString("newest_time", one.Newest.Time);
            writer.WriteNumber("age_seconds", Math.Round((now - one.Newest.Time).TotalSeconds));
            if (one.DueWithin is { } due)
            {
                writer.WriteNumber("due_within_seconds", Math.Round(due.TotalSeconds));
            }

            writer.WriteBoolean("overdue", one.IsOverdue);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        Finding.Write(writer, findings);
        writer.WriteEndObject();
    });

    /// <summary>The snapshots of one host, kind and set of paths.</summary>
    private sealed record Series(string Key, SnapshotInfo Newest, int Count, TimeSpan? DueWithin, bool IsOverdue)
    {
        public string Paths => PathsOf(Newest);

        public static string KeyOf(SnapshotInfo snapshot) =>
            string.Join('\0', [snapshot.Hostname, snapshot.Kind, .. snapshot.Paths.Select(Convert.ToHexString).Order(StringComparer.Ordinal)]);

        public static string PathsOf(SnapshotInfo snapshot) => string.Join(", ", snapshot.Paths.Select(static path => DisplayText.Of(path)));

        public static Series Of(IReadOnlyList<SnapshotInfo> snapshots, TimeSpan? maxAge, DateTimeOffset now)
        {
            SnapshotInfo[] ordered = [.. snapshots.OrderBy(static snapshot => snapshot.Time)];
            TimeSpan? due = maxAge ?? Usual(ordered);
            return new Series(KeyOf(ordered[^1]), ordered[^1], ordered.Length, due, due is { } within && now - ordered[^1].Time > within);
        }

        // Twice the median of the latest gaps.
        private static TimeSpan? Usual(SnapshotInfo[] ordered)
        {
            TimeSpan[] gaps = [.. ordered.Zip(ordered.Skip(1), static (one, next) => next.Time - one.Time).TakeLast(LatestGaps).Order()];
            return gaps.Length < FewestGaps ? null : TimeSpan.FromTicks(Math.Max(ShortestAge.Ticks, gaps[gaps.Length / 2].Ticks * UsualGaps));
        }
    }
}
