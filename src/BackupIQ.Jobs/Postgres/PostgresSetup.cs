using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Backup;

namespace BackupIQ.Jobs.Postgres;

/// <summary>How a server is made ready for backups.</summary>
/// <example>
/// <code>
/// PostgresServer server = new() { Name = "main", Dsn = "host=/run/postgresql user=backup dbname=postgres" };
/// PostgresSetupRequest request = new() { Server = server, AdminDsn = "host=/run/postgresql user=postgres dbname=postgres" };
/// PostgresSetupPlan plan = await PostgresSetup.PlanAsync(request, cancellationToken: cancellationToken);
/// PostgresSetupOutcome outcome = await PostgresSetup.ApplyAsync(request, plan, cancellationToken: cancellationToken);
/// Console.WriteLine(string.Join(", ", outcome.AwaitRestart));
/// </code>
/// </example>
public sealed record PostgresSetupRequest
{
    public required PostgresServer Server { get; init; }

    /// <summary>How a superuser reaches the server; null: as the server's own DSN says.</summary>
    public string? AdminDsn { get; init; }

    /// <summary>A reference to the superuser's password; null: <c>PGPASSWORD</c>, <c>~/.pgpass</c>, or none.</summary>
    public string? AdminPasswordFrom { get; init; }

    /// <summary>What <c>archive_command</c> is to be; null: archiving is left as it is.</summary>
    public string? ArchiveCommand { get; init; }
}

/// <summary>A change to a server.</summary>
/// <param name="Sql">The statement, as it is run; a password in it is a verifier from which nobody learns it.</param>
/// <param name="Why">Why, for people.</param>
public sealed record PostgresSetupStep(string Sql, string Why);

/// <summary>What would be changed in a server.</summary>
/// <param name="Steps">In their order; empty: it has all that it needs.</param>
/// <param name="Notices">What stays as it is though it matters.</param>
public sealed record PostgresSetupPlan(IReadOnlyList<PostgresSetupStep> Steps, IReadOnlyList<string> Notices);

/// <summary>What came of changing a server.</summary>
/// <param name="AwaitRestart">Settings that take effect when the server is started again.</param>
public sealed record PostgresSetupOutcome(IReadOnlyList<string> AwaitRestart);

/// <summary>Makes a server ready for backups: the settings by ALTER SYSTEM, and the role with its rights. Only what is not so yet is changed.</summary>
public static class PostgresSetup
{
    private const int SlotsAndSenders = 10;
    private const int ScramRounds = 4096;

    /// <summary>Looks at the server and tells what is to be changed. Changes nothing.</summary>
    /// <exception cref="BackupIQException"><c>Authorization</c>: it is no superuser. <c>WrongServer</c>: it is a standby. Else as it cannot be reached.</exception>
    public static async Task<PostgresSetupPlan> PlanAsync(PostgresSetupRequest request, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        await using PostgresSession session = await OpenAsync(request, time, cancellationToken).ConfigureAwait(false);
        PostgresFacts facts = await session.ReadFactsAsync(cancellationToken).ConfigureAwait(false);
        List<PostgresSetupStep> steps = [];
        List<string> notices = [];
        IReadOnlyList<string> awaiting = await ReadAwaitingAsync(session, cancellationToken).ConfigureAwait(false);
        if (awaiting.Count > 0)
        {
            notices.Add($"The server must be restarted for what was set before: {string.Join(", ", awaiting)}.");
        }

        PlanSettings(request, facts, awaiting, steps, notices);
        await PlanRoleAsync(request, session, facts, time, steps, notices, cancellationToken).ConfigureAwait(false);
        return new PostgresSetupPlan(steps, notices);
    }

    /// <summary>Makes the changes of a plan, one after the other, and has the server read its settings again.</summary>
    /// <exception cref="BackupIQException">The server refused one; those before it are made.</exception>
    public static async Task<PostgresSetupOutcome> ApplyAsync(PostgresSetupRequest request, PostgresSetupPlan plan, TimeProvider? time = null, CancellationToken cancellationToken = default)
    {
        await using PostgresSession session = await OpenAsync(request, time, cancellationToken).ConfigureAwait(false);
        for (int i = 0; i < plan.Steps.Count; i++)
        {
            try
            {
                await session.QueryAsync(plan.Steps[i].Sql, cancellationToken).ConfigureAwait(false);
            }
            catch (BackupIQException e)
            {
                throw new BackupIQException(e.Code, $"{e.Message}; {i} of {plan.Steps.Count} changes were made before it", e.Guidance, e);
            }
        }

        await session.QueryAsync("SELECT pg_reload_conf()", cancellationToken).ConfigureAwait(false);

        // The server reads them a moment later, and then knows what it could not take over.
        await Task.Delay(TimeSpan.FromMilliseconds(300), time ?? TimeProvider.System, cancellationToken).ConfigureAwait(false);
        return new PostgresSetupOutcome(await ReadAwaitingAsync(session, cancellationToken).ConfigureAwait(false));
    }

    private static async Task<IReadOnlyList<string>> ReadAwaitingAsync(PostgresSession session, CancellationToken cancellationToken) =>
        [.. (await session.QueryAsync("SELECT name FROM pg_settings WHERE pending_restart ORDER BY name", cancellationToken).ConfigureAwait(false)).Select(static row => (string)row[0]!)];

    /// <summary>What the server stores instead of a password (RFC 5803): from it nobody learns the password, and it may stand in logs.</summary>
    internal static string Verifier(ReadOnlySpan<byte> password, ReadOnlySpan<byte> salt)
    {
        byte[] salted = Rfc2898DeriveBytes.Pbkdf2(password, salt, ScramRounds, HashAlgorithmName.SHA256, SHA256.HashSizeInBytes);
        byte[] stored = SHA256.HashData(HMACSHA256.HashData(salted, "Client Key"u8));
        byte[] key = HMACSHA256.HashData(salted, "Server Key"u8);
        CryptographicOperations.ZeroMemory(salted);
        return string.Create(CultureInfo.InvariantCulture, $"SCRAM-SHA-256${ScramRounds}:{Convert.ToBase64String(salt)}${Convert.ToBase64String(stored)}:{Convert.ToBase64String(key)}");
    }

    private static async Task<PostgresSession> OpenAsync(PostgresSetupRequest request, TimeProvider? time, CancellationToken cancellationToken)
    {
        string? reference = request.AdminDsn is null ? request.Server.PasswordFrom : request.AdminPasswordFrom;
        using Secret? password = reference is null ? null : await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false);
        ServerChoice choice = await ServerChoice.OpenAsync(
            PostgresDsn.Parse(request.AdminDsn ?? request.Server.Dsn), password is null ? null : Encoding.UTF8.GetString(password.Bytes), PostgresStandby.No, cancellationToken).ConfigureAwait(false);
        try
        {
            return (await choice.Session.QueryAsync("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", cancellationToken).ConfigureAwait(false)) is [[true]]
                ? choice.Session
                : throw new BackupIQException(ErrorCodes.Authorization, "Only a superuser can change the settings of the server and make roles", "Name one: --admin-dsn 'host=/run/postgresql user=postgres dbname=postgres'.");
        }
        catch
        {
            await choice.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static void PlanSettings(PostgresSetupRequest request, PostgresFacts facts, IReadOnlyList<string> awaiting, List<PostgresSetupStep> steps, List<string> notices)
    {
        string Setting(string name) => facts.Settings.GetValueOrDefault(name) ?? "";
        void Set(string name, string value, string why)
        {
            if (!awaiting.Contains(name))
            {
                steps.Add(new($"ALTER SYSTEM SET {name} = {PostgresRequirements.Literal(value)}", why));
            }
        }

        if (Setting("wal_level") == "minimal")
        {
            Set("wal_level", "replica", "minimal WAL lacks what a recovery needs");
        }

        foreach (string name in (string[])["max_replication_slots", "max_wal_senders"])
        {
            if (!int.TryParse(Setting(name), NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number < 2)
            {
                Set(name, SlotsAndSenders.ToString(CultureInfo.InvariantCulture), "a backup keeps its WAL by a slot, and 'pg wal-stream' takes a sender");
            }
        }

        if (Setting("full_page_writes") != "on")
        {
            Set("full_page_writes", "on", "a page that a crash tore cannot be mended otherwise");
        }

        if (Setting("fsync") != "on")
        {
            notices.Add("fsync is off, and stays so: after a crash the server itself may be damaged. Set it on.");
        }

        string command = Setting("archive_command");
        if (request.ArchiveCommand is not { } wanted)
        {
            if (Setting("archive_mode") == "off")
            {
                notices.Add("archive_mode is off, and stays so: name the repository (--repo) and a key file that opens it (--key-file), and archiving is set up too.");
            }
        }
        else if (Setting("archive_library").Length > 0 || (command.Length > 0 && command != "(disabled)" && command != wanted))
        {
            notices.Add($"The server archives in a way of its own, which stays: {(command.Length > 0 ? "archive_command = " + command : "archive_library = " + Setting("archive_library"))}");
        }
        else
        {
            if (command != wanted)
            {
                Set("archive_command", wanted, "each segment of WAL goes into the repository");
            }

            if (Setting("archive_mode") == "off")
            {
                Set("archive_mode", "on", "without it nothing is archived");
            }

            if (Setting("archive_timeout") == "0")
            {
                Set("archive_timeout", "60", "an idle server's last minutes are archived too");
            }
        }
    }

    private static async Task PlanRoleAsync(
        PostgresSetupRequest request, PostgresSession session, PostgresFacts facts, TimeProvider? time, List<PostgresSetupStep> steps, List<string> notices, CancellationToken cancellationToken)
    {
        string role = PostgresRequirements.RoleOf(request.Server.Dsn);
        string name = PostgresRequirements.Quote(role);
        (string start, string stop) = PostgresRequirements.BackupFunctions(facts.Major);
        string[] functions = [start, stop, "pg_switch_wal()", "pg_create_restore_point(text)"];
        IReadOnlyList<object?[]> known = await session.QueryAsync($"SELECT rolsuper, rolcanlogin, rolreplication FROM pg_roles WHERE rolname = {PostgresRequirements.Literal(role)}", cancellationToken).ConfigureAwait(false);
        if (known is [[true, ..]])
        {
            notices.Add($"The role {role} is a superuser: it may all that a backup needs, and much more. A role of its own would do: user=backupiq in the DSN.");
            return;
        }

        if (known.Count == 0)
        {
            string password = "";
            if (request.Server.PasswordFrom is { } reference)
            {
                using Secret secret = await BackupIqSecrets.ReadAsync(reference, time, cancellationToken).ConfigureAwait(false);
                password = $" PASSWORD {PostgresRequirements.Literal(Verifier(secret.Bytes, RandomNumberGenerator.GetBytes(16)))}";
            }
            else
            {
                notices.Add($"The role {role} has no password: pg_hba.conf must let it in without one (peer, cert), or it needs one and --server-password-from here.");
            }

            steps.Add(new($"CREATE ROLE {name} LOGIN REPLICATION{password}", "the role that backs up; by REPLICATION it keeps the WAL that a backup needs until it is stored"));
        }
        else if (known is [[_, var canLogIn, var replicates]] && (canLogIn is not true || replicates is not true))
        {
            steps.Add(new($"ALTER ROLE {name} LOGIN REPLICATION", "by REPLICATION it keeps the WAL that a backup needs until it is stored"));
        }

        bool isKnown = known.Count > 0;
        string text = PostgresRequirements.Literal(role);
        if (!isKnown || (await session.QueryAsync($"SELECT pg_has_role({text}, 'pg_read_all_settings', 'USAGE')", cancellationToken).ConfigureAwait(false)) is not [[true]])
        {
            steps.Add(new($"GRANT pg_read_all_settings TO {name}", "it tells where the server's files are"));
        }

        // Functions are granted in one database: that which the role connects to.
        foreach (string function in functions)
        {
            if (!isKnown || (await session.QueryAsync($"SELECT has_function_privilege({text}, '{function}', 'EXECUTE')", cancellationToken).ConfigureAwait(false)) is not [[true]])
            {
                steps.Add(new($"GRANT EXECUTE ON FUNCTION {function} TO {name}", function == start || function == stop ? "it begins and ends backups" : "'pg check' tries the way into the archive"));
            }
        }

        string database = PostgresDsn.Parse(request.Server.Dsn).Database;
        if ((await session.QueryAsync("SELECT current_database()::text", cancellationToken).ConfigureAwait(false)) is [[string here]] && here != database)
        {
            throw new BackupIQException(
                ErrorCodes.Configuration, $"The superuser connects to the database '{here}', and the role to '{database}': rights to functions are given in one database", $"Write dbname={database} into --admin-dsn.");
        }
    }
}
