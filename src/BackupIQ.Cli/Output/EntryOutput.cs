using System.Text.Json;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>Writes many entries without holding them.</summary>
internal static class EntryOutput
{
    /// <summary>One <c>node</c> object a line.</summary>
    public static void WriteJson(Invocation run, IEnumerable<EntryInfo> entries)
    {
        using BufferedStream buffered = new(run.Host.Output, 1 << 16);
        foreach (EntryInfo entry in entries)
        {
            using Utf8JsonWriter writer = new(buffered, JsonLines.WriterOptions);
            writer.WriteStartObject();
            writer.WriteString("message_type", "node");
            JsonFields.WriteEntryFields(writer, entry);
            writer.WriteEndObject();
            writer.Flush();
            buffered.WriteByte((byte)'\n');
        }

        buffered.Flush();
    }
}
