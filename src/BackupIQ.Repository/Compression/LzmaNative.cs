using System.Runtime.InteropServices;

namespace BackupIQ.Repository.Compression;

/// <summary>The part of liblzma's interface (lzma/base.h, container.h, lzma12.h) that frames need.</summary>
internal static unsafe partial class LzmaNative
{
    internal const string Library = "liblzma.so.5";
    internal const int Ok = 0;
    internal const int StreamEnd = 1;
    internal const int MemoryError = 5;
    internal const int MemoryLimitError = 6;
    internal const int ActionFinish = 3;
    internal const int CheckNone = 0;
    internal const ulong FilterLzma2 = 0x21;
    internal const ulong FilterEnd = ulong.MaxValue;

    /// <summary>Room for a <c>lzma_options_lzma</c> of this and later versions; its first field is the dictionary's size.</summary>
    internal const int OptionsSize = 256;

    [LibraryImport(Library, EntryPoint = "lzma_version_string")]
    internal static partial nint VersionString();

    [LibraryImport(Library, EntryPoint = "lzma_lzma_preset")]
    internal static partial byte Preset(byte* options, uint preset);

    [LibraryImport(Library, EntryPoint = "lzma_stream_encoder")]
    internal static partial int StartEncoder(LzmaStream* stream, LzmaFilter* filters, int check);

    [LibraryImport(Library, EntryPoint = "lzma_stream_decoder")]
    internal static partial int StartDecoder(LzmaStream* stream, ulong memoryLimit, uint flags);

    [LibraryImport(Library, EntryPoint = "lzma_code")]
    internal static partial int Code(LzmaStream* stream, int action);

    [LibraryImport(Library, EntryPoint = "lzma_end")]
    internal static partial void End(LzmaStream* stream);
}

/// <summary><c>lzma_filter</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LzmaFilter
{
    public ulong Id;
    public void* Options;
}

/// <summary><c>lzma_stream</c>. All zero is its initial state.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct LzmaStream
{
    public byte* NextIn;
    public nuint AvailableIn;
    public ulong TotalIn;
    public byte* NextOut;
    public nuint AvailableOut;
    public ulong TotalOut;
    public void* Allocator;
    public void* Internal;
    public ReservedPart Reserved;

    /// <summary>Four pointers, two 64-bit numbers, two sizes and two enumerations that liblzma keeps for itself.</summary>
    [System.Runtime.CompilerServices.InlineArray(9)]
    internal struct ReservedPart
    {
        private ulong _element;
    }
}

/// <summary>A <c>lzma_stream</c> in native memory; starting a coder on it again uses the memory of the last one again.</summary>
internal sealed unsafe class LzmaContext : SafeHandle
{
    /// <summary>Allocates the stream; a coder is started for each frame.</summary>
    public LzmaContext()
        : base(0, ownsHandle: true) => SetHandle((nint)NativeMemory.AllocZeroed((nuint)sizeof(LzmaStream)));

    /// <inheritdoc/>
    public override bool IsInvalid => handle == 0;

    /// <summary>The stream; valid until this is disposed.</summary>
    internal LzmaStream* Stream => (LzmaStream*)handle;

    /// <inheritdoc/>
    protected override bool ReleaseHandle()
    {
        LzmaNative.End(Stream);
        NativeMemory.Free((void*)handle);
        return true;
    }
}
