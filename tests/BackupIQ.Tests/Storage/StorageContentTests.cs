using BackupIQ.Storage;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Storage;

public sealed class StorageContentTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly byte[] _bytes = [.. Enumerable.Range(0, 100_000).Select(static i => (byte)(i * 7))];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _scratch.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AStreamGivesAPartAndSeeks(bool isFile)
    {
        StorageContent content = Make(isFile);
        content.GetLength().ShouldBe(_bytes.Length);
        await using Stream whole = content.OpenRead();
        await using Stream part = content.OpenRead(70_000, 20_000);
        part.Length.ShouldBe(20_000);
        (await AllOfAsync(part)).ShouldBe(_bytes[70_000..90_000]);
        part.Position = 19_990;
        (await AllOfAsync(part)).ShouldBe(_bytes[89_990..90_000]);
        part.Seek(-5, SeekOrigin.End).ShouldBe(19_995);
        part.ReadByte().ShouldBe(_bytes[89_995]);
        part.Position = 30_000;
        (await AllOfAsync(part)).ShouldBeEmpty();
        (await AllOfAsync(whole)).ShouldBe(_bytes);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WhoWatchesHearsOfEveryByteBeforeItGoesInTheOrderOfWatching(bool isFile)
    {
        List<(string Who, int Count)> heard = [];
        StorageContent content = Make(isFile);
        foreach (string who in (string[])["first", "second"])
        {
            content = content.Watched((count, _) =>
            {
                heard.Add((who, count));
                return ValueTask.CompletedTask;
            });
        }

        await using Stream stream = content.Lend().OpenRead();
        byte[] buffer = new byte[_bytes.Length];
        int read = await stream.ReadAsync(buffer, Token);
        heard.ShouldBe([("first", read), ("second", read)]);
        (await AllOfAsync(stream)).ShouldBe(_bytes[read..]);
        heard.Where(static h => h.Who == "first").Sum(static h => h.Count).ShouldBe(_bytes.Length);
        heard.Max(static h => h.Count).ShouldBeLessThanOrEqualTo(16 * 1024);
    }

    [Fact]
    public void OnlyAFileThatIsNotLentIsDiscarded()
    {
        StorageContent content = Make(isFile: true);
        content.Lend().Discard();
        File.Exists(content.File).ShouldBeTrue();
        content.Discard();
        File.Exists(content.File).ShouldBeFalse();
        Should.Throw<StorageException>(() => content.OpenRead());
        Should.Throw<StorageException>(() => content.GetLength());
    }

    private StorageContent Make(bool isFile)
    {
        if (!isFile)
        {
            return StorageContent.FromBytes(_bytes);
        }

        string file = Path.Combine(_scratch.Path, "content");
        File.WriteAllBytes(file, _bytes);
        return StorageContent.FromFile(file);
    }

    private static async Task<byte[]> AllOfAsync(Stream stream)
    {
        using MemoryStream copy = new();
        await stream.CopyToAsync(copy, Token);
        return copy.ToArray();
    }
}
