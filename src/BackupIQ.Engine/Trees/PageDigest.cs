using System.Buffers.Binary;
using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;

namespace BackupIQ.Engine.Trees;

/// <summary>
/// What proves the pages of a map block, in whatever order they come: of each page that is no hole the hash of its place and its own hash, all of
/// them put together by exclusive or. It holds the 24 bytes of each page's hash that the map does not, so a page that was taken for unchanged because
/// eight bytes agreed is found.
/// </summary>
internal readonly record struct PageDigest(UInt128 High, UInt128 Low)
{
    /// <summary>Length in bytes.</summary>
    public const int Size = 32;

    public static PageDigest operator ^(PageDigest a, PageDigest b) => new(a.High ^ b.High, a.Low ^ b.Low);

    /// <summary>What one page adds.</summary>
    /// <param name="key">The id key of file content.</param>
    /// <param name="place">The page's place in its block.</param>
    /// <param name="page">The id that the page alone would have as a chunk.</param>
    public static PageDigest Of(ReadOnlySpan<byte> key, int place, in ChunkId page)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong) + ChunkId.Size];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)place);
        page.Write(bytes[sizeof(ulong)..]);
        Span<byte> digest = stackalloc byte[Size];
        Blake3.HashKeyed(key, bytes, digest);
        return Read(digest);
    }

    /// <summary>What a run of pages adds, each page's id computed.</summary>
    /// <param name="key">The id key of file content.</param>
    /// <param name="place">The place of the first page in its block.</param>
    /// <param name="bytes">The pages; the last may be shorter.</param>
    /// <param name="pageSize">Bytes of a page.</param>
    public static PageDigest Of(ReadOnlySpan<byte> key, int place, ReadOnlySpan<byte> bytes, int pageSize)
    {
        PageDigest digest = default;
        for (int at = 0; at < bytes.Length; at += pageSize)
        {
            ReadOnlySpan<byte> page = bytes.Slice(at, Math.Min(pageSize, bytes.Length - at));
            digest ^= Of(key, place++, IdOf(key, page));
        }

        return digest;
    }

    /// <summary>The id that a page alone would have as a chunk; its first eight bytes are its sum.</summary>
    public static ChunkId IdOf(ReadOnlySpan<byte> key, ReadOnlySpan<byte> page)
    {
        Span<byte> digest = stackalloc byte[ChunkId.Size];
        Blake3.HashKeyed(key, page, digest);
        return ChunkId.Read(digest);
    }

    /// <summary>The sum of a page, by which it is compared.</summary>
    public static ulong SumOf(in ChunkId page) => (ulong)(page.High >> 64);

    public static PageDigest Read(ReadOnlySpan<byte> bytes) =>
        new(BinaryPrimitives.ReadUInt128BigEndian(bytes), BinaryPrimitives.ReadUInt128BigEndian(bytes[16..]));

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt128BigEndian(bytes, High);
        BinaryPrimitives.WriteUInt128BigEndian(bytes[16..], Low);
    }
}
