using BackupIQ.Repository.Crypto;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Crypto;

/// <summary>Sealed bytes with small damage are mended by their own tag, and nothing else is touched.</summary>
public sealed class SealWoundTests
{
    private static readonly byte[] Associated = [.. Enumerable.Range(0, 22).Select(static i => (byte)i)];

    private static readonly SaltRow Row = FixedKeys.Row();

    [Fact]
    public void UpToEightBytesOfOneBlockComeBackWhereverTheyAre()
    {
        Random random = new(1);
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(Row, SealPurpose.Data);
        UInt128 hashKey = keys.HashKeyOf(Row, SealPurpose.Data);
        for (int round = 0; round < 400; round++)
        {
            byte[] whole = Seal(cipher, random, random.Next(0, round % 20 == 0 ? 200_000 : 400));
            int blocks = ((whole.Length - 16 + 15) / 16) + 1;
            int block = random.Next(blocks);
            (int start, int end) = block == blocks - 1 ? (whole.Length - 16, whole.Length) : (16 * block, Math.Min(16 * (block + 1), whole.Length - 16));
            byte[] damaged = [.. whole];
            for (int i = random.Next(1, 9); i > 0; i--)
            {
                damaged[random.Next(start, end)] ^= (byte)random.Next(1, 256);
            }

            if (damaged.AsSpan().SequenceEqual(whole))
            {
                continue;
            }

            SealWound.TryMend(cipher, hashKey, 7, damaged, Associated).ShouldBeTrue($"{whole.Length} bytes, block {block}");
            damaged.ShouldBe(whole);
        }
    }

    [Fact]
    public void AFrameOfFullSizeIsMendedAtItsVeryStart()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(Row, SealPurpose.Data);
        byte[] whole = Seal(cipher, new Random(2), 4 << 20);
        byte[] damaged = [.. whole];
        damaged[0] ^= 0x80;

        SealWound.TryMend(cipher, keys.HashKeyOf(Row, SealPurpose.Data), 7, damaged, Associated).ShouldBeTrue();

        damaged.AsSpan().SequenceEqual(whole).ShouldBeTrue();
    }

    [Fact]
    public void MoreDamageIsLeftAsItIs()
    {
        Random random = new(3);
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(Row, SealPurpose.Data);
        UInt128 hashKey = keys.HashKeyOf(Row, SealPurpose.Data);
        for (int round = 0; round < 200; round++)
        {
            byte[] damaged = Seal(cipher, random, random.Next(64, 5000));
            int first = random.Next(damaged.Length);
            int second = (first + random.Next(16, damaged.Length - 16)) % damaged.Length;
            damaged[first] ^= 1;
            damaged[second] ^= 1;
            byte[] before = [.. damaged];

            SealWound.TryMend(cipher, hashKey, 7, damaged, Associated).ShouldBeFalse();

            damaged.ShouldBe(before);
        }
    }

    [Fact]
    public void WhatIsWholeIsLeftAsItIs()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameCipher cipher = keys.CreateCipher(Row, SealPurpose.Data);
        byte[] whole = Seal(cipher, new Random(4), 1000);

        SealWound.TryMend(cipher, keys.HashKeyOf(Row, SealPurpose.Data), 7, whole, Associated).ShouldBeFalse();
    }

    private static byte[] Seal(FrameCipher cipher, Random random, int length)
    {
        byte[] plain = new byte[length];
        random.NextBytes(plain);
        byte[] sealedBytes = new byte[length + FrameCipher.TagSize];
        cipher.Seal(7, plain, Associated, sealedBytes);
        return sealedBytes;
    }
}
