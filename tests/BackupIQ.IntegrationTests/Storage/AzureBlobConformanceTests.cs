using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Storage;
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
