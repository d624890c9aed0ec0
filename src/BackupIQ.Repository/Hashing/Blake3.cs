using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static BackupIQ.Repository.Hashing.Blake3Constants;

namespace BackupIQ.Repository.Hashing;

/// <summary>
/// BLAKE3 in one call (https://github.com/BLAKE3-team/BLAKE3-specs): plain, keyed and key derivation. Every method writes as many bytes
/// as its last argument has room for; the usual 32 give 128 bits of security, fewer are a prefix of them, more extend them. Nothing is
/// allocated, all methods may be called from any thread, and the input is only read during the call.
/// </summary>
/// <remarks>For input that comes in pieces there is <see cref="Blake3Hasher"/>; for one piece this is as quick for large and quicker for small ones.</remarks>
public static unsafe class Blake3
{
    /// <summary>Length of a usual digest, in bytes.</summary>
    public const int DigestSize = Blake3Constants.DigestSize;

    /// <summary>Length of a key, in bytes.</summary>
    public const int KeySize = 32;

    /// <summary>Hashes <paramref name="data"/>.</summary>
    public static void Hash(ReadOnlySpan<byte> data, Span<byte> digest) => Hash(Blake3Paths.Best, data, digest);

    /// <summary>Hashes <paramref name="data"/> under a key of 32 bytes: a pseudo-random function and a message authentication code.</summary>
    /// <exception cref="ArgumentException">The key does not have 32 bytes.</exception>
    public static void HashKeyed(ReadOnlySpan<byte> key32, ReadOnlySpan<byte> data, Span<byte> digest) =>
        HashKeyed(Blake3Paths.Best, key32, data, digest);

    /// <summary>
    /// Derives a key from <paramref name="material"/>. The context, UTF-8 text, should be hard-coded, unique to the application and
    /// the purpose, and never come from outside.
    /// </summary>
    public static void DeriveKey(ReadOnlySpan<byte> context, ReadOnlySpan<byte> material, Span<byte> key) =>
        DeriveKey(Blake3Paths.Best, context, material, key);

    internal static void Hash(Blake3Path path, ReadOnlySpan<byte> data, Span<byte> digest)
    {
        fixed (uint* key = Iv)
        {
            Hash(path, key, 0, data, digest);
        }
    }

    [SkipLocalsInit]
    internal static void HashKeyed(Blake3Path path, ReadOnlySpan<byte> key32, ReadOnlySpan<byte> data, Span<byte> digest)
    {
        CheckKey(key32);
        uint* key = stackalloc uint[KeyWords];
        key32.CopyTo(new Span<byte>(key, KeySize));
        Hash(path, key, KeyedHash, data, digest);
    }

    [SkipLocalsInit]
    internal static void DeriveKey(Blake3Path path, ReadOnlySpan<byte> context, ReadOnlySpan<byte> material, Span<byte> key)
    {
        uint* contextKey = stackalloc uint[KeyWords];
        fixed (uint* iv = Iv)
        {
            Hash(path, iv, DeriveKeyContext, context, new Span<byte>(contextKey, KeySize));
        }

        Hash(path, contextKey, DeriveKeyMaterial, material, key);
    }

    internal static void CheckKey(ReadOnlySpan<byte> key32)
    {
        if (key32.Length != KeySize)
        {
            throw new ArgumentException("A BLAKE3 key has 32 bytes.", nameof(key32));
        }
    }

    private static void Hash(Blake3Path path, uint* key, uint flags, ReadOnlySpan<byte> data, Span<byte> digest)
    {
        fixed (byte* input = &MemoryMarshal.GetReference(data))
        fixed (byte* output = &MemoryMarshal.GetReference(digest))
        {
            Blake3Tree.Hash(path, input, (nuint)data.Length, key, flags, output, (nuint)digest.Length);
        }
    }
}
