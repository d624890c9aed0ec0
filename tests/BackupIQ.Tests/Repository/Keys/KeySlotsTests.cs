using BackupIQ.Storage;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Keys;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Keys;

public sealed class KeySlotsTests
{
    private readonly FakeStorage _storage = new();

    [Fact]
    public async Task EveryPasswordAndKeyFileOpensAndNothingElseDoes()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        using Secret file = Secret.Random(32);
        await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("second"), "office", CancellationToken.None);
        await made.Slots.AddKeyFileAsync(file, "server", CancellationToken.None);

        foreach (Credentials credentials in (Credentials[])
            [
                new() { Password = RepositoryBuilder.Password("correct horse") },
                new() { Password = RepositoryBuilder.Password("second") },
                new() { KeyFile = file },
                new() { KeyFile = Secret.Random(32), Password = RepositoryBuilder.Password("second") },
            ])
        {
            await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, credentials);
            opened.Id.ShouldBe(made.Id);
            opened.Keys.DataIdKey.SequenceEqual(made.Keys.DataIdKey).ShouldBeTrue();
            opened.Findings.ShouldBeEmpty();
        }

        foreach (Credentials credentials in (Credentials[])
            [
                new() { Password = RepositoryBuilder.Password("wrong") },
                new() { KeyFile = Secret.Random(32) },
                new() { KeyFile = RepositoryBuilder.Password("correct horse") },
                new(),
            ])
        {
            BackupIQException error = await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage, credentials));
            error.Code.ShouldBe(ErrorCodes.Authentication);
            error.Code.ExitCode.ShouldBe(12);
        }

        KeySlotListing listing = await made.Slots.ListAsync(CancellationToken.None);
        listing.Slots.Select(slot => (slot.Type, slot.Label)).Order().ShouldBe(
            [("keyfile", "server"), ("kit", "recovery kit"), ("password", "first password"), ("password", "office")]);
    }

    [Fact]
    public async Task ARemovedSlotNoLongerOpensAndTheLastStays()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage, RepositoryBuilder.Options() with { RecoveryKit = false })).Repository;
        KeySlotInfo first = (await made.Slots.ListAsync(CancellationToken.None)).Slots.ShouldHaveSingleItem();
        (await Should.ThrowAsync<BackupIQException>(made.Slots.RemoveAsync(first.Id, CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);

        await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("second"), "", CancellationToken.None);
        await made.Slots.RemoveAsync(first.Id, CancellationToken.None);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage))).Code.ShouldBe(ErrorCodes.Authentication);
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, "second");
        (await Should.ThrowAsync<BackupIQException>(opened.Slots.RemoveAsync(first.Id, CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);
        (await Should.ThrowAsync<BackupIQException>(opened.Slots.RemoveAsync("../x", CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);
    }

    [Fact]
    public async Task ADamagedSlotCountsNotAsTheOtherOneAndMayBeRemoved()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        IReadOnlyList<KeySlotInfo> slots = (await made.Slots.ListAsync(CancellationToken.None)).Slots;
        string password = slots.Single(slot => slot.Type == "password").Id;
        string kit = slots.Single(slot => slot.Type == "kit").Id;
        _storage.Objects["keys/" + kit][50] ^= 1;
        (await Should.ThrowAsync<BackupIQException>(made.Slots.RemoveAsync(password, CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);
        await made.Slots.RemoveAsync(kit, CancellationToken.None);
        _storage.Objects.Keys.ShouldNotContain("keys/" + kit);
    }

    [Fact]
    public async Task AChangedPasswordTakesThePlaceOfTheOld()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        string current = opened.Slots.Current.ShouldNotBeNull();
        KeySlotInfo changed = await opened.Slots.ChangePasswordAsync(current, RepositoryBuilder.Password("new"), CancellationToken.None);
        changed.Label.ShouldBe("first password");
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage))).Code.ShouldBe(ErrorCodes.Authentication);
        await using BackupRepository again = await RepositoryBuilder.OpenAsync(_storage, "new");
        again.Slots.Current.ShouldBe(changed.Id);

        string kit = (await again.Slots.ListAsync(CancellationToken.None)).Slots.Single(slot => slot.Type == "kit").Id;
        (await Should.ThrowAsync<BackupIQException>(again.Slots.ChangePasswordAsync(kit, RepositoryBuilder.Password("x"), CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.Validation);
    }

    [Fact]
    public async Task ACrashWhileAPasswordChangesLeavesBothAndNeverNone()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        _storage.BeforePut = _ => throw new StorageException(ErrorCodes.StorageConnection, "Gone.");
        await Should.ThrowAsync<StorageException>(
            opened.Slots.ChangePasswordAsync(opened.Slots.Current!, RepositoryBuilder.Password("new"), CancellationToken.None));
        await using BackupRepository still = await RepositoryBuilder.OpenAsync(_storage);
        still.Id.ShouldBe(made.Id);
    }

    [Fact]
    public async Task ADamagedSlotKeepsNoOtherFromOpeningAndIsAFinding()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("second"), "", CancellationToken.None);
        string first = (await made.Slots.ListAsync(CancellationToken.None)).Slots.Single(slot => slot.Label == "first password").Id;
        string key = "keys/" + first;
        byte[] whole = _storage.Objects[key];
        for (int at = 0; at < whole.Length; at += 41)
        {
            byte[] damaged = [.. whole];
            damaged[at] ^= 0x20;
            _storage.Objects[key] = damaged;
            await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, "second");
            opened.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe(key);
            BackupIQException error = await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage));
            error.Code.ShouldBe(ErrorCodes.KeyDamaged);
            error.Code.ExitCode.ShouldBe(12);
            error.Guidance.ShouldContain("recovery kit");
        }

        _storage.Objects[key] = whole;
        _storage.Unreadable.Add(key);
        await using BackupRepository unread = await RepositoryBuilder.OpenAsync(_storage, "second");
        unread.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe(key);
    }

    [Fact]
    public async Task ASlotUnderAnotherNameIsDamaged()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        string id = (await made.Slots.ListAsync(CancellationToken.None)).Slots.Single(slot => slot.Type == "password").Id;
        _storage.Objects["keys/" + new string('0', 32)] = _storage.Objects["keys/" + id];
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        opened.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe("keys/" + new string('0', 32));
    }

    [Fact]
    public async Task EverySlotRepeatsTheRepositorysParametersSoThatOneDerivationServesAll()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        for (int i = 0; i < 10; i++)
        {
            await made.Slots.AddPasswordAsync(RepositoryBuilder.Password($"password {i}"), "", CancellationToken.None);
        }

        KeySlotStore store = await KeySlotStore.LoadAsync(_storage, CancellationToken.None);
        store.Slots.Count.ShouldBe(12);
        store.Slots.Select(slot => slot.Head.Kdf).ShouldAllBe(kdf => kdf.IsSameAs(made.Configuration.Head.Kdf));
    }

    [Fact]
    public async Task ASlotThatDisagreesOnTheDerivationStillOpensWhileSuchAreFew()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        for (int i = 0; i < 6; i++)
        {
            KdfParameters other = KdfParameters.NewPbkdf2(1000 + i);
            KeySlotHead head = KeySlots.NewHead(made.Id, other, KeySlotHead.PasswordType, "", DateTimeOffset.UnixEpoch) with { Slot = new string((char)('a' + i), 32) };
            _storage.Objects["keys/" + head.Slot] = KeySlot.Seal(made.Keys, head, other.Derive(System.Text.Encoding.ASCII.GetBytes($"other {i}")));
        }

        foreach (string id in _storage.Objects.Keys.Where(key => key.StartsWith("keys/", StringComparison.Ordinal) && key[5..].Distinct().Count() > 1).ToList())
        {
            _storage.Objects.Remove(id);
        }

        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, "other 3");
        opened.Id.ShouldBe(made.Id);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage, "other 5"))).Code.ShouldBe(ErrorCodes.KeyDamaged);
    }

    [Fact]
    public async Task LabelsThatWouldActOnATerminalAreRefused()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        (await Should.ThrowAsync<BackupIQException>(
            made.Slots.AddPasswordAsync(RepositoryBuilder.Password("x"), "\u001b[2J", CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);
        (await Should.ThrowAsync<BackupIQException>(
            made.Slots.AddPasswordAsync(RepositoryBuilder.Password(""), "x", CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);
    }
}
