using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Packs;
using BackupIQ.Sources.Files.Patterns;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Restore;

/// <summary>What a restore over a line asks for.</summary>
public sealed class RestoreRequestsTests : IAsyncLifetime
{
    private const int Files = 24;

    private RecordingBackend _line = null!;
    private RealRepository _repository = null!;

    public async ValueTask InitializeAsync() =>
        _repository = await RealRepository.CreateAsync(disk => _line = new RecordingBackend(new LineBackend(disk, TimeProvider.System)));

    public ValueTask DisposeAsync() => _repository.DisposeAsync();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task FetchesLittleMoreThanTheFramesThatHoldWhatIsNeeded(bool everything)
    {
        // What is needed lies in frames of some 700 KB, and between them such of some 40 KB that are not needed: near enough for one request, too much to be wasted.
        Random random = new(7);
        for (int i = 0; i < Files; i++)
        {
            byte[] content = new byte[700_000];
            random.NextBytes(content);
            for (int at = 0; i % 2 != 0 && at < content.Length; at += 100)
            {
                content.AsSpan(at, 96).Clear();
            }

            _repository.Scratch.Write($"source/{i:d2}.{(i % 2 == 0 ? "needed" : "other")}", content);
        }

        string source = _repository.Scratch.At("source");
        Snapshot snapshot = (await _repository.BackupAsync(source, new BackupOptions { Hostname = "here", ReadConcurrency = 1 })).Snapshot!;
        string[] files = [.. Directory.EnumerateFiles(source).Where(file => everything || file.EndsWith(".needed", StringComparison.Ordinal))];
        long needed = await FramesOfAsync(snapshot, files);
        PatternList other = new(["*.other"u8.ToArray()], ignoreCase: false, "test");
        RestoreOptions options = new() { Filter = everything ? null : (path, _) => other.Matches(path) ? new FilterVerdict(false, false) : new FilterVerdict(true, true) };
        _line.Clear();
        RestoreResult result = await _repository.RestoreAsync(snapshot, _repository.Scratch.At("target"), options: options);
        result.ExitCode.ShouldBe(0);
        result.BytesRestored.ShouldBe(700_000L * files.Length);
        _line.Bytes(StorageOperation.Read, "d/").ShouldBeInRange(needed, (long)(needed * 1.05));
        if (everything)
        {
            // 4 MiB each, but for the last of a pack.
            _line.Count(StorageOperation.Read, "d/").ShouldBeLessThanOrEqualTo((int)(needed / (3 << 20)) + (_repository.Objects("d/").Length * 2));
        }
    }

    // The stored size of the frames that hold any chunk of the files.
    private async Task<long> FramesOfAsync(Snapshot snapshot, IEnumerable<string> files)
    {
        using ChunkIndex index = (await IndexLoader.LoadAsync(_repository.Repository, null, TestContext.Current.CancellationToken)).Index;
        using SnapshotReader reader = new(_repository.Repository, index, new ReadingOptions(), static _ => { });
        return files
            .SelectMany(file => SnapshotPath.Find(reader.Trees, snapshot, PathText.Bytes(file)).Node!.Content!.Chunks)
            .Select(chunk => index.TryFind(PackKind.Data, chunk.Id, out ChunkLocation location) ? index.GetFrame(location.Frame) : throw new InvalidOperationException("A chunk is not in the index."))
            .DistinctBy(static frame => (frame.Pack, frame.Offset))
            .Sum(static frame => (long)frame.StoredLength);
    }
}
