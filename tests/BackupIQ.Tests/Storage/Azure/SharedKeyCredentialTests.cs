using System.Net.Http.Headers;
using BackupIQ.Storage.Remote.Azure;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Azure;

/// <summary>Signatures by account key, as Microsoft's "Authorize with Shared Key" shows them.</summary>
public sealed class SharedKeyCredentialTests
{
    [Fact]
    public void TheStringToSignIsThatOfTheReference()
    {
        // The reference's example of Get Container Metadata, with its date in x-ms-date.
        using HttpRequestMessage request = new(HttpMethod.Get, "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata");
        request.Headers.Add("x-ms-version", "2014-02-14");
        request.Headers.Add("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT");

        new SharedKeyCredential("myaccount", "a2V5").StringToSign(request).ShouldBe(
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2014-02-14\n/myaccount/mycontainer\ncomp:metadata\nrestype:container");
    }

    [Fact]
    public async Task HeadersOfAPutAreSignedTooAndTheResultIsThatOfAnIndependentComputation()
    {
        using HttpRequestMessage request = new(HttpMethod.Put, "http://127.0.0.1:10000/devstoreaccount1/c/p%20q/d/1?timeout=30&b=2&a=1");
        request.Headers.Add("x-ms-version", "2021-12-02");
        request.Headers.Add("x-ms-date", "Thu, 26 Nov 2026 01:00:00 GMT");
        request.Headers.Add("x-ms-blob-type", "BlockBlob");
        request.Headers.IfNoneMatch.Add(EntityTagHeaderValue.Any);
        request.Content = new ByteArrayContent([1, 2, 3]);
        request.Content.Headers.ContentMD5 = Convert.FromHexString("5289df737df57326fcdd22597afb1fac");
        SharedKeyCredential credential = new("devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==");
        credential.StringToSign(request).ShouldBe(
            "PUT\n\n\n3\nUonfc331cyb83SJZevsfrA==\n\n\n\n\n*\n\n\nx-ms-blob-type:BlockBlob\nx-ms-date:Thu, 26 Nov 2026 01:00:00 GMT\nx-ms-version:2021-12-02\n" +
            "/devstoreaccount1/devstoreaccount1/c/p%20q/d/1\na:1\nb:2\ntimeout:30");
        using HttpClient http = new(new SocketsHttpHandler());
        await credential.SignAsync(request, http, TestContext.Current.CancellationToken);

        // Python's hmac of the string above.
        request.Headers.Authorization!.ToString().ShouldBe("SharedKey devstoreaccount1:/dJ9KB1OT32AIKSM038ckzNK8Ix0713B8PsD1GSe7Hc=");
    }
}
