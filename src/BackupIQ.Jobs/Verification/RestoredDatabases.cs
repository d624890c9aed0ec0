using System.Globalization;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Verification;

namespace BackupIQ.Jobs.Verification;

/// <summary>The databases of a restored server, compared with what the backup recorded of them.</summary>
internal sealed class RestoredDatabases(PostgresDocument document, string sockets)
{
    /// <summary>
    /// The backup records what the server estimates, which vacuum and analyze bring up to date now and then, and how much was changed since. Within a tenth, or this
    /// many rows, and what was changed, it says nothing.
    /// </summary>
    private const double Tolerance = 0.1;

    private const long FewRows = 1000;

    private readonly Dictionary<string, PostgresSchema> _schemas = new(StringComparer.Ordinal);
    private IReadOnlyList<string> _names = [];

    /// <summary>The role that is connected as.</summary>
    public string Role { get; private set; } = "postgres";

    /// <summary>Connects, and looks whether all databases that were there at the beginning and at the end are there.</summary>
    public async Task<Seen> ConnectAsync(string? role, CancellationToken cancellationToken)
    {
        await using (PostgresProbe probe = await FindRoleAsync(role, cancellationToken).ConfigureAwait(false))
        {
            _names = await probe.ListDatabasesAsync(cancellationToken).ConfigureAwait(false);
        }

        // One that was made or dropped while the backup was made may be there or not.
        string[] missing = [.. document.Databases.Where(database => database.Schema is not null && !_names.Contains(database.Name)).Select(static database => $"Database {database.Name} is missing.")];
        return Seen.Of(missing, $"{Seen.Count(_names.Count, "database")}; all that were recorded are there");
    }

    /// <summary>Compares relations with those that the backup recorded, one by one.</summary>
    public async Task<Seen> CompareSchemasAsync(CancellationToken cancellationToken)
    {
        List<string> problems = [];
        List<string> told = [];
        int relations = 0;
        foreach (string name in _names)
        {
            await using PostgresProbe probe = await OpenAsync(name, cancellationToken).ConfigureAwait(false);
            PostgresSchema schema = _schemas[name] = await probe.ReadSchemaAsync(cancellationToken).ConfigureAwait(false);
            if (document.Databases.FirstOrDefault(database => database.Name == name)?.Schema is not { } record)
            {
                continue;
            }

            relations += record.Relations.Count;
            foreach ((string relation, string digest) in record.Relations)
            {
                if (!schema.Relations.TryGetValue(relation, out PostgresRelation? found))
                {
                    problems.Add($"{name}: {relation} is missing.");
                }
                else if (found.Digest() != digest)
                {
                    problems.Add($"{name}: {relation} is another one: its columns, indexes or constraints are not those that were recorded.");
                }
            }

            Count(name, "tables", schema.Tables, record.Tables, record, problems, told);
            Count(name, "columns", schema.Columns, record.Columns, record, problems, told);
            Count(name, "indexes", schema.Indexes, record.Indexes, record, problems, told);
            Count(name, "constraints", schema.Constraints, record.Constraints, record, problems, told);
        }

        if (relations == 0 && problems.Count == 0)
        {
            return document.Databases.All(static database => database.Schema is null)
                ? Seen.Skipped("the backup recorded nothing of them: an earlier version made it, its role could not connect, or they are too many")
                : Seen.Passed("there are none, as recorded");
        }

        return problems.Count > 0 ? Seen.Of(problems, "") : Seen.Passed(
            $"{Seen.Count(relations, "relation is as it was", "relations are as they were")} before the backup and after it: {Seen.Count(_schemas.Values.Sum(static one => one.Tables), "table")}, {Seen.Count(_schemas.Values.Sum(static one => one.Columns), "column")}, {Seen.Count(_schemas.Values.Sum(static one => one.Indexes), "index", "indexes")}, {Seen.Count(_schemas.Values.Sum(static one => one.Constraints), "constraint")}{(told.Count > 0 ? "; what was changed while the backup was made is not compared" : "")}",
            told);
    }

    /// <summary>Counts the rows of every table, and compares with what the server had estimated.</summary>
    public async Task<Seen> CountRowsAsync(CancellationToken cancellationToken)
    {
        List<string> counts = [];
        List<string> unlike = [];
        List<string> unreadable = [];
        long rows = 0;
        int tables = 0;
        foreach ((string name, PostgresSchema schema) in _schemas)
        {
            PostgresDatabase? recorded = document.Databases.FirstOrDefault(database => database.Name == name);
            await using PostgresProbe probe = await OpenAsync(name, cancellationToken).ConfigureAwait(false);
            foreach ((string relation, PostgresRelation table) in schema.Relations.Where(static one => one.Value.HasRows).OrderBy(static one => one.Key, StringComparer.Ordinal))
            {
                try
                {
                    long count = await probe.CountRowsAsync(table, cancellationToken).ConfigureAwait(false);
                    tables++;
                    rows += count;
                    long estimate = recorded?.Rows.GetValueOrDefault(relation, -1) ?? -1;
                    bool isEstimated = estimate >= 0;

                    // What the last second changed the server had not counted yet.
                    long changed = 2 * (recorded?.Changes?.GetValueOrDefault(relation) ?? 0);
                    string said = $"{name}: {relation}: {Seen.Count(count, "row")}{(isEstimated ? $", the server estimated {estimate}" : "")}";
                    (isEstimated && Math.Abs(count - estimate) > Math.Max(FewRows, estimate * Tolerance) + changed ? unlike : counts).Add(said);
                }
                catch (BackupIQException e) when (e.Code == ErrorCodes.SourceServer)
                {
                    unreadable.Add($"{relation}: {e.Message}");
                }
            }
        }

        string all = $"{Seen.Count(rows, "row")} of {Seen.Count(tables, "table")} were counted";
        return unreadable.Count > 0 ? Seen.Failed($"{Seen.Count(unreadable.Count, "table")} cannot be read", unreadable)
            : unlike.Count > 0 ? Seen.Warning($"{all}; {Seen.Count(unlike.Count, "table has", "tables have")} much more or less than the server had estimated", [.. unlike, .. counts])
            : Seen.Passed($"{all}; where the server had estimated them they agree", counts);
    }

    /// <summary>Names the relations of pages, as far as it can be told.</summary>
    public async Task<IReadOnlyList<string>> NameAsync(IReadOnlyList<UnsoundPage> pages, CancellationToken cancellationToken)
    {
        List<string> named = [];
        foreach (IGrouping<string, UnsoundPage> file in pages.GroupBy(static page => page.Path, StringComparer.Ordinal))
        {
            // base/DATABASE/FILE, global/FILE or pg_tblspc/TABLESPACE/VERSION/DATABASE/FILE.
            string[] names = file.Key.Split('/');
            string digits = new([.. names[^1].TakeWhile(char.IsAsciiDigit)]);
            string? database = names.Length < 3 ? "template1" : document.Databases.FirstOrDefault(one => one.Oid.ToString(CultureInfo.InvariantCulture) == names[^2])?.Name;
            string? relation = null;
            if (database is not null && _names.Contains(database) && uint.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out uint number))
            {
                uint tablespace = names[0] == "global" ? PostgresProbe.GlobalTablespace : names[0] == "pg_tblspc" && uint.TryParse(names[1], NumberStyles.None, CultureInfo.InvariantCulture, out uint oid) ? oid : 0;
                await using PostgresProbe probe = await OpenAsync(database, cancellationToken).ConfigureAwait(false);
                relation = await probe.FindRelationAsync(tablespace, number, cancellationToken).ConfigureAwait(false);
            }

            named.Add($"{(relation is null ? "" : $"{database}: {relation}: ")}{file.Key}: {(file.Count() == 1 ? "block" : "blocks")} {string.Join(", ", file.Select(static page => page.Block))}");
        }

        return named;
    }

    /// <summary>Asks one assertion: <c>DB: SELECT …</c>.</summary>
    public async Task<Seen> AssertAsync(string assertion, CancellationToken cancellationToken)
    {
        (string database, string sql) = PostgresAssertion.Parse(assertion);
        if (!_names.Contains(database))
        {
            return Seen.Failed($"{assertion}: there is no database {database}");
        }

        await using PostgresProbe probe = await OpenAsync(database, cancellationToken).ConfigureAwait(false);
        return await probe.AssertAsync(sql, cancellationToken).ConfigureAwait(false) is { } problem ? Seen.Failed($"{assertion}: {problem.TrimEnd('.')}") : Seen.Passed(assertion);
    }

    private static void Count(string database, string what, int found, int recorded, PostgresSchemaRecord record, List<string> problems, List<string> told)
    {
        if (found != recorded)
        {
            (record.Changed ? told : problems).Add($"{database}: {found} {what}, and {recorded} {(record.Changed ? "when the backup had ended" : "were recorded")}.");
        }
    }

    private Task<PostgresProbe> OpenAsync(string database, CancellationToken cancellationToken) =>
        PostgresProbe.OpenAsync(PostgresProbe.OfSocket(sockets, Role), null, database, cancellationToken);

    // The role that initdb made is nearly always one of these where the backup does not say.
    private async Task<PostgresProbe> FindRoleAsync(string? role, CancellationToken cancellationToken)
    {
        string[] roles = role is not null ? [role] : document.Superuser is { } recorded ? [recorded] : ["postgres", Environment.UserName];
        for (int i = 0; ; i++)
        {
            Role = roles[i];
            try
            {
                return await OpenAsync("template1", cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization && i + 1 < roles.Length)
            {
                continue;
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization)
            {
                throw new BackupIQException(ErrorCodes.Authorization, $"Nobody can be connected as ({string.Join(", ", roles)}); name a superuser of the server with --role", null, e);
            }
        }
    }
}
