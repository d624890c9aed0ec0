using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository.Keys.Services;

namespace BackupIQ.Keys.Remote;

/// <summary>
/// What a key service is given to wrap: format u8 = 1, seven zeros (AES key wrap wants multiples of eight), SHA-256 of the context, the secret. Services differ in whether and how they bind what
/// they wrap to a context, some older ones leave it out without a word; this holds with all of them.
/// </summary>
internal static class BoundSecret
{
    private const byte Format = 1;
    private const int HashAt = 8;
    private const int HeadSize = HashAt + SHA256.HashSizeInBytes;

    /// <summary>The context in bytes: lines <c>name=value</c>.</summary>
    public static byte[] BytesOf(KeyContext context) => Encoding.UTF8.GetBytes(string.Concat(context.Pairs.Select(static pair => $"{pair.Key}={pair.Value}\n")));

    /// <summary>Binds a secret. The caller wipes the bytes.</summary>
    public static byte[] Seal(ReadOnlySpan<byte> secret, KeyContext context)
    {
        byte[] bound = GC.AllocateArray<byte>(HeadSize + secret.Length, pinned: true);
        bound[0] = Format;
        SHA256.HashData(BytesOf(context), bound.AsSpan(HashAt));
        secret.CopyTo(bound.AsSpan(HeadSize));
        return bound;
    }

    /// <summary>The secret, or null where the bytes are none, or another context's.</summary>
    public static Secret? Open(ReadOnlySpan<byte> bound, KeyContext context)
    {
        Span<byte> expected = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(BytesOf(context), expected);
        return bound.Length > HeadSize && bound[0] == Format && !bound[1..HashAt].ContainsAnyExcept((byte)0) && CryptographicOperations.FixedTimeEquals(bound[HashAt..HeadSize], expected) ? new Secret(bound[HeadSize..]) : null;
    }
}
