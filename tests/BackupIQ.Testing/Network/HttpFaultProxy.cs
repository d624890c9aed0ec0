using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace BackupIQ.Testing.Network;

/// <summary>
/// Stands between HTTP/1.1 clients and a server, and lets go wrong what a script says, request by request. Everything else it passes on as it is, but
/// <c>Expect: 100-continue</c>, which it answers itself.
/// </summary>
/// <param name="server">The server, on plain HTTP.</param>
/// <param name="script">As <see cref="FaultProxy.Script"/>.</param>
public sealed class HttpFaultProxy(IPEndPoint server, Func<ProxyRequest, ProxyFault> script) : FaultProxy(server, script)
{
    /// <summary>What can go wrong with a request of HTTP: everything.</summary>
    public static IReadOnlyList<ProxyFaultKind> Kinds { get; } = [.. Enum.GetValues<ProxyFaultKind>().Where(static kind => kind != ProxyFaultKind.None)];

    private protected override async Task ServeAsync(Socket socket)
    {
        using Connection connection = new(socket);
        try
        {
            while (await connection.Client.ReadHeadAsync(Stopped) is { } head && await RequestAsync(connection, head))
            {
            }
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // One of the two went away.
        }
    }

    // False: the connection is over.
    private async Task<bool> RequestAsync(Connection connection, HttpHead head)
    {
        string[] words = head.FirstLine.Split(' ');
        ProxyRequest request = Next(words[0], words[1]);
        ProxyFault fault = Script(request);
        if (fault.Kind == ProxyFaultKind.HalfOpen)
        {
            Count(fault);
            await Task.Delay(Timeout.InfiniteTimeSpan, Stopped);
        }

        if (head["Expect"] is not null)
        {
            head["Expect"] = null;
            await connection.Client.Stream.WriteAsync("HTTP/1.1 100 Continue\r\n\r\n"u8.ToArray(), Stopped);
        }

        bool isForTheServer = fault.Kind is not (ProxyFaultKind.ResetRequest or ProxyFaultKind.Answer500 or ProxyFaultKind.Answer503);
        HttpWire? server = isForTheServer ? await connection.ServerAsync(Server, Stopped) : null;
        if (server is not null)
        {
            await server.Stream.WriteAsync(head.ToBytes(), Stopped);
        }

        long seen = 0;
        bool isWhole = await connection.Client.ReadBodyAsync(
            head.Framing(BodyFraming.None),
            head.Length ?? 0,
            async (piece, isData) =>
            {
                if (fault.Kind == ProxyFaultKind.ResetRequest && seen + piece.Length > fault.Amount)
                {
                    throw Reset(connection, fault);
                }

                if (isData)
                {
                    FlipBit(piece.Span, seen, fault, ProxyFaultKind.CorruptRequest);
                    seen += piece.Length;
                }

                if (server is not null)
                {
                    await server.Stream.WriteAsync(piece, Stopped);
                }
            },
            Stopped);
        if (!isWhole)
        {
            return false;
        }

        switch (fault.Kind)
        {
            case ProxyFaultKind.ResetRequest:
                throw Reset(connection, fault);
            case ProxyFaultKind.Answer500:
                Count(fault);
                return await AnswerAsync(connection, request, "500 Internal Server Error", "");
            case ProxyFaultKind.Answer503:
                Count(fault);
                return await AnswerAsync(connection, request, "503 Service Unavailable", string.Create(CultureInfo.InvariantCulture, $"Retry-After: {fault.Amount}\r\n"));
            default:
                return await AnswerAsync(connection, server!, request, fault);
        }
    }

    private async Task<bool> AnswerAsync(Connection connection, ProxyRequest request, string status, string header)
    {
        string body = request.Method == "HEAD" ? "" : "The proxy's script says so.";
        string answer = $"HTTP/1.1 {status}\r\n{header}Content-Type: text/plain\r\nContent-Length: {body.Length}\r\n\r\n{body}";
        await connection.Client.Stream.WriteAsync(Encoding.ASCII.GetBytes(answer), Stopped);
        return true;
    }

    private async Task<bool> AnswerAsync(Connection connection, HttpWire server, ProxyRequest request, ProxyFault fault)
    {
        HttpHead? answer = await server.ReadHeadAsync(Stopped);
        while (answer is not null && answer.FirstLine.Contains(" 100 ", StringComparison.Ordinal))
        {
            answer = await server.ReadHeadAsync(Stopped);
        }

        if (answer is null)
        {
            return false;
        }

        string status = answer.FirstLine.Split(' ')[1];
        bool hasNoBody = request.Method == "HEAD" || status is "204" or "304";
        BodyFraming framing = hasNoBody ? BodyFraming.None : answer.Framing(BodyFraming.UntilClose);
        long length = answer.Length ?? 0;
        long shown = long.MaxValue;
        if (fault.Kind == ProxyFaultKind.WrongLength && framing == BodyFraming.Length && length + fault.Amount >= 0)
        {
            Count(fault);
            shown = length + fault.Amount;
            answer["Content-Length"] = shown.ToString(CultureInfo.InvariantCulture);
        }

        Limited client = new(this, connection, fault);
        if (fault.Kind == ProxyFaultKind.Hang)
        {
            Count(fault);
            await server.ReadBodyAsync(framing, length, static (_, _) => Task.CompletedTask, Stopped);
            await connection.ClientIsGoneAsync(Stopped);
            return false;
        }

        await client.WriteAsync(answer.ToBytes(), isBody: false);
        long seen = 0;
        bool isWhole = await server.ReadBodyAsync(
            framing,
            length,
            async (piece, isData) =>
            {
                if (isData)
                {
                    FlipBit(piece.Span, seen, fault, ProxyFaultKind.CorruptAnswer);
                    piece = piece[..(int)Math.Min(piece.Length, Math.Max(0, shown - seen))];
                    seen += piece.Length;
                }

                await client.WriteAsync(piece, isBody: true);
            },
            Stopped);

        // A connection whose answer was shorter or longer than it said is good for nothing more; nor is one that the server closes.
        return isWhole && !client.IsOver && shown == long.MaxValue && framing != BodyFraming.UntilClose
            && answer["Connection"]?.Contains("close", StringComparison.OrdinalIgnoreCase) != true;
    }

    private IOException Reset(Connection connection, ProxyFault fault)
    {
        Count(fault);
        connection.Reset();
        return new IOException("Reset by the script.");
    }

    /// <summary>The way back to the client, which may be slow or end.</summary>
    private sealed class Limited(HttpFaultProxy proxy, Connection connection, ProxyFault fault)
    {
        private long _sent;
        private long _body;

        /// <summary>The answer was cut off.</summary>
        public bool IsOver { get; private set; }

        public async Task WriteAsync(ReadOnlyMemory<byte> bytes, bool isBody)
        {
            if (IsOver)
            {
                return;
            }

            bool resets = fault.Kind == ProxyFaultKind.ResetAnswer && _sent + bytes.Length > fault.Amount;
            bool ends = fault.Kind == ProxyFaultKind.TruncateAnswer && isBody && _body + bytes.Length > fault.Amount;
            ReadOnlyMemory<byte> part = resets ? bytes[..(int)(fault.Amount - _sent)] : ends ? bytes[..(int)(fault.Amount - _body)] : bytes;
            if (fault.Kind == ProxyFaultKind.Slow && isBody)
            {
                if (_body == 0)
                {
                    proxy.Count(fault);
                }

                await Task.Delay(TimeSpan.FromSeconds(bytes.Length / (double)fault.Amount), proxy.Stopped);
            }

            await connection.Client.Stream.WriteAsync(part, proxy.Stopped);
            _sent += bytes.Length;
            _body += isBody ? bytes.Length : 0;
            if (resets)
            {
                throw proxy.Reset(connection, fault);
            }

            if (ends)
            {
                proxy.Count(fault);
                IsOver = true;
            }
        }
    }

    private sealed class Connection : IDisposable
    {
        private readonly Socket _client;
        private Socket? _server;
        private HttpWire? _wire;

        public Connection(Socket client)
        {
            _client = client;
            client.NoDelay = true;
            Client = new HttpWire(new NetworkStream(client));
        }

        public HttpWire Client { get; }

        public async Task<HttpWire> ServerAsync(IPEndPoint server, CancellationToken cancellationToken)
        {
            if (_wire is null)
            {
                _server = new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                await _server.ConnectAsync(server, cancellationToken);
                _wire = new HttpWire(new NetworkStream(_server));
            }

            return _wire;
        }

        /// <summary>Waits until the client has given up.</summary>
        public async Task ClientIsGoneAsync(CancellationToken cancellationToken)
        {
            byte[] more = new byte[1024];
            while (await _client.ReceiveAsync(more, cancellationToken) > 0)
            {
            }
        }

        /// <summary>Closes with a reset in place of an orderly end.</summary>
        public void Reset() => FaultProxy.Reset(_client);

        public void Dispose()
        {
            _client.Dispose();
            _server?.Dispose();
        }
    }
}
