using System.Buffers.Binary;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Logs;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Storage;

namespace BackupIQ.Jobs.Postgres;

/// <summary>Whose log an archive holds: that of the first segment that was pushed into it.</summary>
/// <param name="SystemIdentifier">The cluster.</param>
/// <param name="SegmentSize">Bytes of a segment.</param>
/// <param name="Version">The major version of PostgreSQL that wrote the first segment.</param>
/// <param name="Since">When that was.</param>
internal sealed record WalArchiveIdentity(ulong SystemIdentifier, uint SegmentSize, int Version, DateTimeOffset Since);

/// <summary>A file of a PostgreSQL log archive.</summary>
/// <param name="Name">What kind of file, timeline and place.</param>
/// <param name="StoredBytes">What it takes on the storage.</param>
/// <param name="StoredAt">When it was stored.</param>
/// <param name="Facts">What is known of a segment without reading it; null for other files.</param>
internal sealed record WalArchivedFile(WalFileName Name, long StoredBytes, DateTimeOffset StoredAt, WalSegmentFacts? Facts)
{
    /// <summary>The object.</summary>
    public LogFile File { get; init; }
}

/// <summary>The archive of one PostgreSQL server's log within a repository.</summary>
internal sealed partial class WalArchive
{
    // Heads are read one request each, so many at once.
    private const int HeadsAtOnce = 16;

    private readonly LogArchive _logs;
    private readonly string _name;

    internal WalArchive(BackupRepository repository, string name, TimeProvider time, string? cacheFolder = null)
    {
        _name = name;
        _logs = new LogArchive(repository, name, time, cacheFolder);
    }

    /// <summary>The server's name.</summary>
    public string Name => _name;

    /// <summary>Copies a file of another repository's archive of the same server.</summary>
    /// <returns>False: it is gone there.</returns>
    /// <exception cref="CorruptDataException">It is damaged there; nothing was put.</exception>
    /// <exception cref="BackupIQException"><c>WrongServer</c>: another file with its name is here.</exception>
    public async Task<bool> CopyAsync(WalArchive from, WalArchivedFile file, CancellationToken cancellationToken) =>
        await _logs.CopyAsync(from._logs, file.File, cancellationToken).ConfigureAwait(false) switch
        {
            null => false,
            LogPut.OtherThere => throw new BackupIQException(ErrorCodes.WrongServer, $"{file.Name} is refused: another file with this name and other bytes is in the archive; it is unchanged"),
            _ => true,
        };

    /// <summary>Copies what is told of a gap.</summary>
    public Task CopyAsync(WalArchive from, WalGap gap, CancellationToken cancellationToken) => _logs.CopyAsync(from._logs, gap.File, cancellationToken);

    /// <summary>Deletes files.</summary>
    /// <returns>What could not be deleted, and why.</returns>
    public Task<IReadOnlyDictionary<StorageKey, StorageException>> DeleteAsync(IReadOnlyList<LogFile> files, CancellationToken cancellationToken) =>
        _logs.DeleteAsync(files, cancellationToken);

    /// <summary>Extends the locks of files.</summary>
    public Task<LockExtension> ExtendLocksAsync(IReadOnlyList<LogFile> files, CancellationToken cancellationToken) => _logs.ExtendLocksAsync(files, cancellationToken);

    /// <summary>Reads the name of a file of a log.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static WalFileName ParseName(string text) => WalFileName.TryParse(text, out WalFileName name)
        ? name
        : throw new BackupIQException(ErrorCodes.Usage, $"'{text}' is no name of a file of PostgreSQL's log");

    /// <summary>A file as those see it who do not read logs.</summary>
    public static WalFileInfo Show(WalArchivedFile file) => new(
        file.Name.ToString(), file.Name.Kind.ToString().ToLowerInvariant(), file.Name.Timeline, file.StoredBytes, file.StoredAt, file.Facts is { } facts ? Show(facts) : null);

    private static WalSegmentInfo Show(WalSegmentFacts facts) => new()
    {
        SystemIdentifier = $"{facts.SystemIdentifier}",
        Version = facts.Version,
        SegmentSize = facts.SegmentSize,
        Start = facts.Start.ToString(),
        End = facts.LastEnd.ToString(),
        FirstRecord = facts.First == Lsn.None ? null : facts.First.ToString(),
        LastRecord = facts.Last == Lsn.None ? null : facts.Last.ToString(),
        EndsWith = facts.End switch
        {
            WalEnd.Switch => "switch",
            WalEnd.WithinRecord => "record_goes_on",
            WalEnd.Nothing => "nothing",
            WalEnd.Finding => "damage",
            _ => "record",
        },
        PendingBytes = facts.PendingBytes,
        Records = facts.Records,
        Transactions = facts.Transactions,
        FirstTime = facts.Transactions > 0 ? PostgresTime.Read(facts.FirstTime) : null,
        LastTime = facts.Transactions > 0 ? PostgresTime.Read(facts.LastTime) : null,
        DamagedAt = facts.DamagedAt == Lsn.None ? null : facts.DamagedAt.ToString(),
        RestorePoints = [.. facts.RestorePoints.Select(static point => new WalRestorePointInfo(point.Name, point.At.ToString(), point.Time))],
    };

    /// <summary>Whose log it holds; null: no segment was ever pushed.</summary>
    public async Task<WalArchiveIdentity?> ReadIdentityAsync(CancellationToken cancellationToken = default) =>
        await _logs.ReadDescriptionAsync(cancellationToken).ConfigureAwait(false) is { } said ? ReadIdentity(said.Head) : null;

    /// <summary>The same, where there must be one.</summary>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>: no segment was ever pushed.</exception>
    public async Task<WalArchiveIdentity> RequireIdentityAsync(CancellationToken cancellationToken = default) =>
        await ReadIdentityAsync(cancellationToken).ConfigureAwait(false) ?? throw NoArchive();

    /// <summary>
    /// Pushes one file of the log, which is durable when this returns. What is there already with the very same bytes is success.
    /// </summary>
    /// <param name="path">The file, under its own name.</param>
    /// <param name="isServersOwn">Its time is that at which the server wrote it last; else it tells nothing.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>Something about it that should be told, or null.</returns>
    /// <exception cref="BackupIQException">
    /// <c>Validation</c>: it is no whole file of a log. <c>WrongServer</c>: it is of another cluster, or another file with its name is there. Nothing was changed then.
    /// </exception>
    public async Task<string?> PushAsync(string path, bool isServersOwn, CancellationToken cancellationToken = default)
    {
        string text = Path.GetFileName(path);
        if (!WalFileName.TryParse(text, out WalFileName name))
        {
            throw Refused(path, "the name is none of PostgreSQL's log");
        }

        try
        {
            return name.Kind is WalFileKind.Segment or WalFileKind.Partial
                ? await PushSegmentAsync(path, name, isServersOwn, cancellationToken).ConfigureAwait(false)
                : await PushTextAsync(path, name, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BackupIQException(ErrorCodes.SourceNotFound, "There is no such file.", null, e).With("path", path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BackupIQException(ErrorCodes.SourceUnreadable, $"The file cannot be read: {e.Message}", null, e).With("path", path);
        }
    }

    /// <summary>
    /// Reads a file into <paramref name="write"/>, whose receiver must throw it away when this throws. False: it is provably not there, because the storage
    /// listed what is.
    /// </summary>
    /// <exception cref="BackupIQException">It is damaged, there is no such archive, or the storage does not tell.</exception>
    public async Task<bool> ReadAsync(WalFileName name, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken = default)
    {
        if (await TryReadAsync(name, write, cancellationToken).ConfigureAwait(false) ||
            (name.Kind == WalFileKind.Partial && await TryReadPiecesAsync(name, write, cancellationToken).ConfigureAwait(false)))
        {
            return true;
        }

        await _logs.SettleAsync(cancellationToken).ConfigureAwait(false);
        if (await IsListedAsync(name, GroupOf(name), cancellationToken).ConfigureAwait(false) is null &&
            await IsListedAsync(name, null, cancellationToken).ConfigureAwait(false) is null)
        {
            throw NoArchive();
        }

        return false;
    }

    // Whether anything else is listed; null: nothing at all.
    private async Task<bool?> IsListedAsync(WalFileName name, string? group, CancellationToken cancellationToken)
    {
        bool? isAnything = null;
        await foreach (LogFile file in _logs.ListAsync(group, cancellationToken).ConfigureAwait(false))
        {
            if (group is null)
            {
                return true;
            }

            isAnything = true;
            if (file.Name == KeyOf(name))
            {
                throw new BackupIQException(ErrorCodes.StorageConnection, $"{name} is listed and could not be read.");
            }
        }

        return isAnything;
    }

    /// <summary>The same, where it need not be proven that a file is not there.</summary>
    internal async Task<bool> TryReadAsync(WalFileName name, Func<ReadOnlyMemory<byte>, ValueTask> write, CancellationToken cancellationToken) =>
        await _logs.ReadAsync(GroupOf(name), KeyOf(name), write, cancellationToken).ConfigureAwait(false) is not null;

    /// <summary>The archive's files, ascending by timeline, place and kind; without facts, which cost a request each.</summary>
    public async Task<IReadOnlyList<WalArchivedFile>> ListAsync(CancellationToken cancellationToken = default) =>
        (await ListAllAsync(cancellationToken).ConfigureAwait(false)).Files;

    /// <summary>The same files with their facts; what is damaged, or gone meanwhile, is told to <paramref name="onDamage"/> and left without.</summary>
    public async Task<IReadOnlyList<WalArchivedFile>> WithFactsAsync(
        IReadOnlyList<WalArchivedFile> files, Action<WalFileName, string> onDamage, CancellationToken cancellationToken = default)
    {
        var read = new WalArchivedFile[files.Count];
        await Parallel.ForAsync(0, files.Count, new ParallelOptions { MaxDegreeOfParallelism = HeadsAtOnce, CancellationToken = cancellationToken }, async (i, stop) =>
        {
            read[i] = files[i];
            try
            {
                if (await ReadHeadAsync(files[i], stop).ConfigureAwait(false) is { } head)
                {
                    read[i] = files[i] with { StoredAt = head.StoredAt, Facts = FactsOf(files[i].Name, head) };
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                lock (read)
                {
                    onDamage(files[i].Name, e.Message);
                }
            }
        }).ConfigureAwait(false);
        _logs.SaveHeads();
        return read;
    }

    // What was listed may be remembered; what is only asked for by its name is not.
    private Task<LogHead?> ReadHeadAsync(WalArchivedFile file, CancellationToken cancellationToken) => file.File.Name is null
        ? _logs.ReadHeadAsync(GroupOf(file.Name), KeyOf(file.Name), cancellationToken)
        : _logs.ReadHeadAsync(file.File, cancellationToken);

    /// <summary>Which of these segments are not there whole, by a request each. What is damaged is not there.</summary>
    internal async Task<WalFileName[]> FindMissingAsync(IReadOnlyList<WalFileName> segments, CancellationToken cancellationToken) =>
    [
        .. (await WithFactsAsync([.. segments.Select(static name => new WalArchivedFile(name, 0, default, null))], static (_, _) => { }, cancellationToken).ConfigureAwait(false))
            .Where(static file => file.Facts is null).Select(static file => file.Name),
    ];

    /// <summary>The commits and aborts of a segment, in its order.</summary>
    /// <returns>What keeps some of them from being read: a sentence; null: nothing.</returns>
    public async Task<string?> ReadTransactionsAsync(WalArchivedFile file, Action<Lsn, WalTransactionInfo> found, CancellationToken cancellationToken = default)
    {
        WalScanner scanner = new((in WalRecord record) =>
        {
            WalEvent said = WalEvent.Of(record);
            if (said.Kind is WalEventKind.Commit or WalEventKind.Abort)
            {
                found(record.Start, new WalTransactionInfo(said.Kind == WalEventKind.Commit, file.Name.Timeline, said.Transaction, said.Time, record.Start.ToString(), record.End.ToString()));
            }
        });
        bool isBegun = false;
        string problem = "it is gone";
        try
        {
            bool isThere = await TryReadAsync(
                file.Name,
                piece =>
                {
                    if (!isBegun && WalSegmentHeader.Read(piece.Span, out problem) is { } header)
                    {
                        isBegun = scanner.BeginSegment(header, file.Name.Timeline);
                    }

                    if (isBegun && scanner.Finding is null)
                    {
                        scanner.Scan(piece.Span);
                    }

                    return ValueTask.CompletedTask;
                },
                cancellationToken).ConfigureAwait(false);
            return !isThere || !isBegun ? $"{file.Name}: {problem}." : scanner.Finding is { } finding ? $"{file.Name} is damaged at {finding}." : null;
        }
        catch (BackupIQException e) when (DamageReading.IsDamage(e))
        {
            return e.Message;
        }
    }

    /// <summary>The histories of timelines that are there; what is damaged is told.</summary>
    internal async Task<Dictionary<uint, TimelineHistory>> ReadHistoriesAsync(
        IEnumerable<WalArchivedFile> files, Action<WalFileName, string> onDamage, CancellationToken cancellationToken)
    {
        Dictionary<uint, TimelineHistory> histories = [];
        foreach (WalFileName name in files.Select(static file => file.Name).Where(static name => name.Kind == WalFileKind.History))
        {
            MemoryStream content = new();
            try
            {
                if (await _logs.ReadAsync(GroupOf(name), KeyOf(name), LogArchive.WriteTo(content), cancellationToken).ConfigureAwait(false) is not null)
                {
                    if (TimelineHistory.Read(name.Timeline, content.ToArray(), out string problem) is { } history)
                    {
                        histories[name.Timeline] = history;
                    }
                    else
                    {
                        onDamage(name, $"{name}: {problem}");
                    }
                }
            }
            catch (BackupIQException e) when (DamageReading.IsDamage(e))
            {
                onDamage(name, e.Message);
            }
        }

        return histories;
    }

    internal BackupIQException NoArchive() => new(
        ErrorCodes.PathNotFound, $"The repository has no log of a server '{_name}'.", "Check the name; 'backupiq pg wal-push NAME PATH' makes it with the first segment.");

    private async Task<string?> PushSegmentAsync(string path, WalFileName name, bool isServersOwn, CancellationToken cancellationToken)
    {
        WalSegmentHeader header = ReadHeader(path, name);
        WalArchiveIdentity identity = await IdentifyAsync(header.SystemIdentifier, header.SegmentSize, header.Page.Version, cancellationToken).ConfigureAwait(false);
        RequireSame(identity, header.SystemIdentifier, header.SegmentSize, name.ToString());

        WalSegmentReader reader = new(header, name.Timeline);
        Blake3Hasher hasher = _logs.CreateHasher();
        long written;
        using (FileStream file = Open(path))
        {
            written = PostgresTime.Write(new DateTimeOffset(File.GetLastWriteTimeUtc(file.SafeFileHandle)));
            using NativeBuffer buffer = new();
            Memory<byte> room = buffer.Room(1 << 20);
            for (int length; (length = file.ReadAtLeast(room.Span, room.Length, throwOnEndOfStream: false)) > 0;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                reader.Scan(room.Span[..length]);
                hasher.Update(room.Span[..length]);
            }
        }

        // A server leaves the last segment of a timeline as it is: behind the end of its log may stand what the file held before.
        bool isPartial = name.Kind == WalFileKind.Partial;
        WalSegmentFacts facts = isPartial ? OfUnfinished(reader) : reader.Facts with { ClosedAt = isServersOwn ? written : 0 };
        LogHead head = new(
            isPartial ? LogKind.PostgresPartial : LogKind.PostgresSegment, header.SegmentSize, default, LogArchive.IdOf(hasher), facts.Write());
        await PutAsync(name, head, () => Open(path), cancellationToken).ConfigureAwait(false);
        return isPartial ? null
            : reader.Finding is { } finding ? $"{name} is stored as it is, but its log is damaged at {finding}"
            : facts.End == WalEnd.Nothing ? $"{name} is stored as it is, but its log ends at {facts.LastEnd}, before the segment does"
            : null;
    }

    private async Task<string?> PushTextAsync(string path, WalFileName name, CancellationToken cancellationToken)
    {
        byte[] bytes;
        using (FileStream file = Open(path))
        {
            if (file.Length > TimelineHistory.LargestFile)
            {
                throw Refused(path, $"it has {file.Length} bytes, too many for such a file");
            }

            bytes = new byte[file.Length];
            file.ReadExactly(bytes);
        }

        if (name.Kind == WalFileKind.History && TimelineHistory.Read(name.Timeline, bytes, out string problem) is null)
        {
            throw Refused(path, problem);
        }

        await PutTextAsync(name, bytes, cancellationToken).ConfigureAwait(false);
        return null;
    }

    private async Task PutTextAsync(WalFileName name, byte[] bytes, CancellationToken cancellationToken)
    {
        LogKind kind = name.Kind == WalFileKind.History ? LogKind.PostgresHistory : LogKind.PostgresBackup;
        await PutAsync(name, new LogHead(kind, bytes.Length, default, IdOf(bytes), []), () => new MemoryStream(bytes, writable: false), cancellationToken).ConfigureAwait(false);
    }

    private async Task PutAsync(WalFileName name, LogHead head, Func<Stream> open, CancellationToken cancellationToken)
    {
        if (await _logs.PutAsync(GroupOf(name), KeyOf(name), head, open, cancellationToken).ConfigureAwait(false) == LogPut.OtherThere)
        {
            throw new BackupIQException(
                ErrorCodes.WrongServer,
                $"{name} is refused: another file with this name and other bytes is in the archive; it is unchanged",
                "Two servers archive into one name, or one was restored and goes on on the same timeline: give it a name of its own.");
        }
    }

    private ChunkId IdOf(ReadOnlySpan<byte> bytes)
    {
        Blake3Hasher hasher = _logs.CreateHasher();
        hasher.Update(bytes);
        return LogArchive.IdOf(hasher);
    }

    private static WalSegmentFacts OfUnfinished(WalSegmentReader reader) =>
        reader.Finding is null ? reader.Facts : reader.Facts with { End = WalEnd.Nothing, DamagedAt = Lsn.None };

    private static WalSegmentHeader ReadHeader(string path, WalFileName name)
    {
        using FileStream file = Open(path);
        Span<byte> bytes = stackalloc byte[WalPageHeader.LongSize];
        int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        WalSegmentHeader header = WalSegmentHeader.Read(bytes[..length], out string problem) ?? throw Refused(path, problem);
        if (file.Length != header.SegmentSize)
        {
            throw Refused(path, $"it has {file.Length} bytes, and says that segments have {header.SegmentSize}");
        }

        if (!name.Fits(header.SegmentSize) || name.StartOf(header.SegmentSize) != header.Page.Address)
        {
            throw Refused(path, $"it says that it begins at {header.Page.Address}, which is not the place that its name says");
        }

        return header.Page.Timeline <= name.Timeline
            ? header
            : throw Refused(path, $"it says that it is of timeline {header.Page.Timeline}, which its name does not");
    }

    private async Task<WalArchiveIdentity> IdentifyAsync(ulong systemIdentifier, uint segmentSize, int version, CancellationToken cancellationToken)
    {
        var facts = new byte[16];
        facts[0] = 1;
        facts[1] = (byte)version;
        BinaryPrimitives.WriteUInt32LittleEndian(facts.AsSpan(4), segmentSize);
        BinaryPrimitives.WriteUInt64LittleEndian(facts.AsSpan(8), systemIdentifier);
        (LogHead head, _) = await _logs.DescribeAsync(facts, Encoding.UTF8.GetBytes(_name), cancellationToken).ConfigureAwait(false);
        return ReadIdentity(head);
    }

    private static void RequireSame(WalArchiveIdentity identity, ulong systemIdentifier, uint segmentSize, string what)
    {
        if (identity.SystemIdentifier != systemIdentifier || identity.SegmentSize != segmentSize)
        {
            string difference = identity.SystemIdentifier != systemIdentifier
                ? $"system identifier mismatch: it is {systemIdentifier}'s, and the archive holds the log of {identity.SystemIdentifier}"
                : $"its cluster has segments of {segmentSize} bytes, and the archive such of {identity.SegmentSize}";
            throw new BackupIQException(ErrorCodes.WrongServer, $"{what} is refused: {difference}", "Give each cluster a name of its own.");
        }
    }

    private static WalArchiveIdentity ReadIdentity(LogHead head) =>
        head is { Kind: LogKind.Description, Facts: [1, var version, _, _, ..] facts } && facts.Length >= 16
            ? new WalArchiveIdentity(BinaryPrimitives.ReadUInt64LittleEndian(facts.AsSpan(8)), BinaryPrimitives.ReadUInt32LittleEndian(facts.AsSpan(4)), version, head.StoredAt)
            : throw new BackupIQException(ErrorCodes.UnsupportedFormat, "What the archive says of itself is of a version that this one does not know.");

    private static WalSegmentFacts? FactsOf(WalFileName name, LogHead head) =>
        head.Kind is not (LogKind.PostgresSegment or LogKind.PostgresPartial) ? null
        : WalSegmentFacts.Read(head.Facts) ?? throw new CorruptDataException($"{name}: what is said of the segment is of a version that this one does not know.");

    private static FileStream Open(string path) =>
        new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);

    private static BackupIQException Refused(string path, string why) =>
        new BackupIQException(ErrorCodes.Validation, $"{Path.GetFileName(path)} is refused: {why}.").With("path", path);

    // Names of objects have no capital letters.
    private static string KeyOf(WalFileName name) => name.ToString().ToLowerInvariant();

    private static string GroupOf(WalFileName name) => $"{name.Timeline:x8}";

    private static bool TryName(LogFile file, out WalFileName name)
    {
        // All is in capital letters but the ending.
        int dot = file.Name.LastIndexOf('.');
        string digits = dot < 0 ? file.Name : file.Name[..dot];
        return WalFileName.TryParse(digits.ToUpperInvariant() + file.Name[digits.Length..], out name) && GroupOf(name) == file.Group;
    }

    private static int Compare(WalFileName a, WalFileName b) =>
        a.Timeline != b.Timeline ? a.Timeline.CompareTo(b.Timeline)
        : (a.Kind == WalFileKind.History) != (b.Kind == WalFileKind.History) ? (a.Kind == WalFileKind.History ? -1 : 1)
        : a.High != b.High ? a.High.CompareTo(b.High)
        : a.Low != b.Low ? a.Low.CompareTo(b.Low)
        : a.Kind.CompareTo(b.Kind);
}
