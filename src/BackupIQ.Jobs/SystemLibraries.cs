using System.Runtime.InteropServices;
using BackupIQ.Repository.Compression;

namespace BackupIQ.Jobs;

/// <summary>A system library that BackupIQ uses.</summary>
/// <param name="Purpose">What for.</param>
/// <param name="FileName">The shared object; null for what the runtime brings.</param>
/// <param name="DebianPackage">The package that brings it.</param>
/// <param name="Version">What was found, or null when it is missing.</param>
public sealed record SystemLibrary(string Purpose, string? FileName, string? DebianPackage, string? Version);

/// <summary>Looks for the system libraries.</summary>
public static class SystemLibraries
{
    private const string Crypto = "libcrypto.so.3";

    /// <summary>Tries to load every one.</summary>
    public static IReadOnlyList<SystemLibrary> Inspect() =>
    [
        .. CodecLibraries.Inspect().Select(static codec =>
            new SystemLibrary("compression " + codec.Codec.ToString().ToLowerInvariant(), codec.FileName, codec.DebianPackage, codec.Version)),
        new SystemLibrary(
            "passwords and encryption",
            Crypto,
            "libssl3",
            NativeLibrary.TryLoad(Crypto, typeof(SystemLibraries).Assembly, null, out _) ? "found" : null),
    ];
}
