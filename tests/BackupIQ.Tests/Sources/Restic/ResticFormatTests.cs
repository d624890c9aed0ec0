using System.Security.Cryptography;
using System.Text;
using BackupIQ.Engine.Trees;
using BackupIQ.Sources.Restic;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Restic;

/// <summary>restic's cryptography, names, times and dev_t, held to what others published.</summary>
public sealed class ResticFormatTests
{
    // RFC 8439, 2.5.2 and A.3 (1 to 4 and 7 to 11): key, message, tag.
    [Theory]
    [InlineData("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b", "43727970746f6772617068696320466f72756d2052657365617263682047726f7570", "a8061dc1305136c6c22b8baf0c0127a9")]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000", "00000000000000000000000000000000", "00000000000000000000000000000000")]
    [InlineData("0200000000000000000000000000000000000000000000000000000000000000", "ffffffffffffffffffffffffffffffff", "03000000000000000000000000000000")]
    [InlineData("02000000000000000000000000000000ffffffffffffffffffffffffffffffff", "02000000000000000000000000000000", "03000000000000000000000000000000")]
    [InlineData("0100000000000000000000000000000000000000000000000000000000000000", "fffffffffffffffffffffffffffffffff0ffffffffffffffffffffffffffffff11000000000000000000000000000000", "05000000000000000000000000000000")]
    [InlineData("0100000000000000000000000000000000000000000000000000000000000000", "fffffffffffffffffffffffffffffffffbfefefefefefefefefefefefefefefe01010101010101010101010101010101", "00000000000000000000000000000000")]
    [InlineData("0200000000000000000000000000000000000000000000000000000000000000", "fdffffffffffffffffffffffffffffff", "faffffffffffffffffffffffffffffff")]
    [InlineData("0100000000000000040000000000000000000000000000000000000000000000", "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000000001000000000000000000000000000000", "14000000000000005500000000000000")]
    [InlineData("0100000000000000040000000000000000000000000000000000000000000000", "e33594d7505e43b900000000000000003394d7505e4379cd010000000000000000000000000000000000000000000000", "13000000000000000000000000000000")]
    public void Poly1305EqualsTheVectorsOfItsRfc(string key, string message, string tag)
    {
        using ResticLibraries.PolyHandle poly = new();
        byte[] found = new byte[16];
        ResticLibraries.Poly1305(poly, Bytes(key), Bytes(message), found);
        Convert.ToHexStringLower(found).ShouldBe(tag);
    }

    // D. J. Bernstein, The Poly1305-AES message-authentication code (2005), appendix B: message, r, k, nonce, tag.
    [Theory]
    [InlineData("f3f6", "851fc40c3467ac0be05cc20404f3f700", "ec074c835580741701425b623235add6", "fb447350c4e868c52ac3275cf9d4327e", "f4c633c3044fc145f84f335cb81953de")]
    [InlineData("", "a0f3080000f46400d0c7e9076c834403", "75deaa25c09f208e1dc4ce6b5cad3fbf", "61ee09218d29b0aaed7e154a2c5509cc", "dd3fab2251f11ac759f0887129cc2ee7")]
    [InlineData("663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136", "48443d0bb0d21109c89a100b5ce2c208", "6acb5f61a7176dd320c5c1eb2edcdc74", "ae212a55399729595dea458bc621ff0e", "0ee1c16bb73f0f4fd19881753c01cdbe")]
    [InlineData("ab0812724a7f1e342742cbed374d94d136c6b8795d45b3819830f2c04491faf0990c62e48b8018b2c3e4a0fa3134cb67fa83e158c994d961c4cb21095c1bf9", "12976a08c4426d0ce8a82407c4f48207", "e1a5668a4d5b66a5f68cc5424ed5982d", "9ae831e743978d3a23527c7128149e3a", "5154ad0d2cb26e01274fc51148491f1b")]
    public void ThePolyOfAesEqualsTheVectorsOfItsPaper(string message, string r, string k, string nonce, string tag)
    {
        // What is sealed so opens, and with one bit changed does not.
        byte[] cipher = Bytes(message);
        byte[] sealedBytes = [.. Bytes(nonce), .. cipher, .. Bytes(tag)];
        using ResticKey key = new([.. new byte[32], .. Bytes(k), .. Bytes(r)]);
        byte[] plain = new byte[cipher.Length];
        key.TryOpen(sealedBytes, plain).ShouldBeTrue();
        for (int i = 0; i < sealedBytes.Length; i++)
        {
            byte[] changed = [.. sealedBytes];
            changed[i] ^= 0x10;
            key.TryOpen(changed, plain).ShouldBeFalse($"byte {i}");
        }

        for (int length = 0; length < ResticKey.Overhead; length++)
        {
            key.TryOpen(sealedBytes.AsSpan(0, length), []).ShouldBeFalse();
        }
    }

    [Fact]
    public void CounterModeEqualsTheVectorsOfNist()
    {
        // SP 800-38A, F.5.5: CTR-AES256.Encrypt, two blocks.
        byte[] key = Bytes("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        byte[] plain = Bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        byte[] cipher = new byte[plain.Length];
        ResticLibraries.AesCounter(key, Bytes("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), plain, cipher);
        Convert.ToHexStringLower(cipher).ShouldBe("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5");
    }

    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("na\\xffme\\\\x", "6e61ff6d655c78")]
    [InlineData("\\a\\b\\f\\n\\r\\t\\v\\\"", "07080c0a0d090b22")]
    [InlineData("\\u00e4\\U0001f5c4\\ufeff", "c3a4f09f9784efbbbf")]
    [InlineData("\\ud800", null)]
    [InlineData("\\U00110000", null)]
    [InlineData("\\Uffffffff", null)]
    [InlineData("\\x4", null)]
    [InlineData("\\x+4", null)]
    [InlineData("\\", null)]
    [InlineData("\\q", null)]
    [InlineData("a\"b", null)]
    public void NamesAreUnquotedAsGoQuotesThem(string quoted, string? expected)
    {
        byte[]? name = ResticText.Unquote(Encoding.UTF8.GetBytes(quoted));
        (name is null ? null : Convert.ToHexStringLower(name)).ShouldBe(expected is null || !expected.Contains("lain", StringComparison.Ordinal) ? expected : Convert.ToHexStringLower(Encoding.UTF8.GetBytes(expected)));
    }

    [Theory]
    [InlineData("1970-01-01T00:00:00Z", 0, 0u)]
    [InlineData("2022-03-04T05:06:07.123456789+01:00", 1646366767, 123456789u)]
    [InlineData("2000-02-29T23:59:59.5-05:30", 951888599, 500000000u)]
    [InlineData("1969-12-31T23:59:59.999999999Z", -1, 999999999u)]
    [InlineData("0001-01-01T00:00:00Z", -62135596800, 0u)]
    [InlineData("0000-01-01T00:00:00Z", -62167219200, 0u)]
    [InlineData("9999-12-31T23:59:59Z", 253402300799, 0u)]
    public void TimesAreReadToTheNanosecond(string text, long seconds, uint nanoseconds)
    {
        ResticTime.TryParse(Encoding.UTF8.GetBytes(text), out FileTime time, out _).ShouldBeTrue();
        time.ShouldBe(new FileTime(seconds, nanoseconds));
    }

    [Theory]
    [InlineData("2023-02-29T00:00:00Z")]
    [InlineData("2022-13-01T00:00:00Z")]
    [InlineData("2022-01-01T24:00:00Z")]
    [InlineData("2022-01-01T00:00:00")]
    [InlineData("2022-01-01T00:00:00.Z")]
    [InlineData("2022-01-01T00:00:00.1234567890Z")]
    [InlineData("2022-01-01T00:00:00+1:00")]
    [InlineData("2022-01-01 00:00:00Z")]
    [InlineData("+022-01-01T00:00:00Z")]
    public void WhatIsNoTimeIsRefused(string text) => ResticTime.TryParse(Encoding.UTF8.GetBytes(text), out _, out _).ShouldBeFalse();

    [Fact]
    public void TheIndexFindsEveryBlobAndItsCopiesInLittleMemory()
    {
        const int count = 300_000;
        ResticIndex index = new();
        byte[] header = new byte[37 * 1000];
        for (int pack = 0; pack < count / 1000; pack++)
        {
            for (int i = 0; i < 1000; i++)
            {
                Span<byte> entry = header.AsSpan(37 * i, 37);
                entry[0] = (byte)(i % 2);
                BitConverter.TryWriteBytes(entry[1..], 100);
                IdOf((pack * 1000) + i).Write(entry[5..]);
            }

            index.AddHeader(IdOf(-1 - pack), header, 100_000);
        }

        index.Count.ShouldBe(count);
        index.TryFind(IdOf(123_457), isTree: true, 0, out ResticBlob blob).ShouldBeTrue();
        (blob.Offset, blob.Length, blob.PlainLength, blob.IsCompressed).ShouldBe((45_700u, 100u, 68u, false));
        index.Packs[blob.Pack].ShouldBe(IdOf(-124));
        index.TryFind(IdOf(123_457), isTree: false, 0, out _).ShouldBeFalse();
        index.TryFind(IdOf(123_457), isTree: true, 1, out _).ShouldBeFalse();
        index.TryFind(IdOf(count), isTree: false, 0, out _).ShouldBeFalse();

        index.MemorySize.ShouldBeLessThan(70L * count);

        static ResticId IdOf(int number) => ResticId.Read(SHA256.HashData(BitConverter.GetBytes(number)));
    }

    private static byte[] Bytes(string hex) => Convert.FromHexString(hex);
}
