using System.CommandLine;
using System.Security.Cryptography;
using BackupIQ.Cli;
using BackupIQ.Cli.Commands;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>Acceptance point B7, by every verb: who may only add removes and changes nothing, and forget says 17.</summary>
public sealed class AppendOnlyTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();
    private readonly string _source;

    public AppendOnlyTests() => _source = _user.MakeTree(large: 1000);

    public void Dispose() => _user.Dispose();

    [Fact]
    public void NoVerbRemovesOrChangesWhatIsStored()
    {
        string[] ids = [.. Enumerable.Range(0, 4).Select(_ => Backup())];
        _user.Run("hold", ids[1]).ShouldEndWith(0);
        _user.Run("tag", ids[2], "--add", "x").ShouldEndWith(0);
        _user.Run("forget", ids[3]).ShouldEndWith(0);
        string other = _user.Write("new password", "another one\n");
        string key = _user.Run("key", "add", "--new-password-file", other, "--json").ShouldEndWith(0).Json().GetProperty("id").GetString()!;
        Dictionary<string, string> before = Contents();

        // What removes or changes says 17; what only reads or adds works.
        foreach ((int code, string[] words) in ((int, string[])[])
        [
            (0, ["backup", _source, "--quiet"]),
            (0, ["backup", _source, "--type", "full", "--quiet"]),
            (17, ["forget", ids[0], "--allow-mass"]),
            (17, ["forget", ids[0], "--allow-mass", "--grace", "0", "--yes"]),
            (17, ["forget", "--keep-last", "1", "--allow-mass"]),
            (17, ["delete", "--policy", "simple:1", "--allow-mass", "--yes"]),
            (0, ["forget", "--keep-last", "1", "--dry-run"]),
            (17, ["hold", "--release", ids[1]]),
            (17, ["tag", ids[2], "--remove", "x"]),
            (17, ["tag", ids[2], "--set", ""]),
            (0, ["tag", ids[2], "--add", "y"]),
            (0, ["hold", ids[2], "--reason", "audit"]),
            (0, ["pin", ids[2]]),
            (17, ["pin", "--remove", ids[2]]),
            (0, ["undelete", ids[3]]),
            (17, ["key", "add", "--new-password-file", other]),
            (17, ["key", "passwd", key, "--new-password-file", other]),
            (17, ["key", "remove", key, "--yes"]),
            (17, ["key", "rotate", "--new-password-file", other]),
            (17, ["key", "recovery-kit", "--output", _user.At("kit")]),
            (17, ["config", "repository", "--clients-only-add", "on"]),
            (0, ["check", "--read-data"]),
            (0, ["restore", "latest", "--target", _user.At("restored")]),
        ])
        {
            _user.Run([.. words, "--append-only"]).ShouldEndWith(code);
            before = Unchanged(before, string.Join(' ', words));
        }

        // And whatever other verbs there are, now and later, however they end.
        foreach (string verb in AllVerbs(CommandLine.CreateRoot()))
        {
            foreach (string[] more in (string[][])[[], ["latest"], [ids[0], _user.At("out")], ["--exclusive"]])
            {
                ProgramRun run = _user.Run([.. verb.Split(' '), .. more, "--yes", "--append-only"]);

                // To wal-fetch 255 is the failure behind which PostgreSQL does not promote.
                run.Code.ShouldBeInRange(0, verb == "pg wal-fetch" ? 255 : 130);
                before = Unchanged(before, $"{verb} {string.Join(' ', more)}");
            }
        }

        Backup();
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void ARepositoryMaySayThatItsClientsOnlyAdd()
    {
        string id = Backup();
        Backup();
        _user.Run("config", "repository", "--clients-only-add", "on").ShouldEndWith(0).Text.ShouldContain("clients only add  yes");
        _user.Run("config", "repository", "--json").ShouldEndWith(0).Json().GetProperty("clients_only_add").GetBoolean().ShouldBeTrue();

        Dictionary<string, string> before = Contents();
        Backup();
        _user.Run("forget", id, "--allow-mass").ShouldEndWith(17).Error.ShouldContain("append-only: false");
        _user.Run("forget", id, "--allow-mass", "--json").ShouldEndWith(17).ExitError().GetProperty("error").GetString().ShouldBe("AppendOnly");
        _user.Run("config", "repository", "--clients-only-add", "off").ShouldEndWith(17);
        Unchanged(before, "a client's verbs");

        // Where it is maintained, the configuration says so.
        string config = _user.Write("config.yaml", "append-only: false\n");
        _user.Run("forget", id, "--allow-mass", "--config", config).ShouldEndWith(0);
        _user.Run("forget", "latest", "--allow-mass", "--config", config, "--append-only").ShouldEndWith(17);
        _user.Run("config", "repository", "--clients-only-add", "off", "--config", config).ShouldEndWith(0);
        _user.Run("forget", "latest", "--allow-mass").ShouldEndWith(0);
    }

    [Fact]
    public void InitMakesARepositoryWhoseClientsOnlyAdd()
    {
        string second = _user.At("second");
        _user.RunPlain(["init", "--repo", second, .. _user.Secret, "--append-only", "--recovery-kit", _user.At("kit")]).ShouldEndWith(0);
        string[] access = ["--repo", second, .. _user.Secret];
        _user.RunPlain(["backup", _source, "--quiet", .. access]).ShouldEndWith(0);
        _user.RunPlain(["forget", "latest", "--allow-mass", .. access]).ShouldEndWith(17);
        _user.RunPlain("snapshots", "--repo", second, "--recovery-kit", _user.At("kit")).ShouldEndWith(0);
    }

    private static IEnumerable<string> AllVerbs(Command root) => root.Subcommands.OfType<Verb>()
        .Where(static verb => verb.Name is not ("init" or "bench" or "completion" or "server" or "serve" or "mount" or "agent"))
        .SelectMany(static verb => verb is VerbGroup ? verb.Subcommands.Select(sub => $"{verb.Name} {sub.Name}") : [verb.Name]);

    private string Backup() => _user.Backup(_source).GetProperty("snapshot_id").GetString()!;

    // Each object with the hash of its bytes; what runs put aside while they work is none.
    private Dictionary<string, string> Contents() => Directory.EnumerateFiles(_user.Repository, "*", SearchOption.AllDirectories)
        .Select(file => (Name: Path.GetRelativePath(_user.Repository, file), File: file))
        .Where(static one => !one.Name.StartsWith("tmp", StringComparison.Ordinal) && !one.Name.StartsWith('.'))
        .ToDictionary(static one => one.Name, static one => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(one.File))), StringComparer.Ordinal);

    private Dictionary<string, string> Unchanged(Dictionary<string, string> before, string what)
    {
        Dictionary<string, string> now = Contents();
        before.Except(now).ShouldBeEmpty(what);
        return now;
    }
}
