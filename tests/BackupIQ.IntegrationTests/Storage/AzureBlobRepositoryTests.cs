using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>A repository in a container of Azure Blob Storage, by the program.</summary>
public sealed class AzureBlobRepositoryTests(AzuriteFixture azurite) : RepositoryOnStorageTests
{
    [Fact]
    public async Task WrongCredentialsAndAMissingContainerEndWithACodeAndNoSecretIsShown()
    {
        Run("init").ShouldEndWith(0);
        Somebody.Environment["AZURE_STORAGE_KEY"] = Convert.ToBase64String("a key that is quite wrong, and secret"u8);
        ProgramRun refused = Run("snapshots", "-vv", "--json");
        refused.Code.ShouldBe(13, refused.Error);
        (refused.Text + refused.Error).ShouldNotContain(Somebody.Environment["AZURE_STORAGE_KEY"]);
        Somebody.Environment["AZURE_STORAGE_KEY"] = Azurite.Key;
        Somebody.Repository = await azurite.UrlAsync("not-there");
        Run("snapshots").ShouldEndWith(15).Error.ShouldContain("az storage container create");
    }

    [Fact]
    public async Task WhatKeptSnapshotsNeedStaysLockedOnAFakeOfLocks()
    {
        await using FakeImmutability fake = await FakeImmutability.StartAsync(await azurite.GetAsync());
        string url = $"azblob://{await azurite.NewContainerAsync()}/p?account={Azurite.Account}&endpoint={Uri.EscapeDataString(fake.Endpoint)}&immutable=";
        Somebody.Repository = url + "1";
        Somebody.WithNewRepository();
        Somebody.Backup(Somebody.MakeTree());
        Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBe(0, "half of a day is not over yet");
        Somebody.Repository = url + "30";
        Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBeGreaterThan(3);
        Run("check", "--json").ShouldEndWith(0).Summary().GetProperty("locks_extended").GetInt32().ShouldBe(0);
    }

    /// <inheritdoc/>
    protected override async ValueTask<(string Url, IReadOnlyDictionary<string, string> Environment)> NewPlaceAsync() =>
        (await azurite.UrlAsync(await azurite.NewContainerAsync(), "backups"), AzuriteFixture.Environment);
}
