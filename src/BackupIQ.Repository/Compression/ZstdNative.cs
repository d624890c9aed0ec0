using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Compression;

/// <summary>The part of libzstd's stable interface (zstd.h, since 1.4.0) that frames need.</summary>
internal static unsafe partial class ZstdNative
{
    internal const string Library = "libzstd.so.1";
    internal const int ResetSession = 1;
    internal const int ParameterCompressionLevel = 100;
    internal const int ParameterWindowLog = 101;
    internal const int ParameterHashLog = 102;
    internal const int ParameterChainLog = 103;
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

    [LibraryImport(Library, EntryPoint = "ZSTD_CCtx_reset")]
    internal static partial nuint Reset(ZstdCompressionContext context, int directive);

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
    /// <summary>The whole of the longest frame (2^22 bytes): every earlier byte of a frame can be referred to.</summary>
    private const int FrameWindowLog = 22;

    /// <summary>Levels from here on have a window of their own that is no smaller.</summary>
    private const int WideWindowLevel = 17;

    /// <summary>The level whose tables are set by hand.</summary>
    private const int TunedLevel = 3;

    private int _level;

    /// <summary>Makes a context for frames with magic, but neither content size nor checksum. Set a level before the first.</summary>
    public ZstdCompressionContext()
        : base(0, ownsHandle: true)
    {
        SetHandle(ZstdNative.CreateCompressionContext());
        if (IsInvalid)
        {
            throw NativeMemoryShortage.For(Codec.Zstd);
        }

        Set(ZstdNative.ParameterContentSizeFlag, 0);
        Set(ZstdNative.ParameterChecksumFlag, 0);
    }

    /// <summary>The level of the frames that follow.</summary>
    public void SetLevel(int level)
    {
        if (level == _level)
        {
            return;
        }

        // A frame that did not fit leaves the context in the middle of it, where parameters cannot be set.
        _ = ZstdNative.Reset(this, ZstdNative.ResetSession);

        // 0 leaves a parameter to the level. Level 3's tables are made for half of the window: twice the size saves another percent for
        // the time that the larger frame won.
        Set(ZstdNative.ParameterCompressionLevel, level);
        Set(ZstdNative.ParameterWindowLog, level < WideWindowLevel ? FrameWindowLog : 0);
        Set(ZstdNative.ParameterHashLog, level == TunedLevel ? 18 : 0);
        Set(ZstdNative.ParameterChainLog, level == TunedLevel ? 17 : 0);
        _level = level;
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
