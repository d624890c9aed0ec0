using System.Text.Json;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Output;

/// <summary>What came of copying a backup into another repository.</summary>
/// <param name="Name">What the destination is called: its name in the configuration, or where it is.</param>
/// <param name="Outcome"><c>copied</c>, <c>there</c>, <c>forgotten</c> (there), <c>damaged</c> (in the repository that was backed up to) or <c>failed</c>.</param>
internal sealed record DestinationOutcome(string Name, string Outcome)
{
    /// <summary>The copy; null: there is none.</summary>
    public CopiedSnapshotInfo? Copied { get; init; }

    /// <summary>Why there is none; null where there is one.</summary>
    public BackupIQException? Failure { get; init; }

    /// <summary>What came of it, in a few words.</summary>
    public string State =>
        Failure is { } failure ? $"{Outcome}: {Output.Failure.Line(failure)}"
        : Outcome == "copied" ? $"copied as {Copied!.Copy!.ShortId}: {Words.Size(Copied.BytesPut)} stored"
        : Outcome == "forgotten" ? "was there and is forgotten there"
        : "is there already";

    /// <summary>The array <c>destinations</c>; nothing where there is none.</summary>
    public static void Write(Utf8JsonWriter writer, IReadOnlyList<DestinationOutcome> outcomes)
    {
        if (outcomes.Count == 0)
        {
            return;
        }

        writer.WriteStartArray("destinations");
        foreach (DestinationOutcome one in outcomes)
        {
            writer.WriteStartObject();
            writer.WriteString("destination", one.Name);
            writer.WriteString("outcome", one.Outcome);
            writer.WriteString("snapshot_id", one.Copied?.Copy?.Id);
            writer.WriteNumber("bytes_read", one.Copied?.BytesRead ?? 0);
            writer.WriteNumber("data_added", one.Copied?.DataAdded ?? 0);
            writer.WriteNumber("data_added_packed", one.Copied?.BytesPut ?? 0);
            if (one.Failure is { } failure)
            {
                writer.WriteString("error", failure.Code.Name);
                writer.WriteNumber("code", failure.Code.ExitCode);
                writer.WriteString("message", Output.Failure.Line(failure));
            }

            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
