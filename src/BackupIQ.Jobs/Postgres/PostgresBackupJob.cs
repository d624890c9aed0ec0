using BackupIQ.Engine.Backup;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A backup of a server from its beginning to its end: one session, watched while its files are read.</summary>
/// <param name="request">What is wanted.</param>
/// <param name="repository">The id of the repository that it goes into: two backups of a server into one never run at once.</param>
/// <param name="archive">The server's log there.</param>
/// <param name="monitor">Hears of damage and what a person should know.</param>
/// <param name="time">Measures and waits.</param>
internal sealed class PostgresBackupJob(PostgresBackupRequest request, string repository, WalArchive archive, BackupMonitor monitor, TimeProvider time)
{
    /// <summary>Makes the backup; <paramref name="run"/> stores what the source has, and commits.</summary>
    public async Task<(BackupResult Result, PostgresDocument Document)> RunAsync(
        Func<IBackupSource, CancellationToken, Task<BackupResult>> run, CancellationToken cancellationToken)
    {
        using Secret? password = request.Server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
        string? plain = password is null ? null : System.Text.Encoding.UTF8.GetString(password.Bytes);
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
        IReadOnlyList<PostgresDatabase> databases = await session.ReadDatabasesAsync(facts, cancellationToken).ConfigureAwait(false);
        DateTimeOffset started = await session.StartAsync($"backupiq {request.Server.Name}", request.FastCheckpoint, cancellationToken).ConfigureAwait(false);
        if (!session.KeepsWal)
        {
            monitor.OnNotice?.Invoke("No replication slot could be had, so the server may take away WAL that the backup needs; then the backup fails.");
        }

        TokenBucket pace = new(request.ReadLimit, time);
        using BackupWal wal = new(archive, server.Primary, request.WalPatience, time);
        long damaged = 0;
        using PostgresSource source = new(session, facts, new PostgresBackupBeginning(request.Server.Name, folder, started, databases))
        {
            Wal = wal,
            LeavesWal = request.LeaveWal,
            Throttle = request.ReadLimit.IsUnlimited ? null : pace.TakeAsync,
            OnNotice = monitor.OnNotice,
            OnDamage = (path, block) =>
            {
                damaged++;
                monitor.OnFailure?.Invoke(new ItemFailure(
                    ErrorCodes.SourceDamaged,
                    System.Text.Encoding.UTF8.GetBytes(path),
                    $"block {block} is damaged: its {(facts.Settings.GetValueOrDefault("data_checksums") == "on" ? "checksum does not hold" : "header cannot be")}; the backup holds it as it is"));
            },
        };
        BackupResult result = await WatchedAsync(session, facts.IsInRecovery, stop => run(source, stop), cancellationToken).ConfigureAwait(false);
        return (result with { Warnings = result.Warnings + damaged }, PostgresDocument.Read(source.Document));
    }

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
}
