using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>backup --also</c> and <c>destinations:</c>, by the program.</summary>
public sealed class DestinationTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();
    private readonly string _second;
    private readonly string _third;
    private readonly string _thirdKey;

    public DestinationTests()
    {
        // The second opens with the repository's own key, the third with one of its own.
        _second = _user.At("second");
        _third = _user.At("third");
        _thirdKey = _user.At("third.key");
    }

    public void Dispose() => _user.Dispose();

    [Fact]
    public void ABackupIsCopiedToEachDestinationAndEachIsToldOf()
    {
        MakeDestinations();
        string source = _user.MakeTree();
        string configuration = _user.Write("config.yaml", $"destinations:\n  near:\n    repo: {_second}\n  far:\n    repo: {_third}\n    key-file: {_thirdKey}\n");
        string[] with = ["--config", configuration];
        ProgramRun run = _user.Run(["backup", source, .. with]).ShouldEndWith(0);
        run.Text.ShouldContain("copied to near as ");
        run.Text.ShouldContain("copied to far as ");
        Restores(source, "near", "--repo", _second, "--key-file", _user.Secret[1]);
        Restores(source, "far", "--repo", _third, "--key-file", _thirdKey);

        // Only what changed is read for the next.
        File.AppendAllText(Path.Combine(source, "readme.txt"), "more\n");
        JsonElement summary = _user.Run(["backup", source, "--json", .. with]).ShouldEndWith(0).Summary();
        JsonElement[] copies = [.. summary.GetProperty("destinations").EnumerateArray()];
        copies.Select(static copy => (copy.GetProperty("destination").GetString(), copy.GetProperty("outcome").GetString())).ShouldBe([("near", "copied"), ("far", "copied")]);
        copies[1].GetProperty("bytes_read").GetInt64().ShouldBeLessThan(1000);

        _user.Run(["backup", source, "--json", "--also", "near", .. with]).ShouldEndWith(0).Summary().GetProperty("destinations").GetArrayLength().ShouldBe(1);
        _user.Run(["backup", source, "--json", "--no-also", .. with]).ShouldEndWith(0).Summary().TryGetProperty("destinations", out _).ShouldBeFalse();
        _user.Run(["backup", source, "--dry-run", .. with]).ShouldEndWith(0);
        Snapshots(_second, _user.Secret[1]).ShouldBe(3);
        Snapshots(_third, _thirdKey).ShouldBe(2);
    }

    [Fact]
    public void OneThatFailsKeepsNoneOfTheOthersAndTheExitCodeSaysSo()
    {
        MakeDestinations();
        string source = _user.MakeTree();
        string away = _user.At("away");
        ProgramRun run = _user.Run("backup", source, "--also", away, "--also", _third, "--also", _second).ShouldEndWith(3);
        run.Text.ShouldContain(" saved");
        run.Error.ShouldContain($"the backup is saved, but not copied to {away}: There is no repository");
        run.Error.ShouldContain($"not copied to {_third}:");
        run.Error.ShouldContain($"backupiq copy --from-repo '{_user.Repository}' --repo '{_third}'");
        run.Text.ShouldContain($"copied to {_second} as ");

        JsonElement summary = _user.Run("backup", source, "--json", "--also", _third).ShouldEndWith(3).Summary();
        JsonElement told = summary.GetProperty("destinations")[0];
        (told.GetProperty("outcome").GetString(), told.GetProperty("code").GetInt32()).ShouldBe(("failed", 12));
        summary.GetProperty("snapshot_id").GetString().ShouldNotBeNull();

        // What was missed comes with a copy.
        _user.RunPlain(["copy", "--from-repo", _user.Repository, "--from-key-file", _user.Secret[1], "--repo", _third, "--key-file", _thirdKey]).ShouldEndWith(0);
        Snapshots(_third, _thirdKey).ShouldBe(2);
    }

    [Fact]
    public void MistakesAreToldBeforeAnythingIsBackedUp()
    {
        string source = _user.MakeTree(large: 1000);
        _user.Run("backup", source, "--also", _user.Repository).ShouldEndWith(2);
        _user.Run("backup", source, "--also", _second, "--also", _second + "/").ShouldEndWith(2);
        _user.Run("backup", source, "--also", _third, "--also-key-file", _user.At("no-such.key")).ShouldEndWith(2);
        foreach (string wrong in (string[])["destinations:\n  a:\n    key-file: x\n", "destinations:\n  a:\n    repo: /x\n    nonsense: y\n", "destinations: [a]\n", "destinations:\n  a:\n    repo: /x\n    kms: y\n    key-file: z\n"])
        {
            ProgramRun run = _user.Run("backup", source, "--config", _user.Write("wrong.yaml", wrong)).ShouldEndWith(2);
            run.Error.ShouldContain("wrong.yaml:");
        }

        _user.Objects("s").ShouldBeEmpty();
    }

    [Fact]
    public void DestinationsWithinTheSourceAreLeftOut()
    {
        string source = _user.MakeTree(large: 1000);
        string inside = Path.Combine(source, "inside");
        _user.RunPlain(["init", "--repo", inside, .. _user.Secret]).ShouldEndWith(0);
        ProgramRun run = _user.Run("backup", source, "--also", inside).ShouldEndWith(0);
        run.Error.ShouldContain("another repository");
        _user.Run("ls", "latest").ShouldEndWith(0).Text.ShouldNotContain("inside/config");
    }

    private void MakeDestinations()
    {
        _user.RunPlain(["init", "--repo", _second, .. _user.Secret]).ShouldEndWith(0);
        _user.RunPlain("init", "--repo", _third, "--key-file", _thirdKey).ShouldEndWith(0);
    }

    private void Restores(string source, string name, params string[] access)
    {
        _user.RunPlain(["restore", "latest", "--target", _user.At(name), .. access]).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, _user.At(name) + source).ShouldBeEmpty();
    }

    private int Snapshots(string repository, string key) =>
        _user.RunPlain("snapshots", "--json", "--repo", repository, "--key-file", key).ShouldEndWith(0).Json().GetArrayLength();
}
