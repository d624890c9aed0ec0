using System.Text;
using System.Text.Json;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Sessions;
using BackupIQ.Sources.Files;
using BackupIQ.Storage;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Architecture;
using BackupIQ.Tests.Engine;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Golden;

/// <summary>
/// Makes a golden repository of the format as it is now: tests/golden/README.md says when. Needs root. Explicit, so that it runs only when it is named:
/// <c>BACKUPIQ_GOLDEN=v1 BackupIQ.Tests -explicit only -class BackupIQ.Tests.Golden.GoldenRepositoryGenerator</c>.
/// </summary>
public sealed class GoldenRepositoryGenerator
{
    private const string Password = "golden password";
    private const string SecondPassword = "zweites Paßwort";
    private const string OldPassword = "golden password, pbkdf2";
    private const string SecondOldPassword = "another one, pbkdf2";

    private readonly Dictionary<string, string> _listings = new(StringComparer.Ordinal);

    [Fact(Explicit = true)]
    public async Task Generate()
    {
        string version = Environment.GetEnvironmentVariable("BACKUPIQ_GOLDEN") ?? throw new InvalidOperationException("BACKUPIQ_GOLDEN names the version to make.");
        string folder = Path.Combine(SourceTree.Root, "tests", "golden", version);
        Directory.Exists(folder).ShouldBeFalse("a golden repository is never made again");
        ScratchFolder.IsRoot.ShouldBeTrue("devices and foreign owners can be made by root only");
        using ScratchFolder scratch = new();
        string place = scratch.At("repository");
        byte[] keyFile = new byte[64];
        new Random(20261122).NextBytes(keyFile);

        await MakeFirstEpochAsync(scratch, place, keyFile);
        await BeginSecondEpochAsync(place, keyFile);
        string kit = await MakeSecondEpochAsync(scratch, place, keyFile);

        Directory.CreateDirectory(folder);
        ScratchFolder.Run("rm", "-rf", Path.Combine(place, "tmp"));
        ScratchFolder.Run("cp", "-r", place, Path.Combine(folder, "repository"));
        File.WriteAllBytes(Path.Combine(folder, "key-file"), keyFile);
        File.WriteAllText(Path.Combine(folder, "recovery-kit.txt"), kit);
        File.WriteAllLines(Path.Combine(folder, "passwords.txt"), [Password, SecondPassword, OldPassword, SecondOldPassword]);
        await WriteExpectationsAsync(folder, keyFile);
    }

    // Every codec, every kind of entry, full, incremental and differential, a partial snapshot.
    private async Task MakeFirstEpochAsync(ScratchFolder scratch, string place, byte[] keyFile)
    {
        string source = scratch.At("source");
        Directory.CreateDirectory(Path.Combine(source, "kinds"));
        EveryKindOfEntryTree.Fill(Path.Combine(source, "kinds"), large: 270_000, hole: 5_000_000);
        MakeWideFolder(scratch);
        await using LocalBackend storage = LocalBackend.Create(place, new LocalOptions(), TimeProvider.System);
        CreateOptions options = new()
        {
            Password = new Secret(Encoding.UTF8.GetBytes(Password)),
            KeyFile = new Secret(keyFile),
            Label = "golden",
            Kdf = KdfParameters.NewScrypt(n: 1024),
            RecoveryKit = false,
        };
        (BackupRepository repository, _) = await BackupRepository.CreateAsync(storage, options, TimeProvider.System, CancellationToken.None);
        await using (repository)
        {
            await repository.Slots.AddPasswordAsync(new Secret(Encoding.UTF8.GetBytes(SecondPassword)), "second", CancellationToken.None);
            await BackupAsync(repository, source, SnapshotType.Incremental, "auto", "first");
            foreach (string codec in (string[])["lz4", "gzip", "bzip2", "lzma", "zstd:19", "off"])
            {
                scratch.Write($"source/codecs/{codec.Split(':')[0]}", Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 400).Select(i => $"{codec} {i * i}\n"))));
                await BackupAsync(repository, source, codec == "off" ? SnapshotType.Differential : SnapshotType.Incremental, codec, codec.Split(':')[0]);
            }

            scratch.WriteRandom("source/interrupted/a", 3000, seed: 5);
            scratch.WriteRandom("source/interrupted/b", 3000, seed: 6);
            using CancellationTokenSource stop = new();
            BackupProgress progress = new() { OnItem = (path, _, _) => Cancel(stop, path.AsSpan().EndsWith("interrupted/b"u8)) };
            await Should.ThrowAsync<OperationCanceledException>(() => BackupAsync(repository, source, SnapshotType.Incremental, "auto", "interrupted", progress, stop.Token));
            ScratchFolder.Run("rm", "-rf", scratch.At("source/interrupted"));
            await AnnotateAsync(repository);
        }
    }

    // What a rotation with a new epoch leaves: a second master in every slot, new settings sealed under it, slots of another derivation.
    private static async Task BeginSecondEpochAsync(string place, byte[] keyFile)
    {
        await using LocalBackend storage = LocalBackend.Open(place, new LocalOptions(), TimeProvider.System);
        await using BackupRepository repository = await OpenAsync(storage, keyFile);
        using RepositoryKeys keys = new(
            repository.Id,
            [.. repository.Keys.Masters, new(2, System.Security.Cryptography.RandomNumberGenerator.GetBytes(RepositoryKeys.KeySize))],
            repository.Keys.IdKey,
            repository.Keys.GearKey);
        KeySlotStore slots = await KeySlotStore.LoadAsync(storage, CancellationToken.None);
        KdfParameters scrypt = repository.Configuration.Head.Kdf;
        KdfParameters pbkdf2 = KdfParameters.NewPbkdf2(iterations: 1000);
        (string Type, string Label, KdfParameters Kdf, byte[] Secret)[] ways =
        [
            (KeySlotHead.KeyFileType, "key file", scrypt, keyFile),
            (KeySlotHead.PasswordType, "first", scrypt, scrypt.Derive(Encoding.UTF8.GetBytes(Password))),
            (KeySlotHead.PasswordType, "second", scrypt, scrypt.Derive(Encoding.UTF8.GetBytes(SecondPassword))),
            (KeySlotHead.PasswordType, "old", pbkdf2, pbkdf2.Derive(Encoding.UTF8.GetBytes(OldPassword))),
            (KeySlotHead.PasswordType, "second old", pbkdf2, pbkdf2.Derive(Encoding.UTF8.GetBytes(SecondOldPassword))),
        ];
        foreach ((string type, string label, KdfParameters kdf, byte[] secret) in ways)
        {
            KeySlotHead head = new()
            {
                Format = KeySlotHead.CurrentFormat,
                Repository = keys.Repository.ToString(),
                Slot = SessionId.New().ToString(),
                Type = type,
                Label = label,
                Created = TimeProvider.System.GetUtcNow(),
                Kdf = kdf,
            };
            await storage.PutAsync(RepositoryLayout.KeySlot(head.Slot), StorageContent.FromBytes(KeySlot.Seal(keys, head, secret)), CancellationToken.None);
        }

        foreach (KeySlot old in slots.Slots)
        {
            await storage.DeleteAsync(RepositoryLayout.KeySlot(old.Head.Slot), CancellationToken.None);
        }

        RepositoryConfiguration second = new(
            repository.Id, repository.Configuration.Head with { Generation = 2 }, repository.Configuration.Settings with { Label = "golden, second generation" });
        (await ConfigurationStore.TryPutAsync(storage, keys, second, CancellationToken.None)).ShouldBeTrue();
    }

    private async Task<string> MakeSecondEpochAsync(ScratchFolder scratch, string place, byte[] keyFile)
    {
        await using LocalBackend storage = LocalBackend.Open(place, new LocalOptions(), TimeProvider.System);
        await using BackupRepository repository = await OpenAsync(storage, keyFile);
        repository.Keys.CurrentEpoch.ShouldBe((ushort)2);
        scratch.Write("source/second epoch", "sealed under another master"u8);
        await BackupAsync(repository, scratch.At("source"), SnapshotType.Full, "auto", "second-epoch");
        await ForgeAsync(scratch, repository);

        // A fence in the place of a snapshot, and an object of a newer version: both are left alone.
        SessionId fenced = SessionId.New();
        StorageKey fence = RepositoryLayout.Snapshot(fenced);
        await storage.PutAsync(fence, StorageContent.FromBytes(SealedObject.Seal(repository.Keys, ObjectKind.Fence, fence, [])), CancellationToken.None);
        await storage.PutAsync(new StorageKey("x/of-a-newer-version"), StorageContent.FromBytes("unknown"u8.ToArray()), CancellationToken.None);
        return await repository.Slots.AddRecoveryKitAsync("recovery kit", asPage: false, CancellationToken.None);
    }

    // A file whose list of chunks stands in metadata chunks, a file with extents behind such a list, and a node with a field of a newer version.
    private async Task ForgeAsync(ScratchFolder scratch, BackupRepository repository)
    {
        string folder = scratch.At("forged");
        byte[] bytes = new byte[1500 * 60];
        new Random(7).NextBytes(bytes);
        scratch.Write("forged/indirect", bytes);
        byte[] sparse = new byte[200_000];
        bytes.AsSpan(0, 60 * 100).CopyTo(sparse.AsSpan(100_000));
        scratch.Write("forged/indirect sparse", sparse);
        scratch.Write("forged/newer", "with an unknown field"u8);
        await using SnapshotForge forge = await SnapshotForge.OpenAsync(repository);
        List<ChunkReference> chunks = [.. Enumerable.Range(0, 1500).Select(i => new ChunkReference(forge.Data(bytes.AsSpan(i * 60, 60)), 60))];
        ChunkReference List(IReadOnlyList<ChunkReference> part)
        {
            TlvWriter writer = new();
            NodeFormat.WriteChunks(writer, part);
            return new ChunkReference(forge.Metadata(writer.Written), (uint)writer.Length);
        }

        ChunkId tree = forge.Tree(
            SnapshotForge.Node(new Node
            {
                Metadata = Metadata("indirect", (ulong)bytes.Length),
                Content = new FileContent { Kind = ContentKind.Indirect, Profile = 1, Chunks = [List(chunks[..700]), List(chunks[700..])] },
            }),
            SnapshotForge.Node(new Node
            {
                Metadata = Metadata("indirect sparse", (ulong)sparse.Length) with { IsSparse = true },
                Content = new FileContent { Kind = ContentKind.Indirect, Profile = 1, Extents = [new Extent(100_000, 6000)], Chunks = [List(chunks[..100])] },
            }),
            SnapshotForge.Node(new Node
            {
                Metadata = Metadata("newer", 21),
                Content = new FileContent { Kind = ContentKind.Inline, Inline = "with an unknown field"u8.ToArray() },
                UnknownFields = (byte[])[200, 3, 1, 2, 3],
            }));
        Snapshot snapshot = await forge.CommitAsync(tree, "/");
        _listings[snapshot.Id.ToString()] = Listing(folder);
    }

    private static NodeMetadata Metadata(string name, ulong size) => new()
    {
        Name = Encoding.UTF8.GetBytes(name),
        Type = NodeType.File,
        Mode = 0x1a4,
        Size = size,
        Modified = new FileTime(new DateTimeOffset(2026, 11, 20, 12, 0, 0, TimeSpan.Zero).ToUnixTimeSeconds(), 0),
    };

    private static async Task AnnotateAsync(BackupRepository repository)
    {
        IReadOnlyList<Snapshot> snapshots = await new SnapshotStore(repository).ListAsync(CancellationToken.None);
        AnnotationStore annotations = new(repository, new AnnotationAuthor("golden-host", "golden-user", "backupiq 0.1.0"), TimeProvider.System);
        await annotations.TagAsync(snapshots[0], ["added"], ["first"], CancellationToken.None);
        await annotations.HoldAsync(snapshots[1].Id, new DateTimeOffset(2099, 1, 1, 0, 0, 0, TimeSpan.Zero), "a reason", CancellationToken.None);
        await annotations.PinAsync(snapshots[2].Id, "another reason", CancellationToken.None);
        await annotations.PutVerdictAsync(snapshots[3].Id, "standard", true, null, CancellationToken.None);
        await annotations.ForgetAsync(snapshots[4].Id, TimeSpan.FromDays(36_500), "forgotten", CancellationToken.None);
    }

    // Some 500 files whose names make the folder break into two pages.
    private static void MakeWideFolder(ScratchFolder scratch)
    {
        for (int i = 0; i < 520; i++)
        {
            scratch.Write($"source/wide/f{i:d4}", []);
        }

        int boundary = Enumerable.Range(0, 1_000_000).First(static i => TreePage.IsBoundary(Encoding.ASCII.GetBytes($"g{i:d6}")));
        scratch.Write($"source/wide/g{boundary:d6}", "the second page begins here"u8);
        scratch.Write("source/wide/h", "last"u8);
    }

    private async Task BackupAsync(
        BackupRepository repository, string source, SnapshotType type, string compression, string tag, BackupProgress? progress = null, CancellationToken cancellationToken = default)
    {
        using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] });
        BackupOptions options = new()
        {
            Hostname = "golden-host",
            Username = "golden-user",
            ProgramVersion = "backupiq 0.1.0",
            Tags = [tag, "golden"],
            Type = type,
            Compression = compression,
            IgnoreCtime = true,
        };
        BackupResult result = await new BackupRunner(repository, TimeProvider.System, null).RunAsync(files, options, progress ?? new BackupProgress(), cancellationToken);
        _listings[result.Snapshot!.Id.ToString()] = Listing(source);
    }

    private static void Cancel(CancellationTokenSource stop, bool now)
    {
        if (now)
        {
            stop.Cancel();
        }
    }

    private static string Listing(string folder) => ScratchFolder.Run("python3", Path.Combine(SourceTree.Root, "tests", "golden", "listing.py"), folder);

    private static Task<BackupRepository> OpenAsync(LocalBackend storage, byte[] keyFile) =>
        BackupRepository.OpenAsync(storage, new Credentials { KeyFile = new Secret(keyFile) }, TimeProvider.System, CancellationToken.None);

    private async Task WriteExpectationsAsync(string folder, byte[] keyFile)
    {
        using ScratchFolder scratch = new();
        ScratchFolder.Run("cp", "-r", Path.Combine(folder, "repository"), scratch.At("copy"));
        await using LocalBackend storage = LocalBackend.Open(scratch.At("copy"), new LocalOptions(), TimeProvider.System);
        await using BackupRepository repository = await OpenAsync(storage, keyFile);
        SnapshotStore store = new(repository);
        IReadOnlyList<Snapshot> all = await store.ListAnnotatedAsync(CancellationToken.None);
        all.Count.ShouldBe(_listings.Count);

        // Snapshots share most of what they hold: each line stands once, behind the numbers of those that have it.
        SortedDictionary<string, List<int>> lines = new(StringComparer.Ordinal);
        for (int i = 0; i < all.Count; i++)
        {
            foreach (string line in _listings[all[i].Id.ToString()].Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                lines.TryAdd(line, []);
                lines[line].Add(i);
            }
        }

        File.WriteAllLines(Path.Combine(folder, "listing.txt"), lines.Select(static line => $"{string.Join(',', line.Value)}\t{line.Key}"));
        File.WriteAllText(Path.Combine(folder, "snapshots.json"), JsonSerializer.Serialize(all.Select(GoldenSnapshot.From), GoldenSnapshot.Json) + "\n");
    }
}
