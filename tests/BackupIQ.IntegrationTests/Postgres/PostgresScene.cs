using System.Globalization;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>A server, and somebody who backs it up under the name <c>main</c>; with the oracles of a restored one.</summary>
internal sealed class PostgresScene : IDisposable
{
    public PostgresScene(string settings = "", params string[] initdb)
    {
        PostgresServer.Require();
        Server = new PostgresServer(settings, initdb);
        User = new ProgramUser().WithNewRepository();
        User.RunPlain("pg", "init-server", "main", "--dsn", Server.Dsn).ShouldEndWith(0);
    }

    public PostgresServer Server { get; }

    public ProgramUser User { get; }

    /// <summary>Backs up; the summary.</summary>
    public JsonElement Backup(int code = 0, params string[] flags) => User.Run(["pg", "backup", "main", "--json", "--quiet", .. flags]).ShouldEndWith(code).Summary();

    /// <summary>Restores into a new folder of the server's and starts it; the summary.</summary>
    public JsonElement Restore(string name, params string[] flags) =>
        User.Run(["pg", "restore", "main", "--to", Server.At(name), "--start", "--json", "--quiet", .. flags]).ShouldEndWith(0).Summary();

    /// <summary>One digest of all rows of all tables of pgbench (oracle H).</summary>
    public static string Rows(string socket) => string.Join('\n', ((string[])["pgbench_accounts t ORDER BY aid", "pgbench_branches t ORDER BY bid", "pgbench_tellers t ORDER BY tid", "pgbench_history t ORDER BY tid, bid, aid, delta, mtime"])
        .Select(from => PostgresServer.QueryAt(socket, $"SELECT md5(string_agg(md5(r), '')) FROM (SELECT t::text r FROM {from}) x")));

    /// <summary>What holds at every commit of pgbench (oracle B).</summary>
    public static void ShouldBeInBalance(string socket)
    {
        string[] sums = PostgresServer.QueryAt(
            socket, "SELECT sum(abalance) FROM pgbench_accounts UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT coalesce(sum(delta), 0) FROM pgbench_history").Split('\n');
        sums.Distinct().Count().ShouldBe(1, string.Join(", ", sums));
    }

    /// <summary>The server's own word that nothing is damaged (oracle A); it is stopped for that.</summary>
    public void ShouldBeSound(string name)
    {
        string data = Server.At(name);
        PostgresServer.AsPostgres(PostgresServer.Program("pg_amcheck"), "-h", data, "-U", "ci", "--install-missing", "--all", "--heapallindexed");
        PostgresServer.StopAt(data);
        PostgresServer.AsPostgres(PostgresServer.Program("pg_checksums"), "-c", "-D", data).ShouldContain("Bad checksums:  0");
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

    public static long Number(JsonElement summary, string name) => summary.GetProperty(name).GetInt64();

    public void Dispose()
    {
        Server.Dispose();
        User.Dispose();
    }
}
