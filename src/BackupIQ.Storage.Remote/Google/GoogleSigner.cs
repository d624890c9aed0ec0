using System.Security.Cryptography;

namespace BackupIQ.Storage.Remote.Google;

/// <summary>A service account that signs with its own key (RSA with SHA-256, PKCS #1 v1.5).</summary>
internal sealed class GoogleSigner(string account, RSAParameters key)
{
    /// <summary>Its address.</summary>
    public string Account { get; } = account;

    /// <summary>The signature of <paramref name="bytes"/>.</summary>
    public byte[] Sign(ReadOnlySpan<byte> bytes)
    {
        using RSA rsa = RSA.Create(key);
        return rsa.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
    }
}
