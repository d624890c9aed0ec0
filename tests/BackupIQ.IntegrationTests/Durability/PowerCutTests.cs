using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Jobs;
using BackupIQ.Primitives;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Durability;

/// <summary>
/// What the program made durable, seen from outside: its system calls are traced, and from them every disk is made that a power cut at any moment
/// could leave. A missing or misplaced sync shows here and nowhere else, for a killed process loses nothing that it wrote.
/// </summary>
public sealed class PowerCutTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();
    private readonly string _source;
    private readonly string _before;

    public PowerCutTests()
    {
        _source = _user.MakeTree(large: 600_000);
        _before = _user.At("before");
    }

    public void Dispose() => _user.Dispose();

    [Theory]
    [InlineData("backup")]
    [InlineData("tag", "latest", "--add", "important")]
    [InlineData("key", "add", "--label", "second", "--new-key-file")]
    [InlineData("forget", "latest~1", "--allow-mass")]
    [InlineData("prune", "--max-unused", "0")]
    [InlineData("prune", "--max-unused", "0", "--exclusive", "--yes")]
    public async Task Costs_nothing_that_was_there_and_nothing_that_was_reported_done(params string[] words)
    {
        (PowerCut cut, _) = TraceVerb(words);
        (await FindLossAsync(cut)).ShouldBeNull();
    }

    [Theory]
    [InlineData("tmp/*.pack")]
    [InlineData("tmp/*.put")]
    [InlineData("d/*")]
    [InlineData("m/*")]
    [InlineData("i")]
    [InlineData("s")]
    [InlineData("")]
    public async Task Would_cost_something_without_the_sync_of(string name)
    {
        ScratchFolder.Run("cp", "-a", _user.Repository, _before);
        (_, IReadOnlyList<SystemCall> calls) = SystemCall.Trace(_user, () => _user.Run("backup", _source));
        bool IsLeftOut(SystemCall call) => call.IsSync && System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(Path.Join(_user.Repository, name), call.Path);
        calls.Count(IsLeftOut).ShouldBeGreaterThan(0);
        (await FindLossAsync(new PowerCut(_user.Repository, _before, calls.Where(call => !IsLeftOut(call))))).ShouldNotBeNull();
    }

    [Fact]
    public void A_first_backup_leaves_its_key_and_its_kit_behind_for_good()
    {
        (ProgramRun run, IReadOnlyList<SystemCall> calls) = SystemCall.Trace(_user, () => _user.RunPlain("backup", _source));
        run.ShouldEndWith(0);
        foreach (string folder in (string[])[".config/backupiq", ".local/share/backupiq/repository"])
        {
            string root = Path.Combine(_user.Home, folder);
            PowerCut cut = new(root, _user.At("nothing"), calls.Where(call => call.IsSyncOfAll || call.Paths.Any(path => IsWithin(path, root))));
            SortedDictionary<string, bool> left = cut.ObjectsAt(int.MaxValue, static () => false);
            left.Where(static one => one.Value).Select(static one => one.Key).ShouldBe(PowerCut.NamesIn(root), ignoreOrder: true, folder);
        }

        int commit = calls.Single(call => call.Name.StartsWith("rename", StringComparison.Ordinal) && Path.GetFileName(Path.GetDirectoryName(call.Path)) == "s").Begin;
        foreach (string path in (string[])[Path.Combine(_user.Home, ".config"), Path.Combine(_user.Home, ".config/backupiq/repository.key")])
        {
            calls.ShouldContain(call => call.IsSync && call.Path == Path.GetDirectoryName(path) && call.End < commit, path);
        }
    }

    [Fact]
    public void A_restore_that_ended_well_is_on_the_disk()
    {
        _user.Backup(_source);
        string target = _user.At("target");
        (ProgramRun run, IReadOnlyList<SystemCall> calls) = SystemCall.Trace(_user, () => _user.Run("restore", "latest:" + _source, "--target", target));
        run.ShouldEndWith(0);
        int last = calls.Where(call => !call.IsSyncOfAll && call.Paths.Any(path => IsWithin(path, target))).Max(static call => call.End);
        calls.ShouldContain(call => call.IsSyncOfAll && IsWithin(call.Path, target) && call.Begin > last);
    }

    private (PowerCut Cut, IReadOnlyList<SystemCall> Calls) TraceVerb(params string[] words)
    {
        for (int i = 0; i < 3; i++)
        {
            File.WriteAllText(Path.Combine(_source, "readme.txt"), $"version {i}");
            byte[] more = new byte[300_000];
            new Random(i).NextBytes(more);
            File.WriteAllBytes(Path.Combine(_source, $"more {i % 2}"), more);
            if (i < 2)
            {
                _user.Backup(_source);
            }
        }

        if (words[0] == "prune")
        {
            _user.Run("forget", "latest~1", "--grace", "0", "--allow-mass", "--yes").ShouldEndWith(0);
        }

        string[] all = words switch
        {
            ["backup"] => ["backup", _source, "--jobs", "2"],
            [.., "--new-key-file"] => [.. words, MakeKey("second key")],
            _ => words,
        };
        ScratchFolder.Run("cp", "-a", _user.Repository, _before);
        (ProgramRun run, IReadOnlyList<SystemCall> calls) = SystemCall.Trace(_user, () => _user.Run(all));
        run.ShouldEndWith(0);
        return (new PowerCut(_user.Repository, _before, calls), calls);
    }

    /// <summary>The first disk on which something is lost, or null.</summary>
    private async Task<string?> FindLossAsync(PowerCut cut)
    {
        SortedDictionary<string, bool> end = cut.ObjectsAt(int.MaxValue, static () => false);
        string[] lost = [.. PowerCut.NamesIn(_user.Repository).Where(name => !end.GetValueOrDefault(name))];
        if (lost.Length > 0)
        {
            return "after the end: " + string.Join(", ", lost);
        }

        using Secret key = new(File.ReadAllBytes(_user.At("repository.key")));
        string[] kept = await SnapshotsAsync(_before, key);
        string[] after = await SnapshotsAsync(_user.Repository, key);
        HashSet<string> seen = new(StringComparer.Ordinal);
        Random random = new(1);
        foreach (int moment in cut.Moments)
        {
            foreach (Func<bool> luck in (Func<bool>[])[static () => false, static () => true, () => random.Next(2) == 0, () => random.Next(2) == 0])
            {
                SortedDictionary<string, bool> objects = cut.ObjectsAt(moment, luck);
                if (seen.Add(PowerCut.Describe(objects)) && await FindDamageAsync(cut, objects, [.. kept.Intersect(after)], key) is { } damage)
                {
                    return $"at {moment}: {damage}\n{PowerCut.Describe(objects)}";
                }
            }
        }

        seen.Count.ShouldBeGreaterThan(1);
        return null;
    }

    private async Task<string?> FindDamageAsync(PowerCut cut, SortedDictionary<string, bool> objects, string[] kept, Secret key)
    {
        string folder = _user.At("disk");
        cut.Build(objects, folder);
        try
        {
            await using BackupIqRepository repository = await BackupIqRepository.OpenAsync(folder, new RepositorySecrets { KeyFile = key });
            CheckReport report = await repository.CheckAsync(new CheckRequest { ReadData = true });
            string[] missing = [.. kept.Except((await repository.ListSnapshotsAsync()).Select(static snapshot => snapshot.Id))];
            return missing.Length > 0 ? "lost snapshots " + string.Join(", ", missing)
                : report.Errors > 0 ? string.Join(", ", report.Issues.Select(static issue => $"{issue.ObjectName} {issue.Problem}"))
                : repository.Findings.Count > 0 ? repository.Findings[0]
                : null;
        }
        catch (BackupIQException failure)
        {
            return failure.Message;
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private string MakeKey(string name)
    {
        byte[] key = new byte[64];
        new Random(2).NextBytes(key);
        File.WriteAllBytes(_user.At(name), key);
        return _user.At(name);
    }

    private static async Task<string[]> SnapshotsAsync(string folder, Secret key)
    {
        await using BackupIqRepository repository = await BackupIqRepository.OpenAsync(folder, new RepositorySecrets { KeyFile = key });
        return [.. (await repository.ListSnapshotsAsync()).Select(static snapshot => snapshot.Id)];
    }

    private static bool IsWithin(string path, string folder) => path == folder || path.StartsWith(folder + "/", StringComparison.Ordinal);
}
