using System.Buffers.Binary;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>Writes a log as PostgreSQL does: pages, segments, records with checksums that name the one before them.</summary>
internal sealed class WalBuilder
{
    public const ulong System = 7_700_000_000_000_000_001;

    private readonly List<byte> _bytes = [];
    private readonly int _segmentSize;
    private readonly ushort _magic;
    private readonly ulong _origin;
    private readonly int _pageSize;
    private ulong _previous;

    public WalBuilder(int version = 15, int segmentSize = 1 << 20, ulong firstSegment = 3, ulong previous = 0, uint timeline = 1, int pageSize = 8192)
    {
        _magic = MagicOf(version);
        _segmentSize = segmentSize;
        _pageSize = pageSize;
        _origin = firstSegment * (ulong)segmentSize;
        _previous = previous;
        Timeline = timeline;
    }

    public uint Timeline { get; set; }

    /// <summary>Where the records begin that were appended.</summary>
    public List<ulong> Starts { get; } = [];

    public ulong Position => _origin + (ulong)_bytes.Count;

    public static ushort MagicOf(int version) => version switch
    {
        13 => 0xD106,
        14 => 0xD10D,
        15 => 0xD110,
        16 => 0xD113,
        17 => 0xD116,
        _ => 0xD118,
    };

    /// <summary>Appends a record with such main data, and returns where it begins.</summary>
    public ulong Append(byte manager, byte info, ReadOnlySpan<byte> data, uint transaction = 0)
    {
        int head = data.Length == 0 ? 0 : data.Length < 256 ? 2 : 5;
        var body = new byte[head + data.Length];
        if (head == 2)
        {
            body[0] = 255;
            body[1] = (byte)data.Length;
        }
        else if (head == 5)
        {
            body[0] = 254;
            BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(1), data.Length);
        }

        data.CopyTo(body.AsSpan(head));
        return AppendWhole(manager, info, body, transaction);
    }

    /// <summary>Appends a record of which this is all that stands behind its header.</summary>
    public ulong AppendWhole(byte manager, byte info, ReadOnlySpan<byte> body, uint transaction = 0)
    {
        var record = new byte[24 + body.Length];
        BinaryPrimitives.WriteInt32LittleEndian(record, record.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(4), transaction);
        BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(8), _previous);
        record[16] = info;
        record[17] = manager;
        body.CopyTo(record.AsSpan(24));
        uint crc = WalChecksum.Append(WalChecksum.Start, record.AsSpan(24));
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(20), WalChecksum.Finish(WalChecksum.Append(crc, record.AsSpan(0, 20))));
        return Append(record);
    }

    /// <summary>A commit at so many microseconds.</summary>
    public ulong Commit(uint transaction, long at)
    {
        var data = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(data, at);
        return Append(ResourceManagers.Transactions, 0, data, transaction);
    }

    /// <summary>A restore point.</summary>
    public ulong RestorePoint(string name, long at)
    {
        var data = new byte[72];
        BinaryPrimitives.WriteInt64LittleEndian(data, at);
        global::System.Text.Encoding.UTF8.GetBytes(name, data.AsSpan(8));
        return Append(ResourceManagers.Log, 0x70, data);
    }

    /// <summary>A switch: the rest of the segment is nothing.</summary>
    public void Switch()
    {
        Append(ResourceManagers.Log, 0x40, []);
        Fill();
    }

    /// <summary>Breaks the record off that was appended last, which must reach into the next page: what follows gives it up.</summary>
    public void GiveUp()
    {
        ulong broken = _previous;
        ulong before = BinaryPrimitives.ReadUInt64LittleEndian(global::System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes)[(int)(broken - _origin + 8)..]);
        int page = ((int)(broken - _origin) / _pageSize) + 1;
        _bytes.RemoveRange(page * _pageSize, _bytes.Count - (page * _pageSize));
        Starts.RemoveAt(Starts.Count - 1);
        _previous = before;
        Header(flags: 8, remaining: 0);
        var data = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(data, broken);
        Append(ResourceManagers.Log, 0xD0, data);
    }

    /// <summary>The segments, the last one filled with zeros.</summary>
    public byte[][] Segments()
    {
        byte[] all = [.. _bytes];
        int count = (all.Length + _segmentSize - 1) / _segmentSize;
        Array.Resize(ref all, count * _segmentSize);
        return [.. Enumerable.Range(0, count).Select(i => all[(i * _segmentSize)..((i + 1) * _segmentSize)])];
    }

    private ulong Append(byte[] record)
    {
        if (_bytes.Count % _pageSize == 0)
        {
            Header(0, 0);
        }

        ulong start = Position;
        Starts.Add(start);
        for (int written = 0; written < record.Length;)
        {
            if (_bytes.Count % _pageSize == 0)
            {
                Header(1, (uint)(record.Length - written));
            }

            int count = Math.Min(record.Length - written, _pageSize - (_bytes.Count % _pageSize));
            _bytes.AddRange(record.AsSpan(written, count));
            written += count;
        }

        while (_bytes.Count % 8 != 0)
        {
            _bytes.Add(0);
        }

        _previous = start;
        return start;
    }

    private void Header(ushort flags, uint remaining)
    {
        bool isLong = _bytes.Count % _segmentSize == 0;
        var header = new byte[isLong ? 40 : 24];
        BinaryPrimitives.WriteUInt16LittleEndian(header, _magic);
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(2), (ushort)(flags | (isLong ? 2 : 0)));
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(4), Timeline);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(8), Position);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(16), remaining);
        if (isLong)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(24), System);
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(32), _segmentSize);
            BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(36), _pageSize);
        }

        _bytes.AddRange(header);
    }

    private void Fill()
    {
        while (_bytes.Count % _segmentSize != 0)
        {
            _bytes.Add(0);
        }
    }
}
