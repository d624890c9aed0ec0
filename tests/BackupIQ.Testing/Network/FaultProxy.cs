using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace BackupIQ.Testing.Network;

/// <summary>Stands between clients and a server, on loopback, and lets go wrong what a script says.</summary>
public abstract class FaultProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Task, bool> _connections = new();
    private readonly ConcurrentDictionary<ProxyFaultKind, int> _applied = new();
    private readonly Task _accepting;
    private int _requests;

    /// <summary>Begins to listen.</summary>
    private protected FaultProxy(IPEndPoint server, Func<ProxyRequest, ProxyFault> script)
    {
        Server = server;
        Script = script;
        _listener.Start();
        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Where clients connect to.</summary>
    public IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndpoint;

    /// <summary>Says for each request what goes wrong; called from many threads.</summary>
    public Func<ProxyRequest, ProxyFault> Script { get; set; }

    /// <summary>Requests so far.</summary>
    public int Requests => _requests;

    /// <summary>How often each kind of fault came about.</summary>
    public IReadOnlyDictionary<ProxyFaultKind, int> Applied => _applied;

    private protected IPEndPoint Server { get; }

    private protected CancellationToken Stopped => _stop.Token;

    /// <summary>Stops listening and drops all connections.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        await Task.WhenAll(_connections.Keys);
        _stop.Dispose();
    }

    /// <summary>Serves one connection to its end. Ends quietly when it is stopped, or one of the two goes away.</summary>
    private protected abstract Task ServeAsync(Socket socket);

    private protected ProxyRequest Next(string method, string target) => new(Interlocked.Increment(ref _requests) - 1, method, target);

    private protected void Count(ProxyFault fault) => _applied.AddOrUpdate(fault.Kind, 1, static (_, count) => count + 1);

    /// <summary>Makes one bit wrong where the fault is of this kind and says a byte of the piece, which begins at <paramref name="offset"/>.</summary>
    private protected void FlipBit(Span<byte> piece, long offset, ProxyFault fault, ProxyFaultKind kind)
    {
        if (fault.Kind == kind && fault.Amount >= offset && fault.Amount < offset + piece.Length)
        {
            Count(fault);
            piece[(int)(fault.Amount - offset)] ^= 0x08;
        }
    }

    /// <summary>Closes with a reset in place of an orderly end.</summary>
    private protected static void Reset(Socket socket)
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Close();
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
}
