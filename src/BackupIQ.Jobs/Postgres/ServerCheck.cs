using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;
using BackupIQ.Sources.Postgres.Streaming;
using BackupIQ.Sources.Postgres.Wal;

namespace BackupIQ.Jobs.Postgres;

/// <summary>What a repository has of a server, for <see cref="ServerCheck"/>.</summary>
/// <param name="Bases">Its backups, oldest first.</param>
/// <param name="Archive">Its log.</param>
/// <param name="TestArchive">Let the server archive a segment, and wait until it is there.</param>
/// <param name="Patience">How long.</param>
internal sealed record CheckedRepository(IReadOnlyList<PostgresDocument> Bases, WalArchive Archive, bool TestArchive, TimeSpan Patience);

/// <summary>Looks at all that can make a backup or a recovery of a server fail later. What cannot be looked at is a finding.</summary>
/// <param name="server">The server.</param>
/// <param name="repository">What is known of it in a repository; null: there is none to compare with.</param>
/// <param name="time">Measures and waits.</param>
internal sealed partial class ServerCheck(PostgresServer server, CheckedRepository? repository, TimeProvider time)
{
    private const int Oldest = 13;
    private const int Newest = 18;
    private const int MostWaitingFiles = 32;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(300);

    private readonly List<PostgresFinding> _findings = [];

    /// <summary>Looks.</summary>
    public async Task<IReadOnlyList<PostgresFinding>> RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            using Secret? password = server.PasswordFrom is { } reference ? await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false) : null;
            string? plain = password is null ? null : Encoding.UTF8.GetString(password.Bytes);
            PostgresDsn dsn = PostgresDsn.Parse(server.Dsn);
            await CheckHostsAsync(dsn, plain, cancellationToken).ConfigureAwait(false);
            await using ServerChoice choice = await OpenAsync(dsn, plain, cancellationToken).ConfigureAwait(false);
            (PostgresSession session, PostgresFacts facts) = (choice.Session, choice.Facts);
            OfServer(facts);
            OfSettings(facts);
            bool isOurs = OfArchiving(facts);
            await OfRoleAsync(session, facts, dsn.User, cancellationToken).ConfigureAwait(false);
            await OfSlotsAsync(session, facts, cancellationToken).ConfigureAwait(false);
            if (!server.IsStreamed)
            {
                await OfFilesAsync(dsn, plain, choice, cancellationToken).ConfigureAwait(false);
            }

            await OfArchiverAsync(session, facts, cancellationToken).ConfigureAwait(false);
            await OfRepositoryAsync(session, facts, isOurs, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e)
        {
            Failed(_findings.Count == 0 ? "connection" : "server", e.Message, e.Guidance);
        }

        return _findings;
    }

    // With the primary where there is one: it is what archives, and what settings are made for.
    private static async Task<ServerChoice> OpenAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        try
        {
            return await ServerChoice.OpenAsync(dsn, password, PostgresStandby.No, cancellationToken).ConfigureAwait(false);
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.WrongServer)
        {
            return await ServerChoice.OpenAsync(dsn, password, PostgresStandby.Require, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task CheckHostsAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        foreach (PostgresDsn one in dsn.Each)
        {
            try
            {
                await using PostgresSession session = await PostgresSession.OpenAsync(one, password, cancellationToken).ConfigureAwait(false);
                Good("connection", $"connected to {one.Place} as {one.User}");
                if (server.IsStreamed)
                {
                    await CheckReplicationAsync(one, password, cancellationToken).ConfigureAwait(false);
                }
            }
            catch (BackupIQException e) when (dsn.Each.Count > 1)
            {
                Warning("connection", e.Message, e.Guidance ?? "Let it answer, or take it out of the DSN.");
            }
        }
    }

    // pg_hba.conf has lines of its own for it.
    private async Task CheckReplicationAsync(PostgresDsn dsn, string? password, CancellationToken cancellationToken)
    {
        const string Check = "connection for replication";
        try
        {
            await PostgresStream.TryConnectAsync(dsn, password, cancellationToken).ConfigureAwait(false);
            Good(Check, $"{dsn.Place} lets the role in");
        }
        catch (BackupIQException e)
        {
            Failed(Check, e.Message, e.Guidance ?? "Give pg_hba.conf a line for the database 'replication' and this role.");
        }
    }

    private void OfServer(PostgresFacts facts)
    {
        if (facts.Major is >= Oldest and <= Newest)
        {
            Good("version", $"PostgreSQL {facts.Version}");
        }
        else
        {
            Failed("version", $"PostgreSQL {facts.Version} is not one of {Oldest} to {Newest}", "Update BackupIQ, or the server.");
        }

        if (facts.IsInRecovery)
        {
            Warning("role of the server", $"it is a standby, system identifier {facts.SystemIdentifier}: it is backed up only where that is allowed", "Back it up with --standby prefer, or name the primary in the DSN too: host=primary,standby.");
        }
        else
        {
            Good("role of the server", $"it is a primary, system identifier {facts.SystemIdentifier}");
        }
    }

    private void OfSettings(PostgresFacts facts)
    {
        string Setting(string name) => facts.Settings.GetValueOrDefault(name) ?? "";
        if (Setting("wal_level") == "minimal")
        {
            Failed("wal_level", "minimal: the WAL lacks what a recovery needs", "Set wal_level = replica and restart the server.");
        }
        else
        {
            Good("wal_level", Setting("wal_level"));
        }

        if (Setting("full_page_writes") == "on")
        {
            Good("full_page_writes", "on");
        }
        else if (facts.IsInRecovery)
        {
            Failed("full_page_writes", "off: a backup of a standby fails where the primary writes without full pages", "Set full_page_writes = on, on the primary first.");
        }
        else
        {
            Warning("full_page_writes", "off: a torn page after a crash is not mended, and standbys cannot be backed up (during a backup of the primary the server turns it on)", "Set full_page_writes = on.");
        }

        if (Setting("fsync") == "on")
        {
            Good("fsync", "on");
        }
        else
        {
            Failed("fsync", "off: after a crash the server itself may be damaged, and backups of it with it", "Set fsync = on.");
        }

        if (Setting("data_checksums") == "on")
        {
            Good("data checksums", "on: each page is checked while it is read");
        }
        else
        {
            Warning("data checksums", "off: pages are checked by their headers alone", "Stop the server and run 'pg_checksums --enable'.");
        }

        Good("WAL segments", $"{(facts.WalSegmentSize >> 20).ToString(CultureInfo.InvariantCulture)} MiB");
        if (Setting("max_slot_wal_keep_size") is { Length: > 0 } keep && keep != "-1")
        {
            Note("max_slot_wal_keep_size", $"{keep} MB: a backup during which more WAL is written fails, and 'pg wal-stream' that is away for longer loses some", "Set it to -1, or to more than a backup takes.");
        }

        if (Setting("idle_replication_slot_timeout") is { Length: > 0 } idle && idle != "0")
        {
            Warning("idle_replication_slot_timeout", $"{idle}: a slot that nobody reads for so long is taken away, and with it the WAL that 'pg wal-stream' would need", "Set idle_replication_slot_timeout = 0.");
        }
    }

    // Whether the server archives into this program under this name.
    private bool OfArchiving(PostgresFacts facts)
    {
        string mode = facts.Settings.GetValueOrDefault("archive_mode") ?? "";
        string command = facts.Settings.GetValueOrDefault("archive_command") ?? "";
        string library = facts.Settings.GetValueOrDefault("archive_library") ?? "";
        string cure = $"Set archive_command = 'backupiq --repo … --key-file … pg wal-push {server.Name} %p || exit 1'.";
        if (mode is not ("on" or "always"))
        {
            Note("archive_mode", "off: unless 'pg wal-stream' runs, the server can be brought back to the end of each backup, and to no moment between", $"Set archive_mode = on and restart the server. {cure}");
            return false;
        }

        if (facts.IsInRecovery && mode != "always")
        {
            Note("archive_mode", "on: this standby archives nothing until it is promoted", "Leave it so where the primary archives; else set archive_mode = always and restart the standby.");
        }
        else
        {
            Good("archive_mode", mode);
        }

        if (command.Length > 0 && library.Length > 0)
        {
            Failed("archive_command", $"set beside archive_library = {library}: PostgreSQL 15 ignores the command then, and later ones archive nothing", "Set one of them to ''.");
            return false;
        }

        if (library.Length > 0)
        {
            Warning("archive_library", $"{library}: the WAL does not go into this repository", $"Set archive_library = ''. {cure}");
            return false;
        }

        if (command.Length == 0)
        {
            Failed("archive_command", "empty, while archive_mode is on: the server keeps all WAL until the disk is full", cure);
            return false;
        }

        Match push = PushCommand().Match(command);
        if (!push.Success)
        {
            Warning("archive_command", "it does not call 'backupiq pg wal-push': the WAL does not go into this repository", cure);
            return false;
        }

        if (push.Groups["name"].Value.Trim('"', '\'') is var name && name != server.Name)
        {
            Warning("archive_command", $"it archives under the name '{name}', and backups of this server stand under '{server.Name}': they do not find each other", cure);
            return false;
        }

        if (!command.Contains("%p", StringComparison.Ordinal))
        {
            Failed("archive_command", "it does not say which file: %p is missing", cure);
            return false;
        }

        Good("archive_command", $"it archives as '{server.Name}'");
        return true;
    }

    private async Task OfRoleAsync(PostgresSession session, PostgresFacts facts, string role, CancellationToken cancellationToken)
    {
        string cure = $"As an administrator run the SQL that 'backupiq pg init-server' prints for {role}, or 'backupiq pg init-server {server.Name} --apply'.";
        (string start, string stop) = PostgresRequirements.BackupFunctions(facts.Major);
        object?[] rights = (await session.QueryAsync(
            $"""
            SELECT has_function_privilege('{start}', 'EXECUTE'), has_function_privilege('{stop}', 'EXECUTE'), (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
                   current_setting('max_replication_slots')::int - (SELECT count(*)::int FROM pg_replication_slots), pg_has_role('pg_read_all_settings', 'USAGE'),
                   current_setting('max_wal_senders')::int - (SELECT count(*)::int FROM pg_stat_get_wal_senders()), (SELECT rolcanlogin AND (rolvaliduntil IS NULL OR rolvaliduntil > now() + interval '14 days') FROM pg_roles WHERE rolname = current_user)
            """,
            cancellationToken).ConfigureAwait(false))[0];
        if (server.IsStreamed)
        {
            if (rights[2] is true)
            {
                Good("right to back up", "the role has REPLICATION");
            }
            else
            {
                Failed("right to back up", "the role has no REPLICATION, which a backup over the network needs", cure);
            }
        }
        else if (rights[0] is true && rights[1] is true)
        {
            Good("right to back up", "the role may begin and end backups");
        }
        else
        {
            Failed("right to back up", $"the role may not call {start} and {stop}", cure);
        }

        if (rights[2] is not true)
        {
            Warning("right to keep WAL", "the role has no REPLICATION: the server may take WAL away that a backup needs, which then fails", cure);
        }
        else if ((int)rights[3]! <= 0)
        {
            Warning("right to keep WAL", "no replication slot is free: the server may take WAL away that a backup needs, which then fails", "Raise max_replication_slots and restart the server, or drop a slot that nobody uses.");
        }
        else
        {
            Good("right to keep WAL", $"{((int)rights[3]!).ToString(CultureInfo.InvariantCulture)} slots are free");
        }

        if ((int)rights[5]! is var senders && senders < (server.IsStreamed ? 2 : 1))
        {
            const string Cure = "Raise max_wal_senders and restart the server.";
            string message = $"{Math.Max(0, senders).ToString(CultureInfo.InvariantCulture)} are free: {(server.IsStreamed ? "a backup over the network takes one, and 'pg wal-stream' another" : "'pg wal-stream' takes one")}";
            if (server.IsStreamed && senders < 1)
            {
                Failed("max_wal_senders", message, Cure);
            }
            else
            {
                Warning("max_wal_senders", message, Cure);
            }
        }
        else
        {
            Good("max_wal_senders", $"{senders.ToString(CultureInfo.InvariantCulture)} are free");
        }

        if (rights[4] is true)
        {
            Good("right to read settings", "the role may read all");
        }
        else
        {
            Warning("right to read settings", "the role may not read where the files are: configuration outside of the data directory is not backed up", cure);
        }

        if (rights[6] is false)
        {
            Warning("password of the role", "it ends within two weeks, or has ended: then no backup connects", $"ALTER ROLE \"{role}\" VALID UNTIL 'infinity', or give it a new one in time.");
        }

        if (await session.IsPooledAsync(cancellationToken).ConfigureAwait(false))
        {
            Failed("pooler", "a pooler stands between: a backup needs a session of its own", "Name the server itself in the DSN.");
        }
    }

    // Slots that keep WAL for somebody who does not come fill the disk; those that lost it are a hole in whoever streams by them.
    private async Task OfSlotsAsync(PostgresSession session, PostgresFacts facts, CancellationToken cancellationToken)
    {
        string now = facts.IsInRecovery ? "pg_last_wal_replay_lsn()" : "pg_current_wal_lsn()";
        foreach (object?[] row in await session.QueryAsync(
            $"SELECT slot_name::text, active, coalesce(wal_status, ''), coalesce(pg_wal_lsn_diff({now}, restart_lsn), 0)::bigint FROM pg_replication_slots WHERE NOT temporary ORDER BY 1", cancellationToken).ConfigureAwait(false))
        {
            const long Much = 1 << 30;
            string name = (string)row[0]!;
            if (row[2] is "lost" or "unreserved")
            {
                Warning("replication slots", $"'{name}' {(row[2] is "lost" ? "has lost WAL" : "is about to lose WAL")}: who streams by it gets a hole", $"Raise max_slot_wal_keep_size; make a new backup; drop a slot that is lost: SELECT pg_drop_replication_slot('{name}').");
            }
            else if (row[1] is false && (long)row[3]! > Much)
            {
                Warning("replication slots", $"'{name}' keeps {((long)row[3]! >> 20).ToString(CultureInfo.InvariantCulture)} MiB of WAL for nobody: it fills the disk of the server", $"Start who uses it, or SELECT pg_drop_replication_slot('{name}').");
            }
        }
    }

    // Of several hosts one whose files are here is enough: it is the one that is backed up.
    private async Task OfFilesAsync(PostgresDsn dsn, string? password, ServerChoice choice, CancellationToken cancellationToken)
    {
        PostgresFinding seen = LookAtFiles(choice.Session, choice.Facts);
        foreach (PostgresDsn other in dsn.Each.Where(one => seen.Level == "failed" && one.Place != choice.Dsn.Place))
        {
            try
            {
                await using PostgresSession session = await PostgresSession.OpenAsync(other, password, cancellationToken).ConfigureAwait(false);
                PostgresFinding there = LookAtFiles(session, await session.ReadFactsAsync(cancellationToken).ConfigureAwait(false));
                seen = there.Level == "failed" ? seen : there;
            }
            catch (BackupIQException)
            {
                // That it does not answer is told where hosts are.
            }
        }

        _findings.Add(seen);
    }

    private PostgresFinding LookAtFiles(PostgresSession session, PostgresFacts facts)
    {
        const string Check = "data directory";
        if ((server.PgData ?? facts.DataDirectory) is not { } folder)
        {
            return new("failed", Check, "neither the server's entry nor the server says where it is", "Write pgdata: into the entry, or GRANT pg_read_all_settings.");
        }

        try
        {
            using PostgresSource source = new(session, facts, new PostgresBackupBeginning(server.Name, folder, default, []));
            foreach (string below in (string[])["base", "pg_wal", "pg_xact"])
            {
                _ = Directory.EnumerateFileSystemEntries(Path.Combine(folder, below)).Any();
            }

            int waiting = Directory.EnumerateFiles(Path.Combine(folder, "pg_wal", "archive_status"), "*.ready").Count();
            if (waiting > MostWaitingFiles)
            {
                Warning("archiving", $"{waiting.ToString(CultureInfo.InvariantCulture)} files of WAL wait to be archived", "See in the server's log whether archive_command fails, or how long it takes.");
            }

            return new("good", Check, $"{folder} is this server's and can be read", null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new("failed", Check, e.Message, "Run as the user that the server runs as, or as root.");
        }
        catch (BackupIQException e)
        {
            return new("failed", Check, e.Message, e.Guidance);
        }
    }

    private async Task OfArchiverAsync(PostgresSession session, PostgresFacts facts, CancellationToken cancellationToken)
    {
        if (facts.Settings.GetValueOrDefault("archive_mode") is not ("on" or "always"))
        {
            return;
        }

        (long failures, string? failed, bool fails, string? archived) = await ReadArchiverAsync(session, cancellationToken).ConfigureAwait(false);
        if (fails)
        {
            Failed(
                "archiving", $"it fails now: {failed} could not be archived; {failures.ToString(CultureInfo.InvariantCulture)} tries failed since the counters began. The server keeps its WAL until the disk is full", "See in the server's log what archive_command says.");
        }
        else if (archived is not null)
        {
            Good("archiving", $"{archived} was archived last");
        }
    }

    private static async Task<(long Failures, string? Failed, bool FailsNow, string? Archived)> ReadArchiverAsync(PostgresSession session, CancellationToken cancellationToken)
    {
        object?[] row = (await session.QueryAsync(
            "SELECT failed_count, last_failed_wal, coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false), last_archived_wal FROM pg_stat_archiver", cancellationToken).ConfigureAwait(false))[0];
        return ((long)row[0]!, row[1] as string, row[2] is true, row[3] as string);
    }

    private async Task OfRepositoryAsync(PostgresSession session, PostgresFacts facts, bool isOurs, CancellationToken cancellationToken)
    {
        if (repository is null)
        {
            Note("repository", "none was given, so it was not compared with the server", "Give --repo.");
            return;
        }

        string identifier = facts.SystemIdentifier.ToString(CultureInfo.InvariantCulture);
        string another = $"Choose another name for this server: backupiq pg init-server NAME --dsn …; or another repository.";
        if (repository.Bases.LastOrDefault(one => one.SystemIdentifier != identifier) is { } foreign)
        {
            Failed("backups in the repository", $"there are backups of another cluster under '{server.Name}': system identifier {foreign.SystemIdentifier}", another);
        }
        else
        {
            Good("backups in the repository", repository.Bases.Count == 0 ? "there is none yet" : $"{repository.Bases.Count.ToString(CultureInfo.InvariantCulture)}, all of this cluster");
        }

        WalArchiveIdentity? identity = await repository.Archive.ReadIdentityAsync(cancellationToken).ConfigureAwait(false);
        if (identity is not null && (identity.SystemIdentifier != facts.SystemIdentifier || identity.SegmentSize != facts.WalSegmentSize))
        {
            Failed(
                "archive in the repository",
                identity.SystemIdentifier != facts.SystemIdentifier
                    ? $"the log under '{server.Name}' is another cluster's: system identifier {identity.SystemIdentifier}"
                    : $"the log under '{server.Name}' has segments of {(identity.SegmentSize >> 20).ToString(CultureInfo.InvariantCulture)} MiB, and the server has others: what it pushes is refused",
                another);
            return;
        }

        if (identity is null && !isOurs)
        {
            Note("archive in the repository", "there is none of this server", $"See docs/postgresql-wal.md: archive_command, or 'backupiq pg wal-stream {server.Name}'.");
            return;
        }

        if (identity is not null)
        {
            Good("archive in the repository", $"the log under '{server.Name}' is this cluster's, since {identity.Since.UtcDateTime:yyyy-MM-dd HH:mm} UTC");
        }

        if (!repository.TestArchive)
        {
            Note("way into the archive", "it was not tried", "Leave --no-archive-test out.");
        }
        else if (facts.IsInRecovery)
        {
            Note("way into the archive", "it was not tried: a standby can be told no restore point", "Name the primary in the DSN too.");
        }
        else
        {
            await TestArchiveAsync(repository, session, facts, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task TestArchiveAsync(CheckedRepository target, PostgresSession session, PostgresFacts facts, CancellationToken cancellationToken)
    {
        const string Check = "way into the archive";
        string point = $"backupiq check {Guid.NewGuid():n}";
        WalFileName segment;
        (long failures, _, _, _) = await ReadArchiverAsync(session, cancellationToken).ConfigureAwait(false);
        try
        {
            segment = WalArchive.ParseName((string)(await session.QueryAsync(
                $"SELECT pg_walfile_name(p.lsn), pg_switch_wal()::text FROM (SELECT pg_create_restore_point('{point}') AS lsn OFFSET 0) p", cancellationToken).ConfigureAwait(false))[0][0]!);
        }
        catch (BackupIQException e) when (e.Code == ErrorCodes.Authorization)
        {
            Warning(Check, $"it was not tried: {e.Message}", e.Guidance ?? "Give the role what 'backupiq pg init-server' prints for it.");
            return;
        }

        long began = time.GetTimestamp();
        while (true)
        {
            WalArchivedFile file = (await target.Archive.WithFactsAsync([new WalArchivedFile(segment, 0, default, null)], static (_, _) => { }, cancellationToken).ConfigureAwait(false))[0];
            TimeSpan waited = time.GetElapsedTime(began);
            if (file.Facts is { } stored)
            {
                if (stored.RestorePoints.Any(one => one.Name == point))
                {
                    Good(Check, string.Create(CultureInfo.InvariantCulture, $"{segment} came into the repository within {waited.TotalSeconds:0.0} s, with the restore point of this check"));
                }
                else
                {
                    Failed(Check, $"{segment} is in the repository, without the restore point that the server wrote into it just now: another server archives under this name", "Give each server a name of its own.");
                }

                return;
            }

            if (waited >= target.Patience)
            {
                (long now, string? failed, _, _) = await ReadArchiverAsync(session, cancellationToken).ConfigureAwait(false);
                Failed(
                    Check,
                    string.Create(CultureInfo.InvariantCulture, $"{segment} did not come into the repository within {target.Patience.TotalSeconds:0} s{(now > failures ? $"; the server failed {now - failures} times to archive, last {failed}" : "")}"),
                    now > failures ? "See in the server's log what archive_command says." : "See whether archiving is behind (pg_stat_archiver), and whether archive_command names this repository; wait longer with --archive-timeout.");
                return;
            }

            await Task.Delay(Pause, time, cancellationToken).ConfigureAwait(false);
        }
    }

    private void Good(string check, string message) => _findings.Add(new("good", check, message, null));

    private void Note(string check, string message, string guidance) => _findings.Add(new("note", check, message, guidance));

    private void Warning(string check, string message, string guidance) => _findings.Add(new("warning", check, message, guidance));

    private void Failed(string check, string message, string? guidance) => _findings.Add(new("failed", check, message, guidance));

    [GeneratedRegex("""\bwal-push\s+(?<name>"[^"]*"|'[^']*'|\S+)""", RegexOptions.CultureInvariant)]
    private static partial Regex PushCommand();
}
