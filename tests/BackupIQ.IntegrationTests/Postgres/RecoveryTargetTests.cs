using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Any moment of a server's life: what is reached, and what is refused before anything is touched.</summary>
public sealed class RecoveryTargetTests
{
    [Fact]
    public void EveryKindOfTargetIsReachedToTheCommitAndNoFurther()
    {
        using RecoveryScene scene = new();
        PostgresServer server = scene.Server;
        server.Sql("create table t(a int primary key, filler text)", "create table victim as select generate_series(1, 500) a", "insert into t values(0)");
        scene.Backup();
        List<(string Before, string Xid, string Place, string After)> rows = [];
        for (int i = 1; i <= 4; i++)
        {
            string before = scene.Now();
            string[] said = server.Sql($"insert into t values({i}); select pg_current_xact_id()", "select pg_current_wal_insert_lsn()");
            string xid = server.Sql($"select xmin from t where a = {i}")[0];
            rows.Add((before, xid, said[^1], scene.Now()));
            if (i == 2)
            {
                server.Sql("select pg_create_restore_point('after two')");
            }
        }

        server.Sql("insert into t select i, repeat(md5(i::text), 30) from generate_series(1000, 4000) i");
        string mistake = scene.Now();
        server.Sql("drop table victim");
        string dropped = scene.Now();
        server.Sql("insert into t values(5)");
        string[] segments = server.ArchiveAll();
        segments.Length.ShouldBeGreaterThan(3);

        // Plans tell of the commits on both sides; what is restored has just those.
        JsonElement plan = scene.Plan("--target-time", rows[2].After);
        plan.GetProperty("last_commit_before").GetProperty("xid").ToString().ShouldBe(rows[2].Xid);
        plan.GetProperty("first_commit_after").GetProperty("xid").ToString().ShouldBe(rows[3].Xid);
        plan.GetProperty("timeline").GetInt32().ShouldBe(1);
        scene.Ask(RecoveryScene.Rows, "--target-time", rows[2].After).ShouldBe("0,1,2,3");
        scene.Plan("--target-xid", rows[1].Xid).GetProperty("last_commit_before").GetProperty("xid").ToString().ShouldBe(rows[1].Xid);
        scene.Ask(RecoveryScene.Rows, "--target-xid", rows[1].Xid, "--exclusive").ShouldBe("0,1");
        scene.Ask(RecoveryScene.Rows, "--target-name", "after two").ShouldBe("0,1,2");
        scene.Ask(RecoveryScene.Rows, "--target-lsn", rows[0].Place, "--exclusive").ShouldBe("0,1");
        scene.Plan("--target", "immediate").GetProperty("target_lsn").ValueKind.ShouldBe(JsonValueKind.Null);

        // One second before the mistake all of the table is there, and the plan tells when it was made.
        plan = scene.Plan("--target-time", mistake);
        DateTimeOffset first = plan.GetProperty("first_commit_after").GetProperty("time").GetDateTimeOffset();
        first.ShouldBeInRange(DateTimeOffset.Parse(mistake, System.Globalization.CultureInfo.InvariantCulture), DateTimeOffset.Parse(dropped, System.Globalization.CultureInfo.InvariantCulture));
        (string folder, JsonElement summary) = scene.Restore("--target-time", mistake, "--action", "pause");
        scene.Query(folder, "select count(*) from victim").ShouldBe(["500"]);
        scene.Query(folder, "select pg_is_in_recovery(), pg_is_wal_replay_paused()").ShouldBe(["t\tt"]);
        summary.GetProperty("plan").GetProperty("end_lsn").GetString().ShouldBe(scene.Query(folder, "select pg_last_wal_replay_lsn()")[0]);
        scene.Discard(folder);
        scene.Ask(RecoveryScene.Rows + " and to_regclass('victim') is null").ShouldBe("0,1,2,3,4,5");
    }

    [Fact]
    public void WhatCannotBeReachedIsRefusedInSecondsWithTheNearestMomentThatCan()
    {
        using RecoveryScene scene = new();
        PostgresServer server = scene.Server;
        server.Sql("create table t(a int primary key, filler text)", "insert into t values(0)");
        string earlier = scene.Now();
        string backup = scene.Backup();
        server.Sql("insert into t values(1)");
        string first = scene.Now();
        server.Sql("insert into t select i, repeat(md5(i::text), 30) from generate_series(1000, 7000) i", "insert into t values(2)");
        string second = scene.Now();
        string[] segments = server.ArchiveAll();

        // Idle: nothing was committed any more until a segment was closed a moment later.
        Thread.Sleep(1100);
        server.Sql("select pg_create_restore_point('quiet')");
        server.ArchiveAll();
        JsonElement plan = scene.Plan("--target-time", RecoveryScene.Later(second, 1));
        plan.GetProperty("end_of_log").GetBoolean().ShouldBeTrue();
        plan.GetProperty("notes")[0].GetString()!.ShouldContain("No commit after");
        scene.Ask(RecoveryScene.Rows, "--target-time", RecoveryScene.Later(second, 1)).ShouldBe("0,1,2");
        JsonElement error = scene.Refuse("--target-time", RecoveryScene.Later(second, 3600));
        error.GetProperty("message").GetString()!.ShouldContain("nothing later is archived");

        // Before the oldest backup; a place that was never written; a transaction that never was.
        scene.Refuse("--target-time", earlier).GetProperty("message").GetString()!.ShouldContain("consistent only from");
        scene.Refuse("--target-lsn", "7F/0").GetProperty("message").GetString()!.ShouldContain("the log ends at");
        scene.Refuse("--target-xid", "4000000").GetProperty("message").GetString()!.ShouldContain("not in the log");
        scene.Refuse("--target-name", "never").GetProperty("message").GetString()!.ShouldContain("not in the log");

        // A segment in the middle is gone: refused at once, and named; what is before it can be reached, from there on nothing.
        string gone = Path.GetFileName(segments[^3]);
        using (scene.Without(gone))
        {
            Stopwatch watch = Stopwatch.StartNew();
            error = scene.Refuse("--target-time", second);
            watch.Elapsed.TotalSeconds.ShouldBeLessThan(5);
            error.GetProperty("message").GetString()!.ShouldContain($"segment {gone} is missing");
            error.GetProperty("details").GetProperty("file").GetString().ShouldBe(gone);
            string nearest = error.GetProperty("details").GetProperty("nearest_lsn").GetString()!;
            scene.Refuse().GetProperty("message").GetString()!.ShouldContain(gone);
            scene.Ask(RecoveryScene.Rows, "--target-time", first).ShouldBe("0,1");
            scene.Ask(RecoveryScene.Rows, "--target-lsn", nearest).ShouldBe("0,1");
        }

        // Two bytes of a record are turned over in the archive, and the segment sealed anew, as if the disk under pg_wal had done it: named by place, never promoted over.
        string other = server.User.At(Path.GetFileName(segments[^3]));
        byte[] bytes = File.ReadAllBytes(segments[^3]);
        bytes[500_000] ^= 0x55;
        bytes[500_001] ^= 0x55;
        File.WriteAllBytes(other, bytes);
        string stored = server.User.Objects("w").First(file => file.EndsWith(gone.ToLowerInvariant(), StringComparison.Ordinal));
        File.Delete(stored);
        server.Pg("wal-push", "main", other).ShouldEndWith(0);
        error = scene.Refuse("--target-time", second);
        error.GetProperty("message").GetString()!.ShouldContain($"{gone} is damaged at 0/");
        scene.Refuse("--target", "latest").GetProperty("message").GetString()!.ShouldContain("damaged");
        scene.Ask(RecoveryScene.Rows, "--target-time", first).ShouldBe("0,1");

        // The same in the sealed object: the checksums of the repository find it, before anything is written.
        File.Delete(stored);
        server.Pg("wal-push", "main", segments[^3]).ShouldEndWith(0);
        bytes = File.ReadAllBytes(stored);
        bytes[bytes.Length / 2] ^= 1;
        File.WriteAllBytes(stored, bytes);
        scene.Refuse("--target-time", second).GetProperty("message").GetString()!.ShouldContain(gone);

        // A backup that is named and does not fit; one that is another server's is no better.
        scene.Refuse("--base", backup[..8], "--target-time", earlier).GetProperty("message").GetString()!.ShouldContain("nothing was written");
        scene.Ask(RecoveryScene.Rows, "--base", backup[..8], "--target", "immediate").ShouldBe("0");
    }

    [Fact]
    public void BothBranchesOfATimelineAreReachedAndALostHistoryIsNamed()
    {
        using RecoveryScene scene = new();
        PostgresServer server = scene.Server;
        server.Sql("create table t(a int primary key)", "insert into t values(0)");
        scene.Backup();
        server.Sql("insert into t values(1)");
        string fork = scene.Now();
        server.Sql("insert into t values(2)", "insert into t values(3)");
        server.ArchiveAll();

        // Back to before 2; that server is the one from now on, and archives; the first one is stopped.
        (string folder, JsonElement summary) = scene.Restore("--target-time", fork, "--archive-mode", "preserve");
        summary.GetProperty("reached").GetProperty("timeline").GetInt32().ShouldBe(2);
        server.SqlAt(folder, "insert into t values(100)", "select pg_switch_wal()", "insert into t values(101)");
        string switched = server.SqlAt(folder, "select pg_walfile_name(pg_switch_wal())")[0];
        PostgresServer.Wait(() => string.CompareOrdinal(server.SqlAt(folder, "select coalesce(last_archived_wal, '') from pg_stat_archiver").FirstOrDefault() ?? "", switched) >= 0, "the new timeline is archived");
        scene.Ask(RecoveryScene.Rows).ShouldBe("0,1,100,101");
        scene.Ask(RecoveryScene.Rows, "--timeline", "1").ShouldBe("0,1,2,3");
        scene.Plan("--target-time", fork).GetProperty("timeline").GetInt32().ShouldBe(2);
        scene.Plan("--target-time", fork, "--timeline", "1").GetProperty("timeline").GetInt32().ShouldBe(1);

        // A server alone would follow the first timeline without a word, and call its own new one the second.
        using (scene.Without("00000002.history"))
        {
            scene.Refuse().GetProperty("message").GetString()!.ShouldContain("00000002.history is missing");
            scene.Refuse("--timeline", "2").GetProperty("message").GetString()!.ShouldContain("00000002.history is missing");
        }

        // The window says the same: from the one backup both timelines are reached.
        JsonElement[] intervals = [.. server.Pg("window", "main", "--json").ShouldEndWith(0).Json().GetProperty("intervals").EnumerateArray()];
        intervals.Select(static one => one.GetProperty("timeline").GetInt32()).ShouldBe([1, 2]);
        intervals.ShouldAllBe(static one => one.GetProperty("bases").GetArrayLength() == 1);
        scene.Refuse("--timeline", "3").GetProperty("message").GetString()!.ShouldContain("00000003.history is missing");
    }
}
