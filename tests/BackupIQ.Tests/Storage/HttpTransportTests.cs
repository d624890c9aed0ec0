using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

/// <summary>How backends reach servers, and what failures of that mean.</summary>
public sealed class HttpTransportTests
{
    [Theory]
    [InlineData("http://127.0.0.1:9000", "", true)]
    [InlineData("http://localhost:9000", "", true)]
    [InlineData("http://[::1]:9000", "", true)]
    [InlineData("https://store.example", "", true)]
    [InlineData("http://store.example", "", false)]
    [InlineData("http://10.0.0.1", "?insecure=false", false)]
    [InlineData("http://10.0.0.1", "?insecure=true", true)]
    public void PlainHttpStaysOnThisMachineUnlessItIsAskedFor(string endpoint, string options, bool isAllowed)
    {
        StorageUrl url = StorageUrl.Parse("s3://bucket" + options);
        if (isAllowed)
        {
            using SocketsHttpHandler handler = HttpTransport.Create(new Uri(endpoint), url);
            handler.SslOptions.EnabledSslProtocols.ShouldBe(SslProtocols.Tls12 | SslProtocols.Tls13);
        }
        else
        {
            BackupIQException refusal = Should.Throw<BackupIQException>(() => HttpTransport.Create(new Uri(endpoint), url));
            refusal.Code.ShouldBe(ErrorCodes.Usage);
            refusal.Guidance.ShouldContain("https");
        }
    }

    [Fact]
    public void TheLeastTlsCanBeRaisedAndNotLowered()
    {
        using SocketsHttpHandler handler = HttpTransport.Create(new Uri("https://store.example"), StorageUrl.Parse("s3://bucket?tls-minimum=1.3"));
        handler.SslOptions.EnabledSslProtocols.ShouldBe(SslProtocols.Tls13);
        Should.Throw<BackupIQException>(() => HttpTransport.Create(new Uri("https://store.example"), StorageUrl.Parse("s3://bucket?tls-minimum=1.1"))).Code.ShouldBe(ErrorCodes.Usage);
    }

    [Fact]
    public void ADefaultIsForWhatTheUrlDoesNotSay()
    {
        StorageUrl url = StorageUrl.Parse("s3://bucket/p?tls-minimum=1.2");
        url.WithDefault("tls-minimum", "1.3").ShouldBeSameAs(url);
        StorageUrl more = url.WithDefault("timeout", "90");
        HttpTransport.SilenceOf(more).ShouldBe(TimeSpan.FromSeconds(90));
        HttpTransport.SilenceOf(url).ShouldBeNull();
        more.ToString().ShouldBe(url.ToString());
        Should.Throw<BackupIQException>(() => HttpTransport.SilenceOf(url.WithDefault("timeout", "0"))).Code.ShouldBe(ErrorCodes.Usage);
    }

    [Fact]
    public void AFileOfAuthoritiesThatHasNoneIsRefused()
    {
        using ScratchFolder scratch = new();
        string file = Path.Combine(scratch.Path, "ca.pem");
        File.WriteAllText(file, "no certificate\n");
        foreach (string ca in new[] { file, file + ".absent" })
        {
            StorageUrl url = StorageUrl.Parse($"s3://bucket?ca={ca}");
            BackupIQException refusal = Should.Throw<BackupIQException>(() => HttpTransport.Create(new Uri("https://store.example"), url));
            refusal.Code.ShouldBe(ErrorCodes.Usage);
            refusal.Details["file"].ShouldBe(ca);
        }
    }

    [Fact]
    public void FailuresOfTheNetworkSayWhetherToTryAgain()
    {
        HttpRequestException refused = new("x", new SocketException((int)SocketError.ConnectionRefused));
        HttpFailure.Of(refused, "It failed")!.Code.ShouldBe(ErrorCodes.StorageConnection);
        HttpFailure.Of(new IOException("reset"), "It failed")!.IsTransient.ShouldBeTrue();
        HttpFailure.Of(new TaskCanceledException(), "It failed")!.Code.ShouldBe(ErrorCodes.StorageTimeout);
        StorageException untrusted = HttpFailure.Of(new HttpRequestException("x", new AuthenticationException("chain")), "It failed")!;
        untrusted.IsTransient.ShouldBeFalse();
        untrusted.Guidance.ShouldContain("ca=FILE");
        HttpFailure.Of(new InvalidOperationException(), "It failed").ShouldBeNull();
    }

    [Theory]
    [InlineData(HttpStatusCode.Forbidden, "StorageAuthentication")]
    [InlineData(HttpStatusCode.TooManyRequests, "StorageConnection")]
    [InlineData(HttpStatusCode.ServiceUnavailable, "StorageConnection")]
    [InlineData(HttpStatusCode.GatewayTimeout, "StorageTimeout")]
    [InlineData(HttpStatusCode.InsufficientStorage, "StorageFull")]
    [InlineData(HttpStatusCode.NotFound, "StorageObjectNotFound")]
    [InlineData(HttpStatusCode.NotImplemented, "Storage")]
    public void AStatusIsACode(HttpStatusCode status, string code) => HttpFailure.CodeOf(status).Name.ShouldBe(code);

    [Fact]
    public void RetryAfterIsSecondsOrADateAndNeverEndless()
    {
        DateTimeOffset now = new(2026, 11, 22, 10, 0, 0, TimeSpan.Zero);
        HttpFailure.RetryAfter("7", now).ShouldBe(TimeSpan.FromSeconds(7));
        HttpFailure.RetryAfter("Sun, 22 Nov 2026 10:00:30 GMT", now).ShouldBe(TimeSpan.FromSeconds(30));
        HttpFailure.RetryAfter("Sun, 22 Nov 2026 09:00:00 GMT", now).ShouldBe(TimeSpan.Zero);
        HttpFailure.RetryAfter("99999999", now).ShouldBe(TimeSpan.FromHours(1));
        foreach (string? none in new[] { null, "", "-1", "soon", "99999999999999999999" })
        {
            HttpFailure.RetryAfter(none, now).ShouldBeNull(none);
        }
    }
}
