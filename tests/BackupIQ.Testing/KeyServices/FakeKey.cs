using System.Security.Cryptography;

namespace BackupIQ.Testing.KeyServices;

/// <summary>A key of a fake: AES-256-GCM, with versions.</summary>
public sealed class FakeKey
{
    private const int NonceSize = 12;
    private const int TagSize = 16;

    private readonly List<byte[]> _versions = [RandomNumberGenerator.GetBytes(32)];

    /// <summary>Whether it may be used.</summary>
    public bool IsEnabled { get; set; } = true;

    /// <summary>The oldest version that still decrypts.</summary>
    public int Oldest { get; set; } = 1;

    /// <summary>The newest version, from 1.</summary>
    public int Newest => _versions.Count;

    /// <summary>Adds a version.</summary>
    public void Rotate() => _versions.Add(RandomNumberGenerator.GetBytes(32));

    /// <summary>Encrypts under the newest version.</summary>
    public byte[] Encrypt(byte[] plain, byte[] associated)
    {
        byte[] output = new byte[NonceSize + plain.Length + TagSize];
        RandomNumberGenerator.Fill(output.AsSpan(0, NonceSize));
        using AesGcm gcm = new(_versions[^1], TagSize);
        gcm.Encrypt(output.AsSpan(0, NonceSize), plain, output.AsSpan(NonceSize, plain.Length), output.AsSpan(NonceSize + plain.Length), associated);
        return output;
    }

    /// <summary>Decrypts; null where that fails.</summary>
    public byte[]? Decrypt(int version, byte[] bytes, byte[] associated)
    {
        if (version < 1 || version > _versions.Count || bytes.Length < NonceSize + TagSize)
        {
            return null;
        }

        byte[] plain = new byte[bytes.Length - NonceSize - TagSize];
        using AesGcm gcm = new(_versions[version - 1], TagSize);
        try
        {
            gcm.Decrypt(bytes.AsSpan(0, NonceSize), bytes.AsSpan(NonceSize, plain.Length), bytes.AsSpan(NonceSize + plain.Length), plain, associated);
            return plain;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
