using System.Globalization;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Jobs;
using BackupIQ.Primitives;
using BackupIQ.Testing;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>Key services, new epochs, revocation, kits and ages, by the program as it is used.</summary>
public sealed class KeyVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void AKeyOfAKeystoreOpensTheRepositoryUntilItIsDisabledAndEveryUseIsLogged()
    {
        string store = MakeKeystore(out string[] password);
        _user.Run(["key", "add", "--kms", $"local:{store}", .. password]).ShouldEndWith(0);
        string[] access = ["--repo", _user.Repository, "--kms", $"local:{store}", .. password, "--no-input"];
        _user.RunPlain(["snapshots", .. access]).ShouldEndWith(0);
        _user.RunPlain(["key", "list", "--json", .. access]).ShouldEndWith(0).Json().EnumerateArray()
            .Single(static key => key.GetProperty("current").GetBoolean()).GetProperty("type").GetString().ShouldBe("kms");

        _user.RunPlain(["keystore", "rotate", store, "default", .. password]).ShouldEndWith(0).Text.ShouldContain("version is 2");
        _user.RunPlain(["snapshots", .. access]).ShouldEndWith(0);
        _user.RunPlain(["key", "rotate", .. access]).ShouldEndWith(0);
        _user.RunPlain(["snapshots", .. access]).ShouldEndWith(0);

        _user.RunPlain(["keystore", "disable", store, "default", .. password]).ShouldEndWith(0);
        ProgramRun refused = _user.RunPlain(["snapshots", .. access]).ShouldEndWith(13);
        refused.Error.ShouldContain("disabled");
        refused.Error.ShouldContain("keystore enable");
        _user.RunPlain(["keystore", "enable", store, "default", .. password]).ShouldEndWith(0);
        _user.RunPlain(["snapshots", .. access]).ShouldEndWith(0);
        _user.RunPlain(["snapshots", "--repo", _user.Repository, "--kms", $"local:{store}", "--keystore-password-file", _user.Write("wrong", "wrong\n"), "--no-input"])
            .ShouldEndWith(12).Error.ShouldContain("keystore");
        _user.RunPlain(["snapshots", "--repo", _user.Repository, "--kms", "otherkms://alias/x", .. password, "--no-input"]).ShouldEndWith(2);

        string[] log = _user.RunPlain(["keystore", "log", store, .. password]).ShouldEndWith(0).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string[] operations = [.. log.Select(static line => JsonDocument.Parse(line).RootElement).Select(static e => $"{e.GetProperty("operation").GetString()} {e.GetProperty("outcome").GetString()}")];
        operations.ShouldContain("generate done");
        operations.ShouldContain("unwrap done");
        operations.ShouldContain("unwrap refused");
        operations.ShouldContain("open refused");
    }

    [Fact]
    public void ARepositoryIsMadeForAKeystoreAloneAndTheConfigurationFileNamesIt()
    {
        string store = MakeKeystore(out string[] password);
        _user.RunPlain(["keystore", "add", store, "photos", .. password]).ShouldEndWith(0);
        string config = _user.Write("config.yaml", $"repo: {_user.At("second")}\nkms: local:{store}#photos\nkeystore-password-file: {password[1]}\n");
        _user.RunPlain("init", "--config", config, "--no-input").ShouldEndWith(0);
        _user.RunPlain("snapshots", "--config", config, "--no-input").ShouldEndWith(0);
        _user.RunPlain(["snapshots", "--repo", _user.At("second"), "--kms", $"local:{store}", .. password, "--no-input"]).ShouldEndWith(12);
        _user.RunPlain(["keystore", "list", store, "--json", .. password]).ShouldEndWith(0).Json().GetArrayLength().ShouldBe(2);
        _user.RunPlain(["keystore", "create", store, .. password]).ShouldEndWith(2);
    }

    [Fact]
    public void ARevokedKeyReadsNothingOfWhatIsWrittenLaterAndEverybodyElseReadsAll()
    {
        string source = _user.MakeTree(large: 300_000);
        string ben = _user.Write("ben", "the password of Ben\n");
        string ann = _user.Write("ann", "the password of Ann\n");
        string kit = _user.At("kit.txt");
        string bensKey = _user.Run("key", "add", "--new-password-file", ben, "--label", "for Ben", "--json").ShouldEndWith(0).Json().GetProperty("id").GetString()!;
        _user.Run("key", "add", "--new-password-file", ann, "--label", "for Ann").ShouldEndWith(0);
        _user.Run("key", "recovery-kit", "--output", kit).ShouldEndWith(0);
        _user.Backup(source);
        ScratchFolder.Run("cp", Path.Combine(_user.Repository, "keys", bensKey), _user.At("bens slot"));

        _user.Run("key", "revoke", bensKey[..8]).ShouldEndWith(2).Error.ShouldContain("--yes");
        JsonElement outcome = _user.Run("key", "revoke", bensKey[..8], "--yes", "--json").ShouldEndWith(0).Json();
        outcome.GetProperty("epoch").GetInt32().ShouldBe(2);
        File.WriteAllText(Path.Combine(source, "later.txt"), "written later, and long enough to be a chunk of its own: " + new string('x', 2000));
        _user.Backup(source);

        foreach (string[] secret in (string[][])[_user.Secret, ["--password-file", ann], ["--recovery-kit", kit]])
        {
            string target = _user.At($"target {Guid.NewGuid():n}");
            _user.RunPlain(["restore", "latest", "--target", target, "--repo", _user.Repository, "--no-input", .. secret]).ShouldEndWith(0);
            ScratchFolder.Run("diff", "-r", source, target + source);
        }

        _user.Run("check", "--read-data").ShouldEndWith(0);
        JsonElement[] epochs = [.. _user.Run("key", "epochs", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        epochs.Length.ShouldBe(2);
        epochs.ShouldAllBe(static epoch => epoch.GetProperty("stored_size").GetInt64() > 0);

        // Somebody puts Ben's key back: it opens what is older, and writes nothing.
        string[] bens = ["--repo", _user.Repository, "--password-file", ben, "--no-input"];
        _user.RunPlain(["snapshots", .. bens]).ShouldEndWith(12);
        File.Copy(_user.At("bens slot"), Path.Combine(_user.Repository, "keys", bensKey));
        _user.RunPlain(["restore", "latest", "--target", _user.At("bens"), .. bens]).Code.ShouldBe(14);
        File.Exists(_user.At("bens") + source + "/readme.txt").ShouldBeTrue();
        File.Exists(_user.At("bens") + source + "/later.txt").ShouldBeFalse();
        string[] before = _user.Objects("");
        _user.RunPlain(["backup", source, .. bens]).ShouldEndWith(12).Error.ShouldContain("left out when key epoch 2 began");
        _user.RunPlain(["prune", .. bens]).ShouldEndWith(12);
        _user.RunPlain(["tag", "--add", "x", "latest", .. bens]).Code.ShouldNotBe(0);
        _user.Objects("").ShouldBe(before);
        _user.Run("doctor").Text.ShouldContain("left behind by key epoch 2");
    }

    [Fact]
    public void ThePythonReaderReadsARepositoryOfSeveralEpochsWithEverySecret()
    {
        Assert.SkipUnless(
            File.Exists("/usr/bin/python3") && _user.RunOther("/usr/bin/python3", "-c", "import cryptography").Code == 0, "Debian's python3-cryptography is not installed.");
        string source = _user.MakeTree(large: 300_000);
        string ann = _user.Write("ann", "the password of Ann\n");
        string kit = _user.At("kit.html");
        _user.Run("key", "add", "--new-password-file", ann).ShouldEndWith(0);
        _user.Run("key", "recovery-kit", "--output", kit).ShouldEndWith(0);
        _user.Backup(source);
        for (int epoch = 2; epoch < 4; epoch++)
        {
            _user.Run("key", "rotate", "--new-epoch", "--yes").ShouldEndWith(0).Error.ShouldContain("Print a new recovery kit");
            File.WriteAllText(Path.Combine(source, $"{epoch}.txt"), epoch + new string('x', 2000));
            _user.Backup(source);
        }

        string reader = Path.Combine(AppContext.BaseDirectory, "../../../../docs/reference/restore.py");
        foreach (string[] secret in (string[][])[_user.Secret, ["--password-file", ann], ["--recovery-kit", kit]])
        {
            string target = _user.At($"target {Guid.NewGuid():n}");
            _user.RunOther(["/usr/bin/python3", reader, .. secret, _user.Repository, "restore", "latest", target]).ShouldEndWith(0);
            ScratchFolder.Run("diff", "-r", source, target + source);
        }

        _user.RunOther(["/usr/bin/python3", reader, .. _user.Secret, _user.Repository, "verify"]).ShouldEndWith(0);
    }

    [Fact]
    public void KilledAtAnyMomentARotationLeavesARepositoryThatOpensWithEveryKey()
    {
        string ann = _user.Write("ann", "the password of Ann\n");
        string store = MakeKeystore(out string[] password);
        _user.Run("key", "add", "--new-password-file", ann).ShouldEndWith(0);
        _user.Run(["key", "add", "--kms", $"local:{store}", .. password]).ShouldEndWith(0);
        System.Diagnostics.Stopwatch whole = System.Diagnostics.Stopwatch.StartNew();
        _user.Run("key", "rotate", "--new-epoch", "--yes").ShouldEndWith(0);

        // From half of a run on, for before that the program starts; how long a run takes changes with what else the machine does.
        TimeSpan delay = 0.5 * whole.Elapsed;
        int killed = 0;
        for (int i = 0; i < 12 || (killed == 0 && i < 60); i++)
        {
            ProgramUser.RunningProgram rotation = _user.Start("key", "rotate", "--new-epoch", "--yes");
            Thread.Sleep(delay);
            rotation.Interrupt(9);
            bool isKilled = rotation.Wait().Code != 0;
            killed += isKilled ? 1 : 0;
            delay *= isKilled ? 1.08 : 0.7;
            int[] epochs =
            [
                .. ((string[][])[_user.Secret, ["--password-file", ann], ["--kms", $"local:{store}", .. password]])
                    .Select(secret => _user.RunPlain(["key", "epochs", "--json", "--repo", _user.Repository, "--no-input", .. secret]))
                    .Select(static run => run.Code is 0 or 14 ? run.Json().GetArrayLength() : throw new InvalidOperationException(run.Error)),
            ];
            epochs.Distinct().Count().ShouldBe(1, string.Create(CultureInfo.InvariantCulture, $"killed for the {i}. time"));
        }

        killed.ShouldBeGreaterThan(0);
        // A copy that the last one did not come to put is told, and the next change of keys puts it.
        _user.Run("key", "rotate", "--new-epoch", "--yes").Code.ShouldBeOneOf(0, 14);
        _user.Backup(_user.MakeTree());
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void ABackupThatBeganBeforeARotationGoesOnWithTheOldEpochAndIsWhole()
    {
        string source = _user.MakeTree(large: 300_000);
        ProgramUser.RunningProgram backup = _user.Start(
            "backup", "--json", "--quiet", "--stdin-filename", "late", "--stdin-from-command", "--", "sh", "-c", $"while [ ! -e '{_user.At("go")}' ]; do sleep 0.1; done; echo late");
        while (_user.Objects("l").Length == 0)
        {
            backup.HasEnded.ShouldBeFalse();
            Thread.Sleep(50);
        }

        _user.Run("key", "rotate", "--new-epoch", "--yes").ShouldEndWith(0);
        _user.Backup(source);
        _user.Write("go", "");
        string late = backup.Wait().ShouldEndWith(0).Summary().GetProperty("snapshot_id").GetString()!;
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(2);
        _user.Run("dump", late + ":/late").ShouldEndWith(0).Text.ShouldBe("late\n");
        _user.Run("prune").ShouldEndWith(0);
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public async Task DoctorSpeaksOfOldKeys()
    {
        _user.Run("doctor").Text.ShouldContain("none older than 90 days");
        string old = _user.At("old");
        using Secret keyFile = Secret.Random(32);
        string file = _user.At("old.key");
        await File.WriteAllBytesAsync(file, keyFile.Bytes.ToArray(), TestContext.Current.CancellationToken);
        ManualTime hundredDaysAgo = new(TimeProvider.System.GetUtcNow().AddDays(-100));
        (BackupIqRepository made, _) = await BackupIqRepository.CreateAsync(
            old, new RepositorySecrets { KeyFile = keyFile }, recoveryKit: false, time: hundredDaysAgo, cancellationToken: TestContext.Current.CancellationToken);
        await made.DisposeAsync();
        string text = _user.RunPlain("doctor", "--repo", old, "--key-file", file).Text;
        text.ShouldContain("older than 90 days");
        text.ShouldContain("first key file, 100 days");
        text.ShouldContain("the master key is 100 days old");
        text.ShouldContain("--new-epoch");
        _user.RunPlain("key", "rotate", "--new-epoch", "--yes", "--repo", old, "--key-file", file).ShouldEndWith(0);
        _user.RunPlain("doctor", "--repo", old, "--key-file", file).Text.ShouldNotContain("the master key is");
    }

    [Fact]
    public void AKitIsAPageToPrintWhereItsNameSaysSo()
    {
        string kit = _user.At("kit.html");
        _user.Run("key", "recovery-kit", "--output", kit).ShouldEndWith(0);
        File.ReadAllText(kit).ShouldStartWith("<!DOCTYPE html>");
        File.GetUnixFileMode(kit).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _user.RunPlain("snapshots", "--repo", _user.Repository, "--recovery-kit", kit, "--no-input").ShouldEndWith(0);
    }

    private string MakeKeystore(out string[] password)
    {
        string store = _user.At("keystore");
        password = ["--keystore-password-file", _user.Write("keystore password", "a password for keys\n")];
        _user.RunPlain(["keystore", "create", store, .. password]).ShouldEndWith(0);
        File.GetUnixFileMode(store).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return store;
    }
}
