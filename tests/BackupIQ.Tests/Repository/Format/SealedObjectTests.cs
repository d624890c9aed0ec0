using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Storage;
using BackupIQ.Tests.Fuzzing;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Format;

public sealed class SealedObjectTests
{
    private static readonly StorageKey Name = new("s/000102030405060708090a0b0c0d0e0f");

    [Fact]
    public void AnEnvelopeHasTheBytesOfTheFormat()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] bytes = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, "a small snapshot"u8, [], FixedKeys.Row());
        Convert.ToHexStringLower(bytes).ShouldBe(
            "4249514f0107020000000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
            + "da8001301f9fd829f90feb245d9dc98cfcefe5c93b52c38f44dc1a4d1aeaffbfb03fa14117");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(512)]
    [InlineData(100_000)]
    public void WhatIsSealedOpens(int length)
    {
        using RepositoryKeys keys = FixedKeys.Open();
        var plain = new byte[length];
        new Random(length).NextBytes(plain.AsSpan(0, length / 2));
        byte[] bytes = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, plain);
        SealedObject.Open(keys, ObjectKind.Snapshot, Name, bytes).ShouldBe(plain);
        SealedObject.TryPeekKind(bytes, out ObjectKind kind).ShouldBeTrue();
        kind.ShouldBe(ObjectKind.Snapshot);
    }

    [Fact]
    public void CompressibleContentIsCompressedAndOtherIsNot()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        var random = new byte[5000];
        new Random(1).NextBytes(random);
        SealedObject.Seal(keys, ObjectKind.Snapshot, Name, new byte[5000]).Length.ShouldBeLessThan(500);
        SealedObject.Seal(keys, ObjectKind.Snapshot, Name, random).Length.ShouldBe(5000 + SealedObject.Overhead);
        SealedObject.Seal(keys, ObjectKind.Snapshot, Name, new byte[511]).Length.ShouldBe(511 + SealedObject.Overhead);
    }

    [Theory]
    [InlineData("0001000000", "")]
    [InlineData("00ffffffff", "00")]
    [InlineData("0100004000", "28b52ffd")]
    [InlineData("01ffffffff", "28b52ffd")]
    [InlineData("0110000000", "28b52ffd0000000000")]
    [InlineData("0110000000", "")]
    [InlineData("0310000000", "00")]
    [InlineData("6310000000", "00")]
    public void ContentThatIsNotWhatItClaimsIsRefusedWithTheObjectsName(string innerHeader, string payload)
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] bytes = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, [], [], FixedKeys.Row());
        byte[] header = bytes[..SealedObject.HeaderSize];
        byte[] inner = Convert.FromHexString(innerHeader + payload);
        var forged = new byte[header.Length + inner.Length + FrameCipher.TagSize];
        header.CopyTo(forged, 0);
        byte[] associated = [.. header, .. Convert.FromHexString(FixedKeys.Id.ToString()), .. System.Text.Encoding.ASCII.GetBytes(Name.Value)];
        using (FrameCipher cipher = keys.CreateCipher(FixedKeys.Row(), SealPurpose.Snapshot))
        {
            cipher.Seal(0, inner, associated, forged.AsSpan(header.Length));
        }

        BackupIQException error = Should.Throw<BackupIQException>(() => SealedObject.Open(keys, ObjectKind.Snapshot, Name, forged));
        error.Code.ShouldBe(innerHeader.StartsWith("63", StringComparison.Ordinal) ? ErrorCodes.UnsupportedFormat : ErrorCodes.CorruptData);
        error.Message.ShouldContain(Name.Value);
    }

    [Fact]
    public void EveryKindOpensAsItselfOnly()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        foreach (ObjectKind kind in Enum.GetValues<ObjectKind>().Where(ObjectKinds.IsSealed))
        {
            byte[] bytes = SealedObject.Seal(keys, kind, Name, "x"u8);
            SealedObject.Open(keys, kind, Name, bytes).ShouldBe("x"u8.ToArray());
            foreach (ObjectKind other in Enum.GetValues<ObjectKind>().Where(ObjectKinds.IsSealed).Where(other => other != kind))
            {
                Should.Throw<CorruptDataException>(() => SealedObject.Open(keys, other, Name, bytes));
                byte[] relabelled = [.. bytes];
                relabelled[5] = (byte)other;
                Should.Throw<CorruptDataException>(() => SealedObject.Open(keys, other, Name, relabelled));
            }
        }
    }

    [Fact]
    public void AnObjectNeitherOpensUnderAnotherNameNorInAnotherRepositoryNorInAnotherContext()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using RepositoryKeys stranger = FixedKeys.Open(RepositoryId.New());
        byte[] bytes = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, "x"u8, "context"u8, SaltRow.New(keys));
        SealedObject.Open(keys, ObjectKind.Snapshot, Name, bytes, "context"u8).ShouldBe("x"u8.ToArray());
        CorruptDataException error = Should.Throw<CorruptDataException>(() => SealedObject.Open(keys, ObjectKind.Snapshot, Name, bytes));
        error.Details["object"].ShouldBe(Name.Value);
        error.Message.ShouldContain(Name.Value);
        Should.Throw<CorruptDataException>(() => SealedObject.Open(stranger, ObjectKind.Snapshot, Name, bytes, "context"u8));
        Should.Throw<CorruptDataException>(
            () => SealedObject.Open(keys, ObjectKind.Snapshot, new StorageKey("s/000102030405060708090a0b0c0d0e10"), bytes, "context"u8));
    }

    [Fact]
    public void EveryFlippedBitAndEveryCutIsRefused()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] bytes = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, "a small snapshot"u8);
        for (int bit = 0; bit < bytes.Length * 8; bit++)
        {
            byte[] damaged = [.. bytes];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Should.Throw<CorruptDataException>(() => SealedObject.Open(keys, ObjectKind.Snapshot, Name, damaged));
        }

        for (int length = 0; length < bytes.Length; length++)
        {
            Should.Throw<CorruptDataException>(() => SealedObject.Open(keys, ObjectKind.Snapshot, Name, bytes.AsSpan(0, length)));
        }

        Should.Throw<CorruptDataException>(() => SealedObject.Open(keys, ObjectKind.Snapshot, Name, [.. bytes, 0]));
    }

    [Theory]
    [InlineData(4, 2)]
    [InlineData(8, 1)]
    public void AnObjectOfANewerFormatIsToldFromADamagedOne(int at, byte newer)
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] bytes = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, "x"u8, [], FixedKeys.Row());
        bytes[at] = newer;

        // The seal of a newer version covers the header that it writes.
        using (FrameCipher cipher = keys.CreateCipher(FixedKeys.Row(), SealPurpose.Snapshot))
        {
            byte[] associated = [.. bytes[..44], .. Convert.FromHexString(FixedKeys.Id.ToString()), .. Encoding.UTF8.GetBytes(Name.Value)];
            cipher.Seal(0, new byte[bytes.Length - 44 - FrameCipher.TagSize], associated, bytes.AsSpan(44));
        }

        BackupIQException error = Should.Throw<BackupIQException>(() => SealedObject.Open(keys, ObjectKind.Snapshot, Name, bytes));
        error.Code.ShouldBe(ErrorCodes.UnsupportedFormat);
        DamageReading.IsDamage(error).ShouldBeTrue();
    }

    [Fact]
    public void AnyBytesAreRefusedCleanly()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        byte[] seed = SealedObject.Seal(keys, ObjectKind.Snapshot, Name, new byte[700]);
        Fuzz.Run([seed], bytes =>
        {
            try
            {
                SealedObject.TryPeekKind(bytes, out _);
                SealedObject.Open(keys, ObjectKind.Snapshot, Name, bytes).ShouldBe(new byte[700]);
            }
            catch (BackupIQException)
            {
                bytes.SequenceEqual(seed).ShouldBeFalse();
            }
        });
    }

    [Fact]
    public void NamesOfConfigurationCopiesAreReadBack()
    {
        RepositoryLayout.Configuration('b', 12).Value.ShouldBe("config/b.00000012");
        RepositoryLayout.TryParseConfiguration(new StorageKey("config/b.00000012"), out char copy, out int generation).ShouldBeTrue();
        (copy, generation).ShouldBe(('b', 12));
        foreach (string other in (string[])["config/c.00000012", "config/a.0000001", "config/a.00000000", "config/a.000000012", "keys/a.00000012", "config/a-00000012", "config/a.0000000x"])
        {
            RepositoryLayout.TryParseConfiguration(new StorageKey(other), out _, out _).ShouldBeFalse();
        }
    }
}
