using System.Text.Json;

namespace BackupIQ.Cli.Output;

/// <summary>Where a backup is beside its repository, or should be.</summary>
/// <param name="Mirrors">The repository's mirrors.</param>
/// <param name="Copies">What came of copying it into other repositories.</param>
internal sealed record OtherPlaces(IReadOnlyList<MirrorState> Mirrors, IReadOnlyList<DestinationOutcome> Copies)
{
    /// <summary>No others.</summary>
    public static readonly OtherPlaces None = new([], []);

    /// <summary>The arrays <c>mirrors</c> and <c>destinations</c>, each only where there is one.</summary>
    public void Write(Utf8JsonWriter writer)
    {
        MirrorState.Write(writer, Mirrors);
        DestinationOutcome.Write(writer, Copies);
    }
}

/// <summary>How a mirror stands after something was put.</summary>
/// <param name="Location">Where it is.</param>
/// <param name="Problem">A sentence on why it lacks something; null: it is in step.</param>
internal sealed record MirrorState(string Location, string? Problem)
{
    /// <summary>The array <c>mirrors</c>; nothing where there is none.</summary>
    public static void Write(Utf8JsonWriter writer, IReadOnlyList<MirrorState> mirrors)
    {
        if (mirrors.Count == 0)
        {
            return;
        }

        writer.WriteStartArray("mirrors");
        foreach (MirrorState mirror in mirrors)
        {
            writer.WriteStartObject();
            writer.WriteString("location", mirror.Location);
            writer.WriteBoolean("in_step", mirror.Problem is null);
            writer.WriteString("problem", mirror.Problem);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }
}
