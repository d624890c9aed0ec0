using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>verify</c> of snapshots of files.</summary>
public sealed class VerifyVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void ASnapshotOfFilesIsLookedAtReadAndRestored()
    {
        _user.Backup(_user.MakeTree());
        string work = _user.MakeFolder("work");
        Ids(Verify(0, "--level", "quick")).ShouldBe(["presence"]);
        Ids(Verify(0)).ShouldBe(["presence", "chunks"]);
        string page = _user.At("page.html");
        JsonElement all = Verify(0, "--level", "comprehensive", "--work", work, "--report", page);
        Ids(all).ShouldBe(["presence", "chunks", "restore", "cleanup"]);
        all.GetProperty("pass_rate").GetDouble().ShouldBe(100);
        all.TryGetProperty("rto_seconds", out _).ShouldBeFalse();
        Directory.GetFileSystemEntries(work).ShouldBeEmpty();
        File.ReadAllText(page).ShouldContain("read back: all are what was backed up");
        ProgramRun shown = _user.Run("verify", "latest", "--level", "comprehensive").ShouldEndWith(0);
        shown.Text.ShouldContain("PASSED: snapshot ");
        _user.Run("show", "latest").ShouldEndWith(0).Text.ShouldContain("comprehensive: passed");
        _user.Run("snapshots", "--verified", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);

        // What makes no sense is refused before anything is done.
        _user.Run("verify", "latest", "--level", "comprehensive", "--assert", "shop: SELECT true").ShouldEndWith(2).Error.ShouldContain("kind files");
        _user.Run("verify", "latest", "--report", _user.At("nowhere", "page.html")).ShouldEndWith(2);
        _user.Run("verify", "latest", "--level", "thorough").ShouldEndWith(2);
    }

    [Fact]
    public void DamageIsFoundNamedAndRemembered()
    {
        string tree = _user.MakeTree();
        _user.Backup(tree);
        string pack = _user.Objects("d").OrderByDescending(static one => new FileInfo(one).Length).First();
        byte[] bytes = File.ReadAllBytes(pack);
        byte[] wrong = [.. bytes];
        wrong[bytes.Length / 2] ^= 1;
        File.SetAttributes(pack, FileAttributes.Normal);
        File.WriteAllBytes(pack, wrong);
        Verify(0, "--level", "quick");
        JsonElement chunks = Verify(14).GetProperty("checks")[1];
        chunks.GetProperty("items")[0].GetString()!.ShouldStartWith($"{tree}/large.bin: ");
        Verify(14, "--level", "comprehensive").GetProperty("checks").EnumerateArray().Single(static check => check.GetProperty("id").GetString() == "restore").GetProperty("status").GetString().ShouldBe("failed");
        _user.Run("status").ShouldEndWith(0).Text.ShouldContain("WARN  restores: ");
        _user.Run("snapshots", "--verified", "--json").Json().GetArrayLength().ShouldBe(0);
        File.Delete(pack);
        Verify(14, "--level", "quick").GetProperty("checks")[0].GetProperty("items")[0].GetString()!.ShouldContain("is missing");
    }

    private JsonElement Verify(int code, params string[] flags) => _user.Run(["verify", "latest", "--json", "--quiet", .. flags]).ShouldEndWith(code).Summary();

    private static string[] Ids(JsonElement report) => [.. report.GetProperty("checks").EnumerateArray().Select(static check => check.GetProperty("id").GetString()!)];
}
