using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace BackupIQ.Testing.Network;

/// <summary>
/// Stands between HTTP/1.1 clients and a server, on loopback, and lets go wrong what a script says, request by request. Everything else it
/// passes on as it is, but <c>Expect: 100-continue</c>, which it answers itself.
/// </summary>
public sealed class FaultProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Task, bool> _connections = new();
    private readonly ConcurrentDictionary<ProxyFaultKind, int> _applied = new();
    private readonly IPEndPoint _server;
    private readonly Task _accepting;
    private int _requests;

    /// <summary>Begins to listen.</summary>
    /// <param name="server">The server, on plain HTTP.</param>
    /// <param name="script">Says for each request what goes wrong; called from many threads.</param>
    public FaultProxy(IPEndPoint server, Func<ProxyRequest, ProxyFault> script)
    {
        _server = server;
        Script = script;
        _listener.Start();
        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Where clients connect to.</summary>
    public IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndpoint;

    /// <summary>Says for each request what goes wrong.</summary>
    public Func<ProxyRequest, ProxyFault> Script { get; set; }

    /// <summary>Requests so far.</summary>
    public int Requests => _requests;

    /// <summary>How often each kind of fault came about.</summary>
    public IReadOnlyDictionary<ProxyFaultKind, int> Applied => _applied;

    /// <summary>Stops listening and drops all connections.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        await Task.WhenAll(_connections.Keys);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket client = await _listener.AcceptSocketAsync(_stop.Token);
                Task serving = Task.Run(() => ServeAsync(client));
                _connections.TryAdd(serving, true);
                _ = serving.ContinueWith(done => _connections.TryRemove(done, out _), TaskScheduler.Default);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or InvalidOperationException)
        {
            // It was stopped.
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using Connection connection = new(socket);
        try
        {
            while (await connection.Client.ReadHeadAsync(_stop.Token) is { } head && await RequestAsync(connection, head))
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
        ProxyRequest request = new(Interlocked.Increment(ref _requests) - 1, words[0], words[1]);
        ProxyFault fault = Script(request);
        if (fault.Kind == ProxyFaultKind.HalfOpen)
        {
            Count(fault);
            await Task.Delay(Timeout.InfiniteTimeSpan, _stop.Token);
        }

        if (head["Expect"] is not null)
        {
            head["Expect"] = null;
            await connection.Client.Stream.WriteAsync("HTTP/1.1 100 Continue\r\n\r\n"u8.ToArray(), _stop.Token);
        }

        bool isForTheServer = fault.Kind is not (ProxyFaultKind.ResetRequest or ProxyFaultKind.Answer500 or ProxyFaultKind.Answer503);
        HttpWire? server = isForTheServer ? await connection.ServerAsync(_server, _stop.Token) : null;
        if (server is not null)
        {
            await server.Stream.WriteAsync(head.ToBytes(), _stop.Token);
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
                    await server.Stream.WriteAsync(piece, _stop.Token);
                }
            },
            _stop.Token);
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
        await connection.Client.Stream.WriteAsync(Encoding.ASCII.GetBytes(answer), _stop.Token);
        return true;
    }

    private async Task<bool> AnswerAsync(Connection connection, HttpWire server, ProxyRequest request, ProxyFault fault)
    {
        HttpHead? answer = await server.ReadHeadAsync(_stop.Token);
        while (answer is not null && answer.FirstLine.Contains(" 100 ", StringComparison.Ordinal))
        {
            answer = await server.ReadHeadAsync(_stop.Token);
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
            await server.ReadBodyAsync(framing, length, static (_, _) => Task.CompletedTask, _stop.Token);
            await connection.ClientIsGoneAsync(_stop.Token);
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
            _stop.Token);

        // A connection whose answer was shorter or longer than it said is good for nothing more; nor is one that the server closes.
        return isWhole && !client.IsOver && shown == long.MaxValue && framing != BodyFraming.UntilClose
            && answer["Connection"]?.Contains("close", StringComparison.OrdinalIgnoreCase) != true;
    }

    private void FlipBit(Span<byte> piece, long offset, ProxyFault fault, ProxyFaultKind kind)
    {
        if (fault.Kind == kind && fault.Amount >= offset && fault.Amount < offset + piece.Length)
        {
            Count(fault);
            piece[(int)(fault.Amount - offset)] ^= 0x08;
        }
    }

    private IOException Reset(Connection connection, ProxyFault fault)
    {
        Count(fault);
        connection.Reset();
        return new IOException("Reset by the script.");
    }

    private void Count(ProxyFault fault) => _applied.AddOrUpdate(fault.Kind, 1, static (_, count) => count + 1);

    /// <summary>The way back to the client, which may be slow or end.</summary>
    private sealed class Limited(FaultProxy proxy, Connection connection, ProxyFault fault)
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

                await Task.Delay(TimeSpan.FromSeconds(bytes.Length / (double)fault.Amount), proxy._stop.Token);
            }

            await connection.Client.Stream.WriteAsync(part, proxy._stop.Token);
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
        public void Reset()
        {
            _client.LingerState = new LingerOption(true, 0);
            _client.Close();
        }

        public void Dispose()
        {
            _client.Dispose();
            _server?.Dispose();
        }
    }
}
