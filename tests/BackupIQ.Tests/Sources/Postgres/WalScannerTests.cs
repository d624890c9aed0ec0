using System.Buffers.Binary;
using System.Diagnostics;
using BackupIQ.Sources.Postgres.Wal;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Sources.Postgres;

public sealed class WalScannerTests
{
    [Theory]
    [InlineData(13)]
    [InlineData(14)]
    [InlineData(15)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(18)]
    public void RecordsOfEveryVersionAreReadOverPagesAndSegments(int version)
    {
        WalBuilder log = Mixed(version);
        Scan scan = Read(log.Segments());
        scan.Finding.ShouldBeNull();
        scan.Starts.ShouldBe(log.Starts);
        scan.Segments.ShouldBeGreaterThan(2);
    }

    [Theory]
    [InlineData(1 << 20, 1024)]
    [InlineData(2 << 20, 8192)]
    [InlineData(16 << 20, 8192)]
    [InlineData(16 << 20, 65536)]
    [InlineData(64 << 20, 32768)]
    public void SegmentsAndPagesOfOtherSizesAreRead(int segmentSize, int pageSize)
    {
        WalBuilder log = new(segmentSize: segmentSize, pageSize: pageSize);
        for (uint i = 0; i < 300; i++)
        {
            log.Append(10, 0, new byte[5000 + (i * 7)], i);
        }

        Read(log.Segments()).Starts.ShouldBe(log.Starts);
    }

    [Fact]
    public void AFlippedBitIsFoundAtTheRecordThatHasIt()
    {
        WalBuilder log = Mixed(15);
        byte[][] segments = log.Segments();
        foreach (int record in (int[])[0, 7, 40, log.Starts.Count - 2])
        {
            ulong start = log.Starts[record];
            int place = (int)(start - (3UL << 20)) + 30;
            if (place % 8192 < 40)
            {
                continue;
            }

            byte[][] damaged = [.. segments.Select(static segment => segment.ToArray())];
            damaged[place >> 20][place & 0xFFFFF] ^= 4;
            Scan scan = Read(damaged);
            scan.Finding.ShouldNotBeNull().At.ShouldBe(new Lsn(start));
            scan.Starts.ShouldBe(log.Starts[..record]);
        }
    }

    [Fact]
    public void ARecordThatNamesAnotherOneBeforeItIsFound()
    {
        WalBuilder first = new();
        first.Append(10, 0, new byte[100]);
        WalBuilder log = new(previous: 0);
        log.Append(10, 0, new byte[100]);
        log.Append(10, 0, new byte[100]);
        byte[] segment = log.Segments()[0];
        int second = (int)(log.Starts[1] - (3UL << 20));
        BinaryPrimitives.WriteUInt64LittleEndian(segment.AsSpan(second + 8), log.Starts[0] - 8);
        Seal(segment.AsSpan(second, 24 + 2 + 100));
        Read([segment]).Finding.ShouldNotBeNull().ToString().ShouldContain("the one before it");
    }

    [Fact]
    public void ASegmentThatSaysItStandsWhereNoneBeginsIsDamagedAndNotRead()
    {
        byte[] segment = Mixed(15).Segments()[0];
        BinaryPrimitives.WriteUInt64LittleEndian(segment.AsSpan(8), (3UL << 20) + 8192);
        WalSegmentReader reader = new(WalSegmentHeader.Read(segment, out _)!, 1);
        reader.Scan(segment);
        reader.Finding.ShouldNotBeNull().Problem.ShouldContain("cannot begin");
        reader.Facts.Records.ShouldBe(0u);
    }

    [Fact]
    public void AMissingSegmentIsFoundAndNamed()
    {
        byte[][] segments = Mixed(15).Segments();
        Scan scan = Read([segments[0], segments[2]]);
        scan.Finding.ShouldNotBeNull().At.ShouldBe(new Lsn(4UL << 20));
        scan.Finding!.Problem.ShouldContain("missing");
    }

    [Fact]
    public void ASegmentOfOldBytesInANewPlaceIsFound()
    {
        byte[][] segments = Mixed(15).Segments();
        byte[] stale = segments[1].ToArray();
        segments[0].AsSpan(0, 8192).CopyTo(stale.AsSpan(8192));
        Read([segments[0], stale]).Finding.ShouldNotBeNull().At.ShouldBe(new Lsn((4UL << 20) + 8192));
    }

    [Fact]
    public void BehindASwitchNothingIsLookedAt()
    {
        WalBuilder log = new();
        log.Append(10, 0, new byte[100]);
        log.Switch();
        log.Append(10, 0, new byte[100]);
        byte[][] segments = log.Segments();
        segments[0].AsSpan(20_000, 1000).Fill(0xEE);
        Scan scan = Read(segments);
        scan.Finding.ShouldBeNull();
        scan.Starts.ShouldBe(log.Starts);
        scan.Scanner.EndKind.ShouldBe(WalEnd.Nothing, "the last segment is not full");
    }

    [Fact]
    public void ARecordThatWasGivenUpInACrashIsNoDamage()
    {
        WalBuilder log = new(version: 15);
        log.Append(10, 0, new byte[7000]);
        log.Append(10, 0, new byte[7000]);
        log.GiveUp();
        log.Append(10, 0, new byte[10]);
        Scan scan = Read(log.Segments());
        scan.Finding.ShouldBeNull();
        scan.Starts.ShouldBe(log.Starts);
        scan.Events.ShouldContain(WalEventKind.GivenUp);
    }

    [Fact]
    public void ARecordThatIsBrokenOffIsDamage()
    {
        WalBuilder log = new(version: 15);
        log.Append(10, 0, new byte[7000]);
        log.Append(10, 0, new byte[7000]);
        byte[] segment = log.Segments()[0];
        segment.AsSpan(8192, 8192).Clear();
        Scan scan = Read([segment]);
        scan.Finding.ShouldNotBeNull().At.ShouldBe(new Lsn(log.Starts[1]));
    }

    [Fact]
    public void ScanningMayBeginWithinARecord()
    {
        WalBuilder log = new();
        log.Append(10, 0, new byte[100]);
        log.Append(10, 0, new byte[3 << 20]);
        ulong last = log.Append(10, 0, new byte[100]);
        byte[][] segments = log.Segments();
        segments.Length.ShouldBe(4);
        Read(segments).Starts.ShouldBe(log.Starts);
        foreach (int from in (int[])[1, 2, 3])
        {
            Scan scan = Read(segments[from..]);
            scan.Finding.ShouldBeNull();
            scan.Starts.ShouldBe([last]);
        }
    }

    [Fact]
    public void AFirstPageOfAnUnknownKindIsRefusedWithAReason()
    {
        byte[] segment = Mixed(15).Segments()[0];
        WalSegmentHeader.Read(segment.AsSpan(0, 39), out string few).ShouldBeNull();
        few.ShouldContain("too few");
        BinaryPrimitives.WriteUInt16LittleEndian(segment, 0xD120);
        WalSegmentHeader.Read(segment, out string problem).ShouldBeNull();
        problem.ShouldContain("D120");
        BinaryPrimitives.WriteUInt16LittleEndian(segment, 0xD110);
        BinaryPrimitives.WriteUInt32LittleEndian(segment.AsSpan(32), 3 << 20);
        WalSegmentHeader.Read(segment, out problem).ShouldBeNull();
        problem.ShouldContain("3145728");
    }

    [Fact]
    public void NothingIsAllocatedForEachRecord()
    {
        WalBuilder log = new(segmentSize: 16 << 20);
        for (uint i = 0; i < 20_000; i++)
        {
            log.Append(10, 0, new byte[700], i);
        }

        byte[] segment = log.Segments()[0];
        WalSegmentHeader header = WalSegmentHeader.Read(segment, out _)!;
        WalScanner scanner = new(static (in WalRecord record) => _ = WalEvent.Of(record));
        scanner.BeginSegment(header, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        scanner.Scan(segment);
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBeLessThan(10_000);
        scanner.Records.ShouldBe(20_000);

        long start = Stopwatch.GetTimestamp();
        const int rounds = 20;
        for (int i = 0; i < rounds; i++)
        {
            WalScanner again = new(static (in WalRecord record) => _ = WalEvent.Of(record));
            again.BeginSegment(header, 1);
            again.Scan(segment);
        }

        TestContext.Current.SendDiagnosticMessage($"{rounds * segment.Length / Stopwatch.GetElapsedTime(start).TotalSeconds / 1e6:N0} MB/s");
    }

    [Theory]
    [InlineData(14)]
    [InlineData(15)]
    [InlineData(18)]
    public void ThePreparedTransactionIsFoundBehindTheListsOfACommit(int version)
    {
        const uint database = 1, subtransactions = 2, relations = 4, invalidations = 8, twoPhase = 16, statistics = 256;
        List<byte> data = [.. BitConverter.GetBytes(123_456_789L)];
        uint flags = database | subtransactions | relations | invalidations | twoPhase | (version >= 15 ? statistics : 0);
        data.AddRange(BitConverter.GetBytes(flags));
        data.AddRange(new byte[8]);
        data.AddRange(List(3, 4));
        data.AddRange(List(2, 12));
        data.AddRange(version >= 15 ? List(5, version >= 18 ? 16 : 12) : []);
        data.AddRange(List(7, 16));
        data.AddRange(BitConverter.GetBytes(4711u));
        WalBuilder log = new(version);
        log.Append(ResourceManagers.Transactions, 0x30 | 0x80, [.. data]);
        List<WalEvent> events = [];
        WalScanner scanner = new((in WalRecord record) => events.Add(WalEvent.Of(record)));
        byte[] segment = log.Segments()[0];
        scanner.BeginSegment(WalSegmentHeader.Read(segment, out _)!, 1);
        scanner.Scan(segment);
        events.ShouldBe([new WalEvent(WalEventKind.Commit, 4711, 123_456_789)]);
    }

    [Fact]
    public void FactsOfSegmentsTellWhetherTheNextOneGoesOnWhereTheyEnd()
    {
        WalSegmentFacts[] facts = [.. Mixed(16).Segments().Select(static segment => FactsOf(segment))];
        for (int i = 0; i + 1 < facts.Length; i++)
        {
            WalContinuity.Break(facts[i], facts[i + 1]).ShouldBeNull();
            WalSegmentFacts again = WalSegmentFacts.Read(facts[i].Write()).ShouldNotBeNull();
            (again with { RestorePoints = facts[i].RestorePoints }).ShouldBe(facts[i]);
            again.RestorePoints.ShouldBe(facts[i].RestorePoints);
        }

        WalContinuity.Break(facts[0], facts[2]).ShouldNotBeNull();
        facts.Sum(static one => (long)one.Transactions).ShouldBe(30);
        facts.SelectMany(static one => one.RestorePoints).Select(static point => point.Name).ShouldBe(["noon"]);
    }

    [Fact]
    public void FactsHaveTheBytesOfTheFormat()
    {
        WalSegmentFacts facts = new()
        {
            Version = 15,
            SystemIdentifier = 7_700_000_000_000_000_001,
            SegmentSize = 16 << 20,
            Start = new Lsn(0x3000000),
            End = WalEnd.WithinRecord,
            GivesUp = true,
            Continued = 8,
            First = new Lsn(0x3000028),
            BeforeFirst = new Lsn(0x2FFFFF0),
            Last = new Lsn(0x3FFFF00),
            LastEnd = new Lsn(0x3FFFF40),
            Pending = new Lsn(0x3FFFF40),
            PendingBytes = 200,
            Records = 1234,
            Transactions = 56,
            FirstTime = 111,
            LastTime = 222,
            RestorePoints = [new WalRestorePoint(new Lsn(0x3001000), 150, "noon")],
        };
        Convert.ToHexStringLower(facts.Write()).ShouldBe(
            "0101010f000000010100822234e5db6a00000003000000002800000300000000f0ffff020000000000ffff030000000040ffff030000000040ffff03"
            + "00000000000000000000000008000000c8000000d2040000380000006f00000000000000de0000000000000000000000000000000000000000000000"
            + "00000000010000000010000300000000960000000000000004006e6f6f6e");
    }

    [Fact]
    public void IntervalsEndAtHolesAndTellWhichSegmentIsMissing()
    {
        byte[][] segments = Mixed(15).Segments();
        WalSegment[] known = [.. segments.Select(static (bytes, i) => new WalSegment(WalFileName.OfSegment(1, 3 + (ulong)i, 1 << 20), DateTimeOffset.UnixEpoch, FactsOf(bytes)))];
        Dictionary<uint, TimelineHistory> none = [];
        WalContinuity.Intervals(known[..^1], none).ShouldHaveSingleItem().EndsBecause.ShouldBe("nothing later is archived");
        IReadOnlyList<WalInterval> broken = WalContinuity.Intervals([known[0], known[2]], none);
        broken.Count.ShouldBe(2);
        broken[0].EndsBecause.ShouldBe("segment 000000010000000000000004 is missing");
        broken[0].IsHole.ShouldBeTrue();
        broken[0].EndsAt.ShouldBe(new Lsn(4UL << 20));
        TimelineHistory child = TimelineHistory.Read(2, "1\t0/580000\tbefore it all went wrong\n"u8, out _)!;
        WalContinuity.Intervals(known[..^1], new Dictionary<uint, TimelineHistory> { [2] = child })[0].EndsBecause.ShouldBe("timeline 1 was left at 0/580000 for timeline 2");
    }

    [Theory]
    [InlineData("000000010000000A000000FF", WalFileKind.Segment)]
    [InlineData("000000010000000A000000FF.partial", WalFileKind.Partial)]
    [InlineData("000000010000000A000000FF.00000028.backup", WalFileKind.Backup)]
    [InlineData("00000002.history", WalFileKind.History)]
    public void NamesAreReadAndWrittenAsTheServerDoes(string text, WalFileKind kind)
    {
        WalFileName.TryParse(text, out WalFileName name).ShouldBeTrue();
        name.Kind.ShouldBe(kind);
        name.ToString().ShouldBe(text);
    }

    [Theory]
    [InlineData("")]
    [InlineData("000000010000000a000000ff")]
    [InlineData("00000000000000000000000A")]
    [InlineData("000000010000000A000000FF.tmp")]
    [InlineData("RECOVERYXLOG")]
    [InlineData("00000000.history")]
    public void OtherNamesAreRefused(string text) => WalFileName.TryParse(text, out _).ShouldBeFalse();

    [Theory]
    [InlineData("2\t0/1\tx\n")]
    [InlineData("nonsense\n")]
    [InlineData("1\t0/5\n1\t0/6\n")]
    public void AHistoryWhoseTimelinesDoNotAscendIsRefused(string text) =>
        TimelineHistory.Read(2, System.Text.Encoding.UTF8.GetBytes(text), out _).ShouldBeNull();

    internal static WalSegmentFacts FactsOf(byte[] segment)
    {
        WalSegmentReader reader = new(WalSegmentHeader.Read(segment, out _)!, 1);
        reader.Scan(segment);
        return reader.Facts;
    }

    internal static WalBuilder Mixed(int version)
    {
        WalBuilder log = new(version);
        Random random = new(version);
        for (uint i = 0; i < 30; i++)
        {
            log.Append(10, 0, Bytes(random, random.Next(1, 300)), i);
            log.Append(11, 0x10, Bytes(random, random.Next(8000, 200_000)), i);
            log.Commit(700 + i, 1_000_000 * i);
        }

        log.RestorePoint("noon", 77);
        log.Append(ResourceManagers.Log, 0x60, new byte[28]);
        return log;
    }

    private static byte[] Bytes(Random random, int count)
    {
        var bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }

    private static byte[] List(int count, int size) => [.. BitConverter.GetBytes(count), .. new byte[count * size]];

    private static void Seal(Span<byte> record)
    {
        uint crc = WalChecksum.Append(WalChecksum.Append(WalChecksum.Start, record[24..]), record[..20]);
        BinaryPrimitives.WriteUInt32LittleEndian(record[20..], WalChecksum.Finish(crc));
    }

    private static Scan Read(byte[][] segments)
    {
        List<ulong> starts = [];
        List<WalEventKind> events = [];
        WalScanner scanner = new((in WalRecord record) =>
        {
            starts.Add(record.Start.Value);
            events.Add(WalEvent.Of(record).Kind);
        });
        foreach (byte[] segment in segments)
        {
            if (!scanner.BeginSegment(WalSegmentHeader.Read(segment, out _)!, 1))
            {
                break;
            }

            for (int i = 0; i < segment.Length; i += 128 << 10)
            {
                scanner.Scan(segment.AsSpan(i, 128 << 10));
            }
        }

        return new Scan(scanner, scanner.Finding, starts, events, segments.Length);
    }

    private sealed record Scan(WalScanner Scanner, WalFinding? Finding, List<ulong> Starts, List<WalEventKind> Events, int Segments);
}
