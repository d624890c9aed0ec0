using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Tests.Fuzzing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Keys;

public sealed class KeySlotTests
{
    internal static readonly KdfParameters FixedKdf = new()
    {
        Name = KdfParameters.ScryptName,
        Salt = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        N = 1024,
        R = 8,
        P = 1,
    };

    private static readonly KeySlotHead FixedHead = new()
    {
        Format = 1,
        Repository = FixedKeys.Id.ToString(),
        Slot = GoldenObjects.SlotId,
        Type = KeySlotHead.PasswordType,
        Label = "first password",
        Created = new DateTimeOffset(2026, 11, 23, 12, 0, 0, TimeSpan.Zero),
        Kdf = FixedKdf,
    };

    [Fact]
    public void DerivationsGiveTheKeysOfOtherImplementations()
    {
        Convert.ToHexStringLower(FixedKdf.Derive("correct horse"u8))
            .ShouldBe("1fa1348854818a9e4e9037d04148d79bf80ee7ccc89564199957a2a783532f80");
        KdfParameters pbkdf2 = new() { Name = KdfParameters.Pbkdf2Name, Salt = FixedKdf.Salt, Iterations = 1000 };
        Convert.ToHexStringLower(pbkdf2.Derive("correct horse"u8))
            .ShouldBe("7b34d72b3aedbb7b91554546e40b31f86213a18bd9b3a03ca7d553f77879ad34");
    }

    [Theory]
    [InlineData(1 << 15, 3, "ce9a54c787e85bac509104b5bbdf53e0d1ad1b8702cbdbdfef145a7231ce0d23")]
    [InlineData(1 << 16, 1, "d88dd954315ef92b27d902c52d3c1b2c90b4f0f755030167664638ca506f2a5c")]
    public void WhatRepositoriesAreMadeWithNowAndWereBeforeDerives(int n, int p, string key) =>
        Convert.ToHexStringLower((FixedKdf with { N = n, P = p }).Derive("correct horse"u8)).ShouldBe(key);

    [Fact]
    public void ANewRepositoryAsksFor32MebibytesAndForThreeLanesOfThem()
    {
        KdfParameters parameters = KdfParameters.NewScrypt();
        (parameters.N, parameters.R, parameters.P).ShouldBe((1 << 15, 8, 3));
        parameters.Problem().ShouldBeNull();
    }

    [Theory]
    [InlineData("scrypt", 1 << 20, 8, 1, null, true)]
    [InlineData("scrypt", 1 << 21, 8, 1, null, false)]
    [InlineData("scrypt", 1 << 22, 64, 64, null, false)]
    [InlineData("scrypt", 65535, 8, 1, null, false)]
    [InlineData("scrypt", 512, 8, 1, null, false)]
    [InlineData("scrypt", 0, 8, 1, null, false)]
    [InlineData("scrypt", int.MinValue, 8, 1, null, false)]
    [InlineData("scrypt", 65536, 0, 1, null, false)]
    [InlineData("scrypt", 65536, 8, 0, null, false)]
    [InlineData("scrypt", 65536, 8, null, null, false)]
    [InlineData("scrypt", 65536, 8, 1, 5000, false)]
    [InlineData("pbkdf2-sha512", null, null, null, 600_000, true)]
    [InlineData("pbkdf2-sha512", null, null, null, 999, false)]
    [InlineData("pbkdf2-sha512", null, null, null, int.MaxValue, false)]
    [InlineData("pbkdf2-sha512", 65536, 8, 1, 600_000, false)]
    [InlineData("argon2id", null, null, null, null, false)]
    public void WeirdParametersAreRefusedBeforeAnythingIsAllocated(string name, int? n, int? r, int? p, int? iterations, bool accepted)
    {
        KdfParameters parameters = new() { Name = name, Salt = FixedKdf.Salt, N = n, R = r, P = p, Iterations = iterations };
        (parameters.Problem() is null).ShouldBe(accepted);
        if (!accepted)
        {
            Should.Throw<CorruptDataException>(() => parameters.Derive("x"u8));
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("00")]
    [InlineData("000102030405060708090A0B0C0D0E0F")]
    [InlineData("000102030405060708090a0b0c0d0e0f0")]
    public void WeirdSaltsAreRefused(string salt) => (FixedKdf with { Salt = salt }).Problem().ShouldNotBeNull();

    [Fact]
    public void ASlotHasTheBytesOfTheFormat()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] slot = KeySlot.Seal(keys, FixedHead, FixedKdf.Derive("correct horse"u8));
        Encoding.ASCII.GetString(slot).ShouldBe(Encoding.ASCII.GetString(GoldenObjects.Slot));
    }

    [Fact]
    public void AGoldenSlotGivesBackTheWholeKeyring()
    {
        KeySlot slot = KeySlot.TryParse(GoldenObjects.SlotId, GoldenObjects.Slot, out _).ShouldNotBeNull();
        slot.TryOpen(FixedKdf.Derive("correct horse"u8), out RepositoryKeys? keys).ShouldBe(SlotTrial.Opened);
        using RepositoryKeys opened = keys.ShouldNotBeNull();
        using RepositoryKeys expected = FixedKeys.Open();
        opened.Repository.ShouldBe(FixedKeys.Id);
        opened.CurrentEpoch.ShouldBe((ushort)2);
        opened.Masters[1].ShouldBe(expected.Masters[1]);
        opened.Masters[2].ShouldBe(expected.Masters[2]);
        opened.DataIdKey.SequenceEqual(expected.DataIdKey).ShouldBeTrue();
        opened.GearKey.SequenceEqual(expected.GearKey).ShouldBeTrue();
        slot.TryOpen(FixedKdf.Derive("wrong horse"u8), out _).ShouldBe(SlotTrial.OtherSecret);
    }

    [Fact]
    public void EveryFlippedBitAndEveryCutOfASlotIsNoticed()
    {
        for (int bit = 0; bit < GoldenObjects.Slot.Length * 8; bit++)
        {
            byte[] damaged = [.. GoldenObjects.Slot];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            KeySlot.TryParse(GoldenObjects.SlotId, damaged, out string problem).ShouldBeNull();
            problem.ShouldNotBeEmpty();
        }

        for (int length = 0; length < GoldenObjects.Slot.Length; length++)
        {
            KeySlot.TryParse(GoldenObjects.SlotId, GoldenObjects.Slot.AsSpan(0, length), out _).ShouldBeNull();
        }

        KeySlot.TryParse(new string('a', 32), GoldenObjects.Slot, out _).ShouldBeNull();
    }

    [Fact]
    public void AHeadOrBodyChangedTogetherWithItsChecksumIsDamagedOrAnotherSecretsButNeverOpens()
    {
        byte[] secret = FixedKdf.Derive("correct horse"u8);
        HeadedObject.TryParse(GoldenObjects.Slot, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        byte[] relabelled = Encoding.ASCII.GetBytes(Encoding.ASCII.GetString(head).Replace("first", "other", StringComparison.Ordinal));
        KeySlot.TryParse(GoldenObjects.SlotId, HeadedObject.Compose(relabelled, body), out _)!
            .TryOpen(secret, out _).ShouldBe(SlotTrial.Damaged);
        for (int bit = 0; bit < body.Length * 8; bit++)
        {
            byte[] damaged = [.. body];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            KeySlot.TryParse(GoldenObjects.SlotId, HeadedObject.Compose(head, damaged), out _)!
                .TryOpen(secret, out _).ShouldBe(bit / 8 < 32 ? SlotTrial.OtherSecret : SlotTrial.Damaged);
        }
    }

    [Theory]
    [InlineData("\"label\":\"first password\"", "\"label\":null")]
    [InlineData("\"label\":\"first password\",", "")]
    [InlineData("\"type\":\"password\"", "\"type\":null")]
    [InlineData("\"format\":1", "\"format\":2")]
    [InlineData("\"format\":1", "\"format\":1,\"format\":1")]
    [InlineData("\"n\":1024", "\"n\":1073741824")]
    [InlineData("\"kdf\":{", "\"kdf\":null,\"x\":{")]
    [InlineData("\"name\":\"scrypt\"", "\"name\":null")]
    [InlineData("101112131415161718191a1b1c1d1e1f\",\"slot", "1011\",\"slot")]
    public void AHeadThatIsNotOneIsRefusedBeforeAnythingIsDerived(string part, string replacement)
    {
        HeadedObject.TryParse(GoldenObjects.Slot, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        string changed = Encoding.ASCII.GetString(head).Replace(part, replacement, StringComparison.Ordinal);
        changed.ShouldNotBe(Encoding.ASCII.GetString(head));
        KeySlot.TryParse(GoldenObjects.SlotId, HeadedObject.Compose(Encoding.ASCII.GetBytes(changed), body), out string problem).ShouldBeNull();
        problem.ShouldNotBeEmpty();
    }

    [Fact]
    public void AnythingInThePlaceOfASlotIsRefusedCleanly()
    {
        byte[] secret = FixedKdf.Derive("correct horse"u8);
        HeadedObject.TryParse(GoldenObjects.Slot, out byte[] head, out byte[] body, out _).ShouldBeTrue();
        Fuzz.Run([GoldenObjects.Slot, head, body], input =>
        {
            Try(input);
            if (input.Length < 40_000)
            {
                Try(HeadedObject.Compose(input, body));
                Try(HeadedObject.Compose(head, input));
            }
        });

        void Try(byte[] bytes)
        {
            if (KeySlot.TryParse(GoldenObjects.SlotId, bytes, out _) is { } slot && slot.TryOpen(secret, out RepositoryKeys? keys) == SlotTrial.Opened)
            {
                bytes.ShouldBe(GoldenObjects.Slot);
                keys!.Dispose();
            }
        }
    }

    [Fact]
    public void AnythingInThePlaceOfAKeyringIsRefusedCleanly()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        Fuzz.Run([Keyring.Write(keys)], input => Keyring.TryRead(FixedKeys.Id, input)?.Dispose());
    }

    [Fact]
    public void WhatANewerVersionKeepsInAKeyringIsWrappedAgain()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] longer = [.. Keyring.Write(keys), 1, 2, 3];
        using RepositoryKeys read = Keyring.TryRead(FixedKeys.Id, longer).ShouldNotBeNull();
        Keyring.Write(read).ShouldBe(longer);
    }

    [Fact]
    public void AKeyFileThatIsNotRandomIsRefused()
    {
        foreach (string text in (string[])["short", new string('a', 64), "abcabcabcabcabcabcabcabcabcabcabcabcabc"])
        {
            using Secret file = new(Encoding.ASCII.GetBytes(text));
            Should.Throw<BackupIQException>(() => Credentials.RequireKeyFile(file)).Code.ShouldBe(ErrorCodes.Validation);
        }

        using Secret good = Secret.Random(32);
        Credentials.RequireKeyFile(good);
    }
}
