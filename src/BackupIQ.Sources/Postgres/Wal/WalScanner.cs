using System.Buffers.Binary;

namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>Hears of each record in turn.</summary>
public delegate void WalRecordHandler(in WalRecord record);

/// <summary>What is wrong with a log, and where.</summary>
/// <param name="At">The place: of the record or page that is wrong.</param>
/// <param name="Problem">What, without a full stop.</param>
public sealed record WalFinding(Lsn At, string Problem)
{
    /// <inheritdoc/>
    public override string ToString() => $"{At}: {Problem}";
}

/// <summary>What the log ends with, as far as it was scanned.</summary>
public enum WalEnd
{
    /// <summary>Right behind a record.</summary>
    Record,

    /// <summary>Within a record, whose rest stands in the next segment.</summary>
    WithinRecord,

    /// <summary>Behind a switch: the rest of the segment is nothing.</summary>
    Switch,

    /// <summary>Before the segment's end: nothing was written there any more.</summary>
    Nothing,

    /// <summary>At something that is wrong.</summary>
    Finding,
}

/// <summary>
/// Reads PostgreSQL's log (13 to 18) page by page: headers of segments and pages, records over pages and segments, their checksums, and that each
/// names the one before it. Scanning goes on from segment to segment, so that the chain is proven over them. Whatever the bytes are, it ends with a
/// finding at worst, and holds <see cref="MostKept"/> bytes of a record at most. Not thread-safe.
/// </summary>
/// <remarks>The layout is that of <c>access/xlog_internal.h</c> and <c>access/xlogrecord.h</c> of PostgreSQL; what is checked is what its recovery checks.</remarks>
/// <param name="onRecord">Hears of each record; null: nobody does.</param>
public sealed class WalScanner(WalRecordHandler? onRecord)
{
    /// <summary>So much of a record that stands on several pages is kept: the lists of subtransactions of large commits fit.</summary>
    public const int MostKept = 1 << 20;

    // Recovery refuses what is longer (XLogRecordMaxSize).
    private const uint LongestRecord = 1020u << 20;

    private byte[] _kept = new byte[16 << 10];
    private WalSegmentHeader? _header;
    private uint _timeline;
    private uint _pageTimeline;
    private ulong _position;
    private ulong _segmentEnd;
    private bool _isSwitched;
    private bool _isAligned;

    // A record of which more pages are to come.
    private Lsn _start;
    private uint _length;
    private uint _have;
    private uint _crc;

    // The rest of a record whose beginning was not scanned.
    private uint _skip;

    /// <summary>What is wrong; from then on nothing more is read.</summary>
    public WalFinding? Finding { get; private set; }

    /// <summary>The first record that begins where scanning began or behind that, and what it names as the one before it; <see cref="Lsn.None"/>: none yet.</summary>
    public Lsn First { get; private set; }

    /// <summary>See <see cref="First"/>.</summary>
    public Lsn BeforeFirst { get; private set; }

    /// <summary>The last whole record; <see cref="Lsn.None"/>: none yet.</summary>
    public Lsn Last { get; private set; }

    /// <summary>Where the last whole record ends, aligned as the next one would be; behind a switch the segment's end.</summary>
    public Lsn End { get; private set; }

    /// <summary>Whole records so far.</summary>
    public long Records { get; private set; }

    /// <summary>The record that is not whole yet; <see cref="Lsn.None"/>: there is none.</summary>
    public Lsn Pending => _length > 0 ? _start : Lsn.None;

    /// <summary>What that one names as the record before it, where that much of it is there.</summary>
    public Lsn BeforePending => _length > 0 && _have >= WalRecord.HeaderSize ? new Lsn(BinaryPrimitives.ReadUInt64LittleEndian(_kept.AsSpan(8))) : Lsn.None;

    /// <summary>How many bytes of it are missing.</summary>
    public uint PendingBytes => _length - _have;

    /// <summary>How many bytes at the beginning belong to a record that began before.</summary>
    public uint Continued { get; private set; }

    /// <summary>Whether a record that began before was given up where scanning began.</summary>
    public bool GivesUp { get; private set; }

    /// <summary>How it ends, as far as it was scanned.</summary>
    public WalEnd EndKind => Finding is not null ? WalEnd.Finding
        : _isSwitched ? WalEnd.Switch
        : IsAtEnd ? WalEnd.Nothing
        : _length > 0 || _skip > 0 ? WalEnd.WithinRecord
        : WalEnd.Record;

    /// <summary>Whether nothing was written any more at some place before the segment's end.</summary>
    public bool IsAtEnd { get; private set; }

    /// <summary>
    /// Begins a segment, the first or the one right behind the last. <paramref name="header"/> is what its first page says, which the caller has compared
    /// with the segment's name.
    /// </summary>
    /// <returns>False, with a <see cref="Finding"/>, when it does not follow.</returns>
    public bool BeginSegment(WalSegmentHeader header, uint timeline)
    {
        if (Finding is not null)
        {
            return false;
        }

        Lsn start = header.Page.Address;
        if (start.Value % header.SegmentSize != 0)
        {
            return Fail(start, "a segment cannot begin here");
        }

        if (_header is { } before)
        {
            if (start.Value != _position)
            {
                return Fail(new Lsn(_position), $"the segment that begins here is missing; the next one begins at {start}");
            }

            if (before.SystemIdentifier != header.SystemIdentifier || before.SegmentSize != header.SegmentSize || before.PageSize != header.PageSize || before.Page.Magic != header.Page.Magic)
            {
                return Fail(start, "the segment that begins here is of another cluster or version");
            }

            if (IsAtEnd)
            {
                return Fail(End, "nothing is written from here to the end of the segment, and yet another one follows");
            }
        }

        _header = header;
        _timeline = timeline;
        _position = start.Value;
        _segmentEnd = start.Value + header.SegmentSize;
        _isSwitched = false;
        return true;
    }

    /// <summary>Scans pages; whole ones, of the segment begun and in its order.</summary>
    /// <returns>False: there is no need to bring more of this segment.</returns>
    public bool Scan(ReadOnlySpan<byte> pages)
    {
        // Also where no segment was begun, because it could not.
        if (Finding is not null)
        {
            return false;
        }

        int size = (int)_header!.PageSize;
        for (; pages.Length >= size && Finding is null && !IsAtEnd; pages = pages[size..])
        {
            if (!_isSwitched)
            {
                ScanPage(pages[..size]);
            }

            _position += (uint)size;
        }

        if (_isSwitched)
        {
            _position = _segmentEnd;
        }

        return Finding is null && !IsAtEnd && !_isSwitched;
    }

    private void ScanPage(ReadOnlySpan<byte> page)
    {
        Lsn here = new(_position);
        WalPageHeader header = WalPageHeader.Read(page);
        bool isFirst = _position == _header!.Page.Address.Value;
        if (header.Magic == 0 && !isFirst && !page.ContainsAnyExcept((byte)0))
        {
            // A segment that was not written to its end.
            if (_length > 0)
            {
                Fail(_start, "the record is broken off: nothing is written where it goes on");
                return;
            }

            Stop(here);
            return;
        }

        if (Wrong(header, isFirst) is { } problem)
        {
            Fail(here, problem);
            return;
        }

        _pageTimeline = header.Timeline;
        int offset = header.Length;
        if (!GoOn(page, header, ref offset))
        {
            return;
        }

        while (offset < page.Length)
        {
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(page[offset..]);
            Lsn start = here + offset;
            if (length == 0)
            {
                Stop(start);
                return;
            }

            if (length is < WalRecord.HeaderSize or > LongestRecord)
            {
                Fail(start, $"a record claims a length of {length} bytes");
                return;
            }

            int there = page.Length - offset;
            if (length > (uint)there)
            {
                Begin(start, length, page[offset..]);
                return;
            }

            ReadOnlySpan<byte> record = page.Slice(offset, (int)length);
            offset = Align(offset + (int)length);
            if (!Deliver(start, here + offset, record, WalChecksum.Append(WalChecksum.Start, record[WalRecord.HeaderSize..])) || _isSwitched)
            {
                return;
            }
        }
    }

    private string? Wrong(in WalPageHeader header, bool isFirst)
    {
        if (header.Magic != _header!.Page.Magic)
        {
            return $"a page with the magic {header.Magic:X4} stands where one with {_header.Page.Magic:X4} belongs";
        }

        if (!header.HasKnownFlags || ((header.Flags & WalPageHeader.IsLong) != 0) != isFirst)
        {
            return $"the flags of the page, {header.Flags:X4}, cannot be";
        }

        if (header.Address.Value != _position)
        {
            return $"the page says that it stands at {header.Address}";
        }

        return header.Timeline > _timeline || header.Timeline < _pageTimeline || header.Timeline == 0
            ? $"the page is of timeline {header.Timeline}, which does not fit"
            : null;
    }

    // What the page's beginning has of a record from before; false when that is all there is on it.
    private bool GoOn(ReadOnlySpan<byte> page, in WalPageHeader header, ref int offset)
    {
        bool continues = (header.Flags & WalPageHeader.Continues) != 0;
        bool isKnown = _isAligned;
        _isAligned = true;
        if ((header.Flags & WalPageHeader.GivesUp) != 0)
        {
            GivesUp |= !isKnown;
            _length = _have = _skip = 0;
            return true;
        }

        if (_length > 0)
        {
            if (!continues || header.Remaining != PendingBytes)
            {
                return Fail(_start, $"the record is broken off: {PendingBytes} bytes of it are missing at {header.Address}");
            }

            return Append(page, header.Address, ref offset);
        }

        if (!isKnown && continues)
        {
            Continued = _skip = header.Remaining;
        }
        else if (continues != _skip > 0 || (continues && header.Remaining != _skip))
        {
            return Fail(header.Address, continues ? "the page goes on with a record that no page before has begun" : "the page does not go on with the record of the page before");
        }

        int skipped = (int)Math.Min(_skip, (uint)(page.Length - offset));
        _skip -= (uint)skipped;
        offset = Align(offset + skipped);
        return _skip == 0;
    }

    private void Begin(Lsn start, uint length, ReadOnlySpan<byte> bytes)
    {
        _start = start;
        _length = length;
        _have = (uint)bytes.Length;
        Keep(0, bytes);
        _crc = WalChecksum.Start;
        if (bytes.Length >= WalRecord.HeaderSize && HasRightHeader(start, bytes))
        {
            _crc = WalChecksum.Append(_crc, bytes[WalRecord.HeaderSize..]);
        }
    }

    private bool Append(ReadOnlySpan<byte> page, Lsn address, ref int offset)
    {
        int count = (int)Math.Min(PendingBytes, (uint)(page.Length - offset));
        ReadOnlySpan<byte> bytes = page.Slice(offset, count);
        Keep((int)Math.Min(_have, MostKept), bytes);
        if (_have < WalRecord.HeaderSize)
        {
            // Part of the header stood on the page before; what is behind it counts first.
            int header = Math.Min(WalRecord.HeaderSize - (int)_have, count);
            if (_have + count >= WalRecord.HeaderSize && !HasRightHeader(_start, _kept))
            {
                return false;
            }

            _crc = WalChecksum.Append(_crc, bytes[header..]);
        }
        else
        {
            _crc = WalChecksum.Append(_crc, bytes);
        }

        _have += (uint)count;
        offset = Align(offset + count);
        if (_have < _length)
        {
            return false;
        }

        ReadOnlySpan<byte> record = _kept.AsSpan(0, (int)Math.Min(_length, MostKept));
        _length = _have = 0;
        return Deliver(_start, address + offset, record, _crc) && !_isSwitched;
    }

    private void Keep(int at, ReadOnlySpan<byte> bytes)
    {
        bytes = bytes[..Math.Min(bytes.Length, MostKept - at)];
        if (at + bytes.Length > _kept.Length)
        {
            Array.Resize(ref _kept, Math.Min(MostKept, Math.Max(2 * _kept.Length, at + bytes.Length)));
        }

        bytes.CopyTo(_kept.AsSpan(at));
    }

    private bool HasRightHeader(Lsn start, ReadOnlySpan<byte> header)
    {
        Lsn previous = new(BinaryPrimitives.ReadUInt64LittleEndian(header[8..]));
        if (Last != Lsn.None ? previous != Last : previous >= start)
        {
            return Fail(start, Last != Lsn.None
                ? $"the record names {previous} as the one before it, which is {Last}"
                : $"the record names {previous} as the one before it, which is behind it");
        }

        return true;
    }

    private bool Deliver(Lsn start, Lsn end, ReadOnlySpan<byte> bytes, uint crcOfData)
    {
        if (!HasRightHeader(start, bytes))
        {
            return false;
        }

        if (WalChecksum.Finish(WalChecksum.Append(crcOfData, bytes[..20])) != BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]))
        {
            return Fail(start, "the record's checksum is wrong");
        }

        WalRecord record = new(start, end, _header!.Page.Version, bytes);
        if (record.IsSwitch)
        {
            _isSwitched = true;
            end = new Lsn(_segmentEnd);
            record = new WalRecord(start, end, _header.Page.Version, bytes);
        }

        if (Records == 0)
        {
            First = start;
            BeforeFirst = record.Previous;
        }

        Last = start;
        End = end;
        Records++;
        onRecord?.Invoke(record);
        return true;
    }

    private void Stop(Lsn at)
    {
        IsAtEnd = true;
        End = Last == Lsn.None ? at : End;
    }

    private bool Fail(Lsn at, string problem)
    {
        Finding = new WalFinding(at, problem);
        return false;
    }

    private static int Align(int offset) => (offset + 7) & ~7;
}
