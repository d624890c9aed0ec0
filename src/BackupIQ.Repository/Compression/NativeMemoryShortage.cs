using BackupIQ.Primitives;

namespace BackupIQ.Repository.Compression;

/// <summary>The failure of a codec library that got no memory.</summary>
internal static class NativeMemoryShortage
{
    internal static BackupIQException For(Codec codec) =>
        new(ErrorCodes.Resource, $"The compression {codec.ToString().ToLowerInvariant()} got no memory.");
}
