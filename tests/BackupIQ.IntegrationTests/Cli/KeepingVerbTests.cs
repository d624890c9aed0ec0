using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>What is kept and what goes: tag, hold, pin, forget, undelete, retention.</summary>
public sealed class KeepingVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();
    private readonly string _source;

    public KeepingVerbTests() => _source = _user.MakeTree(large: 1000);

    public void Dispose() => _user.Dispose();

    [Fact]
    public void TagsAreAddedRemovedAndSetAndFiltersSeeThem()
    {
        string first = Backup("--tag", "own");
        string second = Backup();

        _user.Run("tag", first, "--add", "a,b", "--remove", "own").ShouldEndWith(0).Text.ShouldContain("tags: a, b");
        _user.Run("tag", "--host", Environment.MachineName, "--add", "all").ShouldEndWith(0);

        Shown("--tag", "a").ShouldBe([first]);
        Shown("--tag", "own").ShouldBeEmpty();
        Shown("--tag", "all").ShouldBe([first, second]);
        _user.Run("tag", second, "--set", "x,y", "--json").ShouldEndWith(0).Json()[0].GetProperty("tags").EnumerateArray()
            .Select(static tag => tag.GetString()).ShouldBe(["x", "y"]);
        _user.Run("tag", second, "--set", "").ShouldEndWith(0).Text.ShouldContain("no tags");
        _user.Run("tag", "--add", "x").ShouldEndWith(2);
        _user.Run("tag", first).ShouldEndWith(2);
        _user.Run("tag", first, "--set", "x", "--add", "y").ShouldEndWith(2);
        _user.Run("check").ShouldEndWith(0);
    }

    [Fact]
    public void WhatIsHeldIsShownAndCannotBeForgotten()
    {
        string first = Backup();
        string second = Backup();
        _user.Run("hold", second, "--until", "2999-12-31", "--reason", "audit 7").ShouldEndWith(0);

        JsonElement hold = _user.Run("hold", "list", "--json").ShouldEndWith(0).Json()[0];
        hold.GetProperty("snapshot_id").GetString().ShouldBe(second);
        hold.GetProperty("reason").GetString().ShouldBe("audit 7");
        _user.Run("hold", "list").ShouldEndWith(0).Text.ShouldContain("audit 7");
        _user.Run("snapshots").ShouldEndWith(0).Text.ShouldContain("held until 3000-01-01");
        _user.Run("show", second).ShouldEndWith(0).Text.ShouldContain("audit 7");

        ProgramRun refused = _user.Run("forget", second, "--allow-mass", "--json").ShouldEndWith(17);
        refused.ExitError().GetProperty("error").GetString().ShouldBe("RetentionRefused");
        Shown().ShouldBe([first, second]);

        _user.Run("hold", "--release", second).ShouldEndWith(0);
        _user.Run("hold", "list", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(0);
        _user.Run("forget", second).ShouldEndWith(0);
        Shown().ShouldBe([first]);
    }

    [Theory]
    [InlineData("2020-01-01")]
    [InlineData("soon")]
    [InlineData("31.12.2999")]
    public void AnEndThatIsOverOrNoneIsRefused(string until) => _user.Run("hold", Backup(), "--until", until).ShouldEndWith(2);

    [Fact]
    public void RulesForgetAndUndeleteBringsBackWhatRestoresEqual()
    {
        string[] ids = [.. Enumerable.Range(0, 4).Select(_ => Backup())];
        _user.Run("pin", ids[0], "--reason", "first").ShouldEndWith(0);

        JsonElement group = _user.Run("forget", "--keep-last", "2", "--dry-run", "--json").ShouldEndWith(0).Json()[0];
        group.GetProperty("host").GetString().ShouldBe(Environment.MachineName);
        group.GetProperty("paths")[0].GetString().ShouldBe(_source);
        group.GetProperty("tags").ValueKind.ShouldBe(JsonValueKind.Null);
        Ids(group.GetProperty("keep")).ShouldBe([ids[3], ids[2], ids[0]]);
        Ids(group.GetProperty("remove")).ShouldBe([ids[1]]);
        JsonElement[] reasons = [.. group.GetProperty("reasons").EnumerateArray()];
        reasons[0].GetProperty("matches")[0].GetString().ShouldBe("last snapshot");
        reasons[0].GetProperty("counters").GetProperty("last").GetInt32().ShouldBe(1);
        reasons[2].GetProperty("matches")[0].GetString().ShouldBe("pinned");
        group.GetProperty("remove_reasons")[0].GetProperty("matches")[0].GetString().ShouldBe("older than the last 2");
        Shown().ShouldBe(ids);

        string text = _user.Run("forget", "--keep-last", "2").ShouldEndWith(0).Text;
        text.ShouldContain("older than the last 2");
        text.ShouldContain("Forgot 1 snapshot; until ");
        Shown().ShouldBe([ids[0], ids[2], ids[3]]);
        Ids(_user.Run("snapshots", "--deleted", "--json").ShouldEndWith(0).Json()).ShouldBe([ids[1]]);
        _user.Run("snapshots", "--deleted").ShouldEndWith(0).Text.ShouldContain(ids[1][..8]);
        _user.Run("restore", ids[1], "--target", _user.At("no")).ShouldEndWith(1);
        _user.Run("check", "--read-data").ShouldEndWith(0);

        _user.Run("undelete", ids[1][..8]).ShouldEndWith(0).Text.ShouldContain("brought back");
        Shown().ShouldBe(ids);
        _user.Run("restore", $"{ids[1]}:{_source}", "--target", _user.At("back"), "--verify").ShouldEndWith(0);
        File.ReadAllText(_user.At("back", "readme.txt")).ShouldBe(File.ReadAllText(Path.Combine(_source, "readme.txt")));
        _user.Run("undelete", ids[1]).ShouldEndWith(1);
    }

    [Fact]
    public void TooMuchAtOnceIsRefusedUnlessItIsMeant()
    {
        string[] ids = [.. Enumerable.Range(0, 4).Select(_ => Backup())];

        ProgramRun refused = _user.Run("forget", "--keep-last", "1", "--allow-mass", "--dry-run").ShouldEndWith(0);
        refused.Error.ShouldNotContain("refused");
        _user.Run("forget", ids[1], ids[2], ids[3]).ShouldEndWith(17).Error.ShouldContain("3 of 4 snapshots");
        _user.Run("forget", ids[1], ids[2], ids[3], "--dry-run").ShouldEndWith(0).Error.ShouldContain("would be refused");

        // The first is the only full one.
        _user.Run("forget", ids[0]).ShouldEndWith(17).Error.ShouldContain("newest full");
        Shown().ShouldBe(ids);

        _user.Run("forget", "--keep-last", "1", "--allow-mass").ShouldEndWith(0);
        Shown().ShouldBe([ids[3]]);
    }

    [Fact]
    public void WithoutAGraceTimeSomebodyMustSayYes()
    {
        string[] ids = [.. Enumerable.Range(0, 3).Select(_ => Backup())];

        _user.Run("forget", ids[2], "--grace", "0").ShouldEndWith(2).Error.ShouldContain("--yes");
        Shown().ShouldBe(ids);
        _user.Run("forget", ids[2], "--grace", "0", "--yes").ShouldEndWith(0);
        Shown().ShouldBe(ids[..2]);
    }

    [Fact]
    public void WithPruneTheContentGoesOnceTheGraceTimeIsOver()
    {
        string big = Path.Combine(_source, "big");
        byte[] bytes = new byte[2 << 20];
        new Random(9).NextBytes(bytes);
        File.WriteAllBytes(big, bytes);
        string with = Backup();
        File.Delete(big);
        string without = Backup();
        Backup();
        long before = Size();

        // In its grace time it is a root, and can be brought back.
        _user.Run("forget", with, "--allow-mass", "--prune", "--max-unused", "0").ShouldEndWith(0);
        Size().ShouldBeGreaterThan(before - (1 << 20));
        _user.Run("undelete", with).ShouldEndWith(0);
        _user.Run("restore", $"{with}:{_source}", "--target", _user.At("back")).ShouldEndWith(0);
        File.ReadAllBytes(_user.At("back", "big")).ShouldBe(bytes);

        string text = _user.Run("forget", with, "--allow-mass", "--grace", "0", "--yes", "--prune", "--max-unused", "0").ShouldEndWith(0).Text;
        text.ShouldContain("Removed 1 forgotten snapshot for good");
        text.ShouldContain("Freed");
        Size().ShouldBeLessThan(before - (1 << 20));
        _user.Run("undelete", with).ShouldEndWith(1);
        _user.Run("restore", $"{without}:{_source}", "--target", _user.At("left")).ShouldEndWith(0);
        _user.Run("check", "--read-data").ShouldEndWith(0);
        _user.Run("forget", without, "--dry-run", "--prune").ShouldEndWith(0).Text.ShouldContain("Would");
    }

    [Fact]
    public void ChecksGoByWhatEarlierOnesVerified()
    {
        Backup();
        Backup();
        JsonElement first = _user.Run("check", "--max-age", "30d", "--json").ShouldEndWith(0).Summary();
        long packs = first.GetProperty("packs_verified").GetInt64();
        packs.ShouldBeGreaterThan(0);
        JsonElement second = _user.Run("check", "--max-age", "30d", "--json").ShouldEndWith(0).Summary();
        second.GetProperty("packs_verified").GetInt64().ShouldBe(0);
        second.GetProperty("packs_fresh").GetInt64().ShouldBe(packs);
        second.GetProperty("packs_never_verified").GetInt64().ShouldBe(0);
        second.GetProperty("oldest_verification").ValueKind.ShouldBe(JsonValueKind.String);
        _user.Run("check", "--max-age", "30d").ShouldEndWith(0).Error.ShouldContain("not read again");
        _user.Run("doctor").Text.ShouldContain("the oldest verification is");

        JsonElement none = _user.Run("check", "--budget", "0", "--json").ShouldEndWith(0).Summary();
        none.GetProperty("packs_due").GetInt64().ShouldBe(packs);
        none.GetProperty("packs_verified").GetInt64().ShouldBe(0);
        _user.Run("check", "--read-data", "--budget", "1h", "--json").ShouldEndWith(0).Summary().GetProperty("packs_verified").GetInt64().ShouldBe(packs);
        _user.Run("check", "--resume", "--max-age", "1d").ShouldEndWith(2);
        _user.Run("check", "--budget", "soon").ShouldEndWith(2);
    }

    [Fact]
    public void ForgettingWithoutSenseIsRefused()
    {
        string id = Backup();
        _user.Run("forget").ShouldEndWith(2).Error.ShouldContain("rules");
        _user.Run("forget", "--keep-last", "0").ShouldEndWith(2);
        _user.Run("forget", "--keep-daily", "many").ShouldEndWith(2);
        _user.Run("forget", "--policy", "forever").ShouldEndWith(2);
        _user.Run("forget", "--keep-last", "1", "--group-by", "colour").ShouldEndWith(2);
        _user.Run("forget", id, "--keep-last", "1").ShouldEndWith(2);
        _user.Run("forget", "0123456789abcdef").ShouldEndWith(1).Error.ShouldContain("no snapshot '0123456789abcdef'");
        _user.Run("undelete", id).ShouldEndWith(1);
        Shown().ShouldBe([id]);
    }

    [Fact]
    public void TheConfigurationsRulesAreInForceUntilOthersAreWritten()
    {
        string config = _user.Write("config.yaml", "retention:\n  policy: simple:3\n  full: keep:monthly=24\n  grace: 2d\n");
        string[] ids = [.. Enumerable.Range(0, 5).Select(_ => Backup())];

        string shown = _user.RunPlain("retention", "show", "--config", config).ShouldEndWith(0).Text;
        shown.ShouldContain("all others");
        shown.ShouldContain("monthly: 24");
        JsonElement rules = _user.RunPlain("retention", "show", "--config", config, "--type", "incremental", "--json").ShouldEndWith(0).Json()[0];
        rules.GetProperty("policy").GetString().ShouldBe("simple");
        rules.GetProperty("keep").GetProperty("last").GetInt32().ShouldBe(3);
        rules.GetProperty("grace_seconds").GetInt32().ShouldBe(2 * 86_400);

        // Four incremental ones, of which three stay; the full one has its own rule.
        Ids(_user.Run("forget", "--config", config, "--dry-run", "--json").ShouldEndWith(0).Json()[0].GetProperty("remove")).ShouldBe([ids[1]]);
        Ids(_user.Run("forget", "--config", config, "--keep-last", "4", "--dry-run", "--json").ShouldEndWith(0).Json()[0].GetProperty("remove")).ShouldBeEmpty();
        _user.RunPlain("retention", "show", "--policy", "gfs").ShouldEndWith(0).Text.ShouldContain("daily: 7, weekly: 4, monthly: 12, yearly: 3");

        string wrong = _user.Write("wrong.yaml", "retention:\n  policy: gfs:daily=x\n");
        _user.RunPlain("config", "validate", "--config", wrong).ShouldEndWith(2).Text.ShouldContain("retention");
    }

    [Fact]
    public void AYearIsSimulated()
    {
        JsonElement year = _user.RunPlain("retention", "simulate", "--policy", "gfs", "--json").ShouldEndWith(0).Json();
        year.GetProperty("made").GetInt32().ShouldBe(365);
        year.GetProperty("months").GetArrayLength().ShouldBeInRange(12, 13);
        int kept = year.GetProperty("kept").GetInt32();
        kept.ShouldBeInRange(18, 24);
        year.GetProperty("keep").GetArrayLength().ShouldBe(kept);

        _user.RunPlain("retention", "simulate", "--keep-last", "5", "--every", "6h", "--for", "30d").ShouldEndWith(0).Text.ShouldContain("kept then: 5");
        _user.RunPlain("retention", "simulate").ShouldEndWith(2);
        _user.RunPlain("retention", "simulate", "--policy", "gfs", "--every", "0").ShouldEndWith(2);
        Backup();
        _user.Run("retention", "simulate", "--keep-last", "3", "--existing", "--for", "1d", "--json").ShouldEndWith(0).Json()
            .GetProperty("kept").GetInt32().ShouldBe(2);
    }

    private static string[] Ids(JsonElement snapshots) => [.. snapshots.EnumerateArray().Select(static snapshot => snapshot.GetProperty("id").GetString()!)];

    private long Size() => _user.Objects("d").Sum(static file => new FileInfo(file).Length);

    private string Backup(params string[] flags) => _user.Backup(_source, flags).GetProperty("snapshot_id").GetString()!;

    private string[] Shown(params string[] flags) => Ids(_user.Run(["snapshots", "--json", .. flags]).ShouldEndWith(0).Json());
}
