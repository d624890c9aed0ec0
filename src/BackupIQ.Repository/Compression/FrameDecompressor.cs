using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Compression;

/// <summary>
/// Decompresses frames of every codec. Contexts are made when the first frame of a codec comes, and used again. Whatever the stored
/// bytes say, nothing is written outside the plain buffer and native memory stays below <see cref="MemoryLimit"/>. For one thread at a time.
/// </summary>
public sealed unsafe class FrameDecompressor : IDisposable
{
    /// <summary>The most native memory, in bytes, that decompressing a frame takes.</summary>
    public const int MemoryLimit = 16 * 1024 * 1024;

    private const uint ZstdMagic = 0xFD2FB528;

    private readonly Func<Codec, bool> _isAvailable;
    private ZstdDecompressionContext? _zstd;
    private LzmaContext? _lzma;
    private bool _hasLz4;
    private bool _hasBzip2;

    /// <summary>Makes a decompressor; loads nothing yet.</summary>
    public FrameDecompressor()
        : this(CodecLibraries.IsAvailable)
    {
    }

    /// <summary>For tests: <paramref name="isAvailable"/> says which codecs have their library.</summary>
    internal FrameDecompressor(Func<Codec, bool> isAvailable) => _isAvailable = isAvailable;

    /// <summary>Decompresses <paramref name="stored"/> so that it fills <paramref name="plain"/> exactly. The two must not overlap.</summary>
    /// <exception cref="CorruptDataException">
    /// The bytes are not of that codec, are damaged, or do not make up exactly that many plain bytes; the content of
    /// <paramref name="plain"/> is then undefined.
    /// </exception>
    /// <exception cref="BackupIQException">
    /// With <c>UnsupportedFormat</c> for a codec that this version does not know, with <c>MissingLibrary</c> when its library is not installed.
    /// </exception>
    public void Decompress(Codec codec, ReadOnlySpan<byte> stored, Span<byte> plain)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(plain.Length, FrameCompressor.MaxPlainLength, nameof(plain));
        if (codec == Codec.None)
        {
            if (stored.Length != plain.Length)
            {
                throw Corrupt(codec, $"{stored.Length} bytes are stored instead of {plain.Length}");
            }

            stored.CopyTo(plain);
            return;
        }

        if (codec > Codec.Lzma)
        {
            throw new BackupIQException(ErrorCodes.UnsupportedFormat, $"A frame has the unknown compression number {(int)codec}.");
        }

        if (stored.IsEmpty || plain.IsEmpty)
        {
            throw Corrupt(codec, "it is empty");
        }

        fixed (byte* from = stored)
        fixed (byte* to = plain)
        {
            switch (codec)
            {
                case Codec.Zstd:
                    DecompressZstd(from, stored, to, plain.Length);
                    break;
                case Codec.Lz4:
                    DecompressLz4(from, stored.Length, to, plain.Length);
                    break;
                case Codec.Gzip:
                    DecompressGzip(from, stored.Length, plain);
                    break;
                case Codec.Bzip2:
                    DecompressBzip2(from, stored.Length, to, plain.Length);
                    break;
                default:
                    DecompressLzma(from, stored.Length, to, plain.Length);
                    break;
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _zstd?.Dispose();
        _lzma?.Dispose();
    }

    private void DecompressZstd(byte* from, ReadOnlySpan<byte> stored, byte* plain, int plainLength)
    {
        if (_zstd is null)
        {
            Require(Codec.Zstd);
            _zstd = new ZstdDecompressionContext();
        }

        // libzstd would also take frames of old versions, skippable frames and several frames in a row: parsers that nothing here needs.
        if (stored.Length < 6 || BinaryPrimitives.ReadUInt32LittleEndian(stored) != ZstdMagic || !HasBoundedWindow(stored))
        {
            throw Corrupt(Codec.Zstd, "its head is not that of a frame");
        }

        if (ZstdNative.FindFrameLength(from, (nuint)stored.Length) != (nuint)stored.Length)
        {
            throw Corrupt(Codec.Zstd, "it is not exactly one frame");
        }

        nuint written = ZstdNative.Decompress(_zstd, plain, (nuint)plainLength, from, (nuint)stored.Length);
        if (ZstdNative.IsError(written) != 0)
        {
            throw Corrupt(Codec.Zstd, Marshal.PtrToStringUTF8(ZstdNative.ErrorName(written)) ?? "unknown error");
        }

        RequireLength(Codec.Zstd, (int)written, plainLength);
    }

    /// <summary>A frame without a window of its own has one segment, as long as the content; any other says its window, at most 8 MiB.</summary>
    private static bool HasBoundedWindow(ReadOnlySpan<byte> stored)
    {
        bool isSingleSegment = (stored[4] & 0x20) != 0;
        int exponent = stored[5] >> 3;
        int mantissa = stored[5] & 7;
        return isSingleSegment || exponent < 13 || (exponent == 13 && mantissa == 0);
    }

    private void DecompressLz4(byte* stored, int storedLength, byte* plain, int plainLength)
    {
        if (!_hasLz4)
        {
            Require(Codec.Lz4);
            _hasLz4 = true;
        }

        int written = Lz4Native.Decompress(stored, plain, storedLength, plainLength);
        if (written < 0)
        {
            throw Corrupt(Codec.Lz4, "its block is damaged");
        }

        RequireLength(Codec.Lz4, written, plainLength);
    }

    private static void DecompressGzip(byte* stored, int storedLength, Span<byte> plain)
    {
        // A member ends with its plain length, which .NET does not ask for: it tells truncated ends and bytes behind the member.
        if (storedLength < sizeof(uint)
            || BinaryPrimitives.ReadUInt32LittleEndian(new ReadOnlySpan<byte>(stored + storedLength - sizeof(uint), sizeof(uint))) != plain.Length)
        {
            throw Corrupt(Codec.Gzip, $"it does not end as {plain.Length} bytes do");
        }

        try
        {
            using UnmanagedMemoryStream source = new(stored, storedLength);
            using GZipStream stream = new(source, CompressionMode.Decompress);
            RequireLength(Codec.Gzip, stream.ReadAtLeast(plain, plain.Length, throwOnEndOfStream: false), plain.Length);
            if (stream.ReadByte() >= 0)
            {
                throw Corrupt(Codec.Gzip, $"it makes up more than {plain.Length} bytes");
            }
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            throw Corrupt(Codec.Gzip, e.Message, e);
        }
    }

    private void DecompressBzip2(byte* stored, int storedLength, byte* plain, int plainLength)
    {
        if (!_hasBzip2)
        {
            Require(Codec.Bzip2);
            _hasBzip2 = true;
        }

        uint written = (uint)plainLength;
        switch (Bzip2Native.Decompress(plain, &written, stored, (uint)storedLength, small: 0, verbosity: 0))
        {
            case Bzip2Native.Ok:
                RequireLength(Codec.Bzip2, (int)written, plainLength);
                return;
            case Bzip2Native.MemoryError:
                throw NativeMemoryShortage.For(Codec.Bzip2);
            case Bzip2Native.OutputFull:
                throw Corrupt(Codec.Bzip2, $"it makes up more than {plainLength} bytes");
            case int error:
                throw Corrupt(Codec.Bzip2, $"libbz2 says {error}");
        }
    }

    private void DecompressLzma(byte* stored, int storedLength, byte* plain, int plainLength)
    {
        if (_lzma is null)
        {
            Require(Codec.Lzma);
            _lzma = new LzmaContext();
        }

        LzmaStream* stream = _lzma.Stream;
        int result = LzmaNative.StartDecoder(stream, MemoryLimit, flags: 0);
        if (result == LzmaNative.Ok)
        {
            stream->NextIn = stored;
            stream->AvailableIn = (nuint)storedLength;
            stream->NextOut = plain;
            stream->AvailableOut = (nuint)plainLength;
            result = LzmaNative.Code(stream, LzmaNative.ActionFinish);
        }

        if (result == LzmaNative.MemoryError)
        {
            throw NativeMemoryShortage.For(Codec.Lzma);
        }

        if (result == LzmaNative.MemoryLimitError)
        {
            throw Corrupt(Codec.Lzma, "it asks for more memory than any frame needs");
        }

        if (result != LzmaNative.StreamEnd || stream->AvailableIn != 0)
        {
            throw Corrupt(Codec.Lzma, $"liblzma says {result} with {stream->AvailableIn} bytes unread");
        }

        RequireLength(Codec.Lzma, plainLength - (int)stream->AvailableOut, plainLength);
    }

    private void Require(Codec codec)
    {
        if (!_isAvailable(codec))
        {
            throw CodecLibraries.Missing(codec);
        }
    }

    private static void RequireLength(Codec codec, int written, int plainLength)
    {
        if (written != plainLength)
        {
            throw Corrupt(codec, $"it makes up {written} bytes instead of {plainLength}");
        }
    }

    private static CorruptDataException Corrupt(Codec codec, string what, Exception? inner = null) =>
        new($"A frame compressed with {codec.ToString().ToLowerInvariant()} cannot be decompressed: {what}.", inner);
}
