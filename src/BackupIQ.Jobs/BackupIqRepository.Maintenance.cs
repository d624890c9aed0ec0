using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Retention;
using BackupIQ.Primitives;
using BackupIQ.Repository.Sessions;

namespace BackupIQ.Jobs;

/// <content>Maintenance.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Removes what no snapshot needs, forgotten ones whose grace time is over first, and of the logs of servers what no base backup needs, while others back up and restore: nobody has to stop, and it may be killed at any moment; the next
    /// prune takes up what it left. Waits for sessions that began before it knew what goes, or until they are taken for dead.
    /// </summary>
    /// <exception cref="BackupIQException">
    /// <c>ChunkMissing</c> or <c>CorruptData</c>: what snapshots need cannot be told or is not there, and nothing was deleted.
    /// <c>RepositoryBusy</c>: exclusive, and another session is open. <c>SessionFenced</c>: another prune took this one for dead.
    /// <c>Usage</c>: a limit is none.
    /// </exception>
    public async Task<PruneOutcome> PruneAsync(PruneRequest? request = null, PruneMonitor? monitor = null, CancellationToken cancellationToken = default)
    {
        PruneOptions options = (request ?? new PruneRequest()).ToOptions(_options, "backupiq " + Version);
        ForgetResult? removed = options.DryRun ? null : await Forgetter.RemoveDueAsync(cancellationToken).ConfigureAwait(false);
        PruneRunner runner = new(_repository, _time);
        PruneResult result = await runner.RunAsync(options, (monitor ?? new PruneMonitor()).Progress, cancellationToken).ConfigureAwait(false);
        IReadOnlyList<WalExpiryInfo> logs = await ExpireWalAsync(request?.WalKeep, options.DryRun, cancellationToken).ConfigureAwait(false);
        return PruneOutcome.From(result) with
        {
            Removed = [.. removed?.Done.Select(static id => id.ToString()) ?? []],
            Logs = logs,
            LocksExtended = result.Locks.Extended + logs.Sum(static log => log.LocksExtended),
            LockProblem = result.Locks.Problem ?? logs.Select(static log => log.LockProblem).FirstOrDefault(static problem => problem is not null),
        };
    }

    // Whoever reads for long says so, and a prune waits for it.
    private Task<ReadingSession> ReadAsync(string purpose, CancellationToken cancellationToken) => ReadingSession.OpenAsync(
        _repository,
        LiveSession.Describe(purpose, Environment.MachineName, Environment.UserName, "backupiq " + Version, _time),
        _time,
        cancellationToken);
}
