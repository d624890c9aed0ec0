using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Tests.Repository;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Whatever stands in a frame, the codecs write inside the buffer given and take bounded memory.</summary>
[Trait("kind", "fuzz")]
public sealed class CodecFuzzTests
{
    private const byte Untouched = 0xa5;
    private const int Guard = 4096;

    [Fact]
    public void Zstd() => Decompress(Codec.Zstd, "zstd:3", "zstd:19");

    [Fact]
    public void Lz4() => Decompress(Codec.Lz4, "lz4");

    [Fact]
    public void Gzip() => Decompress(Codec.Gzip, "gzip");

    [Fact]
    public void Bzip2() => Decompress(Codec.Bzip2, "bzip2");

    [Fact]
    public void Lzma() => Decompress(Codec.Lzma, "lzma");

    [Fact]
    public void Frames()
    {
        // Sealed as somebody who has the key would: the seal holds, what is in it need not be a frame.
        using RepositoryKeys keys = FixedKeys.Open();
        using FrameOpener opener = new(keys);
        using FrameCipher cipher = keys.CreateCipher(FixedKeys.Row(), SealPurpose.Data);
        byte[] plain = new byte[1 << 20];
        Fuzz.Run([.. Compressed("zstd:3"), .. Compressed("lz4")], bytes =>
        {
            byte codec = bytes.Length > 0 ? (byte)(bytes[^1] % 8) : (byte)0;
            uint length = (uint)Math.Clamp(bytes.Length * 3, 1, plain.Length);
            FrameReference frame = new()
            {
                Pack = default,
                Kind = PackKind.Data,
                Offset = 28,
                StoredLength = (uint)(bytes.Length + FrameCipher.TagSize),
                PlainLength = length,
                Counter = 1,
                Codec = (Codec)codec,
                Salt = FixedKeys.Row(),
            };
            byte[] associated = new byte[FrameSeal.AssociatedDataSize];
            FrameSeal.WriteAssociatedData(associated, keys.Repository, frame.Kind, frame.PlainLength, frame.Codec);
            byte[] stored = new byte[frame.StoredLength];
            cipher.Seal(frame.Counter, bytes, associated, stored);
            try
            {
                opener.Open(frame, stored, plain.AsSpan(0, (int)length));
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                // The usual end: the seeds have other lengths than they are said to have.
            }
        });
    }

    private static void Decompress(Codec codec, params string[] settings)
    {
        byte[] buffer = new byte[(1 << 20) + Guard];
        using FrameDecompressor decompressor = new();
        (byte[] Stored, int Length)[] samples = [.. settings.SelectMany(static setting => Samples().Select(sample => (Compress(setting, sample), sample.Length)))];
        int[] lengths = [.. samples.Select(static s => s.Length).Distinct()];
        int turn = 0;
        Fuzz.Run(
            [.. samples.Select(static s => s.Stored)],
            stored =>
            {
                int length = samples.FirstOrDefault(s => ReferenceEquals(s.Stored, stored)).Length;
                length = length > 0 ? length : lengths[turn++ % lengths.Length];
                buffer.AsSpan(length, Guard).Fill(Untouched);
                try
                {
                    decompressor.Decompress(codec, stored, buffer.AsSpan(0, length));
                }
                finally
                {
                    buffer.AsSpan(length, Guard).ContainsAnyExcept(Untouched).ShouldBeFalse("bytes were written behind the buffer");
                }
            },
            name: codec.ToString());
    }

    private static IEnumerable<byte[]> Compressed(string setting) => Samples().Select(sample => Compress(setting, sample));

    private static byte[] Compress(string setting, byte[] plain)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
        byte[] stored = new byte[FrameCompressor.MaxCompressedSize(plain.Length)];
        FrameCompression result = compressor.Compress(plain, stored, default);
        result.Codec.ShouldNotBe(Codec.None);
        return stored[..result.StoredLength];
    }

    private static IEnumerable<byte[]> Samples()
    {
        yield return Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 300).Select(static i => $"line {i * i}\n")));
        yield return new byte[20_000];
        byte[] mixed = new byte[30_000];
        new Random(1).NextBytes(mixed.AsSpan(0, 10_000));
        yield return mixed;
    }
}
