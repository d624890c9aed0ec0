using System.Diagnostics;
using BackupIQ.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

public sealed class DownloadLimitBackendTests
{
    [Fact]
    public async Task ReadsOfManyTogetherStayBelowTheRateAndComeBackWhole()
    {
        await using DownloadLimitBackend storage = new(new MemoryBackend(TimeProvider.System), 4 << 20, TimeProvider.System);
        byte[] content = new byte[256 << 10];
        new Random(1).NextBytes(content);
        StorageKey key = new("d/object");
        await storage.PutAsync(key, StorageContent.FromBytes(content), CancellationToken.None);

        long started = Stopwatch.GetTimestamp();
        byte[][] read = await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            byte[] bytes = new byte[content.Length];
            (await storage.ReadAsync(key, 0, bytes, CancellationToken.None)).ShouldBe(bytes.Length);
            return bytes;
        }));

        // 2 MiB at 4 MiB a second.
        Stopwatch.GetElapsedTime(started).TotalSeconds.ShouldBeInRange(0.45, 5);
        read.ShouldAllBe(bytes => bytes.SequenceEqual(content));
    }

    [Fact]
    public async Task AReadThatWaitsCanBeCancelled()
    {
        await using DownloadLimitBackend storage = new(new MemoryBackend(TimeProvider.System), 1, TimeProvider.System);
        StorageKey key = new("d/object");
        await storage.PutAsync(key, StorageContent.FromBytes(new byte[1000]), CancellationToken.None);
        using CancellationTokenSource stop = new(TimeSpan.FromMilliseconds(50));

        await Should.ThrowAsync<OperationCanceledException>(async () => await storage.ReadAsync(key, 0, new byte[1000], stop.Token));
    }
}
