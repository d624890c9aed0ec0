using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;
using BackupIQ.Repository;

namespace BackupIQ.Engine.Snapshots;

/// <summary>How a snapshot was read (docs/glossary.md): everything, or only what changed against another.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<SnapshotType>))]
public enum SnapshotType
{
    /// <summary>Everything was read and hashed.</summary>
    [JsonStringEnumMemberName("full")]
    Full,

    /// <summary>What did not change since the newest snapshot of the series was taken over.</summary>
    [JsonStringEnumMemberName("incremental")]
    Incremental,

    /// <summary>What did not change since the newest full snapshot of the series was taken over.</summary>
    [JsonStringEnumMemberName("differential")]
    Differential,
}

/// <summary>
/// A snapshot: the root of a tree with who, what and when. Complete by itself, whatever its type. Written once, as the session's commit.
/// </summary>
public sealed record Snapshot
{
    /// <summary>The session that made it; also the snapshot's id. Not in the document: its object's name says it.</summary>
    [JsonIgnore]
    public SessionId Id { get; init; }

    /// <summary>When the backup began, by the clock of the machine that was backed up.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>When it was committed, by the same clock.</summary>
    public DateTimeOffset Ended { get; init; }

    public required string Hostname { get; init; }

    public string Username { get; init; } = "";

    /// <summary>The paths that were backed up, as text for people; those that are not UTF-8 are in <see cref="RawPaths"/> too.</summary>
    public required IReadOnlyList<string> Paths { get; init; }

    /// <summary>The paths as bytes (base64 in the document), in the same order; null when all of them are UTF-8.</summary>
    public IReadOnlyList<byte[]>? RawPaths { get; init; }

    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>What kind of source it came from: <c>files</c>, <c>command</c>, <c>postgres</c>, …</summary>
    public required string Kind { get; init; }

    public required SnapshotType Type { get; init; }

    /// <summary>The snapshot that was compared with, or null. A hint for people: nothing depends on it.</summary>
    public string? Parent { get; init; }

    /// <summary>The root directory's tree, 64 hex digits.</summary>
    public required string Tree { get; init; }

    /// <summary>The root directory's scan (ctime, inode and device of each entry), 64 hex digits, or null.</summary>
    public string? Scan { get; init; }

    public string ProgramVersion { get; init; } = "";

    /// <summary>Set on partial snapshots: the run had not ended when this was written.</summary>
    public bool Partial { get; init; }

    public SnapshotSummary? Summary { get; init; }

    /// <summary>Set where this is another snapshot without what that one has lost: its id.</summary>
    public string? RepairedFrom { get; init; }

    /// <summary>How many paths of that snapshot are lost.</summary>
    public long? LostCount { get; init; }

    /// <summary>The first of them, as text for people; a folder of which only a part is lost ends with a slash.</summary>
    public IReadOnlyList<string>? Lost { get; init; }

    /// <summary>
    /// Set on a copy: the id of the snapshot that it is a copy of, which a copy of a copy keeps; of a snapshot from another program, that
    /// program's id. Two snapshots with the same <see cref="SourceId"/> hold the same.
    /// </summary>
    public string? Original { get; init; }

    /// <summary>Set on a copy: the id of the repository that the original was made in.</summary>
    public string? OriginalRepository { get; init; }

    /// <summary>
    /// Of a database's backup: what is known of the server and the backup beside its files, in the form of its kind; null for other kinds.
    /// </summary>
    public JsonElement? Db { get; init; }

    /// <summary>Of a database's backup: how many of its pages were damaged when they were read, as <see cref="Db"/> says.</summary>
    [JsonIgnore]
    public long DamagedPages =>
        Db is { ValueKind: JsonValueKind.Object } said && said.TryGetProperty("page_error_count", out JsonElement count) && count.ValueKind == JsonValueKind.Number && count.TryGetInt64(out long pages) ? pages : 0;

    /// <summary>Fields that this version does not know.</summary>
    [JsonExtensionData]
    public Dictionary<string, JsonElement>? Unknown { get; set; }

    /// <summary>When it was stored, by the storage's clock where it has one. Not in the document.</summary>
    [JsonIgnore]
    public DateTimeOffset StoredAt { get; init; }

    /// <summary>Of a partial snapshot: the how manieth of its run it is. Not in the document: its object's name says it.</summary>
    [JsonIgnore]
    public int PartialNumber { get; init; }

    /// <summary>The tags of the document itself; <see cref="Tags"/> has those that were added since and lacks those that were removed.</summary>
    [JsonIgnore]
    public IReadOnlyList<string> OwnTags { get; init; } = [];

    /// <summary>What is said about it beside its document.</summary>
    [JsonIgnore]
    public SnapshotAnnotations Annotations { get; init; } = SnapshotAnnotations.None;

    /// <summary>The id of the original: its own, unless it is a copy.</summary>
    [JsonIgnore]
    public string SourceId => Original ?? Id.ToString();

    [JsonIgnore]
    public string ShortId => Id.ToString()[..8];

    /// <summary>A name for people: <c>full-20261122T020000Z-1a2b3c4d</c>.</summary>
    [JsonIgnore]
    public string Name => $"{Type.ToString().ToLowerInvariant()}-{Time.UtcDateTime:yyyyMMdd'T'HHmmss'Z'}-{ShortId}";

    /// <summary>The root tree's id.</summary>
    /// <exception cref="CorruptDataException">The document names none.</exception>
    [JsonIgnore]
    public ChunkId TreeId => ChunkId.TryParse(Tree, out ChunkId id) ? id : throw new CorruptDataException($"Snapshot {ShortId} names no tree.");

    /// <summary>The root scan's id, or null.</summary>
    [JsonIgnore]
    public ChunkId? ScanId => ChunkId.TryParse(Scan, out ChunkId id) ? id : null;
}

/// <summary>What a backup did; the JSON names are restic's where the concept is.</summary>
public sealed record SnapshotSummary
{
    public long FilesNew { get; init; }

    public long FilesChanged { get; init; }

    public long FilesUnmodified { get; init; }

    public long FilesFailed { get; init; }

    public long DirsNew { get; init; }

    public long DirsChanged { get; init; }

    public long DirsUnmodified { get; init; }

    public long DataBlobs { get; init; }

    public long TreeBlobs { get; init; }

    /// <summary>Bytes of new chunks before compression.</summary>
    public long DataAdded { get; init; }

    /// <summary>Bytes of new chunks after compression and encryption.</summary>
    public long DataAddedPacked { get; init; }

    public long TotalFilesProcessed { get; init; }

    public long TotalBytesProcessed { get; init; }

    /// <summary>Seconds.</summary>
    public double TotalDuration { get; init; }

    /// <summary>Share of the entries that were read, 0 to 1.</summary>
    public double SuccessRate { get; init; } = 1;
}
