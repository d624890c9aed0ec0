using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Trees;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Crypto;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Packs;
using BackupIQ.Sources.Files;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Repository;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>A small repository with every kind of object in it, and what stands inside its objects; made once.</summary>
internal sealed class FuzzSeeds
{
    private static readonly Lazy<FuzzSeeds> Made = new(static () => MakeAsync().GetAwaiter().GetResult());

    private FuzzSeeds(FakeStorage storage, BackupRepository repository, Secret key)
    {
        Storage = storage;
        Repository = repository;
        Key = key;
        foreach ((string name, byte[] bytes) in storage.Objects)
        {
            if (name.StartsWith("d/", StringComparison.Ordinal) || name.StartsWith("m/", StringComparison.Ordinal))
            {
                ReadPack(name, bytes);
            }
            else if (SealedObject.TryPeekKind(bytes, out ObjectKind kind))
            {
                Plain.Add((kind, new StorageKey(name), SealedObject.Open(repository.Keys, kind, new StorageKey(name), bytes)));
            }
        }
    }

    public static FuzzSeeds Get() => Made.Value;

    public FakeStorage Storage { get; }

    public BackupRepository Repository { get; }

    public RepositoryKeys Keys => Repository.Keys;

    /// <summary>The key file that opens the repository.</summary>
    public Secret Key { get; }

    public IReadOnlyList<byte[]> Packs => [.. Objects("d/"), .. Objects("m/")];

    /// <summary>Sealed objects with what is in them.</summary>
    public List<(ObjectKind Kind, StorageKey Name, byte[] Plain)> Plain { get; } = [];

    /// <summary>Contents tables of packs, plain, with the size of the pack.</summary>
    public List<(byte[] Table, long PackSize)> Tables { get; } = [];

    /// <summary>Chunks of metadata: pages of trees and scans, lists of pages, lists of chunks.</summary>
    public List<byte[]> Metadata { get; } = [];

    public IReadOnlyList<byte[]> PlainOf(ObjectKind kind) => [.. Plain.Where(o => o.Kind == kind).Select(static o => o.Plain)];

    public IReadOnlyList<byte[]> Objects(string prefix) =>
        [.. Storage.Objects.Where(o => o.Key.StartsWith(prefix, StringComparison.Ordinal)).Select(static o => o.Value)];

    private static async Task<FuzzSeeds> MakeAsync()
    {
        using ScratchFolder scratch = new();
        Directory.CreateDirectory(scratch.At("source", "kinds"));
        Directory.CreateDirectory(scratch.At("source", "wide"));
        EveryKindOfEntryTree.Fill(scratch.At("source", "kinds"));
        EveryKindOfEntryTree.FillWide(scratch.At("source", "wide"), 4000);
        FakeStorage storage = new();
        Secret key = Secret.Random(40);
        CreateOptions options = RepositoryBuilder.Options() with { KeyFile = key };
        BackupRepository repository = (await RepositoryBuilder.CreateAsync(storage, options)).Repository;
        for (int run = 0; run < 2; run++)
        {
            using FileSource files = new(new FileSourceOptions { Paths = [scratch.PathBytes], Excludes = ["hole"u8.ToArray()] });
            await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
                files,
                new BackupOptions { Hostname = "fuzz", Tags = ["a", "b=c"], CheckpointInterval = TimeSpan.FromMilliseconds(20) },
                new BackupProgress(),
                CancellationToken.None);
        }

        AnnotationStore annotations = new(repository, new AnnotationAuthor("host", "user", "version"), TimeProvider.System);
        foreach (Snapshot snapshot in await new SnapshotStore(repository).ListAsync(CancellationToken.None))
        {
            await annotations.PinAsync(snapshot.Id, "a reason", CancellationToken.None);
            await annotations.TagAsync(snapshot, ["new"], ["a"], CancellationToken.None);
        }

        return new FuzzSeeds(storage, repository, key);
    }

    private void ReadPack(string name, byte[] bytes)
    {
        PackKind kind = name[0] == 'd' ? PackKind.Data : PackKind.Metadata;
        if (!PackHead.TryRead(bytes, out PackHead head) || !PackTrailer.TryRead(bytes.AsSpan(bytes.Length - PackTrailer.Size), bytes.Length, out PackTrailer trailer))
        {
            throw new InvalidOperationException($"{name} is not a pack.");
        }

        byte[] table = new byte[trailer.TableLength - FrameCipher.TagSize];
        byte[] associated = new byte[FrameSeal.AssociatedDataSize];
        FrameSeal.WriteContentsData(associated, Keys.Repository, kind, (uint)table.Length);
        using FrameCipher cipher = Keys.CreateCipher(head.Salts[0], FrameSeal.PurposeOf(kind));
        _ = cipher.TryOpen(FrameSeal.ContentsCounter, bytes.AsSpan((int)trailer.FirstTable, (int)trailer.TableLength), associated, table);
        Tables.Add((table, bytes.Length));
        if (kind == PackKind.Data)
        {
            return;
        }

        PackPlan plan = PackPlan.Of(head, PackContents.Read(table, bytes.Length, head.Salts.Count));
        using FrameOpener opener = new(Keys);
        for (int f = 0; f < plan.Frames.Count; f++)
        {
            FrameEntry frame = plan.Frames[f];
            byte[] plain = new byte[frame.PlainLength];
            opener.Open(Reference(kind, frame, head), bytes.AsSpan((int)frame.Offset, (int)frame.StoredLength), plain);
            for (int c = plan.FirstChunk[f]; c < plan.FirstChunk[f + 1]; c++)
            {
                Metadata.Add(plain.AsSpan((int)plan.Chunks[c].Offset, (int)plan.Chunks[c].Length).ToArray());
            }
        }
    }

    private static FrameReference Reference(PackKind kind, in FrameEntry frame, PackHead head) => new()
    {
        Pack = default,
        Kind = kind,
        Offset = frame.Offset,
        StoredLength = frame.StoredLength,
        PlainLength = frame.PlainLength,
        Codec = frame.Codec,
        Counter = frame.Counter,
        Salt = head.Salts[frame.SaltRow],
    };
}
