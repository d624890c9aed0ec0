using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>Keys, configuration, and what else is not backup or restore; and what every verb has in common.</summary>
public sealed class ManagingVerbTests : IDisposable
{
    private readonly ProgramUser _user = new ProgramUser().WithNewRepository(withPassword: true);

    public void Dispose() => _user.Dispose();

    [Fact]
    public void InitTellsTheIdAndWritesTheKitAsked()
    {
        string kit = _user.At("kit.txt");
        ProgramRun run = _user.RunPlain("init", "--repo", _user.At("second"), "--password-file", _user.PasswordFile, "--recovery-kit", kit, "--json");
        JsonElement made = run.ShouldEndWith(0).Json();
        made.GetProperty("message_type").GetString().ShouldBe("initialized");
        made.GetProperty("id").GetString()!.Length.ShouldBe(32);
        File.GetUnixFileMode(kit).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _user.RunPlain("snapshots", "--repo", _user.At("second"), "--recovery-kit", kit).ShouldEndWith(0);
        _user.RunPlain("init", "--repo", _user.At("third"), "--password-file", _user.PasswordFile, "--recovery-kit", kit).ShouldEndWith(2);
        Directory.Exists(_user.At("third")).ShouldBeFalse();
    }

    [Fact]
    public void AKeyFileThatIsNotThereIsMadeAndOpensTheRepository()
    {
        string key = _user.At("keys", "new.key");
        _user.RunPlain("init", "--repo", _user.At("second"), "--key-file", key).ShouldEndWith(0).Error.ShouldContain(key);
        File.GetUnixFileMode(key).ShouldBe(UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _user.RunPlain("snapshots", "--repo", _user.At("second"), "--key-file", key).ShouldEndWith(0);
        _user.RunPlain("snapshots", "--repo", _user.At("second"), "--password-file", _user.PasswordFile).ShouldEndWith(12);
    }

    [Fact]
    public void ARepositoryWithTheChunkerOfAnotherIsMade()
    {
        ProgramRun run = _user.RunPlain(
            "init", "--repo", _user.At("second"), "--password-file", _user.PasswordFile, "--chunker-from", _user.Repository, "--from-password-file", _user.PasswordFile);
        run.ShouldEndWith(0);
        _user.RunPlain("snapshots", "--repo", _user.At("second"), "--password-file", _user.PasswordFile).ShouldEndWith(0);
    }

    [Fact]
    public void KeysAreListedAddedChangedAndRemovedAndTheLastOneStays()
    {
        string second = _user.Write("second password", "another one\n");
        JsonElement added = _user.Run("key", "add", "--new-password-file", second, "--label", "for Ben", "--json").ShouldEndWith(0).Json();
        added.GetProperty("label").GetString().ShouldBe("for Ben");
        JsonElement[] keys = [.. _user.Run("key", "list", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        keys.Length.ShouldBe(2);
        keys.Single(static key => key.GetProperty("current").GetBoolean()).GetProperty("type").GetString().ShouldBe("password");
        Opens(second).ShouldBe(0);

        string third = _user.Write("third password", "yet another one\n");
        _user.Run("key", "passwd", added.GetProperty("id").GetString()![..8], "--new-password-file", third).ShouldEndWith(0);
        Opens(second).ShouldBe(12);
        Opens(third).ShouldBe(0);

        string own = keys.Single(static key => key.GetProperty("current").GetBoolean()).GetProperty("id").GetString()!;
        string[] asThird = ["--repo", _user.Repository, "--password-file", third, "--no-input"];
        _user.RunPlain(["key", "remove", own[..8], .. asThird]).ShouldEndWith(2).Error.ShouldContain("--yes");
        _user.RunPlain(["key", "remove", own[..8], "--yes", .. asThird]).ShouldEndWith(0);
        Opens(_user.PasswordFile).ShouldBe(12);
        string last = _user.RunPlain(["key", "list", "--json", .. asThird]).Json()[0].GetProperty("id").GetString()!;
        _user.RunPlain(["key", "remove", last, "--yes", .. asThird]).Code.ShouldNotBe(0);
        Opens(third).ShouldBe(0);
    }

    [Fact]
    public void APasswordIsTakenFromWhatACommandPrintsAndACommandThatFailsIsTold()
    {
        _user.RunPlain("snapshots", "--repo", _user.Repository, "--password-command", $"cat '{_user.PasswordFile}'").ShouldEndWith(0);
        _user.Environment["BACKUPIQ_PASSWORD_COMMAND"] = "echo something else";
        _user.RunPlain("snapshots", "--repo", _user.Repository).ShouldEndWith(12);
        _user.Environment["BACKUPIQ_PASSWORD_COMMAND"] = "sh -c 'echo correct horse battery staple; exit 3'";
        _user.RunPlain("snapshots", "--repo", _user.Repository).ShouldEndWith(2).Error.ShouldContain("exit code 3");
    }

    [Fact]
    public void RotatingPutsANewSecretInTheOldOnesPlace()
    {
        string next = _user.Write("next password", "the next one\n");
        _user.Run("key", "rotate", "--new-password-file", next).ShouldEndWith(0);
        Opens(_user.PasswordFile).ShouldBe(12);
        Opens(next).ShouldBe(0);
    }

    [Fact]
    public void AKitMadeLaterOpensTheRepositoryAndIsNeverOverwritten()
    {
        string kit = _user.At("kit.txt");
        _user.Run("key", "recovery-kit", "--output", kit).ShouldEndWith(0);
        _user.RunPlain("snapshots", "--repo", _user.Repository, "--recovery-kit", kit).ShouldEndWith(0);
        string before = File.ReadAllText(kit);
        _user.Run("key", "recovery-kit", "--output", kit).ShouldEndWith(2);
        File.ReadAllText(kit).ShouldBe(before);
        _user.Run("key", "recovery-kit", "--output", "-").ShouldEndWith(0).Text.ShouldContain("BEGIN BACKUPIQ RECOVERY KIT");
    }

    [Fact]
    public void ADamagedKeySlotIsToldWithFourteenWhereAnotherOpens()
    {
        string kit = _user.At("kit.txt");
        _user.Run("key", "recovery-kit", "--output", kit).ShouldEndWith(0);
        string password = _user.Run("key", "list", "--json").Json().EnumerateArray()
            .Single(static key => key.GetProperty("type").GetString() == "password").GetProperty("id").GetString()!;
        File.WriteAllText(Path.Combine(_user.Repository, "keys", password), "damaged");
        _user.RunPlain("key", "list", "--repo", _user.Repository, "--recovery-kit", kit).ShouldEndWith(14).Error.ShouldContain(password);
        _user.Run("snapshots").ShouldEndWith(12).Error.ShouldContain("--recovery-kit");
    }

    [Fact]
    public void FlagBeatsVariableBeatsFileBeatsDefaultAndShowTellsWhich()
    {
        string config = _user.Write("config.yaml", "jobs: 3\nmemory: 100M\nlimit-upload: 5M\n");
        _user.Environment["BACKUPIQ_JOBS"] = "4";
        _user.Environment["BACKUPIQ_MEMORY"] = "200M";
        JsonElement shown = _user.RunPlain("config", "show", "--origin", "--json", "--config", config, "--jobs", "5").ShouldEndWith(0).Json();
        (string, string) Of(string key) => (shown.GetProperty(key).GetProperty("value").GetString()!, shown.GetProperty(key).GetProperty("origin").GetString()!);
        Of("jobs").ShouldBe(("5", "--jobs"));
        Of("memory").ShouldBe(("200M", "BACKUPIQ_MEMORY"));
        Of("limit-upload").ShouldBe(("5M", config + ":3"));
        Of("limit-download").Item2.ShouldBe("default");
        _user.RunPlain("config", "show", "--config", config).ShouldEndWith(0).Text.ShouldContain("limit-upload");
    }

    [Fact]
    public void RatesByTheTimeOfDayAndProfilesAreCheckedWhereverTheyStand()
    {
        string config = _user.Write("config.yaml", "limit-upload: 08:00-18:00=2M,else=unlimited\nretry-profile: patient\nlimit-requests: 50\n");
        _user.RunPlain("config", "validate", "--config", config).ShouldEndWith(0);
        JsonElement shown = _user.RunPlain("config", "show", "--json", "--config", config).ShouldEndWith(0).Json();
        shown.GetProperty("limit-upload").ToString().ShouldContain("08:00-18:00=2M,else=unlimited");
        _user.Run("snapshots", "--config", config, "--limit-download", "0:00-24:00=10M").ShouldEndWith(0);
        _user.Run("snapshots", "--limit-upload", "08:00=2M").ShouldEndWith(2).Error.ShouldContain("08:00-18:00=2M");
        _user.Run("snapshots", "--retry-profile", "brave").ShouldEndWith(2).Error.ShouldContain("quick, standard, aggressive, patient");
        config = _user.Write("config.yaml", "tls:\n  minimum: 1.3\nlimit-connections: 4\nstorage-timeout: 90s\nlisting-lag: 5s\ncache-limit: 2G\n");
        _user.RunPlain("config", "validate", "--config", config).ShouldEndWith(0);
        _user.Run("snapshots", "--config", config).ShouldEndWith(0);
        config = _user.Write("config.yaml", "tls:\n  minimum: 1.1\n");
        _user.RunPlain("snapshots", "--config", config).ShouldEndWith(2);
        config = _user.Write("config.yaml", "retry-profile: brave\n");
        _user.RunPlain("snapshots", "--config", config).ShouldEndWith(2).Error.ShouldContain(":1");
    }

    [Fact]
    public void AnEnvironmentIsLaidOverTheConfigurationFile()
    {
        string config = _user.Write("config.yaml", "jobs: 1\nmemory: 100M\n");
        _user.Write("config.office.yaml", "jobs: 2\n");
        _user.Environment["BACKUPIQ_ENVIRONMENT"] = "office";
        JsonElement shown = _user.RunPlain("config", "show", "--json", "--config", config).ShouldEndWith(0).Json();
        shown.GetProperty("jobs").GetProperty("value").GetString().ShouldBe("2");
        shown.GetProperty("memory").GetProperty("value").GetString().ShouldBe("100M");
        _user.RunPlain("config", "show", "--config", config, "--environment", "elsewhere").ShouldEndWith(2).Error.ShouldContain("config.elsewhere.yaml");
    }

    [Fact]
    public void TheConfigurationFileThatInitWritesIsValidAndThenNeverOverwritten()
    {
        _user.RunPlain("config", "init").ShouldEndWith(0);
        _user.RunPlain("config", "validate").ShouldEndWith(0);
        _user.RunPlain("config", "init").ShouldEndWith(2);
        _user.RunPlain("config", "schema").ShouldEndWith(0).Json().GetProperty("properties").ValueKind.ShouldBe(JsonValueKind.Object);
        string wrong = _user.Write("wrong.yaml", "jbos: 2\nmemory: lots\n");
        ProgramRun run = _user.RunPlain("config", "validate", "--config", wrong, "--json").ShouldEndWith(2);
        run.Json().GetProperty("valid").GetBoolean().ShouldBeFalse();
        run.Json().GetProperty("problems").GetArrayLength().ShouldBe(2);
    }

    [Fact]
    public void DoctorNamesWhatIsOpenToOthers()
    {
        File.SetUnixFileMode(_user.PasswordFile, (UnixFileMode)0x1a4);
        ProgramRun run = _user.Run("doctor").ShouldEndWith(3);
        run.Text.ShouldContain(_user.PasswordFile);
        run.Text.ShouldContain("chmod 0600");
        File.SetUnixFileMode(_user.PasswordFile, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _user.Run("doctor", "--json").ShouldEndWith(0).Json().GetProperty("ok").GetBoolean().ShouldBeTrue();
    }

    [Theory]
    [InlineData("bash", "complete -o")]
    [InlineData("zsh", "#compdef backupiq")]
    [InlineData("fish", "complete -c backupiq")]
    public void CompletionKnowsVerbsAndFlags(string shell, string sign)
    {
        string script = _user.RunPlain("completion", shell).ShouldEndWith(0).Text;
        script.ShouldContain(sign);
        script.ShouldContain("exclude-caches");
        if (shell == "bash")
        {
            string file = _user.Write("completion.bash", script);
            ScratchFolder.Run("bash", "-c", $"source '{file}'; COMP_WORDS=(backupiq snap); COMP_CWORD=1; _backupiq; echo \"${{COMPREPLY[@]}}\"").ShouldContain("snapshots");
        }
    }

    [Fact]
    public void VersionIsTextOrJson()
    {
        _user.RunPlain("version").ShouldEndWith(0).Text.ShouldStartWith("backupiq 0.");
        _user.RunPlain("version", "--json").ShouldEndWith(0).Json().GetProperty("version").GetString()!.ShouldStartWith("0.");
    }

    [Fact]
    public void CompressionIsMeasuredOnTheUsersOwnFiles()
    {
        string source = _user.MakeTree(large: 200_000);
        string text = _user.RunPlain("bench", "compression", source).ShouldEndWith(0).Text;
        foreach (string codec in (string[])["zstd", "lz4", "gzip", "bzip2", "lzma"])
        {
            text.ShouldContain(codec);
        }
    }

    [Theory]
    [InlineData("backup", "create")]
    [InlineData("snapshots", "list")]
    [InlineData("forget", "delete")]
    [InlineData("copy", "upload")]
    public void AnAliasIsItsVerb(string verb, string alias) =>
        _user.RunPlain(alias, "--help").ShouldEndWith(0).Text.ShouldBe(_user.RunPlain(verb, "--help").ShouldEndWith(0).Text);

    [Fact]
    public void AliasesDoWhatTheirVerbsDo()
    {
        _user.Run("create", _user.MakeTree(), "--quiet").ShouldEndWith(0);
        _user.Run("list", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);
    }

    [Fact]
    public void QuietSaysNothingWhenAllIsWell()
    {
        ProgramRun run = _user.Run("backup", _user.MakeTree(), "--quiet").ShouldEndWith(0);
        run.Output.ShouldBeEmpty();
        run.ErrorOutput.ShouldBeEmpty();
    }

    [Fact]
    public void MessagesAreJsonWhereThatIsWanted()
    {
        ProgramRun run = _user.Run("restore", "latest", "--target", _user.At("x"), "--log-format", "json").ShouldEndWith(1);
        using JsonDocument line = JsonDocument.Parse(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]);
        line.RootElement.GetProperty("level").GetString().ShouldBe("error");
        line.RootElement.GetProperty("error").GetString().ShouldBe("SnapshotNotFound");
    }

    [Theory]
    [InlineData(null, true)]
    [InlineData("1", false)]
    public void ColourIsForTerminalsWithoutNoColor(string? noColor, bool expected)
    {
        // script(1) gives the program a terminal.
        _user.Environment["TERM"] = "xterm";
        if (noColor is not null)
        {
            _user.Environment["NO_COLOR"] = noColor;
        }

        string shown = _user.RunOther("script", "-qec", $"'{_user.Program}' snapshots --repo '{_user.At("nowhere")}'", "/dev/null").Text;
        shown.ShouldContain("There is no repository");
        shown.Contains("\u001b[31m", StringComparison.Ordinal).ShouldBe(expected);
    }

    private int Opens(string passwordFile) => _user.RunPlain("snapshots", "--repo", _user.Repository, "--password-file", passwordFile, "--no-input").Code;
}
