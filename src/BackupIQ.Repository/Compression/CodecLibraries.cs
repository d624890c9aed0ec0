using System.Runtime.InteropServices;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Compression;

/// <summary>A codec and the system library that does it.</summary>
/// <param name="Codec">The codec.</param>
/// <param name="FileName">The shared object, such as <c>libzstd.so.1</c>; null for what .NET itself does.</param>
/// <param name="DebianPackage">The Debian package that brings the library; null for what .NET itself does.</param>
/// <param name="Version">The version found, or null when the library is missing.</param>
public sealed record CodecLibrary(Codec Codec, string? FileName, string? DebianPackage, string? Version)
{
    /// <summary>Whether frames of this codec can be written and read here.</summary>
    public bool IsAvailable => Version is not null;
}

/// <summary>The system libraries behind the codecs. Each is loaded when it is first needed.</summary>
public static class CodecLibraries
{
    /// <summary>Tries every library and says what is there, in the order of the codecs' numbers.</summary>
    public static IReadOnlyList<CodecLibrary> Inspect() =>
    [
        Look(Codec.Zstd, static () => NativeText(ZstdNative.VersionString())),
        Look(Codec.Lz4, static () => NativeText(Lz4Native.VersionString())),
        new CodecLibrary(Codec.Gzip, null, null, $".NET {Environment.Version}"),
        Look(Codec.Bzip2, static () => NativeText(Bzip2Native.Version())),
        Look(Codec.Lzma, static () => NativeText(LzmaNative.VersionString())),
    ];

    /// <summary>Whether the codec's library can be loaded.</summary>
    public static bool IsAvailable(Codec codec)
    {
        (string? fileName, _) = Names(codec);
        return fileName is null || NativeLibrary.TryLoad(fileName, typeof(CodecLibraries).Assembly, null, out _);
    }

    /// <summary>The failure that says which library and package a codec lacks.</summary>
    internal static BackupIQException Missing(Codec codec)
    {
        (string? fileName, string? package) = Names(codec);
        return new BackupIQException(
            ErrorCodes.MissingLibrary,
            $"The library {fileName}, which the compression {codec.ToString().ToLowerInvariant()} needs, is not installed.",
            $"Install it: apt install {package}");
    }

    private static CodecLibrary Look(Codec codec, Func<string> version)
    {
        (string? fileName, string? package) = Names(codec);
        return new CodecLibrary(codec, fileName, package, IsAvailable(codec) ? version() : null);
    }

    private static (string? FileName, string? Package) Names(Codec codec) => codec switch
    {
        Codec.Zstd => (ZstdNative.Library, "libzstd1"),
        Codec.Lz4 => (Lz4Native.Library, "liblz4-1"),
        Codec.Bzip2 => (Bzip2Native.Library, "libbz2-1.0"),
        Codec.Lzma => (LzmaNative.Library, "liblzma5"),
        _ => (null, null),
    };

    private static string NativeText(nint text) => Marshal.PtrToStringUTF8(text) ?? "unknown";
}
