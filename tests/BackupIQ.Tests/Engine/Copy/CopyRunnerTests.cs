using System.Security.Cryptography;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Copy;
using BackupIQ.Engine.Maintenance;
using BackupIQ.Engine.Reading;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Maintenance.Collection;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Testing.Storage;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Engine.Copy;

/// <summary>Copies between real repositories with keys and cuts of their own.</summary>
public sealed class CopyRunnerTests : IAsyncLifetime
{
    private static readonly CopyOptions Options = new() { Hostname = "copier" };

    private RealRepository _source = null!;
    private RealRepository _target = null!;
    private FaultyBackend _targetStorage = null!;

    private ScratchFolder Scratch => _source.Scratch;

    private string Folder => Scratch.At("source");

    public async ValueTask InitializeAsync()
    {
        _source = await RealRepository.CreateAsync();
        _target = await RealRepository.CreateAsync(inner => _targetStorage = new FaultyBackend(inner, TimeProvider.System));
        Directory.CreateDirectory(Folder);
    }

    public async ValueTask DisposeAsync()
    {
        await _target.DisposeAsync();
        await _source.DisposeAsync();
    }

    [Fact]
    public async Task ACopyHoldsEveryKindOfEntryAsItsOriginalDoesAndASecondOneIsNotMade()
    {
        EveryKindOfEntryTree.Fill(Folder, large: 9_000_000);
        Snapshot original = await BackupAsync("a", "b");
        CopiedSnapshot copied = (await CopyAsync()).Snapshots.ShouldHaveSingleItem();
        copied.Outcome.ShouldBe(CopyOutcome.Copied);
        copied.FilesRead.ShouldBeGreaterThan(5);

        Snapshot copy = (await _target.ListAsync()).ShouldHaveSingleItem();
        (copy.Time, copy.Ended, copy.Hostname, copy.Username, copy.Kind, copy.Type).ShouldBe(
            (original.Time, original.Ended, original.Hostname, original.Username, original.Kind, original.Type));
        (copy.Original, copy.OriginalRepository, copy.ProgramVersion).ShouldBe((original.Id.ToString(), _source.Repository.Id.ToString(), original.ProgramVersion));
        copy.Tags.ShouldBe(["a", "b"]);
        copy.Paths.ShouldBe(original.Paths);
        copy.Summary.ShouldBe(original.Summary);
        (await EntriesAsync(_target, copy)).ShouldBe(await EntriesAsync(_source, original));
        (await _target.CheckAsync(readData: true)).Findings.ShouldBeEmpty();

        string[] before = _target.Objects();
        (await CopyAsync()).Snapshots.ShouldHaveSingleItem().Outcome.ShouldBe(CopyOutcome.AlreadyThere);
        _target.Objects().ShouldBe(before);
        (await CopyAsync(_target, _source)).Snapshots.ShouldHaveSingleItem().Outcome.ShouldBe(CopyOutcome.AlreadyThere);
    }

    [Fact]
    public async Task OfLaterSnapshotsOnlyWhatChangedIsRead()
    {
        for (int i = 0; i < 40; i++)
        {
            Scratch.WriteRandom($"source/folder {i % 4}/file {i}", 2_000, seed: i);
        }

        Scratch.WriteRandom("source/large", 6_000_000, seed: 100);
        await BackupAsync();
        Scratch.WriteRandom("source/folder 1/file 1", 3_000, seed: 101);
        await BackupAsync();
        File.SetLastWriteTimeUtc(Scratch.At("source", "large"), new DateTime(2027, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        Snapshot third = await BackupAsync();
        IReadOnlyList<CopiedSnapshot> copied = (await CopyAsync()).Snapshots;
        copied.Select(static one => one.FilesRead).ShouldBe([41, 1, 0]);

        // In another run, too: nothing has to be remembered but what the target says.
        Scratch.WriteRandom("source/folder 2/new", 1_000, seed: 102);
        Snapshot fourth = await BackupAsync();
        CopiedSnapshot last = (await CopyAsync()).Snapshots.Single(static one => one.Outcome == CopyOutcome.Copied);
        (last.FilesRead, last.BytesRead).ShouldBe((1, 1_000));
        IReadOnlyList<Snapshot> copies = await _target.ListAsync();
        (await EntriesAsync(_target, copies[2])).ShouldBe(await EntriesAsync(_source, third));
        (await EntriesAsync(_target, copies[3])).ShouldBe(await EntriesAsync(_source, fourth));
        (await _target.CheckAsync(readData: true)).Findings.ShouldBeEmpty();
    }

    [Fact]
    public async Task ACopyDeduplicatesWithWhatIsBackedUpThereDirectlyAndTheOtherWayRound()
    {
        Scratch.WriteRandom("source/large", 12_000_000, seed: 1);
        await BackupAsync();
        BackupResult direct = await _target.BackupAsync(Folder, new BackupOptions { Hostname = "direct" });
        CopiedSnapshot copied = (await CopyAsync()).Snapshots.ShouldHaveSingleItem();
        copied.BytesRead.ShouldBe(12_000_000);
        copied.BytesPut.ShouldBeLessThan(100_000);
        direct.Summary.DataBlobs.ShouldBeGreaterThan(5);
        (await _target.BackupAsync(Folder, new BackupOptions { Hostname = "here" })).Summary.DataBlobs.ShouldBe(0);
    }

    [Fact]
    public async Task OfALargeFileThatChangedInItsMiddleLittleIsReadAndItIsCutAsIfAllWere()
    {
        byte[] bytes = new byte[24_000_000];
        new Random(7).NextBytes(bytes);
        Scratch.Write("source/image", bytes);
        await BackupAsync();
        bytes.AsSpan(11_000_000, 4_000).Reverse();
        Scratch.Write("source/image", [.. bytes[..3_000_000], 1, 2, 3, .. bytes[3_000_000..], 4]);
        File.SetLastWriteTimeUtc(Scratch.At("source", "image"), new DateTime(2027, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        Snapshot second = await BackupAsync();
        CopiedSnapshot copied = (await CopyAsync()).Snapshots[1];
        copied.BytesRead.ShouldBeInRange(1, 16_000_000);
        (await EntriesAsync(_target, copied.Copy!)).ShouldBe(await EntriesAsync(_source, second));
        (await _target.BackupAsync(Folder, new BackupOptions { Hostname = "direct" })).Summary.DataBlobs.ShouldBe(0);
        (await _target.CheckAsync(readData: true)).Findings.ShouldBeEmpty();
    }

    [Fact]
    public async Task WhatIsDamagedKeepsItsSnapshotFromBeingCopiedAndNoOther()
    {
        Scratch.WriteRandom("source/good", 400_000, seed: 1);
        Snapshot good = await BackupAsync();
        HashSet<string> before = [.. _source.Objects("d/")];
        Scratch.WriteRandom("source/bad", 400_000, seed: 2);
        Snapshot bad = await BackupAsync();
        string pack = _source.Objects("d/").Single(file => !before.Contains(file));
        byte[] bytes = File.ReadAllBytes(pack);
        bytes[bytes.Length / 3] ^= 1;
        Overwrite(pack, bytes);

        List<string> told = [];
        CopyProgress progress = new() { OnItemError = (snapshot, error) => told.Add($"{snapshot.ShortId} {PathText.Show(error.Path)} {error.Code.ExitCode}") };
        CopyResult result = await CopyAsync(progress: progress);
        result.Snapshots.Select(static one => one.Outcome).ShouldBe([CopyOutcome.Copied, CopyOutcome.Damaged]);
        told.ShouldBe([$"{bad.ShortId} {Folder}/bad 14"]);
        (await _target.ListAsync()).Select(static copy => copy.Original).ShouldBe([good.Id.ToString()]);

        bytes[bytes.Length / 3] ^= 1;
        Overwrite(pack, bytes);
        await using RealRepository mended = await _source.ReopenAsync();
        (await CopyAsync(mended, _target)).Snapshots.Select(static one => one.Outcome).ShouldBe([CopyOutcome.AlreadyThere, CopyOutcome.Copied]);
        (await _target.ListAsync()).Select(static copy => copy.Original).ShouldBe([good.Id.ToString(), bad.Id.ToString()]);
    }

    [Fact]
    public async Task ACopyThatWasCutOffIsTakenUpWhereItStopped()
    {
        for (int i = 0; i < 300; i++)
        {
            Scratch.WriteRandom($"source/folder {i % 4}/file {i}", 2_000, seed: i);
        }

        Snapshot original = await BackupAsync();
        _targetStorage.Add(new Fault(StorageOperation.Put, "s/", FaultKind.FailBefore) { Times = 1 });
        CopyOptions eager = Options with { CheckpointInterval = TimeSpan.Zero };
        await Should.ThrowAsync<BackupIQException>(() => CopyAsync(options: eager));
        (await _target.ListAsync()).ShouldBeEmpty();
        string[] packs = _target.Objects("d/");

        CopiedSnapshot copied = (await CopyAsync()).Snapshots.ShouldHaveSingleItem();
        copied.FilesRead.ShouldBeLessThan(300);
        _target.Objects("d/").ShouldBe(packs);
        (await EntriesAsync(_target, (await _target.ListAsync()).Single())).ShouldBe(await EntriesAsync(_source, original));
        (await _target.CheckAsync(readData: true)).Findings.ShouldBeEmpty();
    }

    [Fact]
    public async Task HoldsAndPinsComeAlongOnceAndWhatIsReleasedStaysReleased()
    {
        Scratch.WriteRandom("source/file", 1_000, seed: 1);
        Snapshot original = await BackupAsync();
        AnnotationStore said = Annotations(_source);
        await said.HoldAsync(original.Id, until: null, "court", CancellationToken.None);
        await CopyAsync();
        Snapshot copy = (await _target.ListAsync()).ShouldHaveSingleItem();
        copy.Annotations.Holds.ShouldHaveSingleItem().Reason.ShouldBe("court");

        await Annotations(_target).ReleaseAsync(copy, CancellationToken.None);
        await said.PinAsync(original.Id, reason: null, CancellationToken.None);
        await CopyAsync();
        copy = (await _target.ListAsync()).ShouldHaveSingleItem();
        (copy.Annotations.Holds.Count, copy.Annotations.Pins.Count).ShouldBe((0, 1));
    }

    [Fact]
    public async Task WhatIsForgottenInTheTargetIsNotCopiedAgainWhileItCanBeBroughtBack()
    {
        Scratch.WriteRandom("source/file", 1_000, seed: 1);
        Snapshot original = await BackupAsync();
        await Annotations(_source).TagAsync(original, ["later"], [], CancellationToken.None);
        await CopyAsync();
        Snapshot copy = (await _target.ListAsync()).ShouldHaveSingleItem();
        copy.Tags.ShouldBe(["later"]);
        await Annotations(_target).ForgetAsync(copy.Id, TimeSpan.FromDays(7), reason: null, CancellationToken.None);
        (await CopyAsync()).Snapshots.ShouldHaveSingleItem().Outcome.ShouldBe(CopyOutcome.ForgottenThere);
    }

    [Fact]
    public async Task APruneBesideACopyTakesNothingThatALaterCopyTookOver()
    {
        for (int i = 0; i < 20; i++)
        {
            Scratch.WriteRandom($"source/folder {i % 4}/file {i}", 20_000, seed: i);
        }

        await BackupAsync();
        Scratch.WriteRandom("source/new", 1_000, seed: 50);
        await BackupAsync();
        Task<PruneResult>? prune = null;
        CopyProgress progress = new()
        {
            OnSnapshot = done =>
            {
                if (prune is null)
                {
                    // The first copy goes while the second, which takes its folders over unread, is still to come.
                    File.Delete(_target.Objects("s/").Single());
                    PruneOptions options = new() { Collector = new CollectorOptions { Hostname = "pruner", PollInterval = TimeSpan.FromMilliseconds(20) } };
                    prune = Task.Run(() => new PruneRunner(_target.Repository, TimeProvider.System).RunAsync(options, new PruneProgress(), CancellationToken.None));
                    Thread.Sleep(1500);
                }
            },
        };
        CopyResult result = await CopyAsync(progress: progress);
        result.Snapshots[1].FilesRead.ShouldBe(1);
        await prune!;
        Snapshot left = (await _target.ListAsync()).ShouldHaveSingleItem();
        left.Id.ShouldBe(result.Snapshots[1].Copy!.Id);
        (await _target.CheckAsync(readData: true)).Findings.ShouldBeEmpty();
        (await EntriesAsync(_target, left)).Count.ShouldBeGreaterThan(25);
    }

    [Fact]
    public async Task ADryRunReadsAndStoresNothing()
    {
        Scratch.WriteRandom("source/file", 1_000, seed: 1);
        await BackupAsync();
        string[] before = [.. _source.Objects(), .. _target.Objects()];
        (await CopyAsync(options: Options with { DryRun = true })).Snapshots.ShouldHaveSingleItem().Outcome.ShouldBe(CopyOutcome.Copied);
        string[] after = [.. _source.Objects(), .. _target.Objects()];
        after.ShouldBe(before);
    }

    private static AnnotationStore Annotations(RealRepository repository) =>
        new(repository.Repository, new AnnotationAuthor("here", "ann", "test"), TimeProvider.System);

    // As a bad disk does it: the file is replaced behind the storage's back.
    private static void Overwrite(string path, byte[] bytes)
    {
        File.Delete(path);
        File.WriteAllBytes(path, bytes);
    }

    private async Task<Snapshot> BackupAsync(params string[] tags)
    {
        BackupResult result = await _source.BackupAsync(Folder, new BackupOptions { Hostname = "here", Username = "ann", Tags = tags });
        result.Warnings.ShouldBe(0);
        return result.Snapshot!;
    }

    private Task<CopyResult> CopyAsync(CopyOptions? options = null, CopyProgress? progress = null) => CopyAsync(_source, _target, options, progress);

    private static async Task<CopyResult> CopyAsync(RealRepository from, RealRepository to, CopyOptions? options = null, CopyProgress? progress = null) =>
        await new CopyRunner(from.Repository, to.Repository, options ?? Options, TimeProvider.System)
            .RunAsync(await from.ListAsync(), progress ?? new CopyProgress(), CancellationToken.None);

    // Every entry: its path, all its fields but for the ids of chunks, and its content.
    private static async Task<IReadOnlyList<string>> EntriesAsync(RealRepository repository, Snapshot snapshot)
    {
        using ChunkIndex index = (await IndexLoader.LoadAsync(repository.Repository, null, CancellationToken.None)).Index;
        using SnapshotReader reader = new(repository.Repository, index, new ReadingOptions(), static _ => { });
        List<string> entries = [];
        Stack<(string Path, BackupIQ.Repository.ChunkId Tree)> open = new([("", snapshot.TreeId)]);
        TlvWriter fields = new();
        while (open.TryPop(out (string Path, BackupIQ.Repository.ChunkId Tree) folder))
        {
            foreach (Node node in reader.Trees.ReadDirectory(folder.Tree))
            {
                string path = $"{folder.Path}/{Convert.ToHexString(node.Metadata.Name)}";
                fields.Clear();
                NodeFormat.Write(fields, new Node
                {
                    Metadata = node.Metadata,
                    HardLinkGroup = node.HardLinkGroup,
                    ChangedWhileRead = node.ChangedWhileRead,
                    UnknownFields = node.UnknownFields,
                });
                string content = "";
                if (node.Content is { } stream)
                {
                    SnapshotFile file = reader.OpenFile(node);
                    using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                    foreach (Extent extent in file.Extents ?? [new Extent(0, (ulong)file.Length)])
                    {
                        byte[] bytes = new byte[extent.Length];
                        (await file.ReadAsync((long)extent.Offset, bytes, CancellationToken.None)).ShouldBe(bytes.Length);
                        hash.AppendData(bytes);
                    }

                    content = $"{string.Join(',', (file.Extents ?? []).Select(static e => $"{e.Offset}+{e.Length}"))} {Convert.ToHexString(hash.GetHashAndReset())}";
                }

                entries.Add($"{path} {Convert.ToHexString(fields.Written)} {content}");
                if (node.Subtree is { } subtree)
                {
                    open.Push((path, subtree));
                }
            }
        }

        return entries;
    }
}
