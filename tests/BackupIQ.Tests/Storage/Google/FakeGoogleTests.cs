using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using BackupIQ.Testing.Servers.Google;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Google;

/// <summary>The fake that other tests rely on keeps to Google's published description and documentation.</summary>
public sealed class FakeGoogleTests : IAsyncLifetime
{
    private readonly HttpClient _http = new(new SocketsHttpHandler { AllowAutoRedirect = false });
    private FakeGoogleStorage? _storage;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private FakeGoogleStorage Storage => _storage!;

    public async ValueTask InitializeAsync()
    {
        _storage = await FakeGoogleStorage.StartAsync();
        _storage.MakeBucket("b");
        _http.BaseAddress = _storage.Address;
        JsonNode person = JsonNode.Parse(_storage.Accounts.Person("me"))!;
        using FormUrlEncodedContent form = new(new Dictionary<string, string>
        {
            ["grant_type"] = "refresh_token",
            ["client_id"] = FakeGoogleAccounts.ClientId,
            ["client_secret"] = FakeGoogleAccounts.ClientSecret,
            ["refresh_token"] = person["refresh_token"]!.GetValue<string>(),
        });
        using HttpResponseMessage token = await _http.PostAsync(new Uri(_storage.Address, "/token"), form, Token);
        string value = JsonDocument.Parse(await token.Content.ReadAsByteArrayAsync(Token)).RootElement.GetProperty("access_token").GetString()!;
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", value);
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await Storage.DisposeAsync();
    }

    [Fact]
    public async Task WhatTheyAnswerIsInThePublishedDescription()
    {
        GoogleDiscovery.Storage.Source.ShouldContain("discovery document storage:v1");
        GoogleDiscovery.Drive.Source.ShouldContain("discovery document drive:v3");
        await using FakeGoogleDrive drive = await FakeGoogleDrive.StartAsync();
        foreach ((FakeGoogle fake, GoogleDiscovery discovery, string service) in ((FakeGoogle, GoogleDiscovery, string)[])[(Storage, GoogleDiscovery.Storage, "/storage/v1/"), (drive, GoogleDiscovery.Drive, "/drive/v3/")])
        {
            fake.MethodIds.Order().ShouldBe(discovery.Methods.Select(static method => method.Id).Order());
            foreach (GoogleMethod method in discovery.Methods)
            {
                string path = service + method.Path.Replace("{bucket}", "b%2Fc", StringComparison.Ordinal).Replace("{object}", "d%2Fe", StringComparison.Ordinal).Replace("{fileId}", "f", StringComparison.Ordinal);
                (GoogleMethod found, IReadOnlyDictionary<string, string> names, _) = discovery.Find(method.HttpMethod, path).ShouldNotBeNull();
                found.Id.ShouldBe(method.Id);
                names.GetValueOrDefault("object", "d/e").ShouldBe("d/e");
            }
        }
    }

    [Theory]
    [InlineData("GET", "/storage/v1/b/b/o?limit=5", HttpStatusCode.BadRequest)]
    [InlineData("GET", "/storage/v1/b/b/o?maxResults=5", HttpStatusCode.OK)]
    [InlineData("GET", "/storage/v1/b/b/o?maxresults=5", HttpStatusCode.BadRequest)]
    [InlineData("GET", "/storage/v2/b/b/o", HttpStatusCode.NotFound)]
    [InlineData("PUT", "/storage/v1/b/b/o/x", HttpStatusCode.NotFound)]
    [InlineData("GET", "/storage/v1/b/nothing/o", HttpStatusCode.NotFound)]
    [InlineData("GET", "/storage/v1/b/b/o?pageToken=!", HttpStatusCode.BadRequest)]
    [InlineData("POST", "/upload/storage/v1/b/b/o?name=x", HttpStatusCode.BadRequest)]
    public async Task WhatIsNotInItIsRefused(string method, string target, HttpStatusCode status)
    {
        using HttpRequestMessage request = new(new HttpMethod(method), target);
        using HttpResponseMessage answer = await _http.SendAsync(request, Token);
        answer.StatusCode.ShouldBe(status);
    }

    [Fact]
    public async Task WithoutAGoodTokenNothingIsAnswered()
    {
        foreach (string? token in (string?[])["ya29.guessed", null])
        {
            using HttpClient stranger = new();
            stranger.DefaultRequestHeaders.Authorization = token is null ? null : new AuthenticationHeaderValue("Bearer", token);
            (await stranger.GetAsync(new Uri(Storage.Address, "/storage/v1/b/b"), Token)).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        }

        Storage.ClockSkew = TimeSpan.FromHours(2);
        (await _http.GetAsync("/storage/v1/b/b", Token)).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task AConditionOnTheGenerationIsKept()
    {
        (await PutAsync("x", "one", "&ifGenerationMatch=0")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await PutAsync("x", "two", "&ifGenerationMatch=0")).StatusCode.ShouldBe(HttpStatusCode.PreconditionFailed);
        string generation = Storage.Describe("b", "x")!["generation"]!.GetValue<string>();
        (await PutAsync("x", "two", "&ifGenerationMatch=17")).StatusCode.ShouldBe(HttpStatusCode.PreconditionFailed);
        (await PutAsync("x", "two", $"&ifGenerationMatch={generation}")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await _http.GetStringAsync("/storage/v1/b/b/o/x?alt=media", Token)).ShouldBe("two");
        (await _http.DeleteAsync($"/storage/v1/b/b/o/x?ifGenerationMatch={generation}", Token)).StatusCode.ShouldBe(HttpStatusCode.PreconditionFailed);
    }

    [Fact]
    public async Task ItsChecksumsAreTheServicesOwn()
    {
        await PutAsync("x", "123456789", "");

        // The check value of CRC-32C is E3069283.
        Storage.Describe("b", "x")!["crc32c"]!.GetValue<string>().ShouldBe(Convert.ToBase64String(Convert.FromHexString("E3069283")));
        Storage.Describe("b", "x")!["md5Hash"]!.GetValue<string>().ShouldBe("JfnnlDI7RTiF9RgfG2JNCw==");
    }

    [Fact]
    public async Task AnUploadIsTakenUpAsTheDocumentationSays()
    {
        using HttpResponseMessage opened = await _http.PostAsync("/upload/storage/v1/b/b/o?uploadType=resumable&name=x&ifGenerationMatch=0", new StringContent("{}", Encoding.UTF8, "application/json"), Token);
        Uri session = opened.Headers.Location!;
        byte[] bytes = new byte[600_000];
        (await SendAsync(0, 262_144, 600_000)).ShouldBe((308, "bytes=0-262143"));
        (await SendAsync(null, 0, 600_000)).ShouldBe((308, "bytes=0-262143"));

        // Neither a gap nor a part that is no multiple of 256 KiB is taken.
        (await SendAsync(300_000, 262_144, 600_000)).Status.ShouldBe(400);
        (await SendAsync(262_144, 1000, 600_000)).Status.ShouldBe(400);

        // Who was first has the name, even if the upload was opened before.
        await PutAsync("x", "first", "&ifGenerationMatch=0");
        (await SendAsync(262_144, 337_856, 600_000)).Status.ShouldBe(412);
        (await SendAsync(null, 0, 600_000)).Status.ShouldBe(410);
        (await _http.GetStringAsync("/storage/v1/b/b/o/x?alt=media", Token)).ShouldBe("first");

        async Task<(int Status, string? Range)> SendAsync(int? offset, int count, int total)
        {
            using HttpRequestMessage request = new(HttpMethod.Put, session) { Content = new ByteArrayContent(bytes, 0, count) };
            request.Content.Headers.ContentRange = offset is { } from ? new ContentRangeHeaderValue(from, from + count - 1, total) : new ContentRangeHeaderValue(total);
            using HttpResponseMessage answer = await _http.SendAsync(request, Token);
            return ((int)answer.StatusCode, answer.Headers.NonValidated.TryGetValues("Range", out HeaderStringValues range) ? range.ToString() : null);
        }
    }

    [Fact]
    public async Task OnlyTheFieldsThatAreAskedForComeBack()
    {
        await PutAsync("x/1", "one", "");
        (await _http.GetStringAsync("/storage/v1/b/b/o?fields=nextPageToken,items(name,size)", Token)).ShouldBe("""{"items":[{"name":"x/1","size":"3"}]}""");
        (await _http.GetStringAsync("/storage/v1/b/b/o/x%2F1?fields=name", Token)).ShouldBe("""{"name":"x/1"}""");
    }

    private async Task<HttpResponseMessage> PutAsync(string name, string content, string options)
    {
        using StringContent body = new(content);
        return await _http.PostAsync($"/upload/storage/v1/b/b/o?uploadType=media&name={Uri.EscapeDataString(name)}{options}", body, Token);
    }
}
