using System.Globalization;
using System.Text.Json;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Cli.Commands;

/// <summary><c>stats</c></summary>
internal sealed class StatsCommand : Verb
{
    public StatsCommand()
        : base("stats", "Counts what the repository holds, and what deduplication and compression save.")
    {
        Positional("SNAP", "count only these snapshots");
        Flag("--compression", "by codec and kind of content, too");
    }

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SnapshotInfo> snapshots = await repository.ListSnapshotsAsync(null, cancellationToken).ConfigureAwait(false);
        if (run.Arguments.Positional.Count > 0)
        {
            List<SnapshotInfo> named = [];
            foreach (string name in run.Arguments.Positional)
            {
                named.Add(await repository.FindSnapshotAsync(name, null, cancellationToken).ConfigureAwait(false));
            }

            snapshots = [.. named.DistinctBy(static snapshot => snapshot.Id)];
        }

        using SnapshotBrowser browser = await repository.BrowseAsync(cancellationToken).ConfigureAwait(false);
        RepositoryStatistics statistics = browser.Count(snapshots, run.Arguments.Has("--compression"), cancellationToken);
        foreach (string finding in statistics.Findings)
        {
            run.Screen.Warn(DisplayText.Of(finding));
        }

        if (run.WantsJson)
        {
            run.Json.Document(writer => WriteJson(writer, statistics));
        }
        else
        {
            Show(run, statistics);
        }

        return statistics.Findings.Count > 0 ? ExitCodes.Damage : ExitCodes.Done;
    }

    private static void Show(Invocation run, RepositoryStatistics statistics) => run.Print(output =>
    {
        output.WriteLine($"Snapshots       {Words.Number(statistics.Snapshots)}, {Words.Size(statistics.TotalSize)} in {Words.Count(statistics.TotalFiles, "file")}");
        output.WriteLine($"Stored          {Words.Size(statistics.StoredSize)} in {Words.Count(statistics.Blobs, "chunk")}");
        output.WriteLine($"Deduplication   {Ratio(statistics.DedupRatio)}");
        output.WriteLine($"Compression     {Ratio(statistics.CompressionRatio)}");
        Shares(output, "Codec", ">Frames", statistics.ByCodec);
        Shares(output, "Content", ">Files", statistics.ByCategory);
    });

    private static void Shares(TextWriter output, string head, string count, IReadOnlyList<CompressionShare> shares)
    {
        if (shares.Count == 0)
        {
            return;
        }

        Table table = new(head, count, ">Before", ">Stored", ">Ratio");
        foreach (CompressionShare share in shares)
        {
            table.Add(share.Name, Words.Number(share.Count), Words.Size(share.PlainSize), Words.Size(share.StoredSize), Ratio((double)share.PlainSize / Math.Max(1, share.StoredSize)));
        }

        output.WriteLine();
        table.Write(output);
    }

    private static string Ratio(double ratio) => ratio.ToString("0.00", CultureInfo.InvariantCulture) + " to 1";

    private static void WriteJson(Utf8JsonWriter writer, RepositoryStatistics statistics)
    {
        writer.WriteStartObject();
        writer.WriteNumber("total_size", statistics.TotalSize);
        writer.WriteNumber("total_file_count", statistics.TotalFiles);
        writer.WriteNumber("snapshots_count", statistics.Snapshots);
        writer.WriteNumber("stored_size", statistics.StoredSize);
        writer.WriteNumber("blob_count", statistics.Blobs);
        writer.WriteNumber("compression_ratio", Math.Round(statistics.CompressionRatio, 4));
        writer.WriteNumber("dedup_ratio", Math.Round(statistics.DedupRatio, 4));
        WriteShares(writer, "codecs", statistics.ByCodec);
        WriteShares(writer, "categories", statistics.ByCategory);
        writer.WriteEndObject();
    }

    private static void WriteShares(Utf8JsonWriter writer, string name, IReadOnlyList<CompressionShare> shares)
    {
        if (shares.Count == 0)
        {
            return;
        }

        writer.WriteStartArray(name);
        foreach (CompressionShare share in shares)
        {
            writer.WriteStartObject();
            writer.WriteString("name", share.Name);
            writer.WriteNumber("count", share.Count);
            writer.WriteNumber("plain_size", share.PlainSize);
            writer.WriteNumber("stored_size", share.StoredSize);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
