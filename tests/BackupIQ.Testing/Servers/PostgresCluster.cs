using System.Diagnostics;
using System.Globalization;
using BackupIQ.Testing.Files;

namespace BackupIQ.Testing.Servers;

/// <summary>
/// A PostgreSQL server of a test's own, on a socket in its folder, run as the user <c>postgres</c>: it refuses to run as root. Its settings keep
/// tests quick; checksums are on.
/// </summary>
public sealed class PostgresCluster : IDisposable
{
    private const string Account = "postgres";

    // Two restored copies beside it, and their WAL.
    private readonly ScratchFolder _scratch = new(inMemory: 512 << 20);

    /// <summary>Makes and starts it.</summary>
    public PostgresCluster()
    {
        ScratchFolder.Run("chmod", "755", _scratch.Path);
        Folder = _scratch.At("server");
        ScratchFolder.Run("install", "-d", "-o", Account, "-g", Account, Folder);
        AsPostgres(Program("initdb"), ["-D", Data, "-U", "ci", "-A", "trust", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C", "--data-checksums"]);
        File.AppendAllText(
            Path.Combine(Data, "postgresql.conf"),
            $"\nlisten_addresses = ''\nunix_socket_directories = '{Folder}'\nport = 5432\nwal_level = replica\nshared_buffers = 32MB\nmin_wal_size = 32MB\nmax_wal_size = 256MB\narchive_mode = on\narchive_command = 'cp %p {At("archive")}/%f'\n");
        MakeFolder("archive");
        Start();
    }

    /// <summary>Where programs of PostgreSQL are; null where none is installed, or the user is not there, or the tests do not run as root.</summary>
    public static string? Programs { get; } =
        ScratchFolder.IsRoot && File.ReadLines("/etc/passwd").Any(static line => line.StartsWith(Account + ":", StringComparison.Ordinal)) && Directory.Exists("/usr/lib/postgresql")
            ? Directory.EnumerateDirectories("/usr/lib/postgresql").Select(static folder => Path.Combine(folder, "bin")).LastOrDefault(static folder => File.Exists(Path.Combine(folder, "initdb")))
            : null;

    /// <summary>The folder of its socket, and of what tests put beside it; <c>postgres</c> owns it.</summary>
    public string Folder { get; }

    /// <summary>Where it archives its WAL.</summary>
    public string Archive => At("archive");

    /// <summary>Its data directory.</summary>
    public string Data => Path.Combine(Folder, "data");

    /// <summary>How it is reached.</summary>
    public string Dsn => $"host={Folder} user=ci dbname=postgres";

    /// <summary>Skips the test where PostgreSQL is not there.</summary>
    public static void Require() => ServerProcess.Require(
        Programs is not null, "PostgreSQL is not installed, there is no user 'postgres', or this is not root: apt-get install postgresql postgresql-contrib");

    /// <summary>A path in <see cref="Folder"/>.</summary>
    public string At(params string[] names) => Path.Combine([Folder, .. names]);

    /// <summary>Makes an empty folder that <c>postgres</c> owns.</summary>
    public string MakeFolder(string name)
    {
        ScratchFolder.Run("install", "-d", "-o", Account, "-g", Account, At(name));
        return At(name);
    }

    /// <summary>The path of a program of PostgreSQL.</summary>
    public static string Program(string name) => Path.Combine(Programs!, name);

    /// <summary>What a query answers, rows in lines and columns between bars.</summary>
    public string Query(string sql, string database = "postgres") => QueryAt(Folder, sql, database);

    /// <summary>The same of a server with its socket in another folder.</summary>
    public static string QueryAt(string socket, string sql, string database = "postgres") =>
        ScratchFolder.Run(Program("psql"), "-X", "-h", socket, "-U", "ci", "-d", database, "-v", "ON_ERROR_STOP=1", "-Atq", "-c", sql).TrimEnd('\n');

    /// <summary>Fills tables of pgbench.</summary>
    public void FillPgbench(int scale) =>
        ScratchFolder.Run(Program("pgbench"), "-h", Folder, "-U", "ci", "-i", "-q", "-s", scale.ToString(CultureInfo.InvariantCulture), "postgres");

    /// <summary>Lets clients write until the process is ended, or the time is over.</summary>
    public Process StartLoad(int seconds, int clients = 2, int rate = 0) => Process.Start(new ProcessStartInfo(
        Program("pgbench"), ["-h", Folder, "-U", "ci", "-c", clients.ToString(CultureInfo.InvariantCulture), "-T", seconds.ToString(CultureInfo.InvariantCulture), .. rate > 0 ? (string[])["-R", rate.ToString(CultureInfo.InvariantCulture)] : [], "-n", "postgres"])
    {
        RedirectStandardOutput = true,
        RedirectStandardError = true,
        UseShellExecute = false,
    })!;

    /// <summary>Starts it after <see cref="Stop"/>.</summary>
    public void Start() => AsPostgres(Program("pg_ctl"), ["-D", Data, "-l", At("log"), "-w", "-s", "-t", "60", "start"]);

    /// <summary>Stops it.</summary>
    /// <param name="mode"><c>fast</c>, or <c>immediate</c>: as in a crash.</param>
    public void Stop(string mode = "fast") => StopAt(Data, mode);

    /// <summary>Stops the server of another data directory.</summary>
    public static void StopAt(string data, string mode = "fast") => AsPostgres(Program("pg_ctl"), ["-D", data, "-w", "-s", "-m", mode, "stop"]);

    /// <summary>Runs a program as the user of the server; what it writes. Throws when it fails.</summary>
    public static string AsPostgres(string program, params string[] arguments) => ScratchFolder.Run("runuser", ["-u", Account, "--", program, .. arguments]);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (string data in Directory.EnumerateDirectories(Folder).Where(static folder => File.Exists(Path.Combine(folder, "postmaster.pid"))))
        {
            StopAt(data, "immediate");
        }

        _scratch.Dispose();
    }
}
