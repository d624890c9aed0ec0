using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs;

/// <content>The logs of PostgreSQL servers.</content>
public sealed partial class BackupIqRepository
{
    /// <summary>
    /// Stores a file of the log of the server that is called <paramref name="server"/>, and those beside it that the server will ask for next. It is durable when
    /// this returns; what is there already with the very same bytes is success.
    /// </summary>
    /// <param name="server">The server's name; the first segment that is stored under it says which cluster that is.</param>
    /// <param name="path">The file, under its own name.</param>
    /// <param name="spool">Remembers what was pushed ahead; null: nothing is.</param>
    /// <param name="monitor">Hears what should be told.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>How many files were stored beside it.</returns>
    /// <exception cref="BackupIQException">
    /// <c>Validation</c>: it is no whole file of a log. <c>WrongServer</c>: it is another cluster's, or another file of its name is there. Nothing was changed then.
    /// </exception>
    public Task<int> PushWalAsync(string server, string path, WalSpool? spool = null, WalPushMonitor? monitor = null, CancellationToken cancellationToken = default) =>
        new WalPushPipeline(OpenWal(server), spool, monitor ?? new WalPushMonitor()).RunAsync(path, cancellationToken);

    /// <summary>
    /// Puts a file of a server's log in the place of <paramref name="target"/>: whole, proven by its seals, and durable. False: it is provably not archived, since
    /// the storage listed what is; nothing was written.
    /// </summary>
    /// <exception cref="BackupIQException">It cannot be told, or it is damaged; nothing was written.</exception>
    public Task<bool> FetchWalAsync(string server, string file, string target, WalSpool? spool = null, CancellationToken cancellationToken = default) =>
        new WalFetchPipeline(OpenWal(server), spool).RunAsync(WalArchive.ParseName(file), target, cancellationToken);

    /// <summary>The archived files of a server's log, ascending by timeline and place. Damage is told.</summary>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>: there is none of that server, or not that file; <c>Usage</c>: the query is none.</exception>
    public async Task<IReadOnlyList<WalFileInfo>> ListWalAsync(string server, WalQuery? query = null, CancellationToken cancellationToken = default)
    {
        WalArchive archive = OpenWal(server);
        query ??= new WalQuery();
        WalListing listing = await archive.ListAllAsync(cancellationToken).ConfigureAwait(false);
        WalArchiveIdentity identity = await archive.RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        return
        [
            .. (await SelectWalAsync(archive, listing.Files, identity, query, cancellationToken).ConfigureAwait(false)).Select(WalArchive.Show),
            .. query.File is null ? await archive.ShowOthersAsync(listing, identity.SegmentSize, WalRange.Of(query), damage => Tell([damage]), cancellationToken).ConfigureAwait(false) : [],
        ];
    }

    /// <summary>Commits and aborts in a server's log, in its order; reads the segments. Damage is told.</summary>
    /// <exception cref="BackupIQException">As above.</exception>
    public async Task<IReadOnlyList<WalTransactionInfo>> ListWalTransactionsAsync(string server, WalQuery? query = null, CancellationToken cancellationToken = default)
    {
        WalArchive archive = OpenWal(server);
        WalRange range = WalRange.Of(query ??= new WalQuery());
        List<WalTransactionInfo> found = [];
        foreach (WalArchivedFile file in await SelectWalAsync(archive, query, cancellationToken).ConfigureAwait(false))
        {
            if (file.Facts is not null && await archive.ReadTransactionsAsync(
                file, (place, one) => found.AddRange(range.Holds(place) ? [one] : []), cancellationToken).ConfigureAwait(false) is { } problem)
            {
                Tell([problem]);
            }
        }

        return found;
    }

    /// <summary>Walks a server's log from record to record. What is wrong is in the report and no exception.</summary>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>: the repository has no log of that server; or it cannot be reached.</exception>
    public Task<WalVerifyReport> VerifyWalAsync(string server, WalQuery? query = null, CancellationToken cancellationToken = default) =>
        new WalVerification(OpenWal(server), WalRange.Of(query ?? new WalQuery())).RunAsync(cancellationToken);

    /// <summary>Which moments of a server can be reached, and why no others. Damage is told.</summary>
    /// <param name="server">The server.</param>
    /// <param name="bases">Its base backups; null: those in the repository. Without any it is told how far its log goes without a hole.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="BackupIQException">As above.</exception>
    public async Task<WalWindowInfo> ReadWalWindowAsync(string server, IReadOnlyList<WalBaseInfo>? bases = null, CancellationToken cancellationToken = default)
    {
        WalArchive archive = OpenWal(server);
        if (bases is null)
        {
            WalArchiveIdentity? identity = await archive.ReadIdentityAsync(cancellationToken).ConfigureAwait(false);
            (bases, PostgresDocument? newest) = await ReadBasesAsync(server, identity?.SystemIdentifier, cancellationToken).ConfigureAwait(false);
            if (identity is null && newest is not null)
            {
                return WalWindow.WithoutArchive(newest.SystemIdentifier, newest.Major, bases);
            }
        }

        return await WalWindow.ReadAsync(archive, bases, _time, damage => Tell([damage]), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>
    /// Receives a server's log by a replication slot and stores it until it is ended by <paramref name="cancellationToken"/>; then what was received is made durable,
    /// the server is told, and this returns. What may pass by itself, such as a server or a storage that is away, is waited for.
    /// </summary>
    /// <param name="request">From whom, and how.</param>
    /// <param name="monitor">Hears how it goes.</param>
    /// <param name="spool">Where a segment is gathered until it is whole; null: in a temporary folder.</param>
    /// <param name="cancellationToken">Ends it in order.</param>
    /// <exception cref="BackupIQException">
    /// <c>WrongServer</c>: the archive holds another cluster's log, or the server is not any more where the archive is. <c>Authorization</c>: the role may not.
    /// <c>RepositoryBusy</c>: another process receives this log on this machine.
    /// </exception>
    public async Task StreamWalAsync(WalStreamRequest request, WalStreamMonitor? monitor = null, WalSpool? spool = null, CancellationToken cancellationToken = default)
    {
        WalArchive archive = OpenWal(request.Server.Name);
        string folder = spool?.StreamFolder ?? Directory.CreateTempSubdirectory("backupiq-wal-").FullName;
        try
        {
            using FileStream alone = WalSpool.TakeStream(folder);
            await new WalStreamPipeline(archive, request, monitor ?? new WalStreamMonitor(), folder, _time)
            {
                ReadBases = async stop => (await ReadBasesAsync(request.Server.Name, null, stop).ConfigureAwait(false)).Bases,
            }.RunAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            if (spool is null)
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    internal WalArchive OpenWal(string server)
    {
        PostgresServer.RequireName(server);
        return new WalArchive(_repository, server, _time, _options.CacheFolder);
    }

    private async Task<IReadOnlyList<WalArchivedFile>> SelectWalAsync(WalArchive archive, WalQuery query, CancellationToken cancellationToken) => await SelectWalAsync(
        archive,
        await archive.ListAsync(cancellationToken).ConfigureAwait(false),
        await archive.RequireIdentityAsync(cancellationToken).ConfigureAwait(false),
        query,
        cancellationToken).ConfigureAwait(false);

    private async Task<IReadOnlyList<WalArchivedFile>> SelectWalAsync(
        WalArchive archive, IReadOnlyList<WalArchivedFile> files, WalArchiveIdentity identity, WalQuery query, CancellationToken cancellationToken)
    {
        WalRange range = WalRange.Of(query);
        WalFileName? only = query.File is null ? null : WalArchive.ParseName(query.File);
        WalArchivedFile[] wanted = [.. files.Where(file => only is { } one ? file.Name == one : range.Touches(file.Name, identity.SegmentSize))];
        return only is not null && wanted.Length == 0
            ? throw new BackupIQException(ErrorCodes.PathNotFound, $"{query.File} is not archived", "See what is with 'backupiq pg wal ls NAME'.")
            : await archive.WithFactsAsync(wanted, (file, message) => Tell([$"{file}: {message}"]), cancellationToken).ConfigureAwait(false);
    }
}
