using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Keys;

public sealed class EpochTests
{
    private static readonly StorageKey Marker = new("s/000102030405060708090a0b0c0d0e0f");

    private readonly FakeStorage _storage = new();

    [Fact]
    public void SlotsAndEpochsHaveTheBytesOfAnotherImplementation()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        KeySlot golden = KeySlot.TryParse(GoldenObjects.FollowingSlotId, GoldenObjects.FollowingSlot, out string problem).ShouldNotBeNull();
        problem.ShouldBeEmpty();
        KeySlotHead plain = golden.Head with { Epoch = null, Public = null, Proof = null };
        Encoding.ASCII.GetString(KeySlot.SealFollowing(keys, plain, FixedKeys.Salt)).ShouldBe(Encoding.ASCII.GetString(GoldenObjects.FollowingSlot));
        byte[] publicKey = golden.ProvenPublicKey(keys).ShouldNotBeNull();

        EpochObject epoch = EpochObject.TryParse(3, GoldenObjects.Epoch, out _).ShouldNotBeNull();
        epoch.IsProven(keys).ShouldBeTrue();
        epoch.Follows(GoldenObjects.FollowingSlotId, publicKey).ShouldBeTrue();
        epoch.TryUnwrap(keys, GoldenObjects.FollowingSlotId, FixedKeys.Salt, out _).ShouldBe(FixedKeys.Filled(0x55));
        using System.Security.Cryptography.ECDiffieHellman ephemeral = SlotAgreement.KeyOf(FixedKeys.Filled(0x66));
        Encoding.ASCII.GetString(EpochObject.Compose(
            keys, FixedKeys.Filled(0x55), [new EpochRecipient(GoldenObjects.FollowingSlotId, publicKey)], epoch.Head.Created, ephemeral))
            .ShouldBe(Encoding.ASCII.GetString(GoldenObjects.Epoch));
    }

    [Fact]
    public async Task EveryKeyOpensANewEpochAndWhatWasWrittenBeforeAndOneThatWasLeftOutOnlyTheLatter()
    {
        using Secret keyFile = Secret.Random(32);
        CreatedRepository created = await RepositoryBuilder.CreateAsync(_storage);
        await using BackupRepository made = created.Repository;
        await made.Slots.AddKeyFileAsync(keyFile, "server", CancellationToken.None);
        KeySlotInfo ben = await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("ben"), "for Ben", CancellationToken.None);
        byte[] bensSlot = _storage.Objects["keys/" + ben.Id];
        StorageKey old = new("s/101112131415161718191a1b1c1d1e1f");
        _storage.Objects[old.Value] = SealedObject.Seal(made.Keys, ObjectKind.Snapshot, old, "old"u8);

        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            EpochPlan plan = await opened.Slots.PlanEpochAsync(CancellationToken.None);
            plan.Epoch.ShouldBe((ushort)2);
            plan.Follow.Count.ShouldBe(4);
            plan.CannotFollow.ShouldBeEmpty();
            EpochOutcome outcome = await opened.BeginEpochAsync([ben.Id], TimeProvider.System, CancellationToken.None);
            outcome.Epoch.ShouldBe((ushort)2);
            outcome.LeftBehind.ShouldBeEmpty();
        }

        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            opened.Findings.ShouldBeEmpty();
            opened.Keys.CurrentEpoch.ShouldBe((ushort)2);
            opened.Keys.DataIdKey.SequenceEqual(made.Keys.DataIdKey).ShouldBeTrue("deduplication goes on");
            _storage.Objects[Marker.Value] = SealedObject.Seal(opened.Keys, ObjectKind.Snapshot, Marker, "new"u8);
            (await opened.Slots.ListAsync(CancellationToken.None)).Slots.ShouldAllBe(static slot => slot.Epoch == 2 && slot.CanFollow);
        }

        using RecoveryKit kit = RecoveryKit.Parse(created.RecoveryKit!);
        foreach (Credentials credentials in (Credentials[])[new() { KeyFile = keyFile }, new() { RecoveryKit = kit }, new() { Password = RepositoryBuilder.Password("correct horse") }])
        {
            await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage, credentials);
            opened.Findings.ShouldBeEmpty();
            (await opened.ReadObjectAsync(ObjectKind.Snapshot, Marker, CancellationToken.None)).ShouldBe("new"u8.ToArray());
            (await opened.ReadObjectAsync(ObjectKind.Snapshot, old, CancellationToken.None)).ShouldBe("old"u8.ToArray());
        }

        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage, "ben"))).Code.ShouldBe(ErrorCodes.Authentication);

        // Ben has kept his slot, and puts it back.
        _storage.Objects["keys/" + ben.Id] = bensSlot;
        await using BackupRepository bens = await RepositoryBuilder.OpenAsync(_storage, "ben");
        bens.Keys.CurrentEpoch.ShouldBe((ushort)1);
        bens.Findings.ShouldHaveSingleItem().Problem.ShouldContain("epoch 2 began without");
        (await bens.ReadObjectAsync(ObjectKind.Snapshot, old, CancellationToken.None)).ShouldBe("old"u8.ToArray());
        await Should.ThrowAsync<CorruptDataException>(bens.ReadObjectAsync(ObjectKind.Snapshot, Marker, CancellationToken.None));
        Should.Throw<BackupIQException>(() => SealedObject.Seal(bens.Keys, ObjectKind.Snapshot, Marker, "x"u8)).Code.ShouldBe(ErrorCodes.KeyOutdated);
        Should.Throw<BackupIQException>(() => bens.Configuration.Require(RepositoryOperation.Write)).Code.ShouldBe(ErrorCodes.KeyOutdated);
        (await Should.ThrowAsync<BackupIQException>(bens.Slots.AddPasswordAsync(RepositoryBuilder.Password("x"), "", CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyOutdated);
        (await Should.ThrowAsync<BackupIQException>(bens.Slots.RemoveAsync(ben.Id, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyOutdated);
        (await Should.ThrowAsync<BackupIQException>(bens.BeginEpochAsync([], TimeProvider.System, CancellationToken.None))).Code.ShouldBe(ErrorCodes.KeyOutdated);
    }

    [Fact]
    public async Task TheLastKeyThatOpensTheNewestEpochStaysThoughOthersOpenWhatIsOlder()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage, RepositoryBuilder.Options() with { RecoveryKit = false })).Repository;
        KeySlotInfo ben = await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("ben"), "for Ben", CancellationToken.None);
        byte[] bensSlot = _storage.Objects["keys/" + ben.Id];
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            await opened.BeginEpochAsync([ben.Id], TimeProvider.System, CancellationToken.None);
        }

        _storage.Objects["keys/" + ben.Id] = bensSlot;
        await using BackupRepository today = await RepositoryBuilder.OpenAsync(_storage);
        (await Should.ThrowAsync<BackupIQException>(today.Slots.RemoveAsync(today.Slots.Current!, CancellationToken.None))).Code.ShouldBe(ErrorCodes.Validation);
        await today.Slots.RemoveAsync(ben.Id, CancellationToken.None);
    }

    [Fact]
    public async Task SeveralEpochsFollowOneAnotherAndALaterKeyNeedsNoneOfTheChain()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        for (int epoch = 2; epoch < 6; epoch++)
        {
            await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
            await opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
        }

        await using BackupRepository last = await RepositoryBuilder.OpenAsync(_storage);
        last.Keys.Masters.Keys.ShouldBe([(ushort)1, (ushort)2, (ushort)3, (ushort)4, (ushort)5]);
        (await last.Slots.ListEpochsAsync(CancellationToken.None)).ShouldAllBe(static epoch => epoch.Begun != null);
        await last.Slots.AddPasswordAsync(RepositoryBuilder.Password("late"), "late", CancellationToken.None);
        foreach (string key in _storage.Objects.Keys.Where(static key => key.StartsWith("keys/epoch.", StringComparison.Ordinal)).ToList())
        {
            _storage.Objects.Remove(key);
        }

        await using BackupRepository late = await RepositoryBuilder.OpenAsync(_storage, "late");
        late.Keys.CurrentEpoch.ShouldBe((ushort)5);
        late.Findings.ShouldBeEmpty();
    }

    [Fact]
    public async Task OfTwoWhoBeginAnEpochAtOnceOneDoesAndTheOtherChangesNothing()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using BackupRepository one = await RepositoryBuilder.OpenAsync(_storage);
        await using BackupRepository two = await RepositoryBuilder.OpenAsync(_storage);
        EpochOutcome? other = null;
        _storage.BeforePut = key =>
        {
            if (key.Value == "keys/epoch.00002.a" && other is null)
            {
                other = new EpochOutcome(0, []);
                other = two.Slots.BeginEpochAsync([], static _ => Task.CompletedTask, CancellationToken.None).GetAwaiter().GetResult();
            }
        };
        (await Should.ThrowAsync<BackupIQException>(one.BeginEpochAsync([], TimeProvider.System, CancellationToken.None))).Code.ShouldBe(ErrorCodes.RepositoryBusy);
        other.ShouldNotBeNull().Epoch.ShouldBe((ushort)2);
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        opened.Keys.CurrentEpoch.ShouldBe((ushort)2);
        opened.Findings.ShouldBeEmpty();
    }

    [Fact]
    public async Task AKeyThatIsAddedWhileAnEpochBeginsFollowsOrIsRefused()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using BackupRepository rotating = await RepositoryBuilder.OpenAsync(_storage);
        await using BackupRepository adding = await RepositoryBuilder.OpenAsync(_storage);
        bool isBegun = false;
        _storage.BeforePut = key =>
        {
            if (key.Value.StartsWith("keys/", StringComparison.Ordinal) && !isBegun)
            {
                isBegun = true;
                rotating.BeginEpochAsync([], TimeProvider.System, CancellationToken.None).GetAwaiter().GetResult();
            }
        };
        (await Should.ThrowAsync<BackupIQException>(adding.Slots.AddPasswordAsync(RepositoryBuilder.Password("late"), "late", CancellationToken.None)))
            .Code.ShouldBe(ErrorCodes.RepositoryBusy);
        (await Should.ThrowAsync<BackupIQException>(RepositoryBuilder.OpenAsync(_storage, "late"))).Code.ShouldBe(ErrorCodes.Authentication);

        // The other way round: the slot is there before the epoch is put, and after its slots were listed.
        await using BackupRepository third = await RepositoryBuilder.OpenAsync(_storage);
        await using BackupRepository alsoAdding = await RepositoryBuilder.OpenAsync(_storage);
        _storage.BeforePut = key =>
        {
            if (key.Value == "keys/epoch.00003.a")
            {
                _storage.BeforePut = static _ => { };
                alsoAdding.Slots.AddPasswordAsync(RepositoryBuilder.Password("late"), "late", CancellationToken.None).GetAwaiter().GetResult();
            }
        };
        EpochOutcome outcome = await third.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
        outcome.LeftBehind.ShouldHaveSingleItem().Label.ShouldBe("late");
    }

    [Fact]
    public async Task ACrashAtEachPutOfARotationLeavesARepositoryThatOpensWithEverySlot()
    {
        for (int crashAt = 0; ; crashAt++)
        {
            FakeStorage storage = new();
            await using BackupRepository made = (await RepositoryBuilder.CreateAsync(storage)).Repository;
            using Secret keyFile = Secret.Random(32);
            await made.Slots.AddKeyFileAsync(keyFile, "server", CancellationToken.None);
            MakeOld(storage, made);
            int puts = 0;
            await using BackupRepository opened = await RepositoryBuilder.OpenAsync(storage);
            storage.BeforePut = _ =>
            {
                if (puts++ == crashAt)
                {
                    throw new StorageException(ErrorCodes.StorageConnection, "Gone.");
                }
            };
            bool isDone = false;
            try
            {
                await opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
                isDone = true;
            }
            catch (StorageException)
            {
            }

            storage.BeforePut = static _ => { };
            await using BackupRepository byPassword = await RepositoryBuilder.OpenAsync(storage);
            await using BackupRepository byKeyFile = await RepositoryBuilder.OpenAsync(storage, new Credentials { KeyFile = keyFile });
            byPassword.Keys.CurrentEpoch.ShouldBe(byKeyFile.Keys.CurrentEpoch);
            byKeyFile.Keys.OutdatedBy.ShouldBeNull();
            byPassword.Keys.OutdatedBy.ShouldBeNull();

            // And it can be begun, or gone on with.
            await byPassword.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
            await byPassword.RestoreConfigurationAsync(CancellationToken.None);
            await using BackupRepository again = await RepositoryBuilder.OpenAsync(storage, new Credentials { KeyFile = keyFile });
            again.Keys.CurrentEpoch.ShouldBe((ushort)(byPassword.Keys.CurrentEpoch + 1));
            again.Findings.ShouldBeEmpty();
            if (isDone)
            {
                crashAt.ShouldBeGreaterThan(3);
                return;
            }
        }
    }

    [Fact]
    public async Task SlotsOfAnOlderVersionAreNamedAndOnlyTheOneInUseIsWrappedAnew()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        KeySlotInfo second = await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("second"), "office", CancellationToken.None);
        MakeOld(_storage, made, "second", second.Id);
        MakeOld(_storage, made);
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        EpochPlan plan = await opened.Slots.PlanEpochAsync(CancellationToken.None);
        KeySlotInfo stuck = plan.CannotFollow.ShouldHaveSingleItem();
        stuck.Label.ShouldBe("office");
        (await Should.ThrowAsync<BackupIQException>(opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None))).Message.ShouldContain("office");
        _storage.Objects.Keys.ShouldNotContain(static key => key.StartsWith("keys/epoch", StringComparison.Ordinal));
        await opened.BeginEpochAsync([stuck.Id], TimeProvider.System, CancellationToken.None);
        await using BackupRepository again = await RepositoryBuilder.OpenAsync(_storage);
        again.Keys.CurrentEpoch.ShouldBe((ushort)2);
        (await again.Slots.ListAsync(CancellationToken.None)).Slots.Count.ShouldBe(2);
    }

    [Fact]
    public async Task WhoHasOnlyTheStorageGetsNoMasterAndPutsNoneIntoAnybodysHands()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);

        // A slot of the attacker's own: he has no key of the repository, and invents one.
        using RepositoryKeys invented = RepositoryKeys.Create(made.Id);
        KeySlotHead head = KeySlots.NewHead(made.Id, made.Configuration.Head.Kdf, KeySlotHead.KeyFileType, "recovery kit", DateTimeOffset.UnixEpoch);
        _storage.Objects["keys/" + head.Slot] = KeySlot.SealFollowing(invented, head, FixedKeys.Salt);
        (await opened.Slots.PlanEpochAsync(CancellationToken.None)).CannotFollow.ShouldHaveSingleItem().Id.ShouldBe(head.Slot);
        await Should.ThrowAsync<BackupIQException>(opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None));
        _storage.Objects.Remove("keys/" + head.Slot);

        // An epoch of his own: it is told, left alone, and stops nobody.
        using System.Security.Cryptography.ECDiffieHellman ephemeral = SlotAgreement.NewKey();
        KeySlotInfo[] slots = [.. (await opened.Slots.ListAsync(CancellationToken.None)).Slots];
        EpochRecipient[] recipients = [.. slots.Select(slot => new EpochRecipient(
            slot.Id, KeySlot.TryParse(slot.Id, _storage.Objects["keys/" + slot.Id], out _)!.ProvenPublicKey(opened.Keys)!))];
        byte[] forged = EpochObject.Compose(invented, FixedKeys.Filled(9), recipients, DateTimeOffset.UnixEpoch, ephemeral);
        _storage.Objects["keys/epoch.00002.a"] = forged;
        _storage.Objects["keys/epoch.00002.b"] = forged;
        await using BackupRepository again = await RepositoryBuilder.OpenAsync(_storage);
        again.Keys.CurrentEpoch.ShouldBe((ushort)1);
        again.Keys.OutdatedBy.ShouldBeNull();
        again.Findings.ShouldHaveSingleItem().Problem.ShouldContain("no holder of the keys made it");
        (await Should.ThrowAsync<BackupIQException>(again.BeginEpochAsync([], TimeProvider.System, CancellationToken.None))).Code.ShouldBe(ErrorCodes.RepositoryBusy);
    }

    [Fact]
    public async Task WhoWasLeftOutOfAnEpochGetsIntoNoLaterOneByASlotOfHisOwn()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        KeySlotInfo ben = await made.Slots.AddPasswordAsync(RepositoryBuilder.Password("ben"), "for Ben", CancellationToken.None);
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            await opened.BeginEpochAsync([ben.Id], TimeProvider.System, CancellationToken.None);
        }

        // Ben has kept the keys of epoch 1. He makes a slot with them, and one more in the place of somebody's that follows.
        KeySlotHead head = KeySlots.NewHead(made.Id, made.Configuration.Head.Kdf, KeySlotHead.KeyFileType, "server", DateTimeOffset.UnixEpoch);
        _storage.Objects["keys/" + head.Slot] = KeySlot.SealFollowing(made.Keys, head, FixedKeys.Salt);
        await using BackupRepository today = await RepositoryBuilder.OpenAsync(_storage);
        string kit = (await today.Slots.ListAsync(CancellationToken.None)).Slots.Single(static slot => slot.Type == "kit").Id;
        _storage.Objects["keys/" + kit] = KeySlot.SealFollowing(made.Keys, head with { Slot = kit, Type = "kit" }, FixedKeys.Salt);
        EpochPlan plan = await today.Slots.PlanEpochAsync(CancellationToken.None);
        plan.CannotFollow.Select(static slot => slot.Id).ShouldBe([kit, head.Slot], ignoreOrder: true);
        plan.Follow.ShouldHaveSingleItem().IsCurrent.ShouldBeTrue();
    }

    [Fact]
    public async Task EitherCopyOfAnEpochWillDoAndAnyChangeOfKeysPutsTheOtherBack()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            await opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
        }

        foreach (string damaged in (string[])["keys/epoch.00002.a", "keys/epoch.00002.b"])
        {
            byte[] whole = _storage.Objects[damaged];
            _storage.Objects[damaged] = [.. whole[..100], (byte)(whole[100] ^ 1), .. whole[101..]];
            await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
            opened.Keys.CurrentEpoch.ShouldBe((ushort)2);
            opened.Findings.ShouldHaveSingleItem().ObjectName.ShouldBe(damaged);
            await opened.Slots.AddPasswordAsync(RepositoryBuilder.Password(damaged), "", CancellationToken.None);
            _storage.Objects[damaged].ShouldBe(whole);
        }
    }

    [Fact]
    public async Task AVersionThatKnowsNoEpochsIsKeptAway()
    {
        await using BackupRepository made = (await RepositoryBuilder.CreateAsync(_storage)).Repository;
        await using BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage);
        bool isKeptAway = false;
        _storage.BeforePut = key => isKeptAway |= key.Value == "keys/epoch.00002.a"
            && Encoding.ASCII.GetString(_storage.Objects["config/a.00000002"]).Contains("\"read\":[\"epochs\"]", StringComparison.Ordinal);
        await opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
        isKeptAway.ShouldBeTrue("before the epoch begins");
    }

    [Fact]
    public async Task AKitOpensWhatIsNewerThanItOnlyWhileTheKeysAreThere()
    {
        CreatedRepository created = await RepositoryBuilder.CreateAsync(_storage);
        await using BackupRepository made = created.Repository;
        await using (BackupRepository opened = await RepositoryBuilder.OpenAsync(_storage))
        {
            await opened.BeginEpochAsync([], TimeProvider.System, CancellationToken.None);
        }

        using RecoveryKit kit = RecoveryKit.Parse(created.RecoveryKit!);
        await using BackupRepository with = await RepositoryBuilder.OpenAsync(_storage, new Credentials { RecoveryKit = kit });
        with.Keys.CurrentEpoch.ShouldBe((ushort)2);
        string newer = await with.Slots.AddRecoveryKitAsync("new kit", asPage: false, CancellationToken.None);
        foreach (string key in _storage.Objects.Keys.Where(static key => key.StartsWith("keys/", StringComparison.Ordinal)).ToList())
        {
            _storage.Objects.Remove(key);
        }

        await using BackupRepository without = await RepositoryBuilder.OpenAsync(_storage, new Credentials { RecoveryKit = kit });
        without.Keys.CurrentEpoch.ShouldBe((ushort)1);
        using RecoveryKit newKit = RecoveryKit.Parse(newer);
        await using BackupRepository withNewer = await RepositoryBuilder.OpenAsync(_storage, new Credentials { RecoveryKit = newKit });
        withNewer.Keys.CurrentEpoch.ShouldBe((ushort)2);
    }

    // The slot as a version made it that knew no epoch objects.
    private static void MakeOld(FakeStorage storage, BackupRepository repository, string password = "correct horse", string? slot = null)
    {
        string id = slot ?? storage.Objects.Keys.Single(key => key.StartsWith("keys/", StringComparison.Ordinal)
            && Encoding.ASCII.GetString(storage.Objects[key]).Contains("first password", StringComparison.Ordinal))["keys/".Length..];
        KeySlotHead head = KeySlot.TryParse(id, storage.Objects["keys/" + id], out _)!.Head with { Epoch = null, Public = null, Proof = null };
        storage.Objects["keys/" + id] = KeySlot.Seal(repository.Keys, head, head.Kdf.Derive(Encoding.UTF8.GetBytes(password)));
    }
}
