using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>Copies a server's archived log from one repository into another: what is not there, the oldest first, each file proven by its seals.</summary>
internal sealed class WalCopyPipeline(WalArchive from, WalArchive to, Action<string> onDamage)
{
    // One is read while another is sealed and a third is put.
    private const int AtOnce = 3;

    /// <summary>Copies. What is damaged in the source is told, and the others are copied.</summary>
    /// <param name="wants">Whether a segment is wanted, by the archive's size of segments, the histories, and the segment.</param>
    /// <param name="dryRun">Only counts.</param>
    /// <param name="cancellationToken">Ends it; the next one goes on from there.</param>
    /// <exception cref="BackupIQException"><c>WrongServer</c>: the target's log of that name is another cluster's.</exception>
    public async Task<WalCopyInfo> RunAsync(
        Func<WalArchiveIdentity, IReadOnlyDictionary<uint, TimelineHistory>, Func<WalArchivedFile, bool>> wants, bool dryRun, CancellationToken cancellationToken)
    {
        WalArchiveIdentity identity = await from.RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        if (!dryRun)
        {
            await to.RequireAsync(identity.SystemIdentifier, identity.SegmentSize, identity.Version, cancellationToken).ConfigureAwait(false);
        }

        WalListing source = await from.ListAllAsync(cancellationToken).ConfigureAwait(false);
        WalListing target = await to.ListAllAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<uint, TimelineHistory> histories = await from.ReadHistoriesAsync(source.Files, (_, message) => onDamage(message), cancellationToken).ConfigureAwait(false);
        Func<WalArchivedFile, bool> isWanted = wants(identity, histories);
        HashSet<WalFileName> there = [.. target.Files.Select(static file => file.Name)];

        // Histories are small, and tell how the others belong together: all of them, and first.
        WalArchivedFile[] missing =
        [
            .. source.Files.Where(file => !there.Contains(file.Name) && (file.Name.Kind == WalFileKind.History || isWanted(file)))
                .OrderBy(static file => file.Name.Kind != WalFileKind.History),
        ];
        int copied = 0, damaged = 0;
        long bytes = 0;
        if (!dryRun)
        {
            await Parallel.ForEachAsync(missing, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken }, async (file, stop) =>
            {
                try
                {
                    if (await to.CopyAsync(from, file, stop).ConfigureAwait(false))
                    {
                        Interlocked.Increment(ref copied);
                        Interlocked.Add(ref bytes, file.StoredBytes);
                    }
                }
                catch (BackupIQException e) when (DamageReading.IsDamage(e))
                {
                    lock (there)
                    {
                        damaged++;
                        onDamage(e.Message);
                    }
                }
            }).ConfigureAwait(false);
            HashSet<(uint, Lsn, Lsn)> told = [.. target.Gaps.Select(static gap => (gap.Timeline, gap.From, gap.To))];
            foreach (WalGap gap in source.Gaps.Where(gap => !told.Contains((gap.Timeline, gap.From, gap.To))))
            {
                await to.CopyAsync(from, gap, cancellationToken).ConfigureAwait(false);
            }
        }

        return new WalCopyInfo(from.Name, dryRun ? missing.Length : copied, dryRun ? missing.Sum(static file => file.StoredBytes) : bytes, source.Files.Count - missing.Length, damaged);
    }
}
