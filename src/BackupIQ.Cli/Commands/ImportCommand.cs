using BackupIQ.Cli.Output;
using BackupIQ.Jobs;
using BackupIQ.Primitives;

namespace BackupIQ.Cli.Commands;

/// <summary><c>import FILE</c>; below it the verbs that take over what other programs backed up.</summary>
internal sealed class ImportCommand : Verb
{
    public ImportCommand()
        : base("import", "Puts the snapshot in a file that 'export' made into the repository; with a verb, what another program backed up.")
    {
        Positional("FILE", "the file", 1, 1);
        CopyFlags.Declare(this, "the file");
        Subcommands.Add(new ImportResticCommand());

        // Without an action the parser would insist on the verb below; it is never called.
        SetAction(static _ => ExitCodes.Done);
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples =>
    [
        "backupiq import accounts.biq --from-password-file ~/accounts.pw",
        "backupiq import restic /mnt/old/restic-repo --from-password-file ~/restic-password",
    ];

    /// <inheritdoc/>
    public override Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        string file = run.Arguments.Positional[0];
        if (Directory.Exists(file))
        {
            throw Misuse("A file that 'export' made is imported, not a folder", $"From a repository: backupiq copy --from-repo {DisplayText.Of(file)}");
        }

        return !File.Exists(file)
            ? throw new BackupIQException(ErrorCodes.RepositoryNotFound, "There is no such file", "Check its name.").With("file", file)
            : CopyFlags.RunAsync(run, file, new SnapshotSelection([], new SnapshotQuery()), new RecallOptions(), cancellationToken);
    }
}
