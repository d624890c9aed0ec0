using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Logs;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Storage;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A piece of a segment that is not written to its end yet.</summary>
/// <param name="Segment">The segment.</param>
/// <param name="From">The byte of the segment that it begins with.</param>
/// <param name="To">The one behind its last.</param>
/// <param name="File">The object.</param>
internal sealed record WalPiece(WalFileName Segment, uint From, uint To, LogFile File)
{
    /// <summary>How far pieces of one segment reach from its beginning without a hole.</summary>
    public static uint Reach(IEnumerable<WalPiece> pieces)
    {
        uint reach = 0;
        foreach (WalPiece piece in pieces.OrderBy(static piece => piece.From).ThenBy(static piece => piece.To))
        {
            if (piece.From > reach)
            {
                break;
            }

            reach = Math.Max(reach, piece.To);
        }

        return reach;
    }
}

/// <summary>A part of a timeline's log that its server took away before it was stored. It stays told of.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="From">Where it begins.</param>
/// <param name="To">Where the log that was stored goes on.</param>
/// <param name="File">The object.</param>
internal sealed record WalGap(uint Timeline, Lsn From, Lsn To, LogFile File);

/// <summary>All that stands in an archive, by one listing.</summary>
/// <param name="Files">The files of the log, ascending by timeline, place and kind; without facts.</param>
/// <param name="Pieces">Pieces of unfinished segments, ascending.</param>
/// <param name="Gaps">Gaps, ascending.</param>
internal sealed record WalListing(IReadOnlyList<WalArchivedFile> Files, IReadOnlyList<WalPiece> Pieces, IReadOnlyList<WalGap> Gaps)
{
    /// <summary>Whether all segments of a gap are there by now: somebody else had archived them.</summary>
    public bool IsFilled(WalGap gap, uint segmentSize)
    {
        HashSet<WalFileName> there = [.. Files.Select(static file => file.Name)];
        for (ulong number = gap.From.Value / segmentSize; number * segmentSize < gap.To.Value; number++)
        {
            if (!there.Contains(WalFileName.OfSegment(gap.Timeline, number, segmentSize)))
            {
                return false;
            }
        }

        return true;
    }
}

/// <content>What is received as it is written: pieces of the segment that is not finished, gaps, histories.</content>
internal sealed partial class WalArchive
{
    /// <summary>The most bytes of a piece.</summary>
    public const int MostPiece = 16 << 20;

    // Up to here the facts of an unfinished segment are looked for, which reads it from its beginning.
    private const uint MostScanned = 64 << 20;

    private const string GapSuffix = ".gap";
    private const string PieceSuffix = RepositoryLayout.LogPieceSuffix;

    /// <summary>Says whose log this is, or finds that it is another's.</summary>
    /// <exception cref="BackupIQException"><c>WrongServer</c>: the archive holds another cluster's.</exception>
    public async Task<WalArchiveIdentity> RequireAsync(ulong systemIdentifier, uint segmentSize, int version, CancellationToken cancellationToken)
    {
        WalArchiveIdentity identity = await IdentifyAsync(systemIdentifier, segmentSize, version, cancellationToken).ConfigureAwait(false);
        RequireSame(identity, systemIdentifier, segmentSize, "The server's log");
        return identity;
    }

    /// <summary>Stores the history of a timeline as its server gave it.</summary>
    /// <exception cref="BackupIQException"><c>Validation</c>: it is none. <c>WrongServer</c>: another one is there.</exception>
    public async Task<TimelineHistory> PutHistoryAsync(uint timeline, byte[] content, CancellationToken cancellationToken)
    {
        TimelineHistory history = TimelineHistory.Read(timeline, content, out string problem)
            ?? throw new BackupIQException(ErrorCodes.Validation, $"The server's history of timeline {timeline} is none: {problem}");
        await PutTextAsync(WalFileName.OfHistory(timeline), content, cancellationToken).ConfigureAwait(false);
        return history;
    }

    /// <summary>All that is there.</summary>
    public async Task<WalListing> ListAllAsync(CancellationToken cancellationToken = default)
    {
        List<WalArchivedFile> files = [];
        List<WalPiece> pieces = [];
        List<WalGap> gaps = [];
        await foreach (LogFile file in _logs.ListAsync(null, cancellationToken).ConfigureAwait(false))
        {
            if (TryName(file, out WalFileName name))
            {
                files.Add(new WalArchivedFile(name, file.Stored.Size, file.Stored.StoredAt, null) { File = file });
            }
            else if (TryPiece(file) is { } piece)
            {
                pieces.Add(piece);
            }
            else if (TryGap(file) is { } gap)
            {
                gaps.Add(gap);
            }
        }

        files.Sort(static (a, b) => Compare(a.Name, b.Name));
        return new WalListing(
            files,
            [.. pieces.OrderBy(static one => one.Segment.Timeline).ThenBy(static one => one.Segment.High).ThenBy(static one => one.Segment.Low).ThenBy(static one => one.From).ThenBy(static one => one.To)],
            [.. gaps.OrderBy(static one => one.Timeline).ThenBy(static one => one.From)]);
    }

    /// <summary>
    /// Stores a piece of a segment that is not finished: bytes <paramref name="from"/> to <paramref name="to"/> of the file at <paramref name="path"/>, at most
    /// <see cref="MostPiece"/>. It is durable when this returns.
    /// </summary>
    public async Task<WalPiece> PutPieceAsync(string path, WalFileName segment, uint from, uint to, CancellationToken cancellationToken)
    {
        var bytes = new byte[to - from];
        WalSegmentFacts? facts;
        using (FileStream file = Open(path))
        {
            facts = to <= MostScanned ? ScanUnfinished(file, segment, to) : null;
            file.Position = from;
            file.ReadExactly(bytes);
        }

        string name = string.Create(CultureInfo.InvariantCulture, $"{KeyOf(segment)}.{from:x8}{to:x8}{PieceSuffix}");
        LogHead head = new(LogKind.PostgresPiece, bytes.Length, default, IdOf(bytes), facts?.Write() ?? []);
        if (await _logs.PutAsync(GroupOf(segment), name, head, () => new MemoryStream(bytes, writable: false), cancellationToken).ConfigureAwait(false) == LogPut.OtherThere)
        {
            throw new BackupIQException(
                ErrorCodes.WrongServer,
                $"The beginning of {segment} is refused: other bytes of it are in the archive, which are unchanged",
                "Two servers are received under one name, or one was restored and goes on on the same timeline: give it a name of its own.");
        }

        return new WalPiece(segment, from, to, new LogFile(GroupOf(segment), name, default));
    }

    /// <summary>Deletes pieces whose bytes are stored otherwise.</summary>
    /// <returns>False: they may not be deleted, now or at all. They do no harm.</returns>
    public async Task<bool> TryDeleteAsync(IReadOnlyList<WalPiece> pieces, CancellationToken cancellationToken)
    {
        try
        {
            return pieces.Count == 0 || (await _logs.DeleteAsync([.. pieces.Select(static piece => piece.File)], cancellationToken).ConfigureAwait(false)).Count == 0;
        }
        catch (StorageException)
        {
            return false;
        }
    }

    /// <summary>Records that a part of a timeline's log is lost. It is durable when this returns; the same again changes nothing.</summary>
    /// <param name="timeline">The timeline.</param>
    /// <param name="from">Where it begins.</param>
    /// <param name="to">Where the log goes on.</param>
    /// <param name="cause">Why: a sentence without its full stop.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async Task PutGapAsync(uint timeline, Lsn from, Lsn to, string cause, CancellationToken cancellationToken)
    {
        byte[] content = Encoding.UTF8.GetBytes(cause);
        string name = string.Create(CultureInfo.InvariantCulture, $"{from.Value:x16}{to.Value:x16}{GapSuffix}");
        LogHead head = new(LogKind.PostgresGap, content.Length, default, IdOf(content), []);
        await _logs.PutAsync($"{timeline:x8}", name, head, () => new MemoryStream(content, writable: false), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The gaps of a listing, with why they are there. What is damaged is told.</summary>
    public async Task<IReadOnlyList<WalGapInfo>> ReadGapsAsync(WalListing listing, uint segmentSize, Action<string> onDamage, CancellationToken cancellationToken)
    {
        List<WalGapInfo> gaps = [];
        foreach (WalGap gap in listing.Gaps)
        {
            (DateTimeOffset recordedAt, string cause) = await ReadGapAsync(gap, onDamage, cancellationToken).ConfigureAwait(false);
            gaps.Add(new WalGapInfo(gap.Timeline, gap.From.ToString(), gap.To.ToString(), recordedAt, cause, listing.IsFilled(gap, segmentSize)));
        }

        return gaps;
    }

    /// <summary>What there is of the segment behind the last one, by its pieces; null: nothing. Damage is told.</summary>
    public async Task<WalUnfinishedInfo?> ReadUnfinishedAsync(WalListing listing, uint segmentSize, Action<string> onDamage, CancellationToken cancellationToken)
    {
        WalPiece[] pieces = [.. Unfinished(listing).LastOrDefault() ?? Enumerable.Empty<WalPiece>()];
        uint reach = WalPiece.Reach(pieces);
        if (reach == 0)
        {
            return null;
        }

        WalPiece last = pieces.First(piece => piece.To == reach);
        WalSegmentFacts? facts = await ReadFactsAsync(last, onDamage, cancellationToken).ConfigureAwait(false);
        return new WalUnfinishedInfo(
            last.Segment.ToString(),
            (last.Segment.StartOf(segmentSize) + reach).ToString(),
            facts is { Transactions: > 0 } ? PostgresTime.Read(facts.LastTime) : null,
            pieces.Max(static piece => piece.File.Stored.StoredAt));
    }

    /// <summary>Unfinished segments and gaps as files are shown. What is damaged is told.</summary>
    public async Task<IReadOnlyList<WalFileInfo>> ShowOthersAsync(WalListing listing, uint segmentSize, WalRange range, Action<string> onDamage, CancellationToken cancellationToken)
    {
        List<WalFileInfo> shown = [];
        foreach (IGrouping<WalFileName, WalPiece> pieces in Unfinished(listing))
        {
            uint reach = WalPiece.Reach(pieces);
            if (reach > 0 && range.Touches(pieces.Key, segmentSize))
            {
                WalSegmentFacts? facts = await ReadFactsAsync(pieces.First(piece => piece.To == reach), onDamage, cancellationToken).ConfigureAwait(false);
                shown.Add(new WalFileInfo(
                    (pieces.Key with { Kind = WalFileKind.Partial }).ToString(), "unfinished", pieces.Key.Timeline, pieces.Sum(static piece => piece.File.Stored.Size), pieces.Max(static piece => piece.File.Stored.StoredAt),
                    facts is null ? null : Show(facts)));
            }
        }

        IReadOnlyList<WalGapInfo> gaps = await ReadGapsAsync(listing, segmentSize, onDamage, cancellationToken).ConfigureAwait(false);
        for (int i = 0; i < gaps.Count; i++)
        {
            WalGap gap = listing.Gaps[i];
            if (range.Touches(WalFileName.OfPlace(gap.Timeline, gap.From, segmentSize), segmentSize) || range.Touches(WalFileName.OfPlace(gap.Timeline, gap.To, segmentSize), segmentSize))
            {
                shown.Add(new WalFileInfo($"{gap.From}-{gap.To}", "gap", gap.Timeline, gap.File.Stored.Size, gaps[i].RecordedAt, null, gaps[i]));
            }
        }

        return shown;
    }

    // Pieces of segments that are not there whole.
    private static IEnumerable<IGrouping<WalFileName, WalPiece>> Unfinished(WalListing listing)
    {
        HashSet<WalFileName> whole = [.. listing.Files.Where(static file => file.Name.Kind == WalFileKind.Segment).Select(static file => file.Name)];
        return listing.Pieces.Where(piece => !whole.Contains(piece.Segment)).GroupBy(static piece => piece.Segment);
    }

    private async Task<(DateTimeOffset RecordedAt, string Cause)> ReadGapAsync(WalGap gap, Action<string> onDamage, CancellationToken cancellationToken)
    {
        MemoryStream content = new();
        try
        {
            return await _logs.ReadAsync(gap.File.Group, gap.File.Name, LogArchive.WriteTo(content), cancellationToken).ConfigureAwait(false) is { } head
                ? (head.StoredAt, Encoding.UTF8.GetString(content.ToArray()))
                : (gap.File.Stored.StoredAt, "it was taken away");
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            onDamage(e.Message);
            return (gap.File.Stored.StoredAt, "why cannot be read any more");
        }
    }

    // What is known of an unfinished segment by its piece that reaches furthest; null: nothing, or it is gone.
    private async Task<WalSegmentFacts?> ReadFactsAsync(WalPiece piece, Action<string> onDamage, CancellationToken cancellationToken)
    {
        try
        {
            return await _logs.ReadHeadAsync(piece.File.Group, piece.File.Name, cancellationToken).ConfigureAwait(false) is { } head ? WalSegmentFacts.Read(head.Facts) : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            onDamage(e.Message);
            return null;
        }
    }

    /// <summary>
    /// Reads an unfinished segment out of its pieces, with zeros behind its last byte up to the size of a segment, as a server leaves one. False: there is none.
    /// </summary>
    internal async Task<bool> TryReadPiecesAsync(WalFileName partial, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken)
    {
        WalFileName segment = partial with { Kind = WalFileKind.Segment };
        List<WalPiece> pieces = [];
        await foreach (LogFile file in _logs.ListAsync(GroupOf(segment), cancellationToken).ConfigureAwait(false))
        {
            if (TryPiece(file) is { } piece && piece.Segment == segment)
            {
                pieces.Add(piece);
            }
        }

        if (WalPiece.Reach(pieces) == 0)
        {
            return false;
        }

        WalArchiveIdentity identity = await RequireIdentityAsync(cancellationToken).ConfigureAwait(false);
        uint at = 0;
        while (pieces.Where(piece => piece.From <= at && piece.To > at).MaxBy(static piece => piece.To) is { } next)
        {
            long skip = at - next.From;
            bool isThere = await _logs.ReadAsync(
                next.File.Group,
                next.File.Name,
                bytes =>
                {
                    int skipped = (int)Math.Min(skip, bytes.Length);
                    skip -= skipped;
                    return skipped == bytes.Length ? ValueTask.CompletedTask : write(bytes[skipped..]);
                },
                cancellationToken).ConfigureAwait(false) is not null;
            at = isThere ? next.To : throw new BackupIQException(ErrorCodes.StorageConnection, $"{segment} was finished meanwhile", "Fetch it under its own name.");
        }

        byte[] zeros = new byte[64 << 10];
        for (; at < identity.SegmentSize; at += (uint)Math.Min(zeros.Length, identity.SegmentSize - at))
        {
            await write(zeros.AsMemory(0, (int)Math.Min(zeros.Length, identity.SegmentSize - at))).ConfigureAwait(false);
        }

        return true;
    }

    private static WalSegmentFacts? ScanUnfinished(FileStream file, WalFileName segment, uint to)
    {
        var room = new byte[1 << 20];
        WalSegmentReader? reader = null;
        int pageSize = 0;
        for (uint at = 0; at < to; at += (uint)room.Length)
        {
            int length = (int)Math.Min(room.Length, to - at);
            file.ReadExactly(room, 0, length);
            room.AsSpan(length).Clear();
            if (reader is null)
            {
                if (WalSegmentHeader.Read(room, out _) is not { } header || header.SegmentSize < to)
                {
                    return null;
                }

                reader = new WalSegmentReader(header, segment.Timeline);
                pageSize = (int)header.PageSize;
            }

            reader.Scan(room.AsSpan(0, (length + pageSize - 1) / pageSize * pageSize));
        }

        return reader is null ? null : OfUnfinished(reader);
    }

    private static WalPiece? TryPiece(LogFile file)
    {
        const int segment = 24;
        const int numbers = 16;
        ReadOnlySpan<char> name = file.Name;
        return name.Length == segment + 1 + numbers + PieceSuffix.Length && name.EndsWith(PieceSuffix) && name[segment] == '.' &&
            WalFileName.TryParse(file.Name[..segment].ToUpperInvariant(), out WalFileName of) && GroupOf(of) == file.Group &&
            TryHex(name.Slice(segment + 1, 8), out ulong from) && TryHex(name.Slice(segment + 9, 8), out ulong to) && from < to
            ? new WalPiece(of, (uint)from, (uint)to, file)
            : null;
    }

    private static WalGap? TryGap(LogFile file)
    {
        const int numbers = 32;
        ReadOnlySpan<char> name = file.Name;
        return name.Length == numbers + GapSuffix.Length && name.EndsWith(GapSuffix) && file.Group.Length == 8 && TryHex(file.Group, out ulong timeline) && timeline > 0 &&
            TryHex(name[..16], out ulong from) && TryHex(name.Slice(16, 16), out ulong to) && from < to
            ? new WalGap((uint)timeline, new Lsn(from), new Lsn(to), file)
            : null;
    }

    private static bool TryHex(ReadOnlySpan<char> text, out ulong value)
    {
        value = 0;
        return !text.ContainsAnyExcept("0123456789abcdef") && ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
