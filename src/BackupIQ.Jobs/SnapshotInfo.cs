using BackupIQ.Engine.Snapshots;

namespace BackupIQ.Jobs;

/// <summary>A snapshot as front doors show it.</summary>
public sealed record SnapshotInfo
{
    /// <summary>32 hex digits.</summary>
    public required string Id { get; init; }

    /// <summary>The first eight of them.</summary>
    public required string ShortId { get; init; }

    /// <summary>A name for people: <c>full-20261122T020000Z-1a2b3c4d</c>.</summary>
    public required string Name { get; init; }

    /// <summary>When the backup began.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>When it was committed.</summary>
    public required DateTimeOffset Ended { get; init; }

    public required string Hostname { get; init; }

    public required string Username { get; init; }

    /// <summary>What was backed up, as bytes.</summary>
    public required IReadOnlyList<byte[]> Paths { get; init; }

    /// <summary>The tags it has now: those of the backup, with what was added and without what was removed since.</summary>
    public required IReadOnlyList<string> Tags { get; init; }

    /// <summary>Holds that were not released, those that ended by themselves among them.</summary>
    public IReadOnlyList<HoldInfo> Holds { get; init; } = [];

    /// <summary>Something that is said about it cannot be read; it may be a hold, so the snapshot counts as held.</summary>
    public bool HasUnreadableAnnotation { get; init; }

    /// <summary>No rule of retention removes it.</summary>
    public bool IsPinned { get; init; }

    /// <summary>Of a database's backup: how many of its pages were damaged when they were read.</summary>
    public long DamagedPages { get; init; }

    /// <summary>It is the newest of its server without damaged pages, and those after it have some: no rule of retention removes it.</summary>
    public bool IsLastSound { get; init; }

    /// <summary>Verifications of its restore, oldest first.</summary>
    public IReadOnlyList<VerdictInfo> Verdicts { get; init; } = [];

    /// <summary>Set when the snapshot is forgotten.</summary>
    public ForgottenInfo? Forgotten { get; init; }

    /// <summary>When it was stored, by the storage's clock where it has one.</summary>
    public DateTimeOffset StoredAt { get; init; }

    /// <summary><c>files</c>, <c>command</c>, <c>postgres</c>, …</summary>
    public required string Kind { get; init; }

    /// <summary><c>full</c>, <c>incremental</c> or <c>differential</c>.</summary>
    public required string Type { get; init; }

    /// <summary>The snapshot it was compared with, or null.</summary>
    public string? Parent { get; init; }

    /// <summary>The root tree, 64 hex digits.</summary>
    public required string Tree { get; init; }

    public required string ProgramVersion { get; init; }

    /// <summary>What the backup counted, where the snapshot says.</summary>
    public BackupCounts? Counts { get; init; }

    /// <summary>Set where this is what was left of a damaged snapshot: that one's id.</summary>
    public string? RepairedFrom { get; init; }

    /// <summary>How many paths of that one are lost.</summary>
    public long LostCount { get; init; }

    /// <summary>The first of them.</summary>
    public IReadOnlyList<string> Lost { get; init; } = [];

    /// <summary>It is what an interrupted run had stored: whole as far as it goes, and no more.</summary>
    public bool IsPartial { get; init; }

    /// <summary>Set on a copy: the id of the snapshot that it is a copy of, wherever that is.</summary>
    public string? Original { get; init; }

    /// <summary>Set on a copy: the id of the repository that the original was made in.</summary>
    public string? OriginalRepository { get; init; }

    /// <summary>Whether it may not be removed, whoever asks.</summary>
    public bool IsHeld(DateTimeOffset now) => HasUnreadableAnnotation || Holds.Any(hold => hold.IsInForce(now));

    internal static SnapshotInfo From(Snapshot snapshot) => new()
    {
        Id = snapshot.Id.ToString(),
        ShortId = snapshot.ShortId,
        Name = snapshot.Name,
        Time = snapshot.Time,
        Ended = snapshot.Ended,
        Hostname = snapshot.Hostname,
        Username = snapshot.Username,
        Paths = snapshot.RawPaths ?? [.. snapshot.Paths.Select(PathText.Bytes)],
        Tags = snapshot.Tags,
        Kind = snapshot.Kind,
        Type = snapshot.Type.ToString().ToLowerInvariant(),
        Parent = snapshot.Parent,
        Tree = snapshot.Tree,
        ProgramVersion = snapshot.ProgramVersion,
        Counts = snapshot.Summary is null ? null : BackupCounts.From(snapshot.Summary, snapshot.Time, snapshot.Ended),
        RepairedFrom = snapshot.RepairedFrom,
        LostCount = snapshot.LostCount ?? 0,
        Lost = snapshot.Lost ?? [],
        IsPartial = snapshot.Partial,
        Original = snapshot.Original,
        OriginalRepository = snapshot.OriginalRepository,
        StoredAt = snapshot.StoredAt,
        Holds = [.. snapshot.Annotations.Holds.Select(static hold => new HoldInfo(hold.Id.ToString(), hold.Until, hold.Reason, hold.Time, hold.Hostname, hold.Username))],
        HasUnreadableAnnotation = snapshot.Annotations.Unreadable.Count > 0,
        IsPinned = snapshot.Annotations.Pins.Count > 0,
        DamagedPages = snapshot.DamagedPages,
        Verdicts = [.. snapshot.Annotations.Verdicts.Select(static verdict => new VerdictInfo(verdict.Level, verdict.Passed, verdict.Time, verdict.Hostname, verdict.Reason))],
        Forgotten = snapshot.Annotations.Forgettings is [var first, ..]
            ? new ForgottenInfo(first.Time, first.Hostname, first.Username, first.Reason, snapshot.Annotations.RemovedFrom!.Value)
            : null,
    };
}

/// <summary>A hold on a snapshot.</summary>
/// <param name="Id">Its id, 32 hex digits.</param>
/// <param name="Until">When it ends by itself; null: never.</param>
/// <param name="Reason">Why; may be empty.</param>
/// <param name="Time">When it was put.</param>
/// <param name="Hostname">Where.</param>
/// <param name="Username">By whom.</param>
public sealed record HoldInfo(string Id, DateTimeOffset? Until, string Reason, DateTimeOffset Time, string Hostname, string Username)
{
    /// <summary>Whether it has not ended by itself.</summary>
    public bool IsInForce(DateTimeOffset now) => Until is not { } until || until > now;
}

/// <summary>The outcome of a verification of a snapshot's restore.</summary>
/// <param name="Level">How deep: <c>quick</c>, <c>standard</c> or <c>comprehensive</c>.</param>
/// <param name="Passed">Whether all was as it should be.</param>
/// <param name="Time">When.</param>
/// <param name="Hostname">Where.</param>
/// <param name="Summary">What was found, in a sentence; may be empty.</param>
public sealed record VerdictInfo(string Level, bool Passed, DateTimeOffset Time, string Hostname, string Summary);

/// <summary>That a snapshot is forgotten.</summary>
/// <param name="Time">Since when.</param>
/// <param name="Hostname">Where that was said.</param>
/// <param name="Username">By whom.</param>
/// <param name="Reason">Why; may be empty.</param>
/// <param name="RemovedFrom">From then on it may be removed for good at any time.</param>
public sealed record ForgottenInfo(DateTimeOffset Time, string Hostname, string Username, string Reason, DateTimeOffset RemovedFrom);

/// <summary>What a backup counted.</summary>
public sealed record BackupCounts
{
    public required long FilesNew { get; init; }

    public required long FilesChanged { get; init; }

    public required long FilesUnmodified { get; init; }

    /// <summary>Items that could not be read or changed while they were read.</summary>
    public required long FilesFailed { get; init; }

    public required long DirsNew { get; init; }

    public required long DirsChanged { get; init; }

    public required long DirsUnmodified { get; init; }

    public required long DataBlobs { get; init; }

    public required long TreeBlobs { get; init; }

    /// <summary>Bytes of new chunks before compression.</summary>
    public required long DataAdded { get; init; }

    /// <summary>Bytes of new chunks after compression and encryption.</summary>
    public required long DataAddedPacked { get; init; }

    public required long TotalFiles { get; init; }

    public required long TotalBytes { get; init; }

    public required TimeSpan Duration { get; init; }

    /// <summary>0 to 1.</summary>
    public required double SuccessRate { get; init; }

    public required DateTimeOffset Started { get; init; }

    public required DateTimeOffset Ended { get; init; }

    internal static BackupCounts From(SnapshotSummary summary, DateTimeOffset started, DateTimeOffset ended) => new()
    {
        FilesNew = summary.FilesNew,
        FilesChanged = summary.FilesChanged,
        FilesUnmodified = summary.FilesUnmodified,
        FilesFailed = summary.FilesFailed,
        DirsNew = summary.DirsNew,
        DirsChanged = summary.DirsChanged,
        DirsUnmodified = summary.DirsUnmodified,
        DataBlobs = summary.DataBlobs,
        TreeBlobs = summary.TreeBlobs,
        DataAdded = summary.DataAdded,
        DataAddedPacked = summary.DataAddedPacked,
        TotalFiles = summary.TotalFilesProcessed,
        TotalBytes = summary.TotalBytesProcessed,
        Duration = TimeSpan.FromSeconds(summary.TotalDuration),
        SuccessRate = summary.SuccessRate,
        Started = started,
        Ended = ended,
    };
}

/// <summary>Snapshots that are named, or, without names, all that a query chooses.</summary>
/// <param name="Names">Each as <see cref="BackupIqRepository.FindSnapshotAsync"/> takes it.</param>
/// <param name="Query">What they are looked for among.</param>
public sealed record SnapshotSelection(IReadOnlyList<string> Names, SnapshotQuery Query)
{
    /// <summary>Whether nothing is chosen by anything but how many.</summary>
    internal bool IsAll => Names.Count == 0 && Query is { Hosts.Count: 0, Tags.Count: 0, Paths.Count: 0, Kind: null, Type: null, Verified: false };
}

/// <summary>Chooses snapshots. What is empty or null chooses all; several values of one field are alternatives.</summary>
/// <example>
/// <code>
/// SnapshotQuery query = new() { Hosts = ["server"], Tags = ["daily"], Limit = 3 };
/// foreach (SnapshotInfo snapshot in await repository.ListSnapshotsAsync(query, cancellationToken))
/// {
///     Console.WriteLine($"{snapshot.Name} {snapshot.Counts?.TotalFiles}");
/// }
/// </code>
/// </example>
public sealed record SnapshotQuery
{
    public IReadOnlyList<string> Hosts { get; init; } = [];

    /// <summary>Each a comma-separated list of tags that a snapshot must all have. <c>K</c> also stands for <c>K=anything</c>.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>Paths of which a snapshot must have one, as bytes.</summary>
    public IReadOnlyList<byte[]> Paths { get; init; } = [];

    public string? Kind { get; init; }

    public string? Type { get; init; }

    /// <summary>Only those whose restore was verified.</summary>
    public bool Verified { get; init; }

    /// <summary>Only the newest so many.</summary>
    public int? Limit { get; init; }

    internal bool Matches(SnapshotInfo snapshot) =>
        (Hosts.Count == 0 || Hosts.Contains(snapshot.Hostname, StringComparer.Ordinal))
        && (Tags.Count == 0 || Tags.Any(tags => tags.Split(',', StringSplitOptions.TrimEntries).All(tag => HasTag(snapshot, tag))))
        && (Paths.Count == 0 || Paths.Any(path => snapshot.Paths.Any(own => own.AsSpan().SequenceEqual(path))))
        && (Kind is null || snapshot.Kind == Kind)
        && (Type is null || snapshot.Type == Type)
        && (!Verified || snapshot.Verdicts is [.., { Passed: true }]);

    private static bool HasTag(SnapshotInfo snapshot, string tag) =>
        tag.Length == 0 ? snapshot.Tags.Count == 0 : snapshot.Tags.Any(own => own == tag || own.StartsWith(tag + "=", StringComparison.Ordinal));
}
