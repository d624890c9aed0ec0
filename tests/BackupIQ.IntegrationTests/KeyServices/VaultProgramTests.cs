using System.Globalization;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.KeyServices;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.KeyServices;

/// <summary>Vault's transit engine and its secrets, on a fake that is held to what HashiCorp has published. It never ran on a real Vault.</summary>
public sealed class VaultProgramTests : KeyServiceProgramTests
{
    private const string Token = "hvs.CAESIJlWh8Qm0vBkq2aN";

    private readonly FakeVault _vault = new();
    private readonly string _tokenFile;

    public VaultProgramTests()
    {
        _vault.Keys["backup"] = new FakeKey();
        _vault.AllowToken(Token);
        _tokenFile = Private("token", Token);
        User.Environment["BACKUPIQ_VAULT_TOKEN_FROM"] = "file:" + _tokenFile;
        User.Environment["VAULT_ADDR"] = _vault.Address.ToString();
    }

    protected override string Kms => $"vault://{_vault.Address.Authority}/transit/keys/backup?endpoint={_vault.Address.AbsoluteUri.TrimEnd('/')}";

    protected override string MissingKms => "vault:transit/keys/bakcup";

    protected override string UnreachableKms => string.Create(CultureInfo.InvariantCulture, $"vault:transit/keys/backup?endpoint=http://127.0.0.1:{ServerProcess.FreePort()}");

    protected override string[] Secrets => [Token];

    protected override FakeService? Fake => _vault;

    [Fact]
    public void WhoMayNotUseTheKeyIsToldWhichRightIsMissing()
    {
        Run("init").ShouldEndWith(0);
        _vault.AllowToken(Token, "transit/decrypt/backup");
        string line = OneLine(Run("snapshots").ShouldEndWith(13));
        line.ShouldContain("does not allow");
        line.ShouldContain("'update' on transit/decrypt/backup");

        // Looking at the key is not needed, neither for it to open nor for doctor.
        _vault.AllowToken(Token, "transit/keys/backup");
        Run("snapshots").ShouldEndWith(0);
        Run("key", "rotate").ShouldEndWith(0);
        Run("doctor").ShouldEndWith(0);
    }

    [Fact]
    public void AMountThatIsNotThereAndASealedVaultAreTold()
    {
        OneLine(RunOn("vault:transt/keys/backup", "init").ShouldEndWith(15)).ShouldContain("no transit engine at 'transt'");
        Run("init").ShouldEndWith(0);
        _vault.Busy = 2;
        Run("snapshots").ShouldEndWith(0);
        _vault.IsSealed = true;
        OneLine(Run("snapshots").ShouldEndWith(15)).ShouldContain("503");
    }

    [Fact]
    public void ANamespaceGoesWithEachRequest()
    {
        _vault.Namespace = "team/backup";
        Run("init").ShouldEndWith(13);
        RunOn(Kms + "&namespace=team/backup", "init").ShouldEndWith(0);
        User.Environment["VAULT_NAMESPACE"] = "team/backup";
        Run("snapshots").ShouldEndWith(0);
    }

    [Fact]
    public void APasswordComesFromVaultByReference()
    {
        _vault.Secrets["secret/backup/laptop"] = new() { ["password"] = "correct horse", ["empty"] = "" };
        _vault.Secrets["kv1/backup"] = new() { ["pass"] = "correct horse" };
        string[] second = ["--password-from", "vault:secret/backup/laptop#password", "--repo", User.Repository, "--no-input"];
        User.RunPlain(["init", .. second]).ShouldEndWith(0);
        User.RunPlain(["snapshots", .. second]).ShouldEndWith(0);
        User.RunPlain("snapshots", "--password-from", "vault:kv1/backup#pass", "--repo", User.Repository, "--no-input").ShouldEndWith(0);
        Line("vault:secret/backup/laptop#passwd", 2).ShouldContain("no field 'passwd'");
        Line("vault:secret/backup/desktop#password", 2).ShouldContain("none at that path");
        Line("vault:secret/backup/laptop#empty", 2).ShouldContain("empty");
        Line("vault:elsewhere/x#y", 13).ShouldContain("does not allow");
        _vault.RevokeToken(Token);
        Line("vault:secret/backup/laptop#password", 13).ShouldContain("does not know the token");

        string Line(string reference, int code)
        {
            ProgramRun run = User.RunPlain("snapshots", "--password-from", reference, "--repo", User.Repository, "--no-input").ShouldEndWith(code);
            run.Error.ShouldNotContain("correct horse");
            run.Error.ShouldNotContain(Token);
            return OneLine(run);
        }
    }

    [Fact]
    public void ARoleSignsInByItsSecretIdAndAgainWhenThatIsRotated()
    {
        const string Role = "59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8";
        const string First = "84896a0c-1347-aa90-a4f6-aca8b7558780";
        string file = Private("secret-id", First);
        User.Environment.Remove("BACKUPIQ_VAULT_TOKEN_FROM");
        User.Environment["BACKUPIQ_VAULT_ROLE_ID"] = Role;
        User.Environment["BACKUPIQ_VAULT_SECRET_ID_FROM"] = "file:" + file;
        OneLine(Run("init").ShouldEndWith(13)).ShouldContain("does not accept the role's id");
        _vault.Roles[Role] = First;
        Run("init").ShouldEndWith(0);
        _vault.RevokeAll();
        Run("snapshots").ShouldEndWith(0).Error.ShouldNotContain(First);

        _vault.Roles[Role] = "another";
        ProgramRun refused = Run("snapshots").ShouldEndWith(13);
        refused.Error.ShouldNotContain(First);
        File.WriteAllText(file, "another\n");
        Run("snapshots").ShouldEndWith(0);

        User.Environment["BACKUPIQ_VAULT_APPROLE_MOUNT"] = "elsewhere";
        OneLine(Run("snapshots").ShouldEndWith(15)).ShouldContain("no AppRole at 'auth/elsewhere'");
        User.Environment.Remove("BACKUPIQ_VAULT_SECRET_ID_FROM");
        OneLine(Run("snapshots").ShouldEndWith(2)).ShouldContain("BACKUPIQ_VAULT_SECRET_ID_FROM");
    }

    [Fact]
    public void ATokenInTheUrlIsRefusedWithoutShowingIt()
    {
        ProgramRun run = RunOn(Kms + "&token=" + Token, "init").ShouldEndWith(2);
        OneLine(run).ShouldContain("token-from");
        run.Error.ShouldNotContain(Token);
        RunOn(Kms + "&token-from=" + Token, "init").ShouldEndWith(2).Error.ShouldNotContain(Token);
        RunOn(Kms + "&token-from=vault:secret/x%23y", "init").ShouldEndWith(2);
        RunOn("vault:transit/backup", "init").ShouldEndWith(2);
        RunOn("vualt:transit/keys/backup", "init").ShouldEndWith(2).Error.ShouldContain("did you mean 'vault:'");
    }

    protected override void Rotate() => _vault.Keys["backup"].Rotate();

    protected override void RetireOldVersion() => _vault.Keys["backup"].Oldest = 2;

    // Vault has no switch: older versions are disallowed, here all of them.
    protected override void SetEnabled(bool isEnabled) => _vault.Keys["backup"].Oldest = isEnabled ? 2 : 3;

    protected override void WithWrongCredentials(Action act)
    {
        File.WriteAllText(_tokenFile, "hvs.AnotherOnesToken\n");
        act();
        File.WriteAllText(_tokenFile, Token + "\n");
    }

    private string Private(string name, string text)
    {
        string path = User.Write(name, text + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return path;
    }
}
