using Microsoft.Win32.SafeHandles;

namespace BackupIQ.Sources.Files.Linux;

/// <summary>Owns a file descriptor and closes it once, also when it is forgotten.</summary>
internal sealed class DescriptorHandle : SafeHandleMinusOneIsInvalid
{
    /// <summary>Takes over <paramref name="descriptor"/>.</summary>
    internal DescriptorHandle(int descriptor)
        : base(ownsHandle: true) => SetHandle(descriptor);

    /// <summary>The number. Valid while this is not disposed; who uses it keeps this alive (<see cref="GC.KeepAlive"/>).</summary>
    internal int Descriptor => (int)handle;

    /// <inheritdoc/>
    protected override bool ReleaseHandle() => LibC.Close((int)handle) == 0;
}
