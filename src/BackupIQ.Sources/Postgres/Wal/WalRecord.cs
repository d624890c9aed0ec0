using System.Buffers.Binary;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>Who knows what a record means; of all of them these are looked into.</summary>
public static class ResourceManagers
{
    public const byte Log = 0;
    public const byte Transactions = 1;
}

/// <summary>One record, whole and with the right checksum. Good for the call that it is given to.</summary>
public readonly ref struct WalRecord
{
    /// <summary>Bytes of a record's header.</summary>
    public const int HeaderSize = 24;

    internal WalRecord(Lsn start, Lsn end, int version, ReadOnlySpan<byte> bytes)
    {
        Start = start;
        End = end;
        Version = version;
        Bytes = bytes;
        Length = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        Transaction = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
        Previous = new Lsn(BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]));
        Info = bytes[16];
        Manager = bytes[17];
    }

    /// <summary>Where it begins.</summary>
    public Lsn Start { get; }

    /// <summary>Where the next one can begin.</summary>
    public Lsn End { get; }

    /// <summary>Where the one before it begins.</summary>
    public Lsn Previous { get; }

    /// <summary>The transaction that wrote it, or 0.</summary>
    public uint Transaction { get; }

    /// <summary>Its length with its header.</summary>
    public uint Length { get; }

    /// <summary>What it is, to its resource manager.</summary>
    public byte Info { get; }

    /// <summary>Its resource manager.</summary>
    public byte Manager { get; }

    /// <summary>The major version of PostgreSQL that wrote it.</summary>
    public int Version { get; }

    /// <summary>Its bytes with its header: all, but of one larger than <see cref="WalScanner.MostKept"/>, of which they are the first.</summary>
    public ReadOnlySpan<byte> Bytes { get; }

    /// <summary>Whether the rest of the segment behind it is nothing.</summary>
    public bool IsSwitch => Manager == ResourceManagers.Log && (Info & 0xF0) == WalEvent.Switch;

    /// <summary>
    /// What stands in it beside changes of pages, as far as it is at hand. Empty for records that change pages: nothing is looked up in those.
    /// </summary>
    public ReadOnlySpan<byte> MainData
    {
        get
        {
            ReadOnlySpan<byte> rest = Bytes[HeaderSize..];
            while (rest.Length > 0)
            {
                switch (rest[0])
                {
                    case 255 when rest.Length >= 2:
                        return rest[2..][..Math.Min(rest[1], rest.Length - 2)];
                    case 254 when rest.Length >= 5:
                        return rest[5..][..(int)Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(rest[1..]), (uint)(rest.Length - 5))];
                    case 253 when rest.Length >= 3:
                        rest = rest[3..];
                        break;
                    case 252 when rest.Length >= 5:
                        rest = rest[5..];
                        break;
                    default:
                        return [];
                }
            }

            return [];
        }
    }
}
