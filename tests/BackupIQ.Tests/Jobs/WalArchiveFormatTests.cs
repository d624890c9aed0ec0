using BackupIQ.Jobs;
using BackupIQ.Jobs.Postgres;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Logs;
using BackupIQ.Sources.Postgres.Wal;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Repository;
using BackupIQ.Tests.Sources.Postgres;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>What stands beside whole segments in an archive, by name and content.</summary>
public sealed class WalArchiveFormatTests : IDisposable
{
    private const uint Size = 1 << 20;
    private static readonly WalFileName Segment = WalFileName.OfSegment(1, 0x1003, Size);
    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public async Task GapsHaveTheNameAndContentOfTheFormat()
    {
        (FakeStorage storage, BackupRepository repository, WalArchive archive) = await NewAsync();
        await archive.PutGapAsync(1, new Lsn(0x1_0032_0000), new Lsn(0x1_0050_0000), "the server had taken it away", CancellationToken.None);
        await archive.PutGapAsync(1, new Lsn(0x1_0032_0000), new Lsn(0x1_0050_0000), "for another reason", CancellationToken.None);
        NamesOf(storage, repository).ShouldBe(["00000001/00000001003200000000000100500000.gap"]);
        WalListing listing = await archive.ListAllAsync();
        WalGapInfo gap = (await archive.ReadGapsAsync(listing, Size, Fail, CancellationToken.None)).ShouldHaveSingleItem();
        (gap.Timeline, gap.FromLsn, gap.ToLsn, gap.Cause, gap.IsFilled).ShouldBe((1, "1/320000", "1/500000", "the server had taken it away", false));
        LogHead head = (await new LogArchive(repository, "main", TimeProvider.System).ReadHeadAsync("00000001", listing.Gaps[0].File.Name, CancellationToken.None)).ShouldNotBeNull();
        ((byte)head.Kind).ShouldBe((byte)7);
        head.Facts.ShouldBeEmpty();
    }

    [Fact]
    public async Task PiecesAreNamedByTheirBytesAndGiveTheUnfinishedSegmentBack()
    {
        (FakeStorage storage, BackupRepository repository, WalArchive archive) = await NewAsync();
        WalBuilder log = new(firstSegment: Segment.NumberOf(Size));
        for (int i = 1; i < 2000; i++)
        {
            log.Commit((uint)i, i);
        }

        byte[] whole = log.Segments()[0];
        string path = _scratch.At(Segment.ToString());
        File.WriteAllBytes(path, whole);
        await archive.RequireAsync(WalBuilder.System, Size, 15, CancellationToken.None);
        await archive.PutPieceAsync(path, Segment, 0, 20_000, CancellationToken.None);
        WalPiece second = await archive.PutPieceAsync(path, Segment, 20_000, 50_123, CancellationToken.None);
        await archive.PutPieceAsync(path, Segment, 30_000, 60_000, CancellationToken.None);
        NamesOf(storage, repository).ShouldBe(
        [
            "00000001/000000010000000100000003.0000000000004e20.piece", "00000001/000000010000000100000003.00004e200000c3cb.piece",
            "00000001/000000010000000100000003.000075300000ea60.piece",
        ]);
        (await archive.ReadUnfinishedAsync(await archive.ListAllAsync(), Size, Fail, CancellationToken.None)).ShouldNotBeNull().ToLsn.ShouldBe(new Lsn((0x1003UL * Size) + 60_000).ToString());

        // As a server leaves an unfinished segment: its bytes, and zeros.
        MemoryStream read = new();
        WalFileName partial = Segment with { Kind = WalFileKind.Partial };
        (await archive.ReadAsync(Segment, LogArchive.WriteTo(read))).ShouldBeFalse();
        (await archive.ReadAsync(partial, LogArchive.WriteTo(read))).ShouldBeTrue();
        read.ToArray().ShouldBe([.. whole[..60_000], .. new byte[Size - 60_000]]);

        // With a hole in it nothing behind that is there.
        (await archive.TryDeleteAsync([second], CancellationToken.None)).ShouldBeTrue();
        read.SetLength(0);
        (await archive.ReadAsync(partial, LogArchive.WriteTo(read))).ShouldBeTrue();
        read.ToArray().ShouldBe([.. whole[..20_000], .. new byte[Size - 20_000]]);

        // Beside the whole segment they are nothing.
        await archive.PushAsync(path, isServersOwn: false);
        (await archive.ReadUnfinishedAsync(await archive.ListAllAsync(), Size, Fail, CancellationToken.None)).ShouldBeNull();
    }

    [Theory]
    [InlineData("00000001003200000000000100300000.gap")]
    [InlineData("0000000100320000000000010050000.gap")]
    [InlineData("000000010032000000000001005g0000.gap")]
    [InlineData("000000010000000100000003.0000c3cb00004e20.piece")]
    [InlineData("000000010000000100000003.0000000000004e2.piece")]
    [InlineData("000000020000000100000003.0000000000004e20.piece")]
    [InlineData("x.piece")]
    [InlineData(".gap")]
    public async Task OtherNamesAreLeftAlone(string name)
    {
        (FakeStorage storage, BackupRepository repository, WalArchive archive) = await NewAsync();
        storage.Objects[RepositoryLayout.Log(LogSeries.Of(repository.Keys, "main"), "00000001", name).Value] = [1];
        WalListing listing = await archive.ListAllAsync();
        (listing.Files.Count + listing.Pieces.Count + listing.Gaps.Count).ShouldBe(0);
    }

    private static void Fail(string damage) => throw new InvalidOperationException(damage);

    private static async Task<(FakeStorage Storage, BackupRepository Repository, WalArchive Archive)> NewAsync()
    {
        FakeStorage storage = new();
        BackupRepository repository = (await RepositoryBuilder.CreateAsync(storage)).Repository;
        return (storage, repository, new WalArchive(repository, "main", TimeProvider.System));
    }

    private static string[] NamesOf(FakeStorage storage, BackupRepository repository)
    {
        string prefix = RepositoryLayout.Logs(LogSeries.Of(repository.Keys, "main"));
        return [.. storage.Objects.Keys.Where(key => key.StartsWith(prefix, StringComparison.Ordinal) && !key.EndsWith(".series", StringComparison.Ordinal)).Select(key => key[prefix.Length..])];
    }
}
