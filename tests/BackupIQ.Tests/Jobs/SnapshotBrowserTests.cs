using System.Text;
using BackupIQ.Jobs;
using BackupIQ.Jobs.Browsing;
using BackupIQ.Primitives;
using BackupIQ.Sources.Files.Patterns;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>Listing, searching and following paths over many snapshots, and the local cache behind it.</summary>
public sealed class SnapshotBrowserTests : IAsyncLifetime
{
    private readonly ScratchFolder _scratch = new();
    private readonly Secret _key = Secret.Random(32);
    private BackupIqRepository _repository = null!;

    private string Root => Path.Combine(_scratch.Path, "source");

    private string RepositoryPath => Path.Combine(_scratch.Path, "repository");

    private string Cache => Path.Combine(_scratch.Path, "cache");

    private RepositoryOptions Options => new() { CacheFolder = Cache };

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Root);
        Directory.CreateDirectory(Cache);
        (_repository, _) = await BackupIqRepository.CreateAsync(RepositoryPath, new RepositorySecrets { KeyFile = _key }, Options, recoveryKit: false);
    }

    public async ValueTask DisposeAsync()
    {
        await _repository.DisposeAsync();
        _key.Dispose();
        _scratch.Dispose();
    }

    [Fact]
    public async Task ASearchFindsWhatEachPatternMatchesInEachSnapshot()
    {
        Random random = new(20_261_126);
        string[] names = ["a", "b", "docs", "Draft1", "draft2", "x.txt", "y.txt", "z.pdf"];
        SnapshotInfo[] snapshots = new SnapshotInfo[6];
        for (int i = 0; i < snapshots.Length; i++)
        {
            for (int entry = 0; entry < 25; entry++)
            {
                string folder = Path.Combine([Root, .. Enumerable.Range(0, random.Next(4)).Select(_ => "d" + names[random.Next(3)])]);
                Directory.CreateDirectory(folder);
                File.WriteAllText(Path.Combine(folder, names[random.Next(names.Length)]), $"{random.Next()}");
            }

            string[] files = [.. Directory.GetFiles(Root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
            File.Delete(files[random.Next(files.Length)]);
            snapshots[i] = await BackUpAsync();
        }

        string[] parts = ["a", "da", "d*", "docs", "*.txt", "draft?", "[xy]*", "**", "source", "*"];
        for (int round = 0; round < 60; round++)
        {
            byte[][] patterns =
            [
                .. Enumerable.Range(0, random.Next(1, 4)).Select(_ => Encoding.UTF8.GetBytes(
                    (random.Next(6) == 0 ? "!" : "") + (random.Next(4) == 0 ? Root + "/" : "") + string.Join('/', Enumerable.Range(0, random.Next(1, 4)).Select(_ => parts[random.Next(parts.Length)])))),
            ];
            bool ignoreCase = random.Next(2) == 0;
            using SnapshotBrowser browser = await _repository.BrowseAsync();
            PatternList list = new(patterns, ignoreCase, "find");
            SnapshotSearch search = browser.Search(patterns, ignoreCase, failure => throw new InvalidOperationException(failure.Message));
            foreach (SnapshotInfo snapshot in snapshots)
            {
                string[] expected = [.. browser.List(snapshot, "/"u8.ToArray(), recursive: true, null, CancellationToken.None).Where(entry => list.Matches(entry.Path)).Select(Text)];
                search.Find(snapshot, CancellationToken.None).Select(Text)
                    .ShouldBe(expected, $"{string.Join(' ', patterns.Select(Encoding.UTF8.GetString))}, case {(ignoreCase ? "ignored" : "counts")}");
            }
        }
    }

    [Fact]
    public async Task ASecondSearchNeedsNothingOfTheRepositorysTrees()
    {
        SnapshotInfo[] snapshots = await MakeSnapshotsAsync(3);
        string[] first = await FindAsync(snapshots, "*.txt");
        first.Length.ShouldBe(3 + 4 + 5);
        foreach (string pack in Directory.GetFiles(Path.Combine(RepositoryPath, "m"), "*", SearchOption.AllDirectories))
        {
            File.Delete(pack);
        }

        (await FindAsync(snapshots, "*.txt")).ShouldBe(first);
        string[] files = CacheFiles();
        files.ShouldNotBeEmpty();
        foreach (string file in files)
        {
            ScratchFolder.Run("stat", "-c", "%a", file).Trim().ShouldBe("600");
        }

        ScratchFolder.Run("stat", "-c", "%a", Path.GetDirectoryName(files[0])!).Trim().ShouldBe("700");
    }

    [Theory]
    [InlineData(0.0)]
    [InlineData(0.3)]
    [InlineData(0.7)]
    [InlineData(0.999)]
    public async Task ADamagedCacheIsNoticedAndReadAgain(double where)
    {
        SnapshotInfo[] snapshots = await MakeSnapshotsAsync(3);
        string[] first = await FindAsync(snapshots, "*");
        foreach (string file in CacheFiles())
        {
            byte[] bytes = File.ReadAllBytes(file);
            bytes[(int)(bytes.Length * where)] ^= 0x10;
            File.WriteAllBytes(file, bytes);
        }

        (await FindAsync(snapshots, "*")).ShouldBe(first);
        foreach (string file in CacheFiles())
        {
            File.WriteAllBytes(file, File.ReadAllBytes(file)[..(int)(new FileInfo(file).Length * where)]);
        }

        (await FindAsync(snapshots, "*")).ShouldBe(first);
        Directory.Delete(Cache, recursive: true);
        (await FindAsync(snapshots, "*")).ShouldBe(first);
    }

    [Fact]
    public async Task TheCacheKeepsNoNameOfAForgottenSnapshot()
    {
        await MakeSnapshotsAsync(2);
        File.WriteAllText(Path.Combine(Root, "a most secret name"), "x");
        SnapshotInfo secret = await BackUpAsync();
        File.Delete(Path.Combine(Root, "a most secret name"));
        SnapshotInfo last = await BackUpAsync();
        await FindAsync([.. await _repository.ListSnapshotsAsync()], "*", all: true);
        CacheText().ShouldContain("a most secret name");

        string stored = Path.Combine(RepositoryPath, "s", secret.Id);
        ScratchFolder.Run("rm", "-f", stored);
        await FindAsync([last], "*");
        CacheText().ShouldContain("a most secret name", customMessage: "a search in a part must not take away what others need");
        await FindAsync([.. await _repository.ListSnapshotsAsync()], "*", all: true);

        CacheText().ShouldNotContain("a most secret name");
        CacheText().ShouldContain("note 0.txt");
    }

    [Fact]
    public async Task ManyRunsLeaveFewFilesInTheCache()
    {
        for (int i = 0; i < 12; i++)
        {
            File.WriteAllText(Path.Combine(Root, $"note {i}.txt"), "x");
            SnapshotInfo snapshot = await BackUpAsync();
            (await FindAsync([snapshot], "*.txt")).Length.ShouldBe(i + 1);
        }

        CacheFiles().Length.ShouldBeLessThanOrEqualTo(7);
        Directory.GetFiles(CacheFolder()).Length.ShouldBe(CacheFiles().Length);
    }

    [Fact]
    public async Task AHistoryFoldsWhatDidNotChangeAndTellsEachChange()
    {
        string file = Path.Combine(Root, "folder", "thesis");
        Directory.CreateDirectory(Path.Combine(Root, "folder"));
        List<SnapshotInfo> all = [await BackUpAsync()];
        await Step(() => File.WriteAllText(file, "first"));
        await Step(() => { });
        await Step(() => File.WriteAllText(file, "second draft"));
        await Step(() => ScratchFolder.Run("chmod", "0600", file));
        await Step(() => File.Delete(file));
        await Step(() => { });
        await Step(() => Directory.CreateDirectory(file));
        await Step(() => File.WriteAllText(Path.Combine(file, "inner"), "x"));

        using SnapshotBrowser browser = await _repository.BrowseAsync();
        PathHistoryInfo history = browser.History(all, Encoding.UTF8.GetBytes(file)).ShouldHaveSingleItem();

        history.Versions.Select(static version => $"{version.Modifier} {version.Entry?.Type} {version.Entry?.Size} {version.Snapshots.Count}")
            .ShouldBe(["+ file 5 2", "M file 12 1", "U file 12 1", "-   2", "+ dir 0 1", "M dir 0 1"]);
        history.Versions.SelectMany(static version => version.Snapshots).Select(static snapshot => snapshot.Id).ShouldBe(all.Skip(1).Select(static snapshot => snapshot.Id));
        browser.History(all, "/nowhere/at all"u8.ToArray()).ShouldAllBe(static history => history.Versions.Count == 0);

        async Task Step(Action change)
        {
            change();
            all.Add(await BackUpAsync());
        }
    }

    [Fact]
    public async Task AListNamesADamagedFolderAndGoesOn()
    {
        Directory.CreateDirectory(Path.Combine(Root, "a"));
        Directory.CreateDirectory(Path.Combine(Root, "b"));
        File.WriteAllText(Path.Combine(Root, "a", "one"), "1");
        await BackUpAsync();
        string[] before = MetadataPacks();
        File.WriteAllText(Path.Combine(Root, "b", "two"), "2");
        SnapshotInfo snapshot = await BackUpAsync();
        string pack = MetadataPacks().Except(before).ShouldHaveSingleItem();
        byte[] bytes = File.ReadAllBytes(pack);
        ScratchFolder.Run("chmod", "0600", pack);
        for (int at = 64; at < bytes.Length; at++)
        {
            bytes[at] ^= 0xff;
        }

        File.WriteAllBytes(pack, bytes);
        using SnapshotBrowser browser = await _repository.BrowseAsync();
        List<ItemFailure> failures = [];

        browser.List(snapshot, "/"u8.ToArray(), recursive: true, failures.Add, CancellationToken.None).Count();

        failures.ShouldHaveSingleItem().Code.ShouldBe(ErrorCodes.CorruptData);
    }

    private static string Text(EntryInfo entry) => Encoding.UTF8.GetString(entry.Path);

    private string CacheFolder() => Path.Combine(Cache, _repository.Id, "trees");

    private string[] CacheFiles() => Directory.GetFiles(CacheFolder(), "*.trees");

    private string CacheText() => string.Concat(CacheFiles().Select(static file => Encoding.Latin1.GetString(File.ReadAllBytes(file))));

    private string[] MetadataPacks() => Directory.GetFiles(Path.Combine(RepositoryPath, "m"), "*", SearchOption.AllDirectories);

    private async Task<SnapshotInfo[]> MakeSnapshotsAsync(int count)
    {
        SnapshotInfo[] snapshots = new SnapshotInfo[count];
        Directory.CreateDirectory(Path.Combine(Root, "folder"));
        for (int i = 0; i < 2; i++)
        {
            File.WriteAllText(Path.Combine(Root, "folder", $"old {i}.txt"), $"{i}");
        }

        for (int i = 0; i < count; i++)
        {
            File.WriteAllText(Path.Combine(Root, $"note {i}.txt"), $"{i}");
            snapshots[i] = await BackUpAsync();
        }

        return snapshots;
    }

    private async Task<SnapshotInfo> BackUpAsync() =>
        (await _repository.BackupAsync(new BackupRequest { Paths = [Encoding.UTF8.GetBytes(Root)], Host = "here" })).Snapshot!;

    private async Task<string[]> FindAsync(IReadOnlyList<SnapshotInfo> snapshots, string pattern, bool all = false)
    {
        using SnapshotBrowser browser = await _repository.BrowseAsync();
        SnapshotSearch search = browser.Search([Encoding.UTF8.GetBytes(pattern)], ignoreCase: false, failure => throw new InvalidOperationException(failure.Message));
        string[] found = [.. snapshots.SelectMany(snapshot => search.Find(snapshot, CancellationToken.None).Select(entry => $"{snapshot.Id} {Text(entry)}"))];
        if (all)
        {
            browser.SearchedAll(search);
        }

        return found;
    }
}
