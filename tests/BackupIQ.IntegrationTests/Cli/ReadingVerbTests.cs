using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>What takes single things out of a repository: <c>diff</c>, <c>dump</c>; and <c>--at</c>, which shows it as it was.</summary>
public sealed class ReadingVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void DiffTellsChangesAsTextAndAsJson()
    {
        string source = _user.MakeTree();
        string first = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        File.AppendAllText(Path.Combine(source, "readme.txt"), "more");
        File.Delete(Path.Combine(source, "docs", "inner", "note.tmp"));
        File.Move(Path.Combine(source, "docs", "letter.txt"), Path.Combine(source, "docs", "old letter.txt"));
        string second = _user.Backup(source).GetProperty("snapshot_id").GetString()!;

        string text = _user.Run("diff", $"{first[..8]}:{source}", $"latest:{source}").ShouldEndWith(0).Text;
        text.Split('\n').TakeWhile(static line => !line.StartsWith("Files:", StringComparison.Ordinal)).ShouldBe(
            ["-    /docs/inner/note.tmp", "R    /docs/letter.txt -> /docs/old letter.txt", "M    /readme.txt"]);
        text.ShouldContain("Files:   0 new, 1 removed, 1 changed, 1 renamed");
        _user.Run("diff", first, second).ShouldEndWith(0).Text.ShouldContain($"M    {source}/readme.txt");
        _user.Run("diff", first, first, "--quiet").ShouldEndWith(0).Text.ShouldBeEmpty();

        IReadOnlyList<JsonElement> lines = _user.Run("diff", $"{first}:{source}", $"{second}:{source}", "--json").ShouldEndWith(0).Lines();
        JsonElement change = lines.Single(static line => line.GetProperty("message_type").GetString() == "change" && line.GetProperty("modifier").GetString() == "M");
        change.GetProperty("path").GetString().ShouldBe("/readme.txt");
        change.GetProperty("size").GetInt64().ShouldBe(change.GetProperty("size_before").GetInt64() + 4);
        JsonElement statistics = lines[^1];
        statistics.GetProperty("message_type").GetString().ShouldBe("statistics");
        statistics.GetProperty("source_snapshot").GetString().ShouldBe($"{first}:{source}");
        statistics.GetProperty("target_snapshot").GetString().ShouldBe($"{second}:{source}");
        statistics.GetProperty("changed_files").GetInt64().ShouldBe(1);
        statistics.GetProperty("removed").GetProperty("files").GetInt64().ShouldBe(1);
        statistics.GetProperty("added").GetProperty("bytes").GetInt64().ShouldBe(14);

        _user.Run("diff", "latest").ShouldEndWith(2).Error.ShouldContain("SNAP");
        _user.Run("diff", "latest:/nowhere", "latest").ShouldEndWith(1).Error.ShouldContain("/nowhere");
    }

    [Fact]
    public void DumpWritesAFileOrAFolderAsTarAndNothingElse()
    {
        string source = _user.MakeTree();
        _user.Backup(source);

        _user.Run("dump", $"latest:{source}/large.bin").ShouldEndWith(0).Output.AsSpan()
            .SequenceEqual(File.ReadAllBytes(Path.Combine(source, "large.bin"))).ShouldBeTrue();
        byte[] tar = _user.Run("dump", $"latest:{source}").ShouldEndWith(0).Output;
        File.WriteAllBytes(_user.At("tree.tar"), tar);
        ScratchFolder.Run("tar", "tf", _user.At("tree.tar")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .ShouldBe(["./", "docs/", "docs/inner/", "docs/inner/note.tmp", "docs/letter.txt", "large.bin", "readme.txt"]);

        _user.Run("dump", $"latest:{source}", "--target", _user.At("other.tar")).ShouldEndWith(0).Output.ShouldBeEmpty();
        File.ReadAllBytes(_user.At("other.tar")).AsSpan().SequenceEqual(tar).ShouldBeTrue();
        _user.Run("dump", $"latest:{source}", "--target", _user.At("other.tar")).ShouldEndWith(7).Error.ShouldContain("other.tar");
        _user.Run("dump", $"latest:{source}", "--archive", "rar").ShouldEndWith(2).Error.ShouldContain("tar or zip");
        _user.Run("dump", $"latest:{source}/none").ShouldEndWith(1).Output.ShouldBeEmpty();
    }

    [Fact]
    public void ADamagedFileIsNamedAndEndsWith14()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        foreach (string pack in _user.Objects("d"))
        {
            ScratchFolder.Run("chmod", "0600", pack);
            using FileStream stream = File.Open(pack, FileMode.Open, FileAccess.ReadWrite);
            stream.Position = stream.Length / 2;
            int old = stream.ReadByte();
            stream.Position--;
            stream.WriteByte((byte)~old);
        }

        ProgramRun run = _user.Run("dump", $"latest:{source}").ShouldEndWith(14);
        run.Error.ShouldContain("/large.bin");
        run.Error.ShouldContain("left out");
        _user.Run("dump", $"latest:{source}/large.bin").ShouldEndWith(14).Error.ShouldContain("large.bin");
    }

    [Fact]
    public void AtShowsTheRepositoryAsItWas()
    {
        string source = _user.MakeTree();
        string first = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        string between = DateTimeOffset.UtcNow.AddMilliseconds(20).ToString("O", CultureInfo.InvariantCulture);
        Thread.Sleep(50);
        File.WriteAllText(Path.Combine(source, "readme.txt"), "changed since");
        string second = _user.Backup(source).GetProperty("snapshot_id").GetString()!;

        Ids("--at", between).ShouldBe([first]);
        Ids().ShouldBe([first, second]);
        _user.Run("dump", $"latest:{source}/readme.txt", "--at", between).ShouldEndWith(0).Text.ShouldBe("read me 1\n");
        _user.Run("dump", $"latest:{source}/readme.txt").ShouldEndWith(0).Text.ShouldBe("changed since");
        _user.Run("show", second, "--at", between).ShouldEndWith(1).Error.ShouldContain(second);
        Ids("--at", "2001-01-01").ShouldBeEmpty();
        _user.Run("backup", source, "--at", between).ShouldEndWith(2).Error.ShouldContain("--at");
        _user.Run("snapshots", "--at", "tomorrow-ish").ShouldEndWith(2).Error.ShouldContain("no moment");
    }

    [Fact]
    public void HistoryShowsTheVersionsOfAPath()
    {
        string source = _user.MakeTree();
        string path = Path.Combine(source, "readme.txt");
        string first = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        string same = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        File.WriteAllText(path, "longer than before");
        string second = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        File.Delete(path);
        string gone = _user.Backup(source).GetProperty("snapshot_id").GetString()!;

        string[] rows = _user.Run("history", path).ShouldEndWith(0).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        rows.Length.ShouldBe(5);
        rows[2].ShouldStartWith("+  ");
        rows[2].ShouldContain(first[..8]);
        rows[2].ShouldContain("2 snapshots");
        rows[2].ShouldContain(same[..8]);
        rows[3].ShouldContain("18 B");
        rows[4].ShouldContain("gone");

        JsonElement history = _user.Run("history", path, "--json").ShouldEndWith(0).Json().EnumerateArray().ShouldHaveSingleItem();
        history.GetProperty("path").GetString().ShouldBe(path);
        history.GetProperty("versions").EnumerateArray().Select(static version =>
            version.GetProperty("modifier").GetString() + string.Concat(version.GetProperty("snapshots").EnumerateArray().Select(static id => " " + id.GetString())))
            .ShouldBe([$"+ {first} {same}", $"M {second}", $"- {gone}"]);
        _user.Run("history", "/nowhere").ShouldEndWith(1).Error.ShouldContain("/nowhere");
        _user.Run("history", "/").ShouldEndWith(2);
    }

    [Fact]
    public void TheDownloadLimitHoldsForEveryVerbThatReads()
    {
        string source = _user.MakeTree(large: 3 << 20);
        _user.Backup(source);
        long started = Stopwatch.GetTimestamp();

        _user.Run("dump", $"latest:{source}/large.bin", "--limit-download", "2M").ShouldEndWith(0).Output.Length.ShouldBe(3 << 20);

        Stopwatch.GetElapsedTime(started).TotalSeconds.ShouldBeGreaterThan(1.4);
    }

    private string[] Ids(params string[] flags) =>
        [.. _user.Run(["snapshots", "--json", .. flags]).ShouldEndWith(0).Json().EnumerateArray().Select(static snapshot => snapshot.GetProperty("id").GetString()!)];
}
