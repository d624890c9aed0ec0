using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres.Recovery;

/// <summary>Reads a segment that a backup has itself.</summary>
internal delegate Task ReadOwnSegment(RecoveryBase from, WalFileName name, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken);

/// <summary>What keeps a way from being recovered along.</summary>
/// <param name="File">The file.</param>
/// <param name="Problem">What is wrong: half a sentence.</param>
/// <param name="Reached">What could be replayed up to there.</param>
internal sealed record RecoveryObstacle(WalFileName File, string Problem, RecoveryState Reached);

/// <summary>The log of a cluster, of an archive and of its backups: what is known of it, and reading along the way of a recovery.</summary>
internal sealed class RecoveryLog
{
    private readonly WalArchive? _archive;
    private readonly IReadOnlyList<WalArchivedFile> _files;
    private readonly ReadOwnSegment _readOwn;
    private readonly Dictionary<WalFileName, WalSegmentFacts?> _facts = [];
    private readonly ulong _system;

    private RecoveryLog(
        WalArchive? archive, ulong system, uint segmentSize, IReadOnlyList<WalArchivedFile> files, IReadOnlyDictionary<uint, TimelineHistory> histories, ReadOwnSegment readOwn)
    {
        _archive = archive;
        _system = system;
        SegmentSize = segmentSize;
        _files = files;
        Histories = histories;
        _readOwn = readOwn;
    }

    /// <summary>Bytes of a segment.</summary>
    public uint SegmentSize { get; }

    /// <summary>Whether there is an archive of this cluster.</summary>
    public bool HasArchive => _archive is not null;

    /// <summary>From where timelines come, as far as the archive knows.</summary>
    public IReadOnlyDictionary<uint, TimelineHistory> Histories { get; }

    /// <summary>The newest timeline that the archive has anything of; 0: none.</summary>
    public uint NewestTimeline => _files.Select(static file => file.Name.Timeline).DefaultIfEmpty(0u).Max();

    /// <summary>The histories that are archived.</summary>
    public IEnumerable<WalFileName> HistoryFiles => _files.Select(static file => file.Name).Where(static name => name.Kind == WalFileKind.History);

    /// <summary>What a file takes on the storage.</summary>
    public long StoredBytesOf(WalFileName name) => _files.FirstOrDefault(file => file.Name == name)?.StoredBytes ?? 0;

    /// <summary>Looks at what there is of the log of a cluster. An archive that is another cluster's is as good as none, which is told.</summary>
    public static async Task<RecoveryLog> OpenAsync(
        WalArchive archive, ulong system, uint segmentSize, ReadOwnSegment readOwn, Action<string> onNotice, CancellationToken cancellationToken)
    {
        WalArchiveIdentity? identity = await archive.ReadIdentityAsync(cancellationToken).ConfigureAwait(false);
        if (identity is null)
        {
            return WithoutArchive(system, segmentSize, readOwn);
        }

        if (identity.SystemIdentifier != system || identity.SegmentSize != segmentSize)
        {
            onNotice($"The archive holds the log of another cluster ({identity.SystemIdentifier}; the backup is of {system}): it is of no use for this backup.");
            return WithoutArchive(system, segmentSize, readOwn);
        }

        IReadOnlyList<WalArchivedFile> files = await archive.ListAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<uint, TimelineHistory> histories = await archive.ReadHistoriesAsync(files, (_, message) => onNotice(message), cancellationToken).ConfigureAwait(false);
        return new RecoveryLog(archive, system, segmentSize, files, histories, readOwn);
    }

    /// <summary>Only what backups have themselves.</summary>
    public static RecoveryLog WithoutArchive(ulong system, uint segmentSize, ReadOwnSegment readOwn) =>
        new(null, system, segmentSize, [], new Dictionary<uint, TimelineHistory>(), readOwn);

    /// <summary>The way from a base along a branch. The backup's own segments are looked into only where the archive's do not reach its end.</summary>
    public async Task<RecoveryPath> WalkAsync(RecoveryBase from, IReadOnlyList<WalFileName> own, TimelineBranch branch, CancellationToken cancellationToken)
    {
        await LearnAsync(from, branch, cancellationToken).ConfigureAwait(false);
        RecoveryPath path = RecoveryPath.Build(from, branch, Knowledge(new Dictionary<WalFileName, WalSegmentFacts>()));
        if (path.IsConsistent || own.Count == 0)
        {
            return path;
        }

        Dictionary<WalFileName, WalSegmentFacts> inBackup = [];
        foreach (WalFileName name in own)
        {
            if (await ReadOwnFactsAsync(from, name, cancellationToken).ConfigureAwait(false) is { } facts)
            {
                inBackup[name] = facts;
            }
        }

        return RecoveryPath.Build(from, branch, Knowledge(inBackup));
    }

    /// <summary>
    /// Reads along a way, each record's checksum and that it names the one before it, until <paramref name="walk"/> has stopped or, with an
    /// <paramref name="end"/>, that is reached.
    /// </summary>
    /// <param name="path">The way.</param>
    /// <param name="walk">Hears of the records.</param>
    /// <param name="end">Segments from this place on are not read; null: all that it takes.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>How many segments were needed, and what kept it from going on; null: nothing.</returns>
    public async Task<(int Segments, RecoveryObstacle? Obstacle)> ReadAsync(RecoveryPath path, RecoveryWalk walk, Lsn? end, CancellationToken cancellationToken)
    {
        Lsn limit = Lsn.None;
        WalScanner scanner = new((in WalRecord record) =>
        {
            if (limit == Lsn.None || record.End <= limit)
            {
                walk.Note(record);
            }
        });
        int count = 0;
        foreach (RecoverySegment segment in path.Segments)
        {
            if (walk.Stop is not null || (end is { } place && segment.Name.StartOf(SegmentSize) >= place))
            {
                break;
            }

            count++;
            limit = segment.Limit;
            RecoveryState before = walk.State;
            try
            {
                await ScanAsync(path.Base, segment, scanner, cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                return (count, new RecoveryObstacle(segment.File, $"segment {segment.File} is damaged: {e.Message.TrimEnd('.')}", before));
            }

            // Behind the end of what counts of a segment that is not whole, anything may stand.
            if (walk.Stop is null && scanner.Finding is { } finding && (segment.IsWhole || walk.State.End < segment.End))
            {
                return (count, new RecoveryObstacle(segment.File, $"segment {segment.File} is damaged at {finding}", walk.State));
            }
        }

        return (count, null);
    }

    /// <summary>The first commit in a segment at or behind a place; null: it has none, or cannot be read.</summary>
    public async Task<RecoveryTransaction?> FirstCommitAsync(RecoveryPath path, RecoverySegment segment, CancellationToken cancellationToken)
    {
        RecoveryTransaction? first = null;
        WalScanner scanner = new((in WalRecord record) =>
        {
            if (first is null && WalEvent.Of(record) is { Kind: WalEventKind.Commit } said)
            {
                first = new RecoveryTransaction(true, said.Transaction, said.Microseconds, record.Start, record.End);
            }
        });
        try
        {
            await ScanAsync(path.Base, segment, scanner, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            // It is only told of; nothing depends on it.
            return null;
        }

        return first;
    }

    // What is not known yet of segments that the way may take.
    private async Task LearnAsync(RecoveryBase from, TimelineBranch branch, CancellationToken cancellationToken)
    {
        if (_archive is null)
        {
            return;
        }

        ulong first = from.Start.Value / SegmentSize;
        WalArchivedFile[] unknown =
        [
            .. _files.Where(file => file.Name.Kind is WalFileKind.Segment or WalFileKind.Partial && file.Name.Fits(SegmentSize) && !_facts.ContainsKey(file.Name)
                && file.Name.NumberOf(SegmentSize) >= first && (branch.EndOf(file.Name.Timeline) is not null || IsBeginning(file.Name))),
        ];
        foreach (WalArchivedFile file in await _archive.WithFactsAsync(unknown, static (_, _) => { }, cancellationToken).ConfigureAwait(false))
        {
            _facts[file.Name] = file.Facts is { } facts && facts.SystemIdentifier == _system && facts.SegmentSize == SegmentSize ? facts : null;
        }
    }

    // A copy of the segment in which another timeline was left may stand for that.
    private bool IsBeginning(WalFileName name) =>
        Histories.TryGetValue(name.Timeline, out TimelineHistory? history) && history.Ancestors.Any(left => left.SwitchedAt.Value / SegmentSize == name.NumberOf(SegmentSize));

    private RecoveryKnowledge Knowledge(IReadOnlyDictionary<WalFileName, WalSegmentFacts> inBackup) => new(SegmentSize, Histories, _facts, inBackup);

    private async Task<WalSegmentFacts?> ReadOwnFactsAsync(RecoveryBase from, WalFileName name, CancellationToken cancellationToken)
    {
        WalSegmentReader? reader = null;
        try
        {
            await _readOwn(
                from,
                name,
                piece =>
                {
                    if (reader is null && WalSegmentHeader.Read(piece.Span, out _) is { } header && IsRight(header, name))
                    {
                        reader = new WalSegmentReader(header, name.Timeline);
                    }

                    reader?.Scan(piece.Span);
                    return ValueTask.CompletedTask;
                },
                cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e) || e.Code == ErrorCodes.PathNotFound)
        {
            return null;
        }

        // The last one may have been written to while it was read: behind the end of its log anything may stand.
        return reader is null ? null : reader.Finding is null ? reader.Facts : reader.Facts with { End = WalEnd.Nothing, DamagedAt = Lsn.None };
    }

    private async Task ScanAsync(RecoveryBase from, RecoverySegment segment, WalScanner scanner, CancellationToken cancellationToken)
    {
        bool isBegun = false;
        ValueTask Take(ReadOnlyMemory<byte> piece)
        {
            if (!isBegun)
            {
                isBegun = true;
                if (WalSegmentHeader.Read(piece.Span, out string problem) is not { } header || !IsRight(header, segment.File))
                {
                    throw new CorruptDataException(problem.Length > 0 ? problem : "its first page is of another segment or cluster");
                }

                scanner.BeginSegment(header, segment.File.Timeline);
            }

            if (scanner.Finding is null)
            {
                scanner.Scan(piece.Span);
            }

            return ValueTask.CompletedTask;
        }

        if (segment.Source == RecoverySource.Backup)
        {
            await _readOwn(from, segment.File, Take, cancellationToken).ConfigureAwait(false);
        }
        else if (!await _archive!.TryReadAsync(segment.File, Take, cancellationToken).ConfigureAwait(false))
        {
            throw new CorruptDataException("it was listed and is not there");
        }
    }

    private bool IsRight(WalSegmentHeader header, WalFileName name) =>
        header.SystemIdentifier == _system && header.SegmentSize == SegmentSize && header.Page.Address == name.StartOf(SegmentSize);
}
