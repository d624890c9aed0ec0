using System.Net;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.S3;
using BackupIQ.Testing.Network;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Puts in parts that break, on Ceph behind a proxy that breaks them: what had arrived is not sent again, and nothing is left behind.</summary>
public sealed class S3MultipartTests(RadosGateway gateway) : IAsyncLifetime
{
    private const int Part = 5 << 20;
    private const int Whole = (7 * Part) + 1000;
    private static readonly StorageKey Key = new("d/1");
    private static readonly byte[] Content = Bytes(Whole);

    private readonly List<IAsyncDisposable> _open = [];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await gateway.StartAsync();
        Environment.SetEnvironmentVariable("AWS_ACCESS_KEY_ID", RadosGateway.AccessKey);
        Environment.SetEnvironmentVariable("AWS_SECRET_ACCESS_KEY", RadosGateway.SecretKey);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (IAsyncDisposable open in _open)
        {
            await open.DisposeAsync();
        }
    }

    [Theory]
    [InlineData(ProxyFaultKind.ResetRequest, 3 << 20, Part)]
    [InlineData(ProxyFaultKind.ResetAnswer, 0, 0)]
    [InlineData(ProxyFaultKind.Answer503, 0, Part)]
    public async Task APutThatBrokeGoesOnWithThePartsThatArrived(ProxyFaultKind kind, int amount, long again)
    {
        string bucket = await gateway.MakeBucketAsync();
        int broken = 0;
        HttpFaultProxy proxy = Proxy(request => IsPart(request, 3) && Interlocked.Increment(ref broken) == 1 ? new ProxyFault(kind, amount) : ProxyFault.None);
        S3Backend storage = await ConnectAsync(proxy, bucket);
        long sent = 0;
        StorageException failure = await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(Key, Counted(count => sent += count), Token));
        failure.IsTransient.ShouldBeTrue();
        using AmazonS3Client client = gateway.NewClient();
        (await UploadsAsync(client, bucket)).Length.ShouldBe(1, "it waits to be taken up");

        (await storage.PutAsync(Key, Counted(count => sent += count), Token)).ShouldBe(PutOutcome.Stored);
        sent.ShouldBeInRange(Whole, Whole + again);
        (await UploadsAsync(client, bucket)).ShouldBeEmpty();
        await ShouldBeThereAsync(storage);
    }

    [Fact]
    public async Task PartsOfOtherBytesAreSentAgain()
    {
        string bucket = await gateway.MakeBucketAsync();
        int broken = 0;
        HttpFaultProxy proxy = Proxy(request => IsPart(request, 6) && Interlocked.Increment(ref broken) == 1 ? new ProxyFault(ProxyFaultKind.Answer500) : ProxyFault.None);
        S3Backend storage = await ConnectAsync(proxy, bucket);
        await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(Key, Counted(static _ => { }), Token));

        // The same name and length, and another first part.
        byte[] other = [.. Content];
        other[17] ^= 1;
        long sent = 0;
        (await storage.PutAsync(Key, StorageContent.FromBytes(other).Watched((count, _) => Count(count, moved => sent += moved)), Token)).ShouldBe(PutOutcome.Stored);
        sent.ShouldBeInRange(Part + 1, Whole - Part);
        byte[] found = new byte[Whole];
        await storage.ReadAsync(Key, 0, found, Token);
        found.AsSpan().SequenceEqual(other).ShouldBeTrue();
    }

    [Fact]
    public async Task PutTogetherWithoutAnAnswerItFindsItself()
    {
        string bucket = await gateway.MakeBucketAsync();
        int broken = 0;
        HttpFaultProxy proxy = Proxy(request => request.Method == "POST" && request.Target.Contains("uploadId=", StringComparison.Ordinal) && Interlocked.Increment(ref broken) == 1
            ? new ProxyFault(ProxyFaultKind.ResetAnswer)
            : ProxyFault.None);
        S3Backend storage = await ConnectAsync(proxy, bucket);
        await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(Key, Counted(static _ => { }), Token));
        long sent = 0;
        (await storage.PutAsync(Key, Counted(count => sent += count), Token)).ShouldBe(PutOutcome.Stored);
        sent.ShouldBe(0);
        await ShouldBeThereAsync(storage);
    }

    [Fact]
    public async Task WhatNobodyTookUpIsTakenBackWhenTheStorageIsClosed()
    {
        string bucket = await gateway.MakeBucketAsync();
        HttpFaultProxy proxy = Proxy(static request => IsPart(request, 3) ? new ProxyFault(ProxyFaultKind.Answer500) : ProxyFault.None);
        S3Backend storage = await ConnectAsync(proxy, bucket);
        await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(Key, Counted(static _ => { }), Token));
        using AmazonS3Client client = gateway.NewClient();
        (await UploadsAsync(client, bucket)).Length.ShouldBe(1);
        _open.Remove(storage);
        await storage.DisposeAsync();
        (await UploadsAsync(client, bucket)).ShouldBeEmpty();
    }

    [Fact]
    public async Task UploadsOfTheDeadAreTakenBackAfterTwoDaysAndOthersNever()
    {
        string bucket = await gateway.MakeBucketAsync();
        using AmazonS3Client client = gateway.NewClient();
        foreach (string name in (string[])["p/d/dead", "p/Somebody Else's", "q/d/other"])
        {
            await client.InitiateMultipartUploadAsync(new InitiateMultipartUploadRequest { BucketName = bucket, Key = name }, Token);
        }

        HttpFaultProxy direct = Proxy(static _ => ProxyFault.None);
        (await (await ConnectAsync(direct, bucket)).PutAsync(Key, Counted(static _ => { }), Token)).ShouldBe(PutOutcome.Stored);
        (await UploadsAsync(client, bucket)).ShouldBe(["p/Somebody Else's", "p/d/dead", "q/d/other"], "they may be somebody's who lives");

        S3Backend later = await ConnectAsync(direct, bucket, new Later(TimeSpan.FromDays(2.1)));
        (await later.PutAsync(new StorageKey("d/2"), Counted(static _ => { }), Token)).ShouldBe(PutOutcome.Stored);
        (await UploadsAsync(client, bucket)).ShouldBe(["p/Somebody Else's", "q/d/other"]);
    }

    private static bool IsPart(ProxyRequest request, int number) =>
        request.Method == "PUT" && request.Target.Contains($"partNumber={number}&", StringComparison.OrdinalIgnoreCase);

    private static StorageContent Counted(Action<int> count) => StorageContent.FromBytes(Content).Watched((moved, _) => Count(moved, count));

    private static ValueTask Count(int moved, Action<int> count)
    {
        lock (Content)
        {
            count(moved);
        }

        return ValueTask.CompletedTask;
    }

    private static async Task<string[]> UploadsAsync(AmazonS3Client client, string bucket) =>
        [.. ((await client.ListMultipartUploadsAsync(new ListMultipartUploadsRequest { BucketName = bucket }, Token)).MultipartUploads ?? []).Select(static upload => upload.Key).Order(StringComparer.Ordinal)];

    private static async Task ShouldBeThereAsync(S3Backend storage)
    {
        byte[] found = new byte[Whole + 1];
        (await storage.ReadAsync(Key, 0, found, Token)).ShouldBe(Whole);
        found.AsSpan(0, Whole).SequenceEqual(Content).ShouldBeTrue();
    }

    private static byte[] Bytes(int length)
    {
        byte[] bytes = new byte[length];
        new Random(5).NextBytes(bytes);
        return bytes;
    }

    private HttpFaultProxy Proxy(Func<ProxyRequest, ProxyFault> script)
    {
        HttpFaultProxy proxy = new(new IPEndPoint(IPAddress.Loopback, gateway.Endpoint.Port), script);
        _open.Insert(0, proxy);
        return proxy;
    }

    private async Task<S3Backend> ConnectAsync(HttpFaultProxy proxy, string bucket, TimeProvider? time = null)
    {
        S3Backend storage = await S3Backend.ConnectAsync(
            StorageUrl.Parse($"s3://{bucket}/p?endpoint=http://{proxy.EndPoint}"), S3Conformance.Layout, new S3Limits(1 << 20, Part, 2), time ?? TimeProvider.System, Token);
        _open.Insert(0, storage);
        return storage;
    }

    /// <summary>A clock that is ahead.</summary>
    private sealed class Later(TimeSpan by) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + by;
    }
}
