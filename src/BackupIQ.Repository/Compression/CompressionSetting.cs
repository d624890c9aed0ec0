using System.Globalization;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Compression;

/// <summary>
/// How frames are compressed when they are written. Reading does not depend on it: every frame says how it is coded.
/// </summary>
public sealed record CompressionSetting
{
    /// <summary>Level of <c>default</c> and of <c>auto</c>: where zstd's gain per second of CPU still pays on source trees and programs.</summary>
    private const int DefaultLevel = 3;

    /// <summary>Where <c>auto</c> ends when the storage is slow: beyond it each percent costs several times the memory and time.</summary>
    internal const int HighestAutoLevel = 9;

    private CompressionSetting(string text, Codec codec, int level, bool probes)
    {
        Text = text;
        Codec = codec;
        Level = level;
        Probes = probes;
    }

    /// <summary>Zstandard for what gains from it; what does not is recognised by a short look and left alone.</summary>
    public static CompressionSetting Auto { get; } = new("auto", Codec.Zstd, DefaultLevel, probes: true);

    /// <summary>Nothing is compressed, metadata included.</summary>
    public static CompressionSetting Off { get; } = new("off", Codec.None, 0, probes: false);

    /// <summary>The setting as <see cref="Parse"/> takes it.</summary>
    public string Text { get; }

    /// <summary>The codec that frames are tried with.</summary>
    public Codec Codec { get; }

    /// <summary>The codec's level; 0 where it has none.</summary>
    public int Level { get; }

    /// <summary>Whether frames are looked at first, and without libzstd gzip serves: <c>auto</c> alone.</summary>
    public bool Probes { get; }

    /// <summary>Reads <c>auto</c>, <c>off</c>, <c>fast</c>, <c>default</c>, <c>max</c>, <c>zstd:1</c> to <c>zstd:22</c>, <c>lz4</c>, <c>gzip</c>, <c>bzip2</c> or <c>lzma</c>.</summary>
    /// <exception cref="BackupIQException">With <c>Usage</c>, naming the choices, when it is none of these.</exception>
    public static CompressionSetting Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return text switch
        {
            "auto" => Auto,
            "off" => Off,
            "fast" => new CompressionSetting(text, Codec.Zstd, 1, probes: false),
            "default" => new CompressionSetting(text, Codec.Zstd, DefaultLevel, probes: false),
            "max" => new CompressionSetting(text, Codec.Zstd, 19, probes: false),
            "lz4" => new CompressionSetting(text, Codec.Lz4, 0, probes: false),
            "gzip" => new CompressionSetting(text, Codec.Gzip, 6, probes: false),
            "bzip2" => new CompressionSetting(text, Codec.Bzip2, 9, probes: false),
            "lzma" => new CompressionSetting(text, Codec.Lzma, 6, probes: false),
            _ when TryParseZstdLevel(text, out int level) => new CompressionSetting(text, Codec.Zstd, level, probes: false),
            _ => throw new BackupIQException(
                ErrorCodes.Usage,
                $"'{text}' is not a compression.",
                "Use auto, off, fast, default, max, zstd:1 to zstd:22, lz4, gzip, bzip2 or lzma."),
        };
    }

    /// <inheritdoc/>
    public override string ToString() => Text;

    private static bool TryParseZstdLevel(string text, out int level)
    {
        level = 0;
        return text.StartsWith("zstd:", StringComparison.Ordinal)
            && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out level)
            && level is >= 1 and <= 22
            && text[5] != '0';
    }
}
