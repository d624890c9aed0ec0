using System.Globalization;
using System.Net.Sockets;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;
using Npgsql;
using Npgsql.Replication;
using NpgsqlTypes;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>What a server says of itself to who receives its log.</summary>
/// <param name="SystemIdentifier">The cluster.</param>
/// <param name="Timeline">The timeline that it writes.</param>
/// <param name="Position">Up to where its log is on its disk.</param>
/// <param name="Major">The major version of PostgreSQL.</param>
public sealed record WalSenderIdentity(ulong SystemIdentifier, uint Timeline, Lsn Position, int Major);

/// <summary>A piece of the log as it came; its bytes are good until the next one is asked for.</summary>
/// <param name="Start">Where it begins.</param>
/// <param name="ServerEnd">Up to where the server had its log then.</param>
/// <param name="Bytes">The bytes.</param>
public readonly record struct WalMessage(Lsn Start, Lsn ServerEnd, ReadOnlyMemory<byte> Bytes);

/// <summary>The server has taken away what was asked for: nobody gets it from there any more.</summary>
public sealed class WalRemovedException(string message, Exception cause) : BackupIQException(ErrorCodes.SourceServer, message, null, cause);

/// <summary>A connection on which a server sends its log. What is not asked for stays in the server and in the socket.</summary>
public sealed class WalSender : IAsyncDisposable
{
    // What the server says where a segment is no more.
    private const string UndefinedFile = "58P01";
    private const string ObjectInUse = "55006";

    // The most that a server sends at once is 16 pages.
    private const int LargestMessage = 1 << 20;

    private readonly PhysicalReplicationConnection _connection;
    private readonly CancellationTokenSource _ended = new();
    private byte[] _room = new byte[128 << 10];
    private IAsyncEnumerator<XLogDataMessage>? _messages;
    private Task? _asked;

    private WalSender(PhysicalReplicationConnection connection) => _connection = connection;

    /// <summary>Connects.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it cannot be reached. <c>Authorization</c>: it lets the role not in.</exception>
    public static async Task<WalSender> OpenAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        PhysicalReplicationConnection connection = new(dsn.ToConnectionString(password));
        try
        {
            await AskAsync(
                async () =>
                {
                    await connection.Open(cancellationToken);
                    return 0;
                },
                $"The server at {dsn.Place} does not let {dsn.User} receive its log");
            return new WalSender(connection);
        }
        catch
        {
            await connection.DisposeAsync();
            throw;
        }
    }

    /// <summary>Whose log it is, and how far that goes.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it does not tell.</exception>
    public async Task<WalSenderIdentity> IdentifyAsync(CancellationToken cancellationToken)
    {
        ReplicationSystemIdentification said = await AskAsync(() => _connection.IdentifySystem(cancellationToken), "The server does not say which it is");
        return new WalSenderIdentity(
            ulong.Parse(said.SystemId, NumberStyles.None, CultureInfo.InvariantCulture), said.Timeline, new Lsn((ulong)said.XLogPos), _connection.PostgreSqlVersion.Major);
    }

    /// <summary>The content of the history of a timeline.</summary>
    /// <exception cref="BackupIQException">As for <see cref="IdentifyAsync"/>.</exception>
    public async Task<byte[]> ReadHistoryAsync(uint timeline, CancellationToken cancellationToken) =>
        (await AskAsync(() => _connection.TimelineHistory(timeline, cancellationToken), $"The server has no history of timeline {timeline}")).Content;

    /// <summary>Makes a slot that keeps the log from now on, whoever receives it or not.</summary>
    /// <exception cref="BackupIQException">The server refused.</exception>
    public Task CreateSlotAsync(string slot, CancellationToken cancellationToken) => AskAsync(
        () => _connection.CreateReplicationSlot(slot, isTemporary: false, reserveWal: true, cancellationToken), $"The replication slot {slot} cannot be made");

    /// <summary>Removes a slot.</summary>
    /// <exception cref="BackupIQException">The server refused.</exception>
    public Task DropSlotAsync(string slot, CancellationToken cancellationToken) => AskAsync(
        async () =>
        {
            await _connection.DropReplicationSlot(slot, wait: false, cancellationToken);
            return 0;
        },
        $"The replication slot {slot} cannot be removed");

    /// <summary>
    /// Begins to receive. Nothing is acknowledged but what <see cref="ReportAsync"/> is told. That the server lives is seen by its signs of life, not by that
    /// its log grows.
    /// </summary>
    public void Start(string slot, uint timeline, Lsn from)
    {
        _connection.LastFlushedLsn = default;
        _messages = _connection.StartReplication(new PhysicalReplicationSlot(slot), new NpgsqlLogSequenceNumber(from.Value), _ended.Token, timeline).GetAsyncEnumerator(_ended.Token);
    }

    /// <summary>The next piece. Ask again only when the one before has come.</summary>
    /// <exception cref="WalRemovedException">The server has taken it away.</exception>
    /// <exception cref="BackupIQException"><c>RepositoryBusy</c>: somebody else receives by that slot. <c>SourceServer</c>: the server ended it, or is away.</exception>
    public Task<WalMessage> ReceiveAsync()
    {
        Task<WalMessage> asked = AskAsync(NextAsync, "The log does not come any more");
        _asked = asked;
        return asked;
    }

    /// <summary>Tells the server up to where its log is durable; it may take away what is before.</summary>
    public async Task ReportAsync(Lsn durable, CancellationToken cancellationToken)
    {
        _connection.LastFlushedLsn = new NpgsqlLogSequenceNumber(durable.Value);
        await AskAsync(
            async () =>
            {
                await _connection.SendStatusUpdate(cancellationToken);
                return 0;
            },
            "The server does not hear what is durable");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        if (_asked is not null)
        {
            await Task.WhenAny(_asked);
        }

        if (_messages is not null)
        {
            try
            {
                await _messages.DisposeAsync();
            }
            catch (Exception e) when (e is NpgsqlException or OperationCanceledException or IOException or InvalidOperationException)
            {
                // It was over already.
            }
        }

        await _connection.DisposeAsync();
        _ended.Dispose();
    }

    private async Task<WalMessage> NextAsync()
    {
        if (!await _messages!.MoveNextAsync())
        {
            throw new BackupIQException(ErrorCodes.SourceServer, "The server ended its log");
        }

        XLogDataMessage message = _messages.Current;
        int length = 0;
        for (int read; (read = await message.Data.ReadAsync(_room.AsMemory(length), _ended.Token)) > 0;)
        {
            length += read;
            if (length == _room.Length)
            {
                Array.Resize(ref _room, _room.Length < LargestMessage ? 2 * _room.Length : throw new BackupIQException(ErrorCodes.SourceServer, "The server sent more at once than any server does"));
            }
        }

        return new WalMessage(new Lsn((ulong)message.WalStart), new Lsn((ulong)message.WalEnd), _room.AsMemory(0, length));
    }

    private static async Task<T> AskAsync<T>(Func<Task<T>> ask, string what)
    {
        try
        {
            return await ask();
        }
        catch (PostgresException e) when (e.SqlState == UndefinedFile)
        {
            throw new WalRemovedException($"The server has taken away what was not received yet: {e.MessageText}", e);
        }
        catch (PostgresException e) when (e.SqlState == ObjectInUse)
        {
            throw new BackupIQException(ErrorCodes.RepositoryBusy, $"{what}: {e.MessageText}", "Somebody receives by it; name another one with --slot.", e);
        }
        catch (Exception e) when (e is NpgsqlException or SocketException or IOException or TimeoutException or InvalidOperationException)
        {
            throw PostgresSession.Failure(e, what);
        }
    }
}
