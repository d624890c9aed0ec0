using BackupIQ.Engine.Backup;
using BackupIQ.Engine.Snapshots;
using BackupIQ.IntegrationTests.Processes;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Repository.Keys;
using BackupIQ.Storage.Local;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.IntegrationTests.Cli;

/// <summary>What the program and the reader that is written from the specification make of files that were stored page by page.</summary>
public sealed class PagedFileTests : IDisposable
{
    private const int PageSize = 8192;

    private readonly ProgramUser _user = new ProgramUser().WithNewRepository(withPassword: true);
    private readonly List<(string Id, byte[] Content)> _generations = [];

    private string Source => _user.At("source");

    public void Dispose() => _user.Dispose();

    [Fact]
    public async Task EveryVerbKnowsThem()
    {
        await BackUpGenerationsAsync();
        string file = Path.Combine(Source, "file");
        foreach ((string id, byte[] content) in _generations)
        {
            string dumped = _user.At("dumped");
            _user.Run("dump", $"{id}:{file}", "--target", dumped).ShouldEndWith(0);
            File.ReadAllBytes(dumped).AsSpan().SequenceEqual(content).ShouldBeTrue();
            File.Delete(dumped);
            string target = _user.At($"target {id}");
            _user.Run("restore", id, "--target", target, "--verify").ShouldEndWith(0);
            File.ReadAllBytes(target + file).AsSpan().SequenceEqual(content).ShouldBeTrue();
            _user.Run("restore", id, "--target", target, "--json").ShouldEndWith(0).Summary().GetProperty("bytes_restored").GetInt64().ShouldBe(0);
        }

        _user.Run("ls", "latest:" + Source).ShouldEndWith(0).Text.ShouldContain("file");
        _user.Run("diff", _generations[0].Id, _generations[1].Id).ShouldEndWith(0).Text.ShouldContain("file");
        _user.Run("stats", "--compression").ShouldEndWith(0);
        _user.Run("check", "--read-data").ShouldEndWith(0);

        string archive = _user.At("export");
        _user.Run("export", _generations[2].Id, archive, "--to-password-file", _user.PasswordFile).ShouldEndWith(0);
        string imported = _user.At("imported");
        _user.RunPlain(["init", "--repo", imported, .. _user.Secret, "--no-input"]).ShouldEndWith(0);
        _user.RunPlain(["import", archive, "--repo", imported, .. _user.Secret, "--from-password-file", _user.PasswordFile, "--no-input"]).ShouldEndWith(0);
        _user.RunPlain(["check", "--read-data", "--repo", imported, .. _user.Secret, "--no-input"]).ShouldEndWith(0);
        _user.RunPlain(["restore", "latest", "--target", _user.At("from import"), "--repo", imported, .. _user.Secret, "--no-input"]).ShouldEndWith(0);
        File.ReadAllBytes(_user.At("from import") + file).AsSpan().SequenceEqual(_generations[2].Content).ShouldBeTrue();
    }

    [Fact]
    public async Task ThePythonReaderRestoresThem()
    {
        Assert.SkipUnless(
            File.Exists("/usr/bin/python3") && _user.RunOther("/usr/bin/python3", "-c", "import cryptography").Code == 0, "Debian's python3-cryptography is not installed.");
        await BackUpGenerationsAsync();
        string reader = Path.Combine(AppContext.BaseDirectory, "../../../../docs/reference/restore.py");
        foreach ((string id, byte[] content) in _generations)
        {
            string target = _user.At($"target {id}");
            _user.RunOther(["/usr/bin/python3", reader, .. _user.Secret, _user.Repository, "restore", id, target]).ShouldEndWith(0);
            File.ReadAllBytes(target + Path.Combine(Source, "file")).AsSpan().SequenceEqual(content).ShouldBeTrue();
            File.ReadAllBytes(target + Path.Combine(Source, "small")).Length.ShouldBe(PageSize + 1);
        }

        _user.RunOther(["/usr/bin/python3", reader, .. _user.Secret, _user.Repository, "verify"]).ShouldEndWith(0);
    }

    // 300 pages and a short tail, of which some change and some become zeros.
    private async Task BackUpGenerationsAsync()
    {
        Directory.CreateDirectory(Source);
        Random random = new(1);
        byte[] content = new byte[(300 * PageSize) + 77];
        random.NextBytes(content);
        File.WriteAllBytes(Path.Combine(Source, "small"), content.AsSpan(0, PageSize + 1).ToArray());
        await using LocalBackend storage = LocalBackend.Open(_user.Repository, new LocalOptions(), TimeProvider.System);
        Credentials credentials = new() { Password = new Secret(File.ReadAllBytes(_user.PasswordFile).AsSpan().TrimEnd((byte)'\n')) };
        await using BackupRepository repository = await BackupRepository.OpenAsync(storage, credentials, TimeProvider.System, CancellationToken.None);
        for (int i = 0; i < 3; i++)
        {
            File.WriteAllBytes(Path.Combine(Source, "file"), content);
            using PagedSource source = new(Source, PageSize);
            BackupResult result = await new BackupRunner(repository, TimeProvider.System, null).RunAsync(
                source, new BackupOptions { Hostname = "here", Type = SnapshotType.Incremental }, new BackupProgress(), CancellationToken.None);
            _generations.Add((result.Snapshot!.Id.ToString(), [.. content]));
            for (int page = 0; page < 25; page++)
            {
                random.NextBytes(content.AsSpan(random.Next(300) * PageSize, PageSize));
            }

            content.AsSpan(random.Next(290) * PageSize, 5 * PageSize).Clear();
            content[^1]++;
        }
    }
}
