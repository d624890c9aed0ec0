using System.Security.Cryptography;

namespace BackupIQ.Primitives;

/// <summary>Bytes that must not be shown: prints as <c>***</c> and is wiped when disposed. Owns its copy of the bytes.</summary>
public sealed class Secret : IDisposable
{
    private readonly byte[] _bytes;

    /// <summary>Copies <paramref name="bytes"/>; the caller may wipe its own.</summary>
    public Secret(ReadOnlySpan<byte> bytes) => _bytes = bytes.ToArray();

    /// <summary>The bytes; valid until <see cref="Dispose"/>.</summary>
    public ReadOnlySpan<byte> Bytes => _bytes;

    /// <summary>A secret of <paramref name="length"/> random bytes.</summary>
    public static Secret Random(int length)
    {
        byte[] bytes = RandomNumberGenerator.GetBytes(length);
        Secret secret = new(bytes);
        CryptographicOperations.ZeroMemory(bytes);
        return secret;
    }

    /// <inheritdoc/>
    public override string ToString() => "***";

    /// <inheritdoc/>
    public void Dispose() => CryptographicOperations.ZeroMemory(_bytes);
}
