using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Compression;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Compression;

public sealed class CompressionSettingTests
{
    [Theory]
    [InlineData("auto", Codec.Zstd, 3)]
    [InlineData("off", Codec.None, 0)]
    [InlineData("fast", Codec.Zstd, 1)]
    [InlineData("default", Codec.Zstd, 3)]
    [InlineData("max", Codec.Zstd, 19)]
    [InlineData("zstd:1", Codec.Zstd, 1)]
    [InlineData("zstd:22", Codec.Zstd, 22)]
    [InlineData("lz4", Codec.Lz4, 0)]
    [InlineData("gzip", Codec.Gzip, 6)]
    [InlineData("bzip2", Codec.Bzip2, 9)]
    [InlineData("lzma", Codec.Lzma, 6)]
    public void EveryChoiceIsUnderstoodAndPrintsItself(string text, Codec codec, int level)
    {
        CompressionSetting setting = CompressionSetting.Parse(text);
        setting.Codec.ShouldBe(codec);
        setting.Level.ShouldBe(level);
        setting.ToString().ShouldBe(text);
        CompressionSetting.Parse(text).ShouldBe(setting);
    }

    [Theory]
    [InlineData("")]
    [InlineData("AUTO")]
    [InlineData("zstd")]
    [InlineData("zstd:")]
    [InlineData("zstd:0")]
    [InlineData("zstd:03")]
    [InlineData("zstd:23")]
    [InlineData("zstd:-1")]
    [InlineData("zstd: 3")]
    [InlineData("zstd:99999999999")]
    [InlineData("lz4:1")]
    [InlineData("brotli")]
    public void AnythingElseIsRefusedWithTheChoices(string text)
    {
        BackupIQException e = Should.Throw<BackupIQException>(() => CompressionSetting.Parse(text));
        e.Code.ShouldBe(ErrorCodes.Usage);
        e.Guidance.ShouldContain("auto, off, fast, default, max, zstd:1 to zstd:22, lz4, gzip, bzip2 or lzma");
    }

    [Fact]
    public void AMissingLibraryNamesThePackage()
    {
        BackupIQException e = Should.Throw<BackupIQException>(() => new FrameCompressor(CompressionSetting.Parse("max"), _ => false));
        e.Code.ShouldBe(ErrorCodes.MissingLibrary);
        e.Guidance.ShouldContain("libzstd1");
        using FrameDecompressor decompressor = new(_ => false);
        Should.Throw<BackupIQException>(() => decompressor.Decompress(Codec.Lzma, [1], new byte[1])).Guidance.ShouldContain("liblzma5");
        Should.Throw<BackupIQException>(() => decompressor.Decompress(Codec.Lz4, [1], new byte[1])).Guidance.ShouldContain("liblz4-1");
        Should.Throw<BackupIQException>(() => decompressor.Decompress(Codec.Bzip2, [1], new byte[1])).Guidance.ShouldContain("libbz2-1.0");
    }

    [Fact]
    public void AutoWithoutLibzstdFallsToGzipAndSaysSo()
    {
        using FrameCompressor compressor = new(CompressionSetting.Auto, codec => codec != Codec.Zstd);
        compressor.Warning.ShouldNotBeNull().ShouldContain("libzstd1");
        byte[] plain = Samples.Text(100_000);
        compressor.Compress(plain, new byte[plain.Length], ContentHint.Unknown).Codec.ShouldBe(Codec.Gzip);
        using FrameCompressor whole = new(CompressionSetting.Auto);
        whole.Warning.ShouldBeNull();
    }

    [Fact]
    public void TheLibrariesOfThisSystemTellTheirVersions()
    {
        IReadOnlyList<CodecLibrary> libraries = CodecLibraries.Inspect();
        libraries.Select(l => l.Codec).ShouldBe([Codec.Zstd, Codec.Lz4, Codec.Gzip, Codec.Bzip2, Codec.Lzma]);
        foreach (CodecLibrary library in libraries)
        {
            library.IsAvailable.ShouldBe(CodecLibraries.IsAvailable(library.Codec));
            if (library.IsAvailable)
            {
                library.Version!.ShouldContain(".");
            }
        }
    }

    [Theory]
    [InlineData("photo.jpg", ContentHint.Incompressible)]
    [InlineData("PHOTO.JPG", ContentHint.Incompressible)]
    [InlineData("/home/a/film.mp4", ContentHint.Incompressible)]
    [InlineData("a.tar.gz", ContentHint.Incompressible)]
    [InlineData("a.zst", ContentHint.Incompressible)]
    [InlineData(".zip", ContentHint.Incompressible)]
    [InlineData("app.AppImage", ContentHint.Incompressible)]
    [InlineData("a.txt", ContentHint.Unknown)]
    [InlineData("zip", ContentHint.Unknown)]
    [InlineData("a.", ContentHint.Unknown)]
    [InlineData("", ContentHint.Unknown)]
    [InlineData("a.zip/b", ContentHint.Unknown)]
    [InlineData("a.averylongextension", ContentHint.Unknown)]
    public void TheNameHintsAtTheContent(string name, ContentHint hint) =>
        ContentTypes.HintFor(Encoding.UTF8.GetBytes(name)).ShouldBe(hint);

    [Fact]
    public void NamesThatAreNotTextHintAtNothing() => ContentTypes.HintFor([(byte)'a', (byte)'.', 0xff, 0xfe]).ShouldBe(ContentHint.Unknown);
}
