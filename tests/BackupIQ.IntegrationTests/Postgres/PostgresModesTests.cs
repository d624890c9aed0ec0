using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Backups of PostgreSQL beside other work, from standbys, and with the WAL left to the archive.</summary>
public sealed class PostgresModesTests(SharedPostgres shared) : IClassFixture<SharedPostgres>
{
    [Fact]
    public void ASecondBackupOfAServerIntoTheSameRepositoryIsRefusedAtOnceAndAKilledOneBlocksNobody()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 1);
        ProgramUser.RunningProgram first = scene.User.Start("pg", "backup", "main", "--quiet", "--throttle", "2M");
        scene.WaitForBackup();

        // By another name and through another database: it is the server that counts.
        scene.User.RunPlain("pg", "init-server", "again", "--dsn", scene.Server.Dsn.Replace("dbname=postgres", "dbname=template1", StringComparison.Ordinal)).ShouldEndWith(0);
        Stopwatch watch = Stopwatch.StartNew();
        scene.User.Run("pg", "backup", "main").ShouldEndWith(11).Error.ShouldContain("being backed up");
        scene.User.Run("pg", "backup", "again").ShouldEndWith(11).Error.ShouldContain("being backed up");
        watch.Elapsed.TotalSeconds.ShouldBeLessThan(10);
        first.HasEnded.ShouldBeFalse("the first backup ended before the others were tried");
        first.Interrupt(signal: 9);
        first.Wait().Code.ShouldNotBe(0);
        scene.Backup();
        scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(1);
    }

    [Fact]
    public void NothingOfARunningBackupIsLostToForgetAndPrune()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 1);
        string first = PostgresScene.Id(scene.Backup());
        scene.Server.Query("UPDATE pgbench_accounts SET abalance = 0 WHERE aid < 20000; CHECKPOINT");
        scene.Backup(0, "--type", "full");
        string rows = PostgresScene.Rows(scene.Server.Folder);
        ProgramUser.RunningProgram running = scene.User.Start("pg", "backup", "main", "--quiet", "--throttle", "5M", "--checkpoint-interval", "1s");
        scene.WaitForBackup();

        // What the running backup takes over from its parent, and what it stored itself, stays.
        scene.User.Run("forget", first, "--grace", "0", "--allow-mass", "--yes").ShouldEndWith(0);
        running.HasEnded.ShouldBeFalse("the backup was over before anything was forgotten");
        scene.User.Run("prune", "--max-unused", "0").ShouldEndWith(0);
        running.Wait().ShouldEndWith(0);
        scene.User.Run("forget", "--keep-last", "1", "--grace", "0", "--allow-mass", "--yes", "--prune", "--max-unused", "0").ShouldEndWith(0);
        scene.User.Run("check", "--read-data").ShouldEndWith(0);
        scene.Restore("restored");
        PostgresScene.Rows(scene.At("restored")).ShouldBe(rows);
    }

    [Fact]
    public void TheNewestBackupWithoutDamagedPagesOutlastsTheRulesWhileLaterOnesHaveSome()
    {
        using PostgresScene scene = new();
        scene.Server.Query("CREATE TABLE cold AS SELECT g, repeat('x', 500) FROM generate_series(1, 3000) g; CHECKPOINT");
        string sound = PostgresScene.Id(scene.Backup());
        scene.Corrupt("cold", block: 100);
        scene.Backup(3);
        string last = PostgresScene.Id(scene.Backup(3, "--type", "full"));

        JsonElement[] snapshots = [.. scene.User.Run("snapshots", "--json").Json().EnumerateArray()];
        snapshots[0].GetProperty("last_without_page_errors").GetBoolean().ShouldBeTrue();
        snapshots[0].TryGetProperty("page_errors", out _).ShouldBeFalse();
        snapshots[2].GetProperty("page_errors").GetInt64().ShouldBe(1);
        scene.User.Run("snapshots").Text.ShouldContain("1 damaged page");

        scene.User.Run("forget", sound).ShouldEndWith(17).Error.ShouldContain("without damaged pages");
        JsonElement group = scene.User.Run("forget", "--keep-last", "1", "--json").ShouldEndWith(0).Json()[0];
        group.GetProperty("keep").EnumerateArray().Select(PostgresScene.Id).ShouldBe([last, sound]);
        group.GetProperty("reasons")[1].GetProperty("matches")[0].GetString().ShouldBe("newest of its server without damaged pages");
        group.GetProperty("remove").GetArrayLength().ShouldBe(1);

        // Mended and backed up again, it is an old backup like any other.
        scene.Server.Query("DROP TABLE cold; CHECKPOINT");
        scene.Backup(0, "--type", "full");
        scene.User.Run("forget", sound).ShouldEndWith(0);
    }

    [Fact]
    public void AStandbyIsBackedUpAndOnePromotedMeanwhileIsNot()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 1);
        string standby = scene.StartStandby("standby");
        string hosts = $"host={standby},{scene.Server.Folder} user=ci dbname=postgres";
        scene.User.RunPlain("pg", "init-server", "both", "--dsn", hosts).ShouldEndWith(0);
        scene.User.RunPlain("pg", "init-server", "alone", "--dsn", $"host={standby} user=ci dbname=postgres").ShouldEndWith(0);
        scene.User.Run("pg", "backup", "alone").ShouldEndWith(7).Error.ShouldContain("--standby prefer");
        scene.User.Run("pg", "backup", "main", "--standby", "require").ShouldEndWith(7).Error.ShouldContain("standby");

        // Files of the one, a session with the other: they have one system identifier.
        scene.User.RunPlain("pg", "init-server", "mixed", "--dsn", scene.Server.Dsn, "--pgdata", standby).ShouldEndWith(0);
        scene.User.Run("pg", "backup", "mixed").ShouldEndWith(7).Error.ShouldContain("a standby's");

        JsonElement backup;
        using (Process load = scene.Server.StartLoad(seconds: 60))
        {
            backup = scene.User.Run("pg", "backup", "both", "--standby", "prefer", "--json", "--quiet").ShouldEndWith(0).Summary();
            load.Kill();
            load.WaitForExit();
        }

        backup.GetProperty("db").GetProperty("standby").GetBoolean().ShouldBeTrue();
        backup.GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(0);
        scene.User.Run("pg", "restore", "both", "--to", scene.At("restored"), "--start", "--json", "--quiet").ShouldEndWith(0);
        PostgresScene.ShouldBeInBalance(scene.At("restored"));
        scene.ShouldBeSound("restored");

        // Without the flag the primary is read, whatever the order.
        scene.User.Run("pg", "backup", "both", "--json", "--quiet").ShouldEndWith(0).Summary().GetProperty("db").GetProperty("standby").GetBoolean().ShouldBeFalse();

        ProgramUser.RunningProgram running = scene.User.Start("pg", "backup", "alone", "--standby", "require", "--type", "full", "--quiet", "--throttle", "4M");
        scene.WaitForBackup(standby);
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_ctl"), "-D", standby, "-w", "-s", "promote");
        running.Wait().ShouldEndWith(1).Error.ShouldContain("timeline changed");
        scene.User.Run("snapshots", "--json", "--path", "/alone").Json().GetArrayLength().ShouldBe(0);
    }

    [Fact]
    public void ApplyMakesTheServerReadyAndSaysThatItMustBeRestarted()
    {
        using PostgresScene scene = new();
        scene.Server.Query("ALTER SYSTEM SET full_page_writes = off");
        scene.Server.Query("ALTER SYSTEM SET max_wal_senders = 1");
        scene.Server.Query("SELECT pg_reload_conf()");
        scene.Server.Stop();
        scene.Server.Start();
        string dsn = $"host={scene.Server.Folder} user=keeper dbname=postgres";
        WriteSecret(scene.User.At("password"), "it's a secret\\");
        string[] words = ["pg", "init-server", "ready", "--dsn", dsn, "--server-password-from", $"file:{scene.User.At("password")}", "--apply", "--admin-dsn", scene.Server.Dsn];

        // Shown, and without an answer nothing of it made.
        ProgramRun asked = scene.User.RunPlain(words).ShouldEndWith(2);
        asked.Text.ShouldContain("CREATE ROLE \"keeper\"");
        (asked.Text + asked.Error).ShouldNotContain("it's a secret");
        scene.Server.Query("SELECT count(*) FROM pg_roles WHERE rolname = 'keeper'").ShouldBe("0");
        scene.User.RunPlain("pg", "init-server", "ready", "--apply", "--admin-dsn", $"host={scene.Server.Folder} user=nobody").ShouldEndWith(13);

        ProgramRun made = scene.User.RunPlain("pg", "init-server", "ready", "--apply", "--admin-dsn", scene.Server.Dsn, "--yes").ShouldEndWith(0);
        made.Error.ShouldContain("restarted for max_wal_senders");
        scene.Server.Query("SHOW full_page_writes").ShouldBe("on");
        scene.User.RunPlain("pg", "init-server", "ready", "--apply", "--admin-dsn", scene.Server.Dsn).ShouldEndWith(0).Text.ShouldContain("nothing was changed");

        // The password lets the role in, though it was never sent.
        File.WriteAllText(Path.Combine(scene.Server.Data, "pg_hba.conf"), "local all ci trust\nlocal all keeper scram-sha-256\nlocal replication keeper scram-sha-256\n");
        scene.Server.Stop();
        scene.Server.Start();
        scene.User.Run("pg", "backup", "ready").ShouldEndWith(0);
        WriteSecret(scene.User.At("password"), "another");
        scene.User.Run("pg", "backup", "ready").ShouldEndWith(13);
    }

    [Fact]
    public void AServerThatSendsItsFilesIsStoredUnderTheSamePathsAndItsDamageIsNamed()
    {
        using PostgresScene scene = new();
        string place = scene.Server.MakeFolder("fast");
        scene.Server.FillPgbench(scale: 2);
        scene.Server.Query($"CREATE TABLESPACE fast LOCATION '{place}'");
        scene.Server.Query("CREATE TABLE there (a int) TABLESPACE fast; INSERT INTO there SELECT generate_series(1, 5000)");
        scene.Server.Query("CREATE UNLOGGED TABLE scratch (a int); INSERT INTO scratch SELECT generate_series(1, 5000)");
        scene.Server.Query("CREATE TABLE cold AS SELECT g, repeat('x', 500) FROM generate_series(1, 3000) g; CHECKPOINT");
        scene.Server.Query("CREATE ROLE sender LOGIN REPLICATION PASSWORD 'pass''word'; GRANT pg_read_all_settings TO sender");
        File.WriteAllText(
            Path.Combine(scene.Server.Data, "pg_hba.conf"), "local all ci trust\nlocal replication ci trust\nlocal all sender scram-sha-256\nlocal replication sender scram-sha-256\n");
        scene.Server.Query("SELECT pg_reload_conf()");
        JsonElement direct = scene.Backup();

        string password = scene.User.At("password");
        WriteSecret(password, "pass'word");
        string config = scene.User.At("stream.yaml");
        File.WriteAllText(config, "");
        scene.User.RunPlain(
            "--config", config, "pg", "init-server", "main", "--mode", "stream", "--dsn", $"host={scene.Server.Folder} user=sender dbname=postgres", "--server-password-from", $"file:{password}").ShouldEndWith(0);
        string[] words = ["--config", config, "pg", "backup", "main", "--json", "--quiet", "--spool", scene.User.MakeFolder("spool")];
        scene.Server.Query("UPDATE pgbench_tellers SET tbalance = 1");

        // What a run left that was killed goes too.
        Directory.CreateDirectory(Path.Combine(scene.User.At("spool"), "pg-stream-dead", "data"));
        File.WriteAllText(Path.Combine(scene.User.At("spool"), "pg-stream-dead.lock"), "");
        JsonElement streamed = scene.User.Run(words).ShouldEndWith(0).Summary();

        // What was there already is not stored again: but for the WAL a few pages changed.
        long wal = (16 << 20) * PostgresScene.Number(streamed.GetProperty("db"), "wal_segments");
        (PostgresScene.Number(streamed, "data_added") - wal).ShouldBeLessThan((PostgresScene.Number(direct, "data_added") - wal) / 10);
        streamed.GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(0);
        Directory.EnumerateFileSystemEntries(scene.User.At("spool")).ShouldBeEmpty();

        string rows = PostgresScene.Rows(scene.Server.Folder);
        JsonElement restored = scene.Restore("restored", "--tablespace-map", $"{place}={scene.At("moved")}");
        PostgresScene.Id(restored).ShouldBe(PostgresScene.Id(streamed));
        string socket = scene.At("restored");
        PostgresScene.Rows(socket).ShouldBe(rows);
        PostgresCluster.QueryAt(socket, "SELECT count(*), sum(a) FROM there").ShouldBe("5000|12502500");
        PostgresCluster.QueryAt(socket, "SELECT count(*) FROM scratch").ShouldBe("0");
        scene.ShouldBeSound("restored");

        // Under load nothing is damaged, whatever is torn on the way.
        using (Process load = scene.Server.StartLoad(seconds: 60))
        {
            scene.User.Run(words).ShouldEndWith(0).Summary().GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(0);
            load.Kill();
            load.WaitForExit();
        }

        string path = scene.Corrupt("cold", block: 100);
        ProgramRun run = scene.User.Run([.. words.Where(static word => word != "--quiet")]).ShouldEndWith(3);
        run.Lines().First(static line => line.GetProperty("message_type").GetString() == "error").GetProperty("item").GetString().ShouldBe(path);
        run.Summary().GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(1);
        scene.User.Run("--config", config, "pg", "check", "main").Text.ShouldContain("ok    connection for replication");

        // With the wrong password it is let in nowhere.
        WriteSecret(password, "another");
        scene.User.Run(words).ShouldEndWith(13);
        Directory.EnumerateFileSystemEntries(scene.User.At("spool")).ShouldBeEmpty();
    }

    [Fact]
    public void TheWalIsLeftToTheArchiveOnceItIsThereAndStoredWhereItDoesNotCome()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1);
        server.Sql("create table t as select generate_series(1, 1000)");
        JsonElement left = server.PgDefined("backup", "main", "--wal", "archive", "--json", "--quiet").ShouldEndWith(0).Summary();
        left.GetProperty("db").GetProperty("wal_segments").GetInt64().ShouldBe(0);
        string snapshot = PostgresScene.Id(left);
        server.User.Run("ls", $"{snapshot}:/main/tail/pg_wal").ShouldEndWith(0).Text.ShouldNotContain("000000010000");
        string label = server.User.Run("dump", $"{snapshot}:/main/tail/backup_label").ShouldEndWith(0).Text;
        string first = label[(label.IndexOf("(file ", StringComparison.Ordinal) + 6)..][..24];
        server.Pg("wal", "show", "main", first).ShouldEndWith(0);

        server.Sql("alter system set archive_command = 'false'", "select pg_reload_conf()");
        PostgresServer.Wait(() => server.Sql("show archive_command")[0] == "false", "the setting is in force");
        ProgramRun run = server.PgDefined("backup", "main", "--wal", "archive", "--wal-timeout", "2s", "--json").ShouldEndWith(0);
        run.Summary().GetProperty("db").GetProperty("wal_segments").GetInt64().ShouldBeGreaterThan(0);
        (run.Text + run.Error).ShouldContain("did not get the WAL");

        // What was left to the archive comes from there.
        string restored = server.User.At("restored");
        server.Pg("restore", "main", "--base", snapshot, "--to", restored, "--target", "immediate").ShouldEndWith(0);
        server.StopAt(server.Data);
        server.StartAt(restored);
        server.Sql("select count(*) from t").ShouldBe(["1000"]);
    }

    /// <summary>The oldest and the newest: they differ in how backups are begun, and in how the server sends its files.</summary>
    [Theory]
    [InlineData(13)]
    [InlineData(18)]
    public void OtherVersionsAreBackedUpBothWaysAndComeBack(int version)
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1, binaries: PostgresServer.Other(version));
        server.Sql("create table t as select generate_series(1, 20000) a", "checkpoint");
        JsonElement direct = server.PgDefined("backup", "main", "--json", "--quiet").ShouldEndWith(0).Summary();
        server.Sql("insert into t values (0)");
        string config = server.User.At("stream.yaml");
        File.WriteAllText(config, $"postgres:\n  main:\n    dsn: host={server.User.Home} user=ci dbname=postgres\n    mode: stream\n");
        JsonElement streamed = server.User.Run("--config", config, "pg", "backup", "main", "--json", "--quiet").ShouldEndWith(0).Summary();
        streamed.GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(0);
        PostgresScene.Number(streamed, "data_added").ShouldBeLessThan(PostgresScene.Number(direct, "data_added") / 2);

        server.StopAt(server.Data);
        foreach ((JsonElement backup, string rows) in ((JsonElement, string)[])[(direct, "20000"), (streamed, "20001")])
        {
            string restored = server.User.At("restored" + rows);
            server.Pg("restore", "main", "--base", PostgresScene.Id(backup), "--to", restored, "--target", "immediate").ShouldEndWith(0);
            server.StartAt(restored);
            server.Sql("select count(*) from t").ShouldBe([rows]);
            server.StopAt(restored);
        }
    }

    private static void WriteSecret(string path, string secret)
    {
        File.WriteAllText(path, secret);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
