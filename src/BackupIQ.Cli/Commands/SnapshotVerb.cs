using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary>A verb that works on snapshots which are named, or which flags choose: the flags are the same everywhere.</summary>
internal abstract class SnapshotVerb : Verb
{
    protected SnapshotVerb(string name, string description, string snapshots, bool choosesByType = true)
        : base(name, description)
    {
        Positional("SNAP", snapshots);
        List("--host", "NAME", "only of this host", "-H");
        List("--tag", "TAG[,TAG]", "only with all of these tags");
        List("--path", "PATH", "only of this path");
        Value("--kind", "KIND", "only files, command, postgres, mysql, sqlite or state");
        if (choosesByType)
        {
            Value("--type", "TYPE", "only full, incremental or differential");
        }
    }

    /// <summary>What the flags choose.</summary>
    protected virtual SnapshotQuery Query(Invocation run)
    {
        Arguments arguments = run.Arguments;
        return new SnapshotQuery
        {
            Hosts = arguments.Values("--host"),
            Tags = arguments.Values("--tag"),
            Paths = [.. arguments.Values("--path").Select(static path => OsText.Encode(System.IO.Path.GetFullPath(path)))],
            Kind = arguments.Value("--kind"),
            Type = arguments.Value("--type"),
        };
    }

    /// <summary>The number behind <c>--limit</c>, or null.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/></exception>
    protected int? Limit(Invocation run) =>
        run.Arguments.Value("--limit") is not { } text ? null
        : int.TryParse(text, out int number) && number > 0 ? number
        : throw Misuse($"--limit: '{DisplayText.Of(text)}' is not a number above 0");

    /// <summary>What the arguments name or choose.</summary>
    protected SnapshotSelection Selection(Invocation run) => new(run.Arguments.Positional, Query(run));

    /// <summary>The same; refuses a command line that neither names nor narrows, so that nobody changes all snapshots by leaving a word out.</summary>
    /// <exception cref="BackupIQException"><see cref="ErrorCodes.Usage"/></exception>
    protected SnapshotSelection NarrowSelection(Invocation run) =>
        run.Arguments.Positional.Count > 0 || ((string[])["--host", "--tag", "--path", "--kind", "--type"]).Any(run.Arguments.Has)
            ? Selection(run)
            : throw Misuse($"'{Path(this)}' needs SNAP, or --host, --tag, --path, --kind or --type that choose snapshots");

    /// <summary>Prints snapshots that were changed, a line each, or as JSON.</summary>
    protected static void Tell(Invocation run, IReadOnlyList<SnapshotInfo> snapshots, Func<SnapshotInfo, string> line)
    {
        if (run.WantsJson)
        {
            run.Json.Document(writer =>
            {
                writer.WriteStartArray();
                foreach (SnapshotInfo snapshot in snapshots)
                {
                    JsonFields.WriteSnapshot(writer, snapshot);
                }

                writer.WriteEndArray();
            });
            return;
        }

        run.Print(output =>
        {
            foreach (SnapshotInfo snapshot in snapshots)
            {
                output.WriteLine($"{snapshot.ShortId}  {Words.Moment(snapshot.Time, run.Zone)}  {DisplayText.Of(line(snapshot))}");
            }
        });
    }
}
