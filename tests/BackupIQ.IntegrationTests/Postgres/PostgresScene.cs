using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>One server for all tests of a class that leave it as it was; it starts when the first wants it.</summary>
public sealed class SharedPostgres : IDisposable
{
    private PostgresCluster? _server;

    /// <summary>The server. Skips the test where PostgreSQL is not installed.</summary>
    public PostgresCluster Get()
    {
        PostgresCluster.Require();
        return _server ??= new PostgresCluster();
    }

    public void Dispose() => _server?.Dispose();
}

/// <summary>A server, and somebody who backs it up under the name <c>main</c>; with the oracles of a restored one.</summary>
internal sealed class PostgresScene : IDisposable
{
    private readonly SharedPostgres? _own;
    private readonly string _prefix = $"{Guid.NewGuid():n}"[..8];

    /// <summary>With a server that others use too, or with one of its own.</summary>
    public PostgresScene(SharedPostgres? shared = null)
    {
        _own = shared is null ? new SharedPostgres() : null;
        Server = (shared ?? _own!).Get();
        User = new ProgramUser().WithNewRepository();
        User.RunPlain("pg", "init-server", "main", "--dsn", Server.Dsn).ShouldEndWith(0);
    }

    public PostgresCluster Server { get; }

    public ProgramUser User { get; }

    /// <summary>A path beside the server, of this scene's own.</summary>
    public string At(string name) => Server.At($"{_prefix}-{name}");

    /// <summary>Backs up; the summary.</summary>
    public JsonElement Backup(int code = 0, params string[] flags) => User.Run(["pg", "backup", "main", "--json", "--quiet", .. flags]).ShouldEndWith(code).Summary();

    /// <summary>Restores into a new folder of the server's and starts it; the summary.</summary>
    public JsonElement Restore(string name, params string[] flags) =>
        User.Run(["pg", "restore", "main", "--to", At(name), "--start", "--json", "--quiet", .. flags]).ShouldEndWith(0).Summary();

    /// <summary>One digest of all rows of all tables of pgbench (oracle H).</summary>
    public static string Rows(string socket) => string.Join('\n', ((string[])["pgbench_accounts t ORDER BY aid", "pgbench_branches t ORDER BY bid", "pgbench_tellers t ORDER BY tid", "pgbench_history t ORDER BY tid, bid, aid, delta, mtime"])
        .Select(from => PostgresCluster.QueryAt(socket, $"SELECT md5(string_agg(md5(r), '')) FROM (SELECT t::text r FROM {from}) x")));

    /// <summary>What holds at every commit of pgbench (oracle B).</summary>
    public static void ShouldBeInBalance(string socket)
    {
        string[] sums = PostgresCluster.QueryAt(
            socket, "SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT coalesce(sum(delta), 0) FROM pgbench_history").Split('\n');
        sums.Distinct().Count().ShouldBe(1, string.Join(", ", sums));
    }

    /// <summary>The server's own word that nothing is damaged (oracle A); it is stopped for that.</summary>
    public void ShouldBeSound(string name)
    {
        string data = At(name);
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_amcheck"), "-h", data, "-U", "ci", "--install-missing", "--all", "--heapallindexed");
        PostgresCluster.StopAt(data);
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_checksums"), "-c", "-D", data).ShouldContain("Bad checksums:  0");
    }

    /// <summary>Flips a byte of a page of a table, in its file, while the server has nothing of it in memory.</summary>
    public string Corrupt(string table, int block)
    {
        string path = Server.Query($"SELECT pg_relation_filepath('{table}')");
        Server.Query("CHECKPOINT");
        Server.Stop();
        using (FileStream file = new(Path.Combine(Server.Data, path), FileMode.Open, FileAccess.ReadWrite))
        {
            file.Position = (block * 8192L) + 5000;
            int old = file.ReadByte();
            file.Position--;
            file.WriteByte((byte)(old ^ 0x10));
        }

        Server.Start();
        return path;
    }

    /// <summary>Starts a standby of the server from a copy of its own making; its data directory, which has its socket.</summary>
    public string StartStandby(string name)
    {
        string data = At(name);
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_basebackup"), "-h", Server.Folder, "-U", "ci", "-D", data, "-R", "-c", "fast", "--no-sync");
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_ctl"), "-D", data, "-l", At(name + ".log"), "-w", "-s", "-o", $"-c unix_socket_directories={data}", "start");
        return data;
    }

    /// <summary>Waits until a backup of the server was begun and is reading its files.</summary>
    public void WaitForBackup(string? socket = null)
    {
        for (int waited = 0; waited < 3000; waited++)
        {
            if (PostgresCluster.QueryAt(socket ?? Server.Folder, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backupiq' AND state = 'idle' AND query ~ '^SELECT (clock_timestamp|pg_is_in_recovery)..$'") != "0")
            {
                return;
            }

            Thread.Sleep(10);
        }

        Assert.Fail("No backup began.");
    }

    /// <summary>The id of a snapshot, of what a backup or a list says.</summary>
    public static string Id(JsonElement said) => said.TryGetProperty("snapshot_id", out JsonElement id) ? id.GetString()! : said.GetProperty("id").GetString()!;

    public static long Number(JsonElement summary, string name) => summary.GetProperty(name).GetInt64();

    public void Dispose()
    {
        foreach (string folder in Directory.GetDirectories(Server.Folder, _prefix + "-*"))
        {
            if (File.Exists(Path.Combine(folder, "postmaster.pid")))
            {
                PostgresCluster.StopAt(folder, "immediate");
            }

            Directory.Delete(folder, recursive: true);
        }

        _own?.Dispose();
        User.Dispose();
    }
}
