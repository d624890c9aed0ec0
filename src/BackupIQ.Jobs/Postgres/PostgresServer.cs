using BackupIQ.Primitives;

namespace BackupIQ.Jobs.Postgres;

/// <summary>A PostgreSQL server as it is defined under a name.</summary>
public sealed record PostgresServer
{
    private const int LongestName = 63;
    private const string NameRule = "letters, digits, '.', '_' and '-', and begins with a letter or digit";

    /// <summary>What it is called; its backups stand under this name in the repository.</summary>
    public required string Name { get; init; }

    /// <summary>How it is reached, as libpq takes it: <c>host=/run/postgresql user=backup</c> or <c>postgres://backup@host/postgres</c>; without a password.</summary>
    public required string Dsn { get; init; }

    /// <summary>A reference to the password (<see cref="BackupIqSecrets"/>); null: <c>PGPASSWORD</c>, <c>~/.pgpass</c>, or none.</summary>
    public string? PasswordFrom { get; init; }

    /// <summary>Its data directory on this machine; null: where the server says that it is.</summary>
    public string? PgData { get; init; }

    /// <summary>Its files come over the network, as its own <c>BASE_BACKUP</c> sends them; false: they are read on its machine.</summary>
    public bool IsStreamed { get; init; }

    /// <summary>For how long every moment of it is to be reached: <c>all</c>, a number of base backups, or a time (<c>14d</c>); null: from all that are kept.</summary>
    public string? WalKeep { get; init; }

    /// <summary>The keys that a definition may have.</summary>
    public static IReadOnlyList<string> Keys { get; } = ["dsn", "password-from", "pgdata", "mode", "wal-keep"];

    /// <summary>Reads a definition.</summary>
    /// <exception cref="BackupIQException"><c>Configuration</c>: it cannot be one.</exception>
    public static PostgresServer Read(string name, IReadOnlyDictionary<string, string> fields) => Problem(name, fields) is { } problem
        ? throw new BackupIQException(ErrorCodes.Configuration, $"postgres: {name}: {problem}")
        : new PostgresServer
        {
            Name = name,
            Dsn = fields["dsn"],
            PasswordFrom = fields.GetValueOrDefault("password-from"),
            PgData = fields.GetValueOrDefault("pgdata"),
            IsStreamed = fields.GetValueOrDefault("mode") == "stream",
            WalKeep = fields.GetValueOrDefault("wal-keep"),
        };

    /// <summary>What is wrong with a definition; null: nothing. The server's DSN is not taken apart here, only looked at for a password.</summary>
    public static string? Problem(string name, IReadOnlyDictionary<string, string> fields) =>
        !IsName(name) ? $"a server's name is made of {NameRule}"
        : !fields.TryGetValue("dsn", out string? dsn) ? "it needs 'dsn: …' below it"
        : HoldsPassword(dsn) ? "the password must not stand in the DSN; write 'password-from: file:PATH' or another reference"
        : fields.GetValueOrDefault("mode") is { } mode && mode is not ("direct" or "stream") ? $"mode: '{mode}' is neither direct (its files are read on its machine) nor stream (it sends them)"
        : fields.GetValueOrDefault("pgdata") is { } folder && !folder.StartsWith('/') ? "pgdata must be an absolute path"
        : fields.GetValueOrDefault("wal-keep") is { } keep && !Postgres.WalKeep.TryParse(keep, out _) ? $"wal-keep: '{keep}' is neither all, nor a number of base backups, nor a time such as 14d"
        : null;

    /// <summary>Checks the name that people give to a server: it is the one of its definition, of its backups and of its log.</summary>
    /// <exception cref="BackupIQException"><c>Usage</c>: it is none.</exception>
    public static void RequireName(string name)
    {
        if (!IsName(name))
        {
            throw new BackupIQException(ErrorCodes.Usage, $"'{name}' is no name of a server", $"It has up to {LongestName} characters, is made of {NameRule}.");
        }
    }

    private static bool IsName(string name) =>
        name.Length is > 0 and <= LongestName && char.IsAsciiLetterOrDigit(name[0]) && name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    // In a URL between the user and the @, or as a parameter; in the other form as a key.
    private static bool HoldsPassword(string dsn)
    {
        int scheme = dsn.IndexOf("://", StringComparison.Ordinal);
        if (scheme < 0)
        {
            return dsn.Split(' ', StringSplitOptions.RemoveEmptyEntries).Any(static word => word.StartsWith("password", StringComparison.OrdinalIgnoreCase) && word.Contains('='));
        }

        string rest = dsn[(scheme + 3)..];
        int at = rest.IndexOf('@');
        return (at > 0 && rest[..at].Contains(':')) || rest.Contains("?password=", StringComparison.OrdinalIgnoreCase) || rest.Contains("&password=", StringComparison.OrdinalIgnoreCase);
    }
}
