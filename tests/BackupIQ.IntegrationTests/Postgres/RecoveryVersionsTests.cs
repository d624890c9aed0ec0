using System.Text.Json;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>Targets and branches with the other versions of PostgreSQL; beside <see cref="RecoveryTargetTests"/>, so that both run at once.</summary>
public sealed class RecoveryVersionsTests
{
    [Theory]
    [InlineData(13)]
    [InlineData(14)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(18)]
    public void OtherVersionsReachTargetsAndBranchesToo(int version)
    {
        using RecoveryScene scene = new(binaries: PostgresServer.Other(version));
        PostgresServer server = scene.Server;
        server.Sql("create table t(a int primary key)", "insert into t values(0)");
        scene.Backup();
        server.Sql("insert into t values(1)");
        string fork = scene.Now();
        server.Sql("insert into t values(2)");
        string place = server.Sql("select pg_current_wal_lsn()")[0];
        server.Sql("insert into t select generate_series(1000, 30000)", "insert into t values(3)");
        string end = scene.Now();
        string[] segments = server.ArchiveAll();
        scene.Ask(RecoveryScene.Rows, "--target-time", fork).ShouldBe("0,1");
        scene.Ask(RecoveryScene.Rows, "--target-lsn", place).ShouldBe("0,1,2");
        using (scene.Without(Path.GetFileName(segments[^1])))
        {
            scene.Refuse("--target-time", end).GetProperty("code").GetInt32().ShouldBe(6);
        }

        (string folder, _) = scene.Restore("--target-time", fork, "--archive-mode", "preserve");
        server.SqlAt(folder, "insert into t values(100)");
        string switched = server.SqlAt(folder, "select pg_walfile_name(pg_switch_wal())")[0];
        PostgresServer.Wait(() => string.CompareOrdinal(server.SqlAt(folder, "select coalesce(last_archived_wal, '') from pg_stat_archiver").FirstOrDefault() ?? "", switched) >= 0, "the new timeline is archived");
        scene.Ask(RecoveryScene.Rows).ShouldBe("0,1,100");
        scene.Ask(RecoveryScene.Rows, "--timeline", "1").ShouldBe("0,1,2,3");
        scene.Ask(RecoveryScene.Rows, "--target", "immediate", "--action", "pause").ShouldBe("0");
        using (scene.Without("00000002.history"))
        {
            scene.Refuse();
        }
    }
}
