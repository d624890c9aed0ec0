using System.Globalization;
using BackupIQ.Testing.KeyServices;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.KeyServices;

/// <summary>Azure Key Vault, on a fake that is held to Azure's published description. It never ran at Azure.</summary>
public sealed class AzureProgramTests : KeyServiceProgramTests
{
    private readonly FakeKeyVault _vault = new();

    public AzureProgramTests()
    {
        _vault.Rotate();
        User.Environment["AZURE_TENANT_ID"] = "tenant";
        User.Environment["AZURE_CLIENT_ID"] = "backup";
        User.Environment["AZURE_CLIENT_SECRET"] = _vault.ClientSecret;
        User.Environment["AZURE_AUTHORITY_HOST"] = _vault.Address.ToString();
    }

    protected override string Kms => $"azurekeyvault://myvault.vault.azure.net/keys/backup?endpoint={_vault.Address.AbsoluteUri.TrimEnd('/')}";

    protected override string MissingKms => Kms.Replace("keys/backup", "keys/bakcup", StringComparison.Ordinal);

    protected override string UnreachableKms => string.Create(CultureInfo.InvariantCulture, $"azurekeyvault://myvault.vault.azure.net/keys/backup?endpoint=http://127.0.0.1:{ServerProcess.FreePort()}");

    protected override string[] Secrets => [_vault.ClientSecret];

    protected override FakeService? Fake => _vault;

    [Fact]
    public void TokensAreForTheVaultsOfItsCloudAndWhoMayNotUseTheKeyIsTold()
    {
        Run("init").ShouldEndWith(0);
        _vault.Scope.ShouldBe("https://vault.azure.net/.default");
        RunOn(Kms.Replace("myvault.vault.azure.net", "myvault.vault.azure.cn", StringComparison.Ordinal), "init", "--repo", User.At("elsewhere")).ShouldEndWith(0);
        _vault.Scope.ShouldBe("https://vault.azure.cn/.default");
        _vault.IsAllowed = false;
        OneLine(Run("snapshots").ShouldEndWith(13)).ShouldContain("Key Vault Crypto User");
    }

    [Fact]
    public void ADisabledKeyIsNotWrappedUnderThoughTheVaultWould()
    {
        _vault.IsEnabled = false;
        OneLine(Run("init").ShouldEndWith(13)).ShouldContain("disabled");
        _vault.Operations.ShouldNotContain("wrapKey");
        RunOn("azurekeyvault://myvault.vault.azure.net/secrets/backup", "init").ShouldEndWith(2);
        RunOn(Kms + "&client-secret=x", "init").ShouldEndWith(2).Error.ShouldContain("AZURE_CLIENT_SECRET");
    }

    protected override void Rotate() => _vault.Rotate();

    protected override void RetireOldVersion() => _vault.DropOldest();

    protected override void SetEnabled(bool isEnabled) => _vault.IsEnabled = isEnabled;

    protected override void WithWrongCredentials(Action act)
    {
        User.Environment["AZURE_CLIENT_SECRET"] = "another-secret";
        act();
        User.Environment["AZURE_CLIENT_SECRET"] = _vault.ClientSecret;
    }
}
