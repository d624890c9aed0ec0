using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Cli.Commands;

/// <summary>A verb that shows snapshots as folders: all, those that flags choose, or one that is named.</summary>
internal abstract class ViewVerb(string name, string description) : Verb(name, description)
{
    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <summary>Declares the flags that choose snapshots.</summary>
    protected void ChoosingFlags()
    {
        List("--host", "NAME", "only snapshots of this host", "-H");
        List("--tag", "TAG[,TAG]", "only snapshots with all of these tags");
        List("--path", "PATH", "only snapshots of this path");
    }

    /// <summary>What is shown; <paramref name="named"/> is SNAP[:PATH], or null.</summary>
    protected static ViewRequest ReadView(Invocation run, string? named)
    {
        SnapshotPath? one = named is null ? null : SnapshotPath.Parse(named);
        return new ViewRequest
        {
            Snapshot = one?.Snapshot,
            Path = OsText.Encode(one?.Path ?? "/"),
            Query = new SnapshotQuery
            {
                Hosts = run.Arguments.Values("--host"),
                Tags = run.Arguments.Values("--tag"),
                Paths = [.. run.Arguments.Values("--path").Select(static path => OsText.Encode(System.IO.Path.GetFullPath(path)))],
            },
        };
    }
}
