using System.Buffers.Binary;
using System.Security.Cryptography;

namespace BackupIQ.Repository.Crypto;

/// <summary>
/// AES-256-GCM under one derived key, with counters as nonces: four zero bytes, then the counter as u64 big-endian. Whoever seals must
/// never use a counter twice; a key serves one writer of one pack or object, so a running number is enough.
/// Not thread-safe: one per user. No allocation per call.
/// </summary>
internal sealed class FrameCipher : IDisposable
{
    /// <summary>Bytes that sealing adds.</summary>
    public const int TagSize = 16;

    private const int NonceSize = 12;
    private readonly AesGcm _gcm;

    /// <summary>Takes a copy of the 32-byte key.</summary>
    internal FrameCipher(ReadOnlySpan<byte> key)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, 32);
        _gcm = new AesGcm(key, TagSize);
    }

    /// <summary>
    /// Seals <paramref name="plain"/> into <paramref name="destination"/>, of exactly <c>plain.Length + TagSize</c> bytes: ciphertext, then
    /// tag. The two may be the same memory from the same start, but not overlap otherwise.
    /// </summary>
    public void Seal(ulong counter, ReadOnlySpan<byte> plain, ReadOnlySpan<byte> associatedData, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(destination.Length, plain.Length + TagSize);
        Span<byte> nonce = stackalloc byte[NonceSize];
        WriteNonce(counter, nonce);
        _gcm.Encrypt(nonce, plain, destination[..plain.Length], destination[plain.Length..], associatedData);
    }

    /// <summary>
    /// Opens what <see cref="Seal"/> made into <paramref name="plain"/>, of exactly <c>sealedBytes.Length - TagSize</c> bytes. False when key,
    /// counter, associated data or bytes are not those of the sealing; then <paramref name="plain"/> holds zeros.
    /// </summary>
    public bool TryOpen(ulong counter, ReadOnlySpan<byte> sealedBytes, ReadOnlySpan<byte> associatedData, Span<byte> plain)
    {
        if (sealedBytes.Length < TagSize)
        {
            return false;
        }

        ArgumentOutOfRangeException.ThrowIfNotEqual(plain.Length, sealedBytes.Length - TagSize);
        Span<byte> nonce = stackalloc byte[NonceSize];
        WriteNonce(counter, nonce);
        try
        {
            _gcm.Decrypt(nonce, sealedBytes[..plain.Length], sealedBytes[plain.Length..], plain, associatedData);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            CryptographicOperations.ZeroMemory(plain);
            return false;
        }
    }

    /// <summary>
    /// The tag that a ciphertext would have, whatever it opens to: for finding out how a damaged one differs from what was sealed. Nothing of it
    /// is ever stored, so no counter is used anew.
    /// </summary>
    public void ComputeTag(ulong counter, ReadOnlySpan<byte> ciphertext, ReadOnlySpan<byte> associatedData, Span<byte> tag)
    {
        Span<byte> nonce = stackalloc byte[NonceSize];
        WriteNonce(counter, nonce);
        byte[] plain = new byte[ciphertext.Length];
        byte[] output = new byte[ciphertext.Length];
        _gcm.Encrypt(nonce, plain, output, tag, associatedData);
        for (int i = 0; i < plain.Length; i++)
        {
            plain[i] = (byte)(output[i] ^ ciphertext[i]);
        }

        _gcm.Encrypt(nonce, plain, output, tag, associatedData);
        CryptographicOperations.ZeroMemory(plain);
        CryptographicOperations.ZeroMemory(output);
    }

    /// <inheritdoc/>
    public void Dispose() => _gcm.Dispose();

    private static void WriteNonce(ulong counter, Span<byte> nonce)
    {
        nonce[..4].Clear();
        BinaryPrimitives.WriteUInt64BigEndian(nonce[4..], counter);
    }
}
