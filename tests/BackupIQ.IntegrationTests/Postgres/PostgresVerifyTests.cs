using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Servers;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Verifying backups of a PostgreSQL server, by looking, reading and restoring them, and comparing databases.</summary>
public sealed class PostgresVerifyTests(SharedPostgres shared) : IClassFixture<SharedPostgres>
{
    [Fact]
    public void AGoodBackupPassesAtEveryLevelAndNothingIsLeftBehind()
    {
        using PostgresScene scene = new(shared);
        scene.Server.FillPgbench(scale: 1);

        // Under load and with a table that comes meanwhile: neither may raise a false alarm.
        // So slow that no table grows by the thousand rows from which an estimate is told to be off, on whatever machine.
        JsonElement backup;
        using (Process load = scene.Server.StartLoad(seconds: 60, rate: 50))
        {
            backup = scene.Backup();
            load.Kill();
            load.WaitForExit();
        }

        string id = backup.GetProperty("snapshot_id").GetString()!;
        string work = scene.Server.MakeFolder("work");
        JsonElement quick = Verify(scene, 0, id, "--level", "quick");
        Ids(quick).ShouldBe(["document", "presence", "wal_list", "label"]);
        JsonElement standard = Verify(scene, 0, id);
        standard.GetProperty("level").GetString().ShouldBe("standard");
        Ids(standard).ShouldBe(["document", "presence", "wal_list", "label", "chunks", "wal_records", "pages", "control"]);

        string page = scene.User.At("proof.html");
        JsonElement all = Verify(
            scene, 0, id, "--level", "comprehensive", "--work", work, "--report", page,
            "--assert", "postgres: SELECT sum(abalance) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_accounts", "--assert-file", scene.User.Write("asserts", "# balances\npostgres: SELECT count(*) = 100000 FROM pgbench_accounts\n"));
        all.GetProperty("overall_status").GetString().ShouldBe("passed");
        all.GetProperty("pass_rate").GetDouble().ShouldBe(100);
        Ids(all).ShouldBe(
        [
            "document", "presence", "wal_list", "label", "chunks", "wal_records", "pages", "control", "restore", "recovery", "databases", "schema", "rows", "assertion_1", "assertion_2", "amcheck", "checksums", "cleanup",
        ]);
        all.GetProperty("checks").EnumerateArray().ShouldAllBe(static check => check.GetProperty("status").GetString() == "passed");
        Check(all, "rows").GetProperty("items").EnumerateArray().Select(static item => item.GetString()).ShouldContain(static item => item!.StartsWith("postgres: public.pgbench_accounts: 100,000 rows", StringComparison.Ordinal));
        all.GetProperty("rto_seconds").GetDouble().ShouldBe(all.GetProperty("restore_seconds").GetDouble() + all.GetProperty("recovery_seconds").GetDouble(), tolerance: 0.01);

        // Nothing runs, nothing lies about; what was found is noted, and shown.
        Directory.GetFileSystemEntries(work).ShouldBeEmpty();
        string html = File.ReadAllText(page);
        html.ShouldContain("class=\"verdict passed\"");
        html.ShouldContain(id);
        html.ShouldNotContain("http");
        JsonElement[] verdicts = [.. scene.User.Run("show", id, "--json").Json().GetProperty("verdicts").EnumerateArray()];
        verdicts.Select(static verdict => verdict.GetProperty("level").GetString()).ShouldBe(["quick", "standard", "comprehensive"]);
        verdicts[^1].GetProperty("summary").GetString()!.ShouldStartWith("18 of 18 checks passed; recovered in ");
        scene.User.Run("status").ShouldEndWith(0).Text.ShouldContain("ok    restores: ");

        // Other databases, and an assertion that is not true: named, and 14.
        JsonElement failed = Verify(
            scene, 14, id, "--level", "comprehensive", "--work", work, "--assert", "postgres: SELECT count(*) > 100000 FROM pgbench_accounts", "--assert", "postgres: SELECT * FROM nowhere", "--assert", "nowhere: SELECT true");
        Check(failed, "assertion_1").GetProperty("detail").GetString()!.ShouldEndWith("it answered False, not true");
        Check(failed, "assertion_2").GetProperty("detail").GetString()!.ShouldContain("does not exist");
        Check(failed, "assertion_3").GetProperty("status").GetString().ShouldBe("failed");
        Check(failed, "amcheck").GetProperty("status").GetString().ShouldBe("passed");
        Directory.GetFileSystemEntries(work).ShouldBeEmpty();
        scene.User.Run("verify", id, "--assert", "postgres: SELECT true").ShouldEndWith(2).Error.ShouldContain("comprehensive");
        scene.User.Run("verify", id, "--level", "deep").ShouldEndWith(2);
    }

    [Fact]
    public void AFlippedByteAndAMissingPackAreFoundAndTheFileIsNamed()
    {
        using PostgresScene scene = new(shared);
        scene.Server.Query("DROP TABLE IF EXISTS random; CREATE TABLE random AS SELECT g, md5(g::text) FROM generate_series(1, 30000) g; CHECKPOINT");
        scene.Backup();
        string[] packs = [.. scene.User.Objects("d").OrderByDescending(static pack => new FileInfo(pack).Length)];
        byte[] bytes = File.ReadAllBytes(packs[0]);
        byte[] wrong = [.. bytes];
        wrong[bytes.Length / 2] ^= 0x40;
        File.SetAttributes(packs[0], FileAttributes.Normal);
        File.WriteAllBytes(packs[0], wrong);

        // Nothing is read, so nothing is seen; then it is.
        Verify(scene, 0, "latest", "--level", "quick");
        ProgramRun run = scene.User.Run("verify", "latest", "--json").ShouldEndWith(14);
        JsonElement chunks = Check(run.Summary(), "chunks");
        chunks.GetProperty("status").GetString().ShouldBe("failed");
        chunks.GetProperty("items").EnumerateArray().ShouldAllBe(static item => item.GetString()!.StartsWith("/main/", StringComparison.Ordinal));
        scene.User.Run("verify", "latest").ShouldEndWith(14).Text.ShouldContain("FAIL");

        File.Delete(packs[0]);
        JsonElement quick = Verify(scene, 14, "latest", "--level", "quick");
        Check(quick, "presence").GetProperty("items").EnumerateArray().First().GetString()!.ShouldContain("is missing");
        File.WriteAllBytes(packs[0], bytes[..^100]);
        Check(Verify(scene, 14, "latest", "--level", "quick"), "presence").GetProperty("items").EnumerateArray().First().GetString()!.ShouldContain("by the index");
        File.WriteAllBytes(packs[0], bytes);
        Verify(scene, 0, "latest");
        JsonElement[] verdicts = [.. scene.User.Run("show", "latest", "--json").Json().GetProperty("verdicts").EnumerateArray()];
        verdicts.Select(static verdict => verdict.GetProperty("passed").GetBoolean()).ShouldBe([true, false, false, false, false, true]);
        scene.Server.Query("DROP TABLE random");
    }

    [Fact]
    public void APageThatWasDamagedOnTheServerIsNamedWithItsRelation()
    {
        using PostgresScene scene = new();
        scene.Server.Query("CREATE TABLE cold AS SELECT g, repeat('x', 500) FROM generate_series(1, 3000) g");
        scene.Server.Query("VACUUM cold");
        scene.Server.Query("CHECKPOINT");
        string path = scene.Corrupt("cold", block: 100);
        scene.User.Run("pg", "backup", "main").ShouldEndWith(3);
        JsonElement all = Verify(scene, 14, "latest", "--level", "comprehensive", "--work", scene.At("work"));
        Check(all, "chunks").GetProperty("status").GetString().ShouldBe("passed");
        JsonElement pages = Check(all, "pages");
        pages.GetProperty("detail").GetString()!.ShouldContain("on the server already");
        pages.GetProperty("items").EnumerateArray().ShouldHaveSingleItem().GetString().ShouldBe($"{path}: block 100");
        Check(all, "damaged").GetProperty("items").EnumerateArray().ShouldHaveSingleItem().GetString().ShouldBe($"postgres: public.cold: {path}: block 100");
        Check(all, "rows").GetProperty("items").EnumerateArray().First().GetString()!.ShouldContain("cold");
        Check(all, "checksums").GetProperty("items").EnumerateArray().ShouldHaveSingleItem().GetString()!.ShouldContain($"{path}\", block 100");
        Check(all, "cleanup").GetProperty("status").GetString().ShouldBe("passed");
        Directory.GetFileSystemEntries(scene.At("work")).ShouldBeEmpty();
    }

    [Fact]
    public void WhatAnInterruptedVerificationLeavesGoesAtOnceOrWithTheNextOne()
    {
        using PostgresScene scene = new(shared);
        scene.Backup();
        string work = scene.Server.MakeFolder("interrupted");
        ProgramUser.RunningProgram first = Start("--level", "comprehensive");
        first.Interrupt(signal: 2);
        first.Wait().Code.ShouldBe(130);
        Directory.GetFileSystemEntries(work).ShouldBeEmpty();

        // Killed, with a server that runs on.
        ProgramUser.RunningProgram killed = Start("--level", "comprehensive");
        string data = Path.Combine(Directory.GetDirectories(work)[0], "data");
        killed.Interrupt(signal: 9);
        killed.Wait();
        string[] left = File.Exists(Path.Combine(data, "postmaster.pid")) ? File.ReadAllLines(Path.Combine(data, "postmaster.pid")) : [];
        Verify(scene, 0, "latest", "--level", "comprehensive", "--work", work);
        Directory.GetFileSystemEntries(work).ShouldBeEmpty();

        // One that has ended and that nobody has waited for has a folder and no words.
        string words = left.Length > 0 ? $"/proc/{left[0]}/cmdline" : "/proc/none";
        (File.Exists(words) ? File.ReadAllText(words) : "").ShouldBeEmpty();

        // When the restored server runs, or is about to.
        ProgramUser.RunningProgram Start(params string[] flags)
        {
            ProgramUser.RunningProgram running = scene.User.Start(["verify", "latest", "--quiet", "--work", work, .. flags]);
            for (int waited = 0; waited < 20_000 && !running.HasEnded && !Directory.EnumerateDirectories(work).Any(static folder => File.Exists(Path.Combine(folder, "data", "postmaster.pid"))); waited++)
            {
                Thread.Sleep(1);
            }

            running.HasEnded.ShouldBeFalse();
            return running;
        }
    }

    [Fact]
    public void ComparingFindsAMissingRowAMissingIndexAndAChangedColumn()
    {
        using PostgresScene scene = new(shared);
        scene.Server.Query("DROP DATABASE IF EXISTS one");
        scene.Server.Query("DROP DATABASE IF EXISTS two");
        scene.Server.Query("CREATE DATABASE one");
        scene.Server.Query(
            """
            CREATE SCHEMA "odd.name"; CREATE TABLE "odd.name"."a table" (id int PRIMARY KEY, name text NOT NULL DEFAULT 'x', CHECK (id > 0)); CREATE INDEX by_name ON "odd.name"."a table" (name);
            INSERT INTO "odd.name"."a table" SELECT g, md5(g::text) FROM generate_series(1, 1000) g; CREATE TABLE plain (v int); INSERT INTO plain VALUES (1), (2); CREATE VIEW seen AS SELECT v FROM plain
            """,
            "one");
        scene.Server.Query("CREATE DATABASE two TEMPLATE one");
        string[] compare = ["pg", "compare", "--source", $"host={scene.Server.Folder} user=ci dbname=one", "--target", $"host={scene.Server.Folder} user=ci dbname=two", "--json", "--level"];
        JsonElement same = scene.User.RunPlain([.. compare, "comprehensive"]).ShouldEndWith(0).Summary();
        Ids(same).ShouldBe(["connection", "tables", "schema", "rows", "indexes", "constraints", "integrity"]);
        same.GetProperty("overall_status").GetString().ShouldBe("passed");

        scene.Server.Query("DELETE FROM plain WHERE v = 2", "two");
        JsonElement rows = scene.User.RunPlain([.. compare, "standard"]).ShouldEndWith(14).Summary();
        Check(rows, "rows").GetProperty("detail").GetString().ShouldBe("public.plain: 2 rows, in the target 1");
        rows.GetProperty("pass_rate").GetDouble().ShouldBe(75);
        scene.User.RunPlain([.. compare, "quick"]).ShouldEndWith(0);

        scene.Server.Query("INSERT INTO plain VALUES (3); DROP INDEX \"odd.name\".by_name; ALTER TABLE \"odd.name\".\"a table\" ALTER name TYPE varchar(40)", "two");
        JsonElement all = scene.User.RunPlain([.. compare, "comprehensive"]).ShouldEndWith(14).Summary();
        Check(all, "rows").GetProperty("status").GetString().ShouldBe("passed");
        Check(all, "schema").GetProperty("items").EnumerateArray().First().GetString()!.ShouldContain("name text NOT NULL");
        Check(all, "indexes").GetProperty("detail").GetString()!.ShouldContain("by_name is missing");
        Check(all, "integrity").GetProperty("detail").GetString().ShouldBe("public.plain: its rows are not the same");
        scene.Server.Query("DROP TABLE plain CASCADE", "two");
        Check(scene.User.RunPlain([.. compare, "quick"]).ShouldEndWith(14).Summary(), "tables").GetProperty("items").EnumerateArray().Select(static item => item.GetString()).ShouldContain("public.plain (table) is missing in the target.");

        // A server of the configuration, with a folder and all databases; and one that is not there.
        scene.User.RunPlain("pg", "compare", "--source", "main", "--target", $"host={scene.Server.Folder} user=ci", "--all", "--level", "quick").ShouldEndWith(0);
        scene.User.RunPlain("pg", "compare", "--source", "main", "--target", "/nowhere").ShouldEndWith(14).Text.ShouldContain("cannot be connected to");
        scene.User.RunPlain("pg", "compare", "--source", "main").ShouldEndWith(2);
        scene.Server.Query("DROP DATABASE one");
        scene.Server.Query("DROP DATABASE two");
    }

    [Fact]
    public void TablesThatAreChangedWhileTheBackupRunsRaiseNoAlarm()
    {
        using PostgresScene scene = new();
        scene.Server.Query("CREATE TABLE steady (a int PRIMARY KEY); CREATE TABLE moved (a int)");
        scene.Server.Query($"CREATE TABLESPACE fast LOCATION '{scene.Server.MakeFolder("fast")}'");
        scene.Server.Query("CREATE TABLE there (a int) TABLESPACE fast; INSERT INTO there SELECT generate_series(1, 5000); CREATE UNLOGGED TABLE scratch (a int); INSERT INTO scratch VALUES (1)");
        using (ProgramUserLoop changing = new(scene.Server))
        {
            scene.Backup();
        }

        JsonElement all = Verify(scene, 0, "latest", "--level", "comprehensive", "--work", scene.At("work"));
        Check(all, "schema").GetProperty("status").GetString().ShouldBe("passed");
        string[] counted = [.. Check(all, "rows").GetProperty("items").EnumerateArray().Select(static item => item.GetString()!)];
        counted.ShouldContain(static item => item.StartsWith("postgres: public.there: 5,000 rows", StringComparison.Ordinal));
        counted.ShouldNotContain(static item => item.Contains("scratch", StringComparison.Ordinal));
        Directory.GetFileSystemEntries(scene.At("work")).ShouldBeEmpty();
    }

    [Fact]
    public void ABackupWhoseWalIsInTheArchiveIsVerifiedWithThatByTheServersOwnUser()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1);
        server.Sql("create table t as select generate_series(1, 1000) a");
        string id = PostgresScene.Id(server.PgDefined("backup", "main", "--wal", "archive", "--json", "--quiet").ShouldEndWith(0).Summary());

        // What is committed later is in the archive and no part of the backup.
        server.Sql("insert into t values (0)", "create table later (a int)");
        server.ArchiveAll();
        string work = server.User.At("work");
        JsonElement all = server.User.Run("verify", id, "--level", "comprehensive", "--work", work, "--assert", "postgres: SELECT count(*) = 1000 FROM t", "--json", "--quiet").ShouldEndWith(0).Summary();
        Check(all, "wal_list").GetProperty("detail").GetString()!.ShouldEndWith(", in the archive");
        Check(all, "checksums").GetProperty("status").GetString().ShouldBe("skipped");
        Directory.GetFileSystemEntries(work).ShouldBeEmpty();
        foreach (string archived in server.User.Objects("w"))
        {
            File.Delete(archived);
        }

        JsonElement gone = server.User.Run("verify", id, "--level", "quick", "--json", "--quiet").ShouldEndWith(14).Summary();
        Check(gone, "wal_list").GetProperty("detail").GetString()!.ShouldContain("missing in the archive");
    }

    private static JsonElement Verify(PostgresScene scene, int code, params string[] words) => scene.User.Run(["verify", .. words, "--json", "--quiet"]).ShouldEndWith(code).Summary();

    private static string[] Ids(JsonElement report) => [.. report.GetProperty("checks").EnumerateArray().Select(static check => check.GetProperty("id").GetString()!)];

    private static JsonElement Check(JsonElement report, string id) => report.GetProperty("checks").EnumerateArray().First(check => check.GetProperty("id").GetString() == id);

    /// <summary>Makes, changes and drops relations until it is ended.</summary>
    private sealed class ProgramUserLoop : IDisposable
    {
        private readonly Process _process;

        public ProgramUserLoop(PostgresCluster server)
        {
            string script = server.At("changes.sql");
            File.WriteAllText(script, "ALTER TABLE moved ADD b int;\nCREATE TABLE came (a int);\nCREATE INDEX ON moved (a);\nALTER TABLE moved DROP b;\nDROP TABLE came;\n");
            File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.OtherRead | UnixFileMode.GroupRead);
            _process = Process.Start(new ProcessStartInfo(PostgresCluster.Program("pgbench"), ["-h", server.Folder, "-U", "ci", "-n", "-c", "1", "-T", "60", "-f", script, "postgres"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                UseShellExecute = false,
            })!;
        }

        public void Dispose()
        {
            _process.Kill();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
