using System.Buffers.Binary;
using System.Text;
using BackupIQ.Engine.Verification;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Primitives;
using BackupIQ.Sources.Postgres;
using BackupIQ.Sources.Postgres.Verification;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Postgres;

/// <summary>What is told of a stored backup without a server.</summary>
public sealed class PostgresVerificationTests
{
    private const uint SegmentSize = 1 << 20;

    [Fact]
    public void AWholeLogFromBeginningToEndIsNoProblemWhateverStandsBehindIt()
    {
        (PostgresDocument document, byte[][] segments) = Log(records: 30_000);
        segments.Length.ShouldBe(2);
        segments[^1].AsSpan((int)SegmentSize - 8192).Fill(0xAB);
        StoredLog log = Walk(document, segments);
        log.Problems().ShouldBeEmpty();
        log.Records.ShouldBe(30_001);
    }

    [Fact]
    public void AFlippedByteInALogIsToldWithItsPlace()
    {
        (PostgresDocument document, byte[][] segments) = Log(records: 30_000);
        segments[1][500] ^= 1;
        Walk(document, segments).Problems().ShouldHaveSingleItem().ShouldStartWith("The WAL is damaged at 0/400");
    }

    [Fact]
    public void ALogThatEndsBeforeTheBackupDidIsNotEnough()
    {
        (PostgresDocument document, byte[][] segments) = Log(records: 30_000);
        Walk(document with { WalEndLsn = "0/4FF000" }, segments).Problems().ShouldHaveSingleItem().ShouldContain("before the backup did, at 0/4FF000");
    }

    [Fact]
    public void AHoleInTheListIsNamed()
    {
        (PostgresDocument document, _) = Log(records: 30_000);
        StoredBackup stored = new(document);
        stored.See(At("tail/pg_wal/000000010000000000000003"), SegmentSize);
        stored.LogProblems().ShouldHaveSingleItem().ShouldBe("000000010000000000000004 is missing in the snapshot: its WAL has a hole there.");
        stored.See(At("tail/pg_wal/000000010000000000000004"), SegmentSize - 1);
        stored.LogProblems().ShouldHaveSingleItem().ShouldContain("1048575 bytes");
        stored.See(At("tail/pg_wal/000000010000000000000004"), SegmentSize);
        stored.LogProblems().ShouldBeEmpty();

        // A document may claim what it wants.
        Should.Throw<BackupIQException>(() => new StoredBackup(document with { WalEndLsn = "FFFFFFFF/FFFFFFFF" })).Code.ShouldBe(ErrorCodes.CorruptData);
        Should.Throw<BackupIQException>(() => new StoredBackup(document with { BlockSize = 0 })).Code.ShouldBe(ErrorCodes.CorruptData);
    }

    [Fact]
    public void ATimelineThatCameFromAnotherOneNeedsItsHistory()
    {
        (PostgresDocument document, _) = Log(records: 10);
        StoredBackup stored = new(document with { Timeline = 2 });
        stored.HistoryProblems().ShouldHaveSingleItem().ShouldContain("00000002.history is missing");
        stored.See(At("tail/pg_wal/00000002.history"), 20);
        stored.TextOf(stored.Texts.ShouldHaveSingleItem())(0, "1\t0/300028\tbecause\n"u8);
        stored.HistoryProblems().ShouldBeEmpty();
    }

    [Fact]
    public void ALabelThatDisagreesIsTold()
    {
        (PostgresDocument document, _) = Log(records: 10);
        StoredBackup stored = new(document);
        stored.LabelProblems().ShouldHaveSingleItem().ShouldContain("backup_label is missing");
        stored.See(At("tail/backup_label"), 100);
        stored.TextOf(At("tail/backup_label"))(0, Encoding.UTF8.GetBytes($"START WAL LOCATION: {document.WalStartLsn} (file 000000010000000000000003)\nSTART TIMELINE: 1\n"));
        stored.LabelProblems().ShouldBeEmpty();
        stored.TextOf(At("tail/backup_label"))(0, "START WAL LOCATION: 0/300030 (file 000000010000000000000003)\nSTART TIMELINE: 3\n"u8);
        stored.LabelProblems().Count.ShouldBe(2);
    }

    [Fact]
    public void APageThatWasTornWhileItWasReadIsMendedByTheLogAndAnotherOneIsDamaged()
    {
        (PostgresDocument document, byte[][] segments) = Log(records: 10);
        StoredBackup stored = new(document);
        byte[] torn = PostgresBytes.Page;
        torn[6000] ^= 1;
        ContentListener pages = stored.PagesOf(At("data/base/5/16384"))!;
        pages(0, PostgresBytes.Page);
        pages(7 * 8192, torn);
        pages(8 * 8192, torn);
        stored.PagesOf(At("data/base/5/PG_VERSION")).ShouldBeNull();
        stored.PagesOf(At("data/pg_xact/0000")).ShouldBeNull();
        stored.PagesOf(At("tablespaces/16400/PG_15_202209061/5/16390.1")).ShouldNotBeNull()(0, torn);
        stored.Pages.ShouldBe(4);
        Walk(stored, segments).Problems().ShouldBeEmpty();
        (IReadOnlyList<UnsoundPage> unsound, long untold) = stored.UnsoundPages();
        unsound.ShouldBe([new UnsoundPage("base/5/16384", 8), new UnsoundPage("pg_tblspc/16400/PG_15_202209061/5/16390.1", 131072)]);
        untold.ShouldBe(1);
    }

    [Fact]
    public void WhatWasTheSameBeforeAndAfterMustHoldAndNothingElse()
    {
        PostgresSchemaRecord before = Record(("a", "1"), ("b", "1"), ("dropped", "1"));
        PostgresSchemaRecord after = Record(("a", "1"), ("b", "2"), ("made", "1"));
        PostgresSchemaRecord both = before.And(after);
        both.Changed.ShouldBeTrue();
        both.Relations.Keys.ShouldBe(["a"]);
        before.And(before).ShouldSatisfyAllConditions(static same => same.Changed.ShouldBeFalse(), static same => same.Relations.Count.ShouldBe(3));

        static PostgresDatabase Database(long oid, string name, PostgresSchemaRecord? schema) => new(oid, name, new Dictionary<string, long>()) { Schema = schema };
        IReadOnlyList<PostgresDatabase> steady = PostgresDatabase.Steady(
            [Database(1, "kept", before), Database(2, "gone", before), Database(3, "renamed", before)], [Database(1, "kept", after), Database(3, "other", after), Database(4, "new", after)]);
        steady.Select(static one => (one.Name, one.Schema?.Relations.Count)).ShouldBe([("kept", 1), ("other", null), ("new", null), ("gone", null)]);
    }

    [Fact]
    public void ADigestTellsColumnsIndexesAndConstraintsApart()
    {
        static PostgresRelation Relation(string column, string index, string constraint) => new(
            "public.t", "table", true, [column], new Dictionary<string, string> { ["i"] = index }, new Dictionary<string, string> { ["c"] = constraint });
        string one = Relation("a int", "x", "y").Digest();
        one.ShouldBe(Relation("a int", "x", "y").Digest());
        new[] { Relation("a bigint", "x", "y"), Relation("a int", "z", "y"), Relation("a int", "x", "z") }.ShouldAllBe(other => other.Digest() != one);
        one.Length.ShouldBe(16);
    }

    [Theory]
    [InlineData("shop: SELECT count(*) > 3 FROM a", "shop", "SELECT count(*) > 3 FROM a")]
    [InlineData(" shop :SELECT 'a: b' = ''", "shop", "SELECT 'a: b' = ''")]
    public void AnAssertionNamesItsDatabase(string text, string database, string sql) => PostgresAssertion.Parse(text).ShouldBe((database, sql));

    [Theory]
    [InlineData("SELECT true")]
    [InlineData("SELECT a::text FROM b")]
    [InlineData("shop:")]
    [InlineData(": SELECT true")]
    public void WhatNamesNoneIsRefused(string text) => Should.Throw<BackupIQException>(() => PostgresAssertion.Parse(text)).Code.ShouldBe(ErrorCodes.Usage);

    /// <summary>What stands behind the header of a record that has a page of 1663/5/16384 whole.</summary>
    internal static byte[] Image(uint block)
    {
        byte[] body = new byte[4 + 5 + 12 + 4 + 10];
        body[1] = 0x10;
        body[4] = 10;
        body[8] = 0x02 | 0x04;
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(9), 1663);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(13), 5);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(17), 16384);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(21), block);
        return body;
    }

    private static byte[] At(string path) => Encoding.UTF8.GetBytes("/main/" + path);

    private static PostgresSchemaRecord Record(params (string Name, string Digest)[] relations) => new()
    {
        Tables = relations.Length,
        Columns = 1,
        Indexes = 1,
        Constraints = 1,
        Relations = relations.ToDictionary(static one => one.Name, static one => one.Digest),
    };

    private static StoredLog Walk(PostgresDocument document, byte[][] segments) => Walk(new StoredBackup(document), segments);

    private static StoredLog Walk(StoredBackup stored, byte[][] segments)
    {
        StoredLog log = stored.OpenLog();
        for (int i = 0; i < segments.Length; i++)
        {
            ContentListener listener = log.Segment(WalFileName.OfSegment(1, 3 + (ulong)i, SegmentSize).ToString());
            listener(0, segments[i].AsSpan(0, (int)SegmentSize / 2));
            listener(SegmentSize / 2, segments[i].AsSpan((int)SegmentSize / 2));
        }

        return log;
    }

    // A backup from the third segment on; the log ends where its last record does.
    private static (PostgresDocument Document, byte[][] Segments) Log(int records)
    {
        WalBuilder builder = new(firstSegment: 3);
        builder.AppendWhole(manager: 10, info: 0, Image(block: 7));
        for (int i = 0; i < records; i++)
        {
            builder.Commit((uint)i + 700, i);
        }

        PostgresDocument document = new()
        {
            Server = "main",
            SystemIdentifier = $"{WalBuilder.System}",
            ServerVersion = "15.18",
            Major = 15,
            CatalogVersion = 202209061,
            BlockSize = 8192,
            SegmentBlocks = 131072,
            WalSegmentSize = SegmentSize,
            Checksums = true,
            Timeline = 1,
            WalStartLsn = new Lsn(builder.Starts[0]).ToString(),
            WalEndLsn = new Lsn(builder.Position).ToString(),
            Started = DateTimeOffset.UnixEpoch,
            Stopped = DateTimeOffset.UnixEpoch,
            DataDirectory = "/data",
            OwnerUserId = 101,
            OwnerGroupId = 104,
            Wal = [.. Enumerable.Range(0, builder.Segments().Length).Select(static i => WalFileName.OfSegment(1, 3 + (ulong)i, SegmentSize).ToString())],
            Databases = [],
            Tablespaces = [],
            ConfigFiles = new Dictionary<string, string>(),
            PageErrors = [new PostgresPageError("base/5/16384", 8)],
            PageErrorCount = 1,
        };
        return (document, builder.Segments());
    }
}
