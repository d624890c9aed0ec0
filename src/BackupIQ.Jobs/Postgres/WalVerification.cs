using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>
/// Walks the log of an archive, timeline by timeline: every record's checksum, and that each names the one before it, over all segments.
/// </summary>
internal sealed class WalVerification(WalArchive archive, WalRange range)
{
    private readonly List<WalProblem> _problems = [];
    private int _segments;
    private long _bytes;
    private long _records;
    private long _transactions;

    public async Task<WalVerifyReport> RunAsync(CancellationToken cancellationToken)
    {
        WalArchiveIdentity identity = await archive.RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        IReadOnlyList<WalArchivedFile> files = await archive.ListAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<uint, TimelineHistory> histories = await archive.ReadHistoriesAsync(
            files, (name, message) => _problems.Add(new WalProblem("damaged", name.ToString(), null, message)), cancellationToken).ConfigureAwait(false);
        foreach (IGrouping<uint, WalFileName> timeline in files.Select(static file => file.Name)
            .Where(name => name.Kind == WalFileKind.Segment && range.Touches(name, identity.SegmentSize))
            .GroupBy(static name => name.Timeline).OrderBy(static group => group.Key))
        {
            WalFileName[] segments = [.. timeline];
            Branch(segments[0], identity.SegmentSize, histories);
            await WalkAsync(segments, identity, cancellationToken).ConfigureAwait(false);
        }

        // Behind the end of a partial segment's log anything may stand: it is whole when its seals hold.
        foreach (WalFileName partial in files.Select(static file => file.Name).Where(name => name.Kind is WalFileKind.Partial && range.Touches(name, identity.SegmentSize)))
        {
            await ScanAsync(new WalScanner(null), partial, identity, cancellationToken).ConfigureAwait(false);
        }

        return new WalVerifyReport(_segments, _bytes, _records, _transactions, _problems);
    }

    // A timeline that came from another one begins with a copy of the segment in which that was left.
    private void Branch(WalFileName first, uint size, Dictionary<uint, TimelineHistory> histories)
    {
        if (first.Timeline == 1)
        {
            return;
        }

        WalFileName history = WalFileName.OfHistory(first.Timeline);
        if (!histories.TryGetValue(first.Timeline, out TimelineHistory? known))
        {
            if (!_problems.Exists(problem => problem.File == history.ToString()))
            {
                _problems.Add(new WalProblem("missing", history.ToString(), null, $"{history} is missing: it is not known where timeline {first.Timeline} comes from."));
            }
        }
        else if (known.Ancestors.LastOrDefault() is { Timeline: > 0 } left && range.From is null)
        {
            WalFileName expected = WalFileName.OfPlace(first.Timeline, left.SwitchedAt, size);
            if (first.NumberOf(size) > expected.NumberOf(size))
            {
                _problems.Add(new WalProblem("missing", expected.ToString(), left.SwitchedAt.ToString(), $"{expected} is missing: with it timeline {first.Timeline} begins, at {left.SwitchedAt}."));
            }
        }
    }

    private async Task WalkAsync(WalFileName[] segments, WalArchiveIdentity identity, CancellationToken cancellationToken)
    {
        WalScanner? scanner = null;
        ulong expected = segments[0].NumberOf(identity.SegmentSize);
        foreach (WalFileName segment in segments)
        {
            ulong number = segment.NumberOf(identity.SegmentSize);
            if (number != expected)
            {
                WalFileName first = WalFileName.OfSegment(segment.Timeline, expected, identity.SegmentSize);
                Lsn at = first.StartOf(identity.SegmentSize);
                string many = number - expected == 1 ? "" : $" and {number - expected - 1} more up to {segment}";
                _problems.Add(new WalProblem("missing", first.ToString(), at.ToString(), $"{first}{many} is missing: the log of timeline {segment.Timeline} has a hole from {at} to {segment.StartOf(identity.SegmentSize)}."));
                scanner = null;
            }

            expected = number + 1;
            scanner ??= new WalScanner(Note);
            if (!await ScanAsync(scanner, segment, identity, cancellationToken).ConfigureAwait(false))
            {
                scanner = null;
            }
        }

        if (scanner is { EndKind: WalEnd.Nothing })
        {
            _problems.Add(new WalProblem("damaged", segments[^1].ToString(), scanner.End.ToString(), $"{segments[^1]}: nothing is written from {scanner.End} to the end of the segment."));
        }
    }

    private async Task<bool> ScanAsync(WalScanner scanner, WalFileName segment, WalArchiveIdentity identity, CancellationToken cancellationToken)
    {
        long records = scanner.Records;
        bool isBegun = false;
        try
        {
            bool isThere = await archive.TryReadAsync(
                segment,
                piece =>
                {
                    if (!isBegun)
                    {
                        isBegun = true;
                        Begin(scanner, segment, identity, piece.Span);
                    }

                    if (scanner.Finding is null)
                    {
                        scanner.Scan(piece.Span);
                    }

                    return ValueTask.CompletedTask;
                },
                cancellationToken).ConfigureAwait(false);
            if (!isThere)
            {
                _problems.Add(new WalProblem("missing", segment.ToString(), segment.StartOf(identity.SegmentSize).ToString(), $"{segment} was listed and is not there."));
                return false;
            }
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            // Up to where it was proven, the log was read: the place is where the next record would be.
            Lsn at = scanner.Last != Lsn.None && scanner.End > segment.StartOf(identity.SegmentSize) ? scanner.End : segment.StartOf(identity.SegmentSize);
            _problems.Add(new WalProblem("damaged", segment.ToString(), at.ToString(), $"{segment} is damaged from {at} on: {e.Message}"));
            return false;
        }

        _segments++;
        _bytes += identity.SegmentSize;
        _records += scanner.Records - records;
        if (scanner.Finding is { } finding && segment.Kind == WalFileKind.Segment)
        {
            _problems.Add(new WalProblem("damaged", segment.ToString(), finding.At.ToString(), $"{segment} is damaged at {finding}."));
        }

        return scanner.Finding is null;
    }

    private void Begin(WalScanner scanner, WalFileName segment, WalArchiveIdentity identity, ReadOnlySpan<byte> bytes)
    {
        if (WalSegmentHeader.Read(bytes, out string problem) is not { } header || header.SystemIdentifier != identity.SystemIdentifier ||
            header.SegmentSize != identity.SegmentSize || header.Page.Address != segment.StartOf(header.SegmentSize))
        {
            throw new CorruptDataException(problem.Length > 0 ? problem : "its first page is of another segment or cluster");
        }

        scanner.BeginSegment(header, segment.Timeline);
    }

    private void Note(in WalRecord record)
    {
        if (WalEvent.Of(record).Kind is WalEventKind.Commit or WalEventKind.Abort)
        {
            _transactions++;
        }
    }
}
