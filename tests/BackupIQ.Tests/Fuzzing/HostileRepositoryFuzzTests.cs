using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Format;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Repository.Maintenance;
using BackupIQ.Repository.Packs;
using BackupIQ.Sources.Files;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Repository;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Fuzzing;

/// <summary>
/// Whole repositories of which some objects are mutated, damaged from outside or sealed by somebody who has the key: listing, checking,
/// restoring and backing up end in order, and nothing is written outside the target.
/// </summary>
[Trait("kind", "fuzz")]
public sealed class HostileRepositoryFuzzTests
{
    private static readonly FuzzSeeds Seeds = FuzzSeeds.Get();

    [Fact]
    public void DamagedRepositories()
    {
        string[] names = [.. Seeds.Storage.Objects.Keys];
        Run("DamagedRepositories", (objects, mutator, random) =>
        {
            for (int i = random.Next(1, 4); i > 0; i--)
            {
                string name = names[random.Next(names.Length)];
                objects[name] = mutator.Next();
            }
        });
    }

    [Fact]
    public void RepositoriesOfSomebodyWithTheKey()
    {
        Run("RepositoriesOfSomebodyWithTheKey", (objects, mutator, random) =>
        {
            (ObjectKind kind, StorageKey name, byte[] plain) = Seeds.Plain[random.Next(Seeds.Plain.Count)];
            byte[] hostile = new Mutator(random.Next(), [plain, .. Seeds.PlainOf(kind)]).Next();
            objects[name.Value] = SealedObject.Seal(Seeds.Keys, kind, name, hostile);
        });
    }

    private static void Run(string what, Action<SortedDictionary<string, byte[]>, Mutator, Random> harm)
    {
        using ScratchFolder scratch = new();
        scratch.Write("source/file", "something to back up"u8);
        byte[][] all = [.. Seeds.Storage.Objects.Values];
        Fuzz.Run(
            [.. Enumerable.Range(0, 6).Select(BitConverter.GetBytes)],
            input =>
            {
                // The input is only the seed of the harm: a repository is too much to be mutated as a whole.
                int seed = input.Length >= 4 ? BitConverter.ToInt32(input) : input.Length;
                FakeStorage storage = new();
                foreach ((string name, byte[] bytes) in Seeds.Storage.Objects)
                {
                    storage.Objects[name] = bytes;
                }

                harm(storage.Objects, new Mutator(seed, all), new Random(seed));
                Use(storage, scratch).GetAwaiter().GetResult();
                Directory.EnumerateFileSystemEntries(scratch.Path).Select(static p => Path.GetFileName(p)).ShouldBeSubsetOf(["source", "target"]);
            },
            perByte: 0,
            allocates: 512 << 20,
            name: what);
    }

    private static async Task Use(FakeStorage storage, ScratchFolder scratch)
    {
        BackupRepository repository;
        try
        {
            repository = await RepositoryBuilder.OpenAsync(storage, new Credentials { KeyFile = Seeds.Key });
        }
        catch (BackupIQException)
        {
            return;
        }

        await using (repository)
        {
            SnapshotStore store = new(repository);
            IReadOnlyList<Snapshot> snapshots = await store.ListAsync(CancellationToken.None);
            (snapshots.Count + store.DamagedIds.Count).ShouldBeLessThanOrEqualTo(3);
            await Orderly(() => store.ListPartialAsync(CancellationToken.None));
            await Orderly(() => new CheckRunner(repository, TimeProvider.System).RunAsync(
                new CheckOptions { Concurrency = 1, ReadData = ReadDataSubset.All }, new CheckProgress(), CancellationToken.None));
            foreach (Snapshot snapshot in snapshots)
            {
                await Orderly(() => RestoreAsync(repository, snapshot, scratch.At("target")));
                ScratchFolder.Run("rm", "-rf", scratch.At("target"));
            }

            await Orderly(() => BackupAsync(repository, scratch.At("source")));
        }
    }

    private static async Task Orderly(Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (BackupIQException)
        {
            // Refused as a whole, in order.
        }
    }

    private static async Task RestoreAsync(BackupRepository repository, Snapshot snapshot, string target)
    {
        IndexLoad load = await IndexLoader.LoadAsync(repository, null, CancellationToken.None);
        using ChunkIndex index = load.Index;
        using LinuxRestoreTarget to = new(PathText.Bytes(target));
        RestoreOptions options = new() { Concurrency = 1, Filter = static (path, _) => path.IndexOf("/wide"u8) < 0 ? new FilterVerdict(true, true) : default };
        await RestoreRunner.RunAsync(repository, index, snapshot, "/"u8.ToArray(), to, options, new RestoreProgress(), CancellationToken.None);
    }

    private static async Task BackupAsync(BackupRepository repository, string source)
    {
        using FileSource files = new(new FileSourceOptions { Paths = [PathText.Bytes(source)] });
        await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
            files, new BackupOptions { Hostname = "fuzz", ReadConcurrency = 1 }, new BackupProgress(), CancellationToken.None);
    }
}
