using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using BackupIQ.Primitives;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>
/// Which entries of a dump are loaded. A table comes with its rows, its indexes, constraints, defaults, sequences, triggers and rights, with its partitions, and with the definitions
/// that these need: types, functions, schemas, extensions. What joins it to a table that is not loaded (a foreign key) is left out.
/// </summary>
internal sealed partial class DumpSelection
{
    private readonly IReadOnlyList<DumpTocEntry> _entries;
    private readonly HashSet<int> _chosen;

    private DumpSelection(IReadOnlyList<DumpTocEntry> entries, HashSet<int> chosen, IReadOnlyList<string> leftOut)
    {
        _entries = entries;
        _chosen = chosen;
        LeftOut = leftOut;
    }

    /// <summary>What belongs to what is loaded and is not loaded itself, for people.</summary>
    public IReadOnlyList<string> LeftOut { get; }

    /// <summary>The entries, in the dump's order.</summary>
    public IEnumerable<DumpTocEntry> Entries => _entries.Where(entry => _chosen.Contains(entry.Id));

    /// <summary>The files that hold their data.</summary>
    public IEnumerable<string> Files => Entries.Select(static entry => entry.File).OfType<string>();

    /// <summary>Everything.</summary>
    public static DumpSelection All(IReadOnlyList<DumpTocEntry> entries) => new(entries, [.. entries.Select(static entry => entry.Id)], []);

    /// <summary>Some tables and schemas.</summary>
    /// <param name="entries">What the dump has.</param>
    /// <param name="tables">Tables, views or sequences as <c>name</c> or <c>schema.name</c>, letter by letter.</param>
    /// <param name="schemas">Schemas with all that is in them.</param>
    /// <exception cref="BackupIQException"><c>PathNotFound</c>: the dump has none of that name. <c>Usage</c>: it has several.</exception>
    public static DumpSelection Of(IReadOnlyList<DumpTocEntry> entries, IReadOnlyList<string> tables, IReadOnlyList<string> schemas)
    {
        Dictionary<int, DumpTocEntry> byId = [];
        foreach (DumpTocEntry entry in entries)
        {
            byId.TryAdd(entry.Id, entry);
        }

        ILookup<int, DumpTocEntry> dependents = entries.SelectMany(static entry => entry.DependsOn.Select(on => (on, entry))).ToLookup(static pair => pair.on, static pair => pair.entry);
        HashSet<int> wanted = [.. tables.Select(table => FindTable(entries, table).Id)];
        foreach (string schema in schemas)
        {
            int[] inIt = [.. entries.Where(entry => entry.Schema == schema || (entry.Kind == "SCHEMA" && entry.Tag == schema)).Select(static entry => entry.Id)];
            wanted.UnionWith(inIt.Length > 0 ? inIt : throw NotThere("schema", schema));
        }

        AddPartitions(wanted, byId, dependents);

        // What is a table's own; a sequence may belong to one and have a value and rights itself.
        Queue<int> toLook = new(wanted);
        while (toLook.TryDequeue(out int id))
        {
            foreach (DumpTocEntry own in dependents[id].Where(entry => IsOwn(entry, byId[id])))
            {
                if (wanted.Add(own.Id))
                {
                    toLook.Enqueue(own.Id);
                }

                foreach (DumpTocEntry sequence in own.DependsOn.Select(byId.GetValueOrDefault).OfType<DumpTocEntry>().Where(static entry => entry.Kind == "SEQUENCE"))
                {
                    if (own.Kind is "DEFAULT" or "SEQUENCE OWNED BY" && wanted.Add(sequence.Id))
                    {
                        toLook.Enqueue(sequence.Id);
                    }
                }
            }
        }

        bool Joins(DumpTocEntry entry) => entry.Kind is "FK CONSTRAINT" or "TABLE ATTACH" or "INDEX ATTACH" && !entry.DependsOn.All(wanted.Contains);
        DumpTocEntry[] joining = [.. wanted.Select(id => byId[id]).Where(Joins)];
        wanted.ExceptWith(joining.Select(static entry => entry.Id));
        if (schemas.Count == 0)
        {
            // A sequence that was asked for without the table that owns it is nobody's.
            wanted.RemoveWhere(id => byId[id] is { Kind: "SEQUENCE OWNED BY" } owned
                && !owned.DependsOn.SelectMany(on => dependents[on]).Any(entry => entry.Kind == "DEFAULT" && wanted.Contains(entry.Id)));
        }

        Queue<int> toMeet = new(wanted);
        while (toMeet.TryDequeue(out int id))
        {
            foreach (int on in byId[id].DependsOn)
            {
                if (byId.TryGetValue(on, out DumpTocEntry? entry) && !IsData(entry.Kind) && wanted.Add(on))
                {
                    toMeet.Enqueue(on);
                }
            }
        }

        // Settings of the dump itself come first and belong to all.
        wanted.UnionWith(entries.Where(static entry => entry.Kind is "ENCODING" or "STDSTRINGS" or "SEARCHPATH").Select(static entry => entry.Id));
        wanted.UnionWith(entries.Where(entry => entry.Kind == "SCHEMA" && entries.Any(other => other.Schema == entry.Tag && wanted.Contains(other.Id))).Select(static entry => entry.Id));
        return new DumpSelection(entries, wanted, [.. joining.Select(static entry => $"{entry.Kind.ToLowerInvariant()} {entry.Tag}").Order(StringComparer.Ordinal)]);
    }

    /// <summary>Roles that own something of it, or are given rights.</summary>
    public IReadOnlySet<string> Roles()
    {
        HashSet<string> roles = new(StringComparer.Ordinal);
        foreach (DumpTocEntry entry in Entries)
        {
            if (entry.Owner is { } owner)
            {
                roles.Add(owner);
            }

            foreach (Match match in entry.Grants is { } grants ? Grantee().Matches(grants) : Enumerable.Empty<Match>())
            {
                string name = match.Groups[1].Value;
                roles.Add(name.StartsWith('"') ? name[1..^1].Replace("\"\"", "\"", StringComparison.Ordinal) : name);
            }
        }

        roles.Remove("PUBLIC");
        return roles;
    }

    /// <summary>As <c>pg_restore --use-list</c> takes it.</summary>
    public string ToList()
    {
        StringBuilder text = new();
        foreach (DumpTocEntry entry in Entries)
        {
            text.Append(CultureInfo.InvariantCulture, $"{entry.Id};\n");
        }

        return text.ToString();
    }

    private static void AddPartitions(HashSet<int> wanted, Dictionary<int, DumpTocEntry> byId, ILookup<int, DumpTocEntry> dependents)
    {
        Queue<int> parents = new(wanted);
        while (parents.TryDequeue(out int parent))
        {
            // It bears the partition's name, and needs both.
            foreach (DumpTocEntry attach in dependents[parent].Where(static attach => attach.Kind == "TABLE ATTACH"))
            {
                foreach (int child in attach.DependsOn.Where(id => id != parent && byId.TryGetValue(id, out DumpTocEntry? entry) && entry.Tag == attach.Tag && entry.Schema == attach.Schema))
                {
                    if (wanted.Add(child))
                    {
                        parents.Enqueue(child);
                    }
                }
            }
        }
    }

    private static DumpTocEntry FindTable(IReadOnlyList<DumpTocEntry> entries, string table)
    {
        DumpTocEntry[] found =
        [
            .. entries.Where(entry => entry.Kind is "TABLE" or "VIEW" or "MATERIALIZED VIEW" or "FOREIGN TABLE" or "SEQUENCE"
                && (entry.Tag == table || $"{entry.Schema}.{entry.Tag}" == table)),
        ];
        return found switch
        {
            [var one] => one,
            [] => throw NotThere("table", table),
            _ => throw new BackupIQException(
                ErrorCodes.Usage, $"The dump has several of the name '{table}': {string.Join(", ", found.Select(static entry => $"{entry.Schema}.{entry.Tag}"))}", "Name it with its schema."),
        };
    }

    private static BackupIQException NotThere(string kind, string name) =>
        new(ErrorCodes.PathNotFound, $"The dump has no {kind} '{name}'", "Names are as the server has them, letter by letter, without quotes.");

    private static bool IsData(string kind) => kind is "TABLE DATA" or "BLOBS" or "MATERIALIZED VIEW DATA" or "SEQUENCE SET" or "STATISTICS DATA";

    // Of what needs several things the tag says whose it is: a foreign key needs two tables, a default its table and a sequence.
    private static bool IsOwn(DumpTocEntry entry, DumpTocEntry of) => entry.Kind is "CONSTRAINT" or "CHECK CONSTRAINT" or "FK CONSTRAINT" or "DEFAULT" or "TRIGGER" or "RULE" or "POLICY"
        ? entry.Tag.StartsWith(of.Tag + " ", StringComparison.Ordinal) && entry.Schema == of.Schema
        : IsData(entry.Kind) || entry.Kind is "INDEX" or "INDEX ATTACH" or "TABLE ATTACH" or "ROW SECURITY" or "STATISTICS" or "COMMENT" or "ACL" or "SECURITY LABEL" or "SEQUENCE" or "SEQUENCE OWNED BY";

    [GeneratedRegex("""\b(?:TO|FROM|FOR ROLE) ("(?:[^"]|"")+"|[^\s;"]+)""", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Grantee();
}
