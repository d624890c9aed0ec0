using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>tag SNAP… --add --remove --set</c></summary>
internal sealed class TagCommand : SnapshotVerb
{
    public TagCommand()
        : base("tag", "Changes the tags of snapshots; their ids stay.", "the snapshots")
    {
        List("--add", "TAG[,TAG]", "add these");
        List("--remove", "TAG[,TAG]", "remove these");
        List("--set", "TAG[,TAG]", "have these and no others; '' for none");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq tag latest --add before-upgrade", "backupiq tag --host web --set production,web"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        bool replace = run.Arguments.Has("--set");
        if (replace == (run.Arguments.Has("--add") || run.Arguments.Has("--remove")))
        {
            throw Misuse(replace ? "--set says all tags, so --add and --remove have no place beside it" : "'tag' needs --add, --remove or --set");
        }

        SnapshotSelection selection = NarrowSelection(run);
        string[] add = Tags(run, replace ? "--set" : "--add");
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<(SnapshotInfo Snapshot, bool Changed)> tagged = await repository.TagAsync(
            selection, add, Tags(run, "--remove"), replace, cancellationToken).ConfigureAwait(false);
        Tell(
            run,
            [.. tagged.Select(static one => one.Snapshot)],
            static snapshot => snapshot.Tags.Count > 0 ? "tags: " + string.Join(", ", snapshot.Tags) : "no tags");
        return ExitCodes.Done;
    }

    private static string[] Tags(Invocation run, string flag) =>
        [.. run.Arguments.Values(flag).SelectMany(static list => list.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)).Distinct()];
}
