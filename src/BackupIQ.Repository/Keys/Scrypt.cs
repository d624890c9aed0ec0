using System.Runtime.InteropServices;
using BackupIQ.Primitives;

namespace BackupIQ.Repository.Keys;

/// <summary>scrypt (RFC 7914) of the libcrypto that .NET itself uses; .NET has none of its own.</summary>
internal static partial class Scrypt
{
    private const string Library = "libcrypto.so.3";

    /// <summary>Fills <paramref name="key"/>. The parameters must have been checked: the memory is 128·N·r·p bytes and some.</summary>
    public static void Derive(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt, int n, int r, int p, Span<byte> key)
    {
        // libcrypto's own limit is 32 MiB unless told otherwise; it counts 32 (N + 2) r words and 128 r p bytes.
        ulong maxMemory = (128UL * (ulong)n * (ulong)r) + (128UL * (ulong)r * (ulong)p) + (1UL << 20);
        int success;
        try
        {
            success = Native(
                password, (nuint)password.Length, salt, (nuint)salt.Length, (ulong)n, (ulong)r, (ulong)p, maxMemory, key, (nuint)key.Length);
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            throw new BackupIQException(
                ErrorCodes.MissingLibrary, $"Passwords need {Library}, which is not there.", "Install the Debian package libssl3.", e);
        }

        if (success != 1)
        {
            throw new BackupIQException(
                ErrorCodes.Resource, $"Deriving the key of a password failed; it needs {maxMemory >> 20} MiB of memory.");
        }
    }

    [LibraryImport(Library, EntryPoint = "EVP_PBE_scrypt")]
    private static partial int Native(
        ReadOnlySpan<byte> pass, nuint passLength, ReadOnlySpan<byte> salt, nuint saltLength, ulong n, ulong r, ulong p, ulong maxMemory, Span<byte> key, nuint keyLength);
}
