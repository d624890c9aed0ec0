using BackupIQ.Jobs;

namespace BackupIQ.Cli.Commands;

/// <summary><c>pin SNAP… [--reason R]</c>, <c>pin --remove SNAP…</c></summary>
internal sealed class PinCommand : SnapshotVerb
{
    public PinCommand()
        : base("pin", "Pins snapshots: no rule of retention removes them; by name they can still be forgotten.", "the snapshots")
    {
        Value("--reason", "TEXT", "why");
        Flag("--remove", "end the pins of these snapshots");
    }

    /// <inheritdoc/>
    public override IReadOnlyList<string> Examples => ["backupiq pin latest --reason 'before the move'"];

    /// <inheritdoc/>
    public override async Task<int> RunAsync(Invocation run, CancellationToken cancellationToken)
    {
        bool remove = run.Arguments.Has("--remove");
        if (remove && run.Arguments.Has("--reason"))
        {
            throw Misuse("--remove ends pins, so --reason has no place beside it");
        }

        SnapshotSelection selection = NarrowSelection(run);
        await using BackupIqRepository repository = await run.OpenRepositoryAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<SnapshotInfo> changed = remove
            ? await repository.UnpinAsync(selection, cancellationToken).ConfigureAwait(false)
            : await repository.PinAsync(selection, run.Arguments.Value("--reason"), cancellationToken).ConfigureAwait(false);
        Tell(run, changed, static snapshot => snapshot.IsPinned ? "pinned" : "not pinned");
        return ExitCodes.Done;
    }
}
