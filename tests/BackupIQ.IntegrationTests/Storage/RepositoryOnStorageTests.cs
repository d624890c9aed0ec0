using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Storage;

/// <summary>
/// What people do with a repository on a storage that is not this machine's, by the program: a storage's test class derives from this one and
/// says where an empty place is.
/// </summary>
public abstract class RepositoryOnStorageTests : IAsyncLifetime
{
    private ProgramUser? _user;

    private ProgramUser User => _user!;

    /// <summary>The URL of a place where nothing is yet, and the variables that open it. Skips the test where the server is not installed.</summary>
    protected abstract ValueTask<(string Url, IReadOnlyDictionary<string, string> Environment)> NewPlaceAsync();

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        (string url, IReadOnlyDictionary<string, string> environment) = await NewPlaceAsync();
        _user = new ProgramUser { Repository = url };
        foreach ((string name, string value) in environment)
        {
            _user.Environment[name] = value;
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _user?.Dispose();
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public void ABackupComesBackAndWhatIsUnchangedAddsNextToNothing()
    {
        User.WithNewRepository();
        string source = User.MakeFolder("source");
        EveryKindOfEntryTree.Fill(source, large: 20 << 20, hole: 5_000_000);
        JsonElement first = User.Backup(source);
        first.GetProperty("files_failed").GetInt64().ShouldBe(0);
        User.Backup(source).GetProperty("data_added_packed").GetInt64().ShouldBeLessThan(64 << 10);
        User.Run("check", "--read-data").ShouldEndWith(0);
        ShouldRestore("latest", source);
        User.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(2);
        User.Run("init").Code.ShouldNotBe(0, "there is a repository already");
    }

    [Fact]
    public void WhatIsForgottenAndPrunedIsGoneAndTheRestRestores()
    {
        User.WithNewRepository();
        string source = User.MakeTree();
        string[] contents = [.. Enumerable.Range(1, 4).Select(number =>
        {
            byte[] bytes = new byte[2 << 20];
            new Random(number).NextBytes(bytes);
            File.WriteAllBytes(Path.Combine(source, "changing"), bytes);
            User.Backup(source);
            string copy = User.At($"copy {number}");
            ScratchFolder.Run("cp", "-a", source, copy);
            return copy;
        })];
        User.Run("forget", "--keep-last", "2", "--grace", "0", "--yes").ShouldEndWith(0);
        User.Run("prune", "--max-unused", "0", "--yes", "--json").ShouldEndWith(0).Summary().GetProperty("bytes_deleted").GetInt64().ShouldBeGreaterThan(2 << 20);
        User.Run("prune", "--max-unused", "0", "--yes", "--json").ShouldEndWith(0).Summary().GetProperty("bytes_deleted").GetInt64().ShouldBe(0, "what could go is gone");
        User.Run("check", "--read-data").ShouldEndWith(0);
        ShouldRestore("latest", source, contents[3]);
        ShouldRestore("latest~1", source, contents[2]);
    }

    [Fact]
    public void KilledAtAnyMomentABackupLeavesNoHalfSnapshotAndTheNextOneGoesOn()
    {
        User.WithNewRepository();
        string source = User.MakeFolder("source");
        byte[] bytes = new byte[24 << 20];
        int complete = 0;
        TimeSpan delay = TimeSpan.FromMilliseconds(500);
        for (int kill = 0; kill < 5; kill++)
        {
            new Random(kill).NextBytes(bytes);
            File.WriteAllBytes(Path.Combine(source, $"file {kill}"), bytes);
            ProgramUser.RunningProgram backup = User.Start("backup", source, "--quiet");
            Thread.Sleep(delay);
            backup.Interrupt(9);
            bool isKilled = backup.Wait().Code != 0;
            complete += isKilled ? 0 : 1;
            delay *= isKilled ? 1.4 : 0.6;
            User.Run("snapshots", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBeInRange(complete, complete + kill + 1);
            User.Run("check").ShouldEndWith(0);
        }

        User.Backup(source);
        User.Run("check", "--read-data").ShouldEndWith(0);
        ShouldRestore("latest", source);
    }

    [Fact]
    public void FourBackupsAtOnceAllRestore()
    {
        User.WithNewRepository();
        string[] sources = [.. Enumerable.Range(0, 4).Select(number => User.MakeTree($"source {number}", large: 5 << 20, seed: number))];
        ProgramUser.RunningProgram[] backups = [.. sources.Select((source, number) => User.Start("backup", source, "--host", $"host{number}", "--quiet"))];
        foreach (ProgramUser.RunningProgram backup in backups)
        {
            backup.Wait().ShouldEndWith(0);
        }

        User.Run("check", "--read-data").ShouldEndWith(0);
        JsonElement[] snapshots = [.. User.Run("snapshots", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        snapshots.Length.ShouldBe(4);
        foreach (JsonElement snapshot in snapshots)
        {
            ShouldRestore(snapshot.GetProperty("id").GetString()!, snapshot.GetProperty("paths")[0].GetString()!);
        }
    }

    [Fact]
    public void ALocalRepositoryIsCopiedThereAndBack()
    {
        User.WithNewRepository();
        ProgramUser local = User;
        string source = local.MakeTree();
        string here = local.At("local");
        string key = local.At("local.key");
        string[] inLocal = ["--repo", here, "--key-file", key, "--no-input"];
        local.RunPlain(["init", .. inLocal]).ShouldEndWith(0);
        local.RunPlain(["backup", source, .. inLocal]).ShouldEndWith(0);
        User.Run("copy", "--from-repo", here, "--from-key-file", key).ShouldEndWith(0);
        ShouldRestore("latest", source);
        local.RunPlain(["copy", "--from-repo", User.Repository, "--from-key-file", User.Secret[1], .. inLocal]).ShouldEndWith(0);
        local.RunPlain(["snapshots", "--json", .. inLocal]).ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1, "the original is there");
    }

    [Fact]
    public void TheStorageHoldsWhatARepositoryReliesOnAndIsAsItWasAfterwards()
    {
        User.WithNewRepository();
        User.Backup(User.MakeTree());
        string before = Objects();
        JsonElement report = User.RunPlain("storage", "test", User.Repository, "--large", "20M", "--json").ShouldEndWith(0).Json();
        report.GetProperty("guarantees").EnumerateArray().ShouldAllBe(static one => one.GetProperty("state").GetString() != "not_tried");
        report.GetProperty("latencies").GetProperty("delete").GetProperty("count").GetInt32().ShouldBeGreaterThan(2);
        report.GetProperty("left_behind").GetArrayLength().ShouldBe(0);
        report.GetProperty("provider").GetProperty("requests").GetInt32().ShouldBeGreaterThan(50);
        Objects().ShouldBe(before);
        User.Run("check", "--read-data").ShouldEndWith(0);

        string Objects() => User.RunPlain("storage", "info", User.Repository, "--json").ShouldEndWith(0).Json().GetProperty("objects").GetRawText();
    }

    [Fact]
    public void AWrongKeyIsToldFromAPlaceWithoutARepository()
    {
        string other = User.At("other.key");
        File.WriteAllBytes(other, System.Security.Cryptography.RandomNumberGenerator.GetBytes(32));
        string[] access = ["--repo", User.Repository, "--key-file", other, "--no-input"];
        User.RunPlain(["snapshots", .. access]).ShouldEndWith(10);
        User.WithNewRepository();
        User.RunPlain(["snapshots", .. access]).ShouldEndWith(12);
    }

    /// <summary>A run of the program at the place, for what only some storages do.</summary>
    private protected ProgramRun Run(params string[] arguments) => User.Run(arguments);

    /// <summary>The user, for what only some storages do.</summary>
    private protected ProgramUser Somebody => User;

    private void ShouldRestore(string snapshot, string source, string? expected = null)
    {
        string target = User.At($"target {Guid.NewGuid():n}");
        User.Run("restore", $"{snapshot}:{source}", "--target", target).ShouldEndWith(0);
        ScratchFolder.Run("rsync", "-aHAXn", "--delete", "--itemize-changes", (expected ?? source) + "/", target + "/").ShouldBeEmpty();
    }
}
