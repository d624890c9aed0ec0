using System.Globalization;
using BackupIQ.Engine.Verification;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Sources.Postgres.Verification;

/// <summary>The WAL that a backup has, walked record by record from the segment in which it begins to the place where the backup ended.</summary>
public sealed class StoredLog
{
    private readonly PostgresDocument _document;
    private readonly WalScanner _scanner;
    private readonly List<string> _problems = [];
    private readonly Lsn _end;
    private readonly ulong _systemIdentifier;

    internal StoredLog(PostgresDocument document, Lsn end, Action<RelationPage> onPage)
    {
        _document = document;
        _end = end;
        _systemIdentifier = ulong.Parse(document.SystemIdentifier, CultureInfo.InvariantCulture);
        _scanner = new WalScanner((in WalRecord record) => WalPageImages.Read(record, onPage));
    }

    /// <summary>Whole records whose checksums hold.</summary>
    public long Records => _scanner.Records;

    /// <summary>Hears of a segment, in the order of the backup's list.</summary>
    public ContentListener Segment(string name)
    {
        bool isBegun = false;
        return (offset, bytes) =>
        {
            if (offset == 0)
            {
                isBegun = TryBegin(name, bytes);
            }

            if (isBegun && _scanner.Finding is null)
            {
                _scanner.Scan(bytes);
            }
        };
    }

    /// <summary>What is wrong, when all segments were told: a sentence each. What stands behind the end of the backup is of no interest.</summary>
    public IReadOnlyList<string> Problems()
    {
        List<string> problems = [.. _problems];
        if (_scanner.Finding is { } finding && finding.At < _end)
        {
            problems.Add($"The WAL is damaged at {finding}.");
        }
        else if (problems.Count == 0 && _scanner.End < _end)
        {
            problems.Add($"The WAL ends at {_scanner.End}, before the backup did, at {_end}.");
        }

        return problems;
    }

    private bool TryBegin(string name, ReadOnlySpan<byte> bytes)
    {
        if (!WalFileName.TryParse(name, out WalFileName file) || WalSegmentHeader.Read(bytes, out string problem) is not { } header)
        {
            _problems.Add($"{name} is no segment of WAL.");
            return false;
        }

        if (header.SystemIdentifier != _systemIdentifier || header.SegmentSize != _document.WalSegmentSize || header.Page.Address != file.StartOf(header.SegmentSize))
        {
            _problems.Add($"{name} holds another segment, or another cluster's{(problem.Length > 0 ? ": " + problem : "")}.");
            return false;
        }

        return _scanner.BeginSegment(header, file.Timeline) || _scanner.Finding is not null;
    }
}
