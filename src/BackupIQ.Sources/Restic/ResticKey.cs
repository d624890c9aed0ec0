using System.Security.Cryptography;
using System.Text.Json;

namespace BackupIQ.Sources.Restic;

/// <summary>
/// A key of restic: AES-256 in counter mode for secrecy, Poly1305-AES of the ciphertext for integrity. What is sealed is a nonce of 16 bytes,
/// the ciphertext, and a tag of 16 bytes. Any thread may open with it. Wiped when disposed.
/// </summary>
internal sealed class ResticKey : IDisposable
{
    /// <summary>Bytes by which sealing makes longer.</summary>
    public const int Overhead = NonceSize + ResticLibraries.TagSize;

    private const int NonceSize = 16;

    /// <summary>1 GiB. restic's own choice is 32 MiB; a hostile key file must not take all memory before anything is known of it.</summary>
    private const long MaxScryptCells = 1L << 23;

    /// <summary>Half a minute of a slow machine, and thirty times what restic chooses.</summary>
    private const long MaxScryptWork = 1L << 27;

    // AES-256 key, then the AES-128 key of the authenticator, then its r.
    private readonly byte[] _bytes;
    private readonly ResticLibraries.PolyHandle _poly = new();

    /// <summary>Takes the 64 bytes over: the key of encryption, then k and r of the authenticator.</summary>
    public ResticKey(byte[] bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(bytes.Length, 64);
        _bytes = bytes;
    }

    /// <summary>Opens a key file with a password. Null: it is not this file's.</summary>
    /// <exception cref="ResticDamageException">It is no key file, or asks for more than any key file needs.</exception>
    public static ResticKey? Unlock(ReadOnlySpan<byte> keyFile, ReadOnlySpan<byte> password)
    {
        (long n, long r, long p, byte[] salt, byte[] data) = ResticJson.Read(keyFile, "A key", static root => (
            ResticJson.Text(root, "kdf") == "scrypt" ? ResticJson.Number(root, "N") : 0,
            ResticJson.Number(root, "r"),
            ResticJson.Number(root, "p"),
            ResticJson.Bytes(root, "salt"),
            ResticJson.Bytes(root, "data")));
        bool isSane = n is > 1 and <= MaxScryptCells && long.IsPow2(n) && r is > 0 and <= 1 << 10 && p is > 0 and <= 1 << 10
            && n * r <= MaxScryptCells && n * r * p <= MaxScryptWork && salt.Length is > 0 and <= 1024 && data.Length >= Overhead;
        if (!isSane)
        {
            throw new ResticDamageException("A key of the restic repository asks for what no key of restic needs.");
        }

        byte[] derived = new byte[64];
        ResticLibraries.Scrypt(password, salt, n, r, p, derived);
        using ResticKey user = new(derived);
        byte[] plain = new byte[data.Length - Overhead];
        try
        {
            return user.TryOpen(data, plain) ? new ResticKey(ReadMaster(plain)) : null;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }
    }

    /// <summary>
    /// Verifies what is sealed and decrypts it to <paramref name="plain"/>, which must be <see cref="Overhead"/> bytes shorter and may be
    /// the ciphertext's own place. False: it was not sealed with this key; then nothing was written.
    /// </summary>
    public bool TryOpen(ReadOnlySpan<byte> sealedBytes, Span<byte> plain)
    {
        if (sealedBytes.Length < Overhead)
        {
            return false;
        }

        ArgumentOutOfRangeException.ThrowIfNotEqual(plain.Length, sealedBytes.Length - Overhead);
        ReadOnlySpan<byte> nonce = sealedBytes[..NonceSize];
        ReadOnlySpan<byte> cipher = sealedBytes[NonceSize..^ResticLibraries.TagSize];
        Span<byte> once = stackalloc byte[32];
        Span<byte> tag = stackalloc byte[ResticLibraries.TagSize];
        _bytes.AsSpan(48, 16).CopyTo(once);

        // The nonce encrypted: what counter mode makes of zeros.
        once[16..].Clear();
        ResticLibraries.AesCounter(_bytes.AsSpan(32, 16), nonce, once[16..], once[16..]);
        ResticLibraries.Poly1305(_poly, once, cipher, tag);
        CryptographicOperations.ZeroMemory(once);
        if (!CryptographicOperations.FixedTimeEquals(tag, sealedBytes[^ResticLibraries.TagSize..]))
        {
            return false;
        }

        ResticLibraries.AesCounter(_bytes.AsSpan(0, 32), nonce, cipher, plain);
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        CryptographicOperations.ZeroMemory(_bytes);
        _poly.Dispose();
    }

    private static byte[] ReadMaster(byte[] plain)
    {
        (byte[] encrypt, byte[] k, byte[] r) = ResticJson.Read(plain, "The master key", static root =>
        {
            JsonElement mac = ResticJson.Object(root, "mac");
            return (ResticJson.Bytes(root, "encrypt"), ResticJson.Bytes(mac, "k"), ResticJson.Bytes(mac, "r"));
        });
        return encrypt.Length == 32 && k.Length == 16 && r.Length == 16
            ? [.. encrypt, .. k, .. r]
            : throw new ResticDamageException("The master key of the restic repository is malformed.");
    }
}
