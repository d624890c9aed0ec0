using System.Globalization;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>hold SNAP… [--until DATE] [--reason R]</c>, <c>hold --release</c>, <c>hold list</c></summary>
internal sealed class HoldCommand : SnapshotVerb
{
    public HoldCommand()
        : base("hold", "Holds snapshots: while it lasts nobody can forget them.", "the snapshots")
    {
        Subcommands.Add(new HoldListCommand());
        Value("--until", "DATE", "until the end of this day (2027-01-31), this moment, or so long (90d); else until released");
        Value("--reason", "TEXT", "why");
        Flag("--release", "end every hold of these snapshots");

        // Without an action the parser would insist on the verb below; it is never called.
        SetAction(static _ => ExitCodes.Done);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
        ["backupiq hold 1a2b3c4d --until 2027-01-31 --reason audit", "backupiq hold --release 1a2b3c4d", "backupiq hold list"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        bool release = run.Arguments.Has("--release");
        if (release && (run.Arguments.Has("--until") || run.Arguments.Has("--reason")))
        {
            throw Misuse("--release ends holds, so --until and --reason have no place beside it");
        }

        SnapshotSelection selection = NarrowSelection(run);
        DateTimeOffset? until = run.Arguments.Value("--until") is { } text ? Until(run, text) : null;
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (!release)
        {
            Tell(run, await repository.HoldAsync(selection, until, run.Arguments.Value("--reason"), cancellationToken).ConfigureAwait(false), _ => "held");
            return ExitCodes.Done;
        }

        IReadOnlyList<SnapshotInfo> held = await repository.SelectSnapshotsAsync(selection, cancellationToken).ConfigureAwait(false);
        if (held.Any(static snapshot => snapshot.HasUnreadableAnnotation))
        {
            run.Confirm("What is said about some of these snapshots cannot be read and may be a hold. Release them all the same?");
        }

        Tell(run, await repository.ReleaseAsync(selection, cancellationToken).ConfigureAwait(false), static _ => "not held");
        return ExitCodes.Done;
    }

    private DateTimeOffset Until(Invocation run, string text)
    {
        if (Quantity.TryParseDuration(text, out TimeSpan duration))
        {
            return run.Host.Time.GetLocalNow() + duration;
        }

        // A day means its end: who writes 31 January wants the snapshot held on that day, too.
        if (DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day) && day < DateOnly.MaxValue)
        {
            DateTime midnight = day.AddDays(1).ToDateTime(TimeOnly.MinValue);
            return new DateTimeOffset(midnight, run.Zone.GetUtcOffset(midnight));
        }

        if (DateTime.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind, out DateTime moment) && text.Contains('-', StringComparison.Ordinal))
        {
            return moment.Kind == DateTimeKind.Unspecified
                ? new DateTimeOffset(moment, run.Zone.GetUtcOffset(moment))
                : DateTimeOffset.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        }

        throw Misuse($"--until: '{DisplayText.Of(text)}' is no day", "Write a day (2027-01-31), a moment (2027-01-31T12:00) or how long (90d).");
    }
}

/// <summary><c>hold list</c></summary>
internal sealed class HoldListCommand() : Verb("list", "Lists the holds.")
{
    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SnapshotInfo> snapshots = await repository.ListSnapshotsAsync(null, cancellationToken).ConfigureAwait(false);
        (SnapshotInfo Snapshot, HoldInfo Hold)[] holds = [.. snapshots.SelectMany(static snapshot => snapshot.Holds.Select(hold => (snapshot, hold)))];
        if (run.WantsJson)
        {
            WriteJson(run, holds);
        }
        else if (holds.Length == 0)
        {
            run.Screen.Note("no holds");
        }
        else
        {
            Show(run, holds);
        }

        return ExitCodes.Done;
    }

    private static void WriteJson(Invocation run, (SnapshotInfo Snapshot, HoldInfo Hold)[] holds) => run.Json.Document(writer =>
    {
        writer.WriteStartArray();
        foreach ((SnapshotInfo snapshot, HoldInfo hold) in holds)
        {
            writer.WriteStartObject();
            writer.WriteString("snapshot_id", snapshot.Id);
            JsonFields.WriteHoldFields(writer, hold);
            writer.WriteBoolean("in_force", hold.IsInForce(run.Host.Time.GetUtcNow()));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });

    private static void Show(Invocation run, (SnapshotInfo Snapshot, HoldInfo Hold)[] holds)
    {
        Table table = new("Snapshot", "Time", "Host", "Held since", "By", "Until", "Reason");
        foreach ((SnapshotInfo snapshot, HoldInfo hold) in holds)
        {
            string end = hold.Until is not { } until ? "released"
                : hold.IsInForce(run.Host.Time.GetUtcNow()) ? Words.Moment(until, run.Zone)
                : Words.Moment(until, run.Zone) + " (over)";
            table.Add(
                snapshot.ShortId,
                Words.Moment(snapshot.Time, run.Zone),
                DisplayText.Of(snapshot.Hostname),
                Words.Moment(hold.Time, run.Zone),
                DisplayText.Of($"{hold.Username}@{hold.Hostname}"),
                end,
                DisplayText.Of(hold.Reason));
        }

        run.Print(table.Write);
    }
}
