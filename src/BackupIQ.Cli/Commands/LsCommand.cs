using BackupIQ.Cli.Output;
using BackupIQ.Cli.Parsing;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;

namespace BackupIQ.Cli.Commands;

/// <summary><c>ls SNAP[:PATH]</c></summary>
internal sealed class LsCommand : Verb
{
    public LsCommand()
        : base("ls", "Lists what a snapshot holds.")
    {
        Positional("SNAP[:PATH]", "the snapshot, and a folder or file in it", 1, 1);
        Flag("--long", "owner, size and time as well", "-l");
        Flag("--recursive", "what lies in folders below, too (without a PATH always)", "-R");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq ls latest", "backupiq ls -l latest:/home/ann"];

    /// <inheritdoc/>
    public override bool CanLookBack => true;

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        SnapshotPath target = SnapshotPath.Parse(run.Arguments.Positional[0]);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        SnapshotInfo snapshot = await repository.FindSnapshotAsync(target.Snapshot, null, cancellationToken).ConfigureAwait(false);
        using SnapshotBrowser browser = await repository.BrowseAsync(cancellationToken).ConfigureAwait(false);
        bool recursive = target.Path is null || run.Arguments.Has("--recursive");
        bool isDamaged = false;
        IEnumerable<EntryInfo> entries = browser.List(snapshot, OsText.Encode(target.Path ?? "/"), recursive, Damaged, cancellationToken);
        if (run.WantsJson)
        {
            run.Json.Line("snapshot", writer => JsonFields.WriteSnapshotFields(writer, snapshot));
            EntryOutput.WriteJson(run, entries);
        }
        else
        {
            bool isLong = run.Arguments.Has("--long");
            run.Print(output =>
            {
                foreach (EntryInfo entry in entries)
                {
                    output.WriteLine(isLong ? EntryText.Line(entry, run.Zone) : DisplayText.Of(entry.Path));
                }
            });
        }

        return isDamaged ? ExitCodes.Damage : ExitCodes.Done;

        void Damaged(ItemFailure failure)
        {
            isDamaged = true;
            ItemLines.Tell(run, failure, "ls");
        }
    }
}
