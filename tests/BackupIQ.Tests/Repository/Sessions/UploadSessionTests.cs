using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Compression;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Repository.Sessions;

/// <summary>What a writer's session promises to collectors and gets from them (docs/format.md, Sessions).</summary>
public sealed class UploadSessionTests
{
    private static readonly byte[] Content = [.. Enumerable.Range(0, 5000).Select(static i => (byte)(i * 7))];

    private readonly MemoryBackend _memory = new(TimeProvider.System);

    [Fact]
    public async Task ACommittedSessionIsOver()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        SessionId session = await StoreAsync(repository);
        (await NamesAsync("l/")).ShouldBe([$"l/{session}.end", $"l/{session}.open"]);
    }

    [Fact]
    public async Task ASessionThatIsGivenUpEndsToo()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        UploadSession session = await OpenAsync(repository);
        SessionId id = session.Id;
        await session.DisposeAsync();
        (await NamesAsync("l/")).ShouldBe([$"l/{id}.end", $"l/{id}.open"]);
    }

    [Theory]
    [InlineData("d/", FaultKind.FailBefore)]
    [InlineData("i/", FaultKind.FailAfter)]
    [InlineData("s/", FaultKind.FailAfter)]
    public async Task ASessionOfWhichAPutWasNotAnsweredDoesNotSayThatItIsOver(string prefix, FaultKind kind)
    {
        FaultyBackend faulty = new(_memory, TimeProvider.System);
        await using BackupRepository repository = await CreateAsync(faulty);
        faulty.Add(new Fault(StorageOperation.Put, prefix, kind));
        await Should.ThrowAsync<BackupIQException>(() => StoreAsync(repository));
        (await NamesAsync("l/")).ShouldHaveSingleItem().ShouldEndWith(".open");
    }

    [Fact]
    public async Task WhatAStorageTookBeforeItWasFullTheNextSessionFinds()
    {
        FaultyBackend faulty = new(_memory, TimeProvider.System);
        await using BackupRepository repository = await CreateAsync(faulty);
        UploadOptions options = new() { Hostname = "here", IndexEvery = long.MaxValue };
        await using (UploadSession session = await UploadSession.OpenAsync(repository, options, null, TimeProvider.System, default))
        {
            using FrameWriter writer = session.CreateWriter(PackKind.Data);
            writer.Write(Content, ContentHint.Unknown);
            writer.Flush();
            await session.Packs.FlushAsync();
            faulty.Add(new Fault(StorageOperation.Put, "d/", FaultKind.FailBefore) { Code = ErrorCodes.StorageFull });
            writer.Write([.. Content, 1], ContentHint.Unknown);
            writer.Flush();
            (await Should.ThrowAsync<BackupIQException>(() => session.FlushAsync(default))).Code.ShouldBe(ErrorCodes.StorageFull);
            (await NamesAsync("i/")).ShouldBeEmpty();
        }

        await using UploadSession next = await OpenAsync(repository);
        next.Has(PackKind.Data, Name(next)).ShouldBeTrue();
    }

    [Fact]
    public async Task AnEndThatCannotBePutDoesNotUndoTheCommit()
    {
        FaultyBackend faulty = new(_memory, TimeProvider.System);
        await using BackupRepository repository = await CreateAsync(faulty);
        faulty.Add(new Fault(StorageOperation.Put, "l/", FaultKind.FailBefore) { Skip = 1 });
        SessionId session = await StoreAsync(repository);
        (await NamesAsync("s/")).ShouldBe([$"s/{session}"]);
    }

    [Fact]
    public async Task WhatIsStoredIsNotStoredAgain()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        await StoreAsync(repository);
        await StoreAsync(repository);
        (await NamesAsync("d/")).Count.ShouldBe(1);
    }

    [Fact]
    public async Task SegmentsBecomeRarerAsASessionGrowsAndNameEverything()
    {
        // As many packs as a run of terabytes would have segments, were there one for each; each segment is a file that is mapped.
        const int Packs = 1500;
        await using BackupRepository repository = await CreateAsync(_memory);
        List<ChunkId> chunks = [];
        int afterTen = 0;
        UploadOptions options = new() { Hostname = "here", Compression = "off", PackSize = 4096, Connections = 1 };
        await using (UploadSession session = await UploadSession.OpenAsync(repository, options, null, TimeProvider.System, default))
        {
            using FrameWriter writer = session.CreateWriter(PackKind.Data);
            for (int i = 0; i < Packs; i++)
            {
                byte[] bytes = new byte[5000];
                new Random(i).NextBytes(bytes);
                chunks.Add(writer.Write(bytes, ContentHint.Incompressible));
                writer.Flush();
                afterTen = i == 10 ? (await NamesAsync("i/")).Count : afterTen;
            }

            await session.FlushAsync(default);
        }

        (await NamesAsync("d/")).Count.ShouldBeGreaterThan(Packs / 2);
        afterTen.ShouldBeGreaterThan(3, "at first each pack is named at once");
        (await NamesAsync("i/")).Count.ShouldBeInRange(64, 400);
        await using UploadSession next = await OpenAsync(repository, dryRun: true);
        chunks.ShouldAllBe(chunk => next.Has(PackKind.Data, chunk));
    }

    [Theory]
    [InlineData(16L << 10, 3)]
    [InlineData(null, 0)]
    public async Task OverALineSegmentsComeAsOftenAsWasAskedForAndElseRarely(long? atLatest, int atLeast)
    {
        await using BackupRepository repository = await CreateAsync(new LineBackend(_memory, TimeProvider.System));
        UploadOptions options = new() { Hostname = "here", Compression = "off", PackSize = 4096, Connections = 1, IndexAtLatest = atLatest };
        await using UploadSession session = await UploadSession.OpenAsync(repository, options, null, TimeProvider.System, default);
        using FrameWriter writer = session.CreateWriter(PackKind.Data);
        for (int i = 0; i < 20; i++)
        {
            byte[] bytes = new byte[5000];
            new Random(i).NextBytes(bytes);
            writer.Write(bytes, ContentHint.Incompressible);
            writer.Flush();
        }

        await session.Packs.FlushAsync();
        int segments = (await NamesAsync("i/")).Count;
        (atLeast == 0 ? segments == 0 : segments >= atLeast).ShouldBeTrue($"{segments} segments");
    }

    [Fact]
    public async Task WhatStandsInAMarkedPackIsStoredAgain()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        await StoreAsync(repository);
        string pack = (await NamesAsync("d/")).Single();
        await _memory.PutAsync(new StorageKey("g/" + pack[5..]), StorageContent.FromBytes("mark"u8.ToArray()), default);
        await StoreAsync(repository);
        (await NamesAsync("d/")).Count.ShouldBe(2);
    }

    [Fact]
    public async Task ASegmentWhoseSessionIsNotAnnouncedAnyMoreVouchesForNothingButCanBeRead()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        SessionId session = await StoreAsync(repository);
        await _memory.DeleteAsync(RepositoryLayout.SessionOpen(session), default);
        await using (UploadSession reader = await OpenAsync(repository, dryRun: true))
        {
            ChunkId id = Name(reader);
            reader.Has(PackKind.Data, id).ShouldBeFalse();
            using ChunkReader chunks = new(repository, reader.Index);
            chunks.Read(PackKind.Data, id).ToArray().ShouldBe(Content);
        }

        await StoreAsync(repository);
        (await NamesAsync("d/")).Count.ShouldBe(2);
    }

    [Fact]
    public async Task ASegmentThatIsCompactedAwayWhileTheIndexIsReadIsListedAgain()
    {
        Compacting compacting = new(_memory);
        await using BackupRepository repository = await CreateAsync(compacting);
        await StoreAsync(repository);
        compacting.Repository = repository;
        await StoreAsync(repository);
        compacting.Repository.ShouldBeNull("the segment was to vanish");
        (await NamesAsync("d/")).Count.ShouldBe(1);
    }

    [Fact]
    public async Task AReaderThatFindsAPackGoneListsAgain()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        await StoreAsync(repository);
        string pack = (await NamesAsync("d/")).Single();
        await using UploadSession reader = await OpenAsync(repository, dryRun: true);
        using ChunkReader chunks = new(repository, reader.Index);

        await _memory.PutAsync(new StorageKey("g/" + pack[5..]), StorageContent.FromBytes("mark"u8.ToArray()), default);
        await StoreAsync(repository);
        await _memory.DeleteAsync(new StorageKey(pack), default);
        chunks.Read(PackKind.Data, Name(reader)).ToArray().ShouldBe(Content);
    }

    [Fact]
    public async Task ADamagedSegmentMayHaveHeldTombstonesSoOnlyPacksThatAreThereAreBelieved()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        await StoreAsync(repository);
        await _memory.DeleteAsync(new StorageKey((await NamesAsync("d/")).Single()), default);
        await using (UploadSession session = await OpenAsync(repository, dryRun: true))
        {
            session.Has(PackKind.Data, Name(session)).ShouldBeTrue("without damage the index is believed");
        }

        await _memory.PutAsync(RepositoryLayout.Index(SessionId.New(), 1, 0), StorageContent.FromBytes(new byte[200]), default);
        await using (UploadSession session = await OpenAsync(repository, dryRun: true))
        {
            session.Findings.ShouldHaveSingleItem();
            session.Has(PackKind.Data, Name(session)).ShouldBeFalse();
        }
    }

    [Fact]
    public async Task AFencedSessionDoesNotCommit()
    {
        await using BackupRepository repository = await CreateAsync(_memory);
        await using (UploadSession session = await OpenAsync(repository))
        {
            StorageKey name = RepositoryLayout.Snapshot(session.Id);
            await _memory.PutAsync(name, StorageContent.FromBytes(SealedObject.Seal(repository.Keys, ObjectKind.Fence, name, [])), default);
            BackupIQException refused = await Should.ThrowAsync<BackupIQException>(() => session.CommitAsync("{}"u8.ToArray(), default));
            refused.Code.ShouldBe(ErrorCodes.SessionFenced);
        }

        (await NamesAsync("l/")).ShouldHaveSingleItem().ShouldEndWith(".open");
    }

    [Theory]
    [InlineData("s/")]
    [InlineData("a/")]
    public async Task WithoutConditionalPutAFenceIsMetBeforeAndAfterTheConfirmation(string after)
    {
        Unconditional storage = new(_memory, after);
        await using BackupRepository repository = await CreateAsync(storage);
        BackupIQException refused = await Should.ThrowAsync<BackupIQException>(() => StoreAsync(repository));
        refused.Code.ShouldBe(ErrorCodes.SessionFenced);
    }

    private static async Task<BackupRepository> CreateAsync(IStorageBackend storage)
    {
        CreateOptions options = new() { KeyFile = Secret.Random(32), RecoveryKit = false };
        return (await BackupRepository.CreateAsync(storage, options, TimeProvider.System, default)).Repository;
    }

    private static Task<UploadSession> OpenAsync(BackupRepository repository, bool dryRun = false) => UploadSession.OpenAsync(
        repository, new UploadOptions { Hostname = "here", DryRun = dryRun }, null, TimeProvider.System, default);

    private static async Task<SessionId> StoreAsync(BackupRepository repository)
    {
        await using UploadSession session = await OpenAsync(repository);
        using (FrameWriter writer = session.CreateWriter(PackKind.Data))
        {
            writer.Write(Content, ContentHint.Unknown);
            writer.Flush();
        }

        await session.CommitAsync("{}"u8.ToArray(), default);
        return session.Id;
    }

    private static ChunkId Name(UploadSession session)
    {
        using FrameWriter writer = session.CreateWriter(PackKind.Data);
        return writer.IdOf(Content);
    }

    private async Task<IReadOnlyList<string>> NamesAsync(string prefix)
    {
        List<string> names = [];
        await foreach (StoredObject stored in _memory.ListAsync(prefix, default))
        {
            names.Add(stored.Key.Value);
        }

        names.Sort(StringComparer.Ordinal);
        return names;
    }

    /// <summary>Once there is a repository: just before a segment is looked at, it goes, and its content stands in another.</summary>
    private sealed class Compacting(IStorageBackend inner) : DelegatingBackend(inner)
    {
        public BackupRepository? Repository { get; set; }

        public override async ValueTask<StoredObject?> StatAsync(StorageKey key, CancellationToken cancellationToken)
        {
            if (Repository is { } repository && RepositoryLayout.TryParseIndex(key, out SessionId session, out _, out _))
            {
                Repository = null;
                byte[] plain = await repository.ReadObjectAsync(ObjectKind.Index, key, cancellationToken);
                StorageKey compacted = RepositoryLayout.Index(session, 1, 0);
                await Inner.PutAsync(
                    compacted, StorageContent.FromBytes(SealedObject.Seal(repository.Keys, ObjectKind.Index, compacted, plain)), cancellationToken);
                await Inner.DeleteAsync(key, cancellationToken);
            }

            return await Inner.StatAsync(key, cancellationToken);
        }
    }

    /// <summary>A store without conditional put, on which a collector fences a session as soon as something of it is put.</summary>
    private sealed class Unconditional(IStorageBackend inner, string fencedAfter) : DelegatingBackend(inner)
    {
        public override StorageCapabilities Capabilities => base.Capabilities with { ConditionalPut = false };

        public override async ValueTask<PutOutcome> PutAsync(StorageKey key, StorageContent content, CancellationToken cancellationToken)
        {
            PutOutcome outcome = await Inner.PutAsync(key, content, cancellationToken);
            if (key.Value.StartsWith(fencedAfter, StringComparison.Ordinal) && SessionId.TryParse(key.Value.AsSpan(2, 32), out SessionId session))
            {
                await Inner.PutAsync(RepositoryLayout.Fence(session), StorageContent.FromBytes("fence"u8.ToArray()), cancellationToken);
            }

            return outcome;
        }
    }
}
