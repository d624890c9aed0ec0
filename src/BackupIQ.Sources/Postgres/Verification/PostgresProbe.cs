using System.Globalization;
using System.Net.Sockets;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;
using Npgsql;

namespace BackupIQ.Sources.Postgres.Verification;

/// <summary>
/// Looks at one database of a server and changes nothing: everything in one transaction that only reads and sees one moment. What the server refuses is a
/// <see cref="BackupIQException"/>; the connection is good afterwards.
/// </summary>
public sealed class PostgresProbe : IAsyncDisposable
{
    /// <summary>The tablespace of what all databases share.</summary>
    public const uint GlobalTablespace = 1664;

    /// <summary>More relations are not compared one by one.</summary>
    private const int MostRelations = 100_000;

    private readonly NpgsqlConnection _connection;

    private PostgresProbe(NpgsqlConnection connection) => _connection = connection;

    /// <summary><c>15.18</c></summary>
    public string Version => _connection.PostgreSqlVersion.ToString(2);

    /// <summary>The database that it is connected to.</summary>
    public string Database => _connection.Database;

    /// <summary>Connects.</summary>
    /// <param name="dsn">How the server is reached.</param>
    /// <param name="password">The password, or null.</param>
    /// <param name="database">The database; null: that of the DSN.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it cannot be reached. <c>Authorization</c>: it lets the role not in.</exception>
    public static async Task<PostgresProbe> OpenAsync(PostgresDsn dsn, string? password, string? database, CancellationToken cancellationToken)
    {
        NpgsqlConnection connection = new(dsn.ToConnectionString(password, database));
        PostgresProbe probe = new(connection);
        try
        {
            await connection.OpenAsync(cancellationToken);
            foreach (string sql in (string[])
            [
                "SET statement_timeout = 0", "SET lock_timeout = 0", "SET idle_in_transaction_session_timeout = 0", "SET DateStyle = 'ISO, YMD'", "SET IntervalStyle = 'postgres'",
                "SET TimeZone = 'UTC'", "SET extra_float_digits = 3", "SET bytea_output = 'hex'", "SET row_security = off", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            ])
            {
                await PostgresCatalog.RowsAsync(connection, sql, cancellationToken);
            }

            return probe;
        }
        catch (Exception e) when (e is NpgsqlException or SocketException or TimeoutException)
        {
            await probe.DisposeAsync();
            throw PostgresSession.Failure(e, $"The server at {dsn.Place} cannot be connected to");
        }
        catch
        {
            await probe.DisposeAsync();
            throw;
        }
    }

    /// <summary>The databases that take connections, by name.</summary>
    /// <exception cref="BackupIQException">The server refused, or the connection ended.</exception>
    public async Task<IReadOnlyList<string>> ListDatabasesAsync(CancellationToken cancellationToken) =>
        [.. (await AskAsync("SELECT datname::text FROM pg_database WHERE datallowconn ORDER BY 1", cancellationToken)).Select(static row => (string)row[0]!).Order(StringComparer.Ordinal)];

    /// <summary>The database's relations.</summary>
    /// <exception cref="BackupIQException">As above, or there are too many.</exception>
    public async Task<PostgresSchema> ReadSchemaAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await PostgresCatalog.ReadSchemaAsync(_connection, MostRelations, cancellationToken)
                ?? throw new BackupIQException(ErrorCodes.Resource, $"Database {Database} has more than {MostRelations} relations, too many to compare");
        }
        catch (NpgsqlException e)
        {
            throw PostgresSession.Failure(e, $"Database {Database}: the server refused");
        }
    }

    /// <summary>The rows of a table, counted.</summary>
    /// <exception cref="BackupIQException">The server refused, or a page of the table is damaged.</exception>
    public async Task<long> CountRowsAsync(PostgresRelation relation, CancellationToken cancellationToken) =>
        (long)(await AskAsync($"SELECT count(*) FROM {relation.Sql}", cancellationToken))[0][0]!;

    /// <summary>A sum over the rows of a table that is the same where they are, in whatever order.</summary>
    /// <exception cref="BackupIQException">As above.</exception>
    public async Task<string> DigestRowsAsync(PostgresRelation relation, CancellationToken cancellationToken) => Convert.ToString(
        (await AskAsync($"SELECT coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)::text FROM {relation.Sql} t", cancellationToken))[0][0], CultureInfo.InvariantCulture)!;

    /// <summary>The relation that a file is of, as <c>schema.name</c>; null: none of this database.</summary>
    /// <param name="tablespace">The tablespace's oid; 0: the one in which the database lies.</param>
    /// <param name="file">The number of its files.</param>
    /// <param name="cancellationToken">Stops waiting.</param>
    /// <exception cref="BackupIQException">As above.</exception>
    public async Task<string?> FindRelationAsync(uint tablespace, uint file, CancellationToken cancellationToken) =>
        await AskAsync($"SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_filenode_relation({tablespace}, {file})", cancellationToken) is [[string name]] ? name : null;

    /// <summary>What an assertion answers; null: that all is as it should be. It must answer with one row of one column, true.</summary>
    public async Task<string?> AssertAsync(string sql, CancellationToken cancellationToken)
    {
        try
        {
            IReadOnlyList<object?[]> rows = await AskAsync(sql, cancellationToken);
            return rows is [[true]] ? null
                : rows is [[var value]] ? $"it answered {(value is null ? "NULL" : Convert.ToString(value, CultureInfo.InvariantCulture))}, not true"
                : $"it answered with {rows.Count} rows{(rows.Count > 0 ? $" of {rows[0].Length} columns" : "")}, not with one row of one column";
        }
        catch (BackupIQException e)
        {
            return e.Message;
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _connection.DisposeAsync();

    /// <summary>A DSN of a server's socket.</summary>
    public static PostgresDsn OfSocket(string folder, string role) => PostgresDsn.Parse($"host={Value(folder)} port=5432 user={Value(role)} dbname=template1");

    // A savepoint, so that one refusal does not end the transaction.
    private async Task<IReadOnlyList<object?[]>> AskAsync(string sql, CancellationToken cancellationToken)
    {
        try
        {
            await PostgresCatalog.RowsAsync(_connection, "SAVEPOINT ask", cancellationToken);
            try
            {
                return await PostgresCatalog.RowsAsync(_connection, sql, cancellationToken);
            }
            catch (PostgresException)
            {
                await PostgresCatalog.RowsAsync(_connection, "ROLLBACK TO SAVEPOINT ask", cancellationToken);
                throw;
            }
        }
        catch (Exception e) when (e is NpgsqlException or SocketException or TimeoutException or InvalidOperationException or InvalidCastException)
        {
            throw PostgresSession.Failure(e, $"Database {Database}: the server refused");
        }
    }

    private static string Value(string text) => $"'{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal)}'";
}
