using BackupIQ.Engine.Snapshots;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Logs;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Storage;

namespace BackupIQ.Jobs;

/// <content>What goes of the logs of PostgreSQL servers.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Removes what of a server's archived log no base backup needs that is kept, or could be brought back. Without any base backup nothing goes, but by a time that
    /// <paramref name="keep"/> names. Killed at any moment it leaves more than is needed.
    /// </summary>
    /// <param name="server">The server.</param>
    /// <param name="keep">
    /// For how long every moment is to be reached: null or <c>all</c>: from all base backups; a number: from so many of the newest; a time (<c>14d</c>): for so
    /// long. The other base backups stay as they are, and restore to their own end.
    /// </param>
    /// <param name="dryRun">Only tells.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException">
    /// <c>PathNotFound</c>: the repository has no log of that server. <c>CorruptData</c>: a snapshot cannot be read, so nobody knows what is needed; nothing was
    /// removed. <c>AppendOnly</c>: this process may only add.
    /// </exception>
    public async Task<WalExpiryInfo> ExpireWalAsync(string server, string? keep = null, bool dryRun = false, CancellationToken cancellationToken = default) => await ExpireWalAsync(
        OpenWal(server), await ReadAllBasesAsync(cancellationToken).ConfigureAwait(false), WalKeep.Parse(keep), dryRun, cancellationToken).ConfigureAwait(false);

    // Of every server that has a base backup; of others nothing goes unless somebody asks.
    private async Task<IReadOnlyList<WalExpiryInfo>> ExpireWalAsync(IReadOnlyDictionary<string, string>? keep, bool dryRun, CancellationToken cancellationToken)
    {
        List<WalExpiryInfo> logs = [];
        try
        {
            // One listing, where there are none: snapshots are not read once more for nothing.
            IReadOnlyList<string> names = await LogArchive.ListNamesAsync(_repository, _time, damage => Tell([damage]), cancellationToken).ConfigureAwait(false);
            if (names.Count == 0)
            {
                return [];
            }

            IReadOnlyList<PostgresDocument> bases = await ReadAllBasesAsync(cancellationToken).ConfigureAwait(false);
            foreach (string server in bases.Select(static one => one.Server).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal))
            {
                WalArchive archive = new(_repository, server, _time);
                if (await archive.ReadIdentityAsync(cancellationToken).ConfigureAwait(false) is not null)
                {
                    logs.Add(await ExpireWalAsync(archive, bases, WalKeep.Parse(keep?.GetValueOrDefault(server)), dryRun, cancellationToken).ConfigureAwait(false));
                }
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            Tell([$"{e.Message} Nothing of a log was removed."]);
        }

        return logs;
    }

    /// <summary>
    /// Copies the logs of servers from another repository: of all, or of those that are named. Of a server with base backups here only what these need, else all.
    /// </summary>
    private async Task<IReadOnlyList<WalCopyInfo>> CopyWalAsync(BackupIqRepository from, IReadOnlyCollection<string>? only, bool dryRun, CancellationToken cancellationToken)
    {
        List<WalCopyInfo> copied = [];
        IReadOnlyList<string> names = await LogArchive.ListNamesAsync(from._repository, _time, damage => Tell([damage]), cancellationToken).ConfigureAwait(false);
        string[] wanted = [.. names.Where(name => only is null || only.Contains(name))];
        IReadOnlyList<PostgresDocument> bases = wanted.Length == 0 ? [] : await ReadAllBasesAsync(cancellationToken).ConfigureAwait(false);
        foreach (string name in wanted)
        {
            WalArchive source = new(from._repository, name, _time, from._options.CacheFolder);
            copied.Add(await new WalCopyPipeline(source, new WalArchive(_repository, name, _time, _options.CacheFolder), damage => Tell([damage])).RunAsync(
                (identity, histories) =>
                {
                    WalBase[] here = BasesOf(bases, name, identity);
                    WalNeeds? needs = here.Length == 0 ? null : new WalNeeds(identity.SegmentSize, histories, here, []);
                    return file => needs?.IsNeeded(file.Name.Timeline, file.Name.NumberOf(identity.SegmentSize), file.StoredAt) != false;
                },
                dryRun,
                cancellationToken).ConfigureAwait(false));
        }

        return copied;
    }

    /// <summary>Copies into another repository what of a server's log a base backup needs that does not hold it itself.</summary>
    private async Task<IReadOnlyList<WalCopyInfo>> ExportWalAsync(Snapshot snapshot, BackupRepository to, CancellationToken cancellationToken)
    {
        if (snapshot.Kind != PostgresKind || PostgresDocument.Read(snapshot.Db) is not { Wal.Count: 0 } document)
        {
            return [];
        }

        WalArchive source = OpenWal(document.Server);
        return
        [
            await new WalCopyPipeline(source, new WalArchive(to, document.Server, _time), damage => Tell([damage])).RunAsync(
                (identity, histories) =>
                {
                    (ulong first, ulong last) = (PlaceOf(document.WalStartLsn).Value / identity.SegmentSize, PlaceOf(document.WalEndLsn).Value / identity.SegmentSize);
                    return file => file.Name.Timeline == document.Timeline && file.Name.NumberOf(identity.SegmentSize) is { } number && number >= first && number <= last;
                },
                dryRun: false,
                cancellationToken).ConfigureAwait(false),
        ];
    }

    // Another cluster that had this name once needs nothing of it.
    private static WalBase[] BasesOf(IReadOnlyList<PostgresDocument> all, string server, WalArchiveIdentity identity) =>
    [
        .. all.Where(one => one.Server == server && one.SystemIdentifier == $"{identity.SystemIdentifier}").Select(static one => new WalBase(
            (uint)one.Timeline, PlaceOf(one.WalStartLsn), PlaceOf(one.WalEndLsn), one.Stopped, one.Wal.Count > 0)),
    ];

    private async Task<WalExpiryInfo> ExpireWalAsync(WalArchive archive, IReadOnlyList<PostgresDocument> all, WalKeep keep, bool dryRun, CancellationToken cancellationToken)
    {
        WalArchiveIdentity identity = await archive.RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        WalBase[] bases = BasesOf(all, archive.Name, identity);
        WalExpiry expiry = new(archive, _time);
        WalExpiryInfo plan = await expiry.PlanAsync(bases, keep, damage => Tell([damage]), cancellationToken).ConfigureAwait(false) with { DryRun = dryRun };
        if (dryRun)
        {
            return plan;
        }

        IReadOnlyDictionary<StorageKey, StorageException> failures = plan.Files == 0
            ? new Dictionary<StorageKey, StorageException>() : await expiry.RunAsync(cancellationToken).ConfigureAwait(false);
        LockExtension locks = await archive.ExtendLocksAsync(expiry.Kept, cancellationToken).ConfigureAwait(false);
        return plan with
        {
            Failures = failures.Count,
            Failure = failures.Values.FirstOrDefault()?.Message,
            IsLocked = failures.Values.Any(static one => one.Code == ErrorCodes.RetentionRefused),
            LocksExtended = locks.Extended,
            LockProblem = locks.Problem,
        };
    }

    // Forgotten ones, too, as long as they can be brought back.
    private async Task<IReadOnlyList<PostgresDocument>> ReadAllBasesAsync(CancellationToken cancellationToken)
    {
        SnapshotStore store = new(_repository);
        IReadOnlyList<Snapshot> snapshots = await store.ListAnnotatedAsync(cancellationToken).ConfigureAwait(false);
        if (store.DamagedIds.Count > 0)
        {
            throw new CorruptDataException($"{store.Damaged[0]} It may be a base backup, and which log that needs cannot be told.");
        }

        return [.. snapshots.Where(static snapshot => snapshot.Kind == PostgresKind && !snapshot.Partial).Select(static snapshot => PostgresDocument.Read(snapshot.Db))];
    }

    private static Lsn PlaceOf(string text) =>
        Lsn.TryParse(text, out Lsn place) ? place : throw new BackupIQException(ErrorCodes.CorruptData, $"A base backup says that it begins or ends at '{text}', which is no place in a log.");
}
