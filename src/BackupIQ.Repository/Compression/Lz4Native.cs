using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Compression;

/// <summary>The part of liblz4's block interface (lz4.h) that frames need.</summary>
internal static unsafe partial class Lz4Native
{
    internal const string Library = "liblz4.so.1";

    [LibraryImport(Library, EntryPoint = "LZ4_versionString")]
    internal static partial nint VersionString();

    [LibraryImport(Library, EntryPoint = "LZ4_sizeofState")]
    internal static partial int StateSize();

    [LibraryImport(Library, EntryPoint = "LZ4_compress_fast_extState")]
    internal static partial int Compress(Lz4State state, byte* source, byte* destination, int length, int capacity, int acceleration);

    [LibraryImport(Library, EntryPoint = "LZ4_decompress_safe")]
    internal static partial int Decompress(byte* source, byte* destination, int length, int capacity);
}

/// <summary>The working memory of LZ4's compressor (16 KiB), which liblz4 resets by itself.</summary>
internal sealed unsafe class Lz4State : SafeHandle
{
    /// <summary>Allocates it.</summary>
    public Lz4State()
        : base(0, ownsHandle: true) => SetHandle((nint)NativeMemory.AlignedAlloc((nuint)Lz4Native.StateSize(), 16));

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        return true;
    }
}
