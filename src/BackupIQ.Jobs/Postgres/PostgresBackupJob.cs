using System.Globalization;
using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Streaming;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A backup of a server from its beginning to its end: one session, watched while its files are read.</summary>
/// <param name="request">What is wanted.</param>
/// <param name="repository">The id of the repository that it goes into: two backups of a server into one never run at once.</param>
/// <param name="archive">The server's log there.</param>
/// <param name="monitor">Hears of damage and what a person should know.</param>
/// <param name="time">Measures and waits.</param>
internal sealed class PostgresBackupJob(PostgresBackupRequest request, string repository, WalArchive archive, BackupMonitor monitor, TimeProvider time)
{
    private static readonly TimeSpan ProgressPause = TimeSpan.FromSeconds(15);

    /// <summary>Makes the backup; <paramref name="run"/> stores what the source has, and commits.</summary>
    public async Task<(BackupResult Result, PostgresDocument Document)> RunAsync(
        Func<IBackupSource, CancellationToken, Task<BackupResult>> run, CancellationToken cancellationToken)
    {
        using Secret? password = request.Server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
        string? plain = password is null ? null : Encoding.UTF8.GetString(password.Bytes);
        await using ServerChoice server = await ServerChoice.OpenAsync(PostgresDsn.Parse(request.Server.Dsn), plain, request.Standby, cancellationToken).ConfigureAwait(false);
        PostgresSession session = server.Session;
        PostgresFacts facts = server.Facts;
        await session.ClaimAsync(repository, cancellationToken).ConfigureAwait(false);
        if (server.Primary is { } primary)
        {
            await primary.ClaimAsync(repository, cancellationToken).ConfigureAwait(false);
        }

        string folder = request.Server.PgData ?? facts.DataDirectory ?? throw new BackupIQException(
            ErrorCodes.Configuration, "The role may not be told where the data directory is", "Write pgdata: into the server's entry, or GRANT pg_read_all_settings.");
        TokenBucket pace = new(request.ReadLimit, time);
        IReadOnlyList<PostgresDatabase> databases = await session.ReadDatabasesAsync(facts, cancellationToken).ConfigureAwait(false);
        if (request.Server.IsStreamed)
        {
            return await RunStreamedAsync(server, plain, new PostgresBackupBeginning(request.Server.Name, folder, default, databases), pace, run, cancellationToken).ConfigureAwait(false);
        }

        DateTimeOffset started = await session.StartAsync($"backupiq {request.Server.Name}", request.FastCheckpoint, cancellationToken).ConfigureAwait(false);
        TellOfSlot(session);
        using BackupWal wal = new(archive, server.Primary, request.WalPatience, time);
        DamageCount damage = new();
        using PostgresSource source = new(session, facts, new PostgresBackupBeginning(request.Server.Name, folder, started, databases))
        {
            Wal = wal,
            LeavesWal = request.LeaveWal,
            Throttle = request.ReadLimit.IsUnlimited ? null : pace.TakeAsync,
            OnNotice = monitor.OnNotice,
            OnDamage = Damaged(facts, damage),
        };
        BackupResult result = await WatchedAsync(session, facts.IsInRecovery, stop => run(source, stop), cancellationToken).ConfigureAwait(false);
        return (result with { Warnings = result.Warnings + damage.Pages }, PostgresDocument.Read(source.Document));
    }

    // The server sends its files, and only when all have come it is known that they are a backup: then they are stored like those that are read.
    private async Task<(BackupResult Result, PostgresDocument Document)> RunStreamedAsync(
        ServerChoice server,
        string? password,
        PostgresBackupBeginning beginning,
        TokenBucket pace,
        Func<IBackupSource, CancellationToken, Task<BackupResult>> run,
        CancellationToken cancellationToken)
    {
        string spool = request.Spool ?? Path.GetTempPath();
        monitor.OnNotice?.Invoke($"The server sends its files, which lie in {spool} until they are stored: as much as the server has.");
        await server.Session.KeepWalAsync(cancellationToken).ConfigureAwait(false);
        TellOfSlot(server.Session);
        DateTimeOffset started = await server.Session.ReadClockAsync(cancellationToken).ConfigureAwait(false);
        PostgresStreamOptions options = new()
        {
            Label = $"backupiq {request.Server.Name}",
            Fast = request.FastCheckpoint,
            Spool = spool,
            OnProgress = TellOfStream(),
            Throttle = request.ReadLimit.IsUnlimited ? null : pace.TakeAsync,
        };
        using PostgresStream stream = await PostgresStream.ReceiveAsync(server.Dsn, password, server.Facts, options, cancellationToken).ConfigureAwait(false);
        beginning = beginning with { Started = started, Stopped = await server.Session.ReadClockAsync(cancellationToken).ConfigureAwait(false) };
        using BackupWal wal = new(archive, server.Primary, request.WalPatience, time);
        DamageCount damage = new();
        using PostgresSource source = new(server.Session, server.Facts, beginning, stream)
        {
            Wal = wal,
            LeavesWal = request.LeaveWal,
            OnNotice = monitor.OnNotice,
            OnDamage = Damaged(server.Facts, damage),
        };
        BackupResult result = await run(source, cancellationToken).ConfigureAwait(false);
        return (result with { Warnings = result.Warnings + damage.Pages }, PostgresDocument.Read(source.Document));
    }

    // How far the server is, now and then: what is stored afterwards has a progress of its own.
    private Action<long, long> TellOfStream()
    {
        long began = time.GetTimestamp();
        long last = began;
        return (total, came) =>
        {
            if (time.GetElapsedTime(last) < ProgressPause)
            {
                return;
            }

            last = time.GetTimestamp();
            double perSecond = came / time.GetElapsedTime(began).TotalSeconds;
            TimeSpan left = TimeSpan.FromSeconds(Math.Max(0, total - came) / Math.Max(1, perSecond));
            monitor.OnNotice?.Invoke(string.Create(
                CultureInfo.InvariantCulture, $"The server sent {came >> 20} of some {total >> 20} MiB, {perSecond / (1 << 20):0.0} MiB/s, about {left:hh\\:mm\\:ss} left"));
        };
    }

    private void TellOfSlot(PostgresSession session)
    {
        if (!session.KeepsWal)
        {
            monitor.OnNotice?.Invoke("No replication slot could be had, so the server may take away WAL that the backup needs; then the backup fails.");
        }
    }

    private Action<string, long> Damaged(PostgresFacts facts, DamageCount count) => (path, block) =>
    {
        count.Pages++;
        monitor.OnFailure?.Invoke(new ItemFailure(
            ErrorCodes.SourceDamaged,
            Encoding.UTF8.GetBytes(path),
            $"block {block} is damaged: its {(facts.Settings.GetValueOrDefault("data_checksums") == "on" ? "checksum does not hold" : "header cannot be")}; the backup holds it as it is"));
    };

    // As soon as the session ends the run is stopped: what it would commit is worth nothing.
    private static async Task<BackupResult> WatchedAsync(
        PostgresSession session, bool isStandby, Func<CancellationToken, Task<BackupResult>> run, CancellationToken cancellationToken)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<BackupResult> running = run(stop.Token);
        Task watching = session.WatchAsync(running, isStandby);
        if (await Task.WhenAny(running, watching).ConfigureAwait(false) == watching && watching.IsFaulted)
        {
            await stop.CancelAsync().ConfigureAwait(false);
            try
            {
                await running.ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or BackupIQException)
            {
                // That it was stopped says less than why.
            }

            await watching.ConfigureAwait(false);
        }

        try
        {
            return await running.ConfigureAwait(false);
        }
        finally
        {
            // It may be asking still; the session is let go of when it has its answer.
            await Task.WhenAny(watching).ConfigureAwait(false);
        }
    }

    private sealed class DamageCount
    {
        public long Pages { get; set; }
    }
}
