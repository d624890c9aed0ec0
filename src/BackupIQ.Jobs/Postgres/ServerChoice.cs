using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Jobs.Postgres;

/// <summary>Whether a backup is made of a standby.</summary>
public enum PostgresStandby
{
    /// <summary>Of the primary alone.</summary>
    No,

    /// <summary>Of a standby where one of the server's hosts is one, else of the primary.</summary>
    Prefer,

    /// <summary>Of a standby, or not at all.</summary>
    Require,
}

/// <summary>The sessions of a backup: with the server whose files are read, and with the primary where that is another one and can be reached.</summary>
internal sealed record ServerChoice(PostgresDsn Dsn, PostgresSession Session, PostgresFacts Facts, PostgresSession? Primary) : IAsyncDisposable
{
    /// <summary>Asks the hosts of a DSN in their order, and takes the first that is what is wanted.</summary>
    /// <exception cref="BackupIQException">
    /// <c>WrongServer</c>: none is, or they are of different clusters. Else as the first of them failed.
    /// </exception>
    public static async Task<ServerChoice> OpenAsync(PostgresDsn dsn, string? password, PostgresStandby standby, CancellationToken cancellationToken)
    {
        List<(PostgresDsn Dsn, PostgresSession Session, PostgresFacts Facts)> open = [];
        BackupIQException? failure = null;
        try
        {
            foreach (PostgresDsn one in dsn.Each)
            {
                try
                {
                    PostgresSession session = await PostgresSession.OpenAsync(one, password, cancellationToken).ConfigureAwait(false);
                    open.Add((one, session, null!));
                    open[^1] = (one, session, await session.ReadFactsAsync(cancellationToken).ConfigureAwait(false));
                }
                catch (BackupIQException e) when (dsn.Each.Count > 1)
                {
                    failure ??= e;
                    await DropAsync(open.Where(static two => two.Facts is null)).ConfigureAwait(false);
                    open.RemoveAll(static two => two.Facts is null);
                }
            }

            if (open.Count == 0)
            {
                throw failure!;
            }

            (PostgresDsn Dsn, PostgresSession Session, PostgresFacts Facts) chosen = Choose(open, standby);
            PostgresSession? primary = open.Find(two => two.Session != chosen.Session && !two.Facts.IsInRecovery).Session;
            await DropAsync(open.Where(two => two.Session != chosen.Session && two.Session != primary)).ConfigureAwait(false);
            return new ServerChoice(chosen.Dsn, chosen.Session, chosen.Facts, primary);
        }
        catch
        {
            await DropAsync(open).ConfigureAwait(false);
            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Session.DisposeAsync().ConfigureAwait(false);
        if (Primary is not null)
        {
            await Primary.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static (PostgresDsn Dsn, PostgresSession Session, PostgresFacts Facts) Choose(List<(PostgresDsn Dsn, PostgresSession Session, PostgresFacts Facts)> open, PostgresStandby standby)
    {
        if (open.Exists(two => two.Facts.SystemIdentifier != open[0].Facts.SystemIdentifier))
        {
            throw new BackupIQException(ErrorCodes.WrongServer, "The hosts of the DSN are servers of different clusters: their system identifiers are not the same", "Name one cluster in each DSN.");
        }

        int at = standby == PostgresStandby.No ? -1 : open.FindIndex(static two => two.Facts.IsInRecovery);
        return at >= 0 ? open[at]
            : standby == PostgresStandby.Require
            ? throw new BackupIQException(ErrorCodes.WrongServer, "No standby can be reached under the DSN of this server", "Name one of its hosts: host=primary,standby; or leave --standby out.")
            : open.FindIndex(static two => !two.Facts.IsInRecovery) is >= 0 and var primary ? open[primary]
            : throw new BackupIQException(ErrorCodes.WrongServer, "The server is a standby, and the primary was not reached", "Allow standbys with --standby prefer, or name the primary in the DSN.");
    }

    private static async Task DropAsync(IEnumerable<(PostgresDsn Dsn, PostgresSession Session, PostgresFacts Facts)> sessions)
    {
        foreach ((_, PostgresSession session, _) in sessions.ToArray())
        {
            await session.DisposeAsync().ConfigureAwait(false);
        }
    }
}
