using System.Buffers.Binary;
using System.Data;
using System.Globalization;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using Npgsql;

namespace BackupIQ.Sources.Postgres.Backup;

/// <summary>
/// The one session that a backup is made in: the server ends the backup when it ends, so it is held open until all is stored, and watched. One
/// thing is asked at a time; who asks meanwhile waits.
/// </summary>
public sealed class PostgresSession : IAsyncDisposable
{
    private const string InsufficientPrivilege = "42501";
    private const string DuplicateObject = "42710";
    private const string WrongState = "55000";

    /// <summary>Of a lock that this program takes: the upper half of its number says so.</summary>
    private const int LockClass = 0x4249_5150;

    /// <summary>How often the session is asked whether it lives, and how long an answer may take.</summary>
    private static readonly TimeSpan WatchPause = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan WatchPatience = TimeSpan.FromSeconds(30);

    private readonly PostgresDsn _dsn;
    private readonly string? _password;
    private readonly NpgsqlConnection _connection;
    private readonly SemaphoreSlim _gate = new(1);
    private string _slot = $"backupiq_{Guid.NewGuid():n}";

    private PostgresSession(PostgresDsn dsn, string? password, NpgsqlConnection connection)
    {
        _dsn = dsn;
        _password = password;
        _connection = connection;
    }

    /// <summary>15 in 15.18.</summary>
    public int Major => _connection.PostgreSqlVersion.Major;

    /// <summary>Whether a temporary slot keeps the WAL of this backup in the server.</summary>
    public bool KeepsWal { get; private set; }

    /// <summary>Connects.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it cannot be reached. <c>Authorization</c>: it lets the role not in.</exception>
    public static async Task<PostgresSession> OpenAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        NpgsqlConnection connection = new(dsn.ToConnectionString(password));
        try
        {
            await connection.OpenAsync(cancellationToken);
            PostgresSession session = new(dsn, password, connection);
            await session.ExecuteAsync("SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET max_parallel_workers_per_gather = 0", cancellationToken);
            if (session.Major >= 14)
            {
                await session.ExecuteAsync("SET idle_session_timeout = 0", cancellationToken);
            }

            await session.BeNoticedWhenGoneAsync(cancellationToken);
            return session;
        }
        catch (Exception e) when (e is NpgsqlException or SocketException or TimeoutException)
        {
            await connection.DisposeAsync();
            throw Failure(e, $"The server at {dsn.Place} cannot be connected to");
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    /// <summary>What the server says of itself.</summary>
    /// <exception cref="BackupIQException">As for <see cref="StartAsync"/>.</exception>
    public async Task<PostgresFacts> ReadFactsAsync(CancellationToken cancellationToken)
    {
        Dictionary<string, string> settings = new(StringComparer.Ordinal);
        HashSet<string> files = new(StringComparer.Ordinal);
        foreach (object?[] row in await QueryAsync("SELECT name, setting, sourcefile FROM pg_settings", cancellationToken))
        {
            settings[(string)row[0]!] = row[1] as string ?? "";
            if (row[2] is string file)
            {
                files.Add(file);
            }
        }

        // Without pg_read_all_settings these are not in the list at all.
        object?[] control = (await QueryAsync(
            "SELECT s.system_identifier::text, pg_is_in_recovery(), i.bytes_per_wal_segment FROM pg_control_system() s, pg_control_init() i", cancellationToken))[0];
        List<PostgresTablespace> tablespaces = [];
        foreach (object?[] row in await QueryAsync("SELECT oid::bigint, spcname::text, pg_tablespace_location(oid) FROM pg_tablespace ORDER BY oid", cancellationToken))
        {
            if (row[2] is string { Length: > 0 } location && location.StartsWith('/'))
            {
                tablespaces.Add(new PostgresTablespace((long)row[0]!, (string)row[1]!, location));
            }
        }

        return new PostgresFacts
        {
            Version = settings.GetValueOrDefault("server_version") ?? _connection.PostgreSqlVersion.ToString(),
            VersionNumber = int.Parse(settings["server_version_num"], CultureInfo.InvariantCulture),
            SystemIdentifier = unchecked((ulong)long.Parse((string)control[0]!, CultureInfo.InvariantCulture)),
            IsInRecovery = (bool)control[1]!,
            WalSegmentSize = (uint)(int)control[2]!,
            DataDirectory = settings.GetValueOrDefault("data_directory"),
            Settings = settings,
            SettingFiles = [.. files.Order(StringComparer.Ordinal)],
            Tablespaces = tablespaces,
            Superuser = (await QueryAsync("SELECT rolname::text FROM pg_roles WHERE oid = 10", cancellationToken)) is [[string superuser]] ? superuser : null,
            Databases =
            [
                .. (await QueryAsync("SELECT oid::bigint, datname::text, datallowconn AND has_database_privilege(oid, 'CONNECT') FROM pg_database ORDER BY oid", cancellationToken))
                    .Select(static row => ((long)row[0]!, (string)row[1]!, (bool)row[2]!)),
            ],
        };
    }

    /// <summary>
    /// Makes this the only session that backs this server up into a repository, as long as it lives: the server lets go of the claim when the session
    /// ends, however it ends.
    /// </summary>
    /// <param name="repository">The repository's id.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: another session does so now. Else as for <see cref="StartAsync"/>.</exception>
    public async Task ClaimAsync(string repository, CancellationToken cancellationToken)
    {
        byte[] digest = SHA256.HashData(Encoding.UTF8.GetBytes("backupiq backup into " + repository));
        int number = BinaryPrimitives.ReadInt32BigEndian(digest);
        _slot = $"backupiq_{Convert.ToHexStringLower(digest.AsSpan(0, 8))}";
        string key = string.Create(CultureInfo.InvariantCulture, $"{LockClass}, {number}");
        if ((bool)(await QueryAsync($"SELECT pg_try_advisory_lock({key})", cancellationToken))[0][0]!)
        {
            return;
        }

        IReadOnlyList<object?[]> holders = await QueryAsync(
            string.Create(CultureInfo.InvariantCulture, $"""
            SELECT l.pid, to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), host(a.client_addr) FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = {(uint)LockClass} AND l.objid::bigint = {(uint)number} AND l.objsubid = 2
            """),
            cancellationToken);
        throw Busy(holders is [[int pid, var since, var address], ..]
            ? string.Create(CultureInfo.InvariantCulture, $" (process {pid} of the server{(since is string text ? $", since {text} UTC" : "")}{(address is string from ? $", from {from}" : "")})")
            : "");
    }

    /// <summary>
    /// Estimates of rows by relation, of the databases that let the role in: the largest thousand relations of each of the first hundred; and of what their relations
    /// are, as far as these are not too many.
    /// </summary>
    public async Task<IReadOnlyList<PostgresDatabase>> ReadDatabasesAsync(PostgresFacts facts, CancellationToken cancellationToken)
    {
        const int MostDatabases = 100;
        int mostRelations = 5 * PostgresSchemaRecord.MostRelations;
        List<PostgresDatabase> databases = [];
        foreach ((long oid, string name, bool canConnect) in facts.Databases)
        {
            Dictionary<string, long> rows = new(StringComparer.Ordinal);
            Dictionary<string, long> changes = new(StringComparer.Ordinal);
            PostgresSchemaRecord? schema = null;
            if (canConnect && databases.Count < MostDatabases)
            {
                try
                {
                    await using NpgsqlConnection other = new(_dsn.ToConnectionString(_password, name));
                    await other.OpenAsync(cancellationToken);
                    foreach (object?[] row in await PostgresCatalog.RowsAsync(
                        other,
                        """
                        SELECT n.nspname || '.' || c.relname, c.reltuples::bigint, pg_stat_get_mod_since_analyze(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                        ORDER BY c.relpages DESC, 1 LIMIT 1000
                        """,
                        cancellationToken))
                    {
                        rows[(string)row[0]!] = (long)row[1]!;
                        if (row[2] is long and > 0)
                        {
                            changes[(string)row[0]!] = (long)row[2]!;
                        }
                    }

                    schema = (await PostgresCatalog.ReadSchemaAsync(other, Math.Min(mostRelations, PostgresSchemaRecord.MostRelations), cancellationToken))?.ToRecord();
                    mostRelations -= schema?.Relations.Count ?? 0;
                }
                catch (NpgsqlException)
                {
                    // pg_hba may keep the role out of it: its files are backed up all the same, and of its rows nothing is known.
                    rows.Clear();
                    changes.Clear();
                    schema = null;
                }
            }

            databases.Add(new PostgresDatabase(oid, name, rows) { Schema = schema, Changes = changes });
        }

        return databases;
    }

    /// <summary>Has a temporary slot keep the WAL from now on, where the server has one to give and the role may have it (<see cref="KeepsWal"/>).</summary>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: another session backs the server up into the same repository.</exception>
    public async Task KeepWalAsync(CancellationToken cancellationToken) => KeepsWal = await TryKeepWalAsync(cancellationToken);

    /// <summary>The server's clock.</summary>
    /// <exception cref="BackupIQException">As for <see cref="StartAsync"/>.</exception>
    public async Task<DateTimeOffset> ReadClockAsync(CancellationToken cancellationToken) =>
        new((DateTime)(await QueryAsync("SELECT clock_timestamp()", cancellationToken))[0][0]!);

    /// <summary>
    /// Tells the server that a backup begins. The WAL that it needs is kept by a temporary slot, where the server has one to give and the role may
    /// have it.
    /// </summary>
    /// <param name="label">What the backup is called in the server.</param>
    /// <param name="fast">A checkpoint at once; else when the next one is due, which may take minutes.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <returns>The server's clock.</returns>
    /// <exception cref="BackupIQException"><c>Authorization</c>: the role may not. <c>SourceServer</c>: the server refused, or the session ended.</exception>
    public async Task<DateTimeOffset> StartAsync(string label, bool fast, CancellationToken cancellationToken)
    {
        await KeepWalAsync(cancellationToken);
        string start = Major >= 15 ? "SELECT pg_backup_start(@label, @fast)" : "SELECT pg_start_backup(@label, @fast, false)";
        await AskAsync(
            async () =>
            {
                await using NpgsqlCommand command = new(start, _connection);
                command.Parameters.AddWithValue("label", label);
                command.Parameters.AddWithValue("fast", fast);
                await command.ExecuteScalarAsync(cancellationToken);
                return 0;
            },
            "The server did not begin the backup",
            cancellationToken);
        return await ReadClockAsync(cancellationToken);
    }

    /// <summary>Tells the server that all is read. This failing means that the backup is worth nothing.</summary>
    /// <param name="isStandby">The server was a standby when the backup began.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="BackupIQException">As for <see cref="StartAsync"/>; <c>TimelineChanged</c>: the standby was promoted.</exception>
    public async Task<PostgresStop> StopAsync(bool isStandby, CancellationToken cancellationToken)
    {
        // It would be refused then, but not in every version in words that tell.
        if (isStandby && (await QueryAsync("SELECT pg_is_in_recovery()", cancellationToken))[0][0] is false)
        {
            throw Promoted();
        }

        string stop = Major >= 15
            ? "SELECT lsn::text, labelfile, spcmapfile, clock_timestamp() FROM pg_backup_stop(false)"
            : "SELECT lsn::text, labelfile, spcmapfile, clock_timestamp() FROM pg_stop_backup(false, false)";
        object?[] row;
        try
        {
            row = (await QueryAsync(stop, cancellationToken))[0];
        }
        catch (BackupIQException e) when (isStandby && e.InnerException is PostgresException { SqlState: WrongState, MessageText: var text } && text.Contains("promoted", StringComparison.Ordinal))
        {
            throw Promoted();
        }

        return new PostgresStop((string)row[0]!, (string)row[1]!, row[2] as string ?? "", new DateTimeOffset((DateTime)row[3]!));
    }

    /// <summary>
    /// Asks the session every second whether it lives, until <paramref name="ended"/> says that nobody needs it any more. Returns then; throws as soon
    /// as it does not live.
    /// </summary>
    /// <param name="ended">Nobody needs the session any more.</param>
    /// <param name="isStandby">The server was a standby when the backup began, and must stay one.</param>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: the session ended. <c>TimelineChanged</c>: the standby was promoted.</exception>
    public async Task WatchAsync(Task ended, bool isStandby = false)
    {
        using PeriodicTimer timer = new(WatchPause);
        while (!ended.IsCompleted)
        {
            await Task.WhenAny(ended, timer.WaitForNextTickAsync(CancellationToken.None).AsTask());
            if (!ended.IsCompleted && await _gate.WaitAsync(TimeSpan.Zero))
            {
                try
                {
                    using CancellationTokenSource patience = new(WatchPatience);
                    await using NpgsqlCommand command = new("SELECT pg_is_in_recovery()", _connection);
                    if (await command.ExecuteScalarAsync(patience.Token) is false && isStandby)
                    {
                        throw Promoted();
                    }
                }
                catch (Exception e) when (e is NpgsqlException or OperationCanceledException or InvalidOperationException)
                {
                    throw Failure(e, "The session that holds the backup open has ended, so the backup is worth nothing");
                }
                finally
                {
                    _gate.Release();
                }
            }
        }
    }

    /// <summary>Whether something stands between that gives sessions of its own.</summary>
    /// <exception cref="BackupIQException">As for <see cref="StartAsync"/>.</exception>
    public async Task<bool> IsPooledAsync(CancellationToken cancellationToken) =>
        (int)(await QueryAsync("SELECT pg_backend_pid()", cancellationToken))[0][0]! != _connection.ProcessID;

    /// <summary>Rows of a query, null for NULL.</summary>
    /// <exception cref="BackupIQException">As for <see cref="StartAsync"/>.</exception>
    public Task<IReadOnlyList<object?[]>> QueryAsync(string sql, CancellationToken cancellationToken) =>
        AskAsync(() => PostgresCatalog.RowsAsync(_connection, sql, cancellationToken), "The server refused", cancellationToken);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _connection.DisposeAsync();
        _gate.Dispose();
    }

    private async Task<bool> TryKeepWalAsync(CancellationToken cancellationToken)
    {
        try
        {
            await QueryAsync($"SELECT pg_create_physical_replication_slot('{_slot}', true, true)", cancellationToken);
            return true;
        }
        catch (BackupIQException e) when (e.InnerException is PostgresException { SqlState: DuplicateObject })
        {
            // Locks are of one database, slots of the whole server: the other one connected to another database.
            throw Busy("");
        }
        catch (BackupIQException e) when (e.InnerException is PostgresException)
        {
            // No right to it, or none is left: then each segment is looked at when it is read.
            return false;
        }
    }

    // So that a claim does not outlive its owner: a process that was killed while the server works for it, or a machine that is gone. Not every
    // system that PostgreSQL runs on can tell; there the end of the session is noticed when it next answers.
    private async Task BeNoticedWhenGoneAsync(CancellationToken cancellationToken)
    {
        List<string> wishes = ["tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 6"];
        if (Major >= 14)
        {
            wishes.Add("client_connection_check_interval = '2s'");
        }

        foreach (string wish in wishes)
        {
            try
            {
                await ExecuteAsync("SET " + wish, cancellationToken);
            }
            catch (BackupIQException e) when (e.InnerException is PostgresException)
            {
            }
        }
    }

    private static BackupIQException Busy(string who) => new(
        ErrorCodes.RepositoryBusy, $"This server is being backed up into this repository now{who}", "Wait until that backup ends; nothing was committed by this one.");

    /// <summary>The server was promoted: what was read belongs to two timelines.</summary>
    internal static BackupIQException Promoted() => new(
        ErrorCodes.TimelineChanged, "The timeline changed: the standby was promoted, or followed one that was, while it was backed up; the backup is worth nothing", "Run it again.");

    private Task ExecuteAsync(string sql, CancellationToken cancellationToken) => QueryAsync(sql, cancellationToken);

    private async Task<T> AskAsync<T>(Func<Task<T>> ask, string what, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            return await ask();
        }
        catch (Exception e) when (e is NpgsqlException or SocketException or TimeoutException or InvalidOperationException)
        {
            throw Failure(e, what);
        }
        finally
        {
            _gate.Release();
        }
    }

    internal static BackupIQException Failure(Exception cause, string what) => cause switch
    {
        PostgresException { SqlState: InsufficientPrivilege } denied => new BackupIQException(
            ErrorCodes.Authorization, $"{what}: {denied.MessageText}", "Give the role what 'backupiq pg init-server' prints for it.", cause),
        PostgresException refused => new BackupIQException(
            refused.SqlState.StartsWith("28", StringComparison.Ordinal) ? ErrorCodes.Authorization : ErrorCodes.SourceServer, $"{what}: {refused.MessageText}", null, cause),
        OperationCanceledException => new BackupIQException(ErrorCodes.SourceServer, $"{what}: it did not answer", null, cause),
        _ => new BackupIQException(ErrorCodes.SourceServer, $"{what}: {cause.InnerException?.Message ?? cause.Message}", null, cause),
    };
}

/// <summary>What the server says at the end of a backup.</summary>
/// <param name="Lsn">Where the WAL that is needed ends.</param>
/// <param name="Label">The content of <c>backup_label</c>.</param>
/// <param name="TablespaceMap">The content of <c>tablespace_map</c>; empty: there is none.</param>
/// <param name="Time">The server's clock.</param>
public sealed record PostgresStop(string Lsn, string Label, string TablespaceMap, DateTimeOffset Time);
