using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Addresses by which anybody reads one object for a time, from Ceph, Azurite and a FAKE of Google's, fetched by somebody who has nothing else.</summary>
public sealed class StorageLinkTests(RadosGateway gateway, AzuriteFixture azurite, GoogleStorageFixture google) : IDisposable
{
    private const string Key = "config/a.00000001";

    private readonly ProgramUser _user = new();
    private readonly HttpClient _somebody = new(new SocketsHttpHandler());

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _user.Dispose();
        _somebody.Dispose();
    }

    [Theory]
    [InlineData("s3", "X-Amz-Signature=")]
    [InlineData("azure", "sig=")]
    [InlineData("gs", "X-Goog-Signature=")]
    public async Task ALinkLetsAnybodyReadOneObjectUntilItEnds(string kind, string signature)
    {
        await MakeRepositoryAsync(kind);
        ProgramRun plain = _user.RunPlain("storage", "link", Key, _user.Repository, "-vv").ShouldEndWith(0);
        string address = plain.Text.Trim();
        address.ShouldContain(signature);
        plain.Error.ShouldNotContain(signature);
        plain.Error.ShouldContain("until");
        byte[] bytes = await _somebody.GetByteArrayAsync(new Uri(address), Token);

        JsonElement told = _user.RunPlain("storage", "link", Key, "--repo", _user.Repository, "--for", "2s", "--json").ShouldEndWith(0).Json();
        told.GetProperty("key").GetString().ShouldBe(Key);
        told.GetProperty("size").GetInt64().ShouldBe(bytes.Length);
        DateTimeOffset until = told.GetProperty("until").GetDateTimeOffset();
        until.ShouldBe(TimeProvider.System.GetUtcNow(), TimeSpan.FromSeconds(10));
        Uri brief = new(told.GetProperty("url").GetString()!);

        // It opens this object and no other, and ends.
        (await StatusAsync(new Uri(address.Replace(Key, "config/b.00000001", StringComparison.Ordinal)))).ShouldNotBe(HttpStatusCode.OK);
        (await StatusAsync(new Uri(address.Split('?')[0]))).ShouldNotBe(HttpStatusCode.OK);
        TimeSpan left = until - TimeProvider.System.GetUtcNow() + TimeSpan.FromSeconds(1.5);
        await Task.Delay(left > TimeSpan.Zero ? left : TimeSpan.Zero, Token);
        (await StatusAsync(brief)).ShouldNotBe(HttpStatusCode.OK);
        (await StatusAsync(new Uri(address))).ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task AnIdentityLinksByAKeyThatTheServiceGivesItForThat()
    {
        string? program = Azurite.Program(Path.Combine(AppContext.BaseDirectory, "../../../.."));
        ServerProcess.Require(program is not null, "Azurite is not installed.");
        (string authority, string certificate, string key) = (_user.At("ca.pem"), _user.At("server.pem"), _user.At("server.key"));
        TestAuthority.Write(authority, certificate, key);
        using Azurite server = Azurite.StartForIdentities(program!, certificate, key);
        using FakeIdentityEndpoint identity = new();
        foreach ((string name, string value) in identity.Environment)
        {
            _user.Environment[name] = value;
        }

        // Whoever trusts the authority, and has nothing else.
        using X509Certificate2 root = X509CertificateLoader.LoadCertificateFromFile(authority);
        using HttpClient somebody = new(new SocketsHttpHandler
        {
            SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, CustomTrustStore = { root }, RevocationMode = X509RevocationMode.NoCheck } },
        });
        string endpoint = server.Endpoint.Replace("http:", "https:", StringComparison.Ordinal);
        using HttpRequestMessage make = new(HttpMethod.Put, $"{endpoint}/identities?restype=container");
        make.Headers.Add("x-ms-version", "2021-12-02");
        make.Headers.Authorization = new AuthenticationHeaderValue("Bearer", FakeIdentityEndpoint.NewToken());
        (await somebody.SendAsync(make, Token)).StatusCode.ShouldBe(HttpStatusCode.Created);
        _user.Repository = $"{AzuriteFixture.UrlBy(endpoint, "identities", "p")}&auth=identity&ca={Uri.EscapeDataString(authority)}";
        _user.WithNewRepository();

        string address = _user.RunPlain("storage", "link", Key, _user.Repository).ShouldEndWith(0).Text.Trim();
        address.ShouldContain("skoid=11059fcc-5514-4800-b5f8-49808b9cfab6");
        address.ShouldContain("spr=https&");
        (await somebody.GetByteArrayAsync(new Uri(address), Token)).ShouldNotBeEmpty();
        using HttpResponseMessage other = await somebody.GetAsync(new Uri(address.Replace(Key, "config/b.00000001", StringComparison.Ordinal)), Token);
        other.StatusCode.ShouldNotBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task WhatCannotBeLinkedIsToldOnOneLine()
    {
        await MakeRepositoryAsync("s3");
        Fail(2, "seven days", "storage", "link", Key, _user.Repository, "--for", "8d");
        Fail(2, "is no time", "storage", "link", Key, _user.Repository, "--for", "soon");
        Fail(2, "no object's name", "storage", "link", "../etc", _user.Repository);
        Fail(15, "no object s/nothing", "storage", "link", "s/nothing", _user.Repository);
        Fail(2, "gives no links", "storage", "link", Key, _user.MakeFolder("local"));

        // Who signed in to Google has no key to sign with.
        await MakeRepositoryAsync("gs");
        _user.Environment["GOOGLE_APPLICATION_CREDENTIALS"] = _user.Write("me.json", (await google.GetAsync()).Accounts.Person("me"));
        Fail(2, "service account", "storage", "link", Key, _user.Repository);
    }

    private void Fail(int code, string text, params string[] words)
    {
        ProgramRun run = _user.RunPlain(words).ShouldEndWith(code);
        run.Error.ShouldContain(text);
        run.Text.ShouldBeEmpty();
    }

    private async Task<HttpStatusCode> StatusAsync(Uri address)
    {
        using HttpResponseMessage answer = await _somebody.GetAsync(address, Token);
        return answer.StatusCode;
    }

    private async Task MakeRepositoryAsync(string kind)
    {
        (string url, IReadOnlyDictionary<string, string> environment) = kind switch
        {
            "s3" => (gateway.Url(await gateway.MakeBucketAsync(), "p"), RadosGateway.Environment),
            "azure" => (await azurite.UrlAsync(await azurite.NewContainerAsync(), "p"), AzuriteFixture.Environment),
            _ => (await google.UrlAsync(await google.NewBucketAsync(), "p%20q/%C3%BC"), google.Environment),
        };
        _user.Repository = url;
        foreach ((string name, string value) in environment)
        {
            _user.Environment[name] = value;
        }

        _user.WithNewRepository();
    }
}
