using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>--mirror</c> and <c>storage sync</c>, by the program, on two folders.</summary>
public sealed class MirrorVerbTests : IDisposable
{
    // What is of one storage alone: who is at work, what interrupted runs had stored, what was verified.
    private static readonly string[] Own = ["l", "sp", "v", "tmp"];

    private readonly ProgramUser _user = new();
    private readonly string _mirror;

    public MirrorVerbTests()
    {
        _mirror = _user.At("mirror");
        _user.Run("init", "--mirror", _mirror).ShouldEndWith(0);
    }

    private string[] OnMirror => ["--repo", _mirror, .. _user.Secret, "--no-input"];

    public void Dispose() => _user.Dispose();

    [Fact]
    public void AMirrorGetsWhatIsStoredOpensByItselfAndIsReadWhereTheRepositoryIsAway()
    {
        string source = _user.MakeTree();
        _user.Backup(source, "--mirror", _mirror);
        _user.Run("tag", "latest", "--add", "kept", "--mirror", _mirror).ShouldEndWith(0);
        ShouldBeInStep();
        MirrorRestores(source, "alone");

        string away = _user.Repository + ".away";
        Directory.Move(_user.Repository, away);
        ProgramRun restored = _user.Run("restore", "latest", "--target", _user.At("restored"), "--mirror", _mirror).ShouldEndWith(0);
        restored.Error.ShouldContain("cannot be reached");
        restored.Error.ShouldContain($"its mirror {_mirror} is read in its place");
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.Run("snapshots", "--json", "--mirror", _mirror).ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);
        string[] before = Objects(_mirror);
        _user.Run("backup", source, "--mirror", _mirror).ShouldEndWith(15).Error.ShouldContain("that is only read");
        Objects(_mirror).ShouldBe(before);
        Directory.Exists(_user.Repository).ShouldBeFalse();

        // As a repository of its own it goes on, and knows what it has.
        JsonElement alone = _user.RunPlain(["backup", source, "--json", "--quiet", "--ignore-ctime", .. OnMirror]).ShouldEndWith(0).Summary();
        alone.GetProperty("data_blobs").GetInt32().ShouldBe(0);

        // Then it has something of its own, and nothing of that is lost unasked.
        Directory.Move(away, _user.Repository);
        File.AppendAllText(Path.Combine(source, "readme.txt"), "more\n");
        ProgramRun behind = _user.Run("backup", source, "--mirror", _mirror).ShouldEndWith(3);
        behind.Error.ShouldContain("it has 1 snapshots that");
        _user.Run("storage", "sync", "--mirror", _mirror).ShouldEndWith(3).Error.ShouldContain("'backupiq copy' brings them over");
        _user.RunPlain(["snapshots", "--json", .. OnMirror]).ShouldEndWith(0).Json().GetArrayLength().ShouldBe(2);
        _user.Run("storage", "sync", "--mirror", _mirror, "--delete", "--yes").ShouldEndWith(0);
        ShouldBeInStep();
        MirrorRestores(source, "again");
    }

    [Fact]
    public void AMirrorThatWasAwayIsToldAndBroughtInStep()
    {
        string source = _user.MakeTree();
        _user.Environment["BACKUPIQ_MIRROR"] = _mirror;
        Directory.Move(_mirror, _mirror + ".away");
        ProgramRun run = _user.Run("backup", source).ShouldEndWith(3);
        run.Error.ShouldContain($"The mirror {_mirror} is behind: it cannot be used: The storage's folder is not there");
        Directory.Exists(_mirror).ShouldBeFalse();
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0).Error.ShouldNotContain("mirror");

        Directory.Move(_mirror + ".away", _mirror);
        JsonElement told = _user.Run("storage", "info", "--json").ShouldEndWith(0).Json().GetProperty("mirrors")[0];
        told.GetProperty("in_step").GetBoolean().ShouldBeFalse();
        told.GetProperty("missing_bytes").GetInt64().ShouldBeGreaterThan(3 << 20);
        JsonElement report = _user.Run("storage", "sync", "--json").ShouldEndWith(0).Summary().GetProperty("mirrors")[0];
        report.GetProperty("copied").GetInt32().ShouldBe(told.GetProperty("missing").GetInt32());
        _user.Run("storage", "info").ShouldEndWith(0).Text.ShouldContain($"Mirror    {_mirror}: in step");
        _user.Environment.Remove("BACKUPIQ_MIRROR");
        ShouldBeInStep();
        MirrorRestores(source, "mirrored");
    }

    [Fact]
    public void ABackupTellsProgramsAndReportsHowItsMirrorsStandAndWhatCameOfItsCopies()
    {
        string source = _user.MakeTree(large: 10_000);
        string away = _user.At("away");
        string[] reports = [_user.At("report.json"), _user.At("report.html")];
        string[] with = ["--json", "--mirror", _mirror, "--mirror", away, "--also", _user.At("nowhere"), "--report", reports[0], "--report", reports[1]];
        JsonElement summary = _user.Run(["backup", source, .. with]).ShouldEndWith(3).Summary();
        JsonElement[] mirrors = [.. summary.GetProperty("mirrors").EnumerateArray()];
        mirrors.Select(static one => (one.GetProperty("location").GetString(), one.GetProperty("in_step").GetBoolean())).ShouldBe([(_mirror, true), (away, false)]);
        mirrors[0].GetProperty("problem").ValueKind.ShouldBe(JsonValueKind.Null);
        mirrors[1].GetProperty("problem").GetString()!.ShouldContain("is behind");

        JsonElement reported = JsonDocument.Parse(File.ReadAllText(reports[0])).RootElement.GetProperty("summary");
        reported.GetProperty("mirrors").GetRawText().ShouldBe(summary.GetProperty("mirrors").GetRawText());
        reported.GetProperty("destinations")[0].GetProperty("outcome").GetString().ShouldBe("failed");
        string page = File.ReadAllText(reports[1]);
        page.ShouldContain($"<th>{_mirror}</th><td>mirror, in step</td>");
        page.ShouldContain($"<th>{_user.At("nowhere")}</th><td>failed: ");

        // Nothing is said of mirrors where nothing was put.
        _user.Run("backup", source, "--json", "--dry-run", "--mirror", _mirror).ShouldEndWith(0).Summary().TryGetProperty("mirrors", out _).ShouldBeFalse();
    }

    [Fact]
    public void WhatIsForgottenAndPrunedGoesFromTheMirrorToo()
    {
        string source = _user.MakeTree();
        string[] with = ["--mirror", _mirror];
        _user.Backup(source, with);
        File.Delete(Path.Combine(source, "large.bin"));
        _user.Backup(source, with);
        _user.Run(["forget", "--keep-last", "1", "--allow-mass", "--grace", "0", "--yes", .. with]).ShouldEndWith(0);
        _user.Run(["prune", "--max-unused", "0", .. with]).ShouldEndWith(0);
        ShouldBeInStep();
        new DirectoryInfo(_mirror).EnumerateFiles("*", SearchOption.AllDirectories).Sum(static file => file.Length).ShouldBeLessThan(1 << 20);

        // What went by no hand of ours: a person decides, and more than half of the mirror's snapshots go only when that is said, too.
        Array.ForEach(_user.Objects("s"), File.Delete);
        _user.Run(["storage", "sync", "--delete", .. with]).ShouldEndWith(2);
        _user.Run(["storage", "sync", "--delete", "--yes", .. with]).ShouldEndWith(3).Error.ShouldContain("--allow-mass");
        MirrorRestores(source, "saved");
        _user.Run(["storage", "sync", "--delete", "--allow-mass", "--yes", .. with]).ShouldEndWith(0);
    }

    [Fact]
    public void AtWhateverMomentABackupIsKilledItsMirrorIsARepository()
    {
        string source = _user.MakeTree(large: 12 << 20);
        for (int i = 0; i < 2; i++)
        {
            // More each time: the bytes stored tell the moments apart, not a clock.
            long until = Length(_mirror) + (1 << 20) + (i << 20);
            ProgramUser.RunningProgram running = _user.Start("backup", source, "--mirror", _mirror, "--limit-upload", "16M", "--checkpoint-interval", "200ms", "--no-progress");
            Stopwatch watch = Stopwatch.StartNew();
            while (!running.HasEnded && Length(_mirror) < until && watch.Elapsed < TimeSpan.FromSeconds(30))
            {
                Thread.Sleep(10);
            }

            running.Interrupt(signal: 9);
            running.Wait();
            _user.RunPlain(["check", "--read-data", .. OnMirror]).ShouldEndWith(0);
        }

        _user.Backup(source, "--mirror", _mirror);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("storage", "sync", "--delete", "--yes", "--mirror", _mirror).ShouldEndWith(0);
        ShouldBeInStep();
        MirrorRestores(source, "after");
    }

    [Fact]
    public void DamageOnOneSideIsReplacedFromTheOther()
    {
        string source = _user.MakeTree();
        _user.Backup(source, "--mirror", _mirror);
        string damaged = _user.Objects("d").OrderByDescending(static file => new FileInfo(file).Length).First();
        Flip(damaged);
        string cut = Path.Combine(_mirror, Path.GetRelativePath(_user.Repository, _user.Objects("m")[0]));
        using (FileStream file = File.OpenWrite(cut))
        {
            file.SetLength(file.Length - 10);
        }

        _user.Run("check", "--read-data").ShouldEndWith(14);
        JsonElement report = _user.Run("storage", "sync", "--verify", "--json", "--mirror", _mirror).ShouldEndWith(0).Summary().GetProperty("mirrors")[0];
        report.GetProperty("healed").GetInt32().ShouldBe(1);
        report.GetProperty("healed_in_repository").GetInt32().ShouldBe(1);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        ShouldBeInStep();
        MirrorRestores(source, "healed");

        // What is damaged on both is told.
        Flip(damaged);
        Flip(Path.Combine(_mirror, Path.GetRelativePath(_user.Repository, damaged)));
        _user.Run("storage", "sync", "--verify", "--mirror", _mirror).ShouldEndWith(14).Error.ShouldContain("is damaged");
    }

    [Fact]
    public void WhatDoesNotOpenIsReadFromAMirrorIsToldAndMendedFromThere()
    {
        string source = _user.MakeTree();
        _user.Backup(source, "--mirror", _mirror);
        string[] with = ["--mirror", _mirror];
        string[] damaged = [_user.Objects("d").OrderByDescending(static file => new FileInfo(file).Length).First(), _user.Objects("m")[0], _user.Objects("s")[0], _user.Objects("i")[0]];
        Array.ForEach(damaged, Wipe);
        _user.Run("restore", "latest", "--target", _user.At("alone")).Code.ShouldNotBe(0);

        // Whoever reads gets what was put, and is told.
        ProgramRun restored = _user.Run(["restore", "latest", "--target", _user.At("restored"), .. with]).ShouldEndWith(0);
        restored.Error.ShouldContain($"which its mirror {_mirror} has whole: 'backupiq repair packs'");
        ScratchFolder.Run("diff", "-r", source, _user.At("restored") + source).ShouldBeEmpty();
        _user.Run(["dump", $"latest:{source}/large.bin", .. with]).ShouldEndWith(0).Output.ShouldBe(File.ReadAllBytes(Path.Combine(source, "large.bin")));
        _user.Run(["diff", "latest", "latest", .. with]).ShouldEndWith(0);

        // Whoever checks is told of the repository as it is.
        string[] told = [.. _user.Run(["check", "--read-data", "--json", .. with]).ShouldEndWith(14).Lines().Where(static line => line.TryGetProperty("object", out _)).Select(static line => line.GetProperty("object").GetString()!)];
        told.ShouldBe(damaged.Select(file => Path.GetRelativePath(_user.Repository, file)), ignoreOrder: true);
        JsonElement[] planned = [.. _user.Run(["repair", "packs", "--dry-run", "--json", .. with]).ShouldEndWith(14).Lines().Where(static line => line.TryGetProperty("means", out _))];
        planned.Select(static one => one.GetProperty("means").GetString()).ShouldBe(["mirror", "mirror", "mirror", "mirror"]);
        _user.Run(["repair", "packs", .. with]).ShouldEndWith(0).Text.ShouldContain($"its mirror {_mirror} has it whole");
        _user.Run("check", "--read-data").ShouldEndWith(0);
        ShouldBeInStep();
        MirrorRestores(source, "mirrored");

        // Without a key nobody can tell which of two sides is right where no name does; a repair can, on either side.
        string snapshot = Path.Combine(_mirror, Path.GetRelativePath(_user.Repository, damaged[2]));
        Wipe(snapshot);
        _user.Run(["storage", "sync", .. with]).ShouldEndWith(0);
        _user.Run(["storage", "sync", "--verify", .. with]).ShouldEndWith(14).Error.ShouldContain("is not the same on both sides");
        _user.RunPlain(["repair", "packs", .. OnMirror, "--mirror", _user.Repository]).ShouldEndWith(0);
        _user.Run(["storage", "sync", "--verify", .. with]).ShouldEndWith(0);
        MirrorRestores(source, "again");
    }

    [Fact]
    public void APackThatTheRepositoryLostIsReadFromItsMirror()
    {
        string source = _user.MakeTree();
        _user.Backup(source, "--mirror", _mirror);
        foreach (string pack in _user.Objects("d"))
        {
            File.Delete(pack);
        }

        _user.Run("restore", "latest", "--target", _user.At("lost")).ShouldEndWith(14);
        ProgramRun restored = _user.Run("restore", "latest", "--target", _user.At("found"), "--mirror", _mirror).ShouldEndWith(0);
        restored.Error.ShouldContain("which is read from its mirror");
        ScratchFolder.Run("diff", "-r", source, _user.At("found") + source).ShouldBeEmpty();
    }

    [Fact]
    public void AnEmptyPlaceIsFilledOnlyWhenThatIsSaidAndAnotherRepositoryNever()
    {
        string source = _user.MakeTree(large: 10_000);
        _user.Backup(source);
        string second = _user.MakeFolder("second");
        _user.Write("config.yaml", $"mirrors:\n  - {second}\n");
        string[] with = ["--config", _user.At("config.yaml")];
        _user.Run(["backup", source, .. with]).ShouldEndWith(3).Error.ShouldContain("holds no repository yet");
        _user.Run(["storage", "sync", .. with]).ShouldEndWith(3).Error.ShouldContain("--init fills it");
        Objects(second).ShouldBeEmpty();
        _user.Run(["storage", "sync", "--init", .. with]).ShouldEndWith(0);
        Objects(second).ShouldBe(Objects(_user.Repository));
        _user.Run(["backup", source, .. with]).ShouldEndWith(0);

        string other = _user.At("other");
        _user.RunPlain(["init", "--repo", other, .. _user.Secret]).ShouldEndWith(0);
        string[] before = Objects(other);
        _user.Run("backup", source, "--mirror", other).ShouldEndWith(2).Error.ShouldContain("holds another repository");
        _user.Run("storage", "sync", "--init", "--mirror", other).ShouldEndWith(3).Error.ShouldContain("holds another repository");
        Objects(other).ShouldBe(before);
        _user.Run("storage", "sync", "--mirror", _user.Repository).ShouldEndWith(2);
        _user.Run("snapshots", "--mirror", "nonsense://x").ShouldEndWith(0);
        _user.Run("backup", source, "--mirror", "nonsense://x").ShouldEndWith(2).Error.ShouldContain("nonsense");
    }

    private void ShouldBeInStep() => Objects(_mirror).ShouldBe(Objects(_user.Repository));

    private void MirrorRestores(string source, string name)
    {
        _user.RunPlain(["check", "--read-data", .. OnMirror]).ShouldEndWith(0);
        _user.RunPlain(["restore", "latest", "--target", _user.At(name), .. OnMirror]).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At(name) + source).ShouldBeEmpty();
    }

    private static void Flip(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        bytes[bytes.Length / 2] ^= 0x10;
        File.WriteAllBytes(file, bytes);
    }

    // More than a seal could show.
    private static void Wipe(string file)
    {
        byte[] bytes = File.ReadAllBytes(file);
        bytes.AsSpan(bytes.Length / 3, Math.Min(bytes.Length / 3, 4096)).Clear();
        File.WriteAllBytes(file, bytes);
    }

    private static long Length(string folder) => new DirectoryInfo(Path.Combine(folder, "d")) is { Exists: true } packs
        ? packs.EnumerateFiles("*", SearchOption.AllDirectories).Sum(static file => file.Length)
        : 0;

    private static string[] Objects(string folder) =>
        [.. Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(folder, file))
            .Where(static name => !Own.Contains(name.Split('/')[0])).Order(StringComparer.Ordinal)];
}
