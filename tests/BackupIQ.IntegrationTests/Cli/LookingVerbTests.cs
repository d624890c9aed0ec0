using System.Text;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>What shows a repository: <c>snapshots</c>, <c>ls</c>, <c>find</c>, <c>show</c>, <c>stats</c>, <c>check</c>; as text and as JSON.</summary>
public sealed class LookingVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository();

    public void Dispose() => _user.Dispose();

    [Fact]
    public void SnapshotsHaveTheFieldsOfTheContract()
    {
        _user.Backup(_user.MakeTree());
        JsonElement snapshot = _user.Run("snapshots", "--json").ShouldEndWith(0).Json().EnumerateArray().ShouldHaveSingleItem();
        foreach ((string field, JsonValueKind kind) in ((string, JsonValueKind)[])
        [
            ("id", JsonValueKind.String), ("short_id", JsonValueKind.String), ("name", JsonValueKind.String), ("time", JsonValueKind.String),
            ("hostname", JsonValueKind.String), ("username", JsonValueKind.String), ("paths", JsonValueKind.Array), ("tags", JsonValueKind.Array),
            ("parent", JsonValueKind.Null), ("tree", JsonValueKind.String), ("program_version", JsonValueKind.String), ("kind", JsonValueKind.String),
            ("type", JsonValueKind.String), ("summary", JsonValueKind.Object),
        ])
        {
            snapshot.GetProperty(field).ValueKind.ShouldBe(kind, field);
        }

        snapshot.GetProperty("id").GetString()!.ShouldStartWith(snapshot.GetProperty("short_id").GetString()!);
        (DateTimeOffset.UtcNow - snapshot.GetProperty("time").GetDateTimeOffset()).ShouldBeLessThan(TimeSpan.FromMinutes(5));
        snapshot.GetProperty("kind").GetString().ShouldBe("files");
        snapshot.GetProperty("summary").GetProperty("total_files_processed").GetInt64().ShouldBe(4);
    }

    [Fact]
    public void SnapshotsAreChosenByHostTagPathTypeAndNumberAndNamedInEveryWay()
    {
        string source = _user.MakeTree();
        string first = _user.Backup(source, "--host", "ada", "--tag", "daily").GetProperty("snapshot_id").GetString()!;
        string second = _user.Backup(source, "--host", "ben", "--tag", "office=north").GetProperty("snapshot_id").GetString()!;
        Listed("--host", "ada").ShouldBe([first]);
        Listed("--tag", "daily").ShouldBe([first]);
        Listed("--tag", "office").ShouldBe([second]);
        Listed("--path", source).ShouldBe([first, second]);
        Listed("--type", "full").ShouldBe([first, second]);
        Listed("--kind", "postgres").ShouldBeEmpty();
        Listed("--limit", "1").ShouldBe([second]);
        Listed(first[..8]).ShouldBe([first]);
        Listed("latest").ShouldBe([second]);
        Listed("latest~1").ShouldBe([first]);
        Listed("@" + DateTimeOffset.UtcNow.AddMinutes(1).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture)).ShouldBe([second]);
        _user.Run("snapshots").ShouldEndWith(0).Text.ShouldContain("2 snapshots");
    }

    [Fact]
    public void LsListsASnapshotAFolderAndAFile()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        string[] all = _user.Run("ls", "latest").ShouldEndWith(0).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        all.ShouldContain(source + "/docs/inner/note.tmp");
        _user.Run("ls", "latest:" + source).ShouldEndWith(0).Text.ShouldBe($"{source}/docs\n{source}/large.bin\n{source}/readme.txt\n");
        _user.Run("ls", "-l", $"latest:{source}/readme.txt").ShouldEndWith(0).Text.ShouldStartWith("-rw");

        IReadOnlyList<JsonElement> lines = _user.Run("ls", "latest:" + source, "--json").ShouldEndWith(0).Lines();
        lines[0].GetProperty("message_type").GetString().ShouldBe("snapshot");
        JsonElement file = lines.Single(static line => line.TryGetProperty("name", out JsonElement name) && name.GetString() == "readme.txt");
        file.GetProperty("type").GetString().ShouldBe("file");
        file.GetProperty("size").GetInt64().ShouldBe(10);
        file.GetProperty("path").GetString().ShouldBe(source + "/readme.txt");
        file.GetProperty("mtime").GetString().ShouldBe("2026-11-20T12:00:00.000000000Z");
    }

    [Fact]
    public void FindSearchesAllSnapshots()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        _user.Backup(source, "--host", "other");
        _user.Run("find", "*.TXT", "--ignore-case").ShouldEndWith(0).Text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length.ShouldBe(4);
        JsonElement found = _user.Run("find", "letter.*", "--json").ShouldEndWith(0).Json();
        found.GetArrayLength().ShouldBe(2);
        found[0].GetProperty("hits").GetInt64().ShouldBe(1);
        found[0].GetProperty("matches")[0].GetProperty("path").GetString().ShouldBe(source + "/docs/letter.txt");
        _user.Run("find", "nothing like it").ShouldEndWith(0).Text.ShouldBeEmpty();
    }

    [Fact]
    public void ShowAndStatsTellWhatIsKnown()
    {
        string source = _user.MakeTree();
        string id = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        _user.Backup(source, "--host", "other");
        _user.Run("show", id[..8]).ShouldEndWith(0).Text.ShouldContain(id);
        _user.Run("show", id, "--json").ShouldEndWith(0).Json().GetProperty("id").GetString().ShouldBe(id);

        JsonElement stats = _user.Run("stats", "--json").ShouldEndWith(0).Json();
        foreach (string field in (string[])["total_size", "total_file_count", "snapshots_count", "stored_size", "blob_count", "compression_ratio", "dedup_ratio"])
        {
            stats.GetProperty(field).ValueKind.ShouldBe(JsonValueKind.Number, field);
        }

        stats.GetProperty("snapshots_count").GetInt64().ShouldBe(2);
        stats.GetProperty("total_file_count").GetInt64().ShouldBe(8);
        stats.GetProperty("dedup_ratio").GetDouble().ShouldBeInRange(1.9, 2.1);
        _user.Run("stats", "--compression").ShouldEndWith(0).Text.ShouldContain("zstd");
    }

    [Fact]
    public void CheckOfAHealthyRepositorySaysSoAndItsJsonHasTheFieldsOfTheContract()
    {
        _user.Backup(_user.MakeTree());
        _user.Run("check", "--read-data").ShouldEndWith(0).Text.ShouldContain("No errors");
        _user.Run("check", "--read-data-subset", "50%").ShouldEndWith(0);
        JsonElement summary = _user.Run("check", "--json", "--quiet").ShouldEndWith(0).Summary();
        summary.GetProperty("num_errors").GetInt64().ShouldBe(0);
        summary.GetProperty("broken_packs").GetArrayLength().ShouldBe(0);
        summary.GetProperty("damaged_files").GetInt64().ShouldBe(0);
        summary.GetProperty("suggest_repair_index").GetBoolean().ShouldBeFalse();
        summary.GetProperty("suggest_prune").GetBoolean().ShouldBeFalse();
    }

    [Fact]
    public void ADamagedRepositoryIsToldAsJson()
    {
        string source = _user.MakeTree();
        string id = _user.Backup(source).GetProperty("snapshot_id").GetString()!;
        string pack = _user.Objects("d").ShouldHaveSingleItem();
        File.Delete(pack);
        ProgramRun run = _user.Run("check", "--json", "--quiet").ShouldEndWith(14);
        JsonElement summary = run.Summary();
        summary.GetProperty("num_errors").GetInt64().ShouldBe(1);
        summary.GetProperty("broken_packs")[0].GetString().ShouldBe(Path.GetFileName(pack));
        JsonElement error = run.Lines().Single(static line => line.GetProperty("message_type").GetString() == "error");
        error.GetProperty("pack").GetString().ShouldBe(Path.GetFileName(pack));
        error.GetProperty("snapshots")[0].GetString().ShouldBe(id);
        error.GetProperty("files").EnumerateArray().Select(static file => file.GetProperty("path").GetString()).ShouldContain(source + "/large.bin");
    }

    [Fact]
    public void OneUnreadableSnapshotKeepsNoOtherFromBeingListedAndRestored()
    {
        string source = _user.MakeTree();
        _user.Backup(source);
        string second = _user.Backup(source, "--host", "other").GetProperty("snapshot_id").GetString()!;
        string first = _user.Objects("s").Single(path => !path.EndsWith(second, StringComparison.Ordinal));
        foreach (int at in (int[])[0, 4, 5, 6, 8, 20, 60])
        {
            byte[] whole = File.ReadAllBytes(first);
            byte[] damaged = [.. whole];
            damaged[at] ^= 0x10;
            File.WriteAllBytes(first, damaged);
            ProgramRun list = _user.Run("snapshots", "--json").ShouldEndWith(14);
            list.Json().EnumerateArray().ShouldHaveSingleItem().GetProperty("id").GetString().ShouldBe(second);
            list.Error.ShouldContain(Path.GetFileName(first)[..8]);
            _user.Run("restore", second, "--target", _user.At("restored", $"{at}")).ShouldEndWith(0);
            _user.Run("show", "latest").ShouldEndWith(14).Text.ShouldContain(second);
            _user.Run("show", Path.GetFileName(first)[..8]).ShouldEndWith(14).Error.ShouldContain("is damaged");
            File.WriteAllBytes(first, whole);
        }
    }

    [Fact]
    public void NamesThatAreNotTextComeEscapedOnTheScreenAndAsBytesInJson()
    {
        string source = _user.MakeFolder("kinds");
        EveryKindOfEntryTree.Fill(source);
        _user.Run("backup", source, "--quiet").ShouldEndWith(0);

        string listed = _user.Run("ls", "latest").ShouldEndWith(0).Text;
        listed.ShouldContain("latin1 caf\\xe9");
        listed.ShouldContain("new\\nline");
        listed.ShouldNotContain("\u001b");

        byte[] name = [.. "latin1 caf"u8, 0xe9];
        JsonElement node = _user.Run("ls", "latest", "--json").ShouldEndWith(0).Lines()
            .Single(line => line.TryGetProperty("name_raw", out JsonElement raw) && raw.GetBytesFromBase64().SequenceEqual(name));
        node.GetProperty("name").GetString().ShouldBe("latin1 caf\ufffd");
        node.GetProperty("path_raw").GetBytesFromBase64().ShouldBe([.. Encoding.UTF8.GetBytes(source + "/"), .. name]);

        // An argument that is no UTF-8 reaches the program as it is: the shell makes it.
        string argument = $"$(printf '%s/latin1 caf\\351' 'latest:{source}')";
        _user.RunOther("sh", "-c", $"exec '{_user.Program}' restore \"{argument}\" --target '{_user.At("one")}' {string.Join(' ', _user.Access)}").ShouldEndWith(0);
        ScratchFolder.Run("sh", "-c", $"cat '{_user.At("one")}'/latin1*").ShouldBe("not UTF-8");
    }

    private string[] Listed(params string[] arguments) =>
        [.. _user.Run(["snapshots", "--json", .. arguments]).ShouldEndWith(0).Json().EnumerateArray().Select(static s => s.GetProperty("id").GetString()!)];
}
