using System.Globalization;
using BackupIQ.Testing.KeyServices;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.KeyServices;

/// <summary>Google Cloud KMS, on a fake that is held to Google's discovery document. It never ran at Google.</summary>
public sealed class GoogleProgramTests : KeyServiceProgramTests
{
    private readonly FakeGoogleKms _kms = new();
    private readonly string _account;

    public GoogleProgramTests()
    {
        _account = User.Write("account.json", _kms.AccountFile());
        User.Environment["GOOGLE_APPLICATION_CREDENTIALS"] = _account;
    }

    protected override string Kms => $"gcpkms://{FakeGoogleKms.Name}?endpoint={_kms.Address.AbsoluteUri.TrimEnd('/')}";

    protected override string MissingKms => Kms.Replace("cryptoKeys/backup", "cryptoKeys/bakcup", StringComparison.Ordinal);

    protected override string UnreachableKms => string.Create(CultureInfo.InvariantCulture, $"gcpkms://{FakeGoogleKms.Name}?endpoint=http://127.0.0.1:{ServerProcess.FreePort()}");

    protected override string[] Secrets => ["PRIVATE KEY", .. File.ReadAllText(_account).Split("\\n").Where(static line => line.Length == 64).Take(3)];

    protected override FakeService? Fake => _kms;

    [Fact]
    public void WhoMayNotUseTheKeyIsToldAndAChecksumThatIsWrongToo()
    {
        Run("init").ShouldEndWith(0);
        _kms.IsAllowed = false;
        OneLine(Run("snapshots").ShouldEndWith(13)).ShouldContain("CryptoKey Encrypter/Decrypter");
        _kms.IsAllowed = true;
        _kms.Garbles = true;
        OneLine(Run("snapshots").ShouldEndWith(15)).ShouldContain("changed on the way");
        _kms.Garbles = false;
        Run("snapshots").ShouldEndWith(0);
        RunOn("gcpkms://projects/fake/locations/l/keyRings/r", "snapshots").ShouldEndWith(2);
        RunOn(Kms + "&credentials=/nowhere.json", "snapshots").ShouldEndWith(2).Error.ShouldContain("/nowhere.json");
    }

    protected override void Rotate() => _kms.Key.Rotate();

    protected override void RetireOldVersion() => _kms.Destroy(1);

    protected override void SetEnabled(bool isEnabled) => _kms.Key.IsEnabled = isEnabled;

    protected override void WithWrongCredentials(Action act)
    {
        User.Environment["GOOGLE_APPLICATION_CREDENTIALS"] = User.Write("strange.json", _kms.AccountFile(isStrange: true));
        act();
        User.Environment["GOOGLE_APPLICATION_CREDENTIALS"] = _account;
    }
}
