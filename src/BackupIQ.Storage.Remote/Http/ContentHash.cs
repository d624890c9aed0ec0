using System.Security.Cryptography;

namespace BackupIQ.Storage.Remote.Http;

/// <summary>The MD5 by which storages check a transfer (Content-MD5, ETag). Not for security: what is stored is sealed, and packs are named by their BLAKE3.</summary>
internal static class ContentHash
{
    private const int BufferSize = 256 * 1024;

    /// <summary>Of a part of a content, which is read once for it.</summary>
    /// <exception cref="StorageException">The file cannot be read.</exception>
    public static byte[] Md5(StorageContent content, long offset, long length)
    {
        if (content.File is null)
        {
            return Md5(content.Bytes.Span.Slice((int)offset, (int)length));
        }

        using Stream part = content.OpenRead(offset, length);
#pragma warning disable CA5351 // See above.
        using IncrementalHash md5 = IncrementalHash.CreateHash(HashAlgorithmName.MD5);
#pragma warning restore CA5351
        byte[] buffer = GC.AllocateUninitializedArray<byte>((int)Math.Min(BufferSize, Math.Max(length, 1)));
        while (part.Read(buffer) is > 0 and int read)
        {
            md5.AppendData(buffer, 0, read);
        }

        return md5.GetHashAndReset();
    }

    /// <summary>Of bytes in memory.</summary>
    public static byte[] Md5(ReadOnlySpan<byte> bytes)
    {
#pragma warning disable CA5351 // See above.
        return MD5.HashData(bytes);
#pragma warning restore CA5351
    }
}
