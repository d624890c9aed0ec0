using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Crypto;

public sealed class RepositoryKeysTests
{
    [Theory]
    [InlineData("Data", "44250f1abc0908f6e4dd9a29b25d3cd87e00f3e4d3")]
    [InlineData("Metadata", "60609ed32d6a965c66d13efce85f0065bf6db645c9")]
    [InlineData("Index", "1812c8382461ed487ee38df6226d5afb79489b6e85")]
    [InlineData("Snapshot", "ac101d0d216ee61128ab4b7c43217c0a2bed81e2de")]
    [InlineData("Maintenance", "947a835dee511f4cc05025267ace5e9b1adef95c6d")]
    [InlineData("Audit", "57254f985597e6a8a5bea3782bb00487e4278b837e")]
    [InlineData("Configuration", "8d8a32826e469825247a5dbda5fb8185fa78ac9915")]
    public void EachPurposeSealsAsTheFormatSays(string purpose, string expected)
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(FixedKeys.Row(), Enum.Parse<SealPurpose>(purpose));
        var bytes = new byte[5 + FrameCipher.TagSize];
        cipher.Seal(7, "hello"u8, "aad"u8, bytes);
        Convert.ToHexStringLower(bytes).ShouldBe(expected);
    }

    [Fact]
    public void IdKeysAreDerivedAsTheFormatSays()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        Convert.ToHexStringLower(keys.DataIdKey).ShouldBe("493215b39dd540bfcd41b59edf13e5dd57b3f07c74d9dc73be0e15299095c973");
        Convert.ToHexStringLower(keys.MetadataIdKey).ShouldBe("f006b8639be85e8b35c6a382d6305efcbadabc4a7bd28f5f08011738df249edf");
        keys.GearKey.ToArray().ShouldBe(FixedKeys.Filled(0x44));
        keys.CurrentEpoch.ShouldBe((ushort)2);
    }

    [Fact]
    public void AFrameOpensOnlyWithItsOwnCounterAssociatedDataPurposeEpochSaltAndRepository()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using RepositoryKeys stranger = FixedKeys.Open(RepositoryId.New());
        SaltRow row = FixedKeys.Row();
        byte[] plain = [.. "some content"u8];
        var bytes = new byte[plain.Length + FrameCipher.TagSize];
        using (FrameCipher cipher = keys.CreateCipher(row, SealPurpose.Data))
        {
            cipher.Seal(3, plain, "aad"u8, bytes);
        }

        Opens(keys, row, SealPurpose.Data, 3, "aad").ShouldBeTrue();
        Opens(keys, row, SealPurpose.Data, 4, "aad").ShouldBeFalse();
        Opens(keys, row, SealPurpose.Data, 3, "aae").ShouldBeFalse();
        Opens(keys, row, SealPurpose.Metadata, 3, "aad").ShouldBeFalse();
        Opens(keys, FixedKeys.Row(epoch: 1), SealPurpose.Data, 3, "aad").ShouldBeFalse();
        Opens(keys, row with { Salt = Salt.New() }, SealPurpose.Data, 3, "aad").ShouldBeFalse();
        Opens(stranger, row, SealPurpose.Data, 3, "aad").ShouldBeFalse();

        bool Opens(RepositoryKeys with, SaltRow under, SealPurpose purpose, ulong counter, string associated)
        {
            using FrameCipher cipher = with.CreateCipher(under, purpose);
            var opened = new byte[plain.Length];
            bool success = cipher.TryOpen(counter, bytes, System.Text.Encoding.ASCII.GetBytes(associated), opened);
            opened.ShouldBe(success ? plain : new byte[plain.Length]);
            return success;
        }
    }

    [Fact]
    public void AFrameMayBeSealedAndOpenedInPlace()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(FixedKeys.Row(), SealPurpose.Data);
        var plain = new byte[100_000];
        new Random(1).NextBytes(plain);
        var apart = new byte[plain.Length + FrameCipher.TagSize];
        cipher.Seal(1, plain, [], apart);
        byte[] inPlace = [.. plain, .. new byte[FrameCipher.TagSize]];
        cipher.Seal(1, inPlace.AsSpan(0, plain.Length), [], inPlace);
        inPlace.ShouldBe(apart);
        cipher.TryOpen(1, inPlace, [], inPlace.AsSpan(0, plain.Length)).ShouldBeTrue();
        inPlace.AsSpan(0, plain.Length).SequenceEqual(plain).ShouldBeTrue();
    }

    [Fact]
    public void TooFewBytesForATagDoNotOpen()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(FixedKeys.Row(), SealPurpose.Data);
        cipher.TryOpen(0, new byte[15], [], []).ShouldBeFalse();
    }

    [Fact]
    public void ASaltRowIs36BytesInTheOrderOfTheFormat()
    {
        var bytes = new byte[SaltRow.Size];
        FixedKeys.Row(epoch: 0x0201).Write(bytes);
        Convert.ToHexStringLower(bytes).ShouldBe("01020000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        SaltRow.Read(bytes).ShouldBe(FixedKeys.Row(epoch: 0x0201));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void AReservedKeySourceIsRefusedByName(int position)
    {
        var bytes = new byte[SaltRow.Size];
        bytes[position] = 1;
        Should.Throw<BackupIQException>(() => SaltRow.Read(bytes)).Code.ShouldBe(ErrorCodes.UnsupportedFormat);
    }

    [Fact]
    public void ACipherOfAnUnknownSourceOrEpochIsRefused()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        Should.Throw<BackupIQException>(() => keys.CreateCipher(FixedKeys.Row() with { Source = 1 }, SealPurpose.Data))
            .Code.ShouldBe(ErrorCodes.UnsupportedFormat);
        Should.Throw<BackupIQException>(() => keys.CreateCipher(FixedKeys.Row(epoch: 9), SealPurpose.Data))
            .Code.ShouldBe(ErrorCodes.KeyDamaged);
    }

    [Fact]
    public void ANewKeyringHasItsOwnKeysButTakesOverAGivenGearKey()
    {
        using RepositoryKeys one = RepositoryKeys.Create(FixedKeys.Id);
        using RepositoryKeys two = RepositoryKeys.Create(FixedKeys.Id, one.GearKey);
        two.GearKey.SequenceEqual(one.GearKey).ShouldBeTrue();
        two.DataIdKey.SequenceEqual(one.DataIdKey).ShouldBeFalse();
        two.Masters[1].ShouldNotBe(one.Masters[1]);
        one.DataIdKey.SequenceEqual(one.MetadataIdKey).ShouldBeFalse();
    }

    [Fact]
    public void DisposedKeysAreGone()
    {
        RepositoryKeys keys = FixedKeys.Open();
        keys.Dispose();
        Should.Throw<ObjectDisposedException>(() => keys.DataIdKey.ToArray());
        Should.Throw<ObjectDisposedException>(() => keys.CreateCipher(FixedKeys.Row(), SealPurpose.Data));
    }

    [Fact]
    public void ARepositoryIdIsItsHexText()
    {
        FixedKeys.Id.ToString().ShouldBe("101112131415161718191a1b1c1d1e1f");
        RepositoryId.TryParse("101112131415161718191a1b1c1d1e1f", out RepositoryId id).ShouldBeTrue();
        id.ShouldBe(FixedKeys.Id);
        RepositoryId.TryParse("101112131415161718191A1B1C1D1E1F", out _).ShouldBeFalse();
        RepositoryId.TryParse("1011", out _).ShouldBeFalse();
    }
}
