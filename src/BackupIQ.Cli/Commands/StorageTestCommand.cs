using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage test [URL]</c>: tries on the storage itself what a repository relies on.</summary>
internal sealed class StorageTestCommand : Verb
{
    public StorageTestCommand()
        : base("test", "Tries what a repository relies on, and measures; leaves nothing behind.")
    {
        Positional("URL", "the storage, as for --repo (default: the repository's)", 0, 1);
        Value("--large", "SIZE", "size of the large object (default: 72M); 0 leaves it out, and throughput with it");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq storage test 's3://bucket/backup?endpoint=https://storage.example'",
        "backupiq storage test /mnt/nas/backup --large 0",
    ];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string url = StorageCommand.UrlOf(run);
        long large = BackupIqStorage.LargeObject;
        if (run.Arguments.Value("--large") is { } size && !Quantity.TryParseSize(size, out large))
        {
            throw Misuse($"--large: '{DisplayText.Of(size)}' is no size; write it as 16M");
        }

        bool draws = run.Screen.IsTerminal && !run.Arguments.Has("--no-progress") && run.Screen.Verbosity > Verbosity.Quiet;
        run.MakeCacheFolder();
        StorageTestReport report;
        try
        {
            report = await BackupIqStorage.TestAsync(url, run.RepositoryOptions, large, Begins, run.Host.Time, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            run.Screen.Draw("");
        }

        if (run.WantsJson)
        {
            run.Json.Document(writer => Write(writer, report));
        }
        else
        {
            run.Print(output => Show(output, report));
        }

        foreach (string name in report.LeftBehind)
        {
            run.Screen.Warn(DisplayText.Of($"{name} could not be removed; it holds nothing and may be deleted"));
        }

        return report.ExitCode;

        void Begins(string name)
        {
            if (draws)
            {
                run.Screen.Draw($"trying: {name}");
            }
            else
            {
                run.Screen.Note($"trying: {name}", Verbosity.Detailed);
            }
        }
    }

    private static void Show(TextWriter output, StorageTestReport report)
    {
        output.WriteLine($"Storage   {DisplayText.Of(report.Location)}");
        output.WriteLine($"Tried in  the folder {report.Folder}{(report.LeftBehind.Count == 0 ? ", which is removed again" : "")}");
        output.WriteLine();
        Table table = new("Guarantee", "Result", "Seen");
        foreach (StorageGuaranteeInfo guarantee in report.Guarantees)
        {
            string result = guarantee.State switch { "held" => "ok", "broken" => "BROKEN", "not offered" => "-", _ => "not tried" };
            table.Add(guarantee.Name, result, guarantee.State == "not tried" ? "" : DisplayText.Of(guarantee.Seen));
        }

        table.Write(output);
        foreach (StorageGuaranteeInfo guarantee in report.Guarantees)
        {
            if (guarantee.Guidance is { Length: > 0 } guidance)
            {
                output.WriteLine($"-> {guarantee.Name}: {DisplayText.Of(guidance)}");
            }
        }

        output.WriteLine();
        StorageOutput.ShowCapabilities(output, report.Capabilities, report.Space);
        if (report.Latencies.Count > 0)
        {
            output.WriteLine();
            StorageOutput.ShowLatencies(output, report.Latencies);
        }

        if (report is { UploadRate: { } up, DownloadRate: { } down })
        {
            output.WriteLine();
            output.WriteLine($"Throughput  {Words.Size(up)}/s up, {Words.Size(down)}/s down");
        }

        if (report.Health is { } health)
        {
            output.WriteLine($"Requests    {StorageOutput.Counts(health)}");
        }

        output.WriteLine();
        output.WriteLine(Verdict(report));
    }

    private static string Verdict(StorageTestReport report)
    {
        int broken = report.Guarantees.Count(static guarantee => guarantee.State == "broken");
        return report.ExitCode == 0 ? "All that a repository relies on held."
            : report.Guarantees.Any(static guarantee => guarantee.State == "not tried" && guarantee.Guidance is null) && report.ExitCode != ExitCodes.Damage
            ? "The storage could not be tried to the end."
            : $"{Words.Count(broken, "guarantee")} did not hold: do not keep a repository there as it is.";
    }

    private static void Write(Utf8JsonWriter writer, StorageTestReport report)
    {
        writer.WriteStartObject();
        writer.WriteString("location", report.Location);
        writer.WriteBoolean("ok", report.ExitCode == 0);
        writer.WriteNumber("exit_code", report.ExitCode);
        writer.WriteString("folder", report.Folder);
        writer.WriteStartArray("guarantees");
        foreach (StorageGuaranteeInfo guarantee in report.Guarantees)
        {
            writer.WriteStartObject();
            writer.WriteString("name", guarantee.Name);
            writer.WriteString("state", guarantee.State.Replace(' ', '_'));
            writer.WriteString("message", guarantee.Seen);
            writer.WriteString("guidance", guarantee.Guidance);
            writer.WriteNumber("seconds", Math.Round(guarantee.Took.TotalSeconds, 3));
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        StorageOutput.WriteCapabilities(writer, report.Capabilities, report.Space);
        StorageOutput.WriteLatencies(writer, report.Latencies);
        WriteRounded(writer, "upload_bytes_per_second", report.UploadRate, 0);
        WriteRounded(writer, "download_bytes_per_second", report.DownloadRate, 0);
        WriteRounded(writer, "clock_skew_seconds", report.ClockSkew?.TotalSeconds, 1);
        StorageOutput.WriteHealth(writer, report.Health);
        JsonFields.WriteStrings(writer, "left_behind", report.LeftBehind);
        writer.WriteEndObject();
    }

    private static void WriteRounded(Utf8JsonWriter writer, string name, double? number, int digits)
    {
        if (number is { } known)
        {
            writer.WriteNumber(name, Math.Round(known, digits));
        }
        else
        {
            writer.WriteNull(name);
        }
    }
}
