using BackupIQ.Sources.Postgres;

namespace BackupIQ.Jobs.Postgres;

/// <summary>What a server needs so that it can be backed up, for people to put into it; nothing here touches a server (<see cref="PostgresSetup"/> does).</summary>
public static class PostgresRequirements
{
    /// <summary>The role that a DSN names.</summary>
    /// <exception cref="Primitives.BackupIQException"><c>Configuration</c>: the DSN cannot be used.</exception>
    public static string RoleOf(string dsn) => PostgresDsn.Parse(dsn).User;

    /// <summary>SQL that makes the role and gives it what a backup needs, and no more.</summary>
    public static string Sql(string role)
    {
        string name = Quote(role);
        return $"""
            -- The role that backs up. REPLICATION lets it keep the WAL that a backup needs until it is stored.
            CREATE ROLE {name} LOGIN REPLICATION;
            GRANT pg_read_all_settings TO {name};
            -- PostgreSQL 15 and later, in the database that the DSN names:
            GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO {name};
            GRANT EXECUTE ON FUNCTION pg_backup_stop(boolean) TO {name};
            -- PostgreSQL 13 and 14 instead of these two:
            -- GRANT EXECUTE ON FUNCTION pg_start_backup(text, boolean, boolean) TO {name};
            -- GRANT EXECUTE ON FUNCTION pg_stop_backup(boolean, boolean) TO {name};
            GRANT EXECUTE ON FUNCTION pg_switch_wal() TO {name};
            GRANT EXECUTE ON FUNCTION pg_create_restore_point(text) TO {name};

            """;
    }

    /// <summary>The settings that it needs.</summary>
    public static string Settings(string server, bool isStreamed = false) => $"""
        # postgresql.conf; the first three need a restart of the server:
        wal_level = replica
        max_replication_slots = 10      # one free while a backup runs
        max_wal_senders = 10            # one for 'pg wal-stream', one for a backup over the network
        full_page_writes = on
        {(isStreamed
            ? "# pg_hba.conf must let the role connect to 'replication' from this machine."
            : "# The backup reads the files themselves: run it as the user that the server runs as, or as root.")}
        # 'backupiq pg check {server}' tells what is missing.

        """;

    /// <summary>The functions that begin and end a backup, in a version.</summary>
    internal static (string Start, string Stop) BackupFunctions(int major) => major >= 15
        ? ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)")
        : ("pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)");

    /// <summary>A name as SQL takes it.</summary>
    internal static string Quote(string name) => $"\"{name.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";

    /// <summary>A text as SQL takes it, whatever the server's settings say of backslashes.</summary>
    internal static string Literal(string text) =>
        (text.Contains('\\') ? " E" : "") + $"'{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "''", StringComparison.Ordinal)}'";
}
