using System.Globalization;
using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands.Postgres;

/// <summary><c>pg wal ls|show|verify|expire</c></summary>
internal static class PgWalCommand
{
    public static VerbGroup Create() => new(
        "wal",
        "Looks into the archived log of a PostgreSQL server, and removes what nobody needs of it.",
        new PgWalLsCommand(),
        new PgWalShowCommand(),
        new PgWalVerifyCommand(),
        new PgWalExpireCommand());

    /// <summary>A moment as JSON has it, or null.</summary>
    public static string? Iso(DateTimeOffset? time) => time?.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.ffffff'Z'", CultureInfo.InvariantCulture);

    /// <summary>A moment as people read it, or a dash.</summary>
    public static string Moment(DateTimeOffset? time, TimeZoneInfo zone) => time is { } known ? Words.Moment(known, zone) : "–";

    /// <summary>Writes what is known of a file.</summary>
    public static void Write(Utf8JsonWriter writer, WalFileInfo file)
    {
        writer.WriteStartObject();
        writer.WriteString("file", file.File);
        writer.WriteString("kind", file.Kind);
        writer.WriteNumber("timeline", file.Timeline);
        writer.WriteNumber("stored_size", file.StoredBytes);
        writer.WriteString("stored_at", Iso(file.StoredAt));
        if (file.Segment is { } segment)
        {
            writer.WriteString("system_identifier", segment.SystemIdentifier);
            writer.WriteNumber("version", segment.Version);
            writer.WriteNumber("segment_size", segment.SegmentSize);
            writer.WriteString("start_lsn", segment.Start);
            writer.WriteString("first_record", segment.FirstRecord);
            writer.WriteString("last_record", segment.LastRecord);
            writer.WriteString("end_lsn", segment.End);
            writer.WriteString("ends_with", segment.EndsWith);
            writer.WriteNumber("records", segment.Records);
            writer.WriteNumber("transactions", segment.Transactions);
            writer.WriteString("first_time", Iso(segment.FirstTime));
            writer.WriteString("last_time", Iso(segment.LastTime));
            writer.WriteString("damaged_at", segment.DamagedAt);
            writer.WriteStartArray("restore_points");
            foreach (WalRestorePointInfo point in segment.RestorePoints)
            {
                Write(writer, point);
            }

            writer.WriteEndArray();
        }

        if (file.Gap is { } gap)
        {
            Write(writer, gap);
        }

        writer.WriteEndObject();
    }

    /// <summary>Writes what a gap is, as fields.</summary>
    public static void Write(Utf8JsonWriter writer, WalGapInfo gap)
    {
        writer.WriteString("start_lsn", gap.FromLsn);
        writer.WriteString("end_lsn", gap.ToLsn);
        writer.WriteString("cause", gap.Cause);
        writer.WriteBoolean("filled", gap.IsFilled);
    }

    /// <summary>Writes a restore point.</summary>
    public static void Write(Utf8JsonWriter writer, WalRestorePointInfo point)
    {
        writer.WriteStartObject();
        writer.WriteString("name", point.Name);
        writer.WriteString("lsn", point.Lsn);
        writer.WriteString("time", Iso(point.Time));
        writer.WriteEndObject();
    }
}

/// <summary>A verb that shows files of a log, or what stands in them.</summary>
internal abstract class PgWalReadCommand(string name, string description) : Verb(name, description)
{
    /// <summary>Writes one document: an array, with an element for each of <paramref name="items"/>.</summary>
    protected static void WriteArray<T>(Invocation run, IEnumerable<T> items, Action<Utf8JsonWriter, T> write) => run.Json.Document(writer =>
    {
        writer.WriteStartArray();
        foreach (T item in items)
        {
            write(writer, item);
        }

        writer.WriteEndArray();
    });

    /// <summary>Shows commits and aborts.</summary>
    protected static void ShowTransactions(Invocation run, IReadOnlyList<WalTransactionInfo> transactions)
    {
        if (run.WantsJson)
        {
            WriteArray(run, transactions, static (writer, one) =>
            {
                writer.WriteStartObject();
                writer.WriteString("kind", one.IsCommit ? "commit" : "abort");
                writer.WriteNumber("timeline", one.Timeline);
                writer.WriteNumber("xid", one.Transaction);
                writer.WriteString("time", PgWalCommand.Iso(one.Time));
                writer.WriteString("lsn", one.Lsn);
                writer.WriteString("end_lsn", one.End);
                writer.WriteEndObject();
            });
            return;
        }

        Table table = new("WHAT", ">XID", "TIME", ">LSN", ">TIMELINE");
        foreach (WalTransactionInfo one in transactions)
        {
            string time = one.Time is { } known
                ? TimeZoneInfo.ConvertTime(known, run.Zone).ToString("yyyy-MM-dd HH:mm:ss.ffffff", CultureInfo.InvariantCulture) : "–";
            table.Add(one.IsCommit ? "commit" : "abort", $"{one.Transaction}", time, one.Lsn, $"{one.Timeline}");
        }

        run.Print(table.Write);
    }

    /// <summary>Shows the restore points of files.</summary>
    protected static void ShowRestorePoints(Invocation run, IReadOnlyList<WalFileInfo> files)
    {
        WalRestorePointInfo[] points = [.. files.Select(static file => file.Segment).OfType<WalSegmentInfo>().SelectMany(static segment => segment.RestorePoints)];
        if (run.WantsJson)
        {
            WriteArray(run, points, PgWalCommand.Write);
            return;
        }

        Table table = new("NAME", "TIME", ">LSN");
        foreach (WalRestorePointInfo point in points)
        {
            table.Add(DisplayText.Of(point.Name), PgWalCommand.Moment(point.Time, run.Zone), point.Lsn);
        }

        run.Print(table.Write);
    }
}

/// <summary><c>pg wal ls NAME</c></summary>
internal sealed class PgWalLsCommand : PgWalReadCommand
{
    public PgWalLsCommand()
        : base("ls", "Lists the archived files of a server's log, its commits or its restore points.")
    {
        Positional("NAME", "the server's name", 1, 1);
        Value("--from", "LSN", "from the segment that holds this place on; commits from it on");
        Value("--to", "LSN", "up to this place");
        Flag("--commits", "list commits and aborts with their times (reads the segments)");
        Flag("--restore-points", "list restore points");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
        ["backupiq pg wal ls main", "backupiq pg wal ls main --commits --from 0/3000000 --to 0/4000000", "backupiq pg wal ls main --restore-points"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string server = run.Arguments.Positional[0];
        WalQuery query = new(run.Arguments.Value("--from"), run.Arguments.Value("--to"));
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (run.Arguments.Has("--commits"))
        {
            ShowTransactions(run, await repository.ListWalTransactionsAsync(server, query, cancellationToken).ConfigureAwait(false));
            return ExitCodes.Done;
        }

        IReadOnlyList<WalFileInfo> files = await repository.ListWalAsync(server, query, cancellationToken).ConfigureAwait(false);
        if (run.Arguments.Has("--restore-points"))
        {
            ShowRestorePoints(run, files);
            return ExitCodes.Done;
        }

        if (run.WantsJson)
        {
            WriteArray(run, files, PgWalCommand.Write);
            return ExitCodes.Done;
        }

        Table table = new("FILE", ">FROM", ">TO", "FIRST COMMIT", "LAST COMMIT", ">COMMITS", ">STORED", "AT");
        foreach (WalFileInfo file in files)
        {
            WalSegmentInfo? segment = file.Segment;
            table.Add(
                file.Gap is { } gap ? (gap.IsFilled ? "a gap that was filled" : "LOST") : file.File,
                segment?.Start ?? file.Gap?.FromLsn ?? "",
                segment?.End ?? file.Gap?.ToLsn ?? "",
                segment is null ? "" : PgWalCommand.Moment(segment.FirstTime, run.Zone),
                segment is null ? "" : PgWalCommand.Moment(segment.LastTime, run.Zone),
                segment is null ? "" : Words.Number(segment.Transactions),
                Words.Size(file.StoredBytes),
                Words.Moment(file.StoredAt, run.Zone));
        }

        run.Print(table.Write);
        return ExitCodes.Done;
    }
}

/// <summary><c>pg wal show NAME FILE</c></summary>
internal sealed class PgWalShowCommand : PgWalReadCommand
{
    public PgWalShowCommand()
        : base("show", "Shows what is known of one archived file, its commits or its restore points.")
    {
        Positional("NAME FILE", "the server's name, and the file's: 000000010000000000000003", 2, 2);
        Flag("--commits", "list its commits and aborts with their times");
        Flag("--restore-points", "list its restore points");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg wal show main 000000010000000000000003 --commits"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string server = run.Arguments.Positional[0];
        WalQuery query = new(File: run.Arguments.Positional[1]);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        if (run.Arguments.Has("--commits"))
        {
            ShowTransactions(run, await repository.ListWalTransactionsAsync(server, query, cancellationToken).ConfigureAwait(false));
            return ExitCodes.Done;
        }

        IReadOnlyList<WalFileInfo> files = await repository.ListWalAsync(server, query, cancellationToken).ConfigureAwait(false);
        if (run.Arguments.Has("--restore-points"))
        {
            ShowRestorePoints(run, files);
        }
        else if (run.WantsJson)
        {
            run.Json.Document(writer => PgWalCommand.Write(writer, files[0]));
        }
        else
        {
            run.Print(output => Show(output, run, files[0]));
        }

        return ExitCodes.Done;
    }

    private static void Show(TextWriter output, Invocation run, WalFileInfo file)
    {
        output.WriteLine($"file              {file.File}");
        output.WriteLine($"stored            {Words.Moment(file.StoredAt, run.Zone)}, {Words.Size(file.StoredBytes)}");
        if (file.Segment is not { } segment)
        {
            return;
        }

        string end = segment.EndsWith switch
        {
            "switch" => "with a switch: the rest of the segment is nothing",
            "record_goes_on" => "within a record, which goes on in the next segment",
            "nothing" => "before the segment does: nothing more was written",
            "damage" => $"at damage, {segment.DamagedAt}",
            _ => "with a record",
        };
        output.WriteLine($"server            {segment.SystemIdentifier}, PostgreSQL {segment.Version}");
        output.WriteLine($"begins            {segment.Start}, first record {segment.FirstRecord ?? "none"}");
        output.WriteLine($"ends              {segment.End}, {end}");
        output.WriteLine($"records           {Words.Number(segment.Records)}");
        output.WriteLine($"transactions      {Words.Number(segment.Transactions)}");
        if (segment.Transactions > 0)
        {
            output.WriteLine($"first, last       {PgWalCommand.Moment(segment.FirstTime, run.Zone)}, {PgWalCommand.Moment(segment.LastTime, run.Zone)}");
        }

        foreach (WalRestorePointInfo point in segment.RestorePoints)
        {
            output.WriteLine($"restore point     {DisplayText.Of(point.Name)}, {point.Lsn}, {PgWalCommand.Moment(point.Time, run.Zone)}");
        }
    }
}

/// <summary><c>pg wal verify NAME</c></summary>
internal sealed class PgWalVerifyCommand : Verb
{
    public PgWalVerifyCommand()
        : base("verify", "Walks a server's archived log record by record; ends with 14 when something is damaged or missing.")
    {
        Positional("NAME", "the server's name", 1, 1);
        Value("--from", "LSN", "from the segment that holds this place on");
        Value("--to", "LSN", "up to this place");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pg wal verify main", "backupiq pg wal verify main --from 0/3000000 --json"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        WalQuery query = new(run.Arguments.Value("--from"), run.Arguments.Value("--to"));
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        WalVerifyReport report = await repository.VerifyWalAsync(run.Arguments.Positional[0], query, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartObject();
                writer.WriteNumber("segments", report.Segments);
                writer.WriteNumber("bytes", report.Bytes);
                writer.WriteNumber("records", report.Records);
                writer.WriteNumber("transactions", report.Transactions);
                JsonFields.WriteObjects(writer, "problems", report.Problems, (writer, problem) =>
                {
                    writer.WriteString("kind", problem.Kind);
                    writer.WriteString("file", problem.File);
                    writer.WriteString("lsn", problem.Lsn);
                    writer.WriteString("message", problem.Message);
                });
                writer.WriteEndObject();
            });
        }
        else
        {
            foreach (WalProblem problem in report.Problems)
            {
                run.Screen.Warn(DisplayText.Of(problem.Message), ErrorCodes.DamageFound);
            }

            run.Print(output => output.WriteLine(
                $"{Words.Count(report.Segments, "segment")} read, {Words.Count(report.Records, "record")}, {Words.Count(report.Transactions, "transaction")}; " +
                (report.Problems.Count == 0 ? "each record is whole and names the one before it" : Words.Count(report.Problems.Count, "problem"))));
        }

        return report.Problems.Count == 0 ? ExitCodes.Done : ExitCodes.Damage;
    }
}
