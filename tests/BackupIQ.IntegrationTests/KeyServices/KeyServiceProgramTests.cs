using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.KeyServices;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.KeyServices;

/// <summary>The whole program with a key of a key service: derived by each service.</summary>
public abstract class KeyServiceProgramTests : IDisposable
{
    private readonly List<ProgramRun> _runs = [];

    internal ProgramUser User { get; } = new();

    /// <summary>The URL of the key.</summary>
    protected abstract string Kms { get; }

    /// <summary>The URL of a key that the service does not have.</summary>
    protected abstract string MissingKms { get; }

    /// <summary>A URL of a service that is not there.</summary>
    protected abstract string UnreachableKms { get; }

    /// <summary>What may stand nowhere.</summary>
    protected abstract string[] Secrets { get; }

    /// <summary>The code with which a key that is disabled is refused.</summary>
    protected virtual int DisabledCode => 13;

    /// <summary>The fake that stands for the service; null where it is the real one.</summary>
    protected virtual FakeService? Fake => null;

    public virtual void Dispose()
    {
        // Whatever was tested, what was asked and answered is as published.
        Fake?.Violations.ShouldBeEmpty();
        Fake?.DisposeAsync().AsTask().GetAwaiter().GetResult();
        User.Dispose();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public void TheKeyOpensTheRepositoryThroughItsRotationUntilItIsDisabledAndAgainWhenItIsEnabled()
    {
        string source = User.MakeTree(large: 300_000);
        Run("init").ShouldEndWith(0);
        Run("backup", source).ShouldEndWith(0);
        Restores(source);
        Run("key", "add", "--new-password-file", User.PasswordFile).ShouldEndWith(0);

        // What the older version wrapped opens; then everything is wrapped under the newer one, and no data is written anew.
        string[] packs = [.. User.Objects("d"), .. User.Objects("m")];
        DateTime[] written = [.. packs.Select(File.GetLastWriteTimeUtc)];
        Rotate();
        Run("snapshots").ShouldEndWith(0);
        string before = CurrentKey();
        Run("key", "rotate").ShouldEndWith(0);
        CurrentKey().ShouldNotBe(before);
        JsonElement listed = Run("key", "list", "--json").ShouldEndWith(0).Json().EnumerateArray().Single(static key => key.GetProperty("type").GetString() == "kms");
        Kms.ShouldStartWith(listed.GetProperty("service").GetString()!.Split(':')[0]);
        Run("key", "list").ShouldEndWith(0).Text.ShouldContain($"({listed.GetProperty("service").GetString()} {listed.GetProperty("service_key").GetString()})");
        RetireOldVersion();
        Run("snapshots").ShouldEndWith(0);
        packs.Select(File.GetLastWriteTimeUtc).ShouldBe(written);

        SetEnabled(false);
        OneLine(Run("snapshots").ShouldEndWith(DisabledCode)).ShouldContain("Key '");
        string[] password = ["--repo", User.Repository, "--password-file", User.PasswordFile, "--no-input"];
        Keep(User.RunPlain(["snapshots", .. password])).ShouldEndWith(0);
        SetEnabled(true);
        Run("backup", source).ShouldEndWith(0);
        Restores(source);

        string[] lines = File.ReadAllLines(KeyLog);
        string[] operations = [.. lines.Select(static line => JsonDocument.Parse(line).RootElement).Select(static e => $"{e.GetProperty("operation").GetString()} {e.GetProperty("outcome").GetString()}")];
        operations[0].ShouldBe("generate done");
        operations.ShouldContain("unwrap done");
        operations.ShouldContain("unwrap refused");
        File.GetUnixFileMode(KeyLog).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        NothingSecretWasShown();
    }

    [Fact]
    public void WhatIsWrongIsSaidOnOneLineWithWhatToDo()
    {
        Run("init").ShouldEndWith(0);
        string wrong = "";
        WithWrongCredentials(() => wrong = OneLine(Run("snapshots").ShouldEndWith(13)));
        wrong.ShouldNotBeEmpty();
        Run("snapshots").ShouldEndWith(0);
        OneLine(RunOn(MissingKms, "init", "--repo", User.At("missing")).ShouldEndWith(15)).ShouldContain("no such");
        Directory.Exists(User.At("missing", "config")).ShouldBeFalse();
        RunOn(UnreachableKms, "init", "--repo", User.At("unreachable")).Code.ShouldBe(15);

        // Another key's name opens nothing, which is no damage.
        OneLine(RunOn(MissingKms, "snapshots").ShouldEndWith(12));
        NothingSecretWasShown();
    }

    [Fact]
    public void WhatWasWrappedForOneSlotUnwrapsForNoOther()
    {
        string source = User.MakeTree(large: 10_000);
        Run("init").ShouldEndWith(0);
        Run("backup", source).ShouldEndWith(0);
        Run("key", "add", "--new-password-file", User.PasswordFile).ShouldEndWith(0);
        string first = User.Repository;
        User.Repository = User.At("other");
        Run("init").ShouldEndWith(0);

        // The slot of the other repository, with the wrapped secret of this one: its checksum is right, its seal is not, nor its context.
        string mine = Directory.EnumerateFiles(Path.Combine(first, "keys")).First(static file => File.ReadAllText(file).Contains("\"type\":\"kms\"", StringComparison.Ordinal));
        string theirs = Directory.EnumerateFiles(Path.Combine(User.Repository, "keys")).Single();
        string wrapped = JsonDocument.Parse(File.ReadLines(mine).First()).RootElement.GetProperty("kms").GetProperty("wrapped").GetString()!;
        string[] lines = File.ReadAllLines(theirs);
        string own = JsonDocument.Parse(lines[0]).RootElement.GetProperty("kms").GetProperty("wrapped").GetString()!;
        string head = lines[0].Replace(own, wrapped, StringComparison.Ordinal);
        head.ShouldNotBe(lines[0]);
        string text = $"{head}\n{lines[1]}\n";
        File.WriteAllText(theirs, text + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.ASCII.GetBytes(text))) + "\n");
        OneLine(Run("snapshots").ShouldEndWith(12)).ShouldContain("does not unwrap");
    }

    /// <summary>Gives the key a new version at its service.</summary>
    protected abstract void Rotate();

    /// <summary>Makes what the first version wrapped useless, where the service can.</summary>
    protected virtual void RetireOldVersion()
    {
    }

    /// <summary>Disables or enables the key at its service.</summary>
    protected abstract void SetEnabled(bool isEnabled);

    /// <summary>Does something with credentials that the service does not know.</summary>
    protected abstract void WithWrongCredentials(Action act);

    internal ProgramRun Run(params string[] arguments) => RunOn(Kms, arguments);

    internal ProgramRun RunOn(string kms, params string[] arguments)
    {
        string[] access = arguments.Contains("--repo") ? ["--kms", kms, "--no-input"] : ["--repo", User.Repository, "--kms", kms, "--no-input"];
        return Keep(User.RunPlain([.. arguments, .. access]));
    }

    internal static string OneLine(ProgramRun run) => run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).ShouldHaveSingleItem();

    internal void NothingSecretWasShown()
    {
        foreach (string secret in Secrets)
        {
            foreach (ProgramRun run in _runs)
            {
                (run.Text + run.Error).ShouldNotContain(secret);
            }

            File.ReadAllText(KeyLog).ShouldNotContain(secret);
        }
    }

    private string KeyLog => Path.Combine(User.Home, ".local/state/backupiq/keys.log");

    private string CurrentKey() => Run("key", "list", "--json").ShouldEndWith(0).Json().EnumerateArray()
        .Single(static key => key.GetProperty("current").GetBoolean()).GetProperty("id").GetString()!;

    private ProgramRun Keep(ProgramRun run)
    {
        _runs.Add(run);
        return run;
    }

    private void Restores(string source)
    {
        string target = User.At($"target {Guid.NewGuid():n}");
        Run("restore", "latest", "--target", target).ShouldEndWith(0);
        ScratchFolder.Run("diff", "-r", source, target + source).ShouldBeEmpty();
    }
}
