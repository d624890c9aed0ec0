using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>storage info [URL]</c>: what a storage can do, what is on it, and how its provider does. Changes nothing.</summary>
internal sealed class StorageInfoCommand : Verb
{
    public StorageInfoCommand()
        : base("info", "Shows what a storage can do, its space, what is on it, and its health.") =>
        Positional("URL", "the storage, as for --repo (default: the repository's)", 0, 1);

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq storage info", "backupiq storage info webdavs://ann@dav.example/backups --json"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        StorageReport report = await BackupIqStorage
            .InspectAsync(StorageCommand.UrlOf(run), run.Arguments.Positional.Count == 0 ? run.MirroredOptions : run.RepositoryOptions, run.Host.Time, cancellationToken).ConfigureAwait(false);
        if (run.WantsJson)
        {
            run.Json.Document(writer => Write(writer, report));
        }
        else
        {
            run.Print(output => Show(output, report, run.Zone));
        }

        return ExitCodes.Done;
    }

    private static void Show(TextWriter output, StorageReport report, TimeZoneInfo zone)
    {
        output.WriteLine($"Storage   {DisplayText.Of(report.Location)}");
        output.WriteLine();
        StorageOutput.ShowCapabilities(output, report.Capabilities, report.Space);
        output.WriteLine();
        if (report.Kinds.Count == 0)
        {
            output.WriteLine("Nothing is stored there.");
        }
        else
        {
            Table table = new("Objects", ">Number", ">Size", "Newest");
            foreach (StoredKind kind in report.Kinds)
            {
                table.Add(kind.Kind, Words.Number(kind.Objects), Words.Size(kind.Bytes), Words.Moment(kind.Newest, zone));
            }

            table.Add("all", Words.Number(report.Kinds.Sum(static kind => kind.Objects)), Words.Size(report.Kinds.Sum(static kind => kind.Bytes)), "");
            table.Write(output);
        }

        if (report.Mirrors.Count > 0)
        {
            output.WriteLine();
            foreach (MirrorReport mirror in report.Mirrors)
            {
                output.WriteLine($"Mirror    {DisplayText.Of(mirror.Location)}: {MirrorOutput.State(mirror)}");
            }
        }

        if (report.Health is not { } health)
        {
            return;
        }

        output.WriteLine();
        StorageOutput.ShowLatencies(output, health.Latencies);
        output.WriteLine();
        output.WriteLine($"Provider  {DisplayText.Of(health.Provider)}: {StorageOutput.Breaker(health)}");
        output.WriteLine($"Requests  {StorageOutput.Counts(health)}; at most {Words.Number(health.Connections)} at once now");
        if (health.ClockSkew is { } skew)
        {
            output.WriteLine($"Clock     {Words.Duration(skew.Duration())} {(skew > TimeSpan.Zero ? "ahead" : "behind")}");
        }

        if (report.Kinds.Count > 0)
        {
            output.WriteLine($"Cost      to read everything back once: {Words.Count(report.Kinds.Sum(static kind => kind.Objects), "request")} or more");
        }
    }

    private static void Write(Utf8JsonWriter writer, StorageReport report)
    {
        writer.WriteStartObject();
        writer.WriteString("location", report.Location);
        StorageOutput.WriteCapabilities(writer, report.Capabilities, report.Space);
        writer.WriteStartArray("objects");
        foreach (StoredKind kind in report.Kinds)
        {
            writer.WriteStartObject();
            writer.WriteString("kind", kind.Kind);
            writer.WriteNumber("count", kind.Objects);
            writer.WriteNumber("bytes", kind.Bytes);
            writer.WriteString("newest", kind.Newest);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        MirrorOutput.Write(writer, report.Mirrors);
        StorageOutput.WriteHealth(writer, report.Health);
        writer.WriteEndObject();
    }
}
