using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Sources.Postgres.Dump;

/// <summary>What is dumped, and with what.</summary>
public sealed record PostgresDumpPlan
{
    /// <summary>The name under which the server is defined.</summary>
    public required string Server { get; init; }

    public required PostgresDsn Dsn { get; init; }

    public required Secret? Password { get; init; }

    /// <summary>What the server says of itself.</summary>
    public required PostgresFacts Facts { get; init; }

    /// <summary>The databases, in any order.</summary>
    public required IReadOnlyList<string> Databases { get; init; }

    /// <summary>They are all that the server has: the snapshot is one of the server, not of databases that were chosen.</summary>
    public required bool IsWhole { get; init; }

    /// <summary>The programs that dump.</summary>
    public required PostgresPrograms Programs { get; init; }

    /// <summary>Tables read at once.</summary>
    public required int Jobs { get; init; }

    /// <summary>Also the (hashed) passwords of roles, which only an administrator may read.</summary>
    public required bool RolePasswords { get; init; }

    /// <summary>Where what was not read yet lies.</summary>
    public required WorkFolder Work { get; init; }

    /// <summary>Hears what the programs warn of, on any thread.</summary>
    public Action<string>? OnNotice { get; init; }
}
