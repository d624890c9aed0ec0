using System.Security.Cryptography;
using System.Text;
using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Restore;
using BackupIQ.Engine.Snapshots;
using BackupIQ.Engine.Verification;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Index;
using BackupIQ.Repository.Keys;
using BackupIQ.Sources.Files.Restore;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using BackupIQ.Tests.Architecture;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Golden;

/// <summary>Files that earlier versions stored page by page come back with today's code, forever (tests/golden/README.md).</summary>
public sealed class GoldenPagesTests : IDisposable
{
    private const int PageSize = 512;
    private const string File1 = "table";

    private readonly ScratchFolder _scratch = new();

    public static TheoryData<string> Names() => [.. Directory.GetDirectories(Golden, "pages-*").Select(Path.GetFileName).Order().OfType<string>()];

    private static string Golden => Path.Combine(SourceTree.Root, "tests", "golden");

    public void Dispose() => _scratch.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public async Task EachSnapshotHasTheFileThatItHad(string name)
    {
        string place = _scratch.At(name);
        ScratchFolder.Run("cp", "-r", Path.Combine(Golden, name, "repository"), place);
        using Secret key = new(File.ReadAllBytes(Path.Combine(Golden, name, "key-file")));
        await using LocalBackend storage = LocalBackend.Open(place, new LocalOptions(), TimeProvider.System);
        await using BackupRepository repository = await BackupRepository.OpenAsync(storage, new Credentials { KeyFile = key }, TimeProvider.System, CancellationToken.None);
        (await new CheckRunner(repository, TimeProvider.System).RunAsync(new CheckOptions { ReadData = ReadDataSubset.All }, new CheckProgress(), CancellationToken.None))
            .Findings.ShouldBeEmpty();
        string[] expected = File.ReadAllLines(Path.Combine(Golden, name, "sha256.txt"));
        IReadOnlyList<Snapshot> snapshots = await new SnapshotStore(repository).ListAsync(CancellationToken.None);
        snapshots.Count.ShouldBe(expected.Length);
        for (int i = 0; i < snapshots.Count; i++)
        {
            using ChunkIndex index = (await IndexLoader.LoadAsync(repository, null, CancellationToken.None)).Index;
            string target = _scratch.At($"target {i}");
            using LinuxRestoreTarget folder = new(PathText.Bytes(target));
            (await RestoreRunner.RunAsync(
                repository, index, snapshots[i], "/"u8.ToArray(), folder, new RestoreOptions(), new RestoreProgress(), CancellationToken.None)).ExitCode.ShouldBe(0);
            string restored = Directory.GetFiles(target, File1, SearchOption.AllDirectories).ShouldHaveSingleItem();
            Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(restored))).ShouldBe(expected[i]);
        }
    }

    /// <summary>
    /// Makes one: <c>BACKUPIQ_GOLDEN=pages-1 BackupIQ.Tests -explicit only -class BackupIQ.Tests.Golden.GoldenPagesTests</c>. Two blocks of a map and a
    /// short tail; holes; pages that changed, so many that chunks went stale; a file that became shorter, and one that grew.
    /// </summary>
    [Fact(Explicit = true)]
    public async Task Generate()
    {
        string folder = Path.Combine(Golden, Environment.GetEnvironmentVariable("BACKUPIQ_GOLDEN") ?? throw new InvalidOperationException("BACKUPIQ_GOLDEN names the one to make."));
        Directory.Exists(folder).ShouldBeFalse("a golden repository is never made again");
        string source = _scratch.At("source");
        Directory.CreateDirectory(source);
        byte[] keyFile = RandomNumberGenerator.GetBytes(64);
        using Secret key = new(keyFile);
        List<string> hashes = [];
        await using (LocalBackend storage = LocalBackend.Create(_scratch.At("repository"), new LocalOptions(), TimeProvider.System))
        {
            CreateOptions options = new() { KeyFile = key, RecoveryKit = false, Label = "golden pages" };
            await using BackupRepository repository = (await BackupRepository.CreateAsync(storage, options, TimeProvider.System, CancellationToken.None)).Repository;
            foreach ((int pages, int tail, int every) in ((int, int, int)[])[(4500, 100, 1), (4500, 100, 50), (4300, 7, 3), (4600, 0, 2), (4600, 0, 700)])
            {
                byte[] content = File.Exists(Path.Combine(source, File1)) ? File.ReadAllBytes(Path.Combine(source, File1)) : [];
                Array.Resize(ref content, (pages * PageSize) + tail);
                for (int page = 0; page < pages; page += every)
                {
                    Encoding.ASCII.GetBytes($"page {page} of generation {hashes.Count}").CopyTo(content, page * PageSize);
                }

                content.AsSpan(1000 * PageSize, 200 * PageSize).Clear();
                content[^1] = (byte)'.';
                File.WriteAllBytes(Path.Combine(source, File1), content);
                hashes.Add(Convert.ToHexStringLower(SHA256.HashData(content)));
                using PagedSource paged = new(source, PageSize);
                await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
                    paged, new BackupOptions { Hostname = "golden", Type = hashes.Count == 1 ? SnapshotType.Full : SnapshotType.Incremental }, new BackupProgress(), CancellationToken.None);
            }
        }

        Directory.CreateDirectory(folder);
        ScratchFolder.Run("rm", "-rf", _scratch.At("repository", "tmp"));
        ScratchFolder.Run("cp", "-r", _scratch.At("repository"), Path.Combine(folder, "repository"));
        File.WriteAllBytes(Path.Combine(folder, "key-file"), keyFile);
        File.WriteAllLines(Path.Combine(folder, "sha256.txt"), hashes);
    }
}
