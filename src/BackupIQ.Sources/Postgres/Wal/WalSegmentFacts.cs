using System.Buffers.Binary;
using System.Text;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>A restore point: a place that got a name.</summary>
public sealed record WalRestorePoint(Lsn At, long Microseconds, string Name)
{
    /// <summary>When it was made; null: no calendar has that moment.</summary>
    public DateTimeOffset? Time => PostgresTime.Read(Microseconds);
}

/// <summary>
/// What an archive knows of a segment without reading it: enough to tell whether the next one goes on where it ends, and which moments it holds.
/// </summary>
public sealed record WalSegmentFacts
{
    /// <summary>The most restore points that are told of one segment; a segment may hold more.</summary>
    public const int MostRestorePoints = 256;

    private const byte FormatVersion = 1;
    private const int FixedSize = 128;

    /// <summary>The major version of PostgreSQL.</summary>
    public required int Version { get; init; }

    /// <summary>The cluster.</summary>
    public required ulong SystemIdentifier { get; init; }

    /// <summary>Bytes of a segment.</summary>
    public required uint SegmentSize { get; init; }

    /// <summary>Where the segment begins.</summary>
    public required Lsn Start { get; init; }

    /// <summary>How it ends.</summary>
    public required WalEnd End { get; init; }

    /// <summary>A record from before is given up at its beginning.</summary>
    public bool GivesUp { get; init; }

    /// <summary>Bytes at its beginning of a record from before.</summary>
    public uint Continued { get; init; }

    /// <summary>The first record that begins in it, or <see cref="Lsn.None"/>; and what that names as the one before it.</summary>
    public Lsn First { get; init; }

    /// <summary>See <see cref="First"/>.</summary>
    public Lsn BeforeFirst { get; init; }

    /// <summary>The last record that begins in it and is whole in it, or <see cref="Lsn.None"/>.</summary>
    public Lsn Last { get; init; }

    /// <summary>Where that one ends.</summary>
    public Lsn LastEnd { get; init; }

    /// <summary>A record whose rest stands in the next segment, or <see cref="Lsn.None"/>; and how much.</summary>
    public Lsn Pending { get; init; }

    /// <summary>See <see cref="Pending"/>.</summary>
    public uint PendingBytes { get; init; }

    /// <summary>What was wrong when it was stored: where; <see cref="Lsn.None"/>: nothing.</summary>
    public Lsn DamagedAt { get; init; }

    /// <summary>Whole records that begin in it.</summary>
    public uint Records { get; init; }

    /// <summary>Commits and aborts among them.</summary>
    public uint Transactions { get; init; }

    /// <summary>The earliest and the latest moment of its commits and aborts, in microseconds since 2000; only where there are any.</summary>
    public long FirstTime { get; init; }

    /// <summary>See <see cref="FirstTime"/>.</summary>
    public long LastTime { get; init; }

    /// <summary>
    /// When it was written to its end, in microseconds since 2000: what was committed before that stands in it or before it. 0: that is not known.
    /// </summary>
    public long ClosedAt { get; init; }

    /// <summary>Its restore points, as far as they are told.</summary>
    public IReadOnlyList<WalRestorePoint> RestorePoints { get; init; } = [];

    /// <summary>
    /// Bytes: version u8 = 1, end u8, flags u8 (1 gives up), major version u8, segment size u32, system identifier u64, start u64, first u64, before the
    /// first u64, last u64, end of the last u64, pending u64, damaged at u64, continued u32, pending bytes u32, records u32, transactions u32, first time
    /// i64, last time i64, written to its end i64, 12 zero bytes, restore points u32; then for each its place u64, time i64, length of its name u16, and the name. Little-endian.
    /// </summary>
    public byte[] Write()
    {
        byte[][] names = [.. RestorePoints.Select(static point => Encoding.UTF8.GetBytes(point.Name))];
        var bytes = new byte[FixedSize + names.Sum(static name => 18 + name.Length)];
        bytes[0] = FormatVersion;
        bytes[1] = (byte)End;
        bytes[2] = (byte)(GivesUp ? 1 : 0);
        bytes[3] = (byte)Version;
        Span<byte> to = bytes.AsSpan(4);
        Put(ref to, SegmentSize);
        foreach (ulong value in (ReadOnlySpan<ulong>)
            [SystemIdentifier, Start.Value, First.Value, BeforeFirst.Value, Last.Value, LastEnd.Value, Pending.Value, DamagedAt.Value])
        {
            Put(ref to, value);
        }

        foreach (uint value in (ReadOnlySpan<uint>)[Continued, PendingBytes, Records, Transactions])
        {
            Put(ref to, value);
        }

        Put(ref to, (ulong)FirstTime);
        Put(ref to, (ulong)LastTime);
        Put(ref to, (ulong)ClosedAt);
        to = to[12..];
        Put(ref to, (uint)names.Length);
        for (int i = 0; i < names.Length; i++)
        {
            Put(ref to, RestorePoints[i].At.Value);
            Put(ref to, (ulong)RestorePoints[i].Microseconds);
            BinaryPrimitives.WriteUInt16LittleEndian(to, (ushort)names[i].Length);
            names[i].CopyTo(to[2..]);
            to = to[(2 + names[i].Length)..];
        }

        return bytes;
    }

    /// <summary>Reads what <see cref="Write"/> made; null when it is nothing that this version knows. What a later version adds behind it is left alone.</summary>
    public static WalSegmentFacts? Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < FixedSize || bytes[0] != FormatVersion || bytes[1] > (byte)WalEnd.Finding)
        {
            return null;
        }

        ReadOnlySpan<byte> from = bytes[4..];
        uint segmentSize = U32(ref from);
        ulong system = U64(ref from);
        WalSegmentFacts facts = new()
        {
            Version = bytes[3],
            End = (WalEnd)bytes[1],
            GivesUp = (bytes[2] & 1) != 0,
            SegmentSize = segmentSize,
            SystemIdentifier = system,
            Start = new Lsn(U64(ref from)),
            First = new Lsn(U64(ref from)),
            BeforeFirst = new Lsn(U64(ref from)),
            Last = new Lsn(U64(ref from)),
            LastEnd = new Lsn(U64(ref from)),
            Pending = new Lsn(U64(ref from)),
            DamagedAt = new Lsn(U64(ref from)),
            Continued = U32(ref from),
            PendingBytes = U32(ref from),
            Records = U32(ref from),
            Transactions = U32(ref from),
            FirstTime = (long)U64(ref from),
            LastTime = (long)U64(ref from),
            ClosedAt = (long)U64(ref from),
        };
        from = from[12..];
        uint count = U32(ref from);
        if (count > MostRestorePoints)
        {
            return null;
        }

        var points = new WalRestorePoint[count];
        for (int i = 0; i < points.Length; i++)
        {
            if (from.Length < 18 || from.Length < 18 + BinaryPrimitives.ReadUInt16LittleEndian(from[16..]))
            {
                return null;
            }

            Lsn at = new(U64(ref from));
            long time = (long)U64(ref from);
            int length = BinaryPrimitives.ReadUInt16LittleEndian(from);
            points[i] = new WalRestorePoint(at, time, Encoding.UTF8.GetString(from.Slice(2, length)));
            from = from[(2 + length)..];
        }

        return facts with { RestorePoints = points };
    }

    private static void Put(ref Span<byte> to, uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(to, value);
        to = to[4..];
    }

    private static void Put(ref Span<byte> to, ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(to, value);
        to = to[8..];
    }

    private static uint U32(ref ReadOnlySpan<byte> from)
    {
        uint value = BinaryPrimitives.ReadUInt32LittleEndian(from);
        from = from[4..];
        return value;
    }

    private static ulong U64(ref ReadOnlySpan<byte> from)
    {
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(from);
        from = from[8..];
        return value;
    }
}
