using BackupIQ.Jobs.Postgres;
using BackupIQ.Repository;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Repository;
using BackupIQ.Tests.Sources.Postgres;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>The archive as a backup uses it: for WAL that the server has no more, and for WAL that need not be stored.</summary>
public sealed class BackupWalTests
{
    private const string Segment = "000000010000000000000003";
    private const string Missing = "000000010000000000000004";

    [Fact]
    public async Task WhatTheArchiveHasIsFetchedAndGoesWithTheBackup()
    {
        using ScratchFolder scratch = new();
        (WalArchive archive, byte[] content) = await ArchiveAsync(scratch);
        string path;
        using (BackupWal wal = new(archive, null, TimeSpan.Zero, TimeProvider.System))
        {
            path = wal.Fetch(Segment, CancellationToken.None).ShouldNotBeNull();
            File.ReadAllBytes(path).ShouldBe(content);
            wal.Fetch(Missing, CancellationToken.None).ShouldBeNull();
        }

        File.Exists(path).ShouldBeFalse();
        Directory.Exists(Path.GetDirectoryName(path)).ShouldBeFalse();
    }

    [Fact]
    public async Task WhatIsThereIsNotWaitedForAndWhatIsNotOnlySoLong()
    {
        using ScratchFolder scratch = new();
        (WalArchive archive, _) = await ArchiveAsync(scratch);
        using BackupWal wal = new(archive, null, TimeSpan.FromMilliseconds(50), TimeProvider.System);
        wal.WaitFor([Segment], CancellationToken.None).ShouldBeTrue();
        wal.WaitFor([Segment, Missing], CancellationToken.None).ShouldBeFalse();
    }

    private static async Task<(WalArchive Archive, byte[] Content)> ArchiveAsync(ScratchFolder scratch)
    {
        FakeStorage storage = new();
        BackupRepository repository = (await RepositoryBuilder.CreateAsync(storage)).Repository;
        WalArchive archive = new(repository, "main", TimeProvider.System);
        WalBuilder builder = new(firstSegment: 3);
        builder.Append(10, 0, new byte[100]);
        byte[] content = builder.Segments()[0];
        string path = scratch.At(Segment);
        File.WriteAllBytes(path, content);
        await archive.PushAsync(path, isServersOwn: true);
        return (archive, content);
    }
}
