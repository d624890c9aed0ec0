using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;
using Npgsql;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>
/// Loads a dump that lies in a folder into a new database. It has a provisional name until all is in, so that a database of the name that was asked for is
/// a whole one, whatever happens meanwhile.
/// </summary>
public sealed class DatabaseLoad
{
    private const string TocName = "toc.dat";

    private readonly PostgresSession _session;
    private readonly PostgresDsn _dsn;
    private readonly string? _password;
    private readonly string _target;
    private readonly PostgresDumpedDatabase _dumped;

    /// <summary>Nothing is asked yet.</summary>
    /// <param name="session">Of the server that it goes to; it stays the caller's.</param>
    /// <param name="dsn">How that is reached.</param>
    /// <param name="password">For that.</param>
    /// <param name="target">The database to be.</param>
    /// <param name="dumped">What the dump says of its database.</param>
    public DatabaseLoad(PostgresSession session, PostgresDsn dsn, string? password, string target, PostgresDumpedDatabase dumped)
    {
        _session = session;
        _dsn = dsn;
        _password = password;
        _target = target;
        _dumped = dumped;
        Provisional = $"backupiq_load_{Guid.NewGuid():n}"[..30];
    }

    /// <summary>What it is called until all is in.</summary>
    public string Provisional { get; }

    /// <summary>The database must not be there.</summary>
    /// <exception cref="BackupIQException"><c>RestoreTarget</c>: it is.</exception>
    public async Task RequireFreeAsync(CancellationToken cancellationToken)
    {
        if ((await _session.QueryAsync($"SELECT 1 FROM pg_database WHERE datname = {Literal(_target)}", cancellationToken)).Count > 0)
        {
            throw Taken();
        }
    }

    /// <summary>Which of the roles the server does not have, sorted.</summary>
    public async Task<IReadOnlyList<string>> FindMissingAsync(IEnumerable<string> roles, CancellationToken cancellationToken)
    {
        HashSet<string> known = [.. (await _session.QueryAsync("SELECT rolname::text FROM pg_roles", cancellationToken)).Select(static row => (string)row[0]!)];
        return [.. roles.Where(role => !known.Contains(role)).Order(StringComparer.Ordinal)];
    }

    /// <summary>Makes roles that own and may nothing yet, and may not log in.</summary>
    public async Task CreateRolesAsync(IEnumerable<string> roles, CancellationToken cancellationToken)
    {
        foreach (string role in roles)
        {
            await _session.QueryAsync($"CREATE ROLE {Name(role)} NOLOGIN", cancellationToken);
        }
    }

    /// <summary>Loads. The database has its name when this returns; when it throws it is not there, unless <paramref name="keepFailed"/>.</summary>
    /// <param name="folder">The dump, with the files that are chosen.</param>
    /// <param name="content">What is loaded of it.</param>
    /// <param name="programs">Who does it.</param>
    /// <param name="jobs">Connections at once.</param>
    /// <param name="withoutOwners">Everything belongs to who loads, and no rights are given.</param>
    /// <param name="keepFailed">Leave what there is under its provisional name.</param>
    /// <param name="onLine">Hears what the program warns of, on any thread.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="BackupIQException"><c>Restore</c>: something could not be made; the message names it. <c>RestoreTarget</c>: a database of the name is there by now.</exception>
    public async Task RunAsync(
        string folder, DumpContent content, PostgresPrograms programs, int jobs, bool withoutOwners, bool keepFailed, Action<string>? onLine, CancellationToken cancellationToken)
    {
        await _session.QueryAsync(CreateStatement(withoutOwners), cancellationToken);
        try
        {
            List<string> words =
            [
                "--format=directory", "--exit-on-error", "--no-password", $"--dbname={PostgresDsn.Word("dbname", Provisional)}", string.Create(CultureInfo.InvariantCulture, $"--jobs={jobs}"),
            ];
            if (withoutOwners)
            {
                words.AddRange(["--no-owner", "--no-acl"]);
            }

            if (content.List is { } list)
            {
                string path = Path.Combine(folder, "backupiq.list");
                await File.WriteAllTextAsync(path, list, cancellationToken);
                words.Add($"--use-list={path}");
            }

            using SupervisedProgram running = SupervisedProgram.Start(programs.Of("pg_restore"), [.. words, folder], _dsn.ToEnvironment(_password), onLine);
            await running.WaitAsync(cancellationToken);
            running.RequireSuccess(static said => said.Contains("permission denied", StringComparison.Ordinal) ? ErrorCodes.Authorization : ErrorCodes.Restore);
            try
            {
                await _session.QueryAsync($"ALTER DATABASE {Name(Provisional)} RENAME TO {Name(_target)}", cancellationToken);
            }
            catch (BackupIQException e) when (e.InnerException is PostgresException { SqlState: PostgresErrorCodes.DuplicateDatabase })
            {
                throw Taken();
            }
        }
        catch (BackupIQException e) when (keepFailed)
        {
            throw new BackupIQException(e.Code, $"{e.Message}; what was loaded is in the database {Provisional}", e.Guidance, e);
        }
        catch when (!keepFailed)
        {
            await _session.QueryAsync($"DROP DATABASE IF EXISTS {Name(Provisional)} WITH (FORCE)", CancellationToken.None);
            throw;
        }
    }

    /// <summary>What a dump in a folder has, of which its table of contents is there.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="tables">As <see cref="DumpSelection.Of"/> takes them; with no schemas either: everything.</param>
    /// <param name="schemas">As well.</param>
    /// <exception cref="BackupIQException"><c>CorruptData</c>, <c>PathNotFound</c>, <c>Usage</c>; <c>UnsupportedFormat</c>: a part is wanted of a version that is not known here.</exception>
    public static DumpContent Look(string folder, IReadOnlyList<string> tables, IReadOnlyList<string> schemas)
    {
        bool isPart = tables.Count + schemas.Count > 0;
        if (DumpToc.Read(File.ReadAllBytes(Path.Combine(folder, TocName))) is not { } entries)
        {
            return isPart
                ? throw new BackupIQException(ErrorCodes.UnsupportedFormat, "The dump was written by a pg_dump that is newer than what this version of BackupIQ knows, so that only the whole of it can be loaded")
                : new DumpContent(null, null, [], 0, []);
        }

        DumpSelection selection = isPart ? DumpSelection.Of(entries, tables, schemas) : DumpSelection.All(entries);
        return new DumpContent(
            isPart ? [.. selection.Files] : null,
            isPart ? selection.ToList() : null,
            [.. selection.Roles().Order(StringComparer.Ordinal)],
            selection.Entries.Count(static entry => entry is { Kind: "TABLE DATA" }),
            selection.LeftOut);
    }

    private string CreateStatement(bool withoutOwner)
    {
        StringBuilder sql = new($"CREATE DATABASE {Name(Provisional)} TEMPLATE template0 ENCODING {Literal(_dumped.Encoding)} LC_COLLATE {Literal(_dumped.Collate)} LC_CTYPE {Literal(_dumped.CharacterType)}");
        if (_dumped is { LocaleProvider: "i" or "b", Locale: { } locale })
        {
            sql.Append(_dumped.LocaleProvider == "i" ? $" LOCALE_PROVIDER icu ICU_LOCALE {Literal(locale)}" : $" LOCALE_PROVIDER builtin BUILTIN_LOCALE {Literal(locale)}");
        }

        if (_dumped.LocaleProvider == "c" && _session.Major >= 15)
        {
            // A server may have another by default.
            sql.Append(" LOCALE_PROVIDER libc");
        }

        return withoutOwner ? sql.ToString() : sql.Append(CultureInfo.InvariantCulture, $" OWNER {Name(_dumped.Owner)}").ToString();
    }

    private BackupIQException Taken() => new(
        ErrorCodes.RestoreTarget, $"A database '{_target}' is there already; nothing was loaded", "Choose another with --target-db; a database that exists is never loaded into.");

    private static string Name(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    private static string Literal(string text) => $"'{text.Replace("'", "''", StringComparison.Ordinal)}'";
}

/// <summary>What is loaded of a dump.</summary>
/// <param name="Files">The files beside the table of contents that it needs; null: all.</param>
/// <param name="List">Which entries, as pg_restore takes them; null: all.</param>
/// <param name="Roles">Roles that own something of it or are given rights.</param>
/// <param name="Tables">Tables with rows.</param>
/// <param name="LeftOut">What belongs to it and is not loaded.</param>
public sealed record DumpContent(IReadOnlyList<string>? Files, string? List, IReadOnlyList<string> Roles, int Tables, IReadOnlyList<string> LeftOut);
