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

    /// <inheritdoc/>
    protected override async ValueTask<(string Url, IReadOnlyDictionary<string, string> Environment)> NewPlaceAsync() =>
        (await azurite.UrlAsync(await azurite.NewContainerAsync(), "backups"), AzuriteFixture.Environment);
}
