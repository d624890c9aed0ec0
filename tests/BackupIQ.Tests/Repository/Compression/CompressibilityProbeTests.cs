using BackupIQ.Repository.Compression;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Compression;

/// <summary>What <c>auto</c> decides, seen through the compressor.</summary>
public sealed class CompressibilityProbeTests
{
    [Fact]
    public void NoiseOfEveryLengthIsLeftAloneAfterALook()
    {
        for (int seed = 0; seed < 50; seed++)
        {
            byte[] noise = Samples.RandomBytes((16 + (seed * 21)) * 1024, seed);
            CompressibilityProbe.LooksCompressible(noise, doubtful: false).ShouldBeFalse($"seed {seed}");
        }
    }

    [Fact]
    public void AFrameThatIsAnEighthTextIsCompressed()
    {
        byte[] mix = Samples.RandomBytes(1 << 20);
        Samples.Text(128 * 1024).CopyTo(mix, 500_000);
        Codec(mix).ShouldBe(BackupIQ.Repository.Compression.Codec.Zstd);
    }

    [Fact]
    public void NoiseThatRepeatsFarAwayIsCompressed()
    {
        byte[] block = Samples.RandomBytes(200_001);
        Codec([.. block, .. block, .. block, .. block]).ShouldBe(BackupIQ.Repository.Compression.Codec.Zstd);
    }

    [Fact]
    public void NoiseThatRepeatsNearbyIsCompressed()
    {
        byte[] plain = new byte[1 << 20];
        for (int i = 0; i < plain.Length; i += 64)
        {
            Samples.RandomBytes(32, i).CopyTo(plain, i);
            plain.AsSpan(i, 32).CopyTo(plain.AsSpan(i + 32));
        }

        Codec(plain).ShouldBe(BackupIQ.Repository.Compression.Codec.Zstd);
    }

    [Fact]
    public void ASlightSkewEverywhereIsSeen()
    {
        // One byte in eight is zero: about 4 % for an entropy coder.
        byte[] plain = Samples.RandomBytes(1 << 20);
        for (int i = 0; i < plain.Length; i += 8)
        {
            plain[i] = 0;
        }

        Codec(plain).ShouldBe(BackupIQ.Repository.Compression.Codec.Zstd);
    }

    [Fact]
    public void TheNameDoesNotHideThatTheContentIsText() =>
        Codec(Samples.Text(1 << 20), ContentHint.Incompressible).ShouldBe(BackupIQ.Repository.Compression.Codec.Zstd);

    [Fact]
    public void TheNameSettlesADoubt()
    {
        byte[] mix = Samples.RandomBytes(1 << 20);
        Samples.Text(70 * 1024).CopyTo(mix, 500_000);
        Codec(mix).ShouldBe(BackupIQ.Repository.Compression.Codec.Zstd);
        Codec(mix, ContentHint.Incompressible).ShouldBe(BackupIQ.Repository.Compression.Codec.None);
    }

    private static Codec Codec(byte[] plain, ContentHint hint = ContentHint.Unknown)
    {
        using FrameCompressor compressor = new(CompressionSetting.Auto);
        return compressor.Compress(plain, new byte[plain.Length], hint).Codec;
    }
}
