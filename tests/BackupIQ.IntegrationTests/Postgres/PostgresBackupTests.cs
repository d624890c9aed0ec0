using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Backups of a PostgreSQL server at work, and what comes back from them.</summary>
public sealed class PostgresBackupTests(SharedPostgres shared) : IClassFixture<SharedPostgres>
{
    [Fact]
    public void ABackupMadeUnderLoadComesBackWholeAndConsistent()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 4);
        JsonElement first, second;
        using (Process load = scene.Server.StartLoad(seconds: 60))
        {
            first = scene.Backup();
            second = scene.Backup(0, "--checkpoint", "fast");
            load.HasExited.ShouldBeFalse("the load ended before the backups did");
            load.Kill();
            load.WaitForExit();
        }

        first.GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(0);
        second.GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(0);

        // Of the second backup, taken while everything changed: in balance, sound, and on a timeline of its own.
        JsonElement restored = scene.Restore("restored");
        restored.GetProperty("snapshot_id").GetString().ShouldBe(second.GetProperty("snapshot_id").GetString());
        restored.GetProperty("reached").GetProperty("lsn").GetString().ShouldNotBeNullOrEmpty();
        restored.GetProperty("reached").GetProperty("timeline").GetInt64().ShouldBe(2);
        PostgresScene.ShouldBeInBalance(scene.At("restored"));

        // A copy archives nothing, whatever it does.
        PostgresCluster.QueryAt(scene.At("restored"), "SHOW archive_mode").ShouldBe("off");
        PostgresCluster.QueryAt(scene.At("restored"), "SELECT 1 FROM pg_switch_wal()");
        scene.ShouldBeSound("restored");
        Directory.GetFiles(scene.Server.Archive, "00000001*").ShouldNotBeEmpty();
        Directory.GetFiles(scene.Server.Archive, "00000002*").ShouldBeEmpty();

        // Of the first, as far as it was consistent.
        scene.Restore("earlier", "--base", first.GetProperty("snapshot_id").GetString()!, "--target", "immediate");
        PostgresScene.ShouldBeInBalance(scene.At("earlier"));
        scene.ShouldBeSound("earlier");
    }

    [Fact]
    public void AnIdleServerComesBackRowForRowAndTheSecondBackupReadsWhatChanged()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 1);
        scene.Server.Query("DROP TABLE IF EXISTS big; CREATE TABLE big AS SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 20000) g; CHECKPOINT");

        // What changed less than two seconds before a backup may have changed after it as well: the next one reads it again.
        Thread.Sleep(2100);
        JsonElement full = scene.Backup();
        JsonElement incremental = scene.Backup();
        OfFiles(incremental).ShouldBeLessThan(OfFiles(full) / 4);
        PostgresScene.Number(incremental, "files_unmodified").ShouldBeGreaterThan(PostgresScene.Number(incremental, "files_changed"));
        JsonElement again = scene.Backup(0, "--type", "full");
        PostgresScene.Number(again, "files_unmodified").ShouldBe(0);

        string rows = PostgresScene.Rows(scene.Server.Folder);
        JsonElement restored = scene.Restore("restored");
        PostgresScene.Rows(scene.At("restored")).ShouldBe(rows);
        JsonElement[] snapshots = [.. scene.User.Run("snapshots", "--json").Json().EnumerateArray()];
        snapshots.Select(static one => one.GetProperty("kind").GetString()).ShouldAllBe(static kind => kind == "postgres");
        snapshots.Select(static one => one.GetProperty("type").GetString()).ShouldBe(["full", "incremental", "full"]);

        // Without our verb: what comes last over the rest. Before that no server starts from it.
        string id = restored.GetProperty("snapshot_id").GetString()!;
        scene.User.Run("restore", $"{id}:/main/data", "--target", scene.At("plain")).ShouldEndWith(0);
        string[] start = ["-D", scene.At("plain"), "-l", scene.At("plain.log"), "-w", "-s", "-o", $"-c unix_socket_directories={scene.At("plain")} -c archive_mode=off", "start"];
        Should.Throw<Exception>(() => PostgresCluster.AsPostgres(PostgresCluster.Program("pg_ctl"), start));
        scene.User.Run("restore", $"{id}:/main/tail", "--target", scene.At("plain")).ShouldEndWith(0);
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_ctl"), start);
        PostgresScene.Rows(scene.At("plain")).ShouldBe(rows);

        // The copy is on a timeline of its own, and so is a copy of the copy.
        scene.User.RunPlain("pg", "init-server", "copy", "--dsn", $"host={scene.At("restored")} user=ci dbname=postgres").ShouldEndWith(0);
        scene.User.Run("pg", "backup", "copy").ShouldEndWith(0).Text.ShouldContain("timeline 2");
        scene.User.Run("pg", "restore", "copy", "--to", scene.At("again"), "--start", "--json", "--quiet").ShouldEndWith(0).Summary().GetProperty("reached").GetProperty("timeline").GetInt64().ShouldBe(3);
        PostgresScene.Rows(scene.At("again")).ShouldBe(rows);
        restored.GetProperty("db").GetProperty("system_identifier").GetString().ShouldBe(scene.Server.Query("SELECT system_identifier FROM pg_control_system()"));
        scene.ShouldBeSound("restored");

        // Each backup has WAL of its own, in segments of 16 MiB.
        static long OfFiles(JsonElement summary) => PostgresScene.Number(summary, "data_added") - ((16 << 20) * PostgresScene.Number(summary.GetProperty("db"), "wal_segments"));
    }

    [Fact]
    public void ADamagedPageIsNamedAndTheNextBackupsNameItAgain()
    {
        using PostgresScene scene = new();
        scene.Server.Query("CREATE TABLE cold AS SELECT g, repeat('x', 500) FROM generate_series(1, 3000) g; CHECKPOINT");
        scene.Backup();
        string path = scene.Corrupt("cold", block: 100);
        for (int i = 0; i < 2; i++)
        {
            ProgramRun run = scene.User.Run("pg", "backup", "main", "--json").ShouldEndWith(3);
            JsonElement error = run.Lines().First(static line => line.GetProperty("message_type").GetString() == "error");
            error.GetProperty("item").GetString().ShouldBe(path);
            error.GetProperty("error").GetProperty("message").GetString()!.ShouldContain("block 100");
            run.Summary().GetProperty("db").GetProperty("page_errors").GetInt64().ShouldBe(1);
        }

        scene.User.Run("pg", "backup", "main").ShouldEndWith(3).Error.ShouldContain("block 100");
    }

    [Fact]
    public void TablespacesGoWhereTheMapSaysAndUnloggedTablesComeBackEmpty()
    {
        using PostgresScene scene = new(shared);
        string place = scene.Server.MakeFolder("fast");
        scene.Server.Query($"CREATE TABLESPACE fast LOCATION '{place}'");
        scene.Server.Query("CREATE TABLE there (a int) TABLESPACE fast; INSERT INTO there SELECT generate_series(1, 5000)");
        scene.Server.Query("CREATE UNLOGGED TABLE scratch (a int PRIMARY KEY); INSERT INTO scratch SELECT generate_series(1, 5000)");
        scene.Server.Query("SELECT lo_from_bytea(4711, decode(repeat('ab', 100000), 'hex')); CHECKPOINT");
        scene.Server.Query("CREATE TABLE after (a int)");
        scene.Backup();

        // In its old place the other server's files lie.
        ProgramRun refused = scene.User.Run("pg", "restore", "main", "--to", scene.At("refused")).ShouldEndWith(7);
        refused.Error.ShouldContain("--tablespace-map");
        Directory.Exists(scene.At("refused")).ShouldBeFalse();

        string moved = scene.At("moved");
        scene.Restore("restored", "--tablespace-map", $"{place}={moved}");
        string socket = scene.At("restored");
        PostgresCluster.QueryAt(socket, "SELECT count(*), sum(a) FROM there").ShouldBe("5000|12502500");
        PostgresCluster.QueryAt(socket, "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'fast'").ShouldBe(moved);
        PostgresCluster.QueryAt(socket, "SELECT count(*) FROM scratch").ShouldBe("0");
        PostgresCluster.QueryAt(socket, "SELECT md5(lo_get(4711))").ShouldBe(scene.Server.Query("SELECT md5(lo_get(4711))"));
        Directory.EnumerateFileSystemEntries(moved).ShouldHaveSingleItem();
        scene.ShouldBeSound("restored");
        scene.Server.Query("DROP TABLE there, scratch, after");
        scene.Server.Query("DROP TABLESPACE fast");
    }

    [Fact]
    public void ARestoreWritesNothingOverARunningServerOrIntoAFolderThatIsNotEmpty()
    {
        using PostgresScene scene = new(shared);
        scene.Backup();
        scene.User.Run("pg", "restore", "main", "--to", scene.Server.Data).ShouldEndWith(7).Error.ShouldContain("runs");
        string full = scene.User.MakeFolder("full");
        File.WriteAllText(Path.Combine(full, "mine"), "mine");
        scene.User.Run("pg", "restore", "main", "--to", full).ShouldEndWith(7).Error.ShouldContain("not an empty folder");
        Directory.GetFileSystemEntries(full).ShouldBe([Path.Combine(full, "mine")]);

        // Another server's directory under this name: nothing of it is backed up.
        string other = scene.At("other");
        PostgresCluster.AsPostgres(PostgresCluster.Program("initdb"), "-D", other, "-U", "ci", "--no-sync", "--no-instructions");
        scene.User.RunPlain("pg", "init-server", "wrong", "--dsn", scene.Server.Dsn, "--pgdata", other).ShouldEndWith(0);
        scene.User.Run("pg", "backup", "wrong").ShouldEndWith(7).Error.ShouldContain("another server's");
        scene.User.RunPlain("pg", "check", "wrong").ShouldEndWith(2).Text.ShouldContain("FAIL  data directory");
        scene.User.RunPlain("pg", "check", "main").ShouldEndWith(0);
        scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(1);
    }

    [Fact]
    public void AKilledRestoreCannotBeStarted()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 3);
        scene.Backup();
        string target = scene.At("restored");
        ProgramUser.RunningProgram restore = scene.User.Start("pg", "restore", "main", "--to", target, "--quiet");

        // In the middle of its files.
        while (!Directory.Exists(Path.Combine(target, "base")) && !restore.HasEnded)
        {
            Thread.Sleep(1);
        }

        restore.Interrupt(signal: 9);
        restore.Wait().Code.ShouldNotBe(0);
        File.Exists(Path.Combine(target, "global", "pg_control")).ShouldBeFalse();
        ScratchFolder.Run("chown", "-R", "postgres:postgres", target);
        Should.Throw<Exception>(() => PostgresCluster.AsPostgres(PostgresCluster.Program("pg_ctl"), "-D", target, "-w", "-s", "-l", scene.At("log"), "start"));
        scene.User.Run("pg", "restore", "main", "--to", target).ShouldEndWith(7).Error.ShouldContain("interrupted");
    }

    [Fact]
    public void AKilledBackupIsNoBackupAndLeavesTheServerAsItWas()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 3);
        for (int i = 0; i < 3; i++)
        {
            ProgramUser.RunningProgram backup = scene.User.Start("pg", "backup", "main", "--quiet", "--checkpoint-interval", "1s", "--compression", "max");
            for (int waited = 0; waited < 3000 && !backup.HasEnded && scene.Server.Query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backupiq'") == "0"; waited++)
            {
                Thread.Sleep(1);
            }

            Thread.Sleep(i * 60);
            backup.Interrupt(signal: 9);
            ProgramRun killed = backup.Wait();
            if (killed.Code == 0)
            {
                break;
            }

            scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(0);
        }

        // Its session is gone, and with it the backup and the slot.
        for (int waited = 0; waited < 200 && scene.Server.Query("SELECT count(*) FROM pg_replication_slots") != "0"; waited++)
        {
            Thread.Sleep(10);
        }

        scene.Server.Query("SELECT count(*) FROM pg_replication_slots").ShouldBe("0");
        scene.Server.Stop();
        File.Exists(Path.Combine(scene.Server.Data, "backup_label")).ShouldBeFalse();
        scene.Server.Start();
        scene.Backup();
        scene.Restore("restored");
        PostgresScene.ShouldBeInBalance(scene.At("restored"));
    }

    [Fact]
    public void ABackupWhoseSessionEndsIsGivenUp()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 8);
        ProgramUser.RunningProgram backup = scene.User.Start("pg", "backup", "main", "--quiet", "--compression", "max", "--read-concurrency", "1");
        bool isEnded = false;
        for (int waited = 0; waited < 3000 && !isEnded && !backup.HasEnded; waited++)
        {
            isEnded = scene.Server.Query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'backupiq' AND query LIKE '%clock_timestamp%' AND state = 'idle'") == "1";
        }

        isEnded.ShouldBeTrue("the backup was over before its session could be ended");
        backup.Wait().ShouldEndWith(15).Error.ShouldContain("session");
        scene.User.Run("snapshots", "--json").Json().GetArrayLength().ShouldBe(0);
    }

    [Fact]
    public void ARoleWithTheRightsThatArePrintedCanBackUpAndOneWithoutIsTold()
    {
        using PostgresScene scene = new(shared);
        string dsn = $"host={scene.Server.Folder} user=backupiq dbname=postgres";
        string sql = scene.User.RunPlain("pg", "init-server", "least", "--dsn", dsn).ShouldEndWith(0).Text;
        scene.Server.Query("CREATE ROLE nobody LOGIN");
        scene.User.RunPlain("pg", "init-server", "none", "--dsn", $"host={scene.Server.Folder} user=nobody dbname=postgres", "--pgdata", scene.Server.Data).ShouldEndWith(0);
        scene.Server.Query(sql[..sql.IndexOf("# postgresql.conf", StringComparison.Ordinal)]);
        scene.User.RunPlain("pg", "check", "least").ShouldEndWith(0);
        scene.User.Run("pg", "backup", "least").ShouldEndWith(0);
        scene.User.RunPlain("pg", "check", "none").ShouldEndWith(2).Text.ShouldContain("FAIL  right to back up");
        scene.User.Run("pg", "backup", "none").ShouldEndWith(13).Error.ShouldContain("init-server");
        scene.User.RunPlain("config", "validate").ShouldEndWith(0);
        scene.User.RunPlain("pg", "init-server", "bad", "--dsn", "host=a password=hunter2").ShouldEndWith(2).Error.ShouldNotContain("hunter2");
    }

    [Fact]
    public void ConfigurationThatLiesOutsideOfTheDataDirectoryComesBackInIt()
    {
        using PostgresScene scene = new();
        string etc = scene.Server.MakeFolder("etc");
        Directory.CreateDirectory(Path.Combine(etc, "conf.d"));
        scene.Server.Stop();
        foreach (string name in (string[])["postgresql.conf", "pg_hba.conf", "pg_ident.conf"])
        {
            File.Move(Path.Combine(scene.Server.Data, name), Path.Combine(etc, name));
        }

        File.AppendAllText(Path.Combine(etc, "postgresql.conf"), $"\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\ndata_directory = '{scene.Server.Data}'\ninclude_dir = 'conf.d'\n");
        File.WriteAllText(Path.Combine(etc, "conf.d", "more.conf"), "work_mem = '5MB'\n");
        ScratchFolder.Run("chown", "-R", "postgres:postgres", etc);
        PostgresCluster.AsPostgres(PostgresCluster.Program("pg_ctl"), "-D", scene.Server.Data, "-l", scene.Server.At("log"), "-w", "-s", "-o", $"-c config_file={etc}/postgresql.conf", "start");
        scene.Backup();
        Directory.Move(etc, etc + ".away");
        scene.Restore("restored");
        string socket = scene.At("restored");
        PostgresCluster.QueryAt(socket, "SHOW work_mem").ShouldBe("5MB");
        PostgresCluster.QueryAt(socket, "SHOW hba_file").ShouldBe(Path.Combine(socket, "pg_hba.conf"));
        PostgresCluster.QueryAt(socket, "SHOW data_directory").ShouldBe(socket);
    }
}
