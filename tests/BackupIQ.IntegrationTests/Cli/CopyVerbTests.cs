using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>copy</c>, <c>export</c> and <c>import</c>, by the program.</summary>
public sealed class CopyVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();
    private readonly string _other;
    private readonly string _otherKey;

    public CopyVerbTests()
    {
        _other = _user.At("other");
        _otherKey = _user.At("other.key");
        InOther("init").ShouldEndWith(0);
    }

    private string[] FromOther => ["--from-repo", _other, "--from-key-file", _otherKey];

    public void Dispose() => _user.Dispose();

    [Fact]
    public void CopiesRestoreEqualNameTheirOriginalsAndAreNotMadeTwice()
    {
        string source = _user.MakeTree();
        InOther("backup", source, "--tag", "daily", "--host", "elsewhere", "--quiet").ShouldEndWith(0);
        File.AppendAllText(Path.Combine(source, "docs", "letter.txt"), "and more\n");
        InOther("backup", source, "--tag", "daily", "--host", "elsewhere", "--quiet").ShouldEndWith(0);
        InOther("backup", source, "--host", "third", "--quiet").ShouldEndWith(0);

        ProgramRun dry = _user.Run(["copy", .. FromOther, "--host", "elsewhere", "--dry-run"]).ShouldEndWith(0);
        dry.Text.ShouldContain("Would copy 2 snapshots");
        _user.Objects("s").ShouldBeEmpty();

        ProgramRun run = _user.Run(["upload", .. FromOther, "--host", "elsewhere", "--json"]).ShouldEndWith(0);
        JsonElement[] copied = [.. run.Lines().Where(static line => line.GetProperty("message_type").GetString() == "snapshot")];
        copied.Select(static one => one.GetProperty("outcome").GetString()).ShouldBe(["copied", "copied"]);
        copied[1].GetProperty("files_read").GetInt64().ShouldBe(1);
        run.Summary().GetProperty("snapshots_copied").GetInt32().ShouldBe(2);

        JsonElement[] originals = [.. InOther("snapshots", "--host", "elsewhere", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        JsonElement[] copies = [.. _user.Run("snapshots", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        copies.Length.ShouldBe(2);
        foreach ((JsonElement original, JsonElement copy) in originals.Zip(copies))
        {
            copy.GetProperty("original").GetString().ShouldBe(original.GetProperty("id").GetString());
            foreach (string field in (string[])["time", "hostname", "username", "paths", "tags", "type", "kind", "program_version", "summary"])
            {
                copy.GetProperty(field).GetRawText().ShouldBe(original.GetProperty(field).GetRawText(), field);
            }
        }

        _user.Run("show", "latest").ShouldEndWith(0).Text.ShouldContain($"copy of      {originals[1].GetProperty("id").GetString()} of repository ");
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.Run("check", "--read-data").ShouldEndWith(0);

        ProgramRun again = _user.Run(["copy", .. FromOther, "-v"]).ShouldEndWith(0);
        again.Text.ShouldContain("Copied 1 snapshot:");
        again.Text.ShouldContain("2 snapshots are there already");
        again.Text.ShouldContain($"is there as {copies[0].GetProperty("short_id").GetString()}");
    }

    [Fact]
    public void ACopyThatIsKilledGoesOnAndStoresLittleAgain()
    {
        string source = _user.MakeTree(large: 48 << 20);
        InOther("backup", source, "--quiet").ShouldEndWith(0);
        ProgramUser.RunningProgram running = _user.Start(["copy", .. FromOther, "--limit-upload", "10M", "--checkpoint-interval", "1s", "--no-progress"]);
        Stopwatch watch = Stopwatch.StartNew();
        while (_user.Objects("i").Length < 3 && !running.HasEnded && watch.Elapsed < TimeSpan.FromSeconds(60))
        {
            Thread.Sleep(20);
        }

        // What a pack holds counts once a segment names it: here each pack has its own, and the packs of a run with such checkpoints have 8 MiB.
        long named = _user.Objects("i").Length * (long)(8 << 20);
        running.Interrupt(signal: 9);
        running.Wait().Code.ShouldNotBe(0);
        named.ShouldBeGreaterThan(16 << 20);
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(0);

        JsonElement next = _user.Run(["copy", .. FromOther, "--json"]).ShouldEndWith(0).Summary();
        next.GetProperty("data_added").GetInt64().ShouldBeLessThanOrEqualTo((48 << 20) + 100_000 - (named * 9 / 10));
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void DamageInTheSourceIsToldByFileAndEndsWith14()
    {
        string source = _user.MakeTree(large: 3 << 20);
        InOther("backup", source, "--quiet").ShouldEndWith(0);
        string pack = Directory.EnumerateFiles(Path.Combine(_other, "d"), "*", SearchOption.AllDirectories).MaxBy(static file => new FileInfo(file).Length)!;
        byte[] bytes = File.ReadAllBytes(pack);
        bytes[bytes.Length / 2] ^= 1;
        File.Delete(pack);
        File.WriteAllBytes(pack, bytes);

        ProgramRun run = _user.Run(["copy", .. FromOther]).ShouldEndWith(14);
        run.Error.ShouldContain(Path.Combine(source, "large.bin"));
        run.Error.ShouldContain("could not be copied whole");
        _user.Objects("s").ShouldBeEmpty();
        string file = _user.At("export");
        InOther("export", "latest", file, "--to-key-file", _otherKey).ShouldEndWith(14);
        File.Exists(file).ShouldBeFalse();
        File.Exists(file + ".partial").ShouldBeFalse();
    }

    [Fact]
    public void WhoMayOnlyAddMayCopyIntoTheRepositoryAndTheSourceMayBeClosedToWriting()
    {
        InOther("backup", _user.MakeTree(), "--quiet").ShouldEndWith(0);
        _user.Run(["copy", .. FromOther, "--append-only"]).ShouldEndWith(0);
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void AnExportIsOneSealedFileThatIsImportedOrUsedAsItIs()
    {
        string source = _user.MakeTree();
        string id = InOther("backup", source, "--tag", "out", "--json", "--quiet").ShouldEndWith(0).Summary().GetProperty("snapshot_id").GetString()!;
        string file = _user.At("accounts.biq");
        string password = _user.Write("export password", "of the file alone\n");
        InOther("export", id, file, "--to-password-file", password).ShouldEndWith(0).Text.ShouldContain($"Snapshot {id[..8]} is in {file}");
        File.GetUnixFileMode(file).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.ReadAllBytes(file).AsSpan().IndexOf("read me"u8).ShouldBe(-1);
        InOther("export", id, file, "--to-password-file", password).ShouldEndWith(7).Error.ShouldContain("is not overwritten");

        ProgramRun imported = _user.Run("import", file, "--from-password-file", password, "--json").ShouldEndWith(0);
        imported.Summary().GetProperty("snapshots_copied").GetInt32().ShouldBe(1);
        JsonElement copy = _user.Run("snapshots", "--json").ShouldEndWith(0).Json()[0];
        copy.GetProperty("original").GetString().ShouldBe(id);
        copy.GetProperty("tags")[0].GetString().ShouldBe("out");
        _user.Run("restore", "latest", "--target", _user.At("imported")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("imported") + source).ShouldBeEmpty();
        _user.Run("import", file, "--from-password-file", password).ShouldEndWith(0).Text.ShouldContain("1 snapshot is there already");

        string[] itself = ["--repo", file, "--password-file", password, "--no-input"];
        _user.RunPlain(["restore", "latest", "--target", _user.At("direct"), .. itself]).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("direct") + source).ShouldBeEmpty();
        _user.RunPlain(["check", "--read-data", .. itself]).ShouldEndWith(0);
        _user.RunPlain(["backup", source, .. itself]).Error.ShouldContain("only read");

        // Unpacked it is a repository like any other.
        string unpacked = _user.MakeFolder("unpacked");
        ScratchFolder.Run("tar", "xf", file, "-C", unpacked);
        _user.RunPlain("snapshots", "--repo", unpacked, "--password-file", password, "--no-input").ShouldEndWith(0).Text.ShouldContain("1 snapshot");
    }

    [Fact]
    public void AnExportMayBeSealedForAKeyOfAKeystore()
    {
        string source = _user.MakeTree();
        InOther("backup", source, "--quiet").ShouldEndWith(0);
        string store = _user.At("keystore");
        string[] password = ["--keystore-password-file", _user.Write("keystore password", "of the keystore\n"), "--no-input"];
        _user.RunPlain(["keystore", "create", store, .. password]).ShouldEndWith(0);
        _user.RunPlain(["keystore", "add", store, "accounts", .. password]).ShouldEndWith(0);
        string file = _user.At("accounts.biq");
        InOther(["export", "latest", file, "--to-kms", $"local:{store}#accounts", .. password[..2]]).ShouldEndWith(0);

        _user.Run(["import", file, "--from-kms", $"local:{store}#accounts", .. password[..2]]).ShouldEndWith(0);
        _user.Run("restore", "latest", "--target", _user.At("imported")).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At("imported") + source).ShouldBeEmpty();

        _user.RunPlain(["keystore", "disable", store, "accounts", .. password]).ShouldEndWith(0);
        _user.RunPlain(["snapshots", "--repo", file, "--kms", $"local:{store}#accounts", .. password]).ShouldEndWith(13).Error.ShouldContain("keystore enable");
    }

    [Fact]
    public void AnExportGoesThroughAPipe()
    {
        string source = _user.MakeTree();
        InOther("backup", source, "--quiet").ShouldEndWith(0);
        ProgramRun run = InOther("export", "latest", "-", "--to-key-file", _otherKey, "--json").ShouldEndWith(0);
        string file = _user.At("piped");
        File.WriteAllBytes(file, run.Output);
        _user.Run("import", file, "--from-key-file", _otherKey).ShouldEndWith(0);
    }

    [Fact]
    public void WhatIsNoWholeExportIsRefusedAndNothingIsImported()
    {
        InOther("backup", _user.MakeTree(), "--quiet").ShouldEndWith(0);
        string file = _user.At("export");
        InOther("export", "latest", file, "--to-key-file", _otherKey).ShouldEndWith(0);
        byte[] whole = File.ReadAllBytes(file);
        Import(whole[..^1024]).ShouldEndWith(14).Error.ShouldContain("cut short");
        Import(whole[..(whole.Length / 2)]).ShouldEndWith(14).Error.ShouldContain("cut short");
        Import([.. "#!/bin/sh\n"u8, .. whole]).ShouldEndWith(10).Error.ShouldContain("no export of BackupIQ");
        byte[] flipped = [.. whole];
        flipped[flipped.Length / 2] ^= 1;
        Import(flipped).ShouldEndWith(14);
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(0);
        _user.Run("import", file, "--from-password-file", _user.PasswordFile).ShouldEndWith(12);
        _user.Run("import", _user.At("nothing"), "--from-key-file", _otherKey).ShouldEndWith(10);
        _user.Run("import", _other, "--from-key-file", _otherKey).ShouldEndWith(2).Error.ShouldContain("copy --from-repo");
        Import(whole).ShouldEndWith(0);

        ProgramRun Import(byte[] bytes)
        {
            string damaged = _user.At("damaged");
            File.WriteAllBytes(damaged, bytes);
            return _user.Run("import", damaged, "--from-key-file", _otherKey);
        }
    }

    [Fact]
    public void WhatIsMissingOrWrongIsSaid()
    {
        _user.Run("copy").ShouldEndWith(2).Error.ShouldContain("--from-repo");
        _user.Run("copy", "--from-repo", _user.At("nothing"), "--from-key-file", _otherKey).ShouldEndWith(10);
        _user.Run("copy", "--from-repo", _other).ShouldEndWith(2).Error.ShouldContain("--from-password-file");
        _user.Run("copy", "--from-repo", _user.Repository, "--from-key-file", _user.Secret[1]).ShouldEndWith(2).Error.ShouldContain("same repository");
        _user.Environment["BACKUPIQ_FROM_REPO"] = _other;
        _user.Environment["BACKUPIQ_FROM_KEY_FILE"] = _otherKey;
        _user.Run("copy", "--quiet").ShouldEndWith(0).Text.ShouldBeEmpty();
        _user.Run("copy", "abcd").ShouldEndWith(1).Error.ShouldContain("no snapshot");
    }

    private ProgramRun InOther(params string[] arguments) => _user.RunPlain([.. arguments, "--repo", _other, "--key-file", _otherKey, "--no-input"]);
}
