using System.Buffers.Binary;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>A page of a relation.</summary>
/// <param name="Tablespace">The tablespace's oid.</param>
/// <param name="Database">The database's oid; 0: it is shared.</param>
/// <param name="Relation">The number of the relation's files.</param>
/// <param name="Fork">0 main, 1 free space, 2 visibility, 3 init.</param>
/// <param name="Block">The page's number in the fork.</param>
internal readonly record struct RelationPage(uint Tablespace, uint Database, uint Relation, int Fork, uint Block);

/// <summary>Which pages a record writes anew, whatever stood there: recovery mends a torn page by them. The layout: access/xlogrecord.h of PostgreSQL.</summary>
internal static class WalPageImages
{
    private const byte LongestId = 32;
    private const byte MainDataShort = 255;
    private const byte MainDataLong = 254;
    private const byte Origin = 253;
    private const byte TopTransaction = 252;
    private const byte HasImage = 0x10;
    private const byte IsMadeAnew = 0x40;
    private const byte IsSameRelation = 0x80;
    private const byte HasHole = 0x01;
    private const int ForkMask = 0x0F;

    /// <summary>Tells of each page that recovery puts in place whole. What the record says is not trusted: it ends where it makes no sense.</summary>
    public static void Read(in WalRecord record, Action<RelationPage> onPage)
    {
        ReadOnlySpan<byte> rest = record.Bytes[WalRecord.HeaderSize..];
        long left = record.Length - WalRecord.HeaderSize;
        long data = 0;
        (uint Tablespace, uint Database, uint Relation) at = default;

        // Heads stand one after the other; they end where as many bytes are left as they announce.
        while (left > data && rest.Length > 0)
        {
            int before = rest.Length;
            switch (rest[0])
            {
                case MainDataShort or MainDataLong:
                    return;
                case Origin when rest.Length >= 3:
                    rest = rest[3..];
                    break;
                case TopTransaction when rest.Length >= 5:
                    rest = rest[5..];
                    break;
                case <= LongestId when TryReadHead(ref rest, record.Version, ref at, out RelationPage page, out bool isWhole, out int announced):
                    data += announced;
                    if (isWhole)
                    {
                        onPage(page);
                    }

                    break;
                default:
                    return;
            }

            left -= before - rest.Length;
        }
    }

    private static bool TryReadHead(
        ref ReadOnlySpan<byte> rest, int version, ref (uint Tablespace, uint Database, uint Relation) at, out RelationPage page, out bool isWhole, out int announced)
    {
        page = default;
        isWhole = false;
        announced = 0;
        if (rest.Length < 4)
        {
            return false;
        }

        byte flags = rest[1];
        announced = BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]);
        rest = rest[4..];
        isWhole = (flags & IsMadeAnew) != 0;
        if ((flags & HasImage) != 0)
        {
            if (rest.Length < 5)
            {
                return false;
            }

            announced += BinaryPrimitives.ReadUInt16LittleEndian(rest);
            byte image = rest[4];
            rest = rest[5..];
            (int compressed, int applied) = version >= 15 ? (0x1C, 0x02) : (0x02, 0x04);
            isWhole |= (image & applied) != 0;
            if ((image & HasHole) != 0 && (image & compressed) != 0)
            {
                if (rest.Length < 2)
                {
                    return false;
                }

                rest = rest[2..];
            }
        }

        if ((flags & IsSameRelation) == 0)
        {
            if (rest.Length < 12)
            {
                return false;
            }

            at = (BinaryPrimitives.ReadUInt32LittleEndian(rest), BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]), BinaryPrimitives.ReadUInt32LittleEndian(rest[8..]));
            rest = rest[12..];
        }

        if (rest.Length < 4)
        {
            return false;
        }

        page = new RelationPage(at.Tablespace, at.Database, at.Relation, flags & ForkMask, BinaryPrimitives.ReadUInt32LittleEndian(rest));
        rest = rest[4..];
        return true;
    }
}
