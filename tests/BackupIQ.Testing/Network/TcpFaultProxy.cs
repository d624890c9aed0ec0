using System.Net;
using System.Net.Sockets;

namespace BackupIQ.Testing.Network;

/// <summary>
/// Stands between clients and a server that speak whatever they like over TCP. A request is what a client sends until the server answers: the script is asked
/// at its first bytes, and a fault whose byte it does not reach does not come about.
/// </summary>
/// <param name="server">The server.</param>
/// <param name="script">As <see cref="FaultProxy.Script"/>; its kinds are of <see cref="Kinds"/>.</param>
public sealed class TcpFaultProxy(IPEndPoint server, Func<ProxyRequest, ProxyFault> script) : FaultProxy(server, script)
{
    /// <summary>What can go wrong where nothing is known of what is said.</summary>
    public static IReadOnlyList<ProxyFaultKind> Kinds { get; } =
    [
        ProxyFaultKind.ResetRequest, ProxyFaultKind.ResetAnswer, ProxyFaultKind.Slow, ProxyFaultKind.TruncateAnswer, ProxyFaultKind.CorruptAnswer, ProxyFaultKind.CorruptRequest,
        ProxyFaultKind.Hang, ProxyFaultKind.HalfOpen,
    ];

    private protected override async Task ServeAsync(Socket socket)
    {
        using Conversation conversation = new(this, socket);
        await conversation.RunAsync();
    }

    /// <summary>One connection.</summary>
    private sealed class Conversation(TcpFaultProxy proxy, Socket client) : IDisposable
    {
        private readonly Socket _server = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        private readonly Lock _gate = new();
        private ProxyFault _fault = ProxyFault.None;
        private bool _isAnswering = true;
        private bool _isSilent;
        private long _asked;
        private long _answered;

        public async Task RunAsync()
        {
            client.NoDelay = true;
            try
            {
                await _server.ConnectAsync(proxy.Server, proxy.Stopped);

                // Where one side has ended, what the other still says is of no use to anybody.
                await Task.WhenAny(PumpAsync(client, _server, AskAsync), PumpAsync(_server, client, AnswerAsync)).Unwrap();
            }
            catch (Exception e) when (IsTheEnd(e))
            {
                // One of the two went away, or the script said so.
            }
        }

        public void Dispose()
        {
            client.Dispose();
            _server.Dispose();
        }

        // Gives each piece to be passed on; false ends the connection in an orderly way.
        private async Task PumpAsync(Socket from, Socket to, Func<Memory<byte>, Socket, Task<bool>> pass)
        {
            byte[] buffer = new byte[32 * 1024];
            try
            {
                while (await from.ReceiveAsync(buffer, proxy.Stopped) is > 0 and int count && await pass(buffer.AsMemory(0, count), to))
                {
                }
            }
            catch (Exception e) when (IsTheEnd(e))
            {
                // As at an orderly end: the other direction is told by the sockets being closed.
            }
        }

        private async Task<bool> AskAsync(Memory<byte> piece, Socket to)
        {
            ProxyFault fault;
            long at;
            lock (_gate)
            {
                if (_isAnswering)
                {
                    _isAnswering = false;
                    _fault = proxy.Script(proxy.Next("TURN", ""));
                    (_asked, _answered) = (0, 0);
                }

                (fault, at) = (_fault, _asked);
                _asked += piece.Length;
            }

            if (fault.Kind == ProxyFaultKind.HalfOpen)
            {
                proxy.Count(fault);
                await Task.Delay(Timeout.InfiniteTimeSpan, proxy.Stopped);
            }

            if (fault.Kind == ProxyFaultKind.ResetRequest && at + piece.Length > fault.Amount)
            {
                proxy.Count(fault);
                Reset(client);
                return false;
            }

            proxy.FlipBit(piece.Span, at, fault, ProxyFaultKind.CorruptRequest);
            await SendAsync(to, piece);
            return true;
        }

        private async Task<bool> AnswerAsync(Memory<byte> piece, Socket to)
        {
            ProxyFault fault;
            long at;
            bool isFirst;
            lock (_gate)
            {
                isFirst = !_isAnswering;
                _isAnswering = true;
                (fault, at) = (_fault, _answered);
                _answered += piece.Length;
            }

            if (_isSilent || fault.Kind == ProxyFaultKind.Hang)
            {
                if (!_isSilent)
                {
                    _isSilent = true;
                    proxy.Count(fault);
                }

                return true;
            }

            if (fault.Kind is ProxyFaultKind.ResetAnswer or ProxyFaultKind.TruncateAnswer && at + piece.Length > fault.Amount)
            {
                proxy.Count(fault);
                await SendAsync(to, piece[..(int)Math.Max(0, fault.Amount - at)]);
                if (fault.Kind == ProxyFaultKind.ResetAnswer)
                {
                    Reset(client);
                }

                return false;
            }

            if (fault.Kind == ProxyFaultKind.Slow)
            {
                if (isFirst)
                {
                    proxy.Count(fault);
                }

                await Task.Delay(TimeSpan.FromSeconds(piece.Length / (double)fault.Amount), proxy.Stopped);
            }

            proxy.FlipBit(piece.Span, at, fault, ProxyFaultKind.CorruptAnswer);
            await SendAsync(to, piece);
            return true;
        }

        private async Task SendAsync(Socket to, ReadOnlyMemory<byte> bytes)
        {
            while (!bytes.IsEmpty)
            {
                bytes = bytes[await to.SendAsync(bytes, proxy.Stopped)..];
            }
        }

        private static bool IsTheEnd(Exception e) => e is SocketException or OperationCanceledException or ObjectDisposedException;
    }
}
