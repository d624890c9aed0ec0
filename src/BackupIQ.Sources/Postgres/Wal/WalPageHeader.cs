using System.Buffers.Binary;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>What a page of the log says of itself.</summary>
/// <param name="Magic">Which version of the server wrote it.</param>
/// <param name="Flags">See the constants.</param>
/// <param name="Timeline">Its timeline; in the first segment of a new one pages of the old one come first.</param>
/// <param name="Address">Where in the log it stands.</param>
/// <param name="Remaining">How many bytes of a record from the page before follow on its header, and on the pages after it.</param>
public readonly record struct WalPageHeader(ushort Magic, ushort Flags, uint Timeline, Lsn Address, uint Remaining)
{
    /// <summary>A record from the page before goes on here.</summary>
    public const ushort Continues = 1;

    /// <summary>The first page of a segment, with a long header.</summary>
    public const ushort IsLong = 2;

    /// <summary>The record that the page before ended with is given up: the server crashed before it was whole.</summary>
    public const ushort GivesUp = 8;

    /// <summary>Bytes of a page's header; a segment's first page has <see cref="LongSize"/>.</summary>
    public const int Size = 24;

    /// <summary>Bytes of the header of a segment's first page.</summary>
    public const int LongSize = 40;

    private const ushort KnownFlags = 15;

    /// <summary>The bytes that it takes.</summary>
    public int Length => (Flags & IsLong) != 0 ? LongSize : Size;

    /// <summary>The major version of PostgreSQL that writes pages with such a magic; 0: none that is known.</summary>
    public int Version => VersionOf(Magic);

    /// <summary>Whether its flags are known ones.</summary>
    public bool HasKnownFlags => (Flags & ~KnownFlags) == 0;

    /// <summary>Reads at least <see cref="Size"/> bytes.</summary>
    public static WalPageHeader Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadUInt16LittleEndian(bytes),
        BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
        new Lsn(BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..])),
        BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]));

    /// <summary>The major version of PostgreSQL for a page's magic; 0: none that is known.</summary>
    public static int VersionOf(ushort magic) => magic switch
    {
        0xD106 => 13,
        0xD10D => 14,
        0xD110 => 15,
        0xD113 => 16,
        0xD116 => 17,
        0xD118 => 18,
        _ => 0,
    };
}

/// <summary>What a segment says of itself on its first page.</summary>
/// <param name="Page">The header that every page has.</param>
/// <param name="SystemIdentifier">The cluster that wrote it.</param>
/// <param name="SegmentSize">Bytes of a segment.</param>
/// <param name="PageSize">Bytes of a page.</param>
public sealed record WalSegmentHeader(WalPageHeader Page, ulong SystemIdentifier, uint SegmentSize, uint PageSize)
{
    /// <summary>The smallest and the largest size of a segment that a cluster can have.</summary>
    public const uint SmallestSegment = 1 << 20;
    public const uint LargestSegment = 1 << 30;

    /// <summary>
    /// Reads the first <see cref="WalPageHeader.LongSize"/> bytes of a segment; null with a problem when they do not begin one that this version reads.
    /// </summary>
    public static WalSegmentHeader? Read(ReadOnlySpan<byte> bytes, out string problem)
    {
        if (bytes.Length < WalPageHeader.LongSize)
        {
            problem = $"it has {bytes.Length} bytes, too few for a segment";
            return null;
        }

        WalPageHeader page = WalPageHeader.Read(bytes);
        WalSegmentHeader header = new(
            page,
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[32..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[36..]));
        problem = page.Version == 0 ? $"its first page has the magic {page.Magic:X4}, which no PostgreSQL from 13 to 18 writes"
            : (page.Flags & WalPageHeader.IsLong) == 0 || !page.HasKnownFlags ? "it does not begin with a segment's first page"
            : header.SegmentSize is < SmallestSegment or > LargestSegment || !IsPowerOfTwo(header.SegmentSize) ? $"it claims segments of {header.SegmentSize} bytes"
            : header.PageSize is < 1024 or > 65536 || !IsPowerOfTwo(header.PageSize) ? $"it claims pages of {header.PageSize} bytes"
            : "";
        return problem.Length == 0 ? header : null;
    }

    private static bool IsPowerOfTwo(uint value) => (value & (value - 1)) == 0;
}
