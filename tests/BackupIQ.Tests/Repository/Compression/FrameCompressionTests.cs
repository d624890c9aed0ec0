using System.Diagnostics;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Compression;

public sealed class FrameCompressionTests
{
    private static readonly string[] Settings =
        ["auto", "off", "fast", "default", "max", "zstd:7", "zstd:22", "lz4", "gzip", "bzip2", "lzma"];

    public static TheoryData<Codec> RealCodecs => [Codec.Zstd, Codec.Lz4, Codec.Gzip, Codec.Bzip2, Codec.Lzma];

    public static TheoryData<string> AllSettings => [.. Settings];

    [Theory]
    [MemberData(nameof(AllSettings))]
    public void EveryFrameComesBackAsItWas(string setting)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
        using FrameDecompressor decompressor = new();
        Gen<byte[]> runs =
            from parts in Gen.ListOf(Gen.Zip(Gen.Choose(0, 255), Gen.Choose(0, 3000)))
            from noise in Gen.ArrayOf(Gen.Choose(0, 255))
            select parts.SelectMany(p => Enumerable.Repeat((byte)p.Item1, p.Item2)).Concat(noise.Select(n => (byte)n)).ToArray();
        Prop.ForAll(runs.ToArbitrary(), plain => RoundTrip(compressor, decompressor, plain, ContentHint.Unknown))
            .QuickCheckThrowOnFailure();
    }

    [Theory]
    [MemberData(nameof(AllSettings))]
    public void FramesOfEveryLengthComeBack(string setting)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
        using FrameDecompressor decompressor = new();
        byte[] text = Samples.Text(FrameCompressor.MaxPlainLength);
        byte[] noise = Samples.RandomBytes(FrameCompressor.MaxPlainLength);
        int[] lengths = [0, 1, 2, 3, 15, 16, 17, 255, 4096, 16383, 16384, 65535, 65536, 1_000_000, 1 << 20, (1 << 20) + 1, 4 << 20];
        bool isSlow = setting is "max" or "zstd:22" or "lzma";
        RoundTrip(compressor, decompressor, new byte[FrameCompressor.MaxPlainLength], ContentHint.Unknown);
        foreach (int length in lengths.Where(l => !isSlow || l <= 65536))
        {
            RoundTrip(compressor, decompressor, text.AsSpan(0, length).ToArray(), ContentHint.Compressible);
            RoundTrip(compressor, decompressor, noise.AsSpan(0, length).ToArray(), ContentHint.Unknown);
        }
    }

    [Theory]
    [MemberData(nameof(RealCodecs))]
    public void TextIsStoredSmallerAndSaysItsCodec(Codec codec)
    {
        byte[] plain = Samples.Text(1 << 20);
        (FrameCompression result, _) = Compress(codec, plain);
        result.Codec.ShouldBe(codec);
        result.StoredLength.ShouldBeLessThan(plain.Length * 3 / 4);
    }

    [Theory]
    [MemberData(nameof(AllSettings))]
    public void RandomBytesAreLeftAlone(string setting)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
        byte[] plain = Samples.RandomBytes(1 << 20);
        byte[] destination = new byte[FrameCompressor.MaxCompressedSize(plain.Length)];
        compressor.Compress(plain, destination, ContentHint.Unknown).ShouldBe(new FrameCompression(Codec.None, plain.Length));
    }

    [Fact]
    public void ASavingBelowTheMarginIsNotWorthIt()
    {
        // 4 KiB of zeros in 1 MiB of noise save 0.4 %; 64 KiB save 6 %.
        byte[] plain = Samples.RandomBytes(1 << 20);
        plain.AsSpan(1000, 4096).Clear();
        Compress(Codec.Zstd, plain).Result.Codec.ShouldBe(Codec.None);
        plain.AsSpan(1000, 65536).Clear();
        Compress(Codec.Zstd, plain).Result.Codec.ShouldBe(Codec.Zstd);
    }

    [Fact]
    public void ACompressorIsUsableAfterAFrameThatDidNotFit()
    {
        foreach (string setting in Settings)
        {
            using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
            using FrameDecompressor decompressor = new();
            for (int i = 0; i < 3; i++)
            {
                RoundTrip(compressor, decompressor, Samples.RandomBytes(100_000, i), ContentHint.Compressible);
                RoundTrip(compressor, decompressor, Samples.Text(100_000, i), ContentHint.Compressible);
            }
        }
    }

    [Fact]
    public void TheDestinationBehindTheFrameStaysUntouched()
    {
        byte[] plain = Samples.Text(50_000);
        foreach (string setting in Settings)
        {
            using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
            byte[] room = new byte[FrameCompressor.MaxCompressedSize(plain.Length) + 1000];
            room.AsSpan().Fill(0xcd);
            compressor.Compress(plain, room.AsSpan(500, room.Length - 1000), ContentHint.Unknown);
            room.AsSpan(0, 500).ContainsAnyExcept((byte)0xcd).ShouldBeFalse(setting);
            room.AsSpan(room.Length - 500).ContainsAnyExcept((byte)0xcd).ShouldBeFalse(setting);
        }
    }

    [Theory]
    [InlineData("auto")]
    [InlineData("lz4")]
    [InlineData("lzma")]
    public void FramesCostNoManagedAllocation(string setting)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(setting));
        using FrameDecompressor decompressor = new();
        byte[] plain = Samples.Text(100_000);
        byte[] stored = new byte[FrameCompressor.MaxCompressedSize(plain.Length)];
        byte[] back = new byte[plain.Length];
        FrameCompression result = default;
        Once();

        // A collection that another thread brings about may charge this one with the rest of its allocation block, once; what a frame
        // allocated itself would show in every round.
        long least = long.MaxValue;
        for (int round = 0; round < 5; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 20; i++)
            {
                Once();
            }

            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        least.ShouldBe(0);

        void Once()
        {
            result = compressor.Compress(plain, stored, ContentHint.Unknown);
            decompressor.Decompress(result.Codec, stored.AsSpan(0, result.StoredLength), back);
        }
    }

    [Theory]
    [MemberData(nameof(RealCodecs))]
    public void DamagedFramesAreRefusedOrFillThePlainExactlyAndNothingElse(Codec codec)
    {
        byte[] plain = [.. Samples.Text(3000), .. Samples.RandomBytes(500), .. new byte[500]];
        (_, byte[] stored) = Compress(codec, plain);
        using FrameDecompressor decompressor = new();
        byte[] room = new byte[plain.Length + 2000];
        Random random = new(7);
        int refused = 0;
        for (int i = 0; i < 4000; i++)
        {
            byte[] mutant = Mutate(stored, random);
            room.AsSpan().Fill(0xcd);
            try
            {
                decompressor.Decompress(codec, mutant, room.AsSpan(1000, plain.Length));
            }
            catch (CorruptDataException e)
            {
                e.Code.ShouldBe(ErrorCodes.CorruptData);
                e.Message.ShouldContain(codec.ToString(), Case.Insensitive);
                refused++;
            }

            room.AsSpan(0, 1000).ContainsAnyExcept((byte)0xcd).ShouldBeFalse();
            room.AsSpan(room.Length - 1000).ContainsAnyExcept((byte)0xcd).ShouldBeFalse();
        }

        // Without a checksum a changed literal decodes to another text: sealing is what tells. Lengths and structure must hold.
        refused.ShouldBeGreaterThan(500);
        decompressor.Decompress(codec, stored, room.AsSpan(0, plain.Length));
        room.AsSpan(0, plain.Length).SequenceEqual(plain).ShouldBeTrue("a decompressor must work after damaged frames");
    }

    [Theory]
    [MemberData(nameof(RealCodecs))]
    public void EveryTruncationIsRefused(Codec codec)
    {
        byte[] plain = Samples.Text(2000);
        (_, byte[] stored) = Compress(codec, plain);
        using FrameDecompressor decompressor = new();
        byte[] back = new byte[plain.Length];
        for (int length = 0; length < stored.Length; length++)
        {
            Should.Throw<CorruptDataException>(() => decompressor.Decompress(codec, stored.AsSpan(0, length), back), $"{length} of {stored.Length}");
        }
    }

    [Theory]
    [MemberData(nameof(RealCodecs))]
    public void AnotherPlainLengthIsRefused(Codec codec)
    {
        byte[] plain = Samples.Text(10_000);
        (_, byte[] stored) = Compress(codec, plain);
        using FrameDecompressor decompressor = new();
        foreach (int length in new[] { 0, 1, plain.Length - 1, plain.Length + 1, plain.Length * 2 })
        {
            Should.Throw<CorruptDataException>(() => decompressor.Decompress(codec, stored, new byte[length]), $"{length}");
        }
    }

    [Theory]
    [InlineData(Codec.Zstd)]
    [InlineData(Codec.Lz4)]
    [InlineData(Codec.Gzip)]
    [InlineData(Codec.Lzma)]
    public void BytesBehindTheFrameAreRefused(Codec codec)
    {
        byte[] plain = Samples.Text(10_000);
        (_, byte[] stored) = Compress(codec, plain);
        using FrameDecompressor decompressor = new();
        byte[] back = new byte[plain.Length];
        Should.Throw<CorruptDataException>(() => decompressor.Decompress(codec, [.. stored, 0], back));
        Should.Throw<CorruptDataException>(() => decompressor.Decompress(codec, [.. stored, .. stored], back));
    }

    [Theory]
    [MemberData(nameof(RealCodecs))]
    public void BombsStopAtThePlainLength(Codec codec)
    {
        (_, byte[] stored) = Compress(codec, new byte[FrameCompressor.MaxPlainLength]);
        using FrameDecompressor decompressor = new();
        byte[] room = new byte[2000];
        room.AsSpan().Fill(0xcd);
        Should.Throw<CorruptDataException>(() => decompressor.Decompress(codec, stored, room.AsSpan(0, 1000)));
        room.AsSpan(1000).ContainsAnyExcept((byte)0xcd).ShouldBeFalse();
    }

    [Fact]
    public void AZstdFrameThatAsksForAHugeWindowIsRefused()
    {
        byte[] plain = Samples.Text(10_000);
        (_, byte[] stored) = Compress(Codec.Zstd, plain);
        (stored[4] & 0x20).ShouldBe(0, "the frames written here have a window descriptor");
        using FrameDecompressor decompressor = new();
        stored[5] = (31 - 10) << 3;
        Should.Throw<CorruptDataException>(() => decompressor.Decompress(Codec.Zstd, stored, new byte[plain.Length]));
    }

    [Fact]
    public void AnLzmaFrameThatAsksForAHugeDictionaryIsRefused()
    {
        // What `xz -9 --check=none` makes of an empty line: a dictionary of 64 MiB, above the limit.
        byte[] stored = Convert.FromHexString(
            "fd377a585a000000ff12d941020021011c00000010cf58cc0100"
            + "000a0000000000011101ada6580406729e7a010000000000595a");
        using FrameDecompressor decompressor = new();
        CorruptDataException e = Should.Throw<CorruptDataException>(() => decompressor.Decompress(Codec.Lzma, stored, new byte[1]));
        e.Message.ShouldContain("memory");
    }

    [Fact]
    public void StoredPlainMustHaveItsLength()
    {
        using FrameDecompressor decompressor = new();
        byte[] back = new byte[3];
        decompressor.Decompress(Codec.None, [1, 2, 3], back);
        back.ShouldBe([1, 2, 3]);
        Should.Throw<CorruptDataException>(() => decompressor.Decompress(Codec.None, [1, 2], back));
        Should.Throw<CorruptDataException>(() => decompressor.Decompress(Codec.None, [1, 2, 3, 4], back));
    }

    [Fact]
    public void AnUnknownCodecIsANewerFormat()
    {
        using FrameDecompressor decompressor = new();
        Should.Throw<BackupIQException>(() => decompressor.Decompress((Codec)6, [1], new byte[1])).Code.ShouldBe(ErrorCodes.UnsupportedFormat);
    }

    [Fact]
    public void TheNumbersOfTheFormatNeverChange() =>
        Enum.GetValues<Codec>().Select(c => $"{(byte)c} {c}").ShouldBe(["0 None", "1 Zstd", "2 Lz4", "3 Gzip", "4 Bzip2", "5 Lzma"]);

    [Theory]
    [InlineData(Codec.Zstd, "zstd", "-dc")]
    [InlineData(Codec.Gzip, "gzip", "-dc")]
    [InlineData(Codec.Bzip2, "bzip2", "-dc")]
    [InlineData(Codec.Lzma, "xz", "-dc")]
    public async Task StockToolsDecodeWhatIsStored(Codec codec, string tool, string arguments)
    {
        Assert.SkipUnless(
            Environment.GetEnvironmentVariable("PATH")!.Split(':').Any(p => File.Exists(Path.Combine(p, tool))), $"{tool} is not installed");
        byte[] plain = Samples.Text(100_000);
        (_, byte[] stored) = Compress(codec, plain);
        using Process process = Process.Start(new ProcessStartInfo(tool, arguments)
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        })!;
        await process.StandardInput.BaseStream.WriteAsync(stored, TestContext.Current.CancellationToken);
        process.StandardInput.Close();
        using MemoryStream output = new();
        await process.StandardOutput.BaseStream.CopyToAsync(output, TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        process.ExitCode.ShouldBe(0);
        output.ToArray().SequenceEqual(plain).ShouldBeTrue();
    }

    private static bool RoundTrip(FrameCompressor compressor, FrameDecompressor decompressor, byte[] plain, ContentHint hint)
    {
        byte[] destination = new byte[FrameCompressor.MaxCompressedSize(plain.Length)];
        FrameCompression result = compressor.Compress(plain, destination, hint);
        ReadOnlySpan<byte> stored = result.Codec == Codec.None ? plain : destination.AsSpan(0, result.StoredLength);
        result.StoredLength.ShouldBe(stored.Length);
        if (result.Codec != Codec.None)
        {
            result.StoredLength.ShouldBeLessThan(plain.Length);
        }

        byte[] back = new byte[plain.Length];
        decompressor.Decompress(result.Codec, stored, back);
        back.AsSpan().SequenceEqual(plain).ShouldBeTrue();
        return true;
    }

    private static (FrameCompression Result, byte[] Stored) Compress(Codec codec, byte[] plain)
    {
        using FrameCompressor compressor = new(CompressionSetting.Parse(codec == Codec.Zstd ? "default" : codec.ToString().ToLowerInvariant()));
        byte[] destination = new byte[FrameCompressor.MaxCompressedSize(plain.Length)];
        FrameCompression result = compressor.Compress(plain, destination, ContentHint.Unknown);
        return (result, destination[..Math.Min(result.StoredLength, destination.Length)]);
    }

    private static byte[] Mutate(byte[] stored, Random random)
    {
        byte[] mutant = (byte[])stored.Clone();
        switch (random.Next(5))
        {
            case 0:
                return mutant[..random.Next(mutant.Length)];
            case 1:
                mutant[random.Next(Math.Min(32, mutant.Length))] = (byte)random.Next(256);
                return mutant;
            case 2:
                random.NextBytes(mutant.AsSpan(random.Next(mutant.Length)));
                return mutant;
            case 3:
                int from = random.Next(mutant.Length);
                return [.. mutant[..from], .. mutant[random.Next(mutant.Length)..]];
            default:
                for (int i = random.Next(1, 6); i > 0; i--)
                {
                    mutant[random.Next(mutant.Length)] ^= (byte)(1 << random.Next(8));
                }

                return mutant;
        }
    }
}
