using System.Text.Json;
using System.Text.Json.Serialization;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>What a snapshot of kind <c>postgres-dump</c> says beside its files, under <c>db</c> (docs/format.md, Snapshots).</summary>
public sealed record PostgresDumpDocument
{
    /// <summary>The name under which the server is defined.</summary>
    public required string Server { get; init; }

    /// <summary>Text, because it is larger than numbers of JSON may be.</summary>
    public required string SystemIdentifier { get; init; }

    public required string ServerVersion { get; init; }

    /// <summary>Of the server: 13 to 18.</summary>
    public required int Major { get; init; }

    /// <summary>Of the <c>pg_dump</c> that wrote it: <c>15.18</c>. A <c>pg_restore</c> that is older may not read it.</summary>
    public required string DumpVersion { get; init; }

    public required int DumpMajor { get; init; }

    /// <summary>By this machine's clock.</summary>
    public required DateTimeOffset Started { get; init; }

    public required DateTimeOffset Stopped { get; init; }

    /// <summary>Whether <c>globals.sql</c> has the (hashed) passwords of roles.</summary>
    public required bool RolePasswords { get; init; }

    public required IReadOnlyList<PostgresDumpedDatabase> Databases { get; init; }

    /// <summary>The document as a snapshot carries it.</summary>
    public JsonElement ToJson() => JsonSerializer.SerializeToElement(this, PostgresDumpJson.Default.PostgresDumpDocument);

    /// <summary>Reads what a snapshot carries.</summary>
    /// <exception cref="BackupIQException"><c>CorruptData</c>: it is no such document, or says what cannot be.</exception>
    public static PostgresDumpDocument Read(JsonElement? json)
    {
        const string Wrong = "The snapshot does not say what a dump of PostgreSQL says";
        try
        {
            PostgresDumpDocument? read = json?.Deserialize(PostgresDumpJson.Default.PostgresDumpDocument);
            return read is { Major: >= 9 and < 100, DumpMajor: >= 9 and < 100 }
                && read.Databases.All(static database => database is { Name: { Length: > 0 }, Folder: { Length: > 0 } and not ("." or ".."), Tables: not null } && !database.Folder.AsSpan().ContainsAny('/', '\0'))
                && read.Databases.SelectMany(static database => database.Tables).All(static table => table is { Schema: not null, Name: not null, Rows: >= 0 })
                ? read
                : throw new BackupIQException(ErrorCodes.CorruptData, Wrong + ".");
        }
        catch (JsonException e)
        {
            throw new BackupIQException(ErrorCodes.CorruptData, $"{Wrong}: {e.Message}");
        }
    }
}

/// <summary>A database in a dump.</summary>
public sealed record PostgresDumpedDatabase
{
    public required string Name { get; init; }

    /// <summary>Its folder below <c>dump</c>: its name, with <c>%</c>, <c>/</c> and a dot at the beginning written as <c>%25</c>, <c>%2F</c> and <c>%2E</c>.</summary>
    public required string Folder { get; init; }

    public required string Owner { get; init; }

    public required string Encoding { get; init; }

    public required string Collate { get; init; }

    public required string CharacterType { get; init; }

    /// <summary><c>c</c>, <c>i</c> (ICU) or <c>b</c> (the server's own).</summary>
    public required string LocaleProvider { get; init; }

    /// <summary>Of a provider but <c>c</c>.</summary>
    public string? Locale { get; init; }

    /// <summary>The moment that the dump shows, as the server named it for those who read beside each other.</summary>
    public required string Snapshot { get; init; }

    /// <summary>Where the server's log was at that moment, or a little later.</summary>
    public required string Lsn { get; init; }

    /// <summary>That moment, by the server's clock.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>What it takes on the server's disk.</summary>
    public required long Size { get; init; }

    public required long LargeObjects { get; init; }

    /// <summary>How many tables have data in the dump.</summary>
    public required long TableCount { get; init; }

    /// <summary>These, with the rows that were counted while they were read: all, or the first ten thousand; none where the version of the dump's table of contents is not known.</summary>
    public required IReadOnlyList<PostgresDumpedTable> Tables { get; init; }
}

/// <summary>A table in a dump.</summary>
/// <param name="Schema">Its schema.</param>
/// <param name="Name">Its name.</param>
/// <param name="Rows">Rows that the dump has of it.</param>
public sealed record PostgresDumpedTable(string Schema, string Name, long Rows);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(PostgresDumpDocument))]
internal sealed partial class PostgresDumpJson : JsonSerializerContext;
