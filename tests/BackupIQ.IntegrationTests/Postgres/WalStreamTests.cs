using System.Diagnostics;
using System.Text.Json;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>The log of a real server, received as it is written (PG19).</summary>
public sealed class WalStreamTests
{
    private const string Slot = "backupiq_main";

    [Fact]
    public void WhatIsWrittenIsDurableWithinSecondsAndAKilledStreamGoesOnWithoutAHole()
    {
        using PostgresServer server = Start();
        ProgramUser.RunningProgram stream = Stream(server, "--partial-every", "1s");
        JsonDocument.Parse(stream.FirstLine()).RootElement.GetProperty("message_type").GetString().ShouldBe("streaming");

        // What is committed in a segment that nobody finishes is there within seconds, and never under the segment's own name.
        server.Sql("create table t(a int, filler text)", "insert into t values (1, 'x')");
        string committed = Lsn(server);
        Stopwatch watch = Stopwatch.StartNew();
        PostgresServer.Wait(() => Unfinished(server) is { } to && Value(to) >= Value(committed), "the last commit is durable", 15);
        TestContext.Current.SendDiagnosticMessage($"durable after {watch.Elapsed.TotalSeconds:0.0} s");
        string segment = server.Sql("select pg_walfile_name(pg_current_wal_lsn())")[0];
        string target = server.User.At("fetched");
        server.Pg("wal-fetch", "main", segment, target).ShouldEndWith(1);
        server.Pg("wal-fetch", "main", segment + ".partial", target).ShouldEndWith(0);
        byte[] own = File.ReadAllBytes(Path.Combine(server.Data, "pg_wal", segment));
        int upTo = (int)(Value(committed) % (1 << 20));
        File.ReadAllBytes(target).Length.ShouldBe(1 << 20);
        File.ReadAllBytes(target).AsSpan(0, upTo).SequenceEqual(own.AsSpan(0, upTo)).ShouldBeTrue();
        server.Sql($"select replay_lsn is null from pg_stat_replication")[0].ShouldBe("t");

        // A burst, and in it a kill; the slot keeps what the next one goes on with.
        Fill(server, 9000);
        PostgresServer.Wait(() => server.User.Objects("w").Length > 5, "segments are stored");
        Signal(server, "KILL");
        stream.Wait().Code.ShouldNotBe(0);
        Fill(server, 9000);
        server.Sql("checkpoint");
        PostgresServer.Wait(() => server.Sql($"select active from pg_replication_slots where slot_name = '{Slot}'")[0] == "f", "the slot is free");
        stream = Stream(server, "--partial-every", "1s");
        PostgresServer.Wait(() => Durable(server) >= Value(Lsn(server)), "the server knows that all is durable");

        // The same segment by wal-push is the same.
        string whole = server.Pg("wal", "ls", "main", "--json").ShouldEndWith(0).Json().EnumerateArray().Last(static file => file.GetProperty("kind").GetString() == "segment").GetProperty("file").GetString()!;
        server.Pg("wal-push", "main", Path.Combine(server.Data, "pg_wal", whole)).ShouldEndWith(0);
        server.Sql("insert into t values (2, 'the last')");
        committed = Lsn(server);
        Signal(server, "TERM");
        stream.Wait().ShouldEndWith(0);

        // What was received when it was told to end is durable.
        Value(Unfinished(server)!).ShouldBeGreaterThanOrEqualTo(Value(committed));
        server.Pg("wal", "verify", "main").ShouldEndWith(0);
        Window(server).GetProperty("intervals").GetArrayLength().ShouldBe(1);
        Window(server).GetProperty("gaps").GetArrayLength().ShouldBe(0);
        server.User.Objects("w").Count(static file => file.EndsWith(".piece", StringComparison.Ordinal)).ShouldBeLessThan(70);
        server.User.Run("check", "--read-data").ShouldEndWith(0);
    }

    [Fact]
    public void WhatTheServerTookAwayIsRecordedAsAGapThatANewBaseHeals()
    {
        using PostgresServer server = Start();
        server.Sql("create table t(a int, filler text)");
        Once(server).ShouldEndWith(0);
        server.PgDefined("backup", "main", "--quiet").ShouldEndWith(0);
        Fill(server, 3000);
        Once(server).ShouldEndWith(0);

        // Without its slot the server keeps nothing for us.
        server.Sql($"select pg_drop_replication_slot('{Slot}')");
        Overrun(server);
        ProgramRun lost = Once(server).ShouldEndWith(15);
        lost.Error.ShouldContain("is lost");
        Once(server).ShouldEndWith(0);
        JsonElement gap = Window(server).GetProperty("gaps").EnumerateArray().ShouldHaveSingleItem();
        gap.GetProperty("filled").GetBoolean().ShouldBeFalse();
        string target = server.User.At("restored");
        server.Pg("restore", "main", "--to", target, "--target-lsn", Lsn(server), "--quiet").ShouldEndWith(6);
        Directory.Exists(target).ShouldBeFalse();

        // Nor with one, when it may keep no more. It goes on by itself.
        server.Sql("alter system set max_slot_wal_keep_size = '2MB'", "select pg_reload_conf()");
        Overrun(server);
        PostgresServer.Wait(() => server.Sql($"select wal_status from pg_replication_slots where slot_name = '{Slot}'")[0] == "lost", "the slot is lost");
        ProgramUser.RunningProgram stream = Stream(server);
        Stopwatch watch = Stopwatch.StartNew();
        PostgresServer.Wait(() => Window(server).GetProperty("gaps").GetArrayLength() == 2, "the second gap is recorded", 30);
        TestContext.Current.SendDiagnosticMessage($"recorded after {watch.Elapsed.TotalSeconds:0.0} s");
        Fill(server, 3000);
        PostgresServer.Wait(() => Durable(server) >= Value(Lsn(server)), "the server knows that all is durable");
        Signal(server, "INT");
        string said = stream.Wait().ShouldEndWith(0).Text;
        said.ShouldContain("\"gap\"");
        JsonElement window = Window(server);
        window.GetProperty("intervals").GetArrayLength().ShouldBe(2, "between the gaps no segment was whole: " + window);
        window.GetProperty("intervals")[0].GetProperty("ends_because").GetString()!.ShouldContain("taken it away");
        server.Pg("wal", "ls", "main").ShouldEndWith(0).Text.ShouldContain("LOST");
        server.Pg("wal", "verify", "main").ShouldEndWith(14);

        // From a base backup behind it every later moment is reached. (With so little kept the server would end the backup's session.)
        server.Sql("alter system reset max_slot_wal_keep_size", "select pg_reload_conf()");
        server.PgDefined("backup", "main", "--quiet").ShouldEndWith(0);
        Fill(server, 1000);
        Once(server).ShouldEndWith(0);
        server.Sql("select pg_switch_wal()");
        Once(server).ShouldEndWith(0);
        window = Window(server);
        window.GetProperty("intervals").EnumerateArray().Last().GetProperty("reachable_from_lsn").GetString().ShouldNotBeNull(window.ToString());
        server.Pg("restore", "main", "--to", target, "--target", "latest", "--quiet").ShouldEndWith(0);
    }

    [Fact]
    public void AnotherClustersLogIsRefused()
    {
        using PostgresServer server = Start();
        Once(server).ShouldEndWith(0);
        string segment = Path.Combine(server.Data, "pg_wal", server.Sql("select pg_walfile_name(pg_current_wal_lsn())")[0]);
        byte[] bytes = File.ReadAllBytes(segment);
        BitConverter.TryWriteBytes(bytes.AsSpan(24), 123UL);
        string other = server.User.At("other", Path.GetFileName(segment));
        Directory.CreateDirectory(Path.GetDirectoryName(other)!);
        File.WriteAllBytes(other, bytes);
        server.Pg("wal-push", "other", other).ShouldEndWith(0);
        server.PgDefined("wal-stream", "other").ShouldEndWith(7).Error.ShouldContain("system identifier mismatch");
        server.PgDefined("wal-stream", "main", "--slot", "No-Slot").ShouldEndWith(2);
        server.PgDefined("wal-stream", "main", "--partial-every", "0").ShouldEndWith(2);
    }

    private static PostgresServer Start()
    {
        PostgresServer server = PostgresServer.Start(
            segmentMegabytes: 1, settings: "archive_mode = off\nwal_keep_size = 0\nmin_wal_size = 2MB\nmax_wal_size = 8MB\nautovacuum = off");
        File.WriteAllText(server.User.At("servers.yaml"), $"postgres:\n  main:\n    dsn: host={server.User.Home} user=ci dbname=postgres\n  other:\n    dsn: host={server.User.Home} user=ci dbname=postgres\n");
        return server;
    }

    private static ProgramUser.RunningProgram Stream(PostgresServer server, params string[] flags) => server.User.Start(["--config", server.User.At("servers.yaml"), "pg", "wal-stream", "main", "--json", .. flags]);

    private static ProgramRun Once(PostgresServer server) => server.PgDefined("wal-stream", "main", "--once");

    private static void Fill(PostgresServer server, int rows) => server.Sql($"insert into t select i, repeat(md5(i::text), 15) from generate_series(1, {rows}) i");

    // Writes more than the server keeps, and lets it take the old away.
    private static void Overrun(PostgresServer server)
    {
        for (int i = 0; i < 3; i++)
        {
            Fill(server, 9000);
            server.Sql("checkpoint");
        }
    }

    private static JsonElement Window(PostgresServer server) => server.Pg("window", "main", "--json").ShouldEndWith(0).Json();

    private static string? Unfinished(PostgresServer server) => server.Pg("window", "main", "--json") is { Code: 0 } run && run.Json().GetProperty("unfinished") is { ValueKind: JsonValueKind.Object } there
        ? there.GetProperty("to_lsn").GetString()
        : null;

    private static string Lsn(PostgresServer server) => server.Sql("select pg_current_wal_flush_lsn()")[0];

    private static ulong Durable(PostgresServer server) => Value(server.Sql($"select restart_lsn from pg_replication_slots where slot_name = '{Slot}'")[0]);

    private static ulong Value(string lsn) => BackupIQ.Sources.Postgres.Wal.Lsn.TryParse(lsn, out Lsn value) ? value.Value : 0;

    // The stream of this test's own server, and nobody else's.
    private static void Signal(PostgresServer server, string signal)
    {
        string process = Directory.EnumerateDirectories("/proc").Where(static folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])).Single(folder => IsStream(folder, server.User.Program));
        using Process kill = Process.Start("kill", ["-" + signal, Path.GetFileName(process)]);
        kill.WaitForExit();
        kill.ExitCode.ShouldBe(0);
    }

    private static bool IsStream(string process, string program)
    {
        try
        {
            string command = File.ReadAllText(Path.Combine(process, "cmdline"));
            return command.StartsWith(program, StringComparison.Ordinal) && command.Contains("wal-stream", StringComparison.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
