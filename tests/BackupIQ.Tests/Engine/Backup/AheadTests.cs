using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Sources.Files;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Backup;

/// <summary>A source that cannot choose when a file can be had, as what another program writes.</summary>
public sealed class AheadTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task FilesAreReadWhenTheyCanBeHadAndStandWhereTheyBelong(int workers)
    {
        for (int i = 0; i < 40; i++)
        {
            _scratch.WriteRandom($"source/folder {i % 3}/file {i:d3}", i % 10 == 0 ? 3 << 20 : 2000, i);
        }

        LocalBackend storage = LocalBackend.Create(_scratch.At("repository"), new LocalOptions(), TimeProvider.System);
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        await using BackupRepository repository = (await BackupRepository.CreateAsync(storage, options, TimeProvider.System, CancellationToken.None)).Repository;
        using BackwardSource source = new(_scratch.At("source"));
        using FileSource files = new(new FileSourceOptions { Paths = source.Paths });
        BackupResult result = await RunAsync(repository, source, workers);
        result.Summary.FilesNew.ShouldBe(40);
        result.Warnings.ShouldBe(0);
        BackupResult plain;
        BackupResult same;
        DateTime above;
        do
        {
            // The folders above stand in the tree as well, and others make theirs beside this one.
            above = Directory.GetLastWriteTimeUtc(Path.GetDirectoryName(_scratch.Path)!);
            plain = await RunAsync(repository, files, workers);
            using BackwardSource third = new(_scratch.At("source"));
            same = await RunAsync(repository, third, workers);
        }
        while (Directory.GetLastWriteTimeUtc(Path.GetDirectoryName(_scratch.Path)!) != above);
        same.Snapshot!.Tree.ShouldBe(plain.Snapshot!.Tree);

        // What was there before is told as changed, for it was read.
        using BackwardSource again = new(_scratch.At("source"));
        BackupResult second = await RunAsync(repository, again, workers);
        second.Summary.FilesChanged.ShouldBe(40);
        second.Summary.DataBlobs.ShouldBe(0);
    }

    private static Task<BackupResult> RunAsync(BackupRepository repository, IBackupSource source, int workers) => new BackupRunner(repository, TimeProvider.System, null).RunAsync(
        source, new BackupOptions { Hostname = "here", ReadConcurrency = workers }, new BackupProgress(), CancellationToken.None);

    /// <summary>The files of a folder; the last can be had first, and each of the others when the one behind it was read.</summary>
    private sealed class BackwardSource(string folder) : IBackupSource
    {
        private readonly FileSource _files = new(new FileSourceOptions { Paths = [Encoding.UTF8.GetBytes(folder)] });
        private readonly SemaphoreSlim _read = new(0);

        public string Kind => "backward";

        public IReadOnlyList<byte[]> Paths => _files.Paths;

        public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
        {
            SourceEvent[] events = [.. _files.Walk(cancellationToken)];
            foreach (SourceEvent file in events.Where(static one => one.Kind == SourceEventKind.Leaf).Reverse())
            {
                yield return file with { Kind = SourceEventKind.Ahead };
                _read.Wait(TimeSpan.FromSeconds(20), cancellationToken).ShouldBeTrue("a file was not read when it could be had");
            }

            foreach (SourceEvent one in events)
            {
                yield return one;
            }
        }

        public NodeMetadata Describe(SourceEntry entry) => _files.Describe(entry);

        public ISourceFile Open(SourceEntry entry) => new CountedFile(_files.Open(entry), _read);

        public void Dispose()
        {
            _files.Dispose();
            _read.Dispose();
        }
    }

    private sealed class CountedFile(ISourceFile inner, SemaphoreSlim closed) : ISourceFile
    {
        public bool IsSequential => inner.IsSequential;

        public SourceStat Opened => inner.Opened;

        public SourceStat Stat() => inner.Stat();

        public NodeMetadata Describe() => inner.Describe();

        public int Read(Span<byte> destination, long offset) => inner.Read(destination, offset);

        public bool NextData(long offset, long fileEnd, out long dataOffset, out long dataLength) => inner.NextData(offset, fileEnd, out dataOffset, out dataLength);

        public void Dispose()
        {
            inner.Dispose();
            closed.Release();
        }
    }
}
