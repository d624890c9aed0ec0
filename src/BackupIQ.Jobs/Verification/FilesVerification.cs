using System.Text;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Sources.Postgres.Verification;

namespace BackupIQ.Jobs.Verification;

/// <summary>Snapshots of files, and all whose content means nothing to us: they are restored, read back and compared.</summary>
internal sealed class FilesVerification(BackupIqRepository repository, Snapshot snapshot, VerifyRequest request, TimeProvider time) : ISnapshotVerification
{
    /// <inheritdoc/>
    public Task QuickAsync(SnapshotProof proof, VerificationRun run, CancellationToken cancellationToken) =>
        run.CheckAsync("presence", "all is there", () => proof.LocateAsync(null, cancellationToken));

    /// <inheritdoc/>
    public Task StandardAsync(SnapshotProof proof, VerificationRun run, CancellationToken cancellationToken) =>
        run.CheckAsync("chunks", "all content", () => proof.ReadAsync(null, run.Monitor, cancellationToken));

    /// <inheritdoc/>
    public async Task ComprehensiveAsync(VerificationRun run, CancellationToken cancellationToken)
    {
        await using VerificationFolder folder = await VerificationFolder.MakeAsync(request.Work ?? Path.GetTempPath(), time, cancellationToken).ConfigureAwait(false);
        WorkSpace.Require(folder, snapshot);
        await run.CheckAsync("restore", "restored, read back and compared", () => RestoreAsync(folder, run, cancellationToken)).ConfigureAwait(false);
        await WorkSpace.RemoveAsync(folder, run).ConfigureAwait(false);
    }

    private async Task<Seen> RestoreAsync(VerificationFolder folder, VerificationRun run, CancellationToken cancellationToken)
    {
        List<string> failures = [];
        RestoreMonitor monitor = new(failure => failures.Add($"{PathText.Show(failure.Path)}: {failure.Message}"));
        run.Monitor.Follow(() => (monitor.BytesRestored, monitor.TotalBytes));
        long began = time.GetTimestamp();
        RestoreOutcome outcome = await repository.RestoreAsync(
            new RestoreRequest { Snapshot = snapshot.Id.ToString(), Target = Encoding.UTF8.GetBytes(folder.Data), Verify = true }, monitor, cancellationToken).ConfigureAwait(false);
        run.RestoreDuration = time.GetElapsedTime(began);

        // What only root may set is no fault of the backup, and everything else would be told as a failure.
        return outcome.Errors == 0
            ? Seen.Passed($"{Seen.Count(outcome.FilesRestored, "entry", "entries")}, {Seen.Count(outcome.BytesRestored, "byte")}; {Seen.Count(outcome.FilesVerified, "file was", "files were")} read back: all are what was backed up", outcome.Warnings.Select(static warning => $"{warning.Message} ({warning.Count})"))
            : Seen.Failed($"{Seen.Count(outcome.Errors, "entry", "entries")} did not come back whole", failures);
    }
}
