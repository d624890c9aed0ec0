using BackupIQ.Jobs;

namespace BackupIQ.Cli.Output;

/// <summary>Writes many entries without holding them.</summary>
internal static class EntryOutput
{
    /// <summary>One <c>node</c> object a line.</summary>
    public static void WriteJson(Invocation run, IEnumerable<EntryInfo> entries)
    {
        foreach (EntryInfo entry in entries)
        {
            run.Json.Row("node", entry, JsonFields.WriteEntryFields);
        }

        run.Json.Flush();
    }
}
