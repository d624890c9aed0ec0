using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Restore;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>
/// Puts the log that a plan needs into a restored data directory, each file whole, proven by its seals and durable: the server then recovers without asking
/// anybody, and what is not there is not replayed.
/// </summary>
internal sealed class RecoveryDeliveryPipeline(WalArchive archive, RestoredServer server)
{
    private const int AtOnce = 4;

    /// <summary>Puts them all.</summary>
    /// <exception cref="BackupIQException">One is not there any more, or damaged; or the repository, or the disk, failed.</exception>
    public async Task RunAsync(RecoveryPlan plan, RecoveryLog log, CancellationToken cancellationToken)
    {
        // All histories, so that the server gives its own new timeline a number that none has.
        IEnumerable<(WalFileName Name, WalFileName File)> files = plan.Segments.Where(static segment => segment.Source == RecoverySource.Archive)
            .Select(static segment => (segment.Name, segment.File)).Concat(log.HistoryFiles.Select(static name => (name, name)));
        await Parallel.ForEachAsync(files, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken }, async (one, stop) =>
        {
            string place = Path.Combine(server.Folder, "pg_wal", one.Name.ToString());
            if (!await new WalFetchPipeline(archive, null).RunAsync(one.File, place, stop).ConfigureAwait(false))
            {
                throw new BackupIQException(
                    ErrorCodes.RecoveryTarget, $"{one.File} was there when the plan was made and is gone: the target cannot be reached", "Nothing can be started from the folder; run the restore again, it plans anew.");
            }

            server.GiveLog(one.Name.ToString());
        }).ConfigureAwait(false);
    }
}
