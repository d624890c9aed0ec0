using System.Net;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.Azure;
using BackupIQ.Storage.Remote.Http;
using BackupIQ.Testing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Azure;

/// <summary>Tokens of Microsoft Entra, from a handler that answers as the services' references say.</summary>
public sealed class EntraTokensTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 26, 12, 0, 0, TimeSpan.Zero);

    private readonly Dictionary<string, string> _environment = new(StringComparer.Ordinal);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task AManagedIdentitysTokenIsFetchedOnceAndAgainBeforeItEnds()
    {
        List<HttpRequestMessage> asked = [];
        ManualTime time = new(Now);
        using HttpClient http = Answering(asked, HttpStatusCode.OK, """{"access_token":"eyJ0","expires_in":"3600","resource":"https://storage.azure.com/","token_type":"Bearer"}""");
        using TokenCredential credential = new(EntraTokens.FromManagedIdentity(_environment.GetValueOrDefault, "an id"), time);
        await SignAsync(credential, http);
        await SignAsync(credential, http);
        asked.ShouldHaveSingleItem().RequestUri!.AbsoluteUri.ShouldBe(
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F&client_id=an%20id");
        asked[0].Headers.GetValues("Metadata").ShouldBe(["true"]);

        time.Now = Now.AddMinutes(54);
        await SignAsync(credential, http);
        asked.Count.ShouldBe(1);
        time.Now = Now.AddMinutes(56);
        await SignAsync(credential, http);
        asked.Count.ShouldBe(2);
    }

    [Fact]
    public async Task AServicesIdentityIsAskedAtItsOwnEndpoint()
    {
        _environment["IDENTITY_ENDPOINT"] = "http://localhost:4141/msi/token";
        _environment["IDENTITY_HEADER"] = "a-header";
        List<HttpRequestMessage> asked = [];
        using HttpClient http = Answering(asked, HttpStatusCode.OK, """{"access_token":"eyJ0","expires_in":86399}""");
        (await EntraTokens.FromManagedIdentity(_environment.GetValueOrDefault, null).FetchAsync(http, Now, Token)).ShouldBe(new AccessToken("eyJ0", Now.AddSeconds(86_399)));
        asked[0].RequestUri!.Host.ShouldBe("localhost");
        asked[0].Headers.GetValues("X-IDENTITY-HEADER").ShouldBe(["a-header"]);
    }

    [Fact]
    public async Task AnApplicationAsksWithItsSecretOrItsFederatedToken()
    {
        _environment["AZURE_TENANT_ID"] = "tenant";
        _environment["AZURE_CLIENT_ID"] = "client";
        Should.Throw<BackupIQException>(() => EntraTokens.FromEnvironment(_environment.GetValueOrDefault)).Message.ShouldContain("AZURE_CLIENT_SECRET");
        _environment["AZURE_CLIENT_SECRET"] = "s&ecret";
        List<HttpRequestMessage> asked = [];
        using HttpClient http = Answering(asked, HttpStatusCode.OK, """{"access_token":"eyJ0","expires_in":3599}""");
        await EntraTokens.FromEnvironment(_environment.GetValueOrDefault).FetchAsync(http, Now, Token);
        asked[0].RequestUri!.AbsoluteUri.ShouldBe("https://login.microsoftonline.com/tenant/oauth2/v2.0/token");
        asked[0].Options.TryGetValue(new HttpRequestOptionsKey<string>("body"), out string? body).ShouldBeTrue();
        body.ShouldBe("grant_type=client_credentials&client_id=client&scope=https%3A%2F%2Fstorage.azure.com%2F.default&client_secret=s%26ecret");

        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, "federated\n");
            _environment["AZURE_FEDERATED_TOKEN_FILE"] = file;
            await EntraTokens.FromEnvironment(_environment.GetValueOrDefault).FetchAsync(http, Now, Token);
            asked[1].Options.TryGetValue(new HttpRequestOptionsKey<string>("body"), out body).ShouldBeTrue();
            body.ShouldContain("client_assertion=federated");
            body.ShouldNotContain("client_secret");
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData(HttpStatusCode.BadRequest, """{"error":"invalid_request"}""", false)]
    [InlineData(HttpStatusCode.OK, "<html>a login page</html>", false)]
    [InlineData(HttpStatusCode.OK, """{"access_token":"two\nlines"}""", false)]
    [InlineData(HttpStatusCode.OK, "[]", false)]
    [InlineData(HttpStatusCode.ServiceUnavailable, "", true)]
    [InlineData(HttpStatusCode.TooManyRequests, "", true)]
    public async Task WithoutATokenTheFailureSaysWhoseIsMissing(HttpStatusCode status, string body, bool isTransient)
    {
        using HttpClient http = Answering([], status, body);
        StorageException failure = await Should.ThrowAsync<StorageException>(
            async () => await EntraTokens.FromManagedIdentity(_environment.GetValueOrDefault, null).FetchAsync(http, Now, Token));
        failure.Message.ShouldContain("the managed identity of this machine");
        failure.IsTransient.ShouldBe(isTransient);
        failure.Code.ShouldBe(isTransient ? ErrorCodes.StorageConnection : ErrorCodes.StorageAuthentication);
    }

    private static async Task SignAsync(TokenCredential credential, HttpClient http)
    {
        using HttpRequestMessage request = new(HttpMethod.Get, "https://account.blob.core.windows.net/c");
        await credential.SignAsync(request, http, Token);
        request.Headers.Authorization!.ToString().ShouldBe("Bearer eyJ0");
    }

    private static HttpClient Answering(List<HttpRequestMessage> asked, HttpStatusCode status, string body) => new(new Answers(asked, status, body));

    private sealed class Answers(List<HttpRequestMessage> asked, HttpStatusCode status, string body) : HttpMessageHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            request.Options.Set(new HttpRequestOptionsKey<string>("body"), request.Content is null ? "" : await request.Content.ReadAsStringAsync(cancellationToken));
            asked.Add(request);
            return new HttpResponseMessage(status) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        }
    }
}
