using System.Globalization;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>What becomes of an archived log: it goes with the base backups that need it, is copied, and survives a full disk.</summary>
public sealed class WalLifeTests
{
    [Fact]
    public void TheLogGoesWithTheBasesThatNeedItAndTheOthersRestore()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1, settings: "autovacuum = off");
        server.Sql("create table t(a int, filler text)");
        string[] bases = [.. Enumerable.Range(0, 3).Select(_ => Base(server))];
        server.ArchiveAll();

        // What was stored in the hour before the newest base was complete stays for the sake of others that may be at work.
        foreach (string file in server.User.Objects("w"))
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddDays(-1));
        }

        string[] start = Window(server).GetProperty("bases")[0].GetProperty("start_lsn").GetString()!.Split('/');
        string first = $"{1:x8}{uint.Parse(start[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture):x8}{uint.Parse(start[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture) >> 20:x8}";

        // While a base can be brought back its log stays.
        server.User.Run("forget", bases[0], "--allow-mass").ShouldEndWith(0);
        server.User.Run("prune", "--quiet").ShouldEndWith(0);
        server.User.Objects("w").Count(file => Path.GetFileName(file) == first).ShouldBe(1);
        server.User.Run("undelete", bases[0]).ShouldEndWith(0);
        server.User.Run("forget", bases[0], "--allow-mass", "--grace", "0", "--yes").ShouldEndWith(0);
        server.Pg("wal", "expire", "main", "--append-only").ShouldEndWith(17);
        JsonElement would = server.Pg("wal", "expire", "main", "--dry-run", "--json").ShouldEndWith(0).Json();
        int goes = would.GetProperty("segments_removed").GetInt32();
        goes.ShouldBeGreaterThan(0);
        int before = server.User.Objects("w").Count(IsSegment);

        // Killed after some of them it leaves a log that is right, and the next one goes on.
        File.Delete(server.User.Objects("w").Where(IsSegment).MinBy(static file => Path.GetFileName(file))!);
        server.User.Run("check").ShouldEndWith(0);
        Window(server).GetProperty("intervals").EnumerateArray().Last().GetProperty("reachable_from_lsn").GetString().ShouldNotBeNull();
        JsonElement pruned = server.User.Run("prune", "--json", "--quiet").ShouldEndWith(0).Summary();
        pruned.GetProperty("logs")[0].GetProperty("segments_removed").GetInt32().ShouldBe(goes - 1);
        server.User.Objects("w").Count(IsSegment).ShouldBe(before - goes);
        JsonElement window = Window(server);
        window.GetProperty("intervals").GetArrayLength().ShouldBe(1);
        window.GetProperty("bases").EnumerateArray().ShouldAllBe(static one => !one.GetProperty("island").GetBoolean());
        window.GetProperty("intervals")[0].GetProperty("reachable_from_lsn").GetString().ShouldBe(window.GetProperty("bases")[0].GetProperty("stop_lsn").GetString());

        // Every moment from the newest alone: the one before is an island, and restores to its own end.
        server.Pg("wal", "expire", "main", "--wal-keep", "1").ShouldEndWith(0).Text.ShouldContain("own end");
        window = Window(server);
        window.GetProperty("bases").EnumerateArray().Select(static one => one.GetProperty("island").GetBoolean()).ShouldBe([true, false]);
        server.Pg("window", "main").ShouldEndWith(0).Text.ShouldContain("island");
        foreach (string one in bases[1..])
        {
            string data = server.User.At("restored-" + one[..8]);
            server.Pg("restore", "main", "--base", one, "--to", data, "--target", one == bases[1] ? "immediate" : "latest", "--quiet").ShouldEndWith(0);
        }

        server.Pg("wal", "verify", "main").ShouldEndWith(0);
        server.Pg("wal", "expire", "main", "--wal-keep", "never").ShouldEndWith(2);
        server.Pg("wal", "expire", "nobody").ShouldEndWith(1);

        // A copy gets what its bases need, once; and a log without any base stays.
        string copy = server.User.At("copy");
        server.User.RunPlain(["init", "--repo", copy, "--key-file", server.User.At("copy.key")]).ShouldEndWith(0);
        string[] to = ["--repo", copy, "--key-file", server.User.At("copy.key"), "--from-repo", server.User.Repository, "--from-key-file", server.User.At("repository.key"), "--no-input"];
        JsonElement copied = server.User.RunPlain(["copy", "--json", "--quiet", .. to]).ShouldEndWith(0).Summary();
        copied.GetProperty("logs")[0].GetProperty("files_copied").GetInt32().ShouldBeGreaterThan(0);
        server.User.RunPlain(["copy", "--json", "--quiet", .. to]).ShouldEndWith(0).Summary().GetProperty("logs")[0].GetProperty("files_copied").GetInt32().ShouldBe(0);
        string[] there = to[..4];
        JsonElement other = server.User.RunPlain(["pg", "window", "main", "--json", .. there]).ShouldEndWith(0).Json();
        other.GetProperty("last_archived").GetString().ShouldBe(window.GetProperty("last_archived").GetString());
        other.GetProperty("intervals")[0].GetProperty("to_lsn").GetString().ShouldBe(window.GetProperty("intervals")[0].GetProperty("to_lsn").GetString());
        server.User.RunPlain(["check", "--read-data", .. there]).ShouldEndWith(0);
        string alone = server.User.At(Path.GetFileName(server.User.Objects("w").Last(IsSegment)).ToUpperInvariant());
        server.Pg("wal-fetch", "main", Path.GetFileName(alone), alone).ShouldEndWith(0);
        server.Pg("wal-push", "alone", alone).ShouldEndWith(0);
        server.User.Run("prune", "--quiet").ShouldEndWith(0);
        server.Pg("wal", "ls", "alone", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(1);
        server.Pg("wal", "expire", "alone").ShouldEndWith(0).Error.ShouldContain("no base backup");
    }

    [Fact]
    public void WhenTheRepositorysDiskIsFullTheServerKeepsItsLogAndDrainsWhenThereIsSpace()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1, settings: "autovacuum = off");
        string disk = server.User.Repository;
        string aside = server.User.At("aside");
        ScratchFolder.Run("cp", "-a", disk, aside);
        ScratchFolder.Run("mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "none", disk);
        try
        {
            ScratchFolder.Run("cp", "-a", aside + "/.", disk);
            server.Sql("create table t(a int, filler text)");
            for (int i = 0; i < 12; i++)
            {
                server.Sql("insert into t select i, encode(sha256(i::text::bytea), 'hex') || encode(sha256((-i)::text::bytea), 'hex') from generate_series(1, 9000) i");
            }

            server.Sql("select pg_switch_wal()");
            PostgresServer.Wait(() => Number(server, "failed_count") > 0, "a push fails");
            server.User.Run("check", "--read-data").ShouldEndWith(0);
            Waiting(server).ShouldBeGreaterThan(0);
            ScratchFolder.Run("mount", "-o", "remount,size=200m", disk);
            server.ArchiveAll();
            PostgresServer.Wait(() => Waiting(server) == 0, "the backlog is gone");
            server.Pg("wal", "verify", "main").ShouldEndWith(0);
            Window(server).GetProperty("intervals").GetArrayLength().ShouldBe(1);
            server.User.Run("check", "--read-data").ShouldEndWith(0);
        }
        finally
        {
            ScratchFolder.Run("umount", "-l", disk);
        }
    }

    /// <summary>PG28: as many segments as <c>BACKUPIQ_WAL_SEGMENTS</c> says; 400 by hand.</summary>
    [Fact]
    public void ALoadNeverLeavesManySegmentsWaiting()
    {
        int segments = int.TryParse(Environment.GetEnvironmentVariable("BACKUPIQ_WAL_SEGMENTS"), NumberStyles.None, CultureInfo.InvariantCulture, out int wanted) ? wanted : 20;
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1, settings: "autovacuum = off");
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-i", "-s", "1", "-q", "postgres");
        ulong begin = Position(server);
        int most = 0;
        long largest = 0;
        ProgramUser.RunningProgram load = server.Begin("pgbench", "-h", server.User.Home, "-U", "ci", "-c", "4", "-T", "600", "-n", "-N", "postgres");
        while (Position(server) - begin < (ulong)segments << 20)
        {
            most = Math.Max(most, Waiting(server));
            largest = Math.Max(largest, Largest(server.User.Program));
            Thread.Sleep(20);
        }

        load.Interrupt(15);
        load.Wait();
        server.ArchiveAll();
        TestContext.Current.SendDiagnosticMessage($"{segments} segments: at most {most} were waiting, a push took at most {largest >> 10} MiB of memory");
        most.ShouldBeLessThanOrEqualTo(32);
        largest.ShouldBeLessThan(256 << 10);
        server.Pg("wal", "verify", "main").ShouldEndWith(0);
    }

    private static string Base(PostgresServer server)
    {
        string id = server.PgDefined("backup", "main", "--json", "--quiet").ShouldEndWith(0).Summary().GetProperty("snapshot_id").GetString()!;
        server.Sql("insert into t select i, repeat(md5(i::text), 15) from generate_series(1, 3000) i");
        return id;
    }

    private static bool IsSegment(string file) => Path.GetFileName(file).Length == 24;

    private static JsonElement Window(PostgresServer server) => server.Pg("window", "main", "--json").ShouldEndWith(0).Json();

    private static long Number(PostgresServer server, string column) => long.Parse(server.Sql($"select {column} from pg_stat_archiver")[0], CultureInfo.InvariantCulture);

    private static ulong Position(PostgresServer server) => ulong.Parse(server.Sql("select pg_current_wal_lsn() - '0/0'")[0], CultureInfo.InvariantCulture);

    private static int Waiting(PostgresServer server) => Directory.EnumerateFiles(Path.Combine(server.Data, "pg_wal", "archive_status"), "*.ready").Count();

    // The most memory that any of the program's processes took so far, in KiB.
    private static long Largest(string program)
    {
        long largest = 0;
        foreach (string process in Directory.EnumerateDirectories("/proc").Where(static folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])))
        {
            try
            {
                if (File.ReadAllText(Path.Combine(process, "cmdline")).StartsWith(program, StringComparison.Ordinal))
                {
                    string line = File.ReadLines(Path.Combine(process, "status")).First(static line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
                    largest = Math.Max(largest, long.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture));
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidOperationException)
            {
                // It has ended.
            }
        }

        return largest;
    }
}
