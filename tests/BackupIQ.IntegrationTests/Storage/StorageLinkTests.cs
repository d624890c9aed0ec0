using System.Net;
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
