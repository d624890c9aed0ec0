using System.Globalization;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Jobs.Postgres;

/// <summary>PostgreSQL servers by themselves, whatever repository they are backed up into.</summary>
public static class BackupIqPostgres
{
    private const int Oldest = 13;
    private const int Newest = 18;

    /// <summary>Looks at all that can make a backup or a recovery fail later. Changes nothing in the server; what cannot be looked at is a finding, not an exception.</summary>
    public static async Task<IReadOnlyList<PostgresFinding>> CheckAsync(PostgresServer server, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        List<PostgresFinding> findings = [];
        try
        {
            using Secret? password = server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
            string? plain = password is null ? null : Encoding.UTF8.GetString(password.Bytes);
            PostgresDsn dsn = PostgresDsn.Parse(server.Dsn);
            await using PostgresSession session = await PostgresSession.OpenAsync(dsn, plain, cancellationToken).ConfigureAwait(false);
            findings.Add(Good("connection", $"connected to {dsn.Place} as {dsn.User}"));
            PostgresFacts facts = await session.ReadFactsAsync(cancellationToken).ConfigureAwait(false);
            findings.AddRange(OfSettings(facts));
            findings.AddRange(await OfRoleAsync(session, facts, dsn.User, cancellationToken).ConfigureAwait(false));
            findings.Add(OfFiles(server, session, facts));
        }
        catch (BackupIQException e)
        {
            findings.Add(Failed(findings.Count == 0 ? "connection" : "server", e.Message, e.Guidance));
        }

        return findings;
    }

    private static IEnumerable<PostgresFinding> OfSettings(PostgresFacts facts)
    {
        string Setting(string name) => facts.Settings.GetValueOrDefault(name) ?? "";
        yield return facts.Major is >= Oldest and <= Newest
            ? Good("version", $"PostgreSQL {facts.Version}")
            : Failed("version", $"PostgreSQL {facts.Version} is not one of {Oldest} to {Newest}", "Update BackupIQ, or the server.");
        yield return facts.IsInRecovery
            ? Failed("role of the server", "it is a standby, which this version does not back up", "Name the primary in the DSN.")
            : Good("role of the server", $"it is a primary, system identifier {facts.SystemIdentifier}");
        yield return Setting("wal_level") == "minimal"
            ? Failed("wal_level", "minimal: the WAL lacks what a recovery needs", "Set wal_level = replica and restart the server.")
            : Good("wal_level", Setting("wal_level"));
        yield return Setting("full_page_writes") == "on"
            ? Good("full_page_writes", "on")
            : Warning("full_page_writes", "off: a torn page after a crash is not mended (during a backup the server turns it on)", "Set full_page_writes = on.");
        yield return Setting("fsync") == "on"
            ? Good("fsync", "on")
            : Failed("fsync", "off: after a crash the server itself may be damaged, and backups of it with it", "Set fsync = on.");
        yield return Setting("data_checksums") == "on"
            ? Good("data checksums", "on: each page is checked while it is read")
            : Warning("data checksums", "off: pages are checked by their headers alone", "Stop the server and run 'pg_checksums --enable'.");
        yield return Setting("archive_mode") is "on" or "always"
            ? Good("archive_mode", $"{Setting("archive_mode")}, {(Setting("archive_command") is { Length: > 0 } ? "with a command" : "without a command that this role may see")}")
            : Note("archive_mode", "off: the server can be brought back to the end of each backup, and to no moment between", "Set archive_mode = on with an archive_command, and restart the server.");
        yield return Good("WAL segments", $"{(facts.WalSegmentSize >> 20).ToString(CultureInfo.InvariantCulture)} MiB");
        if (Setting("max_slot_wal_keep_size") is { Length: > 0 } keep && keep != "-1")
        {
            yield return Note("max_slot_wal_keep_size", $"{keep} MB: a backup during which more WAL is written fails", "Set it to -1, or to more than a backup takes.");
        }
    }

    private static async Task<IReadOnlyList<PostgresFinding>> OfRoleAsync(PostgresSession session, PostgresFacts facts, string role, CancellationToken cancellationToken)
    {
        string cure = $"As an administrator run the SQL that 'backupiq pg init-server' prints for {role}.";
        (string start, string stop) = facts.Major >= 15
            ? ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)")
            : ("pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)");
        object?[] rights = (await session.QueryAsync(
            $"""
            SELECT has_function_privilege('{start}', 'EXECUTE'), has_function_privilege('{stop}', 'EXECUTE'), (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
                   current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots), pg_has_role('pg_read_all_settings', 'USAGE')
            """,
            cancellationToken).ConfigureAwait(false))[0];
        List<PostgresFinding> findings =
        [
            (bool)rights[0]! && (bool)rights[1]!
                ? Good("right to back up", "the role may begin and end backups")
                : Failed("right to back up", $"the role may not call {start} and {stop}", cure),
            !(bool)rights[2]!
                ? Warning("right to keep WAL", "the role has no REPLICATION: the server may take WAL away that a backup needs, which then fails", cure)
                : (int)rights[3]! <= 0
                ? Warning("right to keep WAL", "no replication slot is free: the server may take WAL away that a backup needs, which then fails", "Raise max_replication_slots and restart the server, or drop a slot that nobody uses.")
                : Good("right to keep WAL", $"{((int)rights[3]!).ToString(CultureInfo.InvariantCulture)} slots are free"),
            (bool)rights[4]!
                ? Good("right to read settings", "the role may read all")
                : Warning("right to read settings", "the role may not read where the files are: configuration outside of the data directory is not backed up", cure),
        ];
        if (await session.IsPooledAsync(cancellationToken).ConfigureAwait(false))
        {
            findings.Add(Failed("pooler", "a pooler stands between: a backup needs a session of its own", "Name the server itself in the DSN."));
        }

        return findings;
    }

    private static PostgresFinding OfFiles(PostgresServer server, PostgresSession session, PostgresFacts facts)
    {
        if ((server.PgData ?? facts.DataDirectory) is not { } folder)
        {
            return Failed("data directory", "neither the server's entry nor the server says where it is", "Write pgdata: into the entry, or GRANT pg_read_all_settings.");
        }

        try
        {
            using PostgresSource source = new(session, facts, new PostgresBackupBeginning(server.Name, folder, default, []));
            foreach (string below in (string[])["base", "pg_wal", "pg_xact"])
            {
                _ = Directory.EnumerateFileSystemEntries(Path.Combine(folder, below)).Any();
            }

            return Good("data directory", $"{folder} is this server's and can be read");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Failed("data directory", e.Message, "Run as the user that the server runs as, or as root.");
        }
        catch (BackupIQException e)
        {
            return Failed("data directory", e.Message, e.Guidance);
        }
    }

    private static PostgresFinding Good(string check, string message) => new("good", check, message, null);

    private static PostgresFinding Note(string check, string message, string guidance) => new("note", check, message, guidance);

    private static PostgresFinding Warning(string check, string message, string guidance) => new("warning", check, message, guidance);

    private static PostgresFinding Failed(string check, string message, string? guidance) => new("failed", check, message, guidance);
}

/// <summary>Something about a server that was looked at.</summary>
/// <param name="Level"><c>good</c>, <c>note</c>, <c>warning</c>, or <c>failed</c>: it cannot be backed up like this.</param>
/// <param name="Check">What was looked at.</param>
/// <param name="Message">What was seen.</param>
/// <param name="Guidance">What to do; null where there is nothing to do.</param>
public sealed record PostgresFinding(string Level, string Check, string Message, string? Guidance);
