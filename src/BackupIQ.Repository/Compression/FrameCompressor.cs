using System.IO.Compression;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Compression;

/// <summary>
/// Compresses frames by one setting. Owns native contexts and uses them again, so that a frame costs no allocation (but gzip, whose
/// stream .NET allocates, and bzip2, whose library allocates natively). For one thread at a time: one per worker.
/// </summary>
public sealed unsafe class FrameCompressor : IDisposable
{
    /// <summary>The longest frame in plain bytes: the longest chunk.</summary>
    public const int MaxPlainLength = 4 * 1024 * 1024;

    private readonly CompressionSetting _setting;
    private readonly Codec _codec;
    private readonly ZstdCompressionContext? _zstd;
    private readonly Lz4State? _lz4;
    private readonly LzmaContext? _lzma;
    private readonly MemoryStream? _gzip;

    /// <summary>Makes a compressor.</summary>
    /// <exception cref="BackupIQException">With <c>MissingLibrary</c> when the setting's codec needs a library that is not installed.</exception>
    public FrameCompressor(CompressionSetting setting)
        : this(setting, CodecLibraries.IsAvailable)
    {
    }

    /// <summary>For tests: <paramref name="isAvailable"/> says which codecs have their library.</summary>
    internal FrameCompressor(CompressionSetting setting, Func<Codec, bool> isAvailable)
    {
        ArgumentNullException.ThrowIfNull(setting);
        _setting = setting;
        _codec = setting.Codec;
        if (!isAvailable(_codec))
        {
            BackupIQException missing = CodecLibraries.Missing(_codec);
            if (!setting.Probes)
            {
                throw missing;
            }

            _codec = Codec.Gzip;
            Warning = $"{missing.Message} gzip is used instead, which is slower and compresses less. {missing.Guidance}";
        }

        switch (_codec)
        {
            case Codec.Zstd:
                _zstd = new ZstdCompressionContext();
                break;
            case Codec.Lz4:
                _lz4 = new Lz4State();
                break;
            case Codec.Lzma:
                _lzma = new LzmaContext();
                break;
            case Codec.Gzip:
                _gzip = new MemoryStream();
                break;
        }
    }

    /// <summary>
    /// What the user should be told once: <c>auto</c> had to do without libzstd. Null when there is nothing to tell. Every compressor
    /// of a run says the same, so asking one is enough.
    /// </summary>
    public string? Warning { get; }

    /// <summary>How much more than usual <c>auto</c> may spend on a frame, from 0: each step is two of zstd's levels.</summary>
    public int Effort { get; set; }

    /// <summary>
    /// The room that <see cref="Compress"/> needs. It is the plain length: a compression that does not fit is not worth it and is given up.
    /// </summary>
    public static int MaxCompressedSize(int plainLength) => plainLength;

    /// <summary>
    /// The longest stored length at which compressing <paramref name="plainLength"/> bytes is worthwhile: it must save at least one byte
    /// and a 128th, which is what decompressing on every later read is worth.
    /// </summary>
    public static int WorthwhileLength(int plainLength) => plainLength - (plainLength >> 7) - 1;

    /// <summary>Whether <see cref="Compress"/> would try at all: the setting compresses, and <c>auto</c>'s look at the bytes finds a gain.</summary>
    public bool IsWorthTrying(ReadOnlySpan<byte> plain, ContentHint hint) => _codec != Codec.None && hint != ContentHint.Stored &&
        (!_setting.Probes || hint == ContentHint.Compressible || CompressibilityProbe.LooksCompressible(plain, doubtful: hint == ContentHint.Incompressible));

    /// <summary>
    /// Compresses <paramref name="plain"/> into the start of <paramref name="destination"/>, which must have
    /// <see cref="MaxCompressedSize"/> bytes and not overlap it. When that is not worthwhile the answer is <see cref="Codec.None"/>, the
    /// caller stores the plain bytes, and the destination's content is undefined.
    /// </summary>
    public FrameCompression Compress(ReadOnlySpan<byte> plain, Span<byte> destination, ContentHint hint)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plain.Length, MaxPlainLength, nameof(plain));
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, MaxCompressedSize(plain.Length), nameof(destination));
        int limit = WorthwhileLength(plain.Length);
        if (limit <= 0 || !IsWorthTrying(plain, hint))
        {
            return new FrameCompression(Codec.None, plain.Length);
        }

        int stored;
        fixed (byte* from = plain)
        fixed (byte* to = destination)
        {
            stored = _codec switch
            {
                Codec.Zstd => CompressZstd(from, plain.Length, to, limit, Level),
                Codec.Lz4 => Lz4Native.Compress(_lz4!, from, to, plain.Length, limit, acceleration: 1),
                Codec.Gzip => CompressGzip(plain, destination[..limit]),
                Codec.Bzip2 => CompressBzip2(from, plain.Length, to, limit),
                _ => CompressLzma(from, plain.Length, to, limit),
            };
        }

        return stored <= 0 ? new FrameCompression(Codec.None, plain.Length) : new FrameCompression(_codec, stored);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _zstd?.Dispose();
        _lz4?.Dispose();
        _lzma?.Dispose();
        _gzip?.Dispose();
    }

    private int Level => _setting.Probes ? Math.Min(CompressionSetting.HighestAutoLevel, _setting.Level + (2 * Effort)) : _setting.Level;

    private int CompressZstd(byte* plain, int length, byte* destination, int limit, int level)
    {
        _zstd!.SetLevel(level);
        nuint stored = ZstdNative.Compress(_zstd, destination, (nuint)limit, plain, (nuint)length);
        if (ZstdNative.IsError(stored) == 0)
        {
            return (int)stored;
        }

        // Errors are their number negated (zstd_errors.h, a stable list): 64 is no memory; 70 is no room, which is the usual no.
        int error = -(int)stored;
        return error switch
        {
            70 => 0,
            64 => throw NativeMemoryShortage.For(Codec.Zstd),
            _ => throw Failed(error),
        };
    }

    private int CompressGzip(ReadOnlySpan<byte> plain, Span<byte> destination)
    {
        _gzip!.SetLength(0);
        using (GZipStream stream = new(_gzip, CompressionLevel.Optimal, leaveOpen: true))
        {
            stream.Write(plain);
        }

        ReadOnlySpan<byte> stored = _gzip.GetBuffer().AsSpan(0, (int)_gzip.Length);
        return stored.TryCopyTo(destination) ? stored.Length : 0;
    }

    private static int CompressBzip2(byte* plain, int length, byte* destination, int limit)
    {
        uint stored = (uint)limit;
        int blockSize = Math.Clamp((length + 99_999) / 100_000, 1, 9);
        return Bzip2Native.Compress(destination, &stored, plain, (uint)length, blockSize, verbosity: 0, workFactor: 0) switch
        {
            Bzip2Native.Ok => (int)stored,
            Bzip2Native.OutputFull => 0,
            Bzip2Native.MemoryError => throw NativeMemoryShortage.For(Codec.Bzip2),
            int error => throw Failed(error),
        };
    }

    private int CompressLzma(byte* plain, int length, byte* destination, int limit)
    {
        byte* options = stackalloc byte[LzmaNative.OptionsSize];
        LzmaFilter* filters = stackalloc LzmaFilter[2];
        filters[0] = new LzmaFilter { Id = LzmaNative.FilterLzma2, Options = options };
        filters[1] = new LzmaFilter { Id = LzmaNative.FilterEnd };
        if (LzmaNative.Preset(options, (uint)_setting.Level) != 0)
        {
            throw Failed(_setting.Level);
        }

        // A dictionary no longer than frames are keeps the preset's 90 MB of working memory at some 15, and readers' at 1 to 4.
        *(uint*)options = length <= 1024 * 1024 ? 1024 * 1024u : MaxPlainLength;
        LzmaStream* stream = _lzma!.Stream;
        Check(LzmaNative.StartEncoder(stream, filters, LzmaNative.CheckNone));
        stream->NextIn = plain;
        stream->AvailableIn = (nuint)length;
        stream->NextOut = destination;
        stream->AvailableOut = (nuint)limit;
        int result = LzmaNative.Code(stream, LzmaNative.ActionFinish);
        if (result == LzmaNative.StreamEnd)
        {
            return limit - (int)stream->AvailableOut;
        }

        Check(result);
        return 0;

        static void Check(int result)
        {
            if (result != LzmaNative.Ok)
            {
                throw result == LzmaNative.MemoryError ? NativeMemoryShortage.For(Codec.Lzma) : Failed(result);
            }
        }
    }

    private static InvalidOperationException Failed(int error) => new($"The codec's library refused a frame: error {error}.");
}
