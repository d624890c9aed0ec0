using System.Globalization;
using BackupIQ.Cli.Output;
using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary>Flags of verbs that read what may lie in an archive of the storage.</summary>
internal static class ArchiveFlags
{
    /// <summary>Declares them.</summary>
    public static void Declare(Verb verb)
    {
        verb.Flag("--wait-archive", "wait until the storage has brought back what lies in an archive");
        verb.Value("--archive-priority", "HOW", "how soon: bulk, standard (default) or expedited");
        verb.Value("--archive-days", "N", "how long copies from an archive stay readable, where they do not stay (default: 7)");
        verb.Value("--archive-poll", "TIME", "how often to ask while waiting (default: 5m)");
    }

    /// <summary>Reads them.</summary>
    /// <param name="verb">The verb.</param>
    /// <param name="run">The command line.</param>
    /// <param name="isOutputData">Whether standard output is what was asked for, where nothing else belongs.</param>
    public static RecallOptions Read(Verb verb, Invocation run, bool isOutputData = false)
    {
        RecallOptions options = new() { OnRecall = recall => Tell(run, recall, asJson: run.WantsJson && !isOutputData) };
        return options with
        {
            Wait = run.Arguments.Has("--wait-archive"),
            Priority = run.Arguments.Value("--archive-priority") ?? options.Priority,
            Poll = verb.Duration(run, "--archive-poll", "30s, 5m or 1h", isSomething: true) ?? options.Poll,
            Days = Days(verb, run.Arguments.Value("--archive-days")) ?? options.Days,
        };
    }

    private static int? Days(Verb verb, string? text) =>
        text is null ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int days) && days is > 0 and <= 365 ? days
        : throw verb.Misuse($"--archive-days: '{DisplayText.Of(text)}' is no number from 1 to 365");

    /// <summary>Says what is waited for.</summary>
    public static void Tell(Invocation run, RecallInfo recall) => Tell(run, recall, run.WantsJson);

    private static void Tell(Invocation run, RecallInfo recall, bool asJson)
    {
        if (asJson)
        {
            run.Json.Line("archive", writer =>
            {
                writer.WriteNumber("objects", recall.Objects);
                writer.WriteNumber("bytes", recall.Bytes);
                writer.WriteNumber("requested", recall.Requested);
                JsonFields.WriteSeconds(writer, "within_seconds", recall.Within?.TotalSeconds);
            });
            return;
        }

        run.Screen.Draw("");
        string packs = $"{Words.Count(recall.Objects, "pack")} ({Words.Size(recall.Bytes)})";
        string within = recall.Within is { } time ? $", back within {Words.Duration(time)} as a rule" : "";
        run.Screen.Note(
            recall.Objects == 0 ? "everything is back from the archive"
            : recall.Requested > 0 ? $"{packs} that are needed lie in an archive; {Words.Number(recall.Requested)} of them are asked for now{within}"
            : $"{packs} that are needed are still in an archive{within}");
    }
}
