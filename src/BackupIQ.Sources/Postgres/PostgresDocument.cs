using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres;

/// <summary>What a snapshot of kind <c>postgres</c> says beside its files, under <c>db</c> (docs/format.md, Snapshots).</summary>
public sealed record PostgresDocument
{
    /// <summary>The name under which the server is defined.</summary>
    public required string Server { get; init; }

    /// <summary>Text, because it is larger than numbers of JSON may be.</summary>
    public required string SystemIdentifier { get; init; }

    public required string ServerVersion { get; init; }

    /// <summary>13 to 18.</summary>
    public required int Major { get; init; }

    public required long CatalogVersion { get; init; }

    public required int BlockSize { get; init; }

    public required long SegmentBlocks { get; init; }

    public required long WalSegmentSize { get; init; }

    /// <summary>Whether pages carry checksums.</summary>
    public required bool Checksums { get; init; }

    public required long Timeline { get; init; }

    public required string WalStartLsn { get; init; }

    public required string WalEndLsn { get; init; }

    /// <summary>When the server was told that a backup begins, and that it ended, by the server's clock.</summary>
    public required DateTimeOffset Started { get; init; }

    public required DateTimeOffset Stopped { get; init; }

    /// <summary>The zone in which the server tells times: <c>Europe/Berlin</c>; null: not told.</summary>
    public string? TimeZone { get; init; }

    /// <summary>The data directory on the server.</summary>
    public required string DataDirectory { get; init; }

    public required long OwnerUserId { get; init; }

    public required long OwnerGroupId { get; init; }

    /// <summary>The segment files that recovery needs and the snapshot has, in their order.</summary>
    public required IReadOnlyList<string> Wal { get; init; }

    /// <summary><see cref="InArchive"/>: the WAL that recovery needs is in the server's archive in this repository, and not in the snapshot. Null: it is in the snapshot.</summary>
    public string? WalSource { get; init; }

    /// <summary>True: the files are a standby's, and recovery is consistent where its <c>pg_control</c> says.</summary>
    public bool? Standby { get; init; }

    public required IReadOnlyList<PostgresDatabase> Databases { get; init; }

    public required IReadOnlyList<PostgresTablespace> Tablespaces { get; init; }

    /// <summary>Configuration files outside of the data directory: what each is for (<c>config_file</c>, …) and its path there.</summary>
    public required IReadOnlyDictionary<string, string> ConfigFiles { get; init; }

    /// <summary>Pages that were not sound, all of them or the first thousand.</summary>
    public required IReadOnlyList<PostgresPageError> PageErrors { get; init; }

    public required long PageErrorCount { get; init; }

    /// <summary>What <see cref="WalSource"/> says where the snapshot has no WAL.</summary>
    public const string InArchive = "archive";

    /// <summary>The role that <c>initdb</c> made: who looks at a restored server connects as it. Null: not recorded.</summary>
    public string? Superuser { get; init; }

    /// <summary>The document as a snapshot carries it.</summary>
    public JsonElement ToJson() => JsonSerializer.SerializeToElement(this, PostgresJson.Default.PostgresDocument);

    /// <summary>Reads what a snapshot carries.</summary>
    /// <exception cref="BackupIQException"><c>CorruptData</c>: it is no such document, or says what cannot be.</exception>
    public static PostgresDocument Read(JsonElement? json)
    {
        try
        {
            PostgresDocument? read = json?.Deserialize(PostgresJson.Default.PostgresDocument);
            return read is { Major: >= 13 and < 100 } && read.Wal.All(static name => name is { Length: 24 } && name.All(char.IsAsciiHexDigit))
                && read.Tablespaces.All(static space => space is { Oid: > 0 and <= uint.MaxValue, Name: not null, Location: ['/', ..] } && !space.Location.AsSpan().ContainsAny('\0', '\n'))
                && read.Databases.All(static database => database is { Name: not null, Rows: not null } && database.Schema is null or { Relations: not null })
                && read.PageErrors.All(static error => error is { Path: not null }) && read.WalSource is null or InArchive
                ? read
                : throw new BackupIQException(ErrorCodes.CorruptData, "The snapshot does not say what a backup of PostgreSQL says.");
        }
        catch (JsonException e)
        {
            throw new BackupIQException(ErrorCodes.CorruptData, $"The snapshot does not say what a backup of PostgreSQL says: {e.Message}");
        }
    }
}

/// <summary>A database of a server.</summary>
/// <param name="Oid">Its folder's name.</param>
/// <param name="Name">Its name.</param>
/// <param name="Rows">Estimates of rows by relation, as <c>schema.name</c>; empty where it could not be connected to.</param>
public sealed record PostgresDatabase(long Oid, string Name, IReadOnlyDictionary<string, long> Rows)
{
    /// <summary>Rows that were added, changed or removed since the estimate, by relation, as far as the server had counted them; null: not recorded.</summary>
    public IReadOnlyDictionary<string, long>? Changes { get; init; }

    /// <summary>What its relations are; null: not recorded, or the database came or went while the backup was made.</summary>
    public PostgresSchemaRecord? Schema { get; init; }

    /// <summary>Databases as they were at the beginning and at the end of a backup: of each what held at both.</summary>
    public static IReadOnlyList<PostgresDatabase> Steady(IReadOnlyList<PostgresDatabase> before, IReadOnlyList<PostgresDatabase> after) =>
    [
        .. after.Select(late => late with { Schema = before.FirstOrDefault(early => early.Oid == late.Oid && early.Name == late.Name)?.Schema is { } early && late.Schema is { } now ? early.And(now) : null }),
        .. before.Where(early => after.All(late => late.Oid != early.Oid)).Select(static early => early with { Schema = null }),
    ];
}

/// <summary>A tablespace outside of the data directory.</summary>
/// <param name="Oid">Its link's name.</param>
/// <param name="Name">Its name.</param>
/// <param name="Location">Where it lay.</param>
public sealed record PostgresTablespace(long Oid, string Name, string Location);

/// <summary>A page that is damaged.</summary>
/// <param name="Path">The relation's file, below the data directory.</param>
/// <param name="Block">The page's number in the relation's fork.</param>
public sealed record PostgresPageError(string Path, long Block);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(PostgresDocument))]
internal sealed partial class PostgresJson : JsonSerializerContext;
