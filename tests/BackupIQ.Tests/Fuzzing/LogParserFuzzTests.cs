using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Hashing;
using BackupIQ.Repository.Logs;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Storage;
using BackupIQ.Tests.Repository;
using BackupIQ.Tests.Sources.Postgres;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>Whatever stands in a server's log, or in its archive, it is read or told to be damaged.</summary>
[Trait("kind", "fuzz")]
public sealed class LogParserFuzzTests
{
    [Fact]
    public void WalSegments() => Fuzz.Run(
        [Small(15), Small(18)],
        static bytes =>
        {
            if (WalSegmentHeader.Read(bytes, out _) is { } header)
            {
                // Checksums are made to fit at the first record, so that what lies behind them is reached.
                WalScanner scanner = new(static (in WalRecord record) =>
                {
                    _ = WalEvent.Of(record);
                    _ = WalEvent.RestorePointNameOf(record);
                    WalPageImages.Read(record, static _ => { });
                });
                if (scanner.BeginSegment(header, 1))
                {
                    scanner.Scan(bytes);
                }

                _ = scanner.EndKind;
                WalSegmentReader reader = new(header, 1);
                reader.Scan(bytes);
                _ = reader.Facts.Write();
            }
        },
        allocates: 8 << 20);

    [Fact]
    public void PagesOfRecords() => Fuzz.Run(
        [[.. new byte[24], .. PostgresVerificationTests.Image(block: 7)]],
        static bytes =>
        {
            if (bytes.Length >= WalRecord.HeaderSize)
            {
                foreach (int version in (int[])[13, 15])
                {
                    // As long as it says, or as there are bytes: the scanner lets no other through.
                    System.Buffers.Binary.BinaryPrimitives.WriteInt32LittleEndian(bytes, bytes.Length);
                    WalPageImages.Read(new WalRecord(new Lsn(8), new Lsn(16), version, bytes), static _ => { });
                }
            }
        });

    [Fact]
    public void WalFacts() => Fuzz.Run(
        [.. WalScannerTests.Mixed(15).Segments().Select(static segment => WalScannerTests.FactsOf(segment).Write())],
        static bytes => _ = WalSegmentFacts.Read(bytes)?.Write());

    [Fact]
    public void TimelineHistories() => Fuzz.Run(
        ["1\t0/5000028\tno recovery target specified\n2\t0/7000000\tbefore 2026\n"u8.ToArray()],
        static bytes => _ = TimelineHistory.Read(3, bytes, out _));

    [Fact]
    public void LogObjects()
    {
        using RepositoryKeys keys = FixedKeys.Open();
        StorageKey name = new("w/000102030405060708090a0b0c0d0e0f/00000001/000000010000000000000003");
        byte[] content = [.. Enumerable.Range(0, 5000).Select(static i => (byte)(i / 7))];
        Blake3Hasher hasher = Blake3Hasher.CreateKeyed(keys.DataIdKey);
        hasher.Update(content);
        MemoryStream stored = new();
        LogObject.Write(keys, name, new LogHead(LogKind.PostgresSegment, content.Length, DateTimeOffset.UnixEpoch, LogObject.Finish(hasher), [1, 2, 3]), new MemoryStream(content), stored);
        Fuzz.Run(
            [stored.ToArray()],
            bytes =>
            {
                int at = 0;
                LogObject.ReadAsync(
                    keys,
                    name,
                    wanted =>
                    {
                        int count = Math.Min(wanted.Length, bytes.Length - at);
                        bytes.AsSpan(at, count).CopyTo(wanted.Span);
                        at += count;
                        return ValueTask.FromResult(count);
                    },
                    static _ => ValueTask.CompletedTask).GetAwaiter().GetResult();
            },
            allocates: 1 << 20);
    }

    // A segment of its first pages alone, so that many fit into a second.
    private static byte[] Small(int version)
    {
        WalBuilder log = new(version);
        for (uint i = 0; i < 20; i++)
        {
            log.Append(10, 0, new byte[40 * i], i);
            log.Commit(i, i);
        }

        log.RestorePoint("here", 1);
        log.Append(11, 0, new byte[9000]);
        return log.Segments()[0][..32768];
    }
}
