using System.Buffers.Binary;
using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Streaming;

/// <summary>A message of the server.</summary>
/// <param name="Kind">Its first byte.</param>
/// <param name="Body">What follows; of the receiver until the next message is read.</param>
internal readonly record struct WireMessage(char Kind, ReadOnlyMemory<byte> Body);

/// <summary>
/// A connection to a server in PostgreSQL's protocol 3.0, as far as a base backup needs it: the client library knows no BASE_BACKUP. It is opened for
/// physical replication. Whatever the server says is checked before it is believed.
/// </summary>
internal sealed class WireConnection : IAsyncDisposable
{
    private const int Version3 = 196_608;
    private const int TlsRequest = 80_877_103;
    private const int MostBytes = 64 << 20;

    private static readonly TimeSpan ConnectPatience = TimeSpan.FromSeconds(15);

    private readonly PostgresDsn _dsn;
    private Stream _stream;
    private byte[] _buffer = new byte[1 << 16];

    private WireConnection(PostgresDsn dsn, Stream stream)
    {
        _dsn = dsn;
        _stream = stream;
    }

    /// <summary>Hears what the server says beside its answers.</summary>
    public Action<string>? OnNotice { get; set; }

    /// <summary>Connects and logs in.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it cannot be reached, or is none. <c>Authorization</c>: it lets the role not in.</exception>
    public static async Task<WireConnection> OpenAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(ConnectPatience);
        WireConnection? connection = null;
        try
        {
            connection = new WireConnection(dsn, await ConnectAsync(dsn, patience.Token));
            await connection.SecureAsync(patience.Token);
            await connection.LogInAsync(password ?? dsn.StoredPassword("replication"), patience.Token);
            return connection;
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
        {
            await DropAsync(connection);
            cancellationToken.ThrowIfCancellationRequested();
            throw new BackupIQException(
                ErrorCodes.SourceServer, $"The server at {dsn.Place} cannot be connected to for replication: {(e is OperationCanceledException ? "it did not answer" : e.Message)}", null, e);
        }
        catch
        {
            await DropAsync(connection);
            throw;
        }
    }

    /// <summary>Sends a command; its answer is read by <see cref="ReadAsync"/>.</summary>
    public Task SendQueryAsync(string command, CancellationToken cancellationToken) => SendAsync('Q', [.. Encoding.UTF8.GetBytes(command), 0], cancellationToken);

    /// <summary>The next message; notices and parameters are passed over.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: the connection ended, or the server refused.</exception>
    public async Task<WireMessage> ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            WireMessage message = await ReadAnyAsync(cancellationToken);
            switch (message.Kind)
            {
                case 'N':
                    OnNotice?.Invoke(WireError.Read(message.Body.Span).Message);
                    break;
                case 'S' or 'K' or 'A':
                    break;
                case 'E':
                    throw WireError.Read(message.Body.Span).ToException(_dsn.Place);
                default:
                    return message;
            }
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _stream.DisposeAsync();

    /// <summary>The columns of a row, null for NULL.</summary>
    /// <exception cref="BackupIQException"><c>SourceServer</c>: it is none.</exception>
    public static string?[] ReadRow(ReadOnlySpan<byte> body)
    {
        WireReader reader = new(body);
        string?[] row = new string?[reader.Int16()];
        for (int i = 0; i < row.Length; i++)
        {
            int length = reader.Int32();
            row[i] = length < 0 ? null : Encoding.UTF8.GetString(reader.Bytes(length));
        }

        return row;
    }

    private static async Task DropAsync(WireConnection? connection)
    {
        if (connection is not null)
        {
            await connection.DisposeAsync();
        }
    }

    private static async Task<Stream> ConnectAsync(PostgresDsn dsn, CancellationToken cancellationToken)
    {
        bool isLocal = dsn.SocketPath is not null;
        Socket socket = isLocal ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) : new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (dsn.SocketPath is { } path)
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
            }
            else
            {
                // A server may say nothing for minutes until its checkpoint is done: that it is gone the system finds out.
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
                socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 30);
                socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
                socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 6);
                await socket.ConnectAsync(dsn.Address, dsn.Port, cancellationToken);
            }

            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    // As libpq does it: what sslmode asks for, and no more where a server has no TLS.
    private async Task SecureAsync(CancellationToken cancellationToken)
    {
        string mode = _dsn.Field("sslmode") ?? "prefer";
        if (_dsn.SocketPath is not null || mode is "disable" or "allow")
        {
            return;
        }

        byte[] request = new byte[8];
        BinaryPrimitives.WriteInt32BigEndian(request, request.Length);
        BinaryPrimitives.WriteInt32BigEndian(request.AsSpan(4), TlsRequest);
        await _stream.WriteAsync(request, cancellationToken);
        byte[] answer = new byte[1];
        await _stream.ReadExactlyAsync(answer, cancellationToken);
        if (answer[0] != 'S')
        {
            if (answer[0] != 'N' || mode != "prefer")
            {
                throw new BackupIQException(ErrorCodes.SourceServer, $"The server at {_dsn.Place} has no TLS, and sslmode is {mode}", "Give the server a certificate, or set another sslmode.");
            }

            return;
        }

        SslStream tls = new(_stream, leaveInnerStreamOpen: false);
        _stream = tls;
        using X509Certificate2? own = _dsn.Field("sslcert") is { } certificate ? X509Certificate2.CreateFromPemFile(certificate, _dsn.Field("sslkey")) : null;
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions
            {
                TargetHost = _dsn.Field("host"),
                ClientCertificates = own is null ? null : [own],
                RemoteCertificateValidationCallback = (_, remote, chain, errors) => IsTrusted(mode, remote, chain, errors),
            },
            cancellationToken);
    }

    private bool IsTrusted(string mode, X509Certificate? remote, X509Chain? chain, SslPolicyErrors errors)
    {
        if (mode is "prefer" || (mode is "require" && _dsn.Field("sslrootcert") is null))
        {
            // Such a connection hides what is said from who listens, and proves nothing; PostgreSQL means it so.
            return remote is not null;
        }

        if (_dsn.Field("sslrootcert") is { } file && file != "system" && remote is not null && chain is not null)
        {
            using X509Chain own = new();
            own.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            own.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            own.ChainPolicy.CustomTrustStore.ImportFromPemFile(file);
            own.ChainPolicy.ExtraStore.AddRange(chain.ChainPolicy.ExtraStore);
            using X509Certificate2 leaf = new(remote);
            errors = own.Build(leaf) ? errors & ~SslPolicyErrors.RemoteCertificateChainErrors : errors | SslPolicyErrors.RemoteCertificateChainErrors;
        }

        return (mode == "verify-full" ? errors : errors & ~SslPolicyErrors.RemoteCertificateNameMismatch) == SslPolicyErrors.None;
    }

    private async Task LogInAsync(string? password, CancellationToken cancellationToken)
    {
        List<byte> startup = [.. new byte[4], .. BigEndian(Version3)];
        foreach ((string key, string value) in ((string, string)[])[("user", _dsn.User), ("replication", "true"), ("application_name", _dsn.Field("application_name") ?? "backupiq"), ("options", _dsn.Field("options") ?? "")])
        {
            if (value.Length > 0)
            {
                startup.AddRange([.. Encoding.UTF8.GetBytes(key), 0, .. Encoding.UTF8.GetBytes(value), 0]);
            }
        }

        startup.Add(0);
        byte[] bytes = [.. startup];
        BinaryPrimitives.WriteInt32BigEndian(bytes, bytes.Length);
        await _stream.WriteAsync(bytes, cancellationToken);
        ScramExchange? scram = null;
        for (WireMessage message; (message = await ReadAsync(cancellationToken)).Kind != 'Z';)
        {
            if (message.Kind != 'R')
            {
                throw Unexpected(message);
            }

            if (Authenticate(message.Body.Span, password, ref scram) is { } answer)
            {
                await SendAsync('p', answer, cancellationToken);
            }
        }
    }

    // What to answer to a request of the login; null: nothing.
    private byte[]? Authenticate(ReadOnlySpan<byte> body, string? password, ref ScramExchange? scram)
    {
        WireReader reader = new(body);
        int kind = reader.Int32();
        if (kind is not (0 or 12) && password is null)
        {
            throw new BackupIQException(ErrorCodes.Authorization, $"The server at {_dsn.Place} asks for a password for replication, and there is none", "Give password-from in the server's entry, PGPASSWORD, or a line in ~/.pgpass.");
        }

        switch (kind)
        {
            case 0 when scram is null or { IsProven: true }:
                return null;
            case 3:
                return [.. Encoding.UTF8.GetBytes(password!), 0];
            case 5:
                return [.. Encoding.ASCII.GetBytes(Md5Answer(_dsn.User, password!, reader.Bytes(4))), 0];
            case 10:
                string[] mechanisms = Encoding.ASCII.GetString(reader.Rest()).Split('\0', StringSplitOptions.RemoveEmptyEntries);
                if (scram is not null || !mechanisms.Contains(ScramExchange.Mechanism))
                {
                    break;
                }

                scram = new ScramExchange(password!);
                byte[] first = scram.First();
                return [.. Encoding.ASCII.GetBytes(ScramExchange.Mechanism), 0, .. BigEndian(first.Length), .. first];
            case 11 when scram is not null:
                return scram.Answer(reader.Rest());
            case 12 when scram is not null:
                scram.Finish(reader.Rest());
                return null;
        }

        throw new BackupIQException(ErrorCodes.Authorization, $"The server at {_dsn.Place} asks for a login that is not known here (kind {kind})", "Known are trust, peer, cert, password, md5 and scram-sha-256.");
    }

    /// <summary>What the oldest way of asking wants to hear: <c>md5</c> and a digest of the digest of password and role, and the server's salt.</summary>
    internal static string Md5Answer(string user, string password, ReadOnlySpan<byte> salt)
    {
        byte[] inner = Encoding.ASCII.GetBytes(Digest(Encoding.UTF8.GetBytes(password + user)));
        return "md5" + Digest([.. inner, .. salt]);
    }

    [System.Diagnostics.CodeAnalysis.SuppressMessage("Security", "CA5351", Justification = "It is what the protocol asks for.")]
    private static string Digest(byte[] bytes) => Convert.ToHexStringLower(MD5.HashData(bytes));

    private async Task SendAsync(char kind, byte[] body, CancellationToken cancellationToken)
    {
        byte[] message = [(byte)kind, .. BigEndian(body.Length + 4), .. body];
        await _stream.WriteAsync(message, cancellationToken);
        await _stream.FlushAsync(cancellationToken);
    }

    private async Task<WireMessage> ReadAnyAsync(CancellationToken cancellationToken)
    {
        await _stream.ReadExactlyAsync(_buffer.AsMemory(0, 5), cancellationToken);
        char kind = (char)_buffer[0];
        int length = BinaryPrimitives.ReadInt32BigEndian(_buffer.AsSpan(1)) - 4;
        if (length is < 0 or > MostBytes || !char.IsAsciiLetter(kind))
        {
            throw new BackupIQException(ErrorCodes.SourceServer, $"What answers at {_dsn.Place} does not speak PostgreSQL's protocol");
        }

        if (length > _buffer.Length)
        {
            _buffer = new byte[length];
        }

        await _stream.ReadExactlyAsync(_buffer.AsMemory(0, length), cancellationToken);
        return new WireMessage(kind, _buffer.AsMemory(0, length));
    }

    internal BackupIQException Unexpected(in WireMessage message) =>
        new(ErrorCodes.SourceServer, string.Create(CultureInfo.InvariantCulture, $"The server at {_dsn.Place} answered with a message '{message.Kind}' that has no place there"));

    private static byte[] BigEndian(int number)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, number);
        return bytes;
    }
}
