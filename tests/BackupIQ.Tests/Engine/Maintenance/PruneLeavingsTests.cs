using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance.Repair;
using BackupIQ.Repository.Packs;
using BackupIQ.Repository.Sessions;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Maintenance;

/// <summary>What a prune does beside packs: index, tombstones, sessions, partial snapshots, parity; and what it never touches.</summary>
public sealed class PruneLeavingsTests : IAsyncLifetime
{
    private PruneScene _scene = null!;

    private BackupRepository Repository => _scene.Real.Repository;

    public async ValueTask InitializeAsync() => _scene = await PruneScene.CreateAsync();

    public ValueTask DisposeAsync() => _scene.DisposeAsync();

    [Fact]
    public async Task ManySmallIndexSegmentsBecomeOneThatSaysTheSame()
    {
        Snapshot last = await BackupsAsync(8);
        string[] before = _scene.Real.Objects("i/");
        before.Length.ShouldBeGreaterThanOrEqualTo(16);
        (string, string)[] said = await EntriesAsync();
        await _scene.PruneAsync();
        string[] after = _scene.Real.Objects("i/");
        after.Length.ShouldBe(1);
        RepositoryLayout.TryParseIndex(new StorageKey(_scene.Real.NameOf(after[0])), out _, out int level, out _).ShouldBeTrue();
        level.ShouldBe(1);
        (await EntriesAsync()).ShouldBe(said);
        await _scene.ShouldRestoreAsync(last);
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task WhileSomebodyIsAtWorkTheOldSegmentsStayBesideTheNewOne()
    {
        await BackupsAsync(8);
        string[] before = _scene.Real.Objects("i/");
        await using (await _scene.OpenWriterAsync())
        {
            await _scene.PruneAsync();
            string[] both = _scene.Real.Objects("i/");
            before.ShouldBeSubsetOf(both);
            both.Length.ShouldBe(before.Length + 1);
        }

        await _scene.PruneAsync();
        _scene.Real.Objects("i/").Length.ShouldBe(1);
    }

    [Fact]
    public async Task ACompactedSegmentThatIsNotWhatWasWrittenStopsThePruneAndTheOldOnesStay()
    {
        await BackupsAsync(8);
        string[] before = _scene.Real.Objects("i/");
        _scene.Storage.Add(new BackupIQ.Testing.Storage.Fault(BackupIQ.Storage.StorageOperation.Put, "i/", BackupIQ.Testing.Storage.FaultKind.FailBefore));
        await Should.ThrowAsync<StorageException>(() => _scene.PruneAsync());
        before.ShouldBeSubsetOf(_scene.Real.Objects("i/"));
        _scene.Storage.Heal();
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task ADeletedPackHasATombstoneUntilNobodyIsLeftWhoCouldNameIt()
    {
        _scene.WriteFiles(3, seed: 1);
        Snapshot first = await _scene.BackupAsync();
        PackId[] old = PacksOf(_scene.Packs());
        _scene.WriteFiles(3, seed: 2);
        Snapshot second = await _scene.BackupAsync();
        await _scene.ForgetAsync(first);
        await _scene.PruneAsync();
        (await TombstonesAsync()).ShouldBe(old, ignoreOrder: true);

        // A segment that arrives late, of a session that was given up, names what is gone.
        byte[] late = await SegmentOfAsync(old[0]);
        StorageKey name = RepositoryLayout.Index(await _scene.AnnounceDeadAsync(SessionPurpose.Backup), 0, 0);
        await PutAsync(name, ObjectKind.Index, late);
        await using (UploadSession writer = await _scene.OpenWriterAsync())
        {
            writer.Index.MarkedPacks.ShouldContain(old[0]);
        }

        // Its session is swept with all that it named; after that the names can come up no more, and later prunes drop the tombstones.
        for (int i = 0; i < 12; i++)
        {
            _scene.WriteFiles(1, seed: 10 + i);
            Snapshot next = await _scene.BackupAsync();
            await _scene.ForgetAsync(second);
            second = next;
            await _scene.PruneAsync();
        }

        _scene.Real.Objects(name.Value).ShouldBeEmpty();
        (await TombstonesAsync()).ShouldNotContain(old[0]);
        (await TombstonesAsync()).Count.ShouldBeLessThan(24);
        await _scene.ShouldRestoreAsync(second);
        await _scene.ShouldBeCleanAsync();
    }

    [Fact]
    public async Task APackThatComesBackAfterItsSessionWasSweptIsNoHelpToAnybodyAndGoesAgain()
    {
        _scene.WriteFiles(3, seed: 1);
        Snapshot kept = await _scene.BackupAsync();
        SessionId swept = SessionId.New();
        byte[] bytes = File.ReadAllBytes(_scene.Real.Objects("d/").First());
        bytes[8] ^= 1;
        byte[] content = [.. bytes];
        PackId id = NameOf(content);
        await _scene.PutAsync(RepositoryLayout.Pack(PackKind.Data, id).Value, content);
        await PutAsync(RepositoryLayout.Index(swept, 0, 0), ObjectKind.Index, await SegmentOfAsync(id));
        await using (UploadSession writer = await _scene.OpenWriterAsync())
        {
            writer.Index.IsPresent(PackKind.Data, new ChunkId(77, 0)).ShouldBeFalse("nobody vouches for that segment");
        }

        await _scene.PruneAsync();
        _scene.Packs().ShouldAllBe(p => !p.EndsWith(id.ToString()));
        await _scene.PruneAsync();
        _scene.Real.Objects($"i/{swept}").ShouldBeEmpty();
        await _scene.ShouldRestoreAsync(kept);
    }

    [Fact]
    public async Task SessionsThatAreOverAndNameNothingAreSwept()
    {
        await BackupsAsync(8);
        await _scene.PruneAsync();
        string[] open = [.. _scene.Real.Objects("l/").Where(static l => l.EndsWith(".open"))];
        open.Length.ShouldBe(1, "the prune that wrote the one segment vouches for it");
        _scene.Real.Objects("i/").ShouldHaveSingleItem().ShouldContain(Path.GetFileNameWithoutExtension(open[0]));
    }

    [Fact]
    public async Task PartialSnapshotsGoWhenSomethingNewerIsComplete()
    {
        _scene.WriteFiles(4, seed: 1);
        SessionId interrupted;
        await using (UploadSession session = await _scene.OpenWriterAsync())
        {
            interrupted = session.Id;
            await session.PutPartialAsync(Partial("here", daysAgo: 1), default);
            await session.PutPartialAsync(Partial("here", daysAgo: 1), default);
            await session.PutPartialAsync(Partial("elsewhere", daysAgo: 1), default);
        }

        await _scene.PruneAsync();
        _scene.Real.Objects("sp/").ShouldHaveSingleItem().ShouldEndWith($"{interrupted}.2");
        await using (UploadSession session = await _scene.OpenWriterAsync())
        {
            await session.PutPartialAsync(Partial("here", daysAgo: 1), default);
        }

        await _scene.BackupAsync();
        await _scene.PruneAsync();
        _scene.Real.Objects("sp/").ShouldHaveSingleItem().ShouldEndWith($"{interrupted}.2");
    }

    [Fact]
    public async Task WhatAPartialSnapshotNeedsIsKeptForTheNextRun()
    {
        _scene.WriteFiles(4, seed: 1);
        using CancellationTokenSource stop = new();
        BackupProgress progress = new() { OnItem = (_, _, _) => stop.Cancel() };
        await Should.ThrowAsync<OperationCanceledException>(() => _scene.Real.BackupAsync(_scene.Source, new BackupOptions { Hostname = "here" }, progress, stop.Token));
        _scene.Real.Objects("sp/").ShouldNotBeEmpty();
        string[] before = _scene.Packs();
        before.ShouldNotBeEmpty();
        await _scene.PruneAsync();
        before.ShouldAllBe(static p => File.Exists(p));
    }

    [Fact]
    public async Task WhatThisVersionDoesNotKnowIsNeverTouched()
    {
        Snapshot last = await BackupsAsync(8);
        string[] foreign = ["d/ab/not-a-pack", "i/not-a-segment", "l/not-a-session", "l/0123456789abcdef0123456789abcdef.news", "sp/not-a-partial", "g/not-a-mark", "z/anything", "w/series/0/1-2", "x/facts"];
        foreach (string name in foreign)
        {
            await _scene.PutAsync(name, "of another version"u8.ToArray());
        }

        await _scene.PruneAsync();
        await _scene.PruneAsync(exclusive: true);
        foreign.ShouldAllBe(name => File.Exists(Path.Combine(_scene.Real.Folder, name)));
        await _scene.ShouldRestoreAsync(last);
    }

    [Fact]
    public async Task ParityOfWhatGoesGoesToo()
    {
        _scene.WriteFiles(3, seed: 1);
        Snapshot first = await _scene.BackupAsync();
        string[] old = [.. _scene.Packs().Select(_scene.Real.NameOf)];
        _scene.WriteFiles(3, seed: 2);
        await _scene.BackupAsync();
        foreach (string pack in _scene.Packs().Select(_scene.Real.NameOf))
        {
            await _scene.PutAsync($"e/{pack}.3", "parity"u8.ToArray());
        }

        await _scene.ForgetAsync(first);
        await _scene.PruneAsync();
        string[] left = [.. _scene.Real.Objects("e/").Select(_scene.Real.NameOf)];
        left.ShouldBe(_scene.Packs().Select(p => $"e/{_scene.Real.NameOf(p)}.3"), ignoreOrder: true);
        old.ShouldAllBe(pack => !left.Contains($"e/{pack}.3"));
    }

    [Fact]
    public async Task AnIndexThatIsRepairedKeepsWhatItsLostTombstonesSaid()
    {
        _scene.WriteFiles(3, seed: 1);
        Snapshot first = await _scene.BackupAsync();
        PackId[] gone = PacksOf(_scene.Packs());
        _scene.WriteFiles(3, seed: 2);
        await _scene.BackupAsync();
        await _scene.ForgetAsync(first);
        await using (LiveSession reader = await LiveSession.OpenAsync(
            Repository, LiveSession.Describe(SessionPurpose.Restore, "here", "", "", TimeProvider.System), TimeProvider.System, default))
        {
            // A prune that cannot sweep: the old segments still name what is gone.
            Task prune = Task.Run(() => _scene.PruneAsync(lease: TimeSpan.Zero));
            await prune;
        }

        string tombstones = _scene.Real.Objects("i/").Single(static i => Path.GetFileName(i).Split('.')[1] == "1");
        byte[] bytes = File.ReadAllBytes(tombstones);
        bytes[^1] ^= 1;
        File.WriteAllBytes(tombstones, bytes);
        await IndexRepair.RunAsync(Repository, new UploadOptions { Purpose = SessionPurpose.Repair, Hostname = "here" }, TimeProvider.System, default);
        File.Exists(tombstones).ShouldBeFalse();
        IndexLoad load = await IndexLoader.LoadAsync(Repository, null, default);
        using ChunkIndex index = load.Index;
        load.DamagedSegments.ShouldBeEmpty();
        gone.Where(p => index.Packs().Any(q => q.Id == p)).ShouldAllBe(p => index.MarkedPacks.Contains(p));
    }

    private async Task<Snapshot> BackupsAsync(int count)
    {
        Snapshot? last = null;
        for (int i = 0; i < count; i++)
        {
            _scene.Scratch.WriteRandom($"source/more {i}", 20_000, seed: 100 + i);
            last = await _scene.BackupAsync();
        }

        return last!;
    }

    private byte[] Partial(string host, int daysAgo) => SnapshotStore.Write(new Snapshot
    {
        Time = TimeProvider.System.GetUtcNow().AddDays(-daysAgo),
        Hostname = host,
        Paths = [_scene.Source],
        Kind = "files",
        Type = SnapshotType.Full,
        Tree = new string('0', 64),
        Partial = true,
    });

    private async Task<(string Chunk, string Pack)[]> EntriesAsync()
    {
        using ChunkIndex index = (await IndexLoader.LoadAsync(Repository, null, default)).Index;
        return [.. index.Entries().Select(static e => ($"{e.Entry.Prefix:x} {e.Entry.Offset} {e.Entry.Length} {e.Frame}", e.Pack.Id.ToString())).Distinct().Order()];
    }

    private async Task<IReadOnlyCollection<PackId>> TombstonesAsync()
    {
        using ChunkIndex index = (await IndexLoader.LoadAsync(Repository, null, default)).Index;
        HashSet<PackId> marks = [.. _scene.Real.Objects("g/").Select(static m => PackId.TryParse(Path.GetFileName(m), out PackId pack) ? pack : default)];
        return [.. index.MarkedPacks.Except(marks)];
    }

    // A segment of one chunk in one frame of a pack.
    private async Task<byte[]> SegmentOfAsync(PackId pack)
    {
        await Task.CompletedTask;
        PackContents contents = new(PackKind.Data, default, 0);
        contents.Frames.Add(new FrameEntry(64, 100, 84, 0, NoCodec, 0, 1));
        contents.Chunks.Add(new ChunkEntry(new ChunkId(77, 0), 84));
        IndexSegmentBuilder segment = new();
        segment.AddPack(pack, 100_000, [BackupIQ.Repository.Crypto.SaltRow.New(Repository.Keys)], contents);
        return segment.Build(default, 0, 0);
    }

    private const BackupIQ.Repository.Compression.Codec NoCodec = BackupIQ.Repository.Compression.Codec.None;

    private Task PutAsync(StorageKey name, ObjectKind kind, byte[] plain) => _scene.PutAsync(name.Value, SealedObject.Seal(Repository.Keys, kind, name, plain));

    private static PackId NameOf(byte[] bytes)
    {
        Span<byte> digest = stackalloc byte[PackId.Size];
        BackupIQ.Repository.Hashing.Blake3.Hash(bytes, digest);
        return PackId.Read(digest);
    }

    private static PackId[] PacksOf(string[] files) => [.. files.Select(static f => PackId.TryParse(Path.GetFileName(f), out PackId pack) ? pack : default)];
}
