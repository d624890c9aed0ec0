using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>What <c>pg check</c> sees of a server and of the repository that it archives into.</summary>
public sealed class PostgresCheckTests(SharedPostgres shared) : IClassFixture<SharedPostgres>
{
    [Fact]
    public void TheWayIntoTheArchiveIsTriedAndWhatStandsInItIsNamed()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1);
        server.PgDefined("backup", "main").ShouldEndWith(0);

        // fsync is off in this server, which is told; else it is as it should be.
        ProgramRun run = server.PgDefined("check", "main", "--json").ShouldEndWith(2);
        Failures(run).ShouldBe(["fsync"]);
        Finding(run, "way into the archive").ShouldBe(("good", true));
        Finding(run, "archive_command").ShouldBe(("good", true));
        Finding(run, "backups in the repository").ShouldBe(("good", true));
        Finding(run, "archive in the repository").ShouldBe(("good", true));
        Finding(run, "archiving").ShouldBe(("good", true));
        server.Sql("select 1 where exists (select from pg_ls_waldir() limit 1)").ShouldNotBeEmpty();

        // Nothing is tried when that is not wanted.
        string before = server.Sql("select pg_current_wal_lsn()")[0];
        Finding(server.PgDefined("check", "main", "--no-archive-test", "--json"), "way into the archive").ShouldBe(("note", false));
        server.Sql("select pg_current_wal_lsn()")[0].ShouldBe(before);

        // A command that fails, one that goes elsewhere, none, and one with another name.
        Set(server, "false && backupiq pg wal-push main %p");
        run = server.PgDefined("check", "main", "--archive-timeout", "3s", "--json").ShouldEndWith(2);
        Failures(run).ShouldContain("way into the archive");
        run.Text.ShouldContain("failed");
        run = server.PgDefined("check", "main", "--no-archive-test", "--json").ShouldEndWith(2);
        Failures(run).ShouldContain("archiving");
        Set(server, "cp %p /dev/null");
        Finding(server.PgDefined("check", "main", "--no-archive-test", "--json"), "archive_command").ShouldBe(("warning", false));
        Set(server, "");
        Failures(server.PgDefined("check", "main", "--no-archive-test", "--json")).ShouldContain("archive_command");
        Set(server, "backupiq pg wal-push other %p");
        Finding(server.PgDefined("check", "main", "--no-archive-test", "--json"), "archive_command").ShouldBe(("warning", false));
    }

    [Fact]
    public void ANameThatStandsForAnotherClusterIsSeen()
    {
        using PostgresScene scene = new(shared);
        scene.Backup();
        using PostgresServer other = PostgresServer.Start(segmentMegabytes: 1);
        string config = scene.User.At("other.yaml");
        File.WriteAllText(config, $"postgres:\n  main:\n    dsn: host={other.User.Home} user=ci dbname=postgres\n");
        ProgramRun run = scene.User.Run("--config", config, "pg", "check", "main", "--json").ShouldEndWith(2);
        Failures(run).ShouldContain("backups in the repository");

        // Of a repository that cannot be opened the server is told of all the same.
        run = scene.User.RunPlain("--repo", scene.User.At("nowhere"), "pg", "check", "main", "--json").ShouldEndWith(2);
        Failures(run).ShouldBe(["repository"]);
        Finding(run, "connection").ShouldBe(("good", true));
    }

    private static void Set(PostgresServer server, string command)
    {
        server.Sql($"alter system set archive_command = '{command}'", "select pg_reload_conf()");
        PostgresServer.Wait(() => server.Sql("show archive_command").FirstOrDefault("") == command, "the setting is in force");
    }

    private static string[] Failures(ProgramRun run) =>
        [.. run.Json().GetProperty("findings").EnumerateArray().Where(static one => one.GetProperty("level").GetString() == "failed").Select(static one => one.GetProperty("check").GetString()!)];

    // Its level, and that a good one alone needs no cure.
    private static (string Level, bool IsWithoutCure) Finding(ProgramRun run, string check)
    {
        JsonElement finding = run.Json().GetProperty("findings").EnumerateArray().First(one => one.GetProperty("check").GetString() == check);
        return (finding.GetProperty("level").GetString()!, finding.GetProperty("guidance").ValueKind == JsonValueKind.Null);
    }
}
