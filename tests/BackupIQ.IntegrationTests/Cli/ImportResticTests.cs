using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary><c>import restic</c> with repositories that restic itself makes.</summary>
public sealed class ImportResticTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public ImportResticTests()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/restic"), "restic is not installed: apt-get install restic.");
        _user.Environment["RESTIC_PASSWORD"] = "of restic";
        _user.Write("restic-password", "of restic\n");
    }

    private string Foreign => _user.At("restic");

    public void Dispose() => _user.Dispose();

    [Theory]
    [InlineData("1")]
    [InlineData("2")]
    public void SnapshotsComeOverWithWhatTheyAre(string version)
    {
        Restic("init", "--repository-version", version);
        string source = _user.MakeTree();
        File.WriteAllText(Path.Combine(source, "ä \"quoted\\\" \u001b"), "odd\n");
        ScratchFolder.Run("ln", Path.Combine(source, "readme.txt"), Path.Combine(source, "hard"));
        ScratchFolder.Run("ln", "-s", "docs/nowhere", Path.Combine(source, "link"));
        Restic("backup", source, "--host", "one", "--tag", "a,b", "--time", "2021-02-03 04:05:06");
        File.AppendAllText(Path.Combine(source, "readme.txt"), "more\n");
        Restic("backup", source, "--host", "one", "--time", "2021-02-04 04:05:06");
        Restic("backup", Path.Combine(source, "docs"), "--host", "two", "--time", "2021-02-05 04:05:06");

        ProgramRun dry = Import("--dry-run").ShouldEndWith(0);
        dry.Text.ShouldContain("3 snapshots would be taken over");
        _user.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(0);

        JsonElement summary = Import("--json").ShouldEndWith(0).Summary();
        summary.GetProperty("snapshots_imported").GetInt32().ShouldBe(3);
        JsonElement[] theirs = [.. JsonDocument.Parse(Restic("snapshots", "--json")).RootElement.EnumerateArray()];
        JsonElement[] ours = [.. _user.Run("snapshots", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        ours.Length.ShouldBe(3);
        for (int i = 0; i < 3; i++)
        {
            ours[i].GetProperty("time").GetDateTimeOffset().ShouldBe(theirs[i].GetProperty("time").GetDateTimeOffset());
            ours[i].GetProperty("original").GetString().ShouldBe(theirs[i].GetProperty("id").GetString());
            foreach (string field in (string[])["hostname", "username", "paths"])
            {
                ours[i].GetProperty(field).ToString().ShouldBe(theirs[i].GetProperty(field).ToString());
            }

            string[] tags = theirs[i].TryGetProperty("tags", out JsonElement list) ? [.. list.EnumerateArray().Select(static tag => tag.GetString()!)] : [];
            ours[i].GetProperty("tags").EnumerateArray().Select(static tag => tag.GetString()).ShouldBe(tags);
            string id = ours[i].GetProperty("id").GetString()!;
            Restic("restore", theirs[i].GetProperty("id").GetString()!, "--target", _user.At($"theirs{i}"));
            _user.Run("restore", id, "--target", _user.At($"ours{i}")).ShouldEndWith(0);

            // The targets themselves are of no snapshot.
            string top = "/" + source.Split('/')[1] + "/";
            ScratchFolder.Run("rsync", "-aHAXn", "--delete", "--itemize-changes", _user.At($"theirs{i}") + top, _user.At($"ours{i}") + top).ShouldBeEmpty();
            ScratchFolder.Run("diff", "-r", "--no-dereference", _user.At($"theirs{i}"), _user.At($"ours{i}")).ShouldBeEmpty();
        }

        // The second snapshot's unchanged files were not read again, and a second run takes over nothing.
        JsonElement second = Import("--json").ShouldEndWith(0).Summary();
        (second.GetProperty("snapshots_imported").GetInt32(), second.GetProperty("snapshots_present").GetInt32()).ShouldBe((0, 3));
        ours[1].GetProperty("summary").GetProperty("files_unmodified").GetInt32().ShouldBe(4);
        ours[1].GetProperty("parent").GetString().ShouldBe(ours[0].GetProperty("id").GetString());
        _user.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void TheFirstBackupAfterTheMoveReadsOnlyWhatChanged()
    {
        Restic("init");
        string source = _user.MakeTree();
        Thread.Sleep(TimeSpan.FromSeconds(3));
        Restic("backup", source, "--host", Environment.MachineName);
        Import().ShouldEndWith(0);
        JsonElement summary = _user.Backup(source);
        summary.GetProperty("files_unmodified").GetInt32().ShouldBe(4);
        summary.GetProperty("data_blobs").GetInt32().ShouldBe(0);
    }

    [Fact]
    public void OnlyWhatIsChosenIsTakenOver()
    {
        Restic("init");
        string source = _user.MakeTree(large: 1000);
        foreach ((string host, string tag, int day) in ((string, string, int)[])[("one", "x", 1), ("two", "x", 2), ("one", "y", 3), ("one", "x", 4)])
        {
            Restic("backup", source, "--host", host, "--tag", tag, "--time", $"2021-01-0{day} 00:00:00");
        }

        string first = JsonDocument.Parse(Restic("snapshots", "--json")).RootElement[0].GetProperty("id").GetString()!;
        Taken("--host", "one", "--tag", "x", "--latest", "1").ShouldBe(["2021-01-04"]);
        Taken(first[..8]).ShouldBe(["2021-01-01", "2021-01-04"]);
        Taken("--host", "two").ShouldBe(["2021-01-01", "2021-01-02", "2021-01-04"]);
        Taken("--path", "/elsewhere").Length.ShouldBe(3);
        Import("0000000").ShouldEndWith(1);
        Import("--latest", "0").ShouldEndWith(2);

        // What was taken over and forgotten comes again only where it is named.
        string there = _user.Run("snapshots", "--json").ShouldEndWith(0).Json()[0].GetProperty("id").GetString()!;
        _user.Run("forget", there, "--allow-mass").ShouldEndWith(0);
        Taken("--tag", "x").ShouldBe(["2021-01-02", "2021-01-04"]);
        Taken(first).ShouldBe(["2021-01-01", "2021-01-02", "2021-01-04"]);
    }

    [Fact]
    public void DamageIsToldByFileAndTheRestIsTakenOver()
    {
        Restic("init");
        string source = _user.MakeTree(large: 100_000);
        Restic("backup", source);
        string pack = Directory.EnumerateFiles(Path.Combine(Foreign, "data"), "*", SearchOption.AllDirectories).MaxBy(static file => new FileInfo(file).Length)!;
        byte[] bytes = File.ReadAllBytes(pack);
        bytes[bytes.Length / 2] ^= 1;
        File.SetUnixFileMode(pack, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.WriteAllBytes(pack, bytes);
        ProgramRun run = Import().ShouldEndWith(3);
        run.Error.ShouldContain("large.bin");
        JsonElement snapshot = _user.Run("snapshots", "--json").ShouldEndWith(0).Json()[0];
        snapshot.GetProperty("summary").GetProperty("files_failed").GetInt32().ShouldBe(1);
        _user.Run("restore", "latest", "--target", _user.At("restored")).ShouldEndWith(0);
        File.ReadAllText(_user.At("restored") + source + "/readme.txt").ShouldBe("read me 1\n");
        File.Exists(_user.At("restored") + source + "/large.bin").ShouldBeFalse();
    }

    [Fact]
    public void TheResticRepositoryStaysAsItIsAndMayBeReadOnly()
    {
        Restic("init");
        Restic("backup", _user.MakeTree());
        string before = ScratchFolder.Run("find", Foreign, "-printf", "%P %s %T@\\n");
        Import().ShouldEndWith(0);
        ScratchFolder.Run("find", Foreign, "-printf", "%P %s %T@\\n").ShouldBe(before);
    }

    [Fact]
    public void WhatCannotBeOpenedIsSaidInOneLine()
    {
        Restic("init");
        _user.Run("import", "restic", Foreign, "--from-password-file", _user.PasswordFile).ShouldEndWith(12).Error.ShouldContain("restic");
        _user.Run("import", "restic", _user.Home, "--from-password-file", _user.PasswordFile).ShouldEndWith(10);
        _user.Run("import", "restic", "s3:bucket/restic", "--from-password-file", _user.PasswordFile).ShouldEndWith(2);
        _user.Run("import", "restic", Foreign).ShouldEndWith(2);
        _user.Run("import", "restic").ShouldEndWith(2);
    }

    private ProgramRun Import(params string[] arguments)
    {
        string[] names = [.. arguments.TakeWhile(static argument => !argument.StartsWith('-'))];
        return _user.Run(["import", "restic", Foreign, .. names, "--from-password-file", _user.At("restic-password"), .. arguments[names.Length..]]);
    }

    private string[] Taken(params string[] arguments)
    {
        Import(arguments).ShouldEndWith(0);
        return [.. _user.Run("snapshots", "--json").ShouldEndWith(0).Json().EnumerateArray().Select(static s => s.GetProperty("time").GetString()![..10])];
    }

    private string Restic(params string[] arguments)
    {
        string[] quick = arguments[0] == "restore" ? ["--quiet"] : [];
        ProgramRun run = _user.RunOther(["/usr/bin/restic", "--no-cache", "-r", Foreign, .. arguments, .. quick]).ShouldEndWith(0);
        return run.Text;
    }
}
