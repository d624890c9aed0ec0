using System.Runtime.InteropServices;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Reading;

/// <summary>Random access to files of snapshots.</summary>
public sealed class SnapshotFileTests : IAsyncDisposable
{
    private readonly BackedUpFolder _folder = new();
    private Snapshot _snapshot = null!;
    private ChunkIndex? _index;

    public ValueTask DisposeAsync()
    {
        _index?.Dispose();
        return _folder.DisposeAsync();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    [InlineData(70_000)]
    [InlineData(9_000_000)]
    public async Task ReadsAtRandomOffsetsGiveWhatTheFileHas(int length)
    {
        byte[] content = _folder.WriteRandom("file", length, seed: length);
        using SnapshotReader reader = await BackUpAndOpenAsync();
        SnapshotFile file = Open(reader, "file");

        file.Length.ShouldBe(length);
        await ReadsAreRightAsync(file, content, seed: 7, reads: 300);
        (await file.ReadAsync(length, new byte[10], CancellationToken.None)).ShouldBe(0);
        (await file.ReadAsync(long.MaxValue - 5, new byte[10], CancellationToken.None)).ShouldBe(0);
    }

    [Fact]
    public async Task HolesReadAsZerosAndAListOfThousandsOfChunksIsFollowed()
    {
        byte[] content = MakeSparse("sparse", runs: 6000);
        using SnapshotReader reader = await BackUpAndOpenAsync();
        SnapshotFile file = Open(reader, "sparse");

        file.Length.ShouldBe(content.Length);
        await ReadsAreRightAsync(file, content, seed: 8, reads: 2000);
        MemoryStream whole = new();
        await file.CopyToAsync(0, file.Length, whole, CancellationToken.None);
        whole.GetBuffer().AsSpan(0, (int)whole.Length).SequenceEqual(content).ShouldBeTrue();
    }

    [Fact]
    public async Task ManyReadersAtOnceStayWithinTheBudget()
    {
        byte[][] contents = [.. Enumerable.Range(0, 6).Select(i => _folder.WriteRandom($"file {i}", 12_000_000, seed: i))];
        const long budget = 16 << 20;
        using SnapshotReader reader = await BackUpAndOpenAsync(new ReadingOptions { MemoryBudget = budget, Concurrency = 4 });
        SnapshotFile[] files = [.. contents.Select((_, i) => Open(reader, $"file {i}"))];

        long most = 0;
        await Task.WhenAll(Enumerable.Range(0, 12).Select(reading => Task.Run(async () =>
        {
            for (int round = 0; round < 10; round++)
            {
                await ReadsAreRightAsync(files[reading % 6], contents[reading % 6], seed: (reading * 100) + round, reads: 10);
                InterlockedMax(ref most, reader.HeldBytes);
            }
        })));

        // Each of the readers and of the four who fetch may hold a frame beyond it.
        most.ShouldBeLessThan(budget + (16 * (4L << 20)));
        reader.HeldBytes.ShouldBeLessThanOrEqualTo(budget);
    }

    [Fact]
    public async Task ASequentialReaderFindsWhatComesNextFetchedAlready()
    {
        byte[] content = _folder.WriteRandom("file", 24_000_000, seed: 3);
        using SnapshotReader reader = await BackUpAndOpenAsync();
        SnapshotFile file = Open(reader, "file");
        _folder.Storage.Clear();

        byte[] part = new byte[1 << 20];
        for (int i = 0; i < 3; i++)
        {
            (await file.ReadAsync((long)i << 20, part, CancellationToken.None)).ShouldBe(part.Length);
            part.SequenceEqual(content.AsSpan(i << 20, 1 << 20).ToArray()).ShouldBeTrue();
        }

        // 3 MB were asked for; the reader is ahead by more.
        SpinWait.SpinUntil(() => _folder.Storage.Bytes(BackupIQ.Storage.StorageOperation.Read, "d/") > 10 << 20, TimeSpan.FromSeconds(20)).ShouldBeTrue();
    }

    [Fact]
    public async Task ADamagedChunkIsNeverGivenAndTheRestIs()
    {
        byte[] content = _folder.WriteRandom("file", 12_000_000, seed: 5);
        using SnapshotReader reader = await BackUpAndOpenAsync();
        string pack = Directory.GetFiles(Path.Combine(_folder.RepositoryPath, "d"), "*", SearchOption.AllDirectories).OrderByDescending(static path => new FileInfo(path).Length).First();
        ScratchFolder.Run("chmod", "0600", pack);
        using (FileStream stream = File.OpenWrite(pack))
        {
            stream.Position = 6_000_000;
            stream.WriteByte((byte)~content[0]);
            stream.WriteByte(0x55);
        }

        SnapshotFile file = Open(reader, "file");
        int damaged = 0;
        byte[] part = new byte[64 << 10];
        for (int offset = 0; offset < content.Length; offset += part.Length)
        {
            try
            {
                int read = await file.ReadAsync(offset, part, CancellationToken.None);
                part.AsSpan(0, read).SequenceEqual(content.AsSpan(offset, read)).ShouldBeTrue($"at {offset}");
            }
            catch (BackupIQException e) when (e.Code == ErrorCodes.CorruptData)
            {
                damaged++;
            }
        }

        damaged.ShouldBeInRange(1, 4 << 20 >> 16);
    }

    private static void InterlockedMax(ref long most, long value)
    {
        long seen = Volatile.Read(ref most);
        while (value > seen && Interlocked.CompareExchange(ref most, value, seen) != seen)
        {
            seen = Volatile.Read(ref most);
        }
    }

    private static async Task ReadsAreRightAsync(SnapshotFile file, byte[] content, int seed, int reads)
    {
        Random random = new(seed);
        for (int i = 0; i < reads; i++)
        {
            int offset = random.Next(0, content.Length + 1);
            byte[] part = new byte[random.Next(1, i % 10 == 0 ? 3_000_000 : 100_000)];
            int read = await file.ReadAsync(offset, part, CancellationToken.None);
            read.ShouldBe(Math.Min(part.Length, content.Length - offset));
            part.AsSpan(0, read).SequenceEqual(content.AsSpan(offset, read)).ShouldBeTrue($"seed {seed}, {read} bytes at {offset}");
        }
    }

    // Runs of 4 KiB of data, each behind a hole of as much, and a hole at the end.
    private byte[] MakeSparse(string name, int runs)
    {
        byte[] content = new byte[(runs * 8192) + 12_345];
        Random random = new(1);
        using FileStream stream = File.Create(_folder.In(name));
        for (int i = 0; i < runs; i++)
        {
            Span<byte> run = content.AsSpan((i * 8192) + 4096, 4096);
            random.NextBytes(run);
            MemoryMarshal.AsRef<int>(run) = i + 1;
            stream.Position = (i * 8192) + 4096;
            stream.Write(run);
        }

        stream.SetLength(content.Length);
        return content;
    }

    private async Task<SnapshotReader> BackUpAndOpenAsync(ReadingOptions? options = null)
    {
        _snapshot = await _folder.BackupAsync();
        _index = await _folder.IndexAsync();
        return new SnapshotReader(await _folder.RepositoryAsync(), _index, options ?? new ReadingOptions(), notice => throw new InvalidOperationException(notice));
    }

    private SnapshotFile Open(SnapshotReader reader, string name)
    {
        (Node? node, _) = SnapshotPath.Find(reader.Trees, _snapshot, PathText.Bytes(_folder.In(name)));
        return reader.OpenFile(node!);
    }
}
