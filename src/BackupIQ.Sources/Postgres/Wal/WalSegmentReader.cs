namespace BackupIQ.Sources.Postgres.Wal;

/// <summary>Reads one segment by itself and gathers its facts. Give it the segment's bytes in order, in pieces of whole pages.</summary>
public sealed class WalSegmentReader
{
    private readonly WalSegmentHeader _header;
    private readonly WalScanner _scanner;
    private readonly List<WalRestorePoint> _points = [];
    private uint _transactions;
    private long _firstTime = long.MaxValue;
    private long _lastTime = long.MinValue;

    /// <summary>For the segment whose first page has <paramref name="header"/>, and that stands on such a timeline by its name.</summary>
    public WalSegmentReader(WalSegmentHeader header, uint timeline)
    {
        _header = header;
        _scanner = new WalScanner(Note);
        _scanner.BeginSegment(header, timeline);
    }

    /// <summary>What is wrong with it; null: nothing so far.</summary>
    public WalFinding? Finding => _scanner.Finding;

    /// <summary>Scans more of it. What comes behind its end, or behind something that is wrong, is not looked at.</summary>
    public void Scan(ReadOnlySpan<byte> pages) => _scanner.Scan(pages);

    /// <summary>What was found.</summary>
    public WalSegmentFacts Facts => new()
    {
        Version = _header.Page.Version,
        SystemIdentifier = _header.SystemIdentifier,
        SegmentSize = _header.SegmentSize,
        Start = _header.Page.Address,
        End = _scanner.EndKind,
        GivesUp = _scanner.GivesUp,
        Continued = _scanner.Continued,
        First = _scanner.Records > 0 ? _scanner.First : _scanner.Pending,
        BeforeFirst = _scanner.Records > 0 ? _scanner.BeforeFirst : _scanner.BeforePending,
        Last = _scanner.Last,
        LastEnd = _scanner.End,
        Pending = _scanner.Pending,
        PendingBytes = _scanner.Pending == Lsn.None ? 0 : _scanner.PendingBytes,
        DamagedAt = _scanner.Finding?.At ?? Lsn.None,
        Records = (uint)Math.Min(_scanner.Records, uint.MaxValue),
        Transactions = _transactions,
        FirstTime = _transactions > 0 ? _firstTime : 0,
        LastTime = _transactions > 0 ? _lastTime : 0,
        RestorePoints = _points,
    };

    private void Note(in WalRecord record)
    {
        WalEvent said = WalEvent.Of(record);
        switch (said.Kind)
        {
            case WalEventKind.Commit or WalEventKind.Abort:
                _transactions++;
                _firstTime = Math.Min(_firstTime, said.Microseconds);
                _lastTime = Math.Max(_lastTime, said.Microseconds);
                break;
            case WalEventKind.RestorePoint when _points.Count < WalSegmentFacts.MostRestorePoints:
                _points.Add(new WalRestorePoint(record.Start, said.Microseconds, WalEvent.RestorePointNameOf(record) ?? ""));
                break;
        }
    }
}
