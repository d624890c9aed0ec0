using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>Azure Blob Storage by Azurite: every guarantee of a storage, and what only this one has.</summary>
public sealed class AzureBlobConformanceTests(AzuriteFixture azurite) : StorageConformance
{
    private string? _container;

    /// <inheritdoc/>
    protected override int BigObjectSize => 21 << 20;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task OfTwelveUploadsInBlocksForOneNameExactlyOneWins()
    {
        string url = await UrlAsync("&block-size=1");
        IStorageBackend[] clients = [await azurite.ConnectAsync(url), await azurite.ConnectAsync(url), await azurite.ConnectAsync(url)];
        byte[][] contents = [.. Enumerable.Range(0, 12).Select(static seed => Bytes(3_500_000, seed))];
        Task<PutOutcome?>[] puts = [.. contents.Select((content, i) => Task.Run(
            async () =>
            {
                try
                {
                    return (PutOutcome?)await clients[i % 3].PutAsync(new StorageKey("d/00/raced"), StorageContent.FromBytes(content), Token);
                }
                catch (StorageException e) when (e.IsTransient)
                {
                    // Another's commit has dropped its blocks and is not to be seen yet: a retry would find it.
                    return null;
                }
            },
            Token))];
        PutOutcome?[] outcomes = await Task.WhenAll(puts);
        outcomes.Count(static outcome => outcome == PutOutcome.Stored).ShouldBe(1);
        await ShouldHoldAsync(clients[0], "d/00/raced", contents[Array.IndexOf(outcomes, PutOutcome.Stored)]);
        foreach (IStorageBackend client in clients)
        {
            await client.DisposeAsync();
        }
    }

    [Fact]
    public async Task ASharedAccessSignatureOpensUntilItExpiresAndIsNeverShown()
    {
        string url = await UrlAsync();
        await using (IStorageBackend storage = await azurite.ConnectAsync(url, Sas(TimeSpan.FromHours(1))))
        {
            (await PutAsync(storage, "d/1", Bytes(1000))).ShouldBe(PutOutcome.Stored);
            (await PutAsync(storage, "d/big", Bytes(9 << 20))).ShouldBe(PutOutcome.Stored);
            await ShouldHoldAsync(storage, "d/1", Bytes(1000));
            await storage.DeleteAsync(new StorageKey("d/1"), Token);
            (await ListAsync(storage, "")).ShouldHaveSingleItem();
        }

        IReadOnlyDictionary<string, string> expired = Sas(TimeSpan.FromHours(-1));
        StorageException refused = await Should.ThrowAsync<StorageException>(async () => await azurite.ConnectAsync(url, expired));
        refused.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        string signature = expired["AZURE_STORAGE_SAS_TOKEN"].Split("sig=")[1];
        (refused + string.Concat(refused.Details.Values)).ShouldNotContain(signature);
    }

    [Fact]
    public async Task WhatIsWrongIsSaidAndWhatToDo()
    {
        string url = await UrlAsync();
        Dictionary<string, string> wrong = new(StringComparer.Ordinal) { ["AZURE_STORAGE_KEY"] = Convert.ToBase64String(new byte[64]) };
        StorageException refused = await Should.ThrowAsync<StorageException>(async () => await azurite.ConnectAsync(url, wrong));
        refused.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        // Azure itself calls it AuthenticationFailed, Azurite AuthorizationFailure.
        refused.Message.ShouldMatch("key or signature|these credentials");

        StorageException missing = await Should.ThrowAsync<StorageException>(async () => await azurite.ConnectAsync(await azurite.UrlAsync("no-such-container")));
        missing.Code.ShouldBe(ErrorCodes.Storage);
        missing.Message.ShouldContain("no container 'no-such-container'");
        missing.Guidance.ShouldContain("az storage container create");

        StorageException gone = await Should.ThrowAsync<StorageException>(async () => await azurite.ConnectAsync(
            $"azblob://c?account=a&endpoint={Uri.EscapeDataString(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{ServerProcess.FreePort()}/a"))}"));
        gone.Code.ShouldBe(ErrorCodes.StorageConnection);
        gone.IsTransient.ShouldBeTrue();

        (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync("azblob://c?account=a&endpoint=http://storage.example.org/a"))).Message.ShouldContain("Plain HTTP");
        (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync(url + "&tiers=cool"))).Message.ShouldContain("did you mean 'tier'");
        (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync(url, new Dictionary<string, string> { ["AZURE_STORAGE_KEY"] = "not base64!" })))
            .Code.ShouldBe(ErrorCodes.SecretUnavailable);
    }

    [Fact]
    public async Task ALockThatTheContainerDoesNotKeepIsToldAtTheFirstObject()
    {
        await using IStorageBackend storage = await azurite.ConnectAsync(await UrlAsync("&immutable=30"));
        (await Should.ThrowAsync<StorageException>(async () => await PutAsync(storage, "d/1", Bytes(10)))).Message.ShouldContain("keeps no lock");
    }

    [Fact]
    public async Task DataGoesIntoTheTierThatWasAskedForAndMetadataDoesNot()
    {
        await using IStorageBackend storage = await azurite.ConnectAsync(await UrlAsync("&tier=cool&block-size=1"));
        foreach (string key in (string[])["d/00/small", "m/00/small"])
        {
            (await PutAsync(storage, key, Bytes(10))).ShouldBe(PutOutcome.Stored);
        }

        (await PutAsync(storage, "d/00/big", Bytes(3 << 20))).ShouldBe(PutOutcome.Stored);
        await ShouldHoldAsync(storage, "d/00/big", Bytes(3 << 20));
        (await azurite.TierAsync(_container!, "p q/ü/d/00/small")).ShouldBe("Cool");
        (await azurite.TierAsync(_container!, "p q/ü/d/00/big")).ShouldBe("Cool");
        (await azurite.TierAsync(_container!, "p q/ü/m/00/small")).ShouldBe("Hot");
    }

    [Fact]
    public async Task ManyDeletionsAreFewRequestsAndWhatIsNotThereIsSuccess()
    {
        string url = await UrlAsync();
        StorageKey[] keys = [.. Enumerable.Range(0, 300).Select(static i => new StorageKey($"d/{i}"))];
        using StorageRegistry registry = new(TimeProvider.System);
        foreach (IReadOnlyDictionary<string, string>? environment in (IReadOnlyDictionary<string, string>?[])[null, Sas(TimeSpan.FromHours(1))])
        {
            await using IStorageBackend storage = StorageStack.Wrap(
                await azurite.ConnectAsync(url, environment), "azure", new ResilienceOptions { Retry = RetryProfile.Quick }, registry, TimeProvider.System);
            await Parallel.ForEachAsync(keys, Token, async (key, stop) => await storage.PutAsync(key, StorageContent.FromBytes(new byte[] { 1 }), stop));
            await PutAsync(storage, "s/stays", Bytes(10));
            long before = registry.Report().Sum(static provider => provider.Latencies.GetValueOrDefault(StorageOperation.Delete)?.Count ?? 0);
            (await storage.DeleteAllAsync([.. keys, new StorageKey("d/nothing")], Token)).ShouldBeEmpty();
            (registry.Report().Sum(static provider => provider.Latencies.GetValueOrDefault(StorageOperation.Delete)?.Count ?? 0) - before).ShouldBe(2);
            (await ListAsync(storage, "")).ShouldHaveSingleItem().Key.Value.ShouldBe("s/stays");
        }
    }

    [Theory]
    [InlineData("unlocked")]
    [InlineData("locked")]
    public async Task ALockIsExtendedAndNeverShortenedAndKeepsNoneOfTheOthers(string mode)
    {
        await using FakeImmutability fake = await FakeImmutability.StartAsync(await azurite.GetAsync());
        string container = await azurite.NewContainerAsync();
        await using IStorageBackend storage = await azurite.ConnectAsync(Url("&immutable=2&immutability-mode=" + mode));
        storage.Capabilities.ExtendsLocks.ShouldBeTrue();
        storage.Capabilities.LocksFor.ShouldBe(TimeSpan.FromDays(2));
        StorageKey key = new("d/1");
        await PutAsync(storage, key.Value, Bytes(10));
        await PutAsync(storage, "d/large", Bytes(9 << 20));
        await PutAsync(storage, "l/beat", Bytes(10));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        fake.LockOf(container, "p/d/large")!.Value.Until.ShouldBe(now.AddDays(2), TimeSpan.FromMinutes(1));
        (await storage.ExtendLockAsync(key, now.AddDays(1), now.AddDays(9), Token)).ShouldBeFalse("it is locked for long enough");
        (await storage.ExtendLockAsync(key, now.AddDays(5), now.AddDays(9), Token)).ShouldBeTrue();
        fake.LockOf(container, "p/d/1")!.Value.Until.ShouldBe(now.AddDays(9), TimeSpan.FromSeconds(1));

        // Nobody unlocks by the way what is locked for good.
        await using IStorageBackend milder = await azurite.ConnectAsync(Url("&immutable=2&immutability-mode=unlocked"));
        (await milder.ExtendLockAsync(key, now.AddDays(10), now.AddDays(11), Token)).ShouldBeTrue();
        fake.LockOf(container, "p/d/1")!.Value.Mode.ShouldBe(mode);
        (await Should.ThrowAsync<StorageException>(async () => await storage.ExtendLockAsync(new StorageKey("d/2"), now.AddDays(1), now.AddDays(2), Token))).Code.ShouldBe(ErrorCodes.StorageObjectNotFound);

        // An account that has no batches deletes one by one.
        KeyValuePair<StorageKey, StorageException> stays = (await storage.DeleteAllAsync([key, new StorageKey("l/beat")], Token)).ShouldHaveSingleItem();
        stays.Key.ShouldBe(key);
        stays.Value.Code.ShouldBe(ErrorCodes.RetentionRefused);
        (await storage.StatAsync(new StorageKey("l/beat"), Token)).ShouldBeNull();
        await storage.DeleteAllAsync([new StorageKey("l/1"), new StorageKey("l/2")], Token);
        fake.RefusedBatches.ShouldBe(1, "it is not asked again");

        string Url(string options) => $"azblob://{container}/p?account={Azurite.Account}&endpoint={Uri.EscapeDataString(fake.Endpoint)}{options}";
    }

    [Fact]
    public async Task AKeyAndASignatureAreReadByReferenceAndAgainWhenTheyAreRefused()
    {
        string url = await UrlAsync();
        using ScratchFolder scratch = new();
        foreach ((string option, string wrong, string right) in ((string, string, string)[])
            [("key-from", Convert.ToBase64String(new byte[64]), Azurite.Key), ("sas-from", Sas(TimeSpan.FromHours(-1))["AZURE_STORAGE_SAS_TOKEN"], Sas(TimeSpan.FromHours(1))["AZURE_STORAGE_SAS_TOKEN"])])
        {
            // The first time it is asked it tells the one before.
            string script = scratch.Write($"{option}.sh", Encoding.UTF8.GetBytes($"if [ -e '{scratch.At(option)}' ]; then echo '{right}'; else touch '{scratch.At(option)}'; echo '{wrong}'; fi\n"));
            string reference = Uri.EscapeDataString($"cmd:/bin/sh {script}");
            await using IStorageBackend storage = await azurite.ConnectAsync($"{url}&{option}={reference}", new Dictionary<string, string>());
            (await PutAsync(storage, $"d/{option}", Bytes(10))).ShouldBe(PutOutcome.Stored);
        }

        StorageException refused = await Should.ThrowAsync<StorageException>(async () => await azurite.ConnectAsync(
            $"{url}&key-from=env:THE_KEY", new Dictionary<string, string> { ["THE_KEY"] = Convert.ToBase64String(new byte[64]) }));
        refused.Code.ShouldBe(ErrorCodes.StorageAuthentication);
        (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync($"{url}&key-from=env:NOT_SET", new Dictionary<string, string>()))).Code.ShouldBe(ErrorCodes.SecretUnavailable);
        (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync($"{url}&key-from={Uri.EscapeDataString(Azurite.Key)}"))).ToString().ShouldNotContain(Azurite.Key[..20]);
        (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync($"{url}&key-from=env:A&sas-from=env:B"))).Code.ShouldBe(ErrorCodes.Usage);

        // A signature that was given to us is not passed on.
        await using IStorageBackend signed = await azurite.ConnectAsync(url, Sas(TimeSpan.FromHours(1)));
        (await Should.ThrowAsync<BackupIQException>(async () => await ((ILinkStorage)signed).LinkAsync(new StorageKey("d/key-from"), TimeSpan.FromHours(1), Token))).Code.ShouldBe(ErrorCodes.Usage);
    }

    [Fact]
    public async Task MetadataGoesWithEachObject()
    {
        await using IStorageBackend storage = await azurite.ConnectAsync(await UrlAsync("&metadata=team:ops,center:42%20b"));
        await PutAsync(storage, "d/small", Bytes(10));
        await PutAsync(storage, "l/large", Bytes(9 << 20));
        foreach (string name in (string[])["d/small", "l/large"])
        {
            IReadOnlyDictionary<string, string> metadata = await azurite.MetadataAsync(_container!, "p q/ü/" + name);
            metadata.ShouldBe(new Dictionary<string, string> { ["team"] = "ops", ["center"] = "42 b" }, ignoreOrder: true);
        }

        foreach (string wrong in (string[])["team", "Team:x", "team:", "a-b:c", "a_b:c", "a:b,a:c", "a:%C3%BC", "1a:b"])
        {
            (await Should.ThrowAsync<BackupIQException>(async () => await azurite.ConnectAsync(await UrlAsync("&metadata=" + wrong)))).Code.ShouldBe(ErrorCodes.Usage);
        }
    }

    /// <inheritdoc/>
    protected override async ValueTask<IStorageBackend> ConnectAsync() => await azurite.ConnectAsync(await UrlAsync());

    private async ValueTask<string> UrlAsync(string options = "")
    {
        _container ??= await azurite.NewContainerAsync();
        return await azurite.UrlAsync(_container, "p%20q/%C3%BC", options);
    }

    // A signature for the container, as Microsoft's "Create a service SAS" says.
    private Dictionary<string, string> Sas(TimeSpan holds)
    {
        const string Version = "2020-12-06";
        string until = TimeProvider.System.GetUtcNow().Add(holds).ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);
        string[] parts = ["racwdl", "", until, $"/blob/{Azurite.Account}/{_container}", "", "", "", Version, "c", "", "", "", "", "", "", ""];
        byte[] signature = HMACSHA256.HashData(Convert.FromBase64String(Azurite.Key), Encoding.UTF8.GetBytes(string.Join('\n', parts)));
        return new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["AZURE_STORAGE_SAS_TOKEN"] = $"sv={Version}&sr=c&sp=racwdl&se={Uri.EscapeDataString(until)}&sig={Uri.EscapeDataString(Convert.ToBase64String(signature))}",
        };
    }
}
