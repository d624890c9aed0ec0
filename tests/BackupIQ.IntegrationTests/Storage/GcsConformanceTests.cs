using System.Text.Json.Nodes;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Servers;
using BackupIQ.Testing.Servers.Google;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Google Cloud Storage, against a FAKE of it (nobody here has an account): every guarantee of a storage, and what only this one has.</summary>
public sealed class GcsConformanceTests(GoogleStorageFixture google) : StorageConformance
{
    private string? _bucket;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(100)]
    [InlineData(9 << 20)]
    public async Task OfTwelveWritersOfOneNameExactlyOneWins(int length)
    {
        IStorageBackend[] clients = [await ClientAsync(), await ClientAsync(), await ClientAsync()];
        byte[][] contents = [.. Enumerable.Range(0, 12).Select(seed => Bytes(length, seed))];
        PutOutcome[] outcomes = await Task.WhenAll(contents.Select((content, i) => Task.Run(() => PutAsync(clients[i % 3], "s/raced", content), Token)));
        outcomes.Count(static outcome => outcome == PutOutcome.Stored).ShouldBe(1);
        await ShouldHoldAsync(clients[0], "s/raced", contents[Array.IndexOf(outcomes, PutOutcome.Stored)]);
    }

    [Fact]
    public async Task AListingOfManyPagesIsWhole()
    {
        IStorageBackend storage = await ClientAsync();
        string[] keys = [.. Enumerable.Range(0, 2345).Select(static i => $"d/{i % 256:x2}/{i:d5}")];
        await Parallel.ForEachAsync(keys, Token, async (key, stop) => await storage.PutAsync(new StorageKey(key), StorageContent.FromBytes(new byte[] { 1 }), stop));
        (await ListAsync(storage, "")).Select(static o => o.Key.Value).Order(StringComparer.Ordinal).ShouldBe(keys.Order(StringComparer.Ordinal));
        (await ListAsync(storage, "d/07/")).Count.ShouldBe(10);
    }

    [Fact]
    public async Task AnUploadThatBrokeGoesOnWhereItBroke()
    {
        await using FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        await using IStorageBackend storage = await ConnectAsync(server);
        byte[] bytes = Bytes(20 << 20);
        await ResumedUpload.ShouldGoOnAsync(storage, "d/1", bytes, () => server.OpenUploads, Token);
        await ShouldHoldAsync(storage, "d/1", bytes);
    }

    [Fact]
    public async Task WhatIsTakenUpIsTheSameBytesAndNoOthers()
    {
        await using FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        await using IStorageBackend storage = await ConnectAsync(server);
        await Should.ThrowAsync<StorageException>(async () => await storage.PutAsync(
            new StorageKey("d/1"),
            StorageContent.FromBytes(Bytes(20 << 20)).Watched(static (_, _) => throw new StorageException(ErrorCodes.StorageConnection, "The line broke")),
            Token));
        (await PutAsync(storage, "d/1", Bytes(20 << 20, seed: 2))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/1", Bytes(20 << 20, seed: 2));
        (await PutAsync(storage, "d/1", Bytes(20 << 20))).ShouldBe(PutOutcome.AlreadyThere);
    }

    [Fact]
    public async Task AStorageThatTakesAPartOfWhatIsSentGetsTheRest()
    {
        await using FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        server.TakesAtMost = 3_000_000;
        await using IStorageBackend storage = await ConnectAsync(server);
        (await PutAsync(storage, "d/1", Bytes(20 << 20))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/1", Bytes(20 << 20));
    }

    [Fact]
    public async Task ClassKeyAndLockAreAskedForAndTheirEchoIsLookedAt()
    {
        FakeGoogleStorage server = await google.GetAsync();
        string bucket = await google.NewBucketAsync(objectRetention: true, versioning: true);
        const string Key = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
        string url = await google.UrlAsync(bucket, "p", $"&storage-class=nearline&kms-key={Key}&lock=unlocked&lock-days=30");
        await using IStorageBackend storage = await google.ConnectAsync(url);
        storage.Capabilities.KeepsVersions.ShouldBe(true);
        storage.Capabilities.LocksFor.ShouldBe(TimeSpan.FromDays(30));
        (await PutAsync(storage, "d/small", Bytes(10))).ShouldBe(PutOutcome.Stored);
        (await PutAsync(storage, "d/large", Bytes(9 << 20))).ShouldBe(PutOutcome.Stored);
        (await PutAsync(storage, "l/beat", Bytes(10))).ShouldBe(PutOutcome.Stored);
        foreach (string name in (string[])["p/d/small", "p/d/large"])
        {
            JsonObject json = server.Describe(bucket, name).ShouldNotBeNull();
            json["storageClass"]!.GetValue<string>().ShouldBe("NEARLINE");
            json["kmsKeyName"]!.GetValue<string>().ShouldStartWith(Key);
            json["retention"]!["mode"]!.GetValue<string>().ShouldBe("Unlocked");
        }

        server.Describe(bucket, "p/l/beat")!["storageClass"]!.GetValue<string>().ShouldBe("STANDARD");
        server.Describe(bucket, "p/l/beat")!.ContainsKey("retention").ShouldBeFalse();
        StorageException locked = await Should.ThrowAsync<StorageException>(async () => await storage.DeleteAsync(new StorageKey("d/small"), Token));
        locked.Code.ShouldBe(ErrorCodes.RetentionRefused);
        await storage.DeleteAsync(new StorageKey("l/beat"), Token);
        (await PutAsync(storage, "d/small", Bytes(11))).ShouldBe(PutOutcome.AlreadyThere);

        string without = await google.UrlAsync(await google.NewBucketAsync(), "p", "&lock=locked&lock-days=30");
        BackupIQException refused = await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(without));
        refused.Guidance.ShouldContain("--enable-per-object-retention");
    }

    [Theory]
    [InlineData("unlocked")]
    [InlineData("locked")]
    public async Task ALockIsExtendedAndNeverShortened(string mode)
    {
        FakeGoogleStorage server = await google.GetAsync();
        string bucket = await google.NewBucketAsync(objectRetention: true);
        await using IStorageBackend storage = await google.ConnectAsync(await google.UrlAsync(bucket, "p", $"&lock={mode}&lock-days=2"));
        storage.Capabilities.ExtendsLocks.ShouldBeTrue();
        StorageKey key = new("d/1");
        await PutAsync(storage, key.Value, Bytes(10));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        (await storage.ExtendLockAsync(key, now.AddDays(1), now.AddDays(9), Token)).ShouldBeFalse("it is locked for long enough");
        (await storage.ExtendLockAsync(key, now.AddDays(5), now.AddDays(9), Token)).ShouldBeTrue();
        UntilOf("p/d/1").ShouldBe(now.AddDays(9), TimeSpan.FromSeconds(1));

        // Nobody unlocks by the way what is locked for good.
        await using IStorageBackend milder = await google.ConnectAsync(await google.UrlAsync(bucket, "p", "&lock=unlocked&lock-days=2"));
        (await milder.ExtendLockAsync(key, now.AddDays(10), now.AddDays(11), Token)).ShouldBeTrue();
        server.Describe(bucket, "p/d/1")!["retention"]!["mode"]!.GetValue<string>().ToLowerInvariant().ShouldBe(mode);

        // What had no lock gets one; and who may only read is told.
        await PutAsync(storage, "l/beat", Bytes(10));
        (await storage.ExtendLockAsync(new StorageKey("l/beat"), now.AddDays(1), now.AddDays(2), Token)).ShouldBeTrue();
        UntilOf("p/l/beat").ShouldBe(now.AddDays(2), TimeSpan.FromSeconds(1));
        (await Should.ThrowAsync<StorageException>(async () => await storage.ExtendLockAsync(new StorageKey("d/2"), now.AddDays(1), now.AddDays(2), Token))).Code.ShouldBe(ErrorCodes.StorageObjectNotFound);
        await using IStorageBackend reader = await google.ConnectAsync(
            await google.UrlAsync(bucket, "p", "&lock=unlocked&lock-days=2"), With(server.Accounts.ServiceAccount("reader", GoogleRole.Viewer)));
        (await Should.ThrowAsync<StorageException>(async () => await reader.ExtendLockAsync(key, now.AddDays(20), now.AddDays(21), Token))).Code.ShouldBe(ErrorCodes.StorageAuthentication);

        DateTimeOffset UntilOf(string name) => DateTimeOffset.Parse(server.Describe(bucket, name)!["retention"]!["retainUntilTime"]!.GetValue<string>(), System.Globalization.CultureInfo.InvariantCulture);
    }

    [Fact]
    public async Task MetadataGoesWithEachObject()
    {
        FakeGoogleStorage server = await google.GetAsync();
        string bucket = await google.NewBucketAsync();
        await using IStorageBackend storage = await google.ConnectAsync(await google.UrlAsync(bucket, "p", "&metadata=team:ops,center:42%20b"));
        await PutAsync(storage, "d/small", Bytes(10));
        await PutAsync(storage, "l/large", Bytes(9 << 20));
        foreach (string name in (string[])["p/d/small", "p/l/large"])
        {
            server.Describe(bucket, name)!["metadata"]!.ToJsonString().ShouldBe("""{"team":"ops","center":"42 b"}""");
        }
    }

    [Fact]
    public async Task ManyDeletionsAreFewRequestsAndWhatIsLockedKeepsNoneOfTheOthers()
    {
        await using FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        server.MakeBucket("b", objectRetention: true);
        Dictionary<string, string> who = With(server.Accounts.ServiceAccount("x"));
        await using (IStorageBackend locking = await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}&lock=locked&lock-days=1", who))
        {
            await PutAsync(locking, "d/locked", Bytes(10));
        }

        using StorageRegistry registry = new(TimeProvider.System);
        await using IStorageBackend storage = StorageStack.Wrap(
            await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}", who), "gs", new ResilienceOptions { Retry = RetryProfile.Quick }, registry, TimeProvider.System);
        StorageKey[] keys = [.. Enumerable.Range(0, 250).Select(static i => new StorageKey($"d/{i}"))];
        await Parallel.ForEachAsync(keys, Token, async (key, stop) => await storage.PutAsync(key, StorageContent.FromBytes(new byte[] { 1 }), stop));
        KeyValuePair<StorageKey, StorageException> stays = (await storage.DeleteAllAsync([.. keys, new StorageKey("d/locked")], Token)).ShouldHaveSingleItem();
        stays.Key.Value.ShouldBe("d/locked");
        stays.Value.Code.ShouldBe(ErrorCodes.RetentionRefused);
        server.Served["batch"].ShouldBe(3);
        (await ListAsync(storage, "")).ShouldHaveSingleItem().Key.Value.ShouldBe("d/locked");

        // Where batches are refused as such, one by one.
        server.RefusesBatches = true;
        await PutAsync(storage, "d/1", Bytes(10));
        await PutAsync(storage, "d/2", Bytes(10));
        (await storage.DeleteAllAsync([new StorageKey("d/1"), new StorageKey("d/2"), new StorageKey("d/locked")], Token)).ShouldHaveSingleItem().Value.Code.ShouldBe(ErrorCodes.RetentionRefused);
        (await ListAsync(storage, "")).ShouldHaveSingleItem();
    }

    [Fact]
    public async Task WhoPaysIsSaidWhereTheBucketsOwnerDoesNot()
    {
        string bucket = await google.NewBucketAsync(requesterPays: true);
        (await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(await google.UrlAsync(bucket)))).Guidance.ShouldContain("user-project=");
        await using IStorageBackend storage = await google.ConnectAsync(await google.UrlAsync(bucket, "", "&user-project=mine"));
        (await PutAsync(storage, "d/1", Bytes(9 << 20))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/1", Bytes(9 << 20));
        (await ListAsync(storage, "")).ShouldHaveSingleItem();
        await storage.DeleteAsync(new StorageKey("d/1"), Token);
    }

    [Fact]
    public async Task WhatIsWrongIsSaidAndWhatToDo()
    {
        FakeGoogleStorage server = await google.GetAsync();
        string url = await UrlAsync();

        StorageException missing = await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(await google.UrlAsync("no-such-bucket")));
        missing.Code.ShouldBe(ErrorCodes.Storage);
        missing.Message.ShouldContain("no bucket 'no-such-bucket'");
        missing.Guidance.ShouldContain("gcloud storage buckets create");

        StorageException forbidden = await FailureOfAsync(server.Accounts.ServiceAccount("nobody", GoogleRole.None));
        forbidden.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        forbidden.Guidance.ShouldContain("roles/storage.objectUser");
        forbidden.Details["answer"].ShouldContain("storage.objects.list");

        // Another key than the service knows, and an account that was deleted.
        using (System.Security.Cryptography.RSA other = System.Security.Cryptography.RSA.Create(2048))
        {
            JsonNode file = JsonNode.Parse(server.Accounts.ServiceAccount("backups"))!;
            file["private_key"] = other.ExportPkcs8PrivateKeyPem();
            StorageException wrong = await FailureOfAsync(file.ToJsonString());
            wrong.Code.ShouldBe(ErrorCodes.StorageAuthentication);
            wrong.Message.ShouldContain("backups@fake.iam.gserviceaccount.com");
            wrong.Guidance.ShouldContain("gcloud iam service-accounts keys create");
            (wrong + string.Concat(wrong.Details.Values)).ShouldNotContain("PRIVATE KEY");
        }

        BackupIQException none = await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(url, With("""{"type":"service_account","client_email":"a@b","private_key":"no key"}""")));
        none.Code.ShouldBe(ErrorCodes.SecretUnavailable);
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(url, With("[]")))).Code.ShouldBe(ErrorCodes.SecretUnavailable);
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(url + "&credentials=/no/such/file"))).Code.ShouldBe(ErrorCodes.SecretUnavailable);

        StorageException gone = await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(GoogleStorageFixture.UrlAt($"127.0.0.1:{ServerProcess.FreePort()}", "b", "")));
        gone.Code.ShouldBe(ErrorCodes.StorageConnection);
        gone.IsTransient.ShouldBeTrue();

        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync("gs://b?endpoint=http://storage.example.org"))).Message.ShouldContain("Plain HTTP");
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(url + "&storage-clas=nearline"))).Message.ShouldContain("did you mean 'storage-class'");
        (await Should.ThrowAsync<BackupIQException>(async () => await google.ConnectAsync(url + "&kms-key=k"))).Guidance.ShouldContain("cryptoKeys");

        async Task<StorageException> FailureOfAsync(string keyFile) => await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(url, With(keyFile)));
    }

    [Fact]
    public async Task AClockThatIsWrongIsSaid()
    {
        ManualTime time = new(TimeProvider.System.GetUtcNow().AddHours(3));
        string url = await UrlAsync();
        StorageException wrong = await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync(url, time: time));
        wrong.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        wrong.Message.ShouldContain("clock is wrong");
        wrong.Guidance.ShouldContain("180 minutes");
    }

    [Fact]
    public async Task ATokenIsRenewedBeforeItEndsAndOneThatIsRefusedIsNotUsedAgain()
    {
        await using FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        server.MakeBucket("b");
        IReadOnlyDictionary<string, string> person = With(server.Accounts.Person("me@example.org"));
        ManualTime time = new(TimeProvider.System.GetUtcNow());
        await using IStorageBackend storage = await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}", person, time);
        await PutAsync(storage, "s/1", Bytes(10));
        server.Accounts.TokensGiven.ShouldBe(1);
        time.Now += TimeSpan.FromMinutes(56);
        server.ClockSkew = TimeSpan.FromMinutes(56);
        await PutAsync(storage, "s/2", Bytes(10));
        server.Accounts.TokensGiven.ShouldBe(2);

        server.ClockSkew = TimeSpan.FromHours(3);
        (await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "s/3", Bytes(10)))).Code.ShouldBe(ErrorCodes.StorageAuthentication);
        await PutAsync(storage, "s/3", Bytes(10));

        server.Accounts.RevokeAll();
        await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "s/4", Bytes(10)));
        StorageException revoked = await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "s/4", Bytes(10)));
        revoked.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        revoked.Guidance.ShouldContain("gcloud auth application-default login");
    }

    [Fact]
    public async Task AMachineAtGoogleNeedsNoFile()
    {
        await using FakeGoogleStorage server = await FakeGoogleStorage.StartAsync();
        server.MakeBucket("b");
        server.Accounts.HasMetadata = true;
        Dictionary<string, string> environment = new(StringComparer.Ordinal) { ["GCE_METADATA_HOST"] = server.Address.Authority, ["HOME"] = "/no/such/home" };
        await using (IStorageBackend storage = await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}", environment))
        {
            (await PutAsync(storage, "d/1", Bytes(10))).ShouldBe(PutOutcome.Stored);
        }

        server.Accounts.HasMetadata = false;
        (await Should.ThrowAsync<StorageException>(async () => await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}", environment))).Code.ShouldBe(ErrorCodes.StorageAuthentication);
        StorageException nowhere = await Should.ThrowAsync<StorageException>(
            async () => await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}", new Dictionary<string, string> { ["HOME"] = "/no/such/home" }));
        nowhere.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        nowhere.Guidance.ShouldContain("GOOGLE_APPLICATION_CREDENTIALS");
    }

    // A server of the test's own, with a bucket "b".
    private async ValueTask<IStorageBackend> ConnectAsync(FakeGoogleStorage server)
    {
        server.MakeBucket("b");
        return await google.ConnectAsync($"gs://b?endpoint=http://{server.Address.Authority}", With(server.Accounts.ServiceAccount("x")));
    }

    /// <inheritdoc/>
    protected override async ValueTask<IStorageBackend> ConnectAsync() => await google.ConnectAsync(await UrlAsync());

    private async ValueTask<string> UrlAsync() => await google.UrlAsync(_bucket ??= await google.NewBucketAsync(), "p%20q/%C3%BC");

    private Dictionary<string, string> With(string keyFile)
    {
        string file = Path.Combine(Path.GetDirectoryName(google.KeyFile)!, $"{SessionId.New()}.json");
        File.WriteAllText(file, keyFile);
        return new Dictionary<string, string>(StringComparer.Ordinal) { ["GOOGLE_APPLICATION_CREDENTIALS"] = file };
    }
}
