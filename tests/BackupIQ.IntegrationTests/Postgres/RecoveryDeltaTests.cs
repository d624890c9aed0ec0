using System.Globalization;
using System.Text.Json;
using BackupIQ.Testing.Files;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Restores over what is there, of one database among several, and to random moments of a load.</summary>
public sealed class RecoveryDeltaTests
{
    [Fact]
    public void AKilledRestoreIsFinishedWithDeltaAndAnotherClustersFolderIsNotTouched()
    {
        using RecoveryScene scene = new();
        PostgresServer server = scene.Server;
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-i", "-s", "5", "-q", "postgres");
        scene.Backup();
        string sum = server.Sql("select count(*), sum(hashtext(t::text)) from pgbench_accounts t")[0];
        string folder = server.User.At("killed");

        // Without a process in between, which alone would be killed.
        string[] words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", server.User.Program, "pg", "restore", "main", "--to", folder, "--quiet", .. server.User.Access];
        ProgramUser.RunningProgram restore = server.User.StartOther(words);

        // When half of it is there.
        while (!restore.HasEnded && Bytes(folder) < 40_000_000)
        {
            Thread.Sleep(1);
        }

        restore.Interrupt(signal: 9);
        restore.Wait().Code.ShouldNotBe(0);
        File.Exists(Path.Combine(folder, "global", "pg_control")).ShouldBeFalse();
        server.Pg("restore", "main", "--to", folder).ShouldEndWith(7).Error.ShouldContain("--delta");
        JsonElement summary = server.Pg("restore", "main", "--to", folder, "--delta", "--json", "--quiet").ShouldEndWith(0).Summary();
        ((double)summary.GetProperty("bytes_restored").GetInt64()).ShouldBeLessThan(0.6 * summary.GetProperty("plan").GetProperty("backup_bytes").GetInt64());
        Directory.Delete(folder, recursive: true);

        // Over a server that was at work since, and is stopped: a table that it made goes, what it changed is as it was.
        (folder, _) = scene.Restore();
        server.SqlAt(folder, "create table mine as select generate_series(1, 10000)", "update pgbench_accounts set abalance = 1 where aid < 1000", "checkpoint");
        server.Pg("restore", "main", "--to", folder, "--delta").ShouldEndWith(7).Error.ShouldContain("runs");
        server.Run("pg_ctl", "-D", folder, "-m", "fast", "-w", "-s", "stop");
        summary = server.Pg("restore", "main", "--to", folder, "--delta", "--start", "--json", "--quiet").ShouldEndWith(0).Summary();
        ((double)summary.GetProperty("bytes_restored").GetInt64()).ShouldBeLessThan(0.6 * summary.GetProperty("plan").GetProperty("backup_bytes").GetInt64());
        server.SqlAt(folder, "select count(*), sum(hashtext(t::text)) from pgbench_accounts t")[0].ShouldBe(sum);
        server.SqlAt(folder, "select to_regclass('mine') is null")[0].ShouldBe("t");
        scene.Discard(folder);

        string other = server.User.At("other");
        server.Run("initdb", "-D", other, "-U", "ci", "--no-sync");
        server.Pg("restore", "main", "--to", other, "--delta").ShouldEndWith(7).Error.ShouldContain("another cluster");
        File.Exists(Path.Combine(other, "global", "pg_control")).ShouldBeTrue();
    }

    [Fact]
    public void OneDatabaseComesBackAndTheOthersCanBeDropped()
    {
        using RecoveryScene scene = new();
        PostgresServer server = scene.Server;
        server.Sql("create database a", "create database b");
        foreach (string name in (string[])["a", "b"])
        {
            server.Run("psql", "-h", server.User.Home, "-U", "ci", "-d", name, "-q", "-c", "create table t as select generate_series(1, 50000) x; create index on t(x)");
        }

        scene.Backup();
        server.Run("psql", "-h", server.User.Home, "-U", "ci", "-d", "b", "-q", "-c", "update t set x = x + 1; create table u as select * from t");
        server.Run("psql", "-h", server.User.Home, "-U", "ci", "-d", "b", "-q", "-c", "vacuum t");
        server.Run("psql", "-h", server.User.Home, "-U", "ci", "-d", "a", "-q", "-c", "insert into t values(-1)");
        server.ArchiveAll();
        (string folder, _) = scene.Restore("--only-db", "a");
        server.Run("psql", "-h", folder, "-U", "ci", "-d", "a", "-qAt", "-c", "select count(*), sum(x) from t").Text.Trim().ShouldBe("50001|1250024999");
        server.SqlAt(folder, "drop database b", "checkpoint");
        server.SqlAt(folder, "select string_agg(datname, ',' order by datname) from pg_database where not datistemplate")[0].ShouldBe("a,postgres");
        server.Pg("restore", "main", "--to", server.User.At("none"), "--only-db", "nosuch").ShouldEndWith(2).Error.ShouldContain("nosuch");
    }

    [Fact]
    public void RandomMomentsOfALoadAreReachedInBalanceToTheLastCommit()
    {
        int moments = int.Parse(Environment.GetEnvironmentVariable("BACKUPIQ_RECOVERY_MOMENTS") is { Length: > 0 } said ? said : "3", CultureInfo.InvariantCulture);
        int seconds = moments > 3 ? 60 : 4;
        using RecoveryScene scene = new(settings: "track_commit_timestamp = on");
        PostgresServer server = scene.Server;
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-i", "-s", moments > 3 ? "20" : "1", "-q", "postgres");
        ProgramUser.RunningProgram load = server.Begin("pgbench", "-h", server.User.Home, "-U", "ci", "-c", "4", "-T", $"{seconds}", "-n", "postgres");
        scene.Backup();
        string from = scene.Now();
        load.Wait().ShouldEndWith(0);
        string to = scene.Now();
        server.ArchiveAll();
        double span = (DateTimeOffset.Parse(to, CultureInfo.InvariantCulture) - DateTimeOffset.Parse(from, CultureInfo.InvariantCulture)).TotalSeconds;
        Random random = new(7);
        for (int i = 0; i < moments; i++)
        {
            string moment = RecoveryScene.Later(from, random.NextDouble() * span);
            (string folder, JsonElement summary) = scene.Restore("--target-time", moment);
            string[] sums = server.SqlAt(folder, "select sum(abalance) from pgbench_accounts union all select sum(bbalance) from pgbench_branches union all select sum(tbalance) from pgbench_tellers union all select coalesce(sum(delta), 0) from pgbench_history");
            sums.Distinct().Count().ShouldBe(1, string.Join(", ", sums));

            // By the server that has it all: as many rows as were committed up to then, and the plan's commits lie on both sides.
            server.SqlAt(folder, "select count(*) from pgbench_history")[0].ShouldBe(server.Sql($"select count(*) from pgbench_history where pg_xact_commit_timestamp(xmin) <= '{moment}'")[0]);
            DateTimeOffset asked = DateTimeOffset.Parse(moment, CultureInfo.InvariantCulture);
            JsonElement plan = summary.GetProperty("plan");
            plan.GetProperty("last_commit_before").GetProperty("time").GetDateTimeOffset().ShouldBeLessThanOrEqualTo(asked);
            if (plan.GetProperty("first_commit_after") is { ValueKind: JsonValueKind.Object } after)
            {
                after.GetProperty("time").GetDateTimeOffset().ShouldBeGreaterThan(asked);
            }

            server.Run("pg_amcheck", "-h", folder, "-U", "ci", "--install-missing", "--all", "--heapallindexed");
            scene.Discard(folder);
        }
    }

    // What is written: files have their lengths before.
    private static long Bytes(string folder) =>
        Directory.Exists(folder) ? long.Parse(ScratchFolder.Run("sh", "-c", "du -s -B1 \"$0\" 2>/dev/null || true", folder).Split('\t')[0], System.Globalization.CultureInfo.InvariantCulture) : 0;
}
