using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Compression;

/// <summary>The part of libzstd's stable interface (zstd.h, since 1.4.0) that frames need.</summary>
internal static unsafe partial class ZstdNative
{
    internal const string Library = "libzstd.so.1";
    internal const int ParameterCompressionLevel = 100;
    internal const int ParameterContentSizeFlag = 200;
    internal const int ParameterChecksumFlag = 201;

    [LibraryImport(Library, EntryPoint = "ZSTD_versionString")]
    internal static partial nint VersionString();

    [LibraryImport(Library, EntryPoint = "ZSTD_createCCtx")]
    internal static partial nint CreateCompressionContext();

    [LibraryImport(Library, EntryPoint = "ZSTD_freeCCtx")]
    internal static partial nuint FreeCompressionContext(nint context);

    [LibraryImport(Library, EntryPoint = "ZSTD_CCtx_setParameter")]
    internal static partial nuint SetParameter(ZstdCompressionContext context, int parameter, int value);

    [LibraryImport(Library, EntryPoint = "ZSTD_compress2")]
    internal static partial nuint Compress(ZstdCompressionContext context, byte* destination, nuint capacity, byte* source, nuint length);

    [LibraryImport(Library, EntryPoint = "ZSTD_createDCtx")]
    internal static partial nint CreateDecompressionContext();

    [LibraryImport(Library, EntryPoint = "ZSTD_freeDCtx")]
    internal static partial nuint FreeDecompressionContext(nint context);

    [LibraryImport(Library, EntryPoint = "ZSTD_decompressDCtx")]
    internal static partial nuint Decompress(ZstdDecompressionContext context, byte* destination, nuint capacity, byte* source, nuint length);

    [LibraryImport(Library, EntryPoint = "ZSTD_findFrameCompressedSize")]
    internal static partial nuint FindFrameLength(byte* source, nuint length);

    [LibraryImport(Library, EntryPoint = "ZSTD_isError")]
    internal static partial uint IsError(nuint result);

    [LibraryImport(Library, EntryPoint = "ZSTD_getErrorName")]
    internal static partial nint ErrorName(nuint result);
}

/// <summary>A ZSTD_CCtx.</summary>
internal sealed class ZstdCompressionContext : SafeHandle
{
    /// <summary>Makes a context for frames of one <paramref name="level"/>: magic, but neither content size nor checksum.</summary>
    public ZstdCompressionContext(int level)
        : base(0, ownsHandle: true)
    {
        SetHandle(ZstdNative.CreateCompressionContext());
        if (IsInvalid)
        {
            throw NativeMemoryShortage.For(Codec.Zstd);
        }

        Set(ZstdNative.ParameterCompressionLevel, level);
        Set(ZstdNative.ParameterContentSizeFlag, 0);
        Set(ZstdNative.ParameterChecksumFlag, 0);
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        ZstdNative.FreeCompressionContext(handle);
        return true;
    }

    private void Set(int parameter, int value)
    {
        nuint result = ZstdNative.SetParameter(this, parameter, value);
        if (ZstdNative.IsError(result) != 0)
        {
            throw new InvalidOperationException($"libzstd refused parameter {parameter} = {value}.");
        }
    }
}

/// <summary>A ZSTD_DCtx. Used in one call per frame only, so that it never holds a window, whatever window a frame asks for.</summary>
internal sealed class ZstdDecompressionContext : SafeHandle
{
    /// <summary>Makes a context.</summary>
    public ZstdDecompressionContext()
        : base(0, ownsHandle: true)
    {
        SetHandle(ZstdNative.CreateDecompressionContext());
        if (IsInvalid)
        {
            throw NativeMemoryShortage.For(Codec.Zstd);
        }
    }

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        ZstdNative.FreeDecompressionContext(handle);
        return true;
    }
}
