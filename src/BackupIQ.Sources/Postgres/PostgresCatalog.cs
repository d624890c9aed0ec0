using System.Data;
using Npgsql;

namespace BackupIQ.Sources.Postgres;

/// <summary>Reads what a database has from its catalog; any role may.</summary>
internal static class PostgresCatalog
{
    private const string Own = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg_temp_%' AND n.nspname NOT LIKE 'pg_toast_temp_%' AND c.relpersistence <> 't'";

    private static readonly Dictionary<string, string> Kinds = new(StringComparer.Ordinal)
    {
        ["r"] = "table",
        ["p"] = "partitioned table",
        ["v"] = "view",
        ["m"] = "materialized view",
        ["f"] = "foreign table",
        ["S"] = "sequence",
    };

    /// <summary>All relations of a database, or null where there are more than <paramref name="most"/>.</summary>
    /// <exception cref="NpgsqlException">The server refused, or the connection ended.</exception>
    public static async Task<PostgresSchema?> ReadSchemaAsync(NpgsqlConnection connection, int most, CancellationToken cancellationToken)
    {
        // Names in definitions are then written with their schemas, whoever asks.
        await RowsAsync(connection, "SET search_path = pg_catalog", cancellationToken);
        Dictionary<uint, (string Name, string Sql, string Kind, bool Persists, List<string> Columns, SortedDictionary<string, string> Indexes, SortedDictionary<string, string> Constraints, List<long> Marks)> found = [];
        foreach (object?[] row in await RowsAsync(
            connection,
            $"""
            SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'p', CASE WHEN c.relkind IN ('v', 'm') THEN md5(pg_get_viewdef(c.oid)) END, format('%I.%I', n.nspname, c.relname), c.relnatts
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {Own} LIMIT {most + 1}
            """,
            cancellationToken))
        {
            List<string> columns = row[5] is string definition ? [$"definition {definition}"] : [];
            found[(uint)row[0]!] = ($"{row[1]}.{row[2]}", (string)row[6]!, Kinds[(string)row[3]!], (bool)row[4]!, columns, new(StringComparer.Ordinal), new(StringComparer.Ordinal), [(uint)row[0]!, (short)row[7]!]);
        }

        if (found.Count > most)
        {
            return null;
        }

        foreach (object?[] row in await RowsAsync(
            connection,
            $"""
            SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {Own} ORDER BY a.attrelid, a.attnum
            """,
            cancellationToken))
        {
            if (found.TryGetValue((uint)row[0]!, out var relation))
            {
                string kind = (row[5] as string is { Length: > 0 } identity ? $" IDENTITY {identity}" : "") + (row[6] as string is { Length: > 0 } generated ? $" GENERATED {generated}" : "");
                relation.Columns.Add($"{row[1]} {row[2]}{((bool)row[3]! ? " NOT NULL" : "")}{(row[4] is string value ? $" DEFAULT {value}" : "")}{kind}");
            }
        }

        foreach (object?[] row in await RowsAsync(
            connection,
            $"""
            SELECT i.indrelid, x.relname::text, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indexrelid
            FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {Own}
            """,
            cancellationToken))
        {
            if (found.TryGetValue((uint)row[0]!, out var relation))
            {
                relation.Indexes[(string)row[1]!] = $"{row[2]}{((bool)row[3]! ? "" : " INVALID")}";
                relation.Marks.Add((uint)row[4]!);
            }
        }

        // That a column may not be null is said of the column; version 18 has it as a constraint, too.
        foreach (object?[] row in await RowsAsync(
            connection,
            $"""
            SELECT k.conrelid, k.conname::text, pg_get_constraintdef(k.oid), k.oid
            FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE k.contype <> 'n' AND {Own}
            """,
            cancellationToken))
        {
            if (found.TryGetValue((uint)row[0]!, out var relation))
            {
                relation.Constraints[(string)row[1]!] = (string)row[2]!;
                relation.Marks.Add((uint)row[3]!);
            }
        }

        return new PostgresSchema(found.Values.ToDictionary(
            static one => one.Name, static one => new PostgresRelation(one.Sql, one.Kind, one.Persists, one.Columns, one.Indexes, one.Constraints) { Marks = string.Join(' ', one.Marks.Order()) },
            StringComparer.Ordinal));
    }

    /// <summary>Rows of a query, null for NULL.</summary>
    public static async Task<IReadOnlyList<object?[]>> RowsAsync(NpgsqlConnection connection, string sql, CancellationToken cancellationToken)
    {
        List<object?[]> rows = [];
        await using NpgsqlCommand command = new(sql, connection);
        await using NpgsqlDataReader reader = await command.ExecuteReaderAsync(CommandBehavior.Default, cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            object?[] row = new object?[reader.FieldCount];
            for (int i = 0; i < row.Length; i++)
            {
                row[i] = await reader.IsDBNullAsync(i, cancellationToken) ? null : reader.GetValue(i);
            }

            rows.Add(row);
        }

        return rows;
    }
}
