using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Compression;

/// <summary>
/// The part of libbz2's interface (bzlib.h) that frames need. It has no context that could be used again: each call allocates natively,
/// at most 8 MB to compress and 4 MB to decompress, whatever the input says.
/// </summary>
internal static unsafe partial class Bzip2Native
{
    internal const string Library = "libbz2.so.1.0";
    internal const int Ok = 0;
    internal const int MemoryError = -3;
    internal const int OutputFull = -8;

    [LibraryImport(Library, EntryPoint = "BZ2_bzlibVersion")]
    internal static partial nint Version();

    [LibraryImport(Library, EntryPoint = "BZ2_bzBuffToBuffCompress")]
    internal static partial int Compress(
        byte* destination, uint* destinationLength, byte* source, uint length, int blockSize100K, int verbosity, int workFactor);

    [LibraryImport(Library, EntryPoint = "BZ2_bzBuffToBuffDecompress")]
    internal static partial int Decompress(
        byte* destination, uint* destinationLength, byte* source, uint length, int small, int verbosity);
}
