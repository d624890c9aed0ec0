using System.Security.Cryptography;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Repository.Keys;

/// <summary>
/// What opens a repository. Any one is enough; when several are given they are tried in the order recovery kit, key file, key service, password.
/// The secrets stay the caller's.
/// </summary>
public sealed record Credentials
{
    /// <summary>The largest key file that is read.</summary>
    public const int MaxKeyFileSize = 64 << 10;

    /// <summary>The least bytes of a key file.</summary>
    public const int MinKeyFileSize = 32;

    /// <summary>A password's bytes (UTF-8 of what was typed, without a line end).</summary>
    public Secret? Password { get; init; }

    /// <summary>All bytes of a key file: at least 32, random. There is no slow derivation, so a passphrase has no place there.</summary>
    public Secret? KeyFile { get; init; }

    /// <summary>A key of a key service.</summary>
    public IKeyProvider? KeyProvider { get; init; }

    /// <summary>A recovery kit, or as much of it as there is (see <see cref="RecoveryKit.Parse"/>).</summary>
    public RecoveryKit? RecoveryKit { get; init; }

    /// <summary>Reads a key file.</summary>
    /// <exception cref="BackupIQException"><c>SecretUnavailable</c>: it cannot be read, or no key file has that size.</exception>
    public static Secret ReadKeyFile(string path)
    {
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            byte[] bytes = GC.AllocateArray<byte>(MaxKeyFileSize + 1, pinned: true);
            try
            {
                int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
                return length is >= MinKeyFileSize and <= MaxKeyFileSize
                    ? new Secret(bytes.AsSpan(0, length))
                    : throw new BackupIQException(
                        ErrorCodes.SecretUnavailable, $"The key file does not have between {MinKeyFileSize} bytes and {MaxKeyFileSize >> 10} KiB.")
                        .With("path", path);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(bytes);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.SecretUnavailable, "The key file cannot be read.", inner: e).With("path", path);
        }
    }

    /// <summary>Refuses what is no password: nothing at all.</summary>
    internal static void RequirePassword(Secret password)
    {
        if (password.Bytes.IsEmpty)
        {
            throw new BackupIQException(ErrorCodes.Validation, "The password is empty.");
        }
    }

    /// <summary>
    /// Refuses a key file that is not random: too short, or of fewer different bytes than 32 random hex digits nearly always have.
    /// It cannot prove a file good.
    /// </summary>
    internal static void RequireKeyFile(Secret keyFile)
    {
        ReadOnlySpan<byte> bytes = keyFile.Bytes;
        Span<bool> seen = stackalloc bool[256];
        int different = 0;
        foreach (byte value in bytes)
        {
            different += seen[value] ? 0 : 1;
            seen[value] = true;
        }

        if (bytes.Length is < MinKeyFileSize or > MaxKeyFileSize || different < 9)
        {
            throw new BackupIQException(
                ErrorCodes.Validation,
                "The key file is not one: it must hold at least 32 random bytes.",
                "Make one with: head -c 32 /dev/urandom > FILE. For a passphrase use a password instead.");
        }
    }
}
