using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Golden;

/// <summary>
/// Repositories of which an earlier version rotated and revoked the keys open, check and restore with today's program, forever
/// (tests/golden/README.md).
/// </summary>
public sealed class GoldenRotationTests : IDisposable
{
    private readonly ProgramUser _user = new();

    public static TheoryData<string> Names() => [.. Directory.GetDirectories(Golden, "rotated-*").Select(Path.GetFileName).Order().OfType<string>()];

    private static string Golden => Path.Combine(SourceFolder.Root, "tests", "golden");

    public void Dispose() => _user.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void EveryKeyThatWasKeptReadsWhatWasWrittenUnderEveryEpoch(string name)
    {
        string place = Copy(name);
        foreach (string[] key in (string[][])[
            ["--password-file", $"{place}/password"], ["--key-file", $"{place}/kept.key"], ["--recovery-kit", $"{place}/recovery-kit.txt"]])
        {
            string[] access = ["--repo", $"{place}/repository", "--no-input", .. key];
            Run(0, ["check", "--read-data", .. access]);
            Restored("latest~2", access).ShouldBe((Lines(1, 1, 3000), "first\n", null));
            Restored("latest~1", access).ShouldBe((Lines(1, 1, 3000), "second\n", Lines(1, 2, 9000)));
            Restored("latest", access).ShouldBe((Lines(1, 1, 3000), "third\n", Lines(1, 2, 9000)));
            Run(0, ["key", "epochs", "--json", .. access]).Json().EnumerateArray().Select(static epoch => epoch.GetProperty("epoch").GetInt32()).ShouldBe([1, 2, 3]);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void AKeyThatWasRevokedOpensNothingAndACopyOfItsSlotOnlyWhatIsOlder(string name)
    {
        string place = Copy(name);
        string[] access = ["--repo", $"{place}/repository", "--no-input", "--key-file", $"{place}/revoked.key"];
        Run(12, ["snapshots", .. access]);

        using JsonDocument head = JsonDocument.Parse(File.ReadLines($"{place}/revoked.slot").First());
        File.Copy($"{place}/revoked.slot", $"{place}/repository/keys/{head.RootElement.GetProperty("slot").GetString()}");
        Restored("latest~1", access, 14).Changed.ShouldBe("first\n");
        Restored("latest", access, 14).Changed.ShouldBe("second\n");
        Run(14, ["snapshots", .. access]).Error.ShouldContain("key epoch 3");
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void ItIsBackedUpIntoAndItsKeysAreRotatedAgain(string name)
    {
        string place = Copy(name);
        string[] access = ["--repo", $"{place}/repository", "--no-input", "--key-file", $"{place}/kept.key"];
        Run(0, ["key", "rotate", "--new-epoch", "--yes", .. access]);
        Run(0, ["backup", _user.Write("new/file", "fourth"), .. access]);
        Run(0, ["check", "--read-data", .. access]);
        Run(0, ["snapshots", "--repo", $"{place}/repository", "--no-input", "--password-file", $"{place}/password"]);
    }

    private static string Lines(int first, int step, int last) => string.Concat(Enumerable.Range(0, ((last - first) / step) + 1).Select(i => $"{first + (i * step)}\n"));

    private ProgramRun Run(int code, string[] arguments) => _user.RunPlain(arguments).ShouldEndWith(code);

    private (string Numbers, string Changed, string? Odd) Restored(string snapshot, string[] access, int code = 0)
    {
        string target = _user.At(Path.GetRandomFileName());
        Run(code, ["restore", snapshot, "--target", target, .. access]);
        string source = Path.GetDirectoryName(Directory.GetFiles(target, "numbers", SearchOption.AllDirectories).Single())!;
        new FileInfo(Path.Combine(source, "folder", "link")).LinkTarget.ShouldBe("../numbers");
        return (Read("numbers")!, Read("folder/changed")!, Read("odd"));

        string? Read(string name) => File.Exists(Path.Combine(source, name)) ? File.ReadAllText(Path.Combine(source, name)) : null;
    }

    private string Copy(string name)
    {
        string place = _user.At(name);
        ScratchFolder.Run("cp", "-r", Path.Combine(Golden, name), place);

        // A clone has them readable for others, which the program refuses.
        ScratchFolder.Run("chmod", "-R", "go=", place);
        return place;
    }
}
