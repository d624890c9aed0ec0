using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using BackupIQ.Testing.Network;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Network;

/// <summary>The tool that other tests rely on does what it says, whatever is spoken through it: here a server that keeps what it is sent and sends it back.</summary>
public sealed class TcpFaultProxyTests : IAsyncLifetime
{
    private readonly EchoServer _server = new();
    private readonly TcpFaultProxy _proxy;

    public TcpFaultProxyTests() => _proxy = new TcpFaultProxy(_server.EndPoint, static _ => ProxyFault.None);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _proxy.DisposeAsync();
        _server.Dispose();
    }

    [Fact]
    public async Task WithoutAFaultEverythingPassesWholeAndEachTurnIsOneRequest()
    {
        using TcpClient client = await ConnectAsync();
        foreach (int length in (int[])[0, 1, 1000, 300_000])
        {
            (await SayAsync(client, Bytes(length))).ShouldBe(Bytes(length));
        }

        _proxy.Requests.ShouldBe(4);
        _proxy.Applied.ShouldBeEmpty();
    }

    [Theory]
    [InlineData(ProxyFaultKind.ResetRequest, false)]
    [InlineData(ProxyFaultKind.ResetAnswer, true)]
    [InlineData(ProxyFaultKind.TruncateAnswer, true)]
    public async Task AConnectionThatBreaksInAnAnswerHasTakenTheRequestThereAndOneThatBreaksInARequestHasNot(ProxyFaultKind kind, bool isTaken)
    {
        _proxy.Script = _ => new ProxyFault(kind, 50_000);
        using TcpClient client = await ConnectAsync();
        await Should.ThrowAsync<IOException>(() => SayAsync(client, Bytes(100_000)));
        _proxy.Applied[kind].ShouldBe(1);
        _server.Taken.ShouldBe(isTaken ? 1 : 0);
    }

    [Theory]
    [InlineData(ProxyFaultKind.CorruptRequest)]
    [InlineData(ProxyFaultKind.CorruptAnswer)]
    public async Task OneBitIsWrongWhereTheScriptSaysSo(ProxyFaultKind kind)
    {
        // Behind the length.
        _proxy.Script = request => request.Number == 1 ? new ProxyFault(kind, 4 + 777) : ProxyFault.None;
        using TcpClient client = await ConnectAsync();
        (await SayAsync(client, Bytes(10))).ShouldBe(Bytes(10));
        byte[] answer = await SayAsync(client, Bytes(1000));
        Enumerable.Range(0, 1000).Where(at => answer[at] != Bytes(1000)[at]).ShouldBe([777]);
    }

    [Theory]
    [InlineData(ProxyFaultKind.Hang, true)]
    [InlineData(ProxyFaultKind.HalfOpen, false)]
    public async Task AHangingServerHasDoneItsWorkAndAHalfOpenConnectionHasSeenNothing(ProxyFaultKind kind, bool isTaken)
    {
        _proxy.Script = _ => new ProxyFault(kind);
        using TcpClient client = await ConnectAsync();
        Task<byte[]> said = SayAsync(client, Bytes(1000));
        (await Task.WhenAny(said, Task.Delay(TimeSpan.FromSeconds(0.5), Token))).ShouldNotBe(said);
        _server.Taken.ShouldBe(isTaken ? 1 : 0);
        client.Close();
        await Should.ThrowAsync<Exception>(() => said);
    }

    [Fact]
    public async Task ASlowAnswerTakesItsTime()
    {
        _proxy.Script = static _ => new ProxyFault(ProxyFaultKind.Slow, 200_000);
        long began = System.Diagnostics.Stopwatch.GetTimestamp();
        using TcpClient client = await ConnectAsync();
        (await SayAsync(client, Bytes(100_000))).ShouldBe(Bytes(100_000));
        System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds.ShouldBeInRange(0.45, 20);
    }

    private async Task<TcpClient> ConnectAsync()
    {
        TcpClient client = new() { NoDelay = true };
        await client.ConnectAsync(_proxy.EndPoint, Token);
        return client;
    }

    private static async Task<byte[]> SayAsync(TcpClient client, byte[] bytes)
    {
        byte[] message = new byte[4 + bytes.Length];
        BinaryPrimitives.WriteInt32BigEndian(message, bytes.Length);
        bytes.CopyTo(message, 4);
        await client.GetStream().WriteAsync(message, Token);
        return await EchoServer.ReadAsync(client.GetStream());
    }

    private static byte[] Bytes(int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Reads messages, each behind its length, and sends them back.</summary>
    private sealed class EchoServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private int _taken;

        public EchoServer()
        {
            _listener.Start();
            _ = Task.Run(AcceptAsync);
        }

        public IPEndPoint EndPoint => (IPEndPoint)_listener.LocalEndpoint;

        /// <summary>Messages that came whole.</summary>
        public int Taken => _taken;

        public void Dispose() => _listener.Stop();

        public static async Task<byte[]> ReadAsync(Stream stream)
        {
            byte[] length = new byte[4];
            await stream.ReadExactlyAsync(length);
            byte[] bytes = new byte[BinaryPrimitives.ReadInt32BigEndian(length)];
            await stream.ReadExactlyAsync(bytes);
            return bytes;
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true)
                {
                    TcpClient client = await _listener.AcceptTcpClientAsync();
                    _ = Task.Run(() => ServeAsync(client));
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                // It was stopped.
            }
        }

        private async Task ServeAsync(TcpClient client)
        {
            using (client)
            {
                try
                {
                    while (true)
                    {
                        byte[] bytes = await ReadAsync(client.GetStream());
                        Interlocked.Increment(ref _taken);
                        byte[] answer = new byte[4 + bytes.Length];
                        BinaryPrimitives.WriteInt32BigEndian(answer, bytes.Length);
                        bytes.CopyTo(answer, 4);
                        await client.GetStream().WriteAsync(answer);
                    }
                }
                catch (IOException)
                {
                    // The client is gone.
                }
            }
        }
    }
}
