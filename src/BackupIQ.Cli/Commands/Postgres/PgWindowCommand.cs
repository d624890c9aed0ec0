using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg window NAME</c></summary>
internal sealed class PgWindowCommand : Verb
{
    public PgWindowCommand()
        : base("window", "Shows how far a PostgreSQL server's log goes without a hole, and which moments can be reached.") =>
        Positional("NAME", "the server's name", 1, 1);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg window main", "backupiq pg window main --json"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string name = run.Arguments.Positional[0];
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        WalWindowInfo window = await repository.ReadWalWindowAsync(name, cancellationToken: cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer => Write(writer, name, window));
        }
        else
        {
            run.Print(output => Show(output, run, window));
        }

        return ExitCodes.Done;
    }

    private static void Write(Utf8JsonWriter writer, string name, WalWindowInfo window)
    {
        writer.WriteStartObject();
        writer.WriteString("server", name);
        writer.WriteString("system_identifier", window.SystemIdentifier);
        JsonFields.WriteObjects(writer, "intervals", window.Intervals, (writer, interval) =>
        {
            writer.WriteNumber("timeline", interval.Timeline);
            writer.WriteString("from_time", PgWalCommand.Iso(interval.FromTime));
            writer.WriteString("from_lsn", interval.FromLsn);
            writer.WriteString("to_time", PgWalCommand.Iso(interval.ToTime));
            writer.WriteString("to_lsn", interval.ToLsn);
            writer.WriteString("ends_because", interval.EndsBecause);
            writer.WriteString("ends_at", interval.EndsAt);
            writer.WriteBoolean("hole_follows", interval.IsHole);
            writer.WriteNumber("segments", interval.Segments);
            writer.WriteString("reachable_from_lsn", interval.Bases.Count == 0 ? null : interval.Bases[0].StopLsn);
            writer.WriteString("reachable_from_time", interval.Bases.Count == 0 ? null : PgWalCommand.Iso(interval.Bases[0].StopTime));
            JsonFields.WriteStrings(writer, "bases", interval.Bases.Select(static one => one.Snapshot));
        });
        JsonFields.WriteObjects(writer, "bases", window.Bases, (writer, one) =>
        {
            writer.WriteString("snapshot", one.Snapshot);
            writer.WriteNumber("timeline", one.Timeline);
            writer.WriteString("start_lsn", one.StartLsn);
            writer.WriteString("stop_lsn", one.StopLsn);
            writer.WriteString("stop_time", PgWalCommand.Iso(one.StopTime));
            writer.WriteBoolean("island", window.Islands.Contains(one));
        });
        JsonFields.WriteObjects(writer, "gaps", window.Gaps, (writer, gap) =>
        {
            writer.WriteNumber("timeline", gap.Timeline);
            PgWalCommand.Write(writer, gap);
            writer.WriteString("recorded_at", PgWalCommand.Iso(gap.RecordedAt));
        });
        if (window.Unfinished is { } unfinished)
        {
            writer.WriteStartObject("unfinished");
            writer.WriteString("segment", unfinished.Segment);
            writer.WriteString("to_lsn", unfinished.ToLsn);
            writer.WriteString("to_time", PgWalCommand.Iso(unfinished.LastTime));
            writer.WriteString("stored_at", PgWalCommand.Iso(unfinished.StoredAt));
            writer.WriteEndObject();
        }
        else
        {
            writer.WriteNull("unfinished");
        }

        writer.WriteString("last_archived", window.LastArchived);
        writer.WriteString("last_archived_at", PgWalCommand.Iso(window.LastArchivedAt));
        if (window.Lag is { } lag)
        {
            writer.WriteNumber("lag_seconds", Math.Round(lag.TotalSeconds, 3));
        }
        else
        {
            writer.WriteNull("lag_seconds");
        }

        writer.WriteEndObject();
    }

    private static void Show(TextWriter output, Invocation run, WalWindowInfo window)
    {
        output.WriteLine($"PostgreSQL {window.Version}, system identifier {window.SystemIdentifier}");
        foreach (WalIntervalInfo interval in window.Intervals)
        {
            output.WriteLine();
            output.WriteLine($"timeline {interval.Timeline}: {interval.FromLsn} to {interval.ToLsn}, {Words.Count(interval.Segments, "segment")}");
            output.WriteLine($"  commits         {PgWalCommand.Moment(interval.FromTime, run.Zone)} to {PgWalCommand.Moment(interval.ToTime, run.Zone)}");
            output.WriteLine($"  ends because    {DisplayText.Of(interval.EndsBecause)}");
            output.WriteLine(interval.Bases.Count == 0
                ? "  reachable       nothing: no base backup leads into it"
                : $"  reachable       every moment from {Words.Moment(interval.Bases[0].StopTime, run.Zone)} ({interval.Bases[0].StopLsn}) on");
        }

        if (window.Islands.Count > 0)
        {
            output.WriteLine();
        }

        foreach (WalBaseInfo one in window.Islands)
        {
            output.WriteLine($"island: {one.Snapshot[..8]}, timeline {one.Timeline}, restores to its own end alone, {Words.Moment(one.StopTime, run.Zone)} ({one.StopLsn})");
        }

        foreach (WalGapInfo gap in window.Gaps.Where(static gap => !gap.IsFilled))
        {
            output.WriteLine();
            output.WriteLine($"lost on timeline {gap.Timeline}: {gap.FromLsn} to {gap.ToLsn}, found {Words.Moment(gap.RecordedAt, run.Zone)}");
            output.WriteLine($"  because         {DisplayText.Of(gap.Cause)}");
        }

        output.WriteLine();
        if (window.Unfinished is { } unfinished)
        {
            output.WriteLine($"not finished: {unfinished.Segment}, there up to {unfinished.ToLsn}, last commit {PgWalCommand.Moment(unfinished.LastTime, run.Zone)}");
        }

        output.WriteLine(window is { LastArchived: { } last, LastArchivedAt: { } at, Lag: { } lag }
            ? $"last archived: {last}, {Words.Moment(at, run.Zone)}, {Words.Duration(lag)} ago"
            : "no segment is archived");
    }
}
