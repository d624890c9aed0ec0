using System.Text;
using System.Text.Json;
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

/// <summary>A source that can tell some of its entries only when all others are read, as a database does.</summary>
public sealed class LastPartTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();

    public void Dispose() => _scratch.Dispose();

    [Theory]
    [InlineData(1)]
    [InlineData(4)]
    public async Task WhatComesLastIsAskedForWhenAllElseIsRead(int workers)
    {
        for (int i = 0; i < 300; i++)
        {
            _scratch.WriteRandom($"source/folder {i % 3}/file {i:d3}", i % 50 == 0 ? 3 << 20 : 2000, i);
        }

        await using BackupRepository repository = await CreateAsync();
        using LateSource source = new(_scratch.At("source"));
        BackupResult result = await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            source, new BackupOptions { Hostname = "here", ReadConcurrency = workers }, new BackupProgress(), CancellationToken.None);
        source.ReadBefore.ShouldBe(299);
        result.Summary.FilesNew.ShouldBe(300);
        (await new SnapshotStore(repository).ListAsync(CancellationToken.None)).Single().Db!.Value.GetProperty("read_before").GetInt32().ShouldBe(299);
    }

    [Fact]
    public async Task AFailureOfTheLastPartCommitsNothing()
    {
        _scratch.WriteRandom("source/one", 2000, 1);
        await using BackupRepository repository = await CreateAsync();
        using LateSource source = new(_scratch.At("source")) { Failure = new BackupIQException(ErrorCodes.SourceServer, "The server is gone.") };
        BackupIQException failure = await Should.ThrowAsync<BackupIQException>(() => new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            source, new BackupOptions { Hostname = "here" }, new BackupProgress(), CancellationToken.None));
        failure.Code.ShouldBe(ErrorCodes.SourceServer);
        (await new SnapshotStore(repository).ListAsync(CancellationToken.None)).ShouldBeEmpty();
    }

    [Fact]
    public async Task WhatASourceDoesWithoutIsLeftOutAndNotTold()
    {
        _scratch.WriteRandom("source/here", 2000, 1);
        _scratch.WriteRandom("source/vanished", 2000, 2);
        _scratch.WriteRandom("source/zlast", 2000, 3);
        await using BackupRepository repository = await CreateAsync();
        using LateSource source = new(_scratch.At("source")) { Vanished = "vanished" };
        BackupResult result = await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            source, new BackupOptions { Hostname = "here" }, new BackupProgress(), CancellationToken.None);
        result.Warnings.ShouldBe(0);
        result.Summary.FilesNew.ShouldBe(2);
    }

    private async Task<BackupRepository> CreateAsync()
    {
        LocalBackend storage = LocalBackend.Create(_scratch.At("repository"), new LocalOptions(), TimeProvider.System);
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        return (await BackupRepository.CreateAsync(storage, options, TimeProvider.System, CancellationToken.None)).Repository;
    }

    /// <summary>The files of a folder, the last of them only when the others are read.</summary>
    private sealed class LateSource(string folder) : IBackupSource
    {
        private readonly FileSource _files = new(new FileSourceOptions { Paths = [Encoding.UTF8.GetBytes(folder)] });
        private List<SourceEvent> _events = [];
        private int _last;
        private int _closed;

        public BackupIQException? Failure { get; init; }

        public string? Vanished { get; init; }

        public int ReadBefore { get; private set; }

        public string Kind => "late";

        public IReadOnlyList<byte[]> Paths => _files.Paths;

        public JsonElement? Document => JsonDocument.Parse($$"""{"read_before":{{ReadBefore}}}""").RootElement;

        public IEnumerable<SourceEvent> Walk(CancellationToken cancellationToken)
        {
            _events = [.. _files.Walk(cancellationToken)];
            _last = _events.FindLastIndex(static one => one.Kind == SourceEventKind.Leaf);
            return _events.Take(_last);
        }

        public bool HasLastPart => true;

        public IEnumerable<SourceEvent> WalkLast(CancellationToken cancellationToken)
        {
            ReadBefore = Volatile.Read(ref _closed);
            return Failure is null ? _events.Skip(_last) : throw Failure;
        }

        public NodeMetadata Describe(SourceEntry entry) => _files.Describe(entry);

        public ISourceFile Open(SourceEntry entry) => Encoding.UTF8.GetString(entry.Name) == Vanished
            ? throw new SourceItemException(ErrorCodes.SourceNotFound, entry.FullPath(), "it is gone") { IsExpected = true }
            : new CountedFile(_files.Open(entry), () => Interlocked.Increment(ref _closed));

        public void Dispose() => _files.Dispose();
    }

    private sealed class CountedFile(ISourceFile inner, Action onClose) : ISourceFile
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
            onClose();
        }
    }
}
