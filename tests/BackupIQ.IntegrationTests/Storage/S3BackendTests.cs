using System.Text;
using System.Text.Json;
using Amazon.S3;
using Amazon.S3.Model;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Remote.S3;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>What is S3's own, on Ceph: races, parts, encryption, locks, versions, rights.</summary>
public sealed class S3BackendTests(RadosGateway gateway) : IAsyncLifetime, IDisposable
{
    private readonly ScratchFolder _scratch = new();
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

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task OfTwelveWritersForOneNameOneWins()
    {
        string url = gateway.Url(await gateway.MakeBucketAsync(), "p");
        S3Backend[] writers = new S3Backend[12];
        for (int i = 0; i < writers.Length; i++)
        {
            writers[i] = await ConnectAsync(url);
            writers[i].Capabilities.ConditionalPut.ShouldBeTrue();
        }

        for (int round = 0; round < 20; round++)
        {
            StorageKey key = new($"s/{round}");
            PutOutcome[] outcomes = await Task.WhenAll(writers.Select((writer, i) => Task.Run(
                async () => await writer.PutAsync(key, StorageContent.FromBytes(Bytes(500, i)), Token), Token)));
            outcomes.Count(static outcome => outcome == PutOutcome.Stored).ShouldBe(1);
            (await ReadAsync(writers[round % 12], key, 500)).ShouldBe(Bytes(500, Array.IndexOf(outcomes, PutOutcome.Stored)));
        }
    }

    [Fact]
    public async Task APutInPartsThatIsCancelledLeavesNeitherObjectNorParts()
    {
        string bucket = await gateway.MakeBucketAsync();
        S3Backend storage = await ConnectAsync(gateway.Url(bucket, "p"), new S3Limits(1 << 20, 5 << 20, 2));
        using CancellationTokenSource cancelled = CancellationTokenSource.CreateLinkedTokenSource(Token);
        long moved = 0;
        StorageContent content = StorageContent.FromBytes(Bytes(40 << 20, 1)).Watched((count, _) =>
        {
            if (Interlocked.Add(ref moved, count) > 12 << 20)
            {
                cancelled.Cancel();
            }

            return ValueTask.CompletedTask;
        });
        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.PutAsync(new StorageKey("d/1"), content, cancelled.Token));

        using AmazonS3Client client = gateway.NewClient();
        (await client.ListMultipartUploadsAsync(new ListMultipartUploadsRequest { BucketName = bucket }, Token)).MultipartUploads.ShouldBeNull();
        (await storage.StatAsync(new StorageKey("d/1"), Token)).ShouldBeNull();

        // The same object then goes in parts, and meets itself.
        StorageContent again = StorageContent.FromBytes(Bytes(40 << 20, 1));
        (await storage.PutAsync(new StorageKey("d/1"), again, Token)).ShouldBe(PutOutcome.Stored);
        (await storage.PutAsync(new StorageKey("d/1"), again, Token)).ShouldBe(PutOutcome.Stored);
        (await client.GetObjectMetadataAsync(bucket, "p/d/1", Token)).ETag.ShouldContain("-8");
    }

    [Fact]
    public async Task EncryptionThatTheServerIgnoresIsSaidWhenConnecting()
    {
        // Ceph answers such a put as if nothing had been asked.
        StorageException refusal = await Should.ThrowAsync<StorageException>(async () =>
            await ConnectAsync(gateway.Url(await gateway.MakeBucketAsync(), "p", "sse=AES256")));
        refusal.Message.ShouldContain("sse=AES256");
        refusal.IsTransient.ShouldBeFalse();
    }

    [Fact]
    public async Task AKeyServicesKeyEncryptsWholeObjectsAndThoseInParts()
    {
        string bucket = await gateway.MakeBucketAsync();
        S3Backend storage = await ConnectAsync(
            gateway.TlsUrl(bucket, "p", "ca=" + gateway.AuthorityFile, "sse=aws:kms", "sse-kms-id=" + RadosGateway.KmsKey), new S3Limits(1 << 20, 5 << 20, 2));
        using AmazonS3Client client = gateway.NewClient();
        foreach (int size in new[] { 1000, 12 << 20 })
        {
            StorageKey key = new($"d/{size}");
            (await storage.PutAsync(key, StorageContent.FromBytes(Bytes(size, 2)), Token)).ShouldBe(PutOutcome.Stored);
            (await ReadAsync(storage, key, size)).AsSpan().SequenceEqual(Bytes(size, 2)).ShouldBeTrue();
            (await client.GetObjectMetadataAsync(bucket, "p/" + key.Value, Token)).ServerSideEncryptionMethod.ShouldBe(ServerSideEncryptionMethod.AWSKMS);
        }
    }

    [Fact]
    public async Task WithoutTheCustomersKeyNothingIsRead()
    {
        string bucket = await gateway.MakeBucketAsync();
        string file = _scratch.Write("key", Bytes(32, 3));
        string[] tls = ["ca=" + gateway.AuthorityFile];
        S3Backend storage = await ConnectAsync(gateway.TlsUrl(bucket, "p", [.. tls, "sse=customer", "sse-customer-file=" + file]));
        StorageKey key = new("d/1");
        await storage.PutAsync(key, StorageContent.FromBytes(Bytes(100, 1)), Token);

        S3Backend without = await ConnectAsync(gateway.TlsUrl(bucket, "p", tls));
        await Should.ThrowAsync<StorageException>(async () => await without.ReadAsync(key, 0, new byte[100], Token));
        (await ReadAsync(storage, key, 100)).ShouldBe(Bytes(100, 1));
    }

    [Theory]
    [InlineData("governance")]
    [InlineData("compliance")]
    public async Task ALockedObjectResistsDeletionAndItsLockIsExtended(string mode)
    {
        string bucket = await gateway.MakeBucketAsync(hasLock: true);
        S3Backend storage = await ConnectAsync(gateway.Url(bucket, "p", "lock=" + mode, "lock-days=1"), new S3Limits(1 << 20, 5 << 20, 2));
        storage.Capabilities.LocksFor.ShouldBe(TimeSpan.FromDays(1));
        storage.Capabilities.KeepsVersions.ShouldBe(true);
        using AmazonS3Client client = gateway.NewClient();
        foreach ((string name, int size) in new[] { ("d/small", 1000), ("d/parts", 6 << 20) })
        {
            StorageKey key = new(name);
            (await storage.PutAsync(key, StorageContent.FromBytes(Bytes(size, 1)), Token)).ShouldBe(PutOutcome.Stored);
            StorageException refusal = await Should.ThrowAsync<StorageException>(async () => await storage.DeleteAsync(key, Token));
            refusal.Code.ShouldBe(ErrorCodes.RetentionRefused);
            refusal.Code.ExitCode.ShouldBe(17);
            refusal.Details["until"].ShouldNotBeEmpty();
            (await storage.StatAsync(key, Token)).ShouldNotBeNull();

            // The owner of the bucket, with all rights, and past us.
            GetObjectMetadataResponse head = await client.GetObjectMetadataAsync(bucket, "p/" + name, Token);
            head.ObjectLockRetainUntilDate!.Value.ToUniversalTime().ShouldBe(DateTime.UtcNow.AddDays(1), TimeSpan.FromMinutes(5));
            (await Should.ThrowAsync<AmazonS3Exception>(async () =>
                await client.DeleteObjectAsync(new DeleteObjectRequest { BucketName = bucket, Key = "p/" + name, VersionId = head.VersionId }, Token))).ErrorCode.ShouldBe("AccessDenied");

            DateTimeOffset later = DateTimeOffset.UtcNow.AddDays(3);
            (await storage.ExtendLockAsync(key, later, later, Token)).ShouldBeTrue();
            (await storage.ExtendLockAsync(key, later.AddDays(-2), later.AddDays(20), Token)).ShouldBeFalse("it is locked for long enough");
            (await client.GetObjectMetadataAsync(bucket, "p/" + name, Token)).ObjectLockRetainUntilDate!.Value.ToUniversalTime().ShouldBe(later.UtcDateTime, TimeSpan.FromMinutes(1));
        }

        // What must be swept is not locked, and its deletion leaves no version behind.
        StorageKey beat = new("l/beat");
        await storage.PutAsync(beat, StorageContent.FromBytes(Bytes(10, 1)), Token);
        await storage.DeleteAsync(beat, Token);
        (await storage.StatAsync(beat, Token)).ShouldBeNull();
        (await client.ListVersionsAsync(new ListVersionsRequest { BucketName = bucket, Prefix = "p/l/" }, Token)).Versions.ShouldBeNull();
    }

    [Fact]
    public async Task ALockThatTheBucketDoesNotHaveIsRefused()
    {
        BackupIQException refusal = await Should.ThrowAsync<BackupIQException>(async () =>
            await ConnectAsync(gateway.Url(await gateway.MakeBucketAsync(), "p", "lock=governance", "lock-days=1")));
        refusal.Code.ShouldBe(ErrorCodes.Usage);
        refusal.Guidance.ShouldContain("object lock enabled");
    }

    [Fact]
    public async Task VersionsAreToldAndADeletedObjectIsGoneInSight()
    {
        S3Backend versioned = await ConnectAsync(gateway.Url(await gateway.MakeBucketAsync(isVersioned: true), "p"));
        versioned.Capabilities.KeepsVersions.ShouldBe(true);
        StorageKey key = new("s/1");
        await versioned.PutAsync(key, StorageContent.FromBytes(Bytes(10, 1)), Token);
        await versioned.DeleteAsync(key, Token);
        (await versioned.StatAsync(key, Token)).ShouldBeNull();
        (await versioned.PutAsync(key, StorageContent.FromBytes(Bytes(10, 2)), Token)).ShouldBe(PutOutcome.Stored);

        (await ConnectAsync(gateway.Url(await gateway.MakeBucketAsync(), "p"))).Capabilities.KeepsVersions.ShouldBe(false);
    }

    [Fact]
    public async Task CredentialsAreReadByReferenceAndAgainWhenTheyAreRefused()
    {
        string bucket = await gateway.MakeBucketAsync();
        string id = _scratch.Write("id", Encoding.UTF8.GetBytes(RadosGateway.AccessKey + "\n"));
        File.SetUnixFileMode(id, UnixFileMode.UserRead | UnixFileMode.UserWrite);

        // The first time it is asked it tells the one before.
        string script = _scratch.Write("secret.sh", Encoding.UTF8.GetBytes($"if [ -e '{_scratch.At("asked")}' ]; then echo {RadosGateway.SecretKey}; else touch '{_scratch.At("asked")}'; echo old; fi\n"));
        string[] right = ["key-id-from=file:" + id, "secret-from=" + Uri.EscapeDataString("cmd:/bin/sh " + script)];
        S3Backend storage = await ConnectAsync(gateway.Url(bucket, "p", right));
        StorageKey key = new("d/1");
        (await storage.PutAsync(key, StorageContent.FromBytes(Bytes(10, 1)), Token)).ShouldBe(PutOutcome.Stored);
        (await ((ILinkStorage)storage).LinkAsync(key, TimeSpan.FromHours(1), Token)).ToString().ShouldNotContain("Signature");

        string wrong = _scratch.Write("wrong", "something else\n"u8);
        File.SetUnixFileMode(wrong, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        (await Should.ThrowAsync<StorageException>(async () => await ConnectAsync(gateway.Url(bucket, "p", "key-id-from=file:" + id, "secret-from=file:" + wrong)))).Code.ShouldBe(ErrorCodes.StorageAuthentication);
        (await Should.ThrowAsync<BackupIQException>(async () => await ConnectAsync(gateway.Url(bucket, "p", "key-id-from=file:" + id)))).Code.ShouldBe(ErrorCodes.Usage);
        (await Should.ThrowAsync<BackupIQException>(async () => await ConnectAsync(gateway.Url(bucket, "p", [.. right, "profile=writer"])))).Code.ShouldBe(ErrorCodes.Usage);
        BackupIQException shown = await Should.ThrowAsync<BackupIQException>(async () => await ConnectAsync(gateway.Url(bucket, "p", "key-id-from=file:" + id, "secret-from=" + RadosGateway.SecretKey)));
        shown.ToString().ShouldNotContain(RadosGateway.SecretKey);
    }

    [Fact]
    public async Task MetadataGoesWithEachObject()
    {
        string bucket = await gateway.MakeBucketAsync();
        S3Backend storage = await ConnectAsync(gateway.Url(bucket, "p", "metadata=team:ops,center:42%20b"), new S3Limits(1 << 20, 5 << 20, 2));
        using AmazonS3Client client = gateway.NewClient();
        foreach ((string name, int size) in new[] { ("d/small", 1000), ("l/parts", 6 << 20) })
        {
            await storage.PutAsync(new StorageKey(name), StorageContent.FromBytes(Bytes(size, 1)), Token);
            MetadataCollection metadata = (await client.GetObjectMetadataAsync(bucket, "p/" + name, Token)).Metadata;
            metadata["team"].ShouldBe("ops");
            metadata["center"].ShouldBe("42 b");
        }
    }

    [Fact]
    public async Task ListingsOfMoreThanAPageAreWhole()
    {
        string bucket = await gateway.MakeBucketAsync();
        S3Backend storage = await ConnectAsync(gateway.Url(bucket));
        await Parallel.ForAsync(0, 1100, Token, async (i, token) =>
            await storage.PutAsync(new StorageKey($"l/{i}"), StorageContent.FromBytes(new byte[] { 1 }), token));
        using AmazonS3Client client = gateway.NewClient();
        await client.PutObjectAsync(new PutObjectRequest { BucketName = bucket, Key = "l/Not A Key", ContentBody = "x", UseChunkEncoding = false }, Token);
        HashSet<string> seen = [];
        await foreach (StoredObject stored in storage.ListAsync("", Token))
        {
            seen.Add(stored.Key.Value).ShouldBeTrue();
        }

        seen.Count.ShouldBe(1100);
    }

    [Fact]
    public async Task TheDocumentedRightsAreEnoughAndNotMore()
    {
        const string Prefix = "backup";
        string bucket = await gateway.MakeBucketAsync();
        (string Name, JsonElement Policy)[] roles =
            [("writer", PolicyOf("ransomware.md", 0, bucket, Prefix)), ("maintainer", PolicyOf("s3.md", 0, bucket, Prefix)), ("reader", PolicyOf("s3.md", 1, bucket, Prefix))];
        foreach ((string name, _) in roles)
        {
            await gateway.MakeUserAsync(name);
        }

        object[] statements = [.. roles.SelectMany(static role => role.Policy.GetProperty("Statement").EnumerateArray().Select(statement => ForUser(statement, role.Name)))];
        using AmazonS3Client client = gateway.NewClient();
        await client.PutBucketPolicyAsync(bucket, JsonSerializer.Serialize(new { Version = "2012-10-17", Statement = statements }), Token);

        StorageKey pack = new("d/1");
        StorageKey mark = new("g/1");
        StorageContent content = StorageContent.FromBytes(Bytes(10, 1));
        S3Backend maintainer = await ConnectAsync(gateway.Url(bucket, Prefix, "profile=maintainer"));
        (await maintainer.PutAsync(mark, content, Token)).ShouldBe(PutOutcome.Stored);
        maintainer.Capabilities.KeepsVersions.ShouldBe(false);

        S3Backend writer = await ConnectAsync(gateway.Url(bucket, Prefix, "profile=writer"));
        writer.Capabilities.ConditionalPut.ShouldBeTrue();
        (await writer.PutAsync(pack, content, Token)).ShouldBe(PutOutcome.Stored);
        (await writer.StatAsync(new StorageKey("d/2"), Token)).ShouldBeNull();
        await ShouldBeForbiddenAsync(async () => await writer.DeleteAsync(pack, Token));
        await ShouldBeForbiddenAsync(async () => await writer.PutAsync(new StorageKey("g/2"), content, Token));

        S3Backend reader = await ConnectAsync(gateway.Url(bucket, Prefix, "profile=reader"));
        reader.Capabilities.ConditionalPut.ShouldBeTrue();
        (await ReadAsync(reader, pack, 10)).ShouldBe(Bytes(10, 1));
        (await reader.StatAsync(new StorageKey("d/2"), Token)).ShouldBeNull();
        await ShouldBeForbiddenAsync(async () => await reader.PutAsync(new StorageKey("d/2"), content, Token));
        await ShouldBeForbiddenAsync(async () => await reader.DeleteAsync(pack, Token));

        await maintainer.DeleteAsync(pack, Token);
        (await reader.StatAsync(pack, Token)).ShouldBeNull();
    }

    private static async Task ShouldBeForbiddenAsync(Func<Task> act) =>
        (await Should.ThrowAsync<StorageException>(act)).Code.ShouldBe(ErrorCodes.StorageAuthentication);

    // A policy as the manual shows it, for this bucket and prefix.
    private static JsonElement PolicyOf(string page, int number, string bucket, string prefix)
    {
        string[] blocks = [.. File.ReadAllText(Path.Combine(AppContext.BaseDirectory, page)).Split("```json\n").Skip(1).Select(static part => part[..part.IndexOf("```", StringComparison.Ordinal)])];
        using JsonDocument policy = JsonDocument.Parse(blocks[number].Replace("BUCKET", bucket, StringComparison.Ordinal).Replace("PREFIX", prefix, StringComparison.Ordinal));
        return policy.RootElement.Clone();
    }

    // Ceph has no policies of users: the bucket's names the user.
    private static Dictionary<string, object> ForUser(JsonElement statement, string user)
    {
        Dictionary<string, object> made = statement.EnumerateObject().ToDictionary(static p => p.Name, static p => (object)p.Value);
        made["Principal"] = new { AWS = new[] { $"arn:aws:iam:::user/{user}" } };
        return made;
    }

    private async Task<S3Backend> ConnectAsync(string url, S3Limits? limits = null)
    {
        S3Backend storage = await S3Backend.ConnectAsync(StorageUrl.Parse(url), S3Conformance.Layout, limits ?? S3Limits.Default, TimeProvider.System, Token);
        _open.Add(storage);
        return storage;
    }

    private static async Task<byte[]> ReadAsync(S3Backend storage, StorageKey key, int length)
    {
        byte[] bytes = new byte[length + 1];
        (await storage.ReadAsync(key, 0, bytes, Token)).ShouldBe(length);
        return bytes[..length];
    }

    private static byte[] Bytes(int length, int seed)
    {
        byte[] bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
