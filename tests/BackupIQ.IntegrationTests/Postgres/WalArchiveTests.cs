using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Postgres;

/// <summary>The log of a real server: what we read in it, how it is archived, and that it brings a server back.</summary>
public sealed partial class WalArchiveTests
{
    [Fact]
    public void EveryRecordIsReadAsPgWaldumpReadsIt()
    {
        using PostgresServer server = PostgresServer.Start();
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-i", "-s", "3", "-q", "postgres");
        server.Sql("create table t(a int)", "begin; insert into t values(1); prepare transaction 'one'", "commit prepared 'one'");
        server.Sql("begin; insert into t values(2); prepare transaction 'two'", "rollback prepared 'two'", "begin; savepoint s; insert into t values(3); release s; commit");
        server.Sql("begin; insert into t select generate_series(1,100); rollback", "select pg_create_restore_point('before noon')", "checkpoint");
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-c", "2", "-t", "200", "-n", "postgres");
        string[] segments = server.ArchiveAll();
        List<string> ours = [];
        List<string> events = [];
        WalScanner scanner = new((in WalRecord record) =>
        {
            ours.Add($"{record.Start.Value:X} {record.Previous.Value:X} {record.Transaction} {record.Length}");
            WalEvent said = WalEvent.Of(record);
            if (said.Kind is WalEventKind.Commit or WalEventKind.Abort)
            {
                events.Add($"{record.Start.Value:X} {said.Kind} {said.Transaction} {said.Time:yyyy-MM-dd HH:mm:ss.ffffff}");
            }
            else if (said.Kind is WalEventKind.RestorePoint)
            {
                events.Add($"{record.Start.Value:X} {WalEvent.RestorePointNameOf(record)}");
            }
        });
        foreach (string segment in segments)
        {
            byte[] bytes = File.ReadAllBytes(segment);
            scanner.BeginSegment(WalSegmentHeader.Read(bytes, out _).ShouldNotBeNull(), 1).ShouldBeTrue();
            scanner.Scan(bytes);
        }

        scanner.Finding.ShouldBeNull();
        (List<string> theirs, List<string> theirEvents) = Dumped(server.Run("pg_waldump", segments[0], segments[^1]).Text);
        ours.Count.ShouldBeGreaterThan(20_000);
        ours.ShouldBe(theirs);
        events.ShouldBe(theirEvents);
        events.Count(static one => one.Contains("Abort", StringComparison.Ordinal)).ShouldBeGreaterThan(1);

        // What the archive tells is the same.
        string[] listed = [.. server.Pg("wal", "ls", "main", "--commits", "--json").ShouldEndWith(0).Json().EnumerateArray().Select(static one => one.GetProperty("lsn").GetString()!)];
        listed.ShouldBe(theirEvents.Where(static one => !one.Contains("before", StringComparison.Ordinal)).Select(static one => Place(one.Split(' ')[0])));
        JsonElement point = server.Pg("wal", "ls", "main", "--restore-points", "--json").ShouldEndWith(0).Json().EnumerateArray().ShouldHaveSingleItem();
        point.GetProperty("name").GetString().ShouldBe("before noon");
        JsonElement verified = server.Pg("wal", "verify", "main", "--json").ShouldEndWith(0).Json();
        verified.GetProperty("records").GetInt64().ShouldBe(ours.Count);
    }

    [Theory]
    [InlineData(13)]
    [InlineData(14)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(18)]
    public void TheLogOfOtherVersionsIsReadToo(int version)
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1, binaries: PostgresServer.Other(version));
        server.Sql("create table t(a int, filler text)", "begin; insert into t values(1, ''); prepare transaction 'one'", "commit prepared 'one'");
        string one = server.Sql("select xmin from t")[0];
        server.Sql("begin; insert into t values(2, ''); rollback", "insert into t select i, repeat(md5(i::text), 30) from generate_series(1, 3000) i", "select pg_create_restore_point('before noon')", "checkpoint", "drop table t");
        string[] segments = server.ArchiveAll();
        segments.Length.ShouldBeGreaterThan(3);
        JsonElement verified = server.Pg("wal", "verify", "main", "--json").ShouldEndWith(0).Json();
        verified.GetProperty("segments").GetInt32().ShouldBe(segments.Length);
        JsonElement[] ends = [.. server.Pg("wal", "ls", "main", "--commits", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        ends.ShouldContain(end => end.GetProperty("kind").GetString() == "commit" && end.GetProperty("xid").GetInt64().ToString(CultureInfo.InvariantCulture) == one);
        ends.ShouldContain(static end => end.GetProperty("kind").GetString() == "abort");
        ends.ShouldAllBe(static end => DateTimeOffset.UtcNow - end.GetProperty("time").GetDateTimeOffset() < TimeSpan.FromMinutes(10));
        server.Pg("wal", "ls", "main", "--restore-points").ShouldEndWith(0).Text.ShouldContain("before noon");
        server.Pg("window", "main", "--json").ShouldEndWith(0).Json().GetProperty("intervals").GetArrayLength().ShouldBe(1);
        server.Pg("wal", "show", "main", Path.GetFileName(segments[0])).ShouldEndWith(0).Text.ShouldContain($"PostgreSQL {version}");
    }

    [Fact]
    public void WhatIsPushedTwiceIsThereOnceAndWhatIsDifferentOrForeignIsRefused()
    {
        using PostgresServer server = PostgresServer.Start();
        string segment = server.ArchiveAll()[0];
        string stored = server.User.Objects("w").Single(file => file.EndsWith(Path.GetFileName(segment).ToLowerInvariant(), StringComparison.Ordinal));
        byte[] before = File.ReadAllBytes(stored);
        server.Pg("wal-push", "main", segment).ShouldEndWith(0);
        server.Pg("wal-push", "main", segment).ShouldEndWith(0);
        string other = server.User.At("other", Path.GetFileName(segment));
        Directory.CreateDirectory(Path.GetDirectoryName(other)!);
        byte[] bytes = File.ReadAllBytes(segment);
        bytes[^1000] ^= 1;
        File.WriteAllBytes(other, bytes);
        server.Pg("wal-push", "main", other).ShouldEndWith(1).Error.ShouldContain("other bytes");

        bytes = File.ReadAllBytes(segment);
        BitConverter.TryWriteBytes(bytes.AsSpan(24), 123UL);
        File.WriteAllBytes(other, bytes);
        server.Pg("wal-push", "main", other).ShouldEndWith(1).Error.ShouldContain("system identifier mismatch");
        File.WriteAllBytes(other, bytes[..^8192]);
        server.Pg("wal-push", "main", other).ShouldEndWith(1).Error.ShouldContain("bytes");
        File.Move(other, other[..^1] + "E");
        server.Pg("wal-push", "main", other[..^1] + "E").ShouldEndWith(1);
        File.ReadAllBytes(stored).ShouldBe(before);

        // Whatever is wrong, a push ends with 1 and a fetch with 255: PostgreSQL goes by nothing else.
        server.Pg("wal-push", "main").ShouldEndWith(1);
        server.Pg("wal-push", "main", segment, "--no-such-flag").ShouldEndWith(1);
        server.Pg("wal-push", "../main", segment).ShouldEndWith(1);
        server.Pg("wal-push", "main", server.User.At("nothing", Path.GetFileName(segment))).ShouldEndWith(1);
        server.User.RunPlain("pg", "wal-push", "main", segment, "--repo", "/nowhere", "--no-input").ShouldEndWith(1);
        string target = server.User.At("fetched");
        server.Pg("wal-fetch", "main", Path.GetFileName(segment), target).ShouldEndWith(0);
        File.ReadAllBytes(target).ShouldBe(File.ReadAllBytes(segment));
        File.Delete(target);
        server.Pg("wal-fetch", "main", "0000000100000000000000FE", target).ShouldEndWith(1);
        server.Pg("wal-fetch", "main", "00000002.history", target).ShouldEndWith(1);
        server.Pg("wal-fetch", "nobody", Path.GetFileName(segment), target).ShouldEndWith(255);
        server.Pg("wal-fetch", "main", "nonsense", target).ShouldEndWith(255);
        server.Pg("wal-fetch", "main").ShouldEndWith(255);
        server.User.RunPlain("pg", "wal-fetch", "main", Path.GetFileName(segment), target, "--repo", "/nowhere", "--no-input").ShouldEndWith(255);
        File.WriteAllBytes(stored, [.. before[..^50], (byte)(before[^50] ^ 1), .. before[^49..]]);
        server.Pg("wal-fetch", "main", Path.GetFileName(segment), target).ShouldEndWith(255);
        File.Exists(target).ShouldBeFalse();
        server.User.Run("check", "--read-data").ShouldEndWith(14);
    }

    [Fact]
    public void VerifyNamesTheRecordWithAFlippedByteAndTheSegmentThatIsMissing()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1);
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-i", "-s", "1", "-q", "postgres");
        string[] segments = server.ArchiveAll();
        server.Pg("wal", "verify", "main").ShouldEndWith(0);
        string hurt = segments[3];

        // One archive whose fourth segment had two bytes flipped before it was stored: only its records' checksums tell.
        string record = server.Run("pg_waldump", hurt).Text.Split('\n').First(static line => line.Contains("rmgr: Heap", StringComparison.Ordinal));
        Lsn at = new(ulong.Parse(LsnOf().Match(record).Groups[1].Value.Replace("/", "", StringComparison.Ordinal), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
        server.User.MakeFolder("flipped");
        foreach (string segment in segments[..6])
        {
            byte[] bytes = File.ReadAllBytes(segment);
            if (segment == hurt)
            {
                bytes[(int)(at.Value & 0xFFFFF) + 28] ^= 0xFF;
                bytes[(int)(at.Value & 0xFFFFF) + 29] ^= 0xFF;
            }

            string copy = server.User.At("flipped", Path.GetFileName(segment));
            File.WriteAllBytes(copy, bytes);
            ProgramRun pushed = server.Pg("wal-push", "flipped", copy).ShouldEndWith(0);
            (pushed.Error.Contains(at.ToString(), StringComparison.Ordinal)).ShouldBe(segment == hurt);
        }

        ProgramRun verified = server.Pg("wal", "verify", "flipped", "--json").ShouldEndWith(14);
        JsonElement problem = verified.Json().GetProperty("problems").EnumerateArray().ShouldHaveSingleItem();
        problem.GetProperty("lsn").GetString().ShouldBe(at.ToString());
        problem.GetProperty("file").GetString().ShouldBe(Path.GetFileName(hurt));
        server.Pg("wal", "verify", "flipped").ShouldEndWith(14).Error.ShouldContain(at.ToString());
        JsonElement[] intervals = [.. server.Pg("window", "flipped", "--json").ShouldEndWith(0).Json().GetProperty("intervals").EnumerateArray()];
        intervals.Length.ShouldBe(2);
        intervals[0].GetProperty("ends_at").GetString().ShouldBe(at.ToString());

        // One whose sixth is gone.
        string gone = Path.GetFileName(segments[5]);
        foreach (string file in server.User.Objects("w").Where(file => file.EndsWith(gone.ToLowerInvariant(), StringComparison.Ordinal)))
        {
            File.Delete(file);
        }

        JsonElement missing = server.Pg("wal", "verify", "main", "--json").ShouldEndWith(14).Json().GetProperty("problems").EnumerateArray().ShouldHaveSingleItem();
        missing.GetProperty("kind").GetString().ShouldBe("missing");
        missing.GetProperty("file").GetString().ShouldBe(gone);
        JsonElement window = server.Pg("window", "main", "--json").ShouldEndWith(0).Json();
        window.GetProperty("intervals").EnumerateArray().First().GetProperty("ends_because").GetString().ShouldBe($"segment {gone} is missing");
        window.GetProperty("last_archived").GetString().ShouldBe(Path.GetFileName(segments[^1]));
    }

    [Fact]
    public void AServerRecoversFromTheArchiveWaitsWhereTheRepositoryIsAwayAndBeginsANewTimeline()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1);
        string copy = server.User.At("copy");
        server.Run("pg_basebackup", "-h", server.User.Home, "-U", "ci", "-D", copy, "-X", "none", "-c", "fast");
        server.Sql("create table t(a int, filler text)", "insert into t select i, repeat(md5(i::text), 30) from generate_series(1, 9000) i");
        server.ArchiveAll();
        string[] rows = server.Sql("select count(*), sum(a) from t");
        server.StopAt(server.Data);

        File.AppendAllText(Path.Combine(copy, "postgresql.auto.conf"), $"restore_command = '{server.Command("wal-fetch", "main", "%f", "%p")}'\n");
        File.WriteAllText(Path.Combine(copy, "recovery.signal"), "");

        // The repository goes away: the server must not take that for the end of the log.
        Directory.Move(server.User.Repository, server.User.At("away"));
        Should.Throw<Exception>(() => server.StartAt(copy));
        File.ReadAllText(copy + ".log").ShouldContain("could not restore file");
        Directory.Move(server.User.At("away"), server.User.Repository);
        server.StartAt(copy);
        PostgresServer.Wait(() => server.Sql("select pg_is_in_recovery()")[0] == "f", "the server is promoted");
        server.Sql("select count(*), sum(a) from t").ShouldBe(rows);

        // It archives on: the history of its new timeline first, then its log.
        server.Sql("insert into t select 1, 'x'");
        server.ArchiveAll();
        JsonElement[] files = [.. server.Pg("wal", "ls", "main", "--json").ShouldEndWith(0).Json().EnumerateArray()];
        files.Select(static file => file.GetProperty("file").GetString()).ShouldContain("00000002.history");
        server.Pg("wal", "verify", "main").ShouldEndWith(0);
        JsonElement[] intervals = [.. server.Pg("window", "main", "--json").ShouldEndWith(0).Json().GetProperty("intervals").EnumerateArray()];
        intervals.Select(static interval => interval.GetProperty("timeline").GetInt32()).ShouldBe([1, 2]);
        intervals[0].GetProperty("ends_because").GetString()!.ShouldContain("for timeline 2");
        File.Delete(server.User.Objects("w").First(static file => file.EndsWith("00000002.history", StringComparison.Ordinal)));
        server.Pg("wal", "verify", "main").ShouldEndWith(14).Error.ShouldContain("00000002.history");
        server.User.Run("prune").ShouldEndWith(0);
        server.Pg("wal", "ls", "main", "--json").ShouldEndWith(0).Json().GetArrayLength().ShouldBe(files.Length - 1);
    }

    [Fact]
    public void PushesThatAreKilledAtAnyMomentLoseNothingAndTheBacklogDrains()
    {
        using PostgresServer server = PostgresServer.Start(segmentMegabytes: 1, settings: "archive_timeout = 0");
        server.Run("pgbench", "-h", server.User.Home, "-U", "ci", "-i", "-s", "1", "-q", "postgres");
        ProgramUser.RunningProgram load = server.Begin("pgbench", "-h", server.User.Home, "-U", "ci", "-c", "2", "-T", "4", "-n", "-N", "postgres");
        Random random = new(1);
        int killed = 0, most = 0;
        for (Stopwatch watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < 4; Thread.Sleep(random.Next(20, 120)))
        {
            killed += Kill(server.User.Program) ? 1 : 0;
            most = Math.Max(most, Directory.EnumerateFiles(Path.Combine(server.Data, "pg_wal", "archive_status"), "*.ready").Count());
        }

        load.Wait().ShouldEndWith(0);
        killed.ShouldBeGreaterThan(3);
        string[] segments = server.ArchiveAll();
        server.Pg("wal", "verify", "main").ShouldEndWith(0);
        server.Pg("window", "main", "--json").ShouldEndWith(0).Json().GetProperty("intervals").GetArrayLength().ShouldBe(1);
        string[] archived = [.. server.Pg("wal", "ls", "main", "--json").ShouldEndWith(0).Json().EnumerateArray().Select(static file => file.GetProperty("file").GetString()!)];
        segments.Select(static segment => Path.GetFileName(segment)).ShouldBeSubsetOf(archived);
        foreach (string segment in random.GetItems(segments, 4))
        {
            string target = server.User.At("fetched");
            server.Pg("wal-fetch", "main", Path.GetFileName(segment), target).ShouldEndWith(0);
            File.ReadAllBytes(target).AsSpan().SequenceEqual(File.ReadAllBytes(segment)).ShouldBeTrue(segment);
        }

        TestContext.Current.SendDiagnosticMessage($"{killed} pushes were killed; at most {most} segments were waiting; {archived.Length} archived");
        server.User.Objects("tmp").Length.ShouldBeLessThan(killed + 1);
        server.User.Run("check", "--read-data").ShouldEndWith(0);
    }

    // Ends one push of this test's own server, and nobody else's.
    private static bool Kill(string program)
    {
        foreach (string process in Directory.EnumerateDirectories("/proc").Where(static folder => char.IsAsciiDigit(Path.GetFileName(folder)[0])))
        {
            try
            {
                string command = File.ReadAllText(Path.Combine(process, "cmdline"));
                if (command.StartsWith(program, StringComparison.Ordinal) && command.Contains("wal-push", StringComparison.Ordinal))
                {
                    Process.GetProcessById(int.Parse(Path.GetFileName(process), CultureInfo.InvariantCulture)).Kill();
                    return true;
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or InvalidOperationException)
            {
                // It has ended by itself.
            }
        }

        return false;
    }

    private static string Place(string hexadecimal)
    {
        ulong value = ulong.Parse(hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        return new Lsn(value).ToString();
    }

    private static (List<string> Records, List<string> Events) Dumped(string text)
    {
        List<string> records = [];
        List<string> events = [];
        foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            Match match = LineOf().Match(line);
            match.Success.ShouldBeTrue(line);
            string at = Hex(match.Groups["lsn"].Value);
            records.Add($"{at} {Hex(match.Groups["prev"].Value)} {match.Groups["tx"].Value} {match.Groups["tot"].Value}");
            Match end = EndOf().Match(match.Groups["desc"].Value);
            if (end.Success && match.Groups["rmgr"].Value == "Transaction")
            {
                string number = end.Groups["xid"].Success ? end.Groups["xid"].Value : match.Groups["tx"].Value;
                events.Add($"{at} {(end.Groups["what"].Value == "COMMIT" ? "Commit" : "Abort")} {number} {end.Groups["time"].Value}");
            }
            else if (match.Groups["desc"].Value.StartsWith("RESTORE_POINT ", StringComparison.Ordinal))
            {
                events.Add($"{at} {match.Groups["desc"].Value[14..]}");
            }
        }

        return (records, events);
    }

    private static string Hex(string lsn) => $"{ulong.Parse(lsn.Split('/')[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) << 32 | ulong.Parse(lsn.Split('/')[1], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture):X}";

    [GeneratedRegex(@"^rmgr: (?<rmgr>\S+)\s+len \(rec/tot\):\s*\d+/\s*(?<tot>\d+), tx:\s*(?<tx>\d+), lsn: (?<lsn>\S+), prev (?<prev>\S+), desc: (?<desc>.*)$")]
    private static partial Regex LineOf();

    [GeneratedRegex(@"^(?<what>COMMIT|ABORT)(_PREPARED (?<xid>\d+):| ?) ?(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) ")]
    private static partial Regex EndOf();

    [GeneratedRegex("lsn: ([0-9A-F]+/[0-9A-F]{8})")]
    private static partial Regex LsnOf();
}
