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

    public required IReadOnlyList<string> Tags { get; init; }

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
    };
}

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

/// <summary>Chooses snapshots. What is empty or null chooses all; several values of one field are alternatives.</summary>
public sealed record SnapshotQuery
{
    public IReadOnlyList<string> Hosts { get; init; } = [];

    /// <summary>Each a comma-separated list of tags that a snapshot must all have. <c>K</c> also stands for <c>K=anything</c>.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>Paths of which a snapshot must have one, as bytes.</summary>
    public IReadOnlyList<byte[]> Paths { get; init; } = [];

    public string? Kind { get; init; }

    public string? Type { get; init; }

    /// <summary>Only the newest so many.</summary>
    public int? Limit { get; init; }

    internal bool Matches(SnapshotInfo snapshot) =>
        (Hosts.Count == 0 || Hosts.Contains(snapshot.Hostname, StringComparer.Ordinal))
        && (Tags.Count == 0 || Tags.Any(tags => tags.Split(',', StringSplitOptions.TrimEntries).All(tag => HasTag(snapshot, tag))))
        && (Paths.Count == 0 || Paths.Any(path => snapshot.Paths.Any(own => own.AsSpan().SequenceEqual(path))))
        && (Kind is null || snapshot.Kind == Kind)
        && (Type is null || snapshot.Type == Type);

    private static bool HasTag(SnapshotInfo snapshot, string tag) =>
        tag.Length == 0 ? snapshot.Tags.Count == 0 : snapshot.Tags.Any(own => own == tag || own.StartsWith(tag + "=", StringComparison.Ordinal));
}
