using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Verification;

namespace BackupIQ.Jobs.Verification;

/// <summary>Compares one database with another one.</summary>
/// <param name="source">The server of what is right.</param>
/// <param name="from">Its database.</param>
/// <param name="target">The server of what is to be like it.</param>
/// <param name="to">Its database.</param>
/// <param name="label">What the checks are told apart by, where several databases are compared; null: one is.</param>
/// <param name="run">Keeps what comes of it.</param>
internal sealed class DatabaseComparison(ComparedServer source, string from, ComparedServer target, string to, string? label, VerificationRun run)
{
    public async Task RunAsync(VerifyLevel level, CancellationToken cancellationToken)
    {
        PostgresProbe? left = null;
        PostgresProbe? right = null;
        try
        {
            bool isConnected = await CheckAsync("connection", "connections", async () =>
            {
                left = await source.OpenAsync(from, cancellationToken).ConfigureAwait(false);
                right = await target.OpenAsync(to, cancellationToken).ConfigureAwait(false);
                return Seen.Passed($"PostgreSQL {left.Version} and {right.Version}");
            }).ConfigureAwait(false);
            if (isConnected)
            {
                await CompareAsync(left!, right!, level, cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            await (left?.DisposeAsync() ?? ValueTask.CompletedTask).ConfigureAwait(false);
            await (right?.DisposeAsync() ?? ValueTask.CompletedTask).ConfigureAwait(false);
        }
    }

    private async Task CompareAsync(PostgresProbe left, PostgresProbe right, VerifyLevel level, CancellationToken cancellationToken)
    {
        PostgresSchema ours = new(new Dictionary<string, PostgresRelation>());
        PostgresSchema theirs = ours;
        await CheckAsync("tables", "tables", async () =>
        {
            ours = await left.ReadSchemaAsync(cancellationToken).ConfigureAwait(false);
            theirs = await right.ReadSchemaAsync(cancellationToken).ConfigureAwait(false);
            return Tables(ours, theirs);
        }).ConfigureAwait(false);
        (string Name, PostgresRelation Ours, PostgresRelation Theirs)[] both =
        [
            .. ours.Relations.Where(one => theirs.Relations.ContainsKey(one.Key)).OrderBy(static one => one.Key, StringComparer.Ordinal).Select(one => (one.Key, one.Value, theirs.Relations[one.Key])),
        ];
        if (level >= VerifyLevel.Standard)
        {
            await CheckAsync("schema", "columns", () => Seen.Of([.. both.SelectMany(Columns)], $"{Seen.Count(ours.Columns, "column")} of {Seen.Count(both.Length, "relation")} are the same")).ConfigureAwait(false);
            await CheckAsync("rows", "numbers of rows", () => CompareRowsAsync(left, right, both, cancellationToken)).ConfigureAwait(false);
        }

        if (level >= VerifyLevel.Comprehensive)
        {
            await CheckAsync("indexes", "indexes", () => Seen.Of([.. both.SelectMany(static one => Named(one.Name, "index", one.Ours.Indexes, one.Theirs.Indexes)), .. Invalid(both)], $"{Seen.Count(ours.Indexes, "index", "indexes")} in both")).ConfigureAwait(false);
            await CheckAsync("constraints", "constraints", () => Seen.Of([.. both.SelectMany(static one => Named(one.Name, "constraint", one.Ours.Constraints, one.Theirs.Constraints))], $"{Seen.Count(ours.Constraints, "constraint")} in both")).ConfigureAwait(false);
            await CheckAsync("integrity", "content of rows", () => CompareContentAsync(left, right, both, cancellationToken)).ConfigureAwait(false);
        }
    }

    private Task<bool> CheckAsync(string id, string name, Func<Task<Seen>> look) => run.CheckAsync(label is null ? id : $"{id}:{label}", label is null ? name : $"{label}: {name}", look);

    private Task<bool> CheckAsync(string id, string name, Func<Seen> look) => CheckAsync(id, name, () => Task.FromResult(look()));

    private static Seen Tables(PostgresSchema ours, PostgresSchema theirs) => Seen.Of(
        [
            .. ours.Relations.Where(one => !theirs.Relations.ContainsKey(one.Key)).Select(static one => $"{one.Key} ({one.Value.Kind}) is missing in the target."),
            .. theirs.Relations.Where(one => !ours.Relations.ContainsKey(one.Key)).Select(static one => $"{one.Key} ({one.Value.Kind}) is in the target alone."),
        ],
        $"{Seen.Count(ours.Tables, "table")}, {Seen.Count(ours.Relations.Count, "relation")} in both");

    private static IEnumerable<string> Columns((string Name, PostgresRelation Ours, PostgresRelation Theirs) one)
    {
        if (one.Ours.Kind != one.Theirs.Kind)
        {
            yield return $"{one.Name} is a {one.Ours.Kind}, in the target a {one.Theirs.Kind}.";
        }

        foreach (string gone in one.Ours.Columns.Except(one.Theirs.Columns, StringComparer.Ordinal))
        {
            yield return $"{one.Name}: the target has no column '{gone}'.";
        }

        foreach (string more in one.Theirs.Columns.Except(one.Ours.Columns, StringComparer.Ordinal))
        {
            yield return $"{one.Name}: the target alone has a column '{more}'.";
        }

        if (one.Ours.Columns.Count == one.Theirs.Columns.Count && !one.Ours.Columns.SequenceEqual(one.Theirs.Columns) && one.Ours.Columns.ToHashSet(StringComparer.Ordinal).SetEquals(one.Theirs.Columns))
        {
            yield return $"{one.Name}: its columns stand in another order in the target.";
        }
    }

    private static IEnumerable<string> Named(string relation, string what, IReadOnlyDictionary<string, string> ours, IReadOnlyDictionary<string, string> theirs)
    {
        foreach ((string name, string definition) in ours)
        {
            if (!theirs.TryGetValue(name, out string? other))
            {
                yield return $"{relation}: the {what} {name} is missing in the target ({definition}).";
            }
            else if (other != definition)
            {
                yield return $"{relation}: the {what} {name} is '{definition}', in the target '{other}'.";
            }
        }

        foreach (string name in theirs.Keys.Where(name => !ours.ContainsKey(name)))
        {
            yield return $"{relation}: the {what} {name} is in the target alone.";
        }
    }

    // One that is no good in either is the same in both, and no good all the same.
    private static IEnumerable<string> Invalid((string Name, PostgresRelation Ours, PostgresRelation Theirs)[] both) =>
        from one in both from index in one.Theirs.Indexes where index.Value.EndsWith(" INVALID", StringComparison.Ordinal) select $"{one.Name}: the index {index.Key} is invalid in the target.";

    private static async Task<Seen> CompareRowsAsync(PostgresProbe left, PostgresProbe right, (string Name, PostgresRelation Ours, PostgresRelation Theirs)[] both, CancellationToken cancellationToken)
    {
        List<string> problems = [];
        List<string> counts = [];
        List<string> unreadable = [];
        long rows = 0;
        foreach ((string name, PostgresRelation ours, PostgresRelation theirs) in both.Where(static one => one.Ours.HasRows))
        {
            try
            {
                Task<long> first = left.CountRowsAsync(ours, cancellationToken);
                long[] count = await Task.WhenAll(first, right.CountRowsAsync(theirs, cancellationToken)).ConfigureAwait(false);
                rows += count[0];
                (count[0] == count[1] ? counts : problems).Add(count[0] == count[1] ? $"{name}: {Seen.Count(count[0], "row")}" : $"{name}: {Seen.Count(count[0], "row")}, in the target {count[1]}.");
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization)
            {
                unreadable.Add($"{name}: {e.Message}");
            }
        }

        return problems.Count > 0 ? Seen.Of(problems, "")
            : unreadable.Count > 0 ? Seen.Warning($"{Seen.Count(unreadable.Count, "table")} could not be read by the role; the others have as many rows", unreadable)
            : Seen.Passed($"{Seen.Count(rows, "row")} of {Seen.Count(counts.Count, "table")} in both", counts);
    }

    private static async Task<Seen> CompareContentAsync(PostgresProbe left, PostgresProbe right, (string Name, PostgresRelation Ours, PostgresRelation Theirs)[] both, CancellationToken cancellationToken)
    {
        List<string> problems = [];
        List<string> unreadable = [];
        int tables = 0;
        foreach ((string name, PostgresRelation ours, PostgresRelation theirs) in both.Where(static one => one.Ours.HasRows))
        {
            try
            {
                Task<string> first = left.DigestRowsAsync(ours, cancellationToken);
                string[] digests = await Task.WhenAll(first, right.DigestRowsAsync(theirs, cancellationToken)).ConfigureAwait(false);
                tables++;
                if (digests[0] != digests[1])
                {
                    problems.Add($"{name}: its rows are not the same.");
                }
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization)
            {
                unreadable.Add($"{name}: {e.Message}");
            }
        }

        return problems.Count > 0 ? Seen.Of(problems, "")
            : unreadable.Count > 0 ? Seen.Warning($"{Seen.Count(unreadable.Count, "table")} could not be read by the role; the rows of the others are the same", unreadable)
            : Seen.Passed($"every row of {Seen.Count(tables, "table")} is the same in both");
    }
}
