namespace BackupIQ.Jobs;

/// <summary>Which part of a PostgreSQL server's log is meant. Places are written as the server does: <c>0/3000028</c>.</summary>
/// <param name="From">Only what ends behind this place; null: from the beginning on.</param>
/// <param name="To">Only what begins before this place; null: to the end.</param>
/// <param name="File">Only this file; null: all.</param>
/// <example>
/// <code>
/// WalVerifyReport report = await repository.VerifyWalAsync("main", new WalQuery(From: "0/3000028"), cancellationToken);
/// Console.WriteLine($"{report.Segments} segments, {report.Transactions} transactions, {report.Problems.Count} problems");
/// </code>
/// </example>
public sealed record WalQuery(string? From = null, string? To = null, string? File = null);

/// <summary>An archived file of a PostgreSQL server's log.</summary>
/// <param name="File">Its name, as the server gave it.</param>
/// <param name="Kind"><c>segment</c>, <c>partial</c>, <c>history</c> or <c>backup</c>; <c>unfinished</c>: what is there of a segment that is not written to its end; <c>gap</c>: what is lost.</param>
/// <param name="Timeline">Its timeline.</param>
/// <param name="StoredBytes">What it takes on the storage.</param>
/// <param name="StoredAt">When it was stored.</param>
/// <param name="Segment">What is known of a segment; null for other files, and where it is damaged, which was told.</param>
/// <param name="Gap">What is lost, where it is a gap.</param>
public sealed record WalFileInfo(string File, string Kind, long Timeline, long StoredBytes, DateTimeOffset StoredAt, WalSegmentInfo? Segment, WalGapInfo? Gap = null);

/// <summary>A part of a server's log that the server took away before it was stored.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="FromLsn">Where it begins.</param>
/// <param name="ToLsn">Where the log goes on.</param>
/// <param name="RecordedAt">When that was found.</param>
/// <param name="Cause">Why: half a sentence.</param>
/// <param name="IsFilled">All its segments are there by now, so that it is none any more.</param>
public sealed record WalGapInfo(long Timeline, string FromLsn, string ToLsn, DateTimeOffset RecordedAt, string Cause, bool IsFilled);

/// <summary>What is there of a segment that is not written to its end.</summary>
/// <param name="Segment">The segment.</param>
/// <param name="ToLsn">Up to where it is there.</param>
/// <param name="LastTime">The last commit in it, or null.</param>
/// <param name="StoredAt">When the last of it was stored.</param>
public sealed record WalUnfinishedInfo(string Segment, string ToLsn, DateTimeOffset? LastTime, DateTimeOffset StoredAt);

/// <summary>What is known of an archived segment without reading it.</summary>
public sealed record WalSegmentInfo
{
    /// <summary>The cluster.</summary>
    public required string SystemIdentifier { get; init; }

    /// <summary>The major version of PostgreSQL.</summary>
    public required int Version { get; init; }

    /// <summary>Bytes of a segment.</summary>
    public required long SegmentSize { get; init; }

    /// <summary>Where it begins.</summary>
    public required string Start { get; init; }

    /// <summary>Where the last record ends that is whole in it.</summary>
    public required string End { get; init; }

    /// <summary>The first record that begins in it, or null.</summary>
    public string? FirstRecord { get; init; }

    /// <summary>The last one that is whole in it, or null.</summary>
    public string? LastRecord { get; init; }

    /// <summary><c>record</c>, <c>record_goes_on</c> (in the next segment), <c>switch</c>, <c>nothing</c> (was written any more) or <c>damage</c>.</summary>
    public required string EndsWith { get; init; }

    /// <summary>Bytes of its last record that stand in the next segment.</summary>
    public long PendingBytes { get; init; }

    /// <summary>Records.</summary>
    public required long Records { get; init; }

    /// <summary>Commits and aborts.</summary>
    public required long Transactions { get; init; }

    /// <summary>The moment of the first of them, or null.</summary>
    public DateTimeOffset? FirstTime { get; init; }

    /// <summary>The moment of the last of them, or null.</summary>
    public DateTimeOffset? LastTime { get; init; }

    /// <summary>Where it was damaged already when it was stored, or null.</summary>
    public string? DamagedAt { get; init; }

    /// <summary>Its restore points.</summary>
    public IReadOnlyList<WalRestorePointInfo> RestorePoints { get; init; } = [];
}

/// <summary>A place in a log that got a name.</summary>
public sealed record WalRestorePointInfo(string Name, string Lsn, DateTimeOffset? Time);

/// <summary>The end of a transaction, as a log has it.</summary>
/// <param name="IsCommit">It was committed; else aborted.</param>
/// <param name="Timeline">The timeline.</param>
/// <param name="Transaction">Its number.</param>
/// <param name="Time">When; null: no calendar has that moment.</param>
/// <param name="Lsn">Where the record begins.</param>
/// <param name="End">Where it ends.</param>
public sealed record WalTransactionInfo(bool IsCommit, long Timeline, long Transaction, DateTimeOffset? Time, string Lsn, string End);

/// <summary>What is wrong with an archived log.</summary>
/// <param name="Kind"><c>damaged</c>: it is there, and not what it should be; <c>missing</c>: it is not there.</param>
/// <param name="File">The file.</param>
/// <param name="Lsn">The place in the log, or null where it is not a place that is wrong.</param>
/// <param name="Message">A sentence.</param>
public sealed record WalProblem(string Kind, string File, string? Lsn, string Message);

/// <summary>What came of walking an archived log.</summary>
/// <param name="Segments">Segments that were read.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="Records">Records with the right checksum that name the one before them.</param>
/// <param name="Transactions">Commits and aborts among them.</param>
/// <param name="Problems">What is wrong; empty: nothing.</param>
public sealed record WalVerifyReport(int Segments, long Bytes, long Records, long Transactions, IReadOnlyList<WalProblem> Problems);

/// <summary>A base backup, as far as a recovery window depends on it.</summary>
/// <param name="Snapshot">The snapshot's id.</param>
/// <param name="Timeline">Its timeline.</param>
/// <param name="StartLsn">Where recovery from it begins.</param>
/// <param name="StopLsn">Up to where it must be recovered at least.</param>
/// <param name="StopTime">When it was complete.</param>
public sealed record WalBaseInfo(string Snapshot, long Timeline, string StartLsn, string StopLsn, DateTimeOffset StopTime)
{
    /// <summary>It has the log itself that it needs to be consistent.</summary>
    public bool HasLog { get; init; }
}

/// <summary>A part of a timeline's log without a hole.</summary>
/// <param name="Timeline">The timeline.</param>
/// <param name="FromTime">Its first commit, or null.</param>
/// <param name="FromLsn">Its first record.</param>
/// <param name="ToTime">Its last commit, or null.</param>
/// <param name="ToLsn">Where its last record ends.</param>
/// <param name="EndsBecause">Why it goes no further.</param>
/// <param name="EndsAt">The place that is missing or damaged, or where the log ends; null: it cannot be told.</param>
/// <param name="IsHole">More of the timeline follows that cannot be reached from here.</param>
/// <param name="Segments">Its segments.</param>
/// <param name="Bases">The base backups from which it can be reached, the oldest first: every moment behind that one's end.</param>
public sealed record WalIntervalInfo(
    long Timeline, DateTimeOffset? FromTime, string FromLsn, DateTimeOffset? ToTime, string ToLsn, string EndsBecause, string? EndsAt, bool IsHole, int Segments, IReadOnlyList<WalBaseInfo> Bases);

/// <summary>Which moments of a PostgreSQL server can be reached.</summary>
/// <param name="SystemIdentifier">The cluster.</param>
/// <param name="Version">The major version of PostgreSQL that wrote the first segment.</param>
/// <param name="Intervals">By timeline and place.</param>
/// <param name="Bases">All base backups.</param>
/// <param name="LastArchived">The segment furthest on, of the newest timeline, or null.</param>
/// <param name="LastArchivedAt">When that was stored.</param>
/// <param name="Lag">How long ago anything of the log was stored last.</param>
public sealed record WalWindowInfo(
    string SystemIdentifier, int Version, IReadOnlyList<WalIntervalInfo> Intervals, IReadOnlyList<WalBaseInfo> Bases, string? LastArchived, DateTimeOffset? LastArchivedAt, TimeSpan? Lag)
{
    /// <summary>Parts of the log that are lost.</summary>
    public IReadOnlyList<WalGapInfo> Gaps { get; init; } = [];

    /// <summary>Base backups behind whose end no moment is reached: they restore to their own end, by the log that they hold themselves.</summary>
    public IReadOnlyList<WalBaseInfo> Islands { get; init; } = [];

    /// <summary>What is there of the segment behind the last one; null: nothing.</summary>
    public WalUnfinishedInfo? Unfinished { get; init; }
}

/// <summary>What of a server's archived log nobody needs any more.</summary>
/// <param name="Server">The server.</param>
/// <param name="Segments">Segments that go.</param>
/// <param name="Files">All files that go.</param>
/// <param name="Bytes">What they take on the storage.</param>
/// <param name="FilesKept">Files that stay.</param>
/// <param name="BytesKept">What those take.</param>
/// <param name="Bases">Base backups from which every later moment is reached.</param>
/// <param name="Islands">Base backups that are kept as they are: nothing behind their end is reached from them.</param>
/// <param name="OldestKept">The oldest segment that stays, or null.</param>
public sealed record WalExpiryInfo(string Server, int Segments, int Files, long Bytes, int FilesKept, long BytesKept, int Bases, int Islands, string? OldestKept)
{
    /// <summary>Nothing was removed: it was only asked what would be.</summary>
    public bool DryRun { get; init; }

    /// <summary>Files that could not be removed.</summary>
    public int Failures { get; init; }

    /// <summary>Why not, of one of them; null: all could.</summary>
    public string? Failure { get; init; }

    /// <summary>A lock keeps them.</summary>
    public bool IsLocked { get; init; }

    /// <summary>Objects whose lock was extended because the log is needed.</summary>
    public long LocksExtended { get; init; }

    /// <summary>Why locks could not be extended; null: all could, or the storage has none.</summary>
    public string? LockProblem { get; init; }
}

/// <summary>What came of copying a server's archived log.</summary>
/// <param name="Server">The server.</param>
/// <param name="Files">Files that were copied, or in a dry run would be.</param>
/// <param name="Bytes">What they took on the source's storage.</param>
/// <param name="Others">Files of the source that are there, or that no base backup of the target needs.</param>
/// <param name="Damaged">Files that are damaged in the source and were not copied.</param>
public sealed record WalCopyInfo(string Server, int Files, long Bytes, int Others, int Damaged);
