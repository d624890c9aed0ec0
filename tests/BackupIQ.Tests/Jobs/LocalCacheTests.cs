using BackupIQ.Jobs;
using BackupIQ.Jobs.Composition;
using BackupIQ.Primitives;
using BackupIQ.Repository;
using BackupIQ.Testing.Files;
using Shouldly;
using Xunit;

namespace BackupIQ.Tests.Jobs;

/// <summary>The limit of the local cache, and what a first look at a repository tells.</summary>
public sealed class LocalCacheTests : IDisposable
{
    private const int Kilo = 1000;

    private readonly ScratchFolder _scratch = new();
    private readonly RepositoryId _mine = RepositoryId.New();

    private string Cache => _scratch.At("cache");

    public void Dispose() => _scratch.Dispose();

    [Fact]
    public void WhatWasUsedTheLongestAgoGoesFirst()
    {
        RepositoryId older = Fill(RepositoryId.New(), 1);
        RepositoryId newer = Fill(RepositoryId.New(), 2);
        Fill(_mine, 3);
        _scratch.Write("cache/spool/abc/on-its-way.pack", new byte[50 * Kilo]);
        Use(limit: 45 * Kilo);
        Files(older).ShouldBe(["index/b.run"], "its folders' pages went, and the older piece of its index");
        Files(newer).Length.ShouldBe(4);
        Files(_mine).Length.ShouldBe(4);

        Use(limit: 25 * Kilo);
        Files(older).ShouldBeEmpty();
        Files(newer).ShouldBe(["index/b.run"]);
        Use(limit: 0);
        Files(_mine).ShouldBeEmpty();
        File.Exists(_scratch.At("cache", "spool", "abc", "on-its-way.pack")).ShouldBeTrue("it is no cache");
    }

    [Fact]
    public void WhatIsInUseStays()
    {
        RepositoryId older = Fill(RepositoryId.New(), 1);
        using LocalCache? other = LocalCache.Use(Cache, older, long.MaxValue, TimeProvider.System);
        Fill(_mine, 2);
        Use(limit: 0);
        Files(older).Length.ShouldBe(4);
        Files(_mine).ShouldBeEmpty();
        other!.Dispose();
        Use(limit: 0);
        Files(older).ShouldBeEmpty();
    }

    [Fact]
    public void BelowTheLimitNothingGoes()
    {
        RepositoryId other = Fill(RepositoryId.New(), 1);
        Fill(_mine, 2);
        Use(limit: 40 * Kilo);
        Files(other).Length.ShouldBe(4);
        Files(_mine).Length.ShouldBe(4);
        LocalCache.Use(null, _mine, 0, TimeProvider.System).ShouldBeNull();
    }

    [Fact]
    public async Task AFirstLookTellsOfEachSegmentAndTheNextReadsNoneUntilTheCacheIsLimited()
    {
        Directory.CreateDirectory(Cache);
        using Secret key = Secret.Random(32);
        RepositorySecrets secrets = new() { KeyFile = key };
        (BackupIqRepository made, _) = await BackupIqRepository.CreateAsync(_scratch.At("repository"), secrets, recoveryKit: false);
        await using (made)
        {
            for (int i = 0; i < 3; i++)
            {
                _scratch.WriteRandom($"source/{i}", 100_000, seed: i);
                await made.BackupAsync(new BackupRequest { Paths = [PathText(_scratch.At("source"))] });
            }
        }

        int all = Directory.GetFiles(_scratch.At("repository", "i")).Length;
        all.ShouldBeGreaterThan(1);
        (int, int)[] each = [.. Enumerable.Range(0, all).Select(read => (read, all))];
        (await LookAsync(8L << 30)).SequenceEqual(each).ShouldBeTrue();
        (await LookAsync(8L << 30)).ShouldBeEmpty();
        (await LookAsync(0)).ShouldBeEmpty("it was still there");
        (await LookAsync(0)).SequenceEqual(each).ShouldBeTrue("the one before had to leave nothing");

        async Task<List<(int Read, int All)>> LookAsync(long limit)
        {
            List<(int, int)> told = [];
            RepositoryOptions options = new() { CacheFolder = Cache, CacheLimit = limit, OnIndexRead = (read, all) => told.Add((read, all)) };
            await using BackupIqRepository opened = await BackupIqRepository.OpenAsync(_scratch.At("repository"), secrets, options);
            (await opened.BrowseAsync()).Dispose();
            return told;
        }
    }

    private static byte[] PathText(string path) => System.Text.Encoding.UTF8.GetBytes(path);

    private void Use(long limit) => LocalCache.Use(Cache, _mine, limit, TimeProvider.System)!.Dispose();

    // Four files of 5 KB, last used at the hour.
    private RepositoryId Fill(RepositoryId id, int hour)
    {
        DateTime used = new(2026, 11, 20, hour, 0, 0, DateTimeKind.Utc);
        foreach ((string name, int minute) in new[] { ("trees/a.pages", 0), ("trees/b.pages", 1), ("index/a.run", 2), ("index/b.run", 3) })
        {
            string path = _scratch.Write($"cache/{id}/{name}", new byte[5 * Kilo]);
            File.SetLastWriteTimeUtc(path, used.AddMinutes(minute));
        }

        string mark = _scratch.Write($"cache/{id}/in-use", []);
        File.SetLastWriteTimeUtc(mark, used);
        return id;
    }

    private string[] Files(RepositoryId id) =>
        [.. Directory.EnumerateFiles(_scratch.At("cache", id.ToString()), "*", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(_scratch.At("cache", id.ToString()), path)).Where(static name => name != "in-use").Order(StringComparer.Ordinal)];
}
