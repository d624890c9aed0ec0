using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.KeyServices;

/// <summary>A key on a PKCS#11 token, which is SoftHSM's.</summary>
public sealed class Pkcs11ProgramTests : KeyServiceProgramTests
{
    private readonly SoftHsm _token;
    private string _newest = "01";

    public Pkcs11ProgramTests()
    {
        ServerProcess.Require(SoftHsm.IsInstalled, SoftHsm.Missing);
        _token = new SoftHsm();
        _token.MakeKey("kek", "01");
        User.Environment["SOFTHSM2_CONF"] = _token.Configuration;
        User.Environment["HSM_PIN"] = SoftHsm.Pin;
    }

    protected override string Kms => Url("kek");

    protected override string MissingKms => Url("kok");

    protected override string UnreachableKms => Url("kek").Replace("ci%20token", "another", StringComparison.Ordinal);

    protected override string[] Secrets => [SoftHsm.Pin];

    public override void Dispose()
    {
        _token?.Dispose();
        base.Dispose();
    }

    [Fact]
    public void ATokenThatIsTakenOutAndAKeyThatIsDeletedAreTold()
    {
        Run("init").ShouldEndWith(0);
        _token.TakeOut(true);
        OneLine(Run("snapshots").ShouldEndWith(15)).ShouldContain("no token 'ci token'");
        _token.TakeOut(false);
        Run("snapshots").ShouldEndWith(0);
        _token.MakeKey("kek", "02");
        _token.DeleteKey("kek", "01");
        OneLine(Run("snapshots").ShouldEndWith(15)).ShouldContain("id 01");
    }

    [Fact]
    public void APairOfRsaKeysWrapsHereAndUnwrapsOnTheToken()
    {
        string pair = Url("pair").Replace("object=pair", "object=pair;type=private", StringComparison.Ordinal);
        OneLine(RunOn(pair, "init").ShouldEndWith(15)).ShouldContain("no such private key");
        _token.MakePair("pair", "01");
        RunOn(pair, "init").ShouldEndWith(0);
        RunOn(pair, "snapshots").ShouldEndWith(0);
        RunOn(Url("pair"), "snapshots").ShouldEndWith(12);

        // Another pair of that label is the newest version; what the first wrapped it unwraps, until it is gone.
        _token.MakePair("pair", "02");
        RunOn(pair, "snapshots").ShouldEndWith(0);
        RunOn(pair, "key", "rotate").ShouldEndWith(0);
        _token.DeletePrivate("pair", "01");
        RunOn(pair, "snapshots").ShouldEndWith(0);
        _token.DeletePrivate("pair", "02");
        _token.MakePair("pair", "03");
        OneLine(RunOn(pair, "snapshots").ShouldEndWith(15)).ShouldContain("id 02");
        _token.MakePair("weak", "01", bits: 1024);
        User.Repository = User.At("another");
        OneLine(RunOn(pair.Replace("object=pair", "object=weak", StringComparison.Ordinal), "init").ShouldEndWith(2)).ShouldContain("1024 bits");
    }

    [Fact]
    public void APinInTheUrlIsRefusedWithoutShowingIt()
    {
        ProgramRun run = RunOn(Kms + "&pin-value=" + SoftHsm.Pin, "init").ShouldEndWith(2);
        OneLine(run).ShouldContain("pin-source");
        run.Error.ShouldNotContain(SoftHsm.Pin);
        RunOn("pkcs11:object=kek?module-path=/x", "init").ShouldEndWith(2).Error.ShouldContain("no token");
        RunOn("pkcs11:token=a;object=kek?module-path=/nowhere.so", "init").ShouldEndWith(1).Error.ShouldContain("/nowhere.so");
        OneLine(RunOn(Kms.Replace("env:HSM_PIN", "env:NOT_SET", StringComparison.Ordinal), "init").ShouldEndWith(2)).ShouldContain("NOT_SET");
    }

    protected override void Rotate()
    {
        _token.MakeKey("kek", "0a");
        _newest = "0a";
    }

    protected override void RetireOldVersion() => _token.DeleteKey("kek", "01");

    protected override void SetEnabled(bool isEnabled) => AllowDecryption(isEnabled, [Convert.FromHexString(_newest)[0]]);

    protected override void WithWrongCredentials(Action act)
    {
        User.Environment["HSM_PIN"] = "00000001";
        act();
        User.Environment["HSM_PIN"] = SoftHsm.Pin;
    }

    private static string Url(string label) => $"pkcs11:token=ci%20token;object={label}?module-path={SoftHsm.Module}&pin-source=env:HSM_PIN";

    // No tool that is at hand sets the attribute, so a small program of Python's asks the library for it.
    private void AllowDecryption(bool isAllowed, byte[] id)
    {
        string script = User.Write("allow.py", """
            import ctypes, sys
            lib = ctypes.CDLL(sys.argv[1])
            U = ctypes.c_ulong
            class A(ctypes.Structure): _fields_ = [("type", U), ("value", ctypes.c_void_p), ("length", U)]
            def ok(rv):
                if rv: sys.exit("0x%x" % rv)
            def attribute(kind, data):
                keep = ctypes.create_string_buffer(data, len(data)); return A(kind, ctypes.cast(keep, ctypes.c_void_p), len(data)), keep
            ok(lib.C_Initialize(None))
            slots = (U * 16)(); count = U(16); ok(lib.C_GetSlotList(ctypes.c_ubyte(1), slots, ctypes.byref(count)))
            session = U(); ok(lib.C_OpenSession(slots[0], U(6), None, None, ctypes.byref(session)))
            pin = sys.argv[2].encode(); ok(lib.C_Login(session, U(1), pin, U(len(pin))))
            wanted, keep = attribute(0x102, bytes.fromhex(sys.argv[3]))
            ok(lib.C_FindObjectsInit(session, ctypes.byref(wanted), U(1)))
            found = U(); n = U(); ok(lib.C_FindObjects(session, ctypes.byref(found), U(1), ctypes.byref(n))); ok(lib.C_FindObjectsFinal(session))
            value, keep2 = attribute(0x105, bytes([int(sys.argv[4])]))
            ok(lib.C_SetAttributeValue(session, found, ctypes.byref(value), U(1)))
            """);
        ProgramRun run = User.RunOther("python3", script, SoftHsm.Module!, SoftHsm.Pin, Convert.ToHexString(id), isAllowed ? "1" : "0");
        run.Code.ShouldBe(0, run.Error);
    }
}
