using System.Text;
using System.Text.Json;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Storage;
using BackupIQ.Tests.Fuzzing;
using BackupIQ.Tests.Repository.Keys;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository;

public sealed class BackupRepositoryTests
{
    private readonly FakeStorage _storage = new();

    private static RepositoryConfiguration FixedConfiguration => new(
        FixedKeys.Id,
        new ConfigurationHead
        {
            Format = 1, Repository = FixedKeys.Id.ToString(), Generation = 1, MinReader = 1, MinWriter = 1, Features = FeatureFlags.None, Kdf = KeySlotTests.FixedKdf,
        },
        new ConfigurationSettings
        {
            Created = new DateTimeOffset(2026, 11, 23, 12, 0, 0, TimeSpan.Zero),
            Label = "photos",
            Chunker = ChunkerSettings.General,
            PackSize = 32 << 20,
            Compression = "auto",
        });

    [Fact]
    public void AConfigurationHasTheBytesOfTheFormat()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        StorageKey name = RepositoryLayout.Configuration('a', 1);
        byte[] bytes = ConfigurationObject.Seal(keys, name, FixedConfiguration, FixedKeys.Row());
        Encoding.ASCII.GetString(bytes).ShouldBe(Encoding.ASCII.GetString(GoldenObjects.Configuration));
        RepositoryConfiguration opened = ConfigurationObject.Parse(name, GoldenObjects.Configuration).Open(keys);
        opened.Settings.ShouldBe(FixedConfiguration.Settings);
        opened.Head.Kdf.ShouldBe(FixedConfiguration.Head.Kdf);
    }

    [Fact]
    public async Task HowSnapshotsAreCommittedIsRecordedAndFollowedOnEveryStorage()
    {
        FakeStorage withoutConditions = new() { Capabilities = new StorageCapabilities { ConditionalPut = false } };
        await using (BackupRepository made = (await RepositoryBuilder.CreateAsync(withoutConditions)).Repository)
        {
            made.CommitsByName.ShouldBeFalse();
        }

        FakeStorage withConditions = new();
        foreach ((string name, byte[] bytes) in withoutConditions.Objects)
        {
            withConditions.Objects[name] = bytes;
        }

        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(withConditions);
        opened.CommitsByName.ShouldBeFalse();
        opened.Configuration.Require(RepositoryOperation.Delete);
        JsonSerializer.Serialize(opened.Configuration.Settings, KeyJson.Default.ConfigurationSettings).ShouldEndWith(",\"commit\":\"confirmation\"}");
    }

    [Fact]
    public async Task WhoCannotCommitAsTheOthersDoMayOnlyRead()
    {
        await using (BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository)
        {
            made.CommitsByName.ShouldBeTrue();
        }

        FakeStorage withoutConditions = new() { Capabilities = new StorageCapabilities { ConditionalPut = false } };
        foreach ((string name, byte[] bytes) in _storage.Objects)
        {
            withoutConditions.Objects[name] = bytes;
        }

        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(withoutConditions);
        opened.CommitsByName.ShouldBeTrue();
        opened.Configuration.Require(RepositoryOperation.Read);
        opened.Configuration.Require(RepositoryOperation.Check);
        foreach (RepositoryOperation operation in new[] { RepositoryOperation.Write, RepositoryOperation.Delete })
        {
            Should.Throw<BackupIQException>(() => opened.Configuration.Require(operation)).Code.ShouldBe(ErrorCodes.Configuration);
        }
    }

    [Fact]
    public void AWayOfCommittingThatIsNotKnownIsRefused()
    {
        RepositoryConfiguration newer = FixedConfiguration with { Settings = FixedConfiguration.Settings with { Commit = "quorum" } };
        foreach (RepositoryOperation operation in Enum.GetValues<RepositoryOperation>())
        {
            Should.Throw<BackupIQException>(() => newer.Require(operation)).Code.ShouldBe(ErrorCodes.UnsupportedFormat);
        }
    }

    [Fact]
    public async Task AGoldenRepositoryOpens()
    {
        _storage.Objects["keys/" + GoldenObjects.SlotId] = GoldenObjects.Slot;
        _storage.Objects["config/a.00000001"] = GoldenObjects.Configuration;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        opened.Id.ShouldBe(FixedKeys.Id);
        opened.Configuration.Label.ShouldBe("photos");
        opened.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe("config/b.00000001");
    }

    [Fact]
    public void EveryFlippedBitOfAConfigurationIsRefused()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        StorageKey name = RepositoryLayout.Configuration('a', 1);
        for (int bit = 0; bit < GoldenObjects.Configuration.Length * 8; bit++)
        {
            byte[] damaged = [.. GoldenObjects.Configuration];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Should.Throw<CorruptDataException>(() => ConfigurationObject.Parse(name, damaged).Open(keys));
        }
    }

    [Theory]
    [InlineData("\"min_writer\":1", "\"min_writer\":0")]
    [InlineData("\"read\":[]", "\"read\":[ ]")]
    [InlineData("\"n\":1024", "\"n\":2048")]
    [InlineData("\"generation\":1", "\"generation\":2")]
    [InlineData("\"features\":{", "\"features\":null,\"x\":{")]
    [InlineData("\"features\":{", "\"x\":{")]
    [InlineData("\"read\":[],", "")]
    [InlineData("\"kdf\":{", "\"kdf\":null,\"x\":{")]
    public void AClearPartChangedTogetherWithItsChecksumIsRefused(string part, string replacement)
    {
        using RepositoryKeys keys = FixedKeys.Open();
        HeadedObject.TryParse(GoldenObjects.Configuration, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        string changed = Encoding.ASCII.GetString(head).Replace(part, replacement, StringComparison.Ordinal);
        changed.ShouldNotBe(Encoding.ASCII.GetString(head));
        byte[] bytes = HeadedObject.Compose(Encoding.ASCII.GetBytes(changed), body);
        Should.Throw<CorruptDataException>(() => ConfigurationObject.Parse(RepositoryLayout.Configuration('a', 1), bytes).Open(keys));
    }

    [Theory]
    [InlineData("\"min_reader\":1", "\"min_reader\":2")]
    [InlineData("\"read\":[]", "\"read\":[\"holograms\"]")]
    [InlineData("\"read\":[]", "\"read\":[null]")]
    public void AFormatForNewerReadersIsSaidAtOnce(string part, string replacement)
    {
        HeadedObject.TryParse(GoldenObjects.Configuration, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        byte[] bytes = HeadedObject.Compose(
            Encoding.ASCII.GetBytes(Encoding.ASCII.GetString(head).Replace(part, replacement, StringComparison.Ordinal)), body);
        _storage.Objects["config/a.00000001"] = bytes;
        Should.Throw<BackupIQException>(() => RepositoryBuilder.OpenAsync(_storage).GetAwaiter().GetResult())
            .Code.ShouldBe(ErrorCodes.UnsupportedFormat);
    }

    [Fact]
    public void AFormatForNewerWritersMayBeReadButNotWritten()
    {
        RepositoryConfiguration configuration = FixedConfiguration with { Head = FixedConfiguration.Head with { MinWriter = 2 } };
        configuration.Require(RepositoryOperation.Read);
        configuration.Require(RepositoryOperation.Check);
        Should.Throw<BackupIQException>(() => configuration.Require(RepositoryOperation.Write)).Code.ShouldBe(ErrorCodes.UnsupportedFormat);
        Should.Throw<BackupIQException>(() => configuration.Require(RepositoryOperation.Delete)).Code.ShouldBe(ErrorCodes.UnsupportedFormat);
        RepositoryConfiguration feature = FixedConfiguration with { Head = FixedConfiguration.Head with { Features = FeatureFlags.None with { Check = ["x\u001b"] } } };
        feature.Require(RepositoryOperation.Write);
        Should.Throw<BackupIQException>(() => feature.Require(RepositoryOperation.Check)).Message.ShouldContain("'x'");
    }

    [Fact]
    public void UnknownFieldsOfAConfigurationAreKept()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        StorageKey name = RepositoryLayout.Configuration('a', 1);
        HeadedObject.TryParse(GoldenObjects.Configuration, out byte[] head, out _, out _).ShouldBeTrue();
        byte[] longer = Encoding.ASCII.GetBytes(Encoding.ASCII.GetString(head)[..^1] + ",\"colour\":\"blue\"}");
        byte[] settings = "{\"created\":\"2026-11-23T12:00:00+00:00\",\"label\":\"\",\"chunker\":{\"profile\":\"general\",\"minimum\":262144,\"average\":1048576,\"maximum\":4194304},\"pack_size\":33554432,\"compression\":\"auto\",\"shape\":\"round\"}"u8.ToArray();
        byte[] bytes = HeadedObject.Compose(longer, SealedObject.Seal(keys, ObjectKind.Configuration, name, settings, longer, FixedKeys.Row()));
        RepositoryConfiguration opened = ConfigurationObject.Parse(name, bytes).Open(keys);
        Encoding.ASCII.GetString(ConfigurationObject.Seal(keys, name, opened, FixedKeys.Row())).ShouldBe(Encoding.ASCII.GetString(bytes));
    }

    [Fact]
    public void AnythingInThePlaceOfAConfigurationIsRefusedCleanly()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        StorageKey name = RepositoryLayout.Configuration('a', 1);
        HeadedObject.TryParse(GoldenObjects.Configuration, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        byte[] settings = System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(FixedConfiguration.Settings, KeyJson.Default.ConfigurationSettings);
        Fuzz.Run([GoldenObjects.Configuration, head, settings], input =>
        {
            Try(input);
            if (input.Length < 40_000)
            {
                Try(HeadedObject.Compose(input, body));
                Try(HeadedObject.Compose(head, SealedObject.Seal(keys, ObjectKind.Configuration, name, input, head, SaltRow.New(keys))));
            }
        });

        void Try(byte[] bytes)
        {
            try
            {
                ConfigurationObject.Parse(name, bytes).Open(keys);
            }
            catch (BackupIQException e)
            {
                (e.Code == ErrorCodes.CorruptData || e.Code == ErrorCodes.UnsupportedFormat).ShouldBeTrue();
            }
        }
    }

    [Fact]
    public async Task ADamagedOrMissingCopyIsAFindingAndCanBeRestored()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        foreach (string copy in (string[])["config/a.00000001", "config/b.00000001"])
        {
            byte[] whole = _storage.Objects[copy];
            for (int at = 0; at < whole.Length; at += 53)
            {
                byte[] damaged = [.. whole];
                damaged[at] ^= 4;
                _storage.Objects[copy] = damaged;
                await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
                opened.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe(copy);
                opened.Configuration.Settings.ShouldBe(made.Configuration.Settings);
            }

            _storage.Objects.Remove(copy);
            await using BackupRepository lacking = await RepositoryBuilder.OpenAsync(_storage);
            lacking.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe(copy);
            await lacking.RestoreConfigurationAsync(CancellationToken.None);
            await using BackupRepository mended = await RepositoryBuilder.OpenAsync(_storage);
            mended.Findings.ShouldBeEmpty();
        }
    }

    [Fact]
    public async Task TheHighestGenerationWithAWholeCopyCounts()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        RepositoryConfiguration second = made.Configuration with
        {
            Head = made.Configuration.Head with { Generation = 2 },
            Settings = made.Configuration.Settings with { Label = "second" },
        };
        (await ConfigurationStore.TryPutAsync(_storage, made.Keys, second, CancellationToken.None)).ShouldBeTrue();
        (await ConfigurationStore.TryPutAsync(_storage, made.Keys, second, CancellationToken.None)).ShouldBeFalse();
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            opened.Configuration.Label.ShouldBe("second");
            opened.Findings.ShouldBeEmpty();
        }

        _storage.Objects["config/a.00000002"][60] ^= 1;
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            opened.Configuration.Label.ShouldBe("second");
        }

        _storage.Objects["config/b.00000002"][60] ^= 1;
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            opened.Configuration.Label.ShouldBe("photos");
            opened.Findings.Select(finding => finding.ObjectName).ShouldBe(["config/a.00000002", "config/b.00000002"]);
        }
    }

    [Fact]
    public async Task WhereNothingIsThereIsNoRepository()
    {
        BackupIQException error = await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage));
        error.Code.ShouldBe(ErrorCodes.RepositoryNotFound);
        error.Code.ExitCode.ShouldBe(10);
    }

    [Fact]
    public async Task ARepositoryIsNotMadeOverAnother()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        Dictionary<string, byte[]> before = new(_storage.Objects);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.CreateAsync(_storage))).Code.ExitCode.ShouldBe(7);
        _storage.Objects.ToDictionary().ShouldBe(before);

        FakeStorage headless = new();
        headless.Objects["d/ab/whatever"] = [1];
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.CreateAsync(headless))).Code.ShouldBe(ErrorCodes.RepositoryExists);
        headless.Objects.Count.ShouldBe(1);
    }

    [Fact]
    public async Task WhoeverLosesTheRaceToMakeARepositoryTakesItsOwnSlotsAwayAndLeavesTheWinners()
    {
        CreatedRepository? winner = null;
        _storage.BeforePut = key =>
        {
            if (winner is null && key.Value == "config/a.00000001")
            {
                _storage.BeforePut = _ => { };
                winner = RepositoryBuilder.CreateAsync(_storage, RepositoryBuilder.Options("winner")).GetAwaiter().GetResult();
            }
        };
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.CreateAsync(_storage))).Code.ShouldBe(ErrorCodes.RepositoryExists);
        await using BackupRepository made = winner.ShouldNotBeNull().Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, "winner");
        opened.Findings.ShouldBeEmpty();
        _storage.Objects.Count.ShouldBe(4);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task ACrashBeforeTheConfigurationLeavesWhatInitTakesUpAgain(int survivingPuts)
    {
        int puts = 0;
        _storage.BeforePut = _ =>
        {
            if (puts++ == survivingPuts - 1)
            {
                throw new StorageException(ErrorCodes.StorageConnection, "Gone.");
            }
        };
        await Should.ThrowAsync<StorageException>(RepositoryBuilder.CreateAsync(_storage));
        _storage.Objects.Keys.ShouldAllBe(key => key.StartsWith("keys/", StringComparison.Ordinal));

        _storage.BeforePut = _ => { };
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage, RepositoryBuilder.Options("again"))).Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, "again");
        opened.Findings.ShouldBeEmpty();
        _storage.Objects.Count.ShouldBe(4);
    }

    [Fact]
    public async Task TheKitOpensARepositoryWhoseKeysAndConfigurationAreGone()
    {
        CreatedRepository created = await RepositoryBuilder.CreateAsync(_storage);
        await using BackupRepository made = created.Repository;
        using RecoveryKit kit = RecoveryKit.Parse(created.RecoveryKit!);
        StorageKey name = RepositoryLayout.Snapshot(SessionId.New());
        _storage.Objects[name.Value] = SealedObject.Seal(made.Keys, ObjectKind.Snapshot, name, "x"u8);
        await using (BackupRepository whole = await RepositoryBuilder.OpenAsync(_storage, new Credentials { RecoveryKit = kit }))
        {
            whole.Findings.ShouldBeEmpty();
        }

        foreach (string key in _storage.Objects.Keys.Where(key => key != name.Value).ToList())
        {
            _storage.Objects.Remove(key);
        }

        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, new Credentials { RecoveryKit = kit });
        opened.Id.ShouldBe(made.Id);
        opened.Findings.Count.ShouldBe(2);
        opened.Configuration.Chunker.ShouldBe(made.Configuration.Chunker);
        opened.Keys.GearKey.SequenceEqual(made.Keys.GearKey).ShouldBeTrue();
        (await opened.ReadObjectAsync(ObjectKind.Snapshot, name, CancellationToken.None)).ShouldBe("x"u8.ToArray());

        // And from there everything comes back.
        await opened.RestoreConfigurationAsync(CancellationToken.None);
        await opened.Slots.AddPasswordAsync(RepositoryBuilder.Password("fresh"), "", CancellationToken.None);
        await using BackupRepository mended = await RepositoryBuilder.OpenAsync(_storage, "fresh");
        mended.Findings.ShouldBeEmpty();
    }

    [Fact]
    public async Task TheSecretOfAKitAloneOpensWhileTheSlotIsThere()
    {
        CreatedRepository created = await RepositoryBuilder.CreateAsync(_storage);
        await using BackupRepository made = created.Repository;
        string lines = string.Join('\n', created.RecoveryKit!.Split('\n').Where(line => line.StartsWith("    ", StringComparison.Ordinal) && line.Contains(':')));
        using RecoveryKit kit = RecoveryKit.Parse(lines);
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, new Credentials { RecoveryKit = kit });
        opened.Id.ShouldBe(made.Id);
    }

    [Fact]
    public async Task AKitFindsNoRepositoryWhereNothingIs()
    {
        CreatedRepository created = await RepositoryBuilder.CreateAsync(_storage);
        await using BackupRepository made = created.Repository;
        using RecoveryKit kit = RecoveryKit.Parse(created.RecoveryKit!);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(new FakeStorage(), new Credentials { RecoveryKit = kit })))
            .Code.ShouldBe(ErrorCodes.RepositoryNotFound);
        FakeStorage other = new();
        await using BackupRepository stranger = (await RepositoryBuilder.CreateAsync(other)).Repository;
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(other, new Credentials { RecoveryKit = kit })))
            .Code.ShouldBe(ErrorCodes.Authentication);
    }

    [Fact]
    public async Task APasswordWithoutAConfigurationPointsToTheKit()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        _storage.Objects.Remove("config/a.00000001");
        _storage.Objects.Remove("config/b.00000001");
        BackupIQException error = await Should.ThrowAsync<CorruptDataException>(RepositoryBuilder.OpenAsync(_storage));
        error.Message.ShouldContain("--recovery-kit");
    }

    [Fact]
    public async Task WithoutAnySlotTheKeysAreDamaged()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        foreach (string key in _storage.Objects.Keys.Where(key => key.StartsWith("keys/", StringComparison.Ordinal)).ToList())
        {
            _storage.Objects.Remove(key);
        }

        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage))).Code.ShouldBe(ErrorCodes.KeyDamaged);
    }

    [Fact]
    public async Task ARepositoryMayCutAsAnotherDoesWithoutSharingItsOtherKeys()
    {
        await using BackupRepository first = (await RepositoryBuilder.CreateAsync(
            _storage, RepositoryBuilder.Options() with { Chunker = new ChunkerSettings("small", 4096, 8192, 65536) })).Repository;
        await using BackupRepository second = (await RepositoryBuilder.CreateAsync(
            new FakeStorage(), RepositoryBuilder.Options() with { ChunkerFrom = first })).Repository;
        second.Keys.GearKey.SequenceEqual(first.Keys.GearKey).ShouldBeTrue();
        second.Keys.DataIdKey.SequenceEqual(first.Keys.DataIdKey).ShouldBeFalse();
        second.Configuration.Chunker.ShouldBe(first.Configuration.Chunker);
        second.Id.ShouldNotBe(first.Id);
    }

    [Fact]
    public async Task WithoutPasswordAndKeyFileNothingIsMade()
    {
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.CreateAsync(_storage, RepositoryBuilder.Options(null))))
            .Code.ShouldBe(ErrorCodes.Validation);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.CreateAsync(_storage, RepositoryBuilder.Options(""))))
            .Code.ShouldBe(ErrorCodes.Validation);
        _storage.Objects.ShouldBeEmpty();
    }

    [Fact]
    public async Task Pbkdf2ServesWhereScryptMayNot()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(
            _storage, RepositoryBuilder.Options() with { Kdf = null, UsePbkdf2 = true })).Repository;
        made.Configuration.Head.Kdf.Name.ShouldBe("pbkdf2-sha512");
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        opened.Id.ShouldBe(made.Id);
    }
}
