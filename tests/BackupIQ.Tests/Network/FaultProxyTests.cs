using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using BackupIQ.Testing.Network;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Network;

/// <summary>The tool that other tests rely on does what it says.</summary>
public sealed class FaultProxyTests : IAsyncLifetime
{
    private readonly ObjectServer _server = new();
    private readonly HttpFaultProxy _proxy;
    private readonly HttpClient _client;

    public FaultProxyTests()
    {
        _proxy = new HttpFaultProxy(_server.EndPoint, static _ => ProxyFault.None);
        _client = new HttpClient { BaseAddress = new Uri($"http://{_proxy.EndPoint}"), Timeout = TimeSpan.FromSeconds(30) };
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _proxy.DisposeAsync();
        _server.Dispose();
    }

    [Fact]
    public async Task WithoutAFaultEverythingPassesWholeOnConnectionsThatStay()
    {
        for (int i = 0; i < 20; i++)
        {
            byte[] bytes = Bytes(i * 7919);
            using HttpRequestMessage put = new(HttpMethod.Put, $"/o{i}") { Content = i % 3 == 0 ? new StreamContent(new Unseekable(bytes)) : new ByteArrayContent(bytes) };
            put.Headers.TransferEncodingChunked = i % 3 == 0;
            put.Headers.ExpectContinue = i % 2 == 0;
            (await _client.SendAsync(put, Token)).StatusCode.ShouldBe(HttpStatusCode.OK);
            (await _client.GetByteArrayAsync($"/o{i}", Token)).ShouldBe(bytes);
            (await _client.GetByteArrayAsync($"/o{i}?chunked", Token)).ShouldBe(bytes);
            using HttpResponseMessage head = await _client.SendAsync(new HttpRequestMessage(HttpMethod.Head, $"/o{i}"), Token);
            head.StatusCode.ShouldBe(HttpStatusCode.OK);
        }

        (await _client.GetAsync("/absent", Token)).StatusCode.ShouldBe(HttpStatusCode.NotFound);

        // Where the server has closed a connection meanwhile, the client asks again by itself.
        _proxy.Requests.ShouldBeInRange(81, 90);
        _proxy.Applied.ShouldBeEmpty();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(50_000)]
    public async Task AResetRequestNeverReachesTheServer(long after)
    {
        await FailsAsync(new ProxyFault(ProxyFaultKind.ResetRequest, after), () => PutAsync("/x", Bytes(100_000)));
        _server.Objects.ShouldBeEmpty();
        _proxy.Applied[ProxyFaultKind.ResetRequest].ShouldBe(1);
        await PutAsync("/x", Bytes(100_000));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(60)]
    public async Task AResetAnswerIsLostAfterTheServerDidWhatWasAsked(long after)
    {
        await FailsAsync(new ProxyFault(ProxyFaultKind.ResetAnswer, after), () => PutAsync("/x", Bytes(1000)));
        _server.Objects["/x"].ShouldBe(Bytes(1000));
    }

    [Fact]
    public async Task ErrorsAreAnsweredByTheProxyAlone()
    {
        Next(new ProxyFault(ProxyFaultKind.Answer500));
        using HttpResponseMessage internalError = await _client.PutAsync("/x", new ByteArrayContent(Bytes(1000)), Token);
        internalError.StatusCode.ShouldBe(HttpStatusCode.InternalServerError);
        Next(new ProxyFault(ProxyFaultKind.Answer503, 7));
        using HttpResponseMessage busy = await _client.PutAsync("/x", new ByteArrayContent(Bytes(1000)), Token);
        busy.StatusCode.ShouldBe(HttpStatusCode.ServiceUnavailable);
        busy.Headers.RetryAfter.ShouldNotBeNull().Delta.ShouldBe(TimeSpan.FromSeconds(7));
        _server.Objects.ShouldBeEmpty();
    }

    [Fact]
    public async Task ASlowAnswerTakesItsTime()
    {
        await PutAsync("/x", Bytes(100_000));
        Next(new ProxyFault(ProxyFaultKind.Slow, 200_000));
        long began = System.Diagnostics.Stopwatch.GetTimestamp();
        (await _client.GetByteArrayAsync("/x", Token)).ShouldBe(Bytes(100_000));
        System.Diagnostics.Stopwatch.GetElapsedTime(began).TotalSeconds.ShouldBeInRange(0.45, 20);
    }

    [Fact]
    public async Task ATruncatedOrMislabelledAnswerIsShortOrCut()
    {
        await PutAsync("/x", Bytes(100_000));
        await FailsAsync(new ProxyFault(ProxyFaultKind.TruncateAnswer, 40_000), () => _client.GetByteArrayAsync("/x", Token));
        await FailsAsync(new ProxyFault(ProxyFaultKind.WrongLength, 10), () => _client.GetByteArrayAsync("/x", Token));

        // One that says it is shorter is so for everybody who does not know better.
        Next(new ProxyFault(ProxyFaultKind.WrongLength, -10));
        (await _client.GetByteArrayAsync("/x", Token)).ShouldBe(Bytes(100_000)[..^10]);
        (await _client.GetByteArrayAsync("/x", Token)).ShouldBe(Bytes(100_000));
    }

    [Fact]
    public async Task OneBitIsWrongWhereTheScriptSaysSo()
    {
        Next(new ProxyFault(ProxyFaultKind.CorruptRequest, 777));
        await PutAsync("/x", Bytes(1000));
        Differences(_server.Objects["/x"], Bytes(1000)).ShouldBe([777]);
        Next(new ProxyFault(ProxyFaultKind.CorruptAnswer, 999));
        Differences(await _client.GetByteArrayAsync("/x?chunked", Token), _server.Objects["/x"]).ShouldBe([999]);
    }

    [Fact]
    public async Task AHangingServerHasDoneItsWorkAndAHalfOpenConnectionHasSeenNothing()
    {
        await HangsAsync(new ProxyFault(ProxyFaultKind.Hang), "/hang");
        _server.Objects.ShouldContainKey("/hang");
        await HangsAsync(new ProxyFault(ProxyFaultKind.HalfOpen), "/half");
        _server.Objects.ShouldNotContainKey("/half");
        await PutAsync("/after", Bytes(10));
    }

    [Fact]
    public void AScriptFollowsFromItsSeedAndHasEveryKind()
    {
        ProxyFault[] Draw(int seed)
        {
            Func<ProxyRequest, ProxyFault> script = ProxyFault.Random(seed, 0.5);
            return [.. Enumerable.Range(0, 1000).Select(i => script(new ProxyRequest(i, "GET", "/")))];
        }

        Draw(1).ShouldBe(Draw(1));
        Draw(1).ShouldNotBe(Draw(2));
        Draw(1).Count(static f => f.Kind == ProxyFaultKind.None).ShouldBeInRange(400, 600);
        Draw(1).Select(static f => f.Kind).Distinct().Count().ShouldBe(Enum.GetValues<ProxyFaultKind>().Length);
    }

    [Fact]
    public async Task ManyClientsAtOnceWithRandomFaultsGetWhatTheyAskedForOrAnError()
    {
        byte[] bytes = Bytes(150_000);
        await PutAsync("/x", bytes);
        _proxy.Script = ProxyFault.Random(
            5, 0.5, ProxyFaultKind.ResetRequest, ProxyFaultKind.ResetAnswer, ProxyFaultKind.Answer500, ProxyFaultKind.Answer503, ProxyFaultKind.TruncateAnswer);
        int whole = 0, failed = 0;
        await Parallel.ForAsync(0, 400, new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (_, token) =>
        {
            try
            {
                (await _client.GetByteArrayAsync("/x", token)).AsSpan().SequenceEqual(bytes).ShouldBeTrue();
                Interlocked.Increment(ref whole);
            }
            catch (HttpRequestException)
            {
                Interlocked.Increment(ref failed);
            }
        });
        (whole + failed).ShouldBe(400);
        whole.ShouldBeGreaterThan(150);
        failed.ShouldBeGreaterThan(50);
    }

    private void Next(ProxyFault fault)
    {
        int next = _proxy.Requests;
        _proxy.Script = request => request.Number == next ? fault : ProxyFault.None;
    }

    private async Task PutAsync(string name, byte[] bytes)
    {
        using HttpResponseMessage answer = await _client.PutAsync(name, new ByteArrayContent(bytes), Token);
        answer.StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    private async Task FailsAsync(ProxyFault fault, Func<Task> call)
    {
        Next(fault);
        await Should.ThrowAsync<HttpRequestException>(call);
    }

    private async Task HangsAsync(ProxyFault fault, string name)
    {
        Next(fault);
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(2));
        await Should.ThrowAsync<OperationCanceledException>(() => _client.PutAsync(name, new ByteArrayContent(Bytes(1000)), patience.Token));
    }

    private static int[] Differences(byte[] one, byte[] other)
    {
        one.Length.ShouldBe(other.Length);
        return [.. Enumerable.Range(0, one.Length).Where(i => one[i] != other[i])];
    }

    private static byte[] Bytes(int length)
    {
        byte[] bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }

    /// <summary>A small web server that keeps what is put.</summary>
    private sealed class ObjectServer : IDisposable
    {
        private readonly HttpListener _listener = new();
        private readonly Task _serving;

        public ObjectServer()
        {
            // The listener takes no port 0: one that was free a moment ago.
            using TcpListener probe = new(IPAddress.Loopback, 0);
            probe.Start();
            EndPoint = (IPEndPoint)probe.LocalEndpoint;
            probe.Stop();
            _listener.Prefixes.Add($"http://{EndPoint}/");
            _listener.Start();
            _serving = Task.Run(ServeAsync);
        }

        public IPEndPoint EndPoint { get; }

        public ConcurrentDictionary<string, byte[]> Objects { get; } = new();

        public void Dispose()
        {
            _listener.Close();
            _serving.Wait(TimeSpan.FromSeconds(10));
        }

        private async Task ServeAsync()
        {
            while (_listener.IsListening)
            {
                try
                {
                    HttpListenerContext context = await _listener.GetContextAsync();
                    _ = Task.Run(() => AnswerAsync(context));
                }
                catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or InvalidOperationException)
                {
                    return;
                }
            }
        }

        private async Task AnswerAsync(HttpListenerContext context)
        {
            try
            {
                string name = context.Request.Url!.AbsolutePath;
                if (context.Request.HttpMethod == "PUT")
                {
                    using MemoryStream body = new();
                    await context.Request.InputStream.CopyToAsync(body);
                    if (context.Request.ContentLength64 >= 0 && body.Length != context.Request.ContentLength64)
                    {
                        return;
                    }

                    Objects[name] = body.ToArray();
                }
                else if (Objects.TryGetValue(name, out byte[]? bytes))
                {
                    context.Response.SendChunked = context.Request.Url.Query.Length > 0;
                    if (!context.Response.SendChunked)
                    {
                        context.Response.ContentLength64 = bytes.Length;
                    }

                    if (context.Request.HttpMethod != "HEAD")
                    {
                        await context.Response.OutputStream.WriteAsync(bytes);
                    }
                }
                else
                {
                    context.Response.StatusCode = 404;
                }

                context.Response.Close();
            }
            catch (Exception e) when (e is HttpListenerException or IOException or ObjectDisposedException or InvalidOperationException)
            {
                // The client is gone.
            }
        }
    }

    /// <summary>A stream that does not know its length, so that it is sent in chunks.</summary>
    private sealed class Unseekable(byte[] bytes) : Stream
    {
        private readonly MemoryStream _bytes = new(bytes);

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count) => _bytes.Read(buffer, offset, count);

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
