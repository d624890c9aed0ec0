using System.Buffers.Binary;

namespace BackupIQ.Repository.Logs;

/// <summary>What a file of a series of logs is. The numbers are format.</summary>
public enum LogKind : byte
{
    /// <summary>What the series says of itself.</summary>
    Description = 1,

    /// <summary>A segment of PostgreSQL's log.</summary>
    PostgresSegment = 2,

    /// <summary>The last segment of a timeline of PostgreSQL that was left for another one.</summary>
    PostgresPartial = 3,

    /// <summary>From where a timeline of PostgreSQL comes.</summary>
    PostgresHistory = 4,

    /// <summary>Where a base backup of PostgreSQL began and ended.</summary>
    PostgresBackup = 5,

    /// <summary>A piece of a segment of PostgreSQL's log that is not written to its end.</summary>
    PostgresPiece = 6,

    /// <summary>A part of PostgreSQL's log that the server took away before it was stored.</summary>
    PostgresGap = 7,
}

/// <summary>What is known of a file of a series of logs without reading it; sealed apart from it.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Length">Its bytes.</param>
/// <param name="StoredAt">When it was stored, by the clock of who did it.</param>
/// <param name="Content">The id of its bytes: BLAKE3 keyed as for chunks of file content.</param>
/// <param name="Facts">What its kind says of it.</param>
public sealed record LogHead(LogKind Kind, long Length, DateTimeOffset StoredAt, ChunkId Content, byte[] Facts)
{
    /// <summary>Plain bytes of each piece but the last.</summary>
    public const int PieceLength = 1 << 20;

    /// <summary>The most bytes of facts.</summary>
    public const int MostFacts = 32 << 10;

    private const byte Version = 1;
    private const int FixedSize = 56;

    /// <summary>Bytes: version u8 = 1, kind u8, zero u16, plain bytes of a piece u32, length u64, stored at i64 (microseconds since 1970), content id 32, facts.</summary>
    internal byte[] Write()
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Facts.Length, MostFacts);
        var bytes = new byte[FixedSize + Facts.Length];
        bytes[0] = Version;
        bytes[1] = (byte)Kind;
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), PieceLength);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), Length);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), (StoredAt.UtcTicks - DateTimeOffset.UnixEpoch.Ticks) / 10);
        Content.Write(bytes.AsSpan(24));
        Facts.CopyTo(bytes.AsSpan(FixedSize));
        return bytes;
    }

    /// <exception cref="CorruptDataException">It is none, or of a later version.</exception>
    internal static LogHead Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length is < FixedSize or > FixedSize + MostFacts || bytes[0] != Version || BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]) != PieceLength)
        {
            throw new CorruptDataException("its head is none that this version knows");
        }

        long length = BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]);
        long microseconds = BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]);
        if (length < 0 || microseconds < 0 || microseconds > (DateTimeOffset.MaxValue.Ticks - DateTimeOffset.UnixEpoch.Ticks) / 10)
        {
            throw new CorruptDataException("its head names a length or a time that cannot be");
        }

        return new LogHead(
            (LogKind)bytes[1], length, DateTimeOffset.UnixEpoch.AddTicks(microseconds * 10), ChunkId.Read(bytes[24..]), bytes[FixedSize..].ToArray());
    }
}
