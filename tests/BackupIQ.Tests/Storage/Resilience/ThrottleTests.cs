using BackupIQ.Primitives;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Storage.Resilience;
using BackupIQ.Testing;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage.Resilience;

public sealed class ThrottleTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly SteppedTime _time = new();
    private readonly byte[] _bytes = new byte[1 << 20];

    public ThrottleTests() => new Random(1).NextBytes(_bytes);

    public void Dispose() => _scratch.Dispose();

    [Theory]
    [InlineData("local")]
    [InlineData("line")]
    public async Task PutsOfManyTogetherStayBelowTheRate(string kind)
    {
        await using ThrottleBackend storage = new(Make(kind), 256 << 10, 0, _time);
        DateTimeOffset began = _time.GetUtcNow();
        await _time.RunAsync(Task.WhenAll(Enumerable.Range(0, 4).Select(async i =>
        {
            string file = Path.Combine(storage.SpoolFolder ?? _scratch.Path, $"{i}");
            await File.WriteAllBytesAsync(file, _bytes);
            StorageContent content = i % 2 == 0 ? StorageContent.FromFile(file) : StorageContent.FromBytes(_bytes);
            (await storage.PutAsync(new StorageKey($"d/{i}"), content, CancellationToken.None)).ShouldBe(PutOutcome.Stored);
        })));

        // 4 MiB at a quarter of one a second.
        (_time.GetUtcNow() - began).TotalSeconds.ShouldBe(16, 0.2);
    }

    [Fact]
    public async Task ReadsOfManyTogetherStayBelowTheRateAndComeBackWhole()
    {
        await using ThrottleBackend storage = new(Make("local"), 0, 512 << 10, _time);
        await storage.PutAsync(new StorageKey("d/1"), StorageContent.FromBytes(_bytes), CancellationToken.None);
        DateTimeOffset began = _time.GetUtcNow();
        await _time.RunAsync(Task.WhenAll(Enumerable.Range(0, 8).Select(async i =>
        {
            byte[] read = new byte[128 << 10];
            (await storage.ReadAsync(new StorageKey("d/1"), i * read.Length, read, CancellationToken.None)).ShouldBe(read.Length);
            read.AsSpan().SequenceEqual(_bytes.AsSpan(i * read.Length, read.Length)).ShouldBeTrue();
        })));
        (_time.GetUtcNow() - began).TotalSeconds.ShouldBe(2, 0.1);
    }

    [Theory]
    [InlineData("local")]
    [InlineData("line")]
    public async Task WhoWaitsCanCancelAndAFileIsTakenCareOf(string kind)
    {
        await using ThrottleBackend storage = new(Make(kind), 1, 1, _time);
        string file = Path.Combine(storage.SpoolFolder ?? _scratch.Path, "pack");
        await File.WriteAllBytesAsync(file, _bytes);
        using CancellationTokenSource stop = new();
        Task put = storage.PutAsync(new StorageKey("d/1"), StorageContent.FromFile(file), stop.Token).AsTask();
        await SteppedTime.UntilAsync(() => _time.NextTimer is not null);
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => put);
        File.Exists(file).ShouldBeFalse();
        (await storage.StatAsync(new StorageKey("d/1"), CancellationToken.None)).ShouldBeNull();
    }

    [Fact]
    public async Task WhatIsSentAgainCountsAgainAndASlowRateIsNoTimeOut()
    {
        using StorageRegistry registry = new(_time);
        LineBackend line = new(new MemoryBackend(_time), _time);
        int slices = 0;
        line.OnMove = (operation, _, _) => operation == StorageOperation.Put && ++slices == 33 ? throw new StorageException(ErrorCodes.StorageConnection, "Reset.") : ValueTask.CompletedTask;
        ResilienceOptions options = new() { Upload = 4096, LongestSilence = TimeSpan.FromSeconds(20), Random = static () => 0 };
        IStorageBackend storage = StorageStack.Wrap(line, "line", options, registry, _time);
        DateTimeOffset began = _time.GetUtcNow();
        await _time.RunAsync(storage.PutAsync(new StorageKey("d/1"), StorageContent.FromBytes(_bytes), CancellationToken.None).AsTask());

        // Half of it, then all of it.
        (_time.GetUtcNow() - began).TotalSeconds.ShouldBe(384, 2);
        registry.Report().ShouldHaveSingleItem().Retries.ShouldBe(1);
    }

    [Fact]
    public void LocalStorageIsOnlyThrottledAndWithoutALimitStaysWhatItIs()
    {
        using StorageRegistry registry = new(_time);
        IStorageBackend local = Make("local");
        StorageStack.Wrap(local, "local", new ResilienceOptions(), registry, _time).ShouldBeSameAs(local);
        StorageStack.Wrap(local, "local", new ResilienceOptions { Download = 5 }, registry, _time).ShouldBeOfType<ThrottleBackend>();
        registry.Report().ShouldBeEmpty();
    }

    private IStorageBackend Make(string kind) => kind == "line"
        ? new LineBackend(new MemoryBackend(_time), _time)
        : LocalBackend.Create(Path.Combine(_scratch.Path, "storage"), new LocalOptions(), _time);
}
