using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;

namespace BackupIQ.Sources.Postgres;

/// <summary>A relation as the catalog describes it, in lines that are the same on every server that has the same.</summary>
/// <param name="Sql">Its name with its schema's, quoted.</param>
/// <param name="Kind">What it is: <c>table</c>, <c>partitioned table</c>, <c>view</c>, …</param>
/// <param name="Persists">Whether its rows outlive a crash; those of unlogged tables do not.</param>
/// <param name="Columns">A line for each, in their order: name, type, default. Of a view its definition.</param>
/// <param name="Indexes">Their definitions by their names.</param>
/// <param name="Constraints">Their definitions by their names.</param>
public sealed record PostgresRelation(
    string Sql, string Kind, bool Persists, IReadOnlyList<string> Columns, IReadOnlyDictionary<string, string> Indexes, IReadOnlyDictionary<string, string> Constraints)
{
    /// <summary>Whether it has rows of its own that a backup brings back.</summary>
    public bool HasRows => Persists && Kind is "table" or "materialized view";

    /// <summary>
    /// Numbers that this cluster gives once: of the relation, its indexes and constraints, and how many columns it ever had. What was dropped and made again looks the
    /// same and has others.
    /// </summary>
    public string Marks { get; init; } = "";

    /// <summary>Sixteen hex digits that are the same where all of it is, on any server.</summary>
    public string Digest()
    {
        StringBuilder text = new();
        text.Append(Kind).Append('\0').Append(Persists);
        foreach (string line in Columns.Concat(Lines(Indexes)).Append("").Concat(Lines(Constraints)))
        {
            text.Append('\0').Append(line);
        }

        return PostgresSchema.Digest(text.ToString());
    }

    private static IEnumerable<string> Lines(IReadOnlyDictionary<string, string> named) => named.OrderBy(static one => one.Key, StringComparer.Ordinal).Select(static one => $"{one.Key} {one.Value}");
}

/// <summary>The relations of a database, by <c>schema.name</c>; the server's own are not among them.</summary>
public sealed record PostgresSchema(IReadOnlyDictionary<string, PostgresRelation> Relations)
{
    /// <summary>Tables, partitioned ones among them.</summary>
    public int Tables => Relations.Values.Count(static relation => relation.Kind is "table" or "partitioned table");

    /// <summary>Columns of all relations.</summary>
    public int Columns => Relations.Values.Sum(static relation => relation.Columns.Count);

    /// <summary>Indexes.</summary>
    public int Indexes => Relations.Values.Sum(static relation => relation.Indexes.Count);

    /// <summary>Constraints.</summary>
    public int Constraints => Relations.Values.Sum(static relation => relation.Constraints.Count);

    /// <summary>What a backup records of it.</summary>
    public PostgresSchemaRecord ToRecord() => new()
    {
        Tables = Tables,
        Columns = Columns,
        Indexes = Indexes,
        Constraints = Constraints,
        Relations = Relations.ToDictionary(static one => one.Key, static one => one.Value.Digest(), StringComparer.Ordinal),
        Marks = Relations.ToDictionary(static one => one.Key, static one => one.Value.Marks, StringComparer.Ordinal),
    };

    internal static string Digest(string text) => BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(text))).ToString("x16", System.Globalization.CultureInfo.InvariantCulture);
}

/// <summary>What a backup records of a database's relations, so that a restored one can be compared.</summary>
public sealed record PostgresSchemaRecord
{
    /// <summary>More relations are not recorded: the document is read whenever snapshots are listed.</summary>
    public const int MostRelations = 2000;

    public required int Tables { get; init; }

    public required int Columns { get; init; }

    public required int Indexes { get; init; }

    public required int Constraints { get; init; }

    /// <summary>
    /// Of each relation, as <c>schema.name</c>, a digest of its columns, indexes and constraints: those that were the same before the backup began and after it ended.
    /// </summary>
    public required IReadOnlyDictionary<string, string> Relations { get; init; }

    /// <summary>Of each its <see cref="PostgresRelation.Marks"/>; not recorded.</summary>
    [JsonIgnore]
    public IReadOnlyDictionary<string, string> Marks { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Something was changed while the backup was made: the numbers are those of its end, and what changed is not among <see cref="Relations"/>.</summary>
    public bool Changed { get; init; }

    /// <summary>What held at the beginning and at the end, and so in between.</summary>
    public PostgresSchemaRecord And(PostgresSchemaRecord later)
    {
        Dictionary<string, string> same = later.Relations.Where(one => Relations.TryGetValue(one.Key, out string? digest) && digest == one.Value && Marks.GetValueOrDefault(one.Key) == later.Marks.GetValueOrDefault(one.Key))
            .ToDictionary(static one => one.Key, static one => one.Value, StringComparer.Ordinal);
        return later with { Relations = same, Changed = same.Count != Relations.Count || same.Count != later.Relations.Count };
    }
}
