using System.Text;
using System.Text.Json;
using BackupIQ.Cli.Commands;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Output;

/// <summary>What <c>verify</c> and <c>pg compare</c> take and show alike: a report as a table, as JSON and as a page.</summary>
internal static class VerifyOutput
{
    /// <summary>So many single things are shown of a check on a terminal; JSON and the page have more.</summary>
    private const int ShownItems = 20;

    /// <summary>The flag that says how deep.</summary>
    public static void DeclareLevel(Verb verb, string description) => verb.Value("--level", "LEVEL", description);

    /// <summary>The flag that asks for a page.</summary>
    public static void DeclareReport(Verb verb) => verb.Value("--report", "FILE", "write the report as a page (HTML, one file), too");

    /// <summary>The level that is asked for; null: it is none.</summary>
    public static VerifyLevel? Level(Invocation run) => run.Arguments.Value("--level") switch
    {
        "quick" => VerifyLevel.Quick,
        null or "standard" => VerifyLevel.Standard,
        "comprehensive" => VerifyLevel.Comprehensive,
        _ => null,
    };

    /// <summary>What is wrong with it.</summary>
    public static string WrongLevel(Invocation run) => $"--level: '{DisplayText.Of(run.Arguments.Value("--level")!)}' is none of quick, standard, comprehensive";

    /// <summary>Refuses a page that could not be written in the end.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/></exception>
    public static void RequirePlace(Invocation run)
    {
        if (run.Arguments.Value("--report") is { } file && (Directory.Exists(file) || !Directory.Exists(Path.GetDirectoryName(Path.GetFullPath(file)))))
        {
            throw new BackupIQException(ErrorCodes.Usage, $"--report: {DisplayText.Of(file)} cannot be written: {(Directory.Exists(file) ? "it is a folder" : "its folder is not there")}");
        }
    }

    /// <summary>What a verification does now.</summary>
    public static ProgressFigures Read(VerifyMonitor monitor) => new("verifying: " + monitor.Doing, 0, 0, monitor.BytesDone, monitor.BytesTotal, monitor.BytesTotal > 0, 0, null);

    /// <summary>The same as JSON.</summary>
    public static void WriteStatus(Utf8JsonWriter writer, VerifyMonitor monitor, double? left)
    {
        writer.WriteString("check", monitor.Doing);
        writer.WriteNumber("total_bytes", monitor.BytesTotal);
        writer.WriteNumber("bytes_done", monitor.BytesDone);
        JsonFields.WriteSeconds(writer, "seconds_remaining", left);
    }

    /// <summary>Shows a report in each form that is asked for.</summary>
    public static void Finish(Invocation run, VerifyReport report)
    {
        if (run.Arguments.Value("--report") is { } file)
        {
            WritePage(file, VerifyPage.Of(report, run.Zone));
        }

        if (run.WantsJson)
        {
            run.Json.Line("summary", writer => Write(writer, report));
        }
        else
        {
            Show(run, report);
        }

        if (report.OverallStatus == VerifyStatus.Failed)
        {
            VerifyCheck first = report.Checks.First(static check => check.Status == VerifyStatus.Failed);
            run.Screen.Fail(DisplayText.Of($"{first.Name}: {first.Detail}"), ErrorCodes.DamageFound);
        }
    }

    /// <summary>A word for what came of a check, for programs.</summary>
    public static string Word(VerifyStatus status) => status.ToString().ToLowerInvariant();

    private static void WritePage(string file, string page)
    {
        try
        {
            File.WriteAllText(file, page, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.Usage, $"--report: the page cannot be written: {e.Message}", null, e);
        }
    }

    private static void Show(Invocation run, VerifyReport report) => run.Print(output =>
    {
        Table table = new("Check", "Status", ">Time", "Seen");
        foreach (VerifyCheck check in report.Checks)
        {
            string status = check.Status switch { VerifyStatus.Passed => "ok", VerifyStatus.Warning => "WARN", VerifyStatus.Failed => "FAIL", _ => "skipped" };
            table.Add(DisplayText.Of(check.Name), status, Words.Duration(check.Duration), DisplayText.Of(check.Detail));
        }

        table.Write(output);
        foreach (VerifyCheck check in report.Checks.Where(check => check.Items.Count > 0 && (check.Status is VerifyStatus.Failed or VerifyStatus.Warning || run.Screen.Verbosity > Verbosity.Normal)))
        {
            output.WriteLine();
            output.WriteLine($"{DisplayText.Of(check.Name)}:");
            foreach (string item in check.Items.Take(ShownItems))
            {
                output.WriteLine($"  {DisplayText.Of(item)}");
            }

            if (check.Items.Count > ShownItems)
            {
                output.WriteLine($"  and {Words.Count(check.Items.Count - ShownItems, "more", "more")} (--json and --report have more)");
            }
        }

        output.WriteLine();
        string rto = report.Rto is { } time ? $"; recovered in {Words.Duration(time)} (restore {Words.Duration(report.RestoreDuration!.Value)}, recovery {Words.Duration(report.RecoveryDuration!.Value)})" : "";
        output.WriteLine($"{Word(report.OverallStatus).ToUpperInvariant()}: {DisplayText.Of(report.Subject)}, {Word(report.Level)}: {report.PassRate.ToString("0.0", System.Globalization.CultureInfo.InvariantCulture)} % of the checks passed{rto}");
    });

    private static string Word(VerifyLevel level) => level.ToString().ToLowerInvariant();

    private static void Write(Utf8JsonWriter writer, VerifyReport report)
    {
        writer.WriteString("overall_status", Word(report.OverallStatus));
        writer.WriteNumber("pass_rate", Math.Round(report.PassRate, 1));
        writer.WriteString("level", Word(report.Level));
        writer.WriteString("subject", report.Subject);
        if (report.Snapshot is { } snapshot)
        {
            writer.WriteString("snapshot_id", snapshot.Id);
            writer.WriteString("kind", snapshot.Kind);
        }

        writer.WriteString("started", report.Started);
        writer.WriteNumber("seconds_elapsed", Math.Round(report.Duration.TotalSeconds, 3));
        WriteTime("restore_seconds", report.RestoreDuration);
        WriteTime("recovery_seconds", report.RecoveryDuration);
        WriteTime("rto_seconds", report.Rto);
        writer.WriteString("note_problem", report.NoteProblem);
        JsonFields.WriteObjects(writer, "checks", report.Checks, (writer, check) =>
        {
            writer.WriteString("id", check.Id);
            writer.WriteString("name", check.Name);
            writer.WriteString("status", Word(check.Status));
            writer.WriteString("detail", check.Detail);
            JsonFields.WriteStrings(writer, "items", check.Items);
            writer.WriteNumber("seconds", Math.Round(check.Duration.TotalSeconds, 3));
        });

        void WriteTime(string name, TimeSpan? time)
        {
            if (time is { } known)
            {
                writer.WriteNumber(name, Math.Round(known.TotalSeconds, 3));
            }
        }
    }
}
