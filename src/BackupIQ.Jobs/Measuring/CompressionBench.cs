using System.Diagnostics;
using BackupIQ.Repository.Compression;

namespace BackupIQ.Jobs.Measuring;

/// <summary>What a compression did with the sample.</summary>
/// <param name="Setting">As <c>--compression</c> takes it.</param>
/// <param name="BestFor">When to choose it.</param>
/// <param name="CompressRate">Bytes of the sample per second, on one core.</param>
/// <param name="DecompressRate">Bytes of the sample per second, on one core.</param>
/// <param name="Ratio">Bytes before for each byte after.</param>
/// <param name="CpuPerGiB">Seconds of processor time to compress a GiB.</param>
/// <param name="Missing">Why it could not be measured, or null.</param>
public sealed record CompressionMeasure(
    string Setting, string BestFor, double CompressRate, double DecompressRate, double Ratio, double CpuPerGiB, string? Missing);

/// <summary>Measures every compression on a sample of a user's own data, in frames as a backup makes them.</summary>
public static class CompressionBench
{
    private const int FrameLength = 1 << 20;

    private static readonly (string Setting, string BestFor)[] Settings =
    [
        ("lz4", "the fastest disks, old processors"),
        ("fast", "little processor time to spare"),
        ("default", "most backups"),
        ("auto", "the default: as above, but leaves alone what is compressed already"),
        ("zstd:9", "slow or metered links"),
        ("max", "archives that are written once"),
        ("gzip", "where libzstd is missing"),
        ("bzip2", "text, where only size counts"),
        ("lzma", "the smallest archives, whatever the time"),
    ];

    /// <summary>Measures; <paramref name="budget"/> is the time for each setting and direction, after which the rest of the sample is left out.</summary>
    public static IEnumerable<CompressionMeasure> Run(ReadOnlyMemory<byte> sample, TimeSpan budget, CancellationToken cancellationToken)
    {
        foreach ((string setting, string bestFor) in Settings)
        {
            cancellationToken.ThrowIfCancellationRequested();
            CompressionSetting parsed = CompressionSetting.Parse(setting);
            yield return CodecLibraries.IsAvailable(parsed.Codec)
                ? Measure(parsed, bestFor, sample.Span, budget, cancellationToken)
                : new CompressionMeasure(setting, bestFor, 0, 0, 0, 0, "its library is not installed");
        }
    }

    private static CompressionMeasure Measure(
        CompressionSetting setting, string bestFor, ReadOnlySpan<byte> sample, TimeSpan budget, CancellationToken cancellationToken)
    {
        using FrameCompressor compressor = new(setting);
        using FrameDecompressor decompressor = new();
        List<(Codec Codec, byte[] Stored, int PlainLength)> frames = [];
        byte[] buffer = new byte[FrameCompressor.MaxCompressedSize(FrameLength)];
        long plain = 0;
        long stored = 0;
        TimeSpan compressTime = TimeSpan.Zero;
        TimeSpan cpu = Environment.CpuUsage.TotalTime;
        for (int at = 0; at < sample.Length && compressTime < budget; at += FrameLength)
        {
            cancellationToken.ThrowIfCancellationRequested();
            ReadOnlySpan<byte> frame = sample.Slice(at, Math.Min(FrameLength, sample.Length - at));
            long started = Stopwatch.GetTimestamp();
            FrameCompression result = compressor.Compress(frame, buffer, ContentHint.Unknown);
            compressTime += Stopwatch.GetElapsedTime(started);
            frames.Add((result.Codec, (result.Codec == Codec.None ? frame : buffer.AsSpan(0, result.StoredLength)).ToArray(), frame.Length));
            plain += frame.Length;
            stored += result.StoredLength;
        }

        cpu = Environment.CpuUsage.TotalTime - cpu;
        TimeSpan decompressTime = TimeSpan.Zero;
        long opened = 0;
        byte[] back = new byte[FrameLength];
        foreach ((Codec codec, byte[] bytes, int length) in frames)
        {
            long started = Stopwatch.GetTimestamp();
            decompressor.Decompress(codec, bytes, back.AsSpan(0, length));
            decompressTime += Stopwatch.GetElapsedTime(started);
            opened += length;
            if (decompressTime > budget)
            {
                break;
            }
        }

        return new CompressionMeasure(
            setting.Text,
            bestFor,
            plain / Math.Max(1e-6, compressTime.TotalSeconds),
            opened / Math.Max(1e-6, decompressTime.TotalSeconds),
            (double)plain / Math.Max(1, stored),
            cpu.TotalSeconds * (1L << 30) / Math.Max(1, plain),
            null);
    }
}
